package machine

import (
	"errors"
	"slices"
	"testing"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

func reserve(name, url string, incarnation uint64) Command {
	return Command{Reserve: &Reserve{Name: name, PeerURLs: []string{url}, Incarnation: incarnation}}
}

// change applies a membership change as the next entry.
func change(t fataler, m *Machine, c confchange.Change, member *MemberRecord) Result {
	t.Helper()
	ctx := MemberContext{ID: RequestID{1, 99}, Member: member}
	c.Context = ctx.AppendTo(nil)
	return apply(t, m, c)
}

// apply applies a membership change that has its context, for request 99 of member 1.
func apply(t fataler, m *Machine, c confchange.Change) Result {
	t.Helper()
	applied, _ := m.Applied()
	res, err := m.Apply([]raft.Entry{{Index: applied + 1, Term: 1, Type: raft.EntryConf, Data: raft.EncodeChange(c)}})
	if err != nil || len(res) != 1 || res[0].ID != (RequestID{1, 99}) || res[0].Conf == nil {
		t.Fatalf("apply change: %+v, %v", res, err)
	}
	if !res[0].Conf.Equal(m.Conf()) {
		t.Fatalf("result has %v, machine %v", res[0].Conf, m.Conf())
	}
	return res[0]
}

func one(kind confchange.Kind, id uint64) confchange.Change {
	return confchange.Change{Steps: []confchange.Step{{Kind: kind, ID: id}}}
}

func memberRecord(t fataler, m *Machine, id uint64) MemberRecord {
	t.Helper()
	l := m.Members()
	i := slices.IndexFunc(l, func(r MemberRecord) bool { return r.ID == id })
	if i < 0 {
		t.Fatalf("no member %d in %+v", id, l)
	}
	return l[i]
}

func TestReservationIsTheIndexOfItsEntryAndTheSameWhenAskedAgain(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	first := do(t, m, reserve("two", "http://two", 22))
	if first.Err != nil || first.MemberID != first.Index {
		t.Fatalf("%+v", first)
	}
	if again := do(t, m, reserve("two", "http://two", 22)); again.Err != nil || again.MemberID != first.MemberID {
		t.Fatalf("asked again: %+v", again)
	}
	want := MemberRecord{
		ID: first.Index, Name: "two", PeerURLs: []string{"http://two"}, Incarnation: 22,
		Reserved: true, ReservedIndex: first.Index,
	}
	if d := diff(want, memberRecord(t, m, first.Index)); d != "" {
		t.Fatal(d)
	}
	if m.Conf().Contains(first.Index) {
		t.Fatal("a reservation is in the configuration")
	}
}

func TestReservationWithANameOrURLInUseIsRefused(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	do(t, m, reserve("two", "http://two", 22))
	before := m.Members()
	for _, c := range []struct {
		command Command
		want    error
	}{
		{reserve("one", "http://three", 33), ErrMemberNameExists},
		{reserve("two", "http://three", 33), ErrMemberNameExists},
		{reserve("three", "http://one", 33), chainfire.ErrPeerURLExists},
		{reserve("three", "http://two", 33), chainfire.ErrPeerURLExists},
		{reserve("", "http://two", 0), chainfire.ErrPeerURLExists},
		{reserve("three", "", 33), ErrBadMember},
	} {
		if res := do(t, m, c.command); !errors.Is(res.Err, c.want) || res.MemberID != 0 {
			t.Errorf("%+v: %+v", c.command.Reserve, res)
		}
	}
	if d := diff(before, m.Members()); d != "" {
		t.Error(d)
	}
}

func TestUnstartedMemberIsClaimedByItsPeerURLs(t *testing.T) {
	m, fs := start(t)
	added := change(t, m, one(confchange.AddLearner, 5), &MemberRecord{ID: 5, PeerURLs: []string{"http://five"}})
	if added.Err != nil || !m.Conf().IsLearner(5) {
		t.Fatalf("%+v", added)
	}
	res := do(t, m, reserve("five", "http://five", 55))
	if res.Err != nil || res.MemberID != 5 {
		t.Fatalf("%+v", res)
	}
	if other := do(t, m, reserve("six", "http://five", 66)); !errors.Is(other.Err, chainfire.ErrPeerURLExists) {
		t.Fatalf("claimed twice: %+v", other)
	}
	want := MemberRecord{ID: 5, Name: "five", PeerURLs: []string{"http://five"}, Incarnation: 55}
	closeAll(t, m)
	m = reopen(t, fs)
	if d := diff(want, memberRecord(t, m, 5)); d != "" {
		t.Fatal(d)
	}
	closeAll(t, m)
}

func TestReservedMemberJoinsAndALeavingOneNeverReturns(t *testing.T) {
	m, fs := start(t)
	id := do(t, m, reserve("two", "http://two", 22)).MemberID
	change(t, m, one(confchange.AddLearner, id), nil)
	if r := memberRecord(t, m, id); r.Reserved || r.ReservedIndex != id || r.Name != "two" {
		t.Fatalf("the log is not kept for a learner that has yet to catch up: %+v", r)
	}
	do(t, m, Command{UpdateMember: &UpdateMember{ID: id, Settled: true}})
	if r := memberRecord(t, m, id); r.ReservedIndex != 0 {
		t.Fatalf("the log is kept for a learner that has caught up: %+v", r)
	}
	if res := do(t, m, Command{Release: &Release{ID: id}}); !errors.Is(res.Err, ErrNotReserved) {
		t.Fatalf("release of a learner: %+v", res)
	}
	change(t, m, one(confchange.Remove, id), nil)
	given := do(t, m, reserve("three", "http://three", 33)).MemberID
	if res := do(t, m, Command{Release: &Release{ID: given}}); res.Err != nil {
		t.Fatalf("release: %+v", res)
	}
	if res := do(t, m, Command{Release: &Release{ID: given}}); !errors.Is(res.Err, chainfire.ErrMemberNotFound) {
		t.Fatalf("second release: %+v", res)
	}
	closeAll(t, m)
	m = reopen(t, fs)
	for _, gone := range []uint64{id, given} {
		if !m.Removed(gone) || len(m.Members()) != 1 {
			t.Fatalf("member %d: removed %v, members %+v", gone, m.Removed(gone), m.Members())
		}
		if res := change(t, m, one(confchange.AddLearner, gone), nil); !errors.Is(res.Err, ErrMemberRemoved) || m.Conf().Contains(gone) {
			t.Fatalf("member %d came back: %+v", gone, res)
		}
	}
	if res := do(t, m, reserve("two", "http://two", 22)); res.Err != nil || res.MemberID == id {
		t.Fatalf("its name and address are not free: %+v", res)
	}
	closeAll(t, m)
}

func TestRefusedChangeLeavesTheConfigurationAsItIs(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	before := m.Conf()
	for _, c := range []struct {
		change confchange.Change
		member *MemberRecord
		want   error
	}{
		{one(confchange.Remove, 1), nil, confchange.ErrNoVoters},
		{confchange.Change{}, nil, confchange.ErrNotJoint},
		{one(confchange.AddVoter, 5), &MemberRecord{ID: 5, PeerURLs: []string{"http://one"}}, chainfire.ErrPeerURLExists},
		{one(confchange.AddVoter, 5), &MemberRecord{ID: 5, Name: "one"}, ErrMemberNameExists},
		{one(confchange.AddVoter, 5), &MemberRecord{ID: 6}, ErrBadMember},
	} {
		if res := change(t, m, c.change, c.member); !errors.Is(res.Err, c.want) || !m.Conf().Equal(before) {
			t.Errorf("%+v: %+v, configuration %v", c.change, res, m.Conf())
		}
	}
	if len(m.Members()) != 1 {
		t.Errorf("members %+v", m.Members())
	}
}

func TestMemberOfTheOutgoingHalfStaysUntilTheJointConfigurationIsLeft(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	id := do(t, m, reserve("two", "http://two", 22)).MemberID
	swap := confchange.Change{Steps: []confchange.Step{{Kind: confchange.AddVoter, ID: id}, {Kind: confchange.Remove, ID: 1}}}
	if res := change(t, m, swap, nil); res.Err != nil || !res.Conf.Joint() || len(m.Members()) != 2 {
		t.Fatalf("%+v, members %+v", res, m.Members())
	}
	if res := change(t, m, confchange.Change{}, nil); res.Err != nil || m.Conf().Joint() || !m.Removed(1) || len(m.Members()) != 1 {
		t.Fatalf("%+v, members %+v", res, m.Members())
	}
}

func TestUpdateChangesOnlyWhatItNames(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	do(t, m, reserve("two", "http://two", 22))
	if res := do(t, m, Command{UpdateMember: &UpdateMember{ID: 1, ClientURLs: []string{"http://c"}}}); res.Err != nil {
		t.Fatalf("%+v", res)
	}
	want := MemberRecord{ID: 1, Name: "one", PeerURLs: []string{"http://one"}, ClientURLs: []string{"http://c"}, Incarnation: 11}
	if d := diff(want, memberRecord(t, m, 1)); d != "" {
		t.Fatal(d)
	}
	for _, c := range []struct {
		update UpdateMember
		want   error
	}{
		{UpdateMember{ID: 9}, chainfire.ErrMemberNotFound},
		{UpdateMember{ID: 1, Name: "two"}, ErrMemberNameExists},
		{UpdateMember{ID: 1, PeerURLs: []string{"http://two"}}, chainfire.ErrPeerURLExists},
	} {
		if res := do(t, m, Command{UpdateMember: &c.update}); !errors.Is(res.Err, c.want) {
			t.Errorf("%+v: %+v", c.update, res)
		}
	}
}

func TestMembershipSurvivesACrashBehindTheLog(t *testing.T) {
	m, fs := start(t)
	entries := []raft.Entry{
		entry(2, reserve("two", "http://two", 22)),
		{Index: 3, Term: 1, Type: raft.EntryConf, Data: raft.EncodeChange(one(confchange.AddLearner, 2))},
		entry(4, reserve("three", "http://three", 33)),
		entry(5, Command{Release: &Release{ID: 4}}),
	}
	applyIn(t, m, entries, 1)
	other := reopen(t, fs.Crash(disk.CrashOptions{}))
	applied, _ := other.Applied()
	applyIn(t, other, entries[applied-1:], 4)
	if d := diff(m.Members(), other.Members()); d != "" || !other.Conf().Equal(m.Conf()) || !other.Removed(4) {
		t.Fatalf("%s, configuration %v", d, other.Conf())
	}
	closeAll(t, m, other)
}

// An update of a learner's addresses says nothing of its role.
func TestUpdateOfALearnerLeavesItALearner(t *testing.T) {
	m, fs := start(t)
	id := do(t, m, reserve("two", "http://two", 22)).MemberID
	change(t, m, one(confchange.AddLearner, id), nil)
	before := m.Conf()
	if res := do(t, m, Command{UpdateMember: &UpdateMember{ID: id, PeerURLs: []string{"http://elsewhere"}}}); res.Err != nil {
		t.Fatalf("%+v", res)
	}
	for range 2 {
		if r := memberRecord(t, m, id); !m.Conf().Equal(before) || !m.Conf().IsLearner(id) || r.Reserved || r.PeerURLs[0] != "http://elsewhere" {
			t.Fatalf("%+v in %v", r, m.Conf())
		}
		closeAll(t, m)
		m = reopen(t, fs)
	}
	closeAll(t, m)
}

// TestReadReplicaStaysALearner asks again, as a newcomer does that was started with
// other flags before it had its seed; once it learns, it is what it is.
func TestReadReplicaStaysALearner(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	ask := func(replica bool) uint64 {
		t.Helper()
		c := reserve("two", "http://two", 22)
		c.Reserve.ReadReplica = replica
		r := do(t, m, c)
		if r.Err != nil || memberRecord(t, m, r.MemberID).ReadReplica != replica {
			t.Fatalf("%+v, %+v", r, memberRecord(t, m, r.MemberID))
		}
		return r.MemberID
	}
	id := ask(false)
	if again := ask(true); again != id {
		t.Fatalf("reserved %d, then %d", id, again)
	}
	if r := change(t, m, one(confchange.AddLearner, id), nil); r.Err != nil {
		t.Fatal(r.Err)
	}
	if r := change(t, m, one(confchange.AddVoter, id), nil); !errors.Is(r.Err, chainfire.ErrReadReplica) || !m.Conf().IsLearner(id) {
		t.Errorf("a read replica as a voter: %v, %v", r.Err, m.Conf())
	}
	late := reserve("two", "http://two", 22)
	if r := do(t, m, late); r.Err != nil || !memberRecord(t, m, id).ReadReplica {
		t.Errorf("a word that comes late: %+v, %+v", r, memberRecord(t, m, id))
	}
}

// TestMemberThatBeganTheClusterIsNotClaimed by a newcomer at its address, before it has
// told which directory is its own; and after that it stays that one.
func TestMemberThatBeganTheClusterIsNotClaimed(t *testing.T) {
	m, _ := start(t)
	change(t, m, one(confchange.AddVoter, 5), &MemberRecord{ID: 5, Name: "five", PeerURLs: []string{"http://five"}})
	if r := do(t, m, reserve("six", "http://five", 66)); !errors.Is(r.Err, chainfire.ErrPeerURLExists) {
		t.Errorf("claimed: %+v", r)
	}
	tell := func(incarnation uint64) error {
		return do(t, m, Command{UpdateMember: &UpdateMember{ID: 5, Incarnation: incarnation}}).Err
	}
	if err := tell(55); err != nil {
		t.Fatal(err)
	}
	if err := tell(55); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := tell(56); !errors.Is(err, ErrBadMember) || memberRecord(t, m, 5).Incarnation != 55 {
		t.Errorf("another directory: %v, %+v", err, memberRecord(t, m, 5))
	}
}
