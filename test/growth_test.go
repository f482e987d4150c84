package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"chainfire"
)

// awaitPhase waits until a member is said to be in one of the phases.
func (m *member) awaitPhase(name string, phases ...chainfire.MemberPhase) {
	m.t.Helper()
	m.await(fmt.Sprintf("%s as %v", name, phases), patience, func(ctx context.Context) error {
		s, err := m.status(ctx)
		if err != nil {
			return err
		}
		at := phaseOf(s, name)
		for _, p := range phases {
			if at == p {
				return nil
			}
		}
		return fmt.Errorf("it is %q", at)
	})
}

// TestGrowthFromOneToThree adds a second and a third member by real joins, under
// writes, with the timings that others' replication to a fresh learner fell over:
// no client sees an error but where the leader itself is killed, no write is lost,
// and in the end three vote, of which the first may die.
func TestGrowthFromOneToThree(t *testing.T) {
	type growing struct{ a, b, d *member }
	for name, grow := range shortened(map[string]func(g growing, l *load){
		"one after the other": func(g growing, l *load) {
			g.b.start(g.a.peer)
			l.awaitWrites(100)
			g.d.start(g.a.peer)
		},
		"both at once": func(g growing, _ *load) {
			g.b.launch(g.a.peer)
			g.d.launch(g.a.peer)
		},
		"the third through the second": func(g growing, _ *load) {
			g.b.launch(g.a.peer)
			g.d.launch(g.b.peer)
		},
		"the second dies when it has a place": func(g growing, l *load) {
			g.b.launch(g.a.peer)
			g.b.awaitStep("reserve")
			g.b.kill()
			g.d.launch(g.a.peer)
			l.awaitWrites(100)
			g.b.launch(g.a.peer)
		},
		"the second dies as a learner": func(g growing, l *load) {
			g.b.start(g.a.peer)
			g.a.awaitPhase("b", chainfire.PhaseLearner)
			g.b.kill()
			l.awaitWrites(200)
			g.b.launch(g.a.peer)
			g.d.launch(g.a.peer)
		},
		"the second dies again and again": func(g growing, l *load) {
			for range 5 {
				g.b.start(g.a.peer)
				l.awaitWrites(30)
				g.b.kill()
				l.awaitWrites(30)
			}
			g.b.launch(g.a.peer)
			g.d.launch(g.a.peer)
		},
		"the third dies while both are promoted": func(g growing, l *load) {
			g.b.start(g.a.peer)
			g.d.launch(g.a.peer)
			g.a.awaitPhase("d", chainfire.PhaseLearner, chainfire.PhaseVoter)
			g.d.kill()
			l.awaitWrites(100)
			g.d.launch()
		},
		"the first dies while both learn": func(g growing, l *load) {
			g.b.start(g.a.peer)
			g.d.launch(g.a.peer)
			g.a.awaitPhase("d", chainfire.PhaseReserved, chainfire.PhaseSeeding, chainfire.PhaseLearner)
			g.a.kill()
			g.a.start()
			l.awaitWrites(100)
		},
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := oneMember(t)
			g := growing{c.members[0], here.newMember(t, "b"), here.newMember(t, "d")}
			l := startLoad(t, loadOptions{endpoints: []string{g.a.client}, clients: 4, pace: 10 * time.Millisecond})
			l.awaitWrites(50)
			grow(g, l)
			c.members = append(c.members, g.b, g.d)
			c.awaitVoters(3, 3)
			for _, m := range c.members {
				m.awaitServing()
			}
			l.awaitWrites(50)
			l.verify(c.members)
			if name != "the first dies while both learn" {
				l.mustHaveNoErrors()
			}
			// The three decide without the one that began.
			g.a.kill()
			put(t, g.b, "after", "the death of the first")
			put(t, g.d, "after", "the death of the first")
		})
	}
}

// TestFiveNewcomersAtOnceAreSeededSideBySideAndVoteInOddNumbers starts them at the
// same moment against one member: 1, then 3, then 5 vote, and the last stands by.
func TestFiveNewcomersAtOnceAreSeededSideBySideAndVoteInOddNumbers(t *testing.T) {
	t.Parallel()
	// One is to be at its seed still when another begins, which takes seconds on a machine with
	// much to do. Not all of them need be at once: who comes when two snapshots are being read,
	// both older than its reservation, waits for one of them.
	c := oneMember(t, append(calm(), "--seed-rate", "1MiB")...)
	a := c.members[0]
	ballast(t, a.kv(), seedSize)
	l := startLoad(t, loadOptions{endpoints: []string{a.client}, clients: 4, pace: 20 * time.Millisecond})
	for _, name := range []string{"b", "c", "d", "e", "f"} {
		m := here.newMember(t, name, calm()...)
		m.launch(a.peer)
		c.members = append(c.members, m)
	}
	a.await("two of them in their seed at once", patience, func(context.Context) error {
		under := 0
		for _, m := range c.members[1:] {
			if done, total := m.proc.seeding(); done > 0 && done < total {
				under++
			}
		}
		if under < 2 {
			return fmt.Errorf("%d are", under)
		}
		return nil
	})
	a.await("all of them have joined", 3*patience, func(ctx context.Context) error {
		s, err := a.status(ctx)
		if err != nil {
			return err
		}
		return exactly(s, 6, 5)
	})
	c.awaitVoters(6, 5)
	l.awaitWrites(50)
	l.mustHaveNoErrors()
	s, err := a.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.verify(slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return phaseOf(s, m.name) != chainfire.PhaseVoter }))
	c.mustHoldTheSame("ballast/")
	promoted := 0
	for line := range strings.Lines(a.proc.log()) {
		if !strings.Contains(line, "membership step done") || !strings.Contains(line, "step=promote") {
			continue
		}
		promoted++
		var one, two uint64
		_, ids, _ := strings.Cut(line, "members=")
		if n, err := fmt.Sscanf(strings.Trim(strings.TrimSpace(ids), `"`), "[%d %d]", &one, &two); n != 2 || one >= two {
			t.Errorf("not two in the order of their places (%v): %s", err, line)
		}
	}
	if promoted != 2 {
		t.Errorf("the voters grew in %d steps", promoted)
	}
}

// TestStoppedLearnerHoldsNothingUp stops a learner's process, so that what is sent
// to it is neither taken nor refused: writes and further changes go on at once.
func TestStoppedLearnerHoldsNothingUp(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	leader := c.awaitLeader()
	d := here.newMember(t, "d", calm()...)
	d.start(leader.peer)
	d.awaitStep("promote")
	l := startLoad(t, loadOptions{endpoints: c.endpoints(), clients: 4, pace: 10 * time.Millisecond})
	l.awaitWrites(50)
	from := l.now()
	if err := d.proc.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ballast(t, leader.kv(), 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	added, err := leader.kv().MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	// It was never started, and is not promoted.
	_, err = leader.kv().MemberPromote(ctx, added.Member.GetID())
	if !errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
		t.Errorf("promotion of a learner that was never started: %v", err)
	}
	remove(t, leader, added.Member.GetID())
	if took := time.Since(began); took > callTime {
		t.Errorf("three changes took %v", took)
	}
	await(t, "the silence of the learner", soon, func(ctx context.Context) error {
		s, err := leader.status(ctx)
		if err != nil {
			return err
		}
		for _, m := range s.Members {
			if m.Name == "d" && !m.Active && m.Reason != "" {
				return nil
			}
		}
		return fmt.Errorf("status is %+v", s)
	})
	if _, err := leader.kv().MemberPromote(ctx, d.id(leader)); !errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
		t.Errorf("promotion of a learner that does not answer: %v", err)
	}
	if pause := l.longestPause(from, l.now()); pause > callTime/2 {
		t.Errorf("writes paused for %v", pause)
	}
	if err := d.proc.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.members = append(c.members, d)
	c.awaitVoters(4, 3)
	c.mustHoldTheSame("ballast/")
	l.verify(c.members[:3])
	l.mustHaveNoErrors()
}

// TestMembershipCallsAtOnce makes changes from many clients at the same time, at
// every member: each call ends, and what they leave is one configuration that is
// not joint.
func TestMembershipCallsAtOnce(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	const each = 6
	ends := make(chan error)
	for i, m := range append(c.members, c.members...) {
		go func() {
			for n := range each {
				ends <- addAndRemove(t.Context(), m, fmt.Sprintf("http://127.0.0.1:%d", 1+i*each+n))
			}
		}()
	}
	done := 0
	for range 2 * len(c.members) * each {
		switch err := <-ends; {
		case err == nil:
			done++
		case errors.Is(err, errNeverEnds):
			t.Error(err)
		}
	}
	if done == 0 {
		t.Error("no change came through")
	}
	t.Logf("%d of %d were added and removed, the others refused", done, 2*len(c.members)*each)
	c.mustBeWhole(patience)
}

var errNeverEnds = errors.New("a membership call did not end")

// addAndRemove adds a learner that nobody is, and removes it until it is gone.
func addAndRemove(ctx context.Context, m *member, url string) error {
	call := func(f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		err := f(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("%w at %s: %w", errNeverEnds, m.name, err)
		}
		return err
	}
	var id uint64
	err := call(func(ctx context.Context) error {
		r, err := m.kv().MemberAddAsLearner(ctx, []string{url})
		if err == nil {
			id = r.Member.GetID()
		}
		return err
	})
	for err == nil {
		err = call(func(ctx context.Context) error { _, err := m.kv().MemberRemove(ctx, id); return err })
		switch {
		case err == nil, errors.Is(err, rpctypes.ErrMemberNotFound):
			return nil
		case errors.Is(err, errNeverEnds):
			return err
		}
		err = nil // refused while another change is under way: again
	}
	return err
}

// TestFollowerBehindTheLogIsSeeded kills a follower, writes more than the log
// keeps, and starts it again; and while it takes in a snapshot kills the leader
// that it takes it from. The new leader's is taken.
func TestFollowerBehindTheLogIsSeeded(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it writes more than a log keeps")
	}
	c := here.newCluster(t, append(calm(), "--seed-rate", "12MiB")...)
	leader := c.awaitLeader()
	f := c.followers()[0]
	f.kill()
	ballast(t, leader.kv(), 112<<20)
	put(t, leader, "after", "all of it")
	f.launch()
	f.await("a snapshot under way", patience, func(context.Context) error {
		if len(seeds(f)) == 0 {
			return errors.New("none is pulled")
		}
		return nil
	})
	leader.kill()
	f.await("the snapshot", 2*patience, func(ctx context.Context) error {
		r, err := f.kv().Get(ctx, "after", clientv3.WithSerializable())
		if err == nil && len(r.Kvs) == 0 {
			err = errors.New("not there yet")
		}
		return err
	})
	t.Logf("snapshots were pulled from %v", seeds(f))
	leader.start()
	c.awaitVoters(3, 3)
	c.mustHoldTheSame("ballast/")
}

// seeds are the lines of a member's log that name a member from which it pulls a
// snapshot.
func seeds(m *member) []string {
	var out []string
	for line := range strings.Lines(m.proc.log()) {
		if strings.Contains(line, "pulling a snapshot") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}
