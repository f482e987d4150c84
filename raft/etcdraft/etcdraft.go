// Package etcdraft puts go.etcd.io/raft/v3, the library that etcd runs on, behind
// raft.Engine: as the reference that raft.Core is held against in tests, and for
// those who would rather run on it. Messages and log entries are raft's own, so
// that a cluster may mix engines and a member may change its engine at a restart.
//
// What the reference does by itself stays as it is. The adapter adds what the
// contract asks for beyond it:
//
//   - Chance. The reference draws election timeouts from a global source. Here
//     the election timer of followers is the adapter's, drawn from Config.Jitter;
//     the reference is only told that time passes, and when to campaign.
//   - Durability. The reference's asynchronous storage writes become Persists.
//     It sends a candidate's votes before its own vote is durable; here they wait.
//     A membership change is handed out only once its commit index is durable.
//   - Membership changes. The outcome is computed by package confchange; the
//     reference is led to it, and must arrive at the same configuration.
//   - A leader that was taken out of the voters takes no more proposals, and hands
//     over as soon as a voter has applied its removal.
//   - Reads. The reference answers reads of a single voter before it has
//     committed an entry of its term, and reads at a leader that is removed when
//     one voter is left, without asking that voter. Here the former wait and the
//     latter are refused.
//   - Votes and their answers tell what is committed, and that is taken in while no
//     leader is known.
//   - A snapshot is asked for again when nothing comes of it, and a read that
//     stays unanswered is given up.
//
// What it does not have, and what follows for those who run on it:
//
//   - Sessions. A leader on this engine sends session 0, so it cannot tell an
//     answer to an earlier membership of a follower from one to the present
//     membership. An acknowledgement that is delayed until its sender was removed
//     and added again, in the same term, is counted. Ids must never be used
//     again, which this project's joins guarantee.
//   - Quarantine. A leader on this engine goes on counting a voter that lost its
//     disk as holding what it once acknowledged, and cannot bring it up to date
//     in that term. Such a member must be removed, and joined again as a new one.
//     A follower on this engine that lost its disk stops, with the reason, as soon
//     as a leader tells it of a commit index beyond its log; it does not report
//     amnesia.
//   - A voter that decides alone stays leader while its disk stalls: nobody else
//     could lead.
//
// A panic of the reference stops the engine with the panic as the reason.
package etcdraft

import (
	"fmt"
	"runtime"
	"runtime/debug"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// engine drives a RawNode as its host drives a raft.Core.
type engine struct {
	cfg  raft.Config
	id   uint64
	node *etcd.RawNode
	err  error

	// now is the reference's state; seen is what it was after the last input.
	now, seen state
	log       view

	conf raft.ConfState
	// confs are the changes handed out as committed and not yet applied, refused
	// the indexes of those that the state machine refused.
	confs   []pendingConf
	refused []uint64

	// applying are the entries that the reference gave out as committed and was
	// not told to be applied; given counts those of them handed to the host, up
	// to handedOut.
	applying           []*pb.Entry
	given              int
	handedOut, applied uint64

	elapsed, timeout int
	// stall counts the ticks since the oldest write was handed out.
	stall int

	leader *leadership
	reads  reads

	seq    uint64
	handed raft.HardState
	msgs   []raft.Message
	// durable leave once everything so far is durable; then the reference is
	// told own.
	durable []raft.Message
	own     []*pb.Message
	// local are what the reference is told without waiting for the disk.
	local []*pb.Message
	// echo is the leader's message that is being answered; the answer is dropped
	// when deaf is set.
	echo *raft.Message
	deaf bool
}

// state is what of the reference's state matters at every step.
type state struct {
	term, vote, commit, lead, transferee uint64

	role raft.Role
}

type pendingConf struct {
	index  uint64
	change confchange.Change
}

// New is a raft.NewEngine: it makes an engine as its member was last durable.
func New(cfg raft.Config) (_ raft.Engine, err error) {
	if err := cfg.Fill(); err != nil {
		return nil, err
	}
	e := &engine{
		cfg: cfg, id: cfg.ID, conf: cfg.Conf.Clone(), handed: cfg.HardState,
		log:     newView(cfg.Storage, cfg.HardState.Commit),
		applied: cfg.Applied, handedOut: cfg.Applied,
		reads: reads{batch: cfg.Nonce << 32},
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("start the reference engine: %w", panicked(r))
		}
	}()
	start, err := e.startState()
	if err != nil {
		return nil, err
	}
	e.node, err = etcd.NewRawNode(&etcd.Config{
		ID: cfg.ID, ElectionTick: cfg.ElectionTicks, HeartbeatTick: cfg.HeartbeatTicks,
		Storage:            &storage{engine: e, start: start},
		Applied:            cfg.Applied,
		AsyncStorageWrites: true,
		MaxSizePerMsg:      cfg.MaxMessageBytes, MaxCommittedSizePerReady: cfg.MaxApplyingBytes,
		MaxInflightMsgs: cfg.MaxInflight, MaxInflightBytes: max(cfg.MaxInflightBytes, cfg.MaxMessageBytes),
		CheckQuorum: true, PreVote: true,
		DisableProposalForwarding: true,
		// Changes are checked here, against the configuration in force.
		DisableConfChangeValidation: true,
		Logger:                      quiet{},
	})
	if err != nil {
		return nil, fmt.Errorf("start the reference engine: %w", err)
	}
	e.sync()
	e.seen = e.now
	e.resetElection()
	return e, nil
}

// startState is the hard state to start from: what the log proves is added.
func (e *engine) startState() (raft.HardState, error) {
	hs, last := e.cfg.HardState, e.log.last()
	// A crash between a snapshot's installation and the hard state that goes with
	// it leaves a log of a later term, in which this member cannot have voted.
	lastTerm, err := e.log.term(last)
	if err != nil {
		return hs, fmt.Errorf("read term of last index %d: %w", last, err)
	}
	if lastTerm > hs.Term {
		hs.Term, hs.Vote = lastTerm, raft.None
	}
	hs.Commit = max(hs.Commit, e.cfg.Applied)
	return hs, nil
}

// panicked makes an error of what was recovered.
func panicked(r any) error {
	if err, ok := r.(runtime.Error); ok {
		return fmt.Errorf("%w\n%s", err, debug.Stack())
	}
	if err, ok := r.(error); ok {
		return err
	}
	return fmt.Errorf("%v", r)
}

// Err is the reason for which the engine stopped, or nil.
func (e *engine) Err() error { return e.err }

func (e *engine) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

// input runs one input and takes in what it leads to.
func (e *engine) input(f func()) {
	if e.err != nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			e.fail("the reference engine gave up: %w", panicked(r))
		}
	}()
	f()
	if e.err != nil {
		return
	}
	e.drain()
	e.settle()
	e.check()
}

// step gives a message to the reference. What it refuses is as good as lost on
// the network; proposals, which must not be, do not go through here.
func (e *engine) step(m *pb.Message) { _ = e.node.Step(m) }

// sync reads the reference's state.
func (e *engine) sync() {
	s := e.node.BasicStatus()
	e.now = state{
		term: s.GetTerm(), vote: s.GetVote(), commit: s.GetCommit(), lead: s.Lead,
		transferee: s.LeadTransferee, role: roles[s.RaftState],
	}
}

var roles = map[etcd.StateType]raft.Role{
	etcd.StateFollower: raft.Follower, etcd.StatePreCandidate: raft.PreCandidate,
	etcd.StateCandidate: raft.Candidate, etcd.StateLeader: raft.Leader,
}

// settle draws the consequences of a changed role, term or leader.
func (e *engine) settle() {
	e.sync()
	was, now := e.seen, e.now
	e.seen = now
	if was.term == now.term && was.role == now.role && was.lead == now.lead {
		return
	}
	e.rejectReads()
	switch {
	case now.role != raft.Leader:
		e.leader = nil
	case e.leader == nil || e.leader.term != now.term:
		e.lead()
	}
	if now.role != raft.Leader && (was.term != now.term || was.role != now.role) {
		e.resetElection()
	}
}

// check verifies, in checked engines, what must hold after every input.
func (e *engine) check() {
	if !e.cfg.Checked || e.err != nil {
		return
	}
	switch {
	case e.applied > e.handedOut:
		e.fail("invariant: applied %d > handed out %d", e.applied, e.handedOut)
	case e.log.snap == nil && e.handedOut > e.now.commit:
		e.fail("invariant: handed out %d > committed %d", e.handedOut, e.now.commit)
	case e.now.commit > e.log.last():
		e.fail("invariant: committed %d > last %d", e.now.commit, e.log.last())
	case e.now.term < e.handed.Term:
		e.fail("invariant: term %d < persisted term %d", e.now.term, e.handed.Term)
	case (e.leader != nil) != (e.now.role == raft.Leader):
		e.fail("invariant: %v of term %d with leadership %v", e.now.role, e.now.term, e.leader)
	}
}

// Step takes in a message of a peer.
func (e *engine) Step(m raft.Message) {
	if m.From == raft.None || m.From == e.id || m.To != e.id {
		return
	}
	e.input(func() { e.receive(m) })
}

func (e *engine) receive(m raft.Message) {
	switch m.Type {
	case raft.MsgAppend, raft.MsgHeartbeat, raft.MsgSnapshot:
		e.fromLeader(m)
	case raft.MsgAppendResp, raft.MsgHeartbeatResp:
		e.fromFollower(m)
	case raft.MsgVote, raft.MsgPreVote, raft.MsgVoteResp, raft.MsgPreVoteResp:
		e.aboutVotes(m)
	case raft.MsgTimeoutNow:
		if m.Term == e.now.term && e.now.role == raft.Follower && e.now.lead == m.From && e.promotable() {
			e.step(toMessage(m))
		}
	case raft.MsgReadIndex:
		e.readAsked(m)
	case raft.MsgReadIndexResp:
		e.readAnswered(m)
	}
}

// fromLeader takes in what a leader sends. What the reference answers is taken
// at once, so that it carries session and round of this very message.
func (e *engine) fromLeader(m raft.Message) {
	switch {
	case m.Type == raft.MsgSnapshot && m.Snapshot == nil:
		return
	case e.now.role == raft.Leader && m.Term == e.now.term:
		e.fail("%d also leads term %d", m.From, m.Term)
		return
	}
	if err := contiguousAfter(m); err != nil {
		e.fail("append from %d: %w", m.From, err)
		return
	}
	current := m.Term >= e.now.term
	e.echo = &m
	e.step(toMessage(m))
	e.drain()
	e.echo = nil
	if current {
		e.elapsed = 0
	}
}

// contiguousAfter checks that the entries of an append follow one another and
// the entry that it names.
func contiguousAfter(m raft.Message) error {
	index, term := m.Index, m.LogTerm
	for i := range m.Entries {
		if en := &m.Entries[i]; en.Index != index+1 || en.Term < term {
			return fmt.Errorf("entry %d of term %d after entry %d of term %d", en.Index, en.Term, index, term)
		}
		index, term = m.Entries[i].Index, m.Entries[i].Term
	}
	return nil
}

// Persisted takes in that the Persist numbered seq, and every one before it, is
// durable.
func (e *engine) Persisted(seq uint64) {
	e.input(func() {
		own, installed := e.log.persisted(seq)
		e.stall = 0
		for _, m := range own {
			e.step(m)
		}
		if installed == nil {
			return
		}
		// What was committed before is in the snapshot.
		if len(e.applying) > 0 {
			e.step(appliedMessage(e.id, e.applying))
		}
		e.applying, e.given = nil, 0
		e.applied, e.handedOut = installed.Index, installed.Index
	})
}

// Applied takes in that the state machine holds everything up to index. The
// membership changes among it come into force now.
func (e *engine) Applied(index uint64) {
	if index <= e.applied {
		return
	}
	e.input(func() {
		if index > e.handedOut {
			e.fail("index %d was applied but only %d was handed out", index, e.handedOut)
			return
		}
		e.applyConfs(index)
		e.applied = index
		n := 0
		for n < e.given && e.applying[n].GetIndex() <= index {
			n++
		}
		done := e.applying[:n:n]
		e.applying, e.given = e.applying[n:], e.given-n
		if e.err == nil && n > 0 {
			e.step(appliedMessage(e.id, done))
		}
		e.confSettled()
	})
}

// RefuseConf takes in, before Applied of its index, that the state machine
// refused the membership change at that index.
func (e *engine) RefuseConf(index uint64) { e.refused = append(e.refused, index) }

// quiet is the reference's logger: it says nothing, and panics as it must.
type quiet struct{}

func (quiet) Debug(...any)            {}
func (quiet) Debugf(string, ...any)   {}
func (quiet) Info(...any)             {}
func (quiet) Infof(string, ...any)    {}
func (quiet) Warning(...any)          {}
func (quiet) Warningf(string, ...any) {}
func (quiet) Error(...any)            {}
func (quiet) Errorf(string, ...any)   {}
func (quiet) Fatal(v ...any)          { panic(fmt.Sprint(v...)) }
func (quiet) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
func (quiet) Panic(v ...any) { panic(fmt.Sprint(v...)) }
func (quiet) Panicf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
