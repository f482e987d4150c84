package join

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chainfire/raft"
	"chainfire/raft/quorum"
)

// learner is a member that keeps up.
func learner(id uint64) MemberView {
	return MemberView{ID: id, Match: 100, Applied: 100, Acked: true, Active: true}
}

// view is what the first of the voters sees, who leads; voters that are not named
// among the members live.
func view(voters []uint64, members ...MemberView) View {
	v := View{Self: voters[0], Conf: raft.ConfState{Voters: voters}, Last: 100, Commit: 100, Members: members}
	for _, id := range voters[1:] {
		if !slices.ContainsFunc(members, func(m MemberView) bool { return m.ID == id }) {
			v.Members = append(v.Members, MemberView{ID: id, Match: 100, Applied: 100, Acked: true, Active: true})
		}
	}
	for _, m := range v.Members {
		if !m.Reserved && !slices.Contains(voters, m.ID) {
			v.Conf.Learners = append(v.Conf.Learners, m.ID)
		}
	}
	return v
}

// run lets the keeper look every 100 ms and returns all it wanted, in order.
func run(k *Keeper, looks int, v View) string {
	var out []string
	for i := range looks {
		for _, a := range k.Step(time.Duration(i)*100*time.Millisecond, v) {
			s := fmt.Sprintf("%s%v", a.Kind, a.IDs)
			if len(out) == 0 || out[len(out)-1] != s {
				out = append(out, s)
			}
		}
	}
	return strings.Join(out, " ")
}

func TestSecondMemberStaysALearner(t *testing.T) {
	k := NewKeeper(KeeperOptions{})
	if got := run(k, 20, view([]uint64{1}, MemberView{ID: 1}, learner(2))); got != "" {
		t.Errorf("the keeper wants %s", got)
	}
	if r := k.Reason(2, true); !strings.Contains(r, "odd") {
		t.Errorf("the reason is %q", r)
	}
}

func TestTwoLearnersBecomeVotersInOneChange(t *testing.T) {
	k := NewKeeper(KeeperOptions{})
	if got := run(k, 20, view([]uint64{1}, MemberView{ID: 1}, learner(2), learner(3))); got != "promote[2 3]" {
		t.Errorf("the keeper wants %q", got)
	}
}

func TestReadReplicaIsNeitherPromotedNorAStandby(t *testing.T) {
	replica := learner(2)
	replica.ReadReplica, replica.Joining = true, true
	k := NewKeeper(KeeperOptions{ReplaceAfter: time.Second})
	if got := run(k, 20, view([]uint64{1}, MemberView{ID: 1}, replica, learner(3))); got != "settle[2]" {
		t.Errorf("beside one learner the keeper wants %q", got)
	}
	if r := k.Reason(2, true); !strings.Contains(r, "never votes") {
		t.Errorf("the reason is %q", r)
	}
	replica.Joining = false
	k = NewKeeper(KeeperOptions{})
	if got := run(k, 20, view([]uint64{1}, MemberView{ID: 1}, replica, learner(3), learner(4))); got != "promote[3 4]" {
		t.Errorf("beside two learners the keeper wants %q", got)
	}
	k = NewKeeper(KeeperOptions{ReplaceAfter: time.Second})
	if got := run(k, 40, view([]uint64{1, 5, 6}, MemberView{ID: 1}, replica, silent(5, time.Hour))); got != "" {
		t.Errorf("in place of a dead voter the keeper wants %q", got)
	}
}

func TestEvenNumberOfVotersIsMadeOddByOne(t *testing.T) {
	k := NewKeeper(KeeperOptions{})
	if got := run(k, 20, view([]uint64{1, 2}, MemberView{ID: 1}, learner(3), learner(4))); got != "promote[3]" {
		t.Errorf("the keeper wants %q", got)
	}
}

func TestLearnerIsNotPromotedBeforeARoundIsDone(t *testing.T) {
	for name, change := range map[string]func(*MemberView){
		"nothing acknowledged in this session": func(m *MemberView) { m.Acked, m.Match = false, 100 },
		"not heard of":                         func(m *MemberView) { m.Active = false },
		"log behind":                           func(m *MemberView) { m.Match = 50 },
		"not applied what it holds":            func(m *MemberView) { m.Applied = 50 },
	} {
		bad := learner(3)
		change(&bad)
		k := NewKeeper(KeeperOptions{})
		if got := run(k, 20, view([]uint64{1}, MemberView{ID: 1}, learner(2), bad)); got != "" {
			t.Errorf("%s: the keeper wants %q", name, got)
		}
		if k.Reason(3, true) == "" {
			t.Errorf("%s: no reason is given", name)
		}
	}
}

func TestRoundThatTakesLongerThanAnElectionTimeoutDoesNotCount(t *testing.T) {
	k := NewKeeper(KeeperOptions{Round: 250 * time.Millisecond})
	v := view([]uint64{1}, MemberView{ID: 1}, learner(2), learner(3))
	v.Last = 100
	v.Last = 1000
	for i := range 50 {
		// The log grows by 100 in each look and the learner is 500 behind.
		now := time.Duration(i) * 100 * time.Millisecond
		v.Last += 100
		v.Members[1].Match, v.Members[1].Applied = v.Last, v.Last
		v.Members[2].Match, v.Members[2].Applied = v.Last-500, v.Last-500
		if got := k.Step(now, v); len(got) > 0 {
			t.Fatalf("after %v the keeper wants %v", now, got)
		}
	}
}

func TestPromotionWaitsForAnotherChange(t *testing.T) {
	for name, change := range map[string]func(*View){
		"a change is not applied yet":  func(v *View) { v.Busy = true },
		"the configuration is joint":   func(v *View) { v.Conf.Outgoing = []uint64{1} },
		"added by hand, promoted same": func(v *View) { v.Members[1].Manual = true },
	} {
		v := view([]uint64{1}, MemberView{ID: 1}, learner(2), learner(3))
		change(&v)
		if got := run(NewKeeper(KeeperOptions{}), 20, v); got != "" {
			t.Errorf("%s: the keeper wants %q", name, got)
		}
	}
}

func TestVotersAreLimited(t *testing.T) {
	v := view([]uint64{1, 2, 3, 4, 5}, learner(6), learner(7))
	k := NewKeeper(KeeperOptions{})
	if got := run(k, 20, v); got != "" {
		t.Errorf("the keeper wants %q", got)
	}
	if r := k.Reason(6, true); !strings.Contains(r, "stands by") {
		t.Errorf("the reason is %q", r)
	}
}

// silent is a voter that has not been heard of for so long.
func silent(id uint64, how time.Duration) MemberView { return MemberView{ID: id, Silent: how} }

func TestLearnerTakesThePlaceOfAVoterThatIsSilentForLong(t *testing.T) {
	for name, c := range map[string]struct {
		view View
		want string
	}{
		"one dead voter":           {view([]uint64{1, 2, 3}, silent(3, 2*time.Minute), learner(4)), "replace[4 3]"},
		"the one silent longest":   {view([]uint64{1, 2, 3, 4, 5}, silent(3, 2*time.Minute), silent(4, 3*time.Minute), learner(6)), "replace[6 4]"},
		"not silent for long":      {view([]uint64{1, 2, 3}, silent(3, 30*time.Second), learner(4)), ""},
		"nobody stands by":         {view([]uint64{1, 2, 3}, silent(3, 2*time.Minute)), ""},
		"the learner is not fit":   {view([]uint64{1, 2, 3}, silent(3, 2*time.Minute), MemberView{ID: 4, Match: 50, Applied: 50, Acked: true, Active: true}), ""},
		"no majority of the three": {view([]uint64{1, 2, 3}, silent(2, 2*time.Minute), silent(3, 2*time.Minute), learner(4)), ""},
		"even, and one to promote": {view([]uint64{1, 2, 3, 4}, silent(4, 2*time.Minute), learner(5)), "promote[5]"},
	} {
		k := NewKeeper(KeeperOptions{Voters: 3})
		if len(c.view.Conf.Voters) > 3 {
			k = NewKeeper(KeeperOptions{})
		}
		if got := run(k, 20, c.view); got != c.want {
			t.Errorf("%s: the keeper wants %q, not %q", name, got, c.want)
		}
	}
}

func TestReplacementWaitsForAnotherChange(t *testing.T) {
	v := view([]uint64{1, 2, 3}, silent(3, 2*time.Minute), learner(4))
	v.Busy = true
	k := NewKeeper(KeeperOptions{Voters: 3})
	if got := run(k, 20, v); got != "" {
		t.Errorf("the keeper wants %q", got)
	}
	if r := k.Reason(4, true); !strings.Contains(r, "another membership change") {
		t.Errorf("the reason is %q", r)
	}
}

// successor is a learner that keeps up and was promised a place.
func successor(id, of uint64) MemberView {
	m := learner(id)
	m.Replaces = of
	return m
}

func TestNewcomerTakesThePlaceThatItWasPromised(t *testing.T) {
	behind := successor(4, 3)
	behind.Applied = 50
	manual := successor(4, 3)
	manual.Manual = true // the leader manages no voters by itself
	for name, c := range map[string]struct {
		view View
		want string
	}{
		"of a silent voter":            {view([]uint64{1, 2, 3}, silent(3, time.Second), successor(4, 3)), "exchange[4 3]"},
		"of a voter that came back":    {view([]uint64{1, 2, 3}, successor(4, 3)), "exchange[4 3]"},
		"of the leader, which it is":   {view([]uint64{1, 2, 3}, successor(4, 1)), "exchange[4 1]"},
		"of a learner":                 {view([]uint64{1, 2, 3}, MemberView{ID: 4}, successor(5, 4)), "exchange[5 4]"},
		"of one of two":                {view([]uint64{1, 2}, silent(2, time.Second), successor(4, 2)), ""},
		"of one of an even number":     {view([]uint64{1, 2, 3, 4}, silent(4, time.Second), successor(5, 4)), "exchange[5 4]"},
		"also where none are managed":  {view([]uint64{1, 2, 3}, manual), "exchange[4 3]"},
		"not before it has caught up":  {view([]uint64{1, 2, 3}, silent(3, time.Second), behind), ""},
		"not without a majority":       {view([]uint64{1, 2, 3}, silent(2, time.Second), silent(3, time.Second), successor(4, 3)), ""},
		"one promise after the other":  {view([]uint64{1, 2, 3}, successor(4, 2), successor(5, 3)), "exchange[4 2]"},
		"no other's":                   {view([]uint64{1, 2, 3}, silent(2, 2*time.Minute), successor(4, 3)), "exchange[4 3]"},
		"and who goes is not promoted": {view([]uint64{1, 2}, learner(3), MemberView{ID: 4, Reserved: true, Replaces: 3}), ""},
	} {
		if got := run(NewKeeper(KeeperOptions{Voters: 3}), 20, c.view); got != c.want {
			t.Errorf("%s: the keeper wants %q, not %q", name, got, c.want)
		}
	}
	v := view([]uint64{1, 2, 3}, successor(4, 3))
	v.Busy = true
	k := NewKeeper(KeeperOptions{})
	if got := run(k, 20, v); got != "" || !strings.Contains(k.Reason(4, true), "another membership change") {
		t.Errorf("while a change is under way the keeper wants %q, and says %q", got, k.Reason(4, true))
	}
}

func TestNumberOfVotersWantedIsKept(t *testing.T) {
	four := []MemberView{learner(2), learner(3), learner(4), learner(5)}
	for voters, want := range map[int]string{1: "", 3: "promote[2 3]"} {
		if got := run(NewKeeper(KeeperOptions{Voters: voters}), 20, view([]uint64{1}, four...)); got != want {
			t.Errorf("with %d voters wanted the keeper wants %q", voters, got)
		}
	}
}

func TestSilentReservationExpiresAndAWordKeepsIt(t *testing.T) {
	v := view([]uint64{1}, MemberView{ID: 1}, MemberView{ID: 9, Reserved: true})
	k := NewKeeper(KeeperOptions{ReserveTTL: 10 * time.Second})
	for s := range 30 {
		k.Contact(9, time.Duration(s)*time.Second)
		if got := k.Step(time.Duration(s)*time.Second, v); len(got) > 0 {
			t.Fatalf("after %d s with a word each the keeper wants %v", s, got)
		}
	}
	if got := k.Step(39*time.Second, v); len(got) > 0 {
		t.Errorf("before the time is over the keeper wants %v", got)
	}
	if got := k.Step(40*time.Second, v); len(got) != 1 || got[0].Kind != Release || got[0].IDs[0] != 9 {
		t.Errorf("the keeper wants %v, not the release of 9", got)
	}
}

func TestLearnerThatNeverCaughtUpAndIsGoneIsTakenOut(t *testing.T) {
	m := MemberView{ID: 2, Joining: true, Silent: 3 * time.Minute}
	k := NewKeeper(KeeperOptions{})
	if got := run(k, 1500, view([]uint64{1}, MemberView{ID: 1}, m)); got != "remove[2]" {
		t.Errorf("the keeper wants %q", got)
	}
	m.Joining = false
	if got := run(NewKeeper(KeeperOptions{}), 1500, view([]uint64{1}, MemberView{ID: 1}, m)); got != "" {
		t.Errorf("of a learner that had caught up once the keeper wants %q", got)
	}
}

func TestLearnerThatCaughtUpIsSettled(t *testing.T) {
	m := learner(2)
	m.Joining = true
	if got := run(NewKeeper(KeeperOptions{}), 5, view([]uint64{1}, MemberView{ID: 1}, m)); got != "settle[2]" {
		t.Errorf("the keeper wants %q", got)
	}
}

// Whatever the cluster looks like, the keeper never makes the number of voters
// even, promotes only learners that are fit, and never while a change is under
// way.
func TestKeeperNeverMakesTheNumberOfVotersEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := NewKeeper(KeeperOptions{})
		voters := []uint64{1, 2, 3, 4, 5, 6}[:rapid.IntRange(1, 6).Draw(t, "voters")]
		for i := range 30 {
			v := View{Self: voters[0], Conf: raft.ConfState{Voters: voters}, Busy: rapid.Bool().Draw(t, "busy")}
			v.Last = uint64(100 + i)
			fit, alive := map[uint64]bool{}, map[uint64]bool{voters[0]: true}
			for _, id := range voters[1:] {
				m := MemberView{ID: id, Active: rapid.Bool().Draw(t, "voter active")}
				if !m.Active {
					m.Silent = time.Duration(rapid.IntRange(0, 120).Draw(t, "silent")) * time.Second
				}
				alive[id] = m.Active
				v.Members = append(v.Members, m)
			}
			for id := uint64(10); id < 15; id++ {
				if !rapid.Bool().Draw(t, "there") {
					continue
				}
				m := MemberView{
					ID: id, Acked: rapid.Bool().Draw(t, "acked"), Active: rapid.Bool().Draw(t, "active"),
					Match: rapid.Uint64Range(90, v.Last).Draw(t, "match"), Manual: rapid.Bool().Draw(t, "manual"),
				}
				m.Applied = rapid.Uint64Range(80, m.Match).Draw(t, "applied")
				fit[id], alive[id] = m.Acked && m.Active && !m.Manual, m.Active
				v.Members = append(v.Members, m)
				v.Conf.Learners = append(v.Conf.Learners, id)
			}
			for _, a := range k.Step(time.Duration(i)*100*time.Millisecond, v) {
				if a.Kind != Promote && a.Kind != Replace {
					continue
				}
				next, in := append(slices.Clone(voters), a.IDs...), a.IDs
				if a.Kind == Replace {
					in = a.IDs[:1]
					out := a.IDs[1]
					next = slices.DeleteFunc(slices.Clone(voters), func(id uint64) bool { return id == out })
					next = append(next, in...)
					if alive[out] || len(next) != len(voters) {
						t.Fatalf("with voters %v and %+v the keeper replaces %v", voters, v, a.IDs)
					}
				} else if len(next)%2 == 0 || len(next) > 5 {
					t.Fatalf("with voters %v and %+v the keeper promotes %v", voters, v, a.IDs)
				}
				lives := func(id uint64) bool { return alive[id] }
				if v.Busy || slices.ContainsFunc(in, func(id uint64) bool { return !fit[id] }) ||
					!quorum.Has(voters, next, lives) {
					t.Fatalf("with voters %v and %+v the keeper wants %v %v", voters, v, a.Kind, a.IDs)
				}
			}
		}
	})
}
