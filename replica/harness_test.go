package replica_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"chainfire/raft"
	"chainfire/replica"
)

// memLog is a durable log in memory.
type memLog struct{ entries []raft.Entry } // entries[0] is the base

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
	return append([]raft.Entry(nil), l.entries[lo-base:hi-base]...), nil
}

func (l *memLog) put(es []raft.Entry) {
	keep := es[0].Index - l.entries[0].Index
	l.entries = append(l.entries[:keep:keep], es...)
}

// member is one replica with its disk and its state: the ids it applied.
type member struct {
	id      uint64
	r       *replica.Replica
	log     *memLog
	hs      raft.HardState
	applied []uint64 // proposal ids in order
	index   uint64
	done    map[uint64]error
	reads   map[uint64]int // how much was applied when the read was served
}

// world is some members on one thread with a network that loses, doubles and
// reorders.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	members []*member
	msgs    []raft.Message
	envs    []replica.Envelope
	loss    float64
	nonce   uint64
	// cut is a member that nothing reaches nor leaves, for so many ticks.
	cut      uint64
	cutTicks int
}

func newWorld(t *testing.T, seed uint64, n int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1))}
	for i := range n {
		m := &member{
			id: uint64(i + 1), log: &memLog{entries: []raft.Entry{{Index: 1, Term: 1}}}, index: 1,
			hs: raft.HardState{Term: 1, Commit: 1}, done: map[uint64]error{}, reads: map[uint64]int{},
		}
		w.members = append(w.members, m)
		w.start(m)
	}
	return w
}

func (w *world) start(m *member) {
	w.nonce++
	conf := raft.ConfState{}
	for id := uint64(1); id <= 3; id++ {
		conf.Voters = append(conf.Voters, id)
	}
	r, err := replica.New(replica.Config{Raft: raft.Config{
		ID: m.id, Storage: m.log, HardState: m.hs, Applied: m.index, Conf: conf,
		Jitter: w.rng.IntN, Nonce: w.nonce, Checked: true,
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	m.r = r
}

func data(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

// run carries out a member's output at once.
func (w *world) run(m *member) {
	out := m.r.Output()
	w.msgs = append(w.msgs, out.Messages...)
	for _, e := range out.Envelopes {
		e.From = m.id
		w.envs = append(w.envs, e)
	}
	for _, d := range out.Done {
		m.done[d.ID] = d.Err
	}
	for _, id := range out.Reads {
		m.reads[id] = len(m.applied)
	}
	if p := out.Persist; p != nil {
		if p.HardState != nil {
			m.hs = *p.HardState
		}
		if len(p.Entries) > 0 {
			m.log.put(p.Entries)
		}
		w.msgs = append(w.msgs, p.Messages...)
		m.r.Core().Persisted(p.Seq)
	}
	if n := len(out.Committed); n > 0 {
		var ids []uint64
		for _, e := range out.Committed {
			if len(e.Data) == 8 {
				id := binary.BigEndian.Uint64(e.Data)
				m.applied = append(m.applied, id)
				ids = append(ids, id)
			}
		}
		last := out.Committed[n-1]
		m.index = last.Index
		m.r.Applied(last.Index, last.Term, ids, nil)
	}
	if err := m.r.Core().Err(); err != nil {
		w.t.Fatalf("member %d: %v", m.id, err)
	}
}

// deliver hands over one message at random, perhaps keeping it for another time.
func (w *world) deliver() {
	// A network that holds back everything is a network that loses.
	if len(w.msgs) > 300 {
		w.rng.Shuffle(len(w.msgs), func(i, j int) { w.msgs[i], w.msgs[j] = w.msgs[j], w.msgs[i] })
		w.msgs = w.msgs[:100]
	}
	if n := len(w.msgs); n > 0 {
		i := w.rng.IntN(n)
		m := w.msgs[i]
		if w.rng.Float64() >= w.loss/2 {
			w.msgs = append(w.msgs[:i], w.msgs[i+1:]...)
		}
		if w.rng.Float64() >= w.loss && !w.isCut(m.From, m.To) {
			w.members[m.To-1].r.Core().Step(m)
			w.run(w.members[m.To-1])
		}
	}
	if n := len(w.envs); n > 0 {
		i := w.rng.IntN(n)
		e := w.envs[i]
		if w.rng.Float64() >= w.loss/2 {
			w.envs = append(w.envs[:i], w.envs[i+1:]...)
		}
		if e.To != raft.None && w.rng.Float64() >= w.loss && !w.isCut(e.From, e.To) {
			w.members[e.To-1].r.Envelope(e)
			w.run(w.members[e.To-1])
		}
	}
}

func (w *world) isCut(a, b uint64) bool { return w.cutTicks > 0 && (a == w.cut || b == w.cut) }

func (w *world) tick() {
	w.cutTicks = max(0, w.cutTicks-1)
	for _, m := range w.members {
		m.r.Tick()
		w.run(m)
	}
}

// until runs the world without loss until ok, for a bounded time.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	w.loss = 0
	for range 400 {
		if ok() {
			return
		}
		w.tick()
		for range 200 {
			if len(w.msgs)+len(w.envs) == 0 {
				break
			}
			w.deliver()
		}
	}
	var s string
	for _, m := range w.members {
		st := m.r.Core().Status()
		s += fmt.Sprintf("\n  %d %v term %d lead %d last %d commit %d applied %d", m.id, st.Role, st.Term, st.Leader, st.Last, st.Commit, st.Applied)
	}
	w.t.Fatalf("%s did not come about:%s", what, s)
}

func (w *world) leader() *member {
	for _, m := range w.members {
		if m.r.Core().Role() == raft.Leader {
			return m
		}
	}
	return nil
}
