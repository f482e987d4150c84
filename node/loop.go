package node

import (
	"slices"
	"sync"

	"chainfire/internal/sched"
	"chainfire/raft"
	"chainfire/replica"
)

// inputs are what waits for the loop. All of it is taken at once, so that what
// arrives while a round runs forms the next round's batch.
type inputs struct {
	messages    []raft.Message
	envelopes   []replica.Envelope
	proposals   []replica.Proposal
	cancels     []uint64
	reads       []uint64
	persisted   uint64
	restored    *raft.SnapshotMeta
	applied     []appliedRound
	unreachable []uint64
	gone        []uint64
	connected   []uint64
	calls       []func(*replica.Replica)
	messageSize uint64
}

// appliedRound is what the applier has done in one go.
type appliedRound struct {
	index, term uint64
	ids         []uint64
	// refused are the membership changes that the machine refused.
	refused []uint64
}

// maxInboxBytes bounds the entries of messages that wait for the loop. Above it
// appends are dropped; the leader sends them again.
const maxInboxBytes = 128 << 20

// inbox hands inputs from any goroutine to the loop.
type inbox struct {
	mu     sync.Mutex
	in     inputs
	signal chan struct{}
}

func newInbox() *inbox { return &inbox{signal: make(chan struct{}, 1)} }

func (b *inbox) put(f func(in *inputs)) {
	b.mu.Lock()
	f(&b.in)
	b.mu.Unlock()
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

func (b *inbox) receive(msgs []raft.Message) {
	b.put(func(in *inputs) {
		for i := range msgs {
			var size uint64
			for j := range msgs[i].Entries {
				size += msgs[i].Entries[j].Size()
			}
			if size > 0 && in.messageSize+size > maxInboxBytes {
				continue
			}
			in.messageSize += size
			in.messages = append(in.messages, msgs[i])
		}
	})
}

func (b *inbox) take() inputs {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.in
	b.in = inputs{}
	return in
}

// snapshot reports whether one that was received is among the messages.
func (in *inputs) snapshot() bool {
	return slices.ContainsFunc(in.messages, func(m raft.Message) bool { return m.Type == raft.MsgSnapshot && m.Snapshot != nil })
}

// loop owns the replica. It ends when the node stops.
func (n *Node) loop(r *replica.Replica) {
	ticks, stop := sched.Tick(n.sched, n.opts.TickInterval)
	defer stop()
	var b beats
	for {
		event := n.sched.Wait(n.stop, n.inbox.signal, ticks)
		if event == 0 {
			return
		}
		ticked := event == 2
		in := n.inbox.take()
		n.feed(r, in)
		if ticked {
			// After the messages, so that a member that was not scheduled for a
			// while does not take its own absence for the leader's.
			r.Tick()
		}
		out := r.Output()
		n.carryOut(r, out, &b)
		if in.snapshot() && (out.Persist == nil || out.Persist.Snapshot == nil) {
			n.seeder.disclaim() // consensus did not want it any more
		}
		if err := r.Core().Err(); err != nil {
			n.fatal("consensus stopped", err)
			return
		}
	}
}

func (n *Node) feed(r *replica.Replica, in inputs) {
	core := r.Core()
	if in.persisted > 0 {
		core.Persisted(in.persisted)
	}
	if in.restored != nil {
		r.Restored(in.restored.Index)
	}
	for _, a := range in.applied {
		r.Applied(a.index, a.term, a.ids, a.refused)
	}
	for i := range in.messages {
		core.Step(in.messages[i])
	}
	for i := range in.envelopes {
		r.Envelope(in.envelopes[i])
	}
	for _, id := range in.unreachable {
		core.Unreachable(id)
	}
	for _, id := range in.gone {
		core.LeaderGone(id)
	}
	for _, id := range in.connected {
		r.Resend(id)
	}
	for _, id := range in.cancels {
		r.Cancel(id)
	}
	for _, id := range in.reads {
		n.readers.depart(id)
		r.Read(id)
	}
	for _, p := range in.proposals {
		r.Propose(p)
	}
	for _, f := range in.calls {
		f(r)
	}
}

func (n *Node) carryOut(r *replica.Replica, out replica.Output, b *beats) {
	if len(out.Messages) > 0 {
		n.streams.Send(out.Messages)
		b.sent(n, r.Core().Term(), out.Messages)
	}
	for i := range out.Envelopes {
		n.sendEnvelope(out.Envelopes[i])
	}
	if out.Persist != nil {
		n.writer.submit(out.Persist)
	}
	if len(out.Committed) > 0 {
		n.applier.submit(out.Committed)
	}
	for _, d := range out.Done {
		n.counts.failed.Add(1)
		n.waiters.fail(d.ID, d.Err)
	}
	for _, id := range out.Reads {
		n.readers.finish(id)
	}
	core := r.Core()
	n.commit.Store(core.Commit())
	if lead, term := core.Leader(), core.Term(); lead != n.lead.Load() || term != n.term.Load() {
		n.leaderChanged(core.Role(), lead, term)
	}
}

func (n *Node) leaderChanged(role raft.Role, lead, term uint64) {
	was := n.lead.Swap(lead)
	n.term.Store(term)
	if lead != was && lead != raft.None {
		n.log.Info("leader elected", "leader", lead, "term", term, "role", role.String())
	}
	if lead == raft.None && was != raft.None {
		n.log.Info("leader lost", "leader", was, "term", term)
	}
	n.leaderMu.Lock()
	close(n.leaderSignal)
	n.leaderSignal = make(chan struct{})
	n.leaderMu.Unlock()
}

// inLoop runs f on the loop's task and waits for it. It returns false when
// the node stops first.
func (n *Node) inLoop(f func(*replica.Replica)) bool {
	done := make(chan struct{})
	n.inbox.put(func(in *inputs) {
		in.calls = append(in.calls, func(r *replica.Replica) { f(r); close(done) })
	})
	return n.sched.Wait(done, n.stop) == 0
}
