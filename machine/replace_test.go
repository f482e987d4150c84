package machine

import (
	"errors"
	"testing"

	"chainfire"
	"chainfire/raft/confchange"
)

// successor reserves the place of a member for a newcomer of the same name and URL.
func successor(of uint64, name, url string, incarnation uint64) Command {
	c := reserve(name, url, incarnation)
	c.Reserve.Replaces = of
	return c
}

func exchange(in, out uint64) confchange.Change {
	return confchange.Change{Joint: true, Steps: []confchange.Step{
		{Kind: confchange.AddVoter, ID: in}, {Kind: confchange.Remove, ID: out},
	}}
}

// threeVoters is a machine with members 1, two and three, who vote.
func threeVoters(t *testing.T) (m *Machine, two, three uint64) {
	t.Helper()
	m, _ = start(t)
	t.Cleanup(func() { closeAll(t, m) })
	two = do(t, m, reserve("two", "http://two", 22)).MemberID
	three = do(t, m, reserve("three", "http://three", 33)).MemberID
	for _, id := range []uint64{two, three} {
		if res := change(t, m, one(confchange.AddVoter, id), nil); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	return m, two, three
}

func TestNewcomerMayHaveTheNameAndURLOfTheMemberThatItReplacesAndOfNobodyElse(t *testing.T) {
	m, two, three := threeVoters(t)
	for _, c := range []struct {
		command Command
		want    error
	}{
		{successor(three, "two", "http://new", 44), ErrMemberNameExists},
		{successor(three, "new", "http://two", 44), chainfire.ErrPeerURLExists},
		{successor(999, "new", "http://new", 44), chainfire.ErrMemberNotFound},
		{successor(three, "three", "http://three", 44), nil},
		{reserve("three", "http://elsewhere", 55), ErrMemberNameExists},
		{successor(three, "other", "http://other", 55), ErrNotReplaceable},
		{successor(two, "three", "http://three", 44), ErrNotReplaceable},
	} {
		if res := do(t, m, c.command); !errors.Is(res.Err, c.want) || (res.Err == nil) != (res.MemberID != 0) {
			t.Errorf("%+v: %+v", c.command.Reserve, res)
		}
	}
	// Asked again, with the promise or without, it is the same.
	first := do(t, m, successor(three, "three", "http://three", 44)).MemberID
	again := do(t, m, reserve("three", "http://three", 44)).MemberID
	if first == 0 || first != again || memberRecord(t, m, first).Replaces != three {
		t.Errorf("the places %d and %d, %+v", first, again, memberRecord(t, m, first))
	}
	// A reservation has no place that could be promised.
	if res := do(t, m, successor(first, "new", "http://new", 66)); !errors.Is(res.Err, ErrNotReplaceable) {
		t.Errorf("in place of a reservation: %+v", res)
	}
	// Each may still be updated, as the name that both have is allowed.
	for _, id := range []uint64{three, first} {
		if res := do(t, m, Command{UpdateMember: &UpdateMember{ID: id, Name: "three", Settled: true}}); res.Err != nil {
			t.Errorf("update of %d: %v", id, res.Err)
		}
	}
}

func TestPromiseOfAPlaceSurvivesAndEndsWithTheExchange(t *testing.T) {
	m, fs := start(t)
	two := do(t, m, reserve("two", "http://two", 22)).MemberID
	change(t, m, one(confchange.AddVoter, two), nil)
	id := do(t, m, successor(two, "two", "http://two", 33)).MemberID
	change(t, m, one(confchange.AddLearner, id), nil)
	do(t, m, Command{UpdateMember: &UpdateMember{ID: id, Settled: true}})
	closeAll(t, m)
	m = reopen(t, fs)
	defer func() { closeAll(t, m) }()
	if r := memberRecord(t, m, id); r.Replaces != two || !m.Conf().IsVoter(two) {
		t.Fatalf("after a restart: %+v in %v", r, m.Conf())
	}
	if res := change(t, m, exchange(id, two), nil); res.Err != nil || m.Removed(two) || !m.Conf().IsVoter(two) {
		t.Fatalf("while the configuration is joint: %+v, %v", res, m.Conf())
	}
	change(t, m, confchange.Change{}, nil)
	if r := memberRecord(t, m, id); r.Replaces != 0 || !m.Removed(two) || m.Conf().String() != (confchange.State{Voters: []uint64{1, id}}).String() {
		t.Fatalf("%+v in %v", r, m.Conf())
	}
}

func TestPromiseEndsWithTheMemberThatWasToBeReplaced(t *testing.T) {
	m, _, three := threeVoters(t)
	id := do(t, m, successor(three, "three", "http://new", 44)).MemberID
	change(t, m, one(confchange.Remove, three), nil)
	if r := memberRecord(t, m, id); r.Replaces != 0 || !r.Reserved {
		t.Errorf("%+v", r)
	}
}

func TestNewcomerThatGivesUpLeavesTheMemberThatItWasToReplace(t *testing.T) {
	m, _, three := threeVoters(t)
	before := m.Conf()
	id := do(t, m, successor(three, "three", "http://three", 44)).MemberID
	do(t, m, Command{Release: &Release{ID: id}})
	if r := memberRecord(t, m, three); r.Name != "three" || !m.Conf().Equal(before) || m.Removed(three) {
		t.Errorf("%+v in %v", r, m.Conf())
	}
	if res := do(t, m, successor(three, "three", "http://three", 55)); res.Err != nil {
		t.Errorf("the next newcomer: %v", res.Err)
	}
}

func TestMemberAddedByHandIsNotClaimedByAReplacement(t *testing.T) {
	m, two, _ := threeVoters(t)
	change(t, m, one(confchange.AddLearner, 99), &MemberRecord{ID: 99, PeerURLs: []string{"http://hand"}})
	if res := do(t, m, successor(two, "new", "http://hand", 44)); !errors.Is(res.Err, ErrNotReplaceable) {
		t.Errorf("%+v", res)
	}
}

func TestChangeThatWasDecidedOnForOtherVotersIsRefused(t *testing.T) {
	m, two, three := threeVoters(t)
	decided := func(c confchange.Change, voters ...uint64) Result {
		t.Helper()
		ctx := MemberContext{ID: RequestID{1, 99}, Voters: voters}
		c.Context = ctx.AppendTo(nil)
		return apply(t, m, c)
	}
	before := m.Conf()
	if res := decided(one(confchange.Remove, three), 1, two); !errors.Is(res.Err, ErrVotersChanged) || !m.Conf().Equal(before) {
		t.Errorf("%+v, %v", res, m.Conf())
	}
	if res := decided(one(confchange.Remove, three), 1, two, three); res.Err != nil || !m.Removed(three) {
		t.Errorf("%+v, %v", res, m.Conf())
	}
	for _, bad := range [][]uint64{{3, 2}, {2, 2}, {0}} {
		ctx := MemberContext{Voters: bad}
		if _, err := DecodeMemberContext(ctx.AppendTo(nil)); !errors.Is(err, ErrMalformed) {
			t.Errorf("voters %v: %v", bad, err)
		}
	}
}
