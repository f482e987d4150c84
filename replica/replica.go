// Package replica is one member without goroutines: the consensus core, the
// proposals that wait for their outcome, the reads that wait for their index,
// and the forwarding of both to the leader. Like the core it has no clock and
// does no I/O; node drives it in real time, a simulator in simulated time.
package replica

import (
	"errors"
	"fmt"

	"chainfire"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

// Kind says what a proposal is.
type Kind uint8

// The kinds.
const (
	// Command is a command of the state machine.
	Command Kind = iota
	// Conf is an encoded membership change (raft.EncodeChange).
	Conf
)

// Proposal is something a client of this member wants in the log. ID is chosen
// by the host, unique in the life of the member, and is also inside Data, so
// that the applied entry finds its way back.
type Proposal struct {
	ID   uint64
	Kind Kind
	Data []byte
}

// Done tells that a proposal ended without being applied here. Err says why;
// with chainfire.ErrTimeoutLeaderFail it may have been applied all the same,
// with every other error it certainly was not.
type Done struct {
	ID  uint64
	Err error
}

// Output is a Ready of the core and what the replica adds to it.
type Output struct {
	raft.Ready
	// Envelopes go to other members' replicas.
	Envelopes []Envelope
	Done      []Done
	// Reads are the ids of reads that may be served now: what they must see is
	// applied.
	Reads []uint64
}

// Config is what a replica is made from.
type Config struct {
	Raft raft.Config
	// Engine makes the consensus engine. Default raft.NewCore.
	Engine raft.NewEngine
	// MaxHeld bounds the proposals that wait for a leader to be known, and those
	// whose outcome is open; more are refused with ErrTooManyRequests. Default
	// 65536.
	MaxHeld int
	// ResendTicks is how long a forwarded batch may stay unanswered before it
	// is sent again. Default is the election timeout.
	ResendTicks int
}

// Replica belongs to one goroutine.
type Replica struct {
	cfg  Config
	core raft.Engine

	// held wait for a leader; open are in a log, or on their way to one.
	held  []Proposal
	open  map[uint64]openProposal
	order []uint64 // ids of open in the order they were sent
	fwd   forwarder
	inbox acceptor

	reads   reads
	applied uint64
	// appliedTerm is the term of the entry applied last in this life.
	appliedTerm uint64
	// lead and term are those that the forwarder's and reads' state belong to.
	lead, term uint64

	done      []Done
	envelopes []Envelope
}

type openProposal struct {
	Proposal
	term uint64
}

// New makes a replica as its member was last durable.
func New(cfg Config) (*Replica, error) {
	if cfg.MaxHeld == 0 {
		cfg.MaxHeld = 65536
	}
	if cfg.Engine == nil {
		cfg.Engine = raft.NewCore
	}
	core, err := cfg.Engine(cfg.Raft)
	if err != nil {
		return nil, fmt.Errorf("start consensus: %w", err)
	}
	if cfg.ResendTicks == 0 {
		cfg.ResendTicks = max(cfg.Raft.ElectionTicks, 10)
	}
	return &Replica{
		cfg: cfg, core: core, applied: cfg.Raft.Applied,
		open: map[uint64]openProposal{}, fwd: forwarder{nonce: cfg.Raft.Nonce},
		inbox: acceptor{from: map[uint64]accepted{}},
		reads: reads{next: cfg.Raft.Nonce << 32},
	}, nil
}

// Core is the replica's consensus engine, for status and for inputs that concern
// it alone.
func (r *Replica) Core() raft.Engine { return r.core }

// Tick moves time on by one tick.
func (r *Replica) Tick() {
	r.core.Tick()
	r.tickForward()
	r.reads.again()
}

// Propose takes in a client's proposal. Its end is the applied entry, or a Done.
func (r *Replica) Propose(p Proposal) {
	if len(r.held)+len(r.open) >= r.cfg.MaxHeld {
		r.done = append(r.done, Done{p.ID, chainfire.ErrTooManyRequests})
		return
	}
	r.held = append(r.held, p)
}

// Cancel forgets a proposal whose client no longer waits. What is in a log
// stays in it.
func (r *Replica) Cancel(id uint64) {
	delete(r.open, id)
	for i := range r.held {
		if r.held[i].ID == id {
			r.held = append(r.held[:i], r.held[i+1:]...)
			return
		}
	}
}

// Applied takes in that the state machine holds everything up to index, whose
// entry is of the given term, and that the proposals with these ids were among
// it; refused are the indexes of membership changes that the state machine
// refused. An open proposal of an earlier term than the entry applied last is in no
// log that can win: it is proposed again.
func (r *Replica) Applied(index, term uint64, ids, refused []uint64) {
	for _, id := range ids {
		delete(r.open, id)
	}
	if index > r.applied {
		r.applied = index
		for _, i := range refused {
			r.core.RefuseConf(i)
		}
		r.core.Applied(index)
		r.reads.applied(index)
	}
	if term > r.appliedTerm {
		r.appliedTerm = term
		r.reclaim(func(o openProposal) bool { return o.term < term })
	}
}

// reclaim takes open proposals that are certainly in no log, in order, and
// puts them before those that wait.
func (r *Replica) reclaim(lost func(openProposal) bool) {
	var again []Proposal
	keep := r.order[:0]
	for _, id := range r.order {
		o, ok := r.open[id]
		switch {
		case !ok:
		case lost(o):
			again = append(again, o.Proposal)
			delete(r.open, id)
		default:
			keep = append(keep, id)
		}
	}
	r.order = keep
	if len(again) > 0 {
		r.held = append(again, r.held...)
	}
}

// Restored takes in that a snapshot has become the state. What was open may or
// may not be in it.
func (r *Replica) Restored(index uint64) {
	for _, id := range r.order {
		if _, ok := r.open[id]; ok {
			delete(r.open, id)
			r.done = append(r.done, Done{id, chainfire.ErrTimeoutLeaderFail})
		}
	}
	r.order = r.order[:0]
	r.applied = max(r.applied, index)
	r.reads.applied(r.applied)
}

// Output takes what the inputs so far have led to.
func (r *Replica) Output() Output {
	r.follow()
	r.propose()
	r.ask()
	var out Output
	out.Ready = r.core.Ready()
	r.takeReads(out.Ready.Reads)
	out.Envelopes, r.envelopes = r.envelopes, nil
	out.Done, r.done = r.done, nil
	out.Reads, r.reads.ready = r.reads.ready, nil
	return out
}

// follow notices a new leader or term.
func (r *Replica) follow() {
	lead, term := r.core.Leader(), r.core.Term()
	if lead == r.lead && term == r.term {
		return
	}
	if term != r.term {
		r.inbox = acceptor{from: map[uint64]accepted{}}
	}
	r.lead, r.term = lead, term
	r.fwd.restart(term)
	r.reads.again()
}

// propose sends what is held on its way, if there is a leader.
func (r *Replica) propose() {
	if len(r.held) == 0 || r.lead == raft.None {
		return
	}
	held := r.held
	r.held = nil
	if r.lead != r.cfg.Raft.ID {
		r.forward(held)
		return
	}
	for i, p := range held {
		err := r.enter(p)
		switch {
		case err == nil:
			r.opened(p)
		case errors.Is(err, raft.ErrTransferring), errors.Is(err, raft.ErrNotLeader):
			r.held = append(r.held, held[i:]...)
			return
		default:
			r.done = append(r.done, Done{p.ID, refusal(err)})
		}
	}
}

func (r *Replica) opened(p Proposal) {
	r.open[p.ID] = openProposal{p, r.term}
	r.order = append(r.order, p.ID)
	if len(r.order) > 2*len(r.open)+64 {
		r.reclaim(func(openProposal) bool { return false })
	}
}

// enter puts a proposal into the log of this leader.
func (r *Replica) enter(p Proposal) error {
	if p.Kind == Command {
		_, _, err := r.core.Propose(p.Data)
		return err
	}
	change, err := raft.DecodeChange(p.Data)
	if err != nil {
		return fmt.Errorf("%w: %w", raft.ErrBadChange, err)
	}
	_, _, err = r.core.ProposeConf(change)
	return err
}

// refusal turns a core's refusal into what clients know.
func refusal(err error) error {
	switch {
	case errors.Is(err, raft.ErrTooMuchUncommitted):
		return chainfire.ErrTooManyRequests
	case errors.Is(err, raft.ErrConfPending):
		return chainfire.ErrConfChangePending
	case errors.Is(err, confchange.ErrNoVoters), errors.Is(err, confchange.ErrJoint):
		return fmt.Errorf("%w: %w", chainfire.ErrUnhealthyCluster, err)
	}
	return err
}
