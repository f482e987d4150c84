package etcdraft_test

import (
	"slices"
	"testing"

	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/raft/etcdraft"
)

// memLog is a durable log in memory: entries[0] is the base.
type memLog struct{ entries []raft.Entry }

func (l *memLog) FirstIndex() uint64 { return l.entries[0].Index + 1 }
func (l *memLog) LastIndex() uint64  { return l.entries[len(l.entries)-1].Index }

func (l *memLog) Term(i uint64) (uint64, error) {
	switch {
	case i < l.entries[0].Index:
		return 0, raft.ErrCompacted
	case i > l.LastIndex():
		return 0, raft.ErrUnavailable
	}
	return l.entries[i-l.entries[0].Index].Term, nil
}

func (l *memLog) Entries(lo, hi, _ uint64) ([]raft.Entry, error) {
	switch {
	case lo < l.FirstIndex():
		return nil, raft.ErrCompacted
	case hi > l.LastIndex()+1:
		return nil, raft.ErrUnavailable
	}
	base := l.entries[0].Index
	return slices.Clone(l.entries[lo-base : hi-base]), nil
}

// host drives one engine as member 1, one step at a time.
type host struct {
	t *testing.T
	raft.Engine
	log  *memLog
	hard raft.HardState
	// queue are the writes that are not durable yet, sent what left so far.
	queue []*raft.Persist
	sent  []raft.Message
	// committed was handed out, reads were answered.
	committed []raft.Entry
	reads     []raft.ReadState
}

const testElection = 5

// start makes member 1 of these voters; its log is the entries of a term each,
// from index 1 on, the first of them applied and committed.
func start(t *testing.T, engine raft.NewEngine, voters int, terms ...uint64) *host {
	t.Helper()
	h := &host{t: t, log: &memLog{}}
	for i, term := range terms {
		h.log.entries = append(h.log.entries, raft.Entry{Index: uint64(i + 1), Term: term})
	}
	h.hard = raft.HardState{Term: terms[len(terms)-1], Commit: 1}
	var conf raft.ConfState
	for id := range voters {
		conf.Voters = append(conf.Voters, uint64(id+1))
	}
	e, err := engine(raft.Config{
		ID: 1, HardState: h.hard, Applied: 1, Conf: conf, Storage: h.log, ElectionTicks: testElection,
		Jitter: func(int) int { return 0 }, Nonce: 7, Checked: true,
		MaxUncommittedBytes: 1000, DiskStallTicks: 3 * testElection,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Engine = e
	return h
}

// ready takes a Ready and sends what may be sent.
func (h *host) ready() {
	h.t.Helper()
	rd := h.Ready()
	h.sent = append(h.sent, rd.Messages...)
	if rd.Persist != nil {
		h.queue = append(h.queue, rd.Persist)
	}
	h.committed = append(h.committed, rd.Committed...)
	h.reads = append(h.reads, rd.Reads...)
}

// persist makes the oldest write durable.
func (h *host) persist() {
	h.t.Helper()
	if len(h.queue) == 0 {
		h.t.Fatal("nothing is to be written")
	}
	p := h.queue[0]
	h.queue = h.queue[1:]
	if p.Snapshot != nil {
		h.log.entries = []raft.Entry{{Index: p.Snapshot.Index, Term: p.Snapshot.Term}}
	}
	if len(p.Entries) > 0 {
		h.log.entries = append(h.log.entries[:p.Entries[0].Index-h.log.entries[0].Index], p.Entries...)
	}
	if p.HardState != nil {
		h.hard = *p.HardState
	}
	h.sent = append(h.sent, p.Messages...)
	h.Persisted(p.Seq)
}

// settle does everything until nothing is left.
func (h *host) settle() {
	h.t.Helper()
	for range 100 {
		h.ready()
		for len(h.queue) > 0 {
			h.persist()
		}
		if n := len(h.committed); n > 0 && h.committed[n-1].Index > h.Status().Applied {
			h.Applied(h.committed[n-1].Index)
			continue
		}
		if rd := h.Ready(); len(rd.Messages)+len(rd.Committed)+len(rd.Reads) == 0 && rd.Persist == nil {
			return
		} else if h.take(rd); h.Err() != nil {
			h.t.Fatal(h.Err())
		}
	}
	h.t.Fatal("it does not settle")
}

func (h *host) take(rd raft.Ready) {
	h.sent = append(h.sent, rd.Messages...)
	if rd.Persist != nil {
		h.queue = append(h.queue, rd.Persist)
	}
	h.committed = append(h.committed, rd.Committed...)
	h.reads = append(h.reads, rd.Reads...)
}

// from steps a message of a member to this one.
func (h *host) from(id uint64, m raft.Message) {
	h.t.Helper()
	m.From, m.To = id, 1
	h.Step(m)
	if err := h.Err(); err != nil {
		h.t.Fatal(err)
	}
}

// drop forgets what was sent.
func (h *host) drop() { h.sent = nil }

// only is the one message of a type that was sent to a member.
func (h *host) only(to uint64, typ raft.MessageType) raft.Message {
	h.t.Helper()
	var found []raft.Message
	for _, m := range h.sent {
		if m.To == to && m.Type == typ {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		h.t.Fatalf("%d messages of type %d to %d, want one: %+v", len(found), typ, to, h.sent)
	}
	return found[0]
}

// elect makes the host leader by the votes of 2.
func (h *host) elect() {
	h.t.Helper()
	h.Campaign()
	h.settle()
	h.from(2, raft.Message{Type: raft.MsgPreVoteResp, Term: h.Term() + 1})
	h.settle()
	h.from(2, raft.Message{Type: raft.MsgVoteResp, Term: h.Term()})
	if h.Role() != raft.Leader {
		h.t.Fatalf("it is %v of term %d", h.Role(), h.Term())
	}
}

// ack lets a member acknowledge everything, by name of one that applied as much
// as this one.
func (h *host) ack(id uint64) {
	h.t.Helper()
	s := h.Status()
	var session uint64
	for _, m := range h.sent {
		if m.To == id && m.Type == raft.MsgAppend {
			session = m.Session
		}
	}
	h.from(id, raft.Message{Type: raft.MsgAppendResp, Term: s.Term, Index: s.Last, Applied: s.Applied, Session: session})
}

var engines = map[string]raft.NewEngine{"core": raft.NewCore, "reference": etcdraft.New}

func add(id uint64) confchange.Change {
	return confchange.Change{Steps: []confchange.Step{{Kind: confchange.AddLearner, ID: id}}}
}
