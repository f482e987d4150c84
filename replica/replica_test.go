package replica_test

import (
	"errors"
	"slices"
	"testing"

	"chainfire"
	"chainfire/raft"
	"chainfire/replica"
)

// Under loss, doubling, reordering, isolation, restarts and changes of leader every
// proposal ends: applied exactly once, or refused and then not applied at all.
func TestEveryProposalIsAppliedOnceOrCertainlyNot(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(t, seed, 3)
		w.until("a leader", func() bool { return w.leader() != nil })
		next := uint64(0)
		owner := map[uint64]*member{}
		for range 3000 {
			w.loss = 0.15
			switch x := w.rng.IntN(100); {
			case x < 10:
				next++
				m := w.members[w.rng.IntN(3)]
				owner[next] = m
				m.r.Propose(replica.Proposal{ID: next, Data: data(next)})
				w.run(m)
			case x < 15:
				w.tick()
			case x == 15 && w.rng.IntN(4) == 0:
				m := w.members[w.rng.IntN(3)]
				m.r.Core().Campaign()
				w.run(m)
			case x == 16:
				w.msgs, w.envs = nil, nil
			case x == 17 && w.rng.IntN(4) == 0:
				// Long enough for a leader to step down in its own term.
				w.cut, w.cutTicks = uint64(1+w.rng.IntN(3)), w.rng.IntN(40)
			case x == 18 && w.rng.IntN(8) == 0:
				m := w.members[w.rng.IntN(3)]
				for id, o := range owner {
					if _, done := m.done[id]; o == m && !done && !slices.Contains(m.applied, id) {
						delete(owner, id) // nobody waits for it any more
					}
				}
				w.start(m)
			default:
				w.deliver()
			}
		}
		w.until("an end of every proposal", func() bool {
			for id, m := range owner {
				if _, done := m.done[id]; !done && !slices.Contains(m.applied, id) {
					return false
				}
			}
			return true
		})
		checkOutcomes(t, seed, w, owner)
	}
}

func checkOutcomes(t *testing.T, seed uint64, w *world, owner map[uint64]*member) {
	t.Helper()
	w.until("equal states", func() bool {
		return slices.Equal(w.members[0].applied, w.members[1].applied) && slices.Equal(w.members[1].applied, w.members[2].applied)
	})
	count := map[uint64]int{}
	for _, id := range w.members[0].applied {
		count[id]++
	}
	for id, n := range count {
		if n > 1 {
			t.Fatalf("seed %d: proposal %d was applied %d times", seed, id, n)
		}
	}
	for id, m := range owner {
		err, refused := m.done[id]
		switch {
		case refused && count[id] != 0 && !errors.Is(err, chainfire.ErrTimeoutLeaderFail):
			t.Fatalf("seed %d: proposal %d was applied although it ended with %v", seed, id, err)
		case !refused && count[id] != 1:
			t.Fatalf("seed %d: proposal %d was applied %d times without an error", seed, id, count[id])
		}
	}
}

func TestFollowerForwardsAndNeverAppendsItself(t *testing.T) {
	w := newWorld(t, 7, 3)
	w.until("a leader everyone follows", func() bool {
		l := w.leader()
		return l != nil && w.members[0].r.Core().Leader() == l.id && w.members[1].r.Core().Leader() == l.id && w.members[2].r.Core().Leader() == l.id
	})
	f := w.members[0]
	if f == w.leader() {
		f = w.members[1]
	}
	w.msgs, w.envs = nil, nil
	before := f.r.Core().Status().Last
	f.r.Propose(replica.Proposal{ID: 1, Data: data(1)})
	w.run(f)
	if now := f.r.Core().Status().Last; now != before {
		t.Fatalf("the follower's log grew from %d to %d by its own client's write", before, now)
	}
	if len(w.envs) != 1 || w.envs[0].To != w.leader().id {
		t.Fatalf("the follower sent %v, not one batch to the leader", w.envs)
	}
	w.until("the write applied at the follower", func() bool { return slices.Contains(f.applied, 1) })
}

// batchFor is a forwarded batch of one proposal for a member.
func batchFor(m *member, term, nonce, batch, id uint64) replica.Envelope {
	return replica.Envelope{
		From: m.id%3 + 1, To: m.id, Term: term, Nonce: nonce, Batch: batch,
		Proposals: []replica.Proposal{{ID: id, Data: data(id)}},
	}
}

func TestForwardOfAnotherTermGetsIntoNoLog(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.until("a leader", func() bool { return w.leader() != nil })
	l := w.leader()
	last := l.r.Core().Status().Last
	for _, term := range []uint64{l.r.Core().Term() - 1, l.r.Core().Term() + 1} {
		l.r.Envelope(batchFor(l, term, 9, 1, 5))
	}
	out := l.r.Output()
	if now := l.r.Core().Status().Last; now != last {
		t.Fatalf("a batch of another term entered the log at index %d", now)
	}
	if len(out.Envelopes) != 0 {
		t.Fatalf("what another leader did is not known here, and was answered with %+v", out.Envelopes)
	}
}

// A leader that steps down in its own term may lead the next one, with the batch
// still in its log: if it called that batch refused now, it would be written twice
// (seed 698068172300 of the simulation of whole members).
func TestLeaderThatSteppedDownRepeatsWhatItSaid(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.until("a leader", func() bool { return w.leader() != nil })
	l := w.leader()
	term := l.r.Core().Term()
	l.r.Envelope(batchFor(l, term, 9, 1, 5))
	w.run(l)
	w.msgs, w.envs = nil, nil
	for range 100 {
		l.r.Tick() // nobody answers
		if l.r.Core().Role() != raft.Leader {
			break
		}
	}
	if l.r.Core().Role() == raft.Leader || l.r.Core().Term() != term {
		t.Fatalf("it is %v of term %d, and should have stepped down in term %d", l.r.Core().Role(), l.r.Core().Term(), term)
	}
	l.r.Envelope(batchFor(l, term, 9, 1, 5))
	l.r.Envelope(batchFor(l, term, 9, 2, 6))
	out := l.r.Output()
	want := [][]replica.Code{{replica.Taken}, {replica.NotLeader}}
	for i, w := range want {
		if len(out.Envelopes) != len(want) || !slices.Equal(out.Envelopes[i].Codes, w) {
			t.Fatalf("answered %+v, want the codes %v", out.Envelopes, want)
		}
	}
}

func TestMemberThatMayHaveForgottenItsTermSaysNothing(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.until("a leader", func() bool { return w.leader() != nil })
	l := w.leader()
	term := l.r.Core().Term()
	l.r.Envelope(batchFor(l, term, 9, 1, 5))
	w.run(l)
	w.start(l)
	if l.r.Core().Term() != term {
		t.Fatalf("it starts in term %d, not %d", l.r.Core().Term(), term)
	}
	l.r.Envelope(batchFor(l, term, 9, 1, 5))
	if out := l.r.Output(); len(out.Envelopes) != 0 {
		t.Fatalf("after a restart it answers %+v for a batch that is in its log", out.Envelopes)
	}
}

func TestBatchSentTwiceIsTakenOnce(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.until("a leader", func() bool { return w.leader() != nil })
	l := w.leader()
	e := replica.Envelope{
		From: l.id%3 + 1, To: l.id, Term: l.r.Core().Term(), Nonce: 9, Batch: 1,
		Proposals: []replica.Proposal{{ID: 5, Data: data(5)}},
	}
	l.r.Envelope(e)
	last := l.r.Core().Status().Last
	l.r.Envelope(e)
	if now := l.r.Core().Status().Last; now != last {
		t.Fatalf("the second copy entered the log")
	}
	gap := e
	gap.Batch = 3
	l.r.Envelope(gap)
	out := l.r.Output()
	if n := len(out.Envelopes); n != 3 {
		t.Fatalf("%d answers", n)
	}
	if a := out.Envelopes[2]; len(a.Codes) != 0 || a.Batch != 2 {
		t.Fatalf("a gap was answered with %+v, not with a call for batch 2", a)
	}
}

// A read is served only when everything that was applied anywhere before it was
// asked is applied here too.
func TestReadsSeeEveryEarlierWrite(t *testing.T) {
	for seed := range uint64(40) {
		w := newWorld(t, seed+100, 3)
		w.until("a leader", func() bool { return w.leader() != nil })
		next, readID := uint64(0), uint64(0)
		floor := map[uint64]int{}
		at := map[uint64]*member{}
		for range 2000 {
			w.loss = 0.1
			m := w.members[w.rng.IntN(3)]
			switch x := w.rng.IntN(100); {
			case x < 8:
				next++
				m.r.Propose(replica.Proposal{ID: next, Data: data(next)})
				w.run(m)
			case x < 14:
				readID++
				floor[readID], at[readID] = max(len(w.members[0].applied), len(w.members[1].applied), len(w.members[2].applied)), m
				m.r.Read(readID)
				w.run(m)
			case x < 20:
				w.tick()
			default:
				w.deliver()
			}
		}
		w.until("an answer to every read", func() bool {
			for id, m := range at {
				if _, ok := m.reads[id]; !ok {
					return false
				}
			}
			return true
		})
		for id, m := range at {
			if m.reads[id] < floor[id] {
				t.Fatalf("seed %d: read %d on member %d saw %d writes, but %d were applied before it was asked", seed, id, m.id, m.reads[id], floor[id])
			}
		}
	}
}

func TestTooManyOpenProposalsAreRefused(t *testing.T) {
	l := &memLog{entries: []raft.Entry{{Index: 1, Term: 1}}}
	r, err := replica.New(replica.Config{MaxHeld: 2, Raft: raft.Config{
		ID: 1, Storage: l, HardState: raft.HardState{Term: 1, Commit: 1}, Applied: 1,
		Conf: raft.ConfState{Voters: []uint64{1, 2, 3}}, Jitter: func(int) int { return 0 },
	}})
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint64(3) {
		r.Propose(replica.Proposal{ID: id, Data: data(id)})
	}
	out := r.Output()
	if len(out.Done) != 1 || out.Done[0].ID != 2 || !errors.Is(out.Done[0].Err, chainfire.ErrTooManyRequests) {
		t.Fatalf("ended %+v", out.Done)
	}
}

// A snapshot has become the state: whether what was open is in it cannot be told.
// It ends, with the error that says so, and nobody waits for ever.
func TestSnapshotEndsWhatWasOpen(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.until("a leader", func() bool { return w.leader() != nil })
	l := w.leader()
	for id := range uint64(3) {
		l.r.Propose(replica.Proposal{ID: id, Data: data(id)})
	}
	w.run(l)
	l.r.Restored(1000)
	l.r.Propose(replica.Proposal{ID: 3, Data: data(3)})
	out := l.r.Output()
	for i, d := range out.Done {
		if d.ID != uint64(i) || !errors.Is(d.Err, chainfire.ErrTimeoutLeaderFail) {
			t.Errorf("ended %+v", d)
		}
	}
	if len(out.Done) != 3 {
		t.Errorf("%d proposals ended, want the 3 that were open", len(out.Done))
	}
}
