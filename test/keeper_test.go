package test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chainfire"
)

// newStandbyCluster has three voters and two learners that stand by. args go to all.
func (l *lab) newStandbyCluster(t *testing.T, args ...string) *cluster {
	t.Helper()
	args = append(args, "--voters", "3")
	c := l.newCluster(t, args...)
	for _, name := range []string{"d", "e"} {
		m := l.newMember(t, name, args...)
		m.start(c.members[0].peer)
		c.members = append(c.members, m)
	}
	c.awaitVoters(5, 3)
	return c
}

// voters watches who votes, as the members that it asks have it, until it is ended.
type voters struct {
	mu   sync.Mutex
	seen []string
	// led has, by the term of a leader that has heard a majority, how far it had
	// committed when that was first seen; unhealthy are the moments in which it did not
	// any more.
	led       map[uint64]uint64
	unhealthy []string
	end       func()
}

func watchVoters(t *testing.T, asked []*member) *voters {
	ctx, cancel := context.WithCancel(t.Context())
	w := &voters{led: map[uint64]uint64{}}
	var wg sync.WaitGroup
	for _, m := range asked {
		wg.Go(func() {
			every(ctx, 5*time.Millisecond, func() {
				if s, err := m.status(ctx); err == nil && s.Leader != 0 && s.Header.MemberID == s.Leader {
					w.look(s)
				}
			})
		})
	}
	w.end = func() { cancel(); wg.Wait() }
	t.Cleanup(w.end)
	return w
}

func (w *voters) look(s *chainfire.ClusterStatus) {
	var names []string
	for _, m := range s.Members {
		if m.Phase == chainfire.PhaseVoter {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	now := strings.Join(names, " ")
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.seen, now) {
		w.seen = append(w.seen, now)
	}
	switch term := s.Header.RaftTerm; {
	case s.Healthy:
		if _, seen := w.led[term]; !seen {
			w.led[term] = s.CommitIndex
		}
	default:
		// The members answer side by side: what one says may be of the time before the
		// leader had its first majority, and come later.
		if from, seen := w.led[term]; seen && s.CommitIndex >= from {
			w.unhealthy = append(w.unhealthy, fmt.Sprintf("%s in term %d at %d, whose members are %+v", now, term, s.CommitIndex, s.Members))
		}
	}
}

// done counts how often a kind of change of the membership was carried out.
func (c *cluster) done(step string) int {
	n := 0
	for _, m := range c.members {
		n += strings.Count(tail(m.stderr, 1<<20), "membership step done\" step="+step)
	}
	return n
}

// names are those of the members, in the order of the alphabet.
func names(members ...*member) string {
	var out []string
	for _, m := range members {
		out = append(out, m.name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestStandbyTakesThePlaceOfADeadVoter kills a voter for good, under load: after
// --replace-after one of those that stand by votes in its place, by one joint change
// and no other; the voters never are other than three, or four while the change is
// joint, and their leader hears a majority throughout. The rule for the old one: it
// stays a member, and when it comes back it stands by in its turn.
func TestStandbyTakesThePlaceOfADeadVoter(t *testing.T) {
	for name, victim := range shortened(map[string]func(*cluster) *member{
		"a follower": func(c *cluster) *member { return c.voter(func(m, leader *member) bool { return m != leader }) },
		"the leader": func(c *cluster) *member { return c.voter(func(m, leader *member) bool { return m == leader }) },
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := here.newStandbyCluster(t, brisk("--replace-after", "3s")...)
			dead := victim(c)
			var rest []*member
			for _, m := range c.members[:3] {
				if m != dead {
					rest = append(rest, m)
				}
			}
			w := watchVoters(t, append(rest, c.members[3:]...))
			l := startLoad(t, loadOptions{endpoints: []string{rest[0].client, rest[1].client}, clients: 4, pace: 20 * time.Millisecond, patience: soon})
			l.awaitWrites(50)
			dead.kill()
			var by *member
			rest[0].await("a standby in the place of "+dead.name, patience, func(ctx context.Context) error {
				s, err := rest[0].status(ctx)
				if err != nil {
					return err
				}
				for _, m := range c.members[3:] {
					if phaseOf(s, m.name) == chainfire.PhaseVoter && phaseOf(s, dead.name) == chainfire.PhaseLearner {
						by = m
						return nil
					}
				}
				return fmt.Errorf("status is %+v", s)
			})
			l.awaitWrites(50)
			dead.start()
			c.awaitVoters(5, 3)
			dead.awaitPhase(dead.name, chainfire.PhaseLearner)
			l.awaitWrites(50)
			w.end()
			allowed := []string{names(c.members[:3]...), names(append(rest, by)...), names(append(c.members[:3:3], by)...)}
			for _, s := range w.seen {
				if !slices.Contains(allowed, s) {
					t.Errorf("the voters were %s, where %v are allowed", s, allowed)
				}
			}
			if len(w.unhealthy) > 0 {
				t.Errorf("a leader lost its majority of %v", w.unhealthy)
			}
			if n := c.done("replace"); n != 1 {
				t.Errorf("%d voters were replaced", n)
			}
			l.verify(append(rest, by))
			l.mustHaveNoErrors()
			c.mustHoldTheSame("")
		})
	}
}

// voter is a member of the first three, which vote.
func (c *cluster) voter(fits func(m, leader *member) bool) *member {
	c.t.Helper()
	leader := c.awaitLeader()
	for _, m := range c.members[:3] {
		if fits(m, leader) {
			return m
		}
	}
	c.t.Fatal("no voter fits")
	return nil
}

// TestVotersThatAreNotManagedStayWhatTheyAre kills a voter where the leaders were told
// to leave voters alone: those that stand by go on standing by.
func TestVotersThatAreNotManagedStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	c := here.newStandbyCluster(t, brisk("--replace-after", "1500ms")...)
	for _, m := range c.members {
		m.stop()
		m.args = append(m.args, "--manage-voters=false")
		m.start()
	}
	c.awaitVoters(5, 3)
	dead := c.voter(func(m, leader *member) bool { return m != leader })
	asked := c.awaitLeader()
	id := dead.id(asked)
	dead.kill()
	asked.awaitSilence(id, 6*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	s, err := asked.status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.members {
		want := chainfire.PhaseVoter
		if slices.Contains(c.members[3:], m) {
			want = chainfire.PhaseLearner
		}
		if got := phaseOf(s, m.name); got != want {
			t.Errorf("%s is %s, not %s", m.name, got, want)
		}
	}
	put(t, asked, "still", "serving")
}
