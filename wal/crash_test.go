package wal

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"chainfire/internal/disk"
	"chainfire/raft"
)

var crashSeed = flag.Uint64("crashseed", 0, "run TestCrashAtEveryOperation with this seed alone")

// model is what a log must hold after some batch.
type model struct {
	hs    raft.HardState
	floor uint64
	// base is where the last Create or Reset began, released the last Release.
	base     Position
	released uint64
	entries  []raft.Entry
}

func (m *model) last() uint64 { return m.base.Index + uint64(len(m.entries)) }

func (m *model) apply(b Batch) *model {
	n := *m
	if b.HardState != nil {
		n.hs = *b.HardState
	}
	n.floor = max(n.floor, b.Floor)
	if len(b.Entries) > 0 {
		n.entries = append(slices.Clone(m.entries[:b.Entries[0].Index-1-m.base.Index]), b.Entries...)
	}
	return &n
}

// differs says why a recovered log cannot be this state, or nothing.
func (m *model) differs(l *Log, st State, es []raft.Entry) string {
	switch {
	case st.HardState != m.hs:
		return fmt.Sprintf("hard state %v, want %v", st.HardState, m.hs)
	case st.Floor != m.floor:
		return fmt.Sprintf("floor %d, want %d", st.Floor, m.floor)
	case st.Last != m.last():
		return fmt.Sprintf("last %d, want %d", st.Last, m.last())
	case st.Base.Index < m.base.Index || st.Base.Index > max(m.base.Index, m.released):
		return fmt.Sprintf("base %d, want [%d, %d]", st.Base.Index, m.base.Index, m.released)
	}
	if term, err := l.Term(st.Base.Index); err != nil || term != st.Base.Term {
		return fmt.Sprintf("base %v, but its term reads as %d, %v", st.Base, term, err)
	}
	if i := st.Base.Index; i > m.base.Index && st.Base.Term != m.entries[i-1-m.base.Index].Term {
		return fmt.Sprintf("base %v, want term %d", st.Base, m.entries[i-1-m.base.Index].Term)
	}
	return entriesDiffer(m.entries[st.Base.Index-m.base.Index:], es)
}

func entriesDiffer(want, got []raft.Entry) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d entries, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.Index != w.Index || g.Term != w.Term || g.Type != w.Type || !bytes.Equal(g.Data, w.Data) {
			return fmt.Sprintf("entry %+v, want %+v", g, w)
		}
	}
	return ""
}

// crasher runs random work on a log, and looks at what is left of it after a
// crash at every operation on its disk.
type crasher struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	d    *disk.FaultFS
	l    *Log
	// states are the states since the last one known durable; the first of
	// them or any later one may be found. inflight is the one being made.
	states   []*model
	inflight *model
	// next, when set, is an image that the work goes on with, nextStates what
	// it may hold.
	next       *disk.FaultFS
	nextStates []*model
	images     int
	torn       int
}

func (c *crasher) now() *model { return c.states[len(c.states)-1] }

// look opens crash images of this moment, in each way of crashing.
func (c *crasher) look(e disk.Event) {
	if e.Op == disk.OpRead {
		return // leaves the disk as it was
	}
	for _, names := range []disk.Names{disk.NamesSynced, disk.NamesAll, disk.NamesPrefix} {
		tear := disk.Tear(c.rng.IntN(int(disk.TearGarble) + 1))
		o := disk.CrashOptions{Seed: c.rng.Uint64(), Names: names, Tear: tear}
		image := c.d.Crash(o)
		if c.rng.IntN(200) == 0 {
			c.next = image.Crash(disk.CrashOptions{})
			c.nextStates = append(slices.Clone(c.states), c.inflight)
		}
		c.check(image, fmt.Sprintf("%+v", o))
	}
}

// check opens an image, finds the state that it holds, then goes on a little and
// crashes again: what was found must stay.
func (c *crasher) check(image *disk.FaultFS, how string) *model {
	c.t.Helper()
	c.images++
	found, l, st := c.recover(image, how)
	if st.Torn != nil {
		c.torn++
	}
	if c.images%3 != 0 {
		return found
	}
	e := raft.Entry{Index: st.Last + 1, Term: max(1, lastTerm(found)), Data: []byte("after")}
	must(c.t, l.Append(Batch{Entries: []raft.Entry{e}}))
	again := found.apply(Batch{Entries: []raft.Entry{e}})
	r, st, err := Open(c.options(image.Crash(disk.CrashOptions{})))
	if err != nil {
		c.t.Fatalf("seed %d, %s: second open: %v", c.seed, how, err)
	}
	if diff := again.differs(r, st, all(c.t, r)); diff != "" {
		c.t.Fatalf("seed %d, %s: after a second crash: %s", c.seed, how, diff)
	}
	return found
}

func (c *crasher) recover(image *disk.FaultFS, how string) (*model, *Log, State) {
	c.t.Helper()
	l, st, err := Open(c.options(image))
	if err != nil {
		c.t.Fatalf("seed %d, %s: open: %v", c.seed, how, err)
	}
	es := all(c.t, l)
	var diff string
	for _, m := range append(slices.Clone(c.states), c.inflight) {
		if m == nil {
			continue
		}
		if diff = m.differs(l, st, es); diff == "" {
			return m, l, st
		}
	}
	c.t.Fatalf("seed %d, %s: recovered %+v, which is none of %d states: %s", c.seed, how, st, len(c.states), diff)
	return nil, nil, st
}

func (c *crasher) options(d disk.FS) Options {
	return Options{FS: d, Dir: "wal", SegmentBytes: 2 << 10, CacheBytes: 1 << 10, Recycle: 2, Salt: testSalt}
}

func lastTerm(m *model) uint64 {
	if n := len(m.entries); n > 0 {
		return m.entries[n-1].Term
	}
	return m.base.Term
}

// batch makes a random batch that fits the log.
func (c *crasher) batch(m *model) Batch {
	var b Batch
	hs := m.hs
	low := max(m.base.Index, m.released)
	if c.rng.IntN(10) < 8 {
		first := m.last() + 1
		term := max(hs.Term, lastTerm(m), 1)
		if c.rng.IntN(4) == 0 && first > low+1 { // a conflict, often a long one
			first -= 1 + c.rng.Uint64N(first-low-1)
			term++
		}
		size := c.rng.IntN(200)
		if c.rng.IntN(15) == 0 {
			size = 3000
		}
		b.Entries = run(first, first+c.rng.Uint64N(4), term, size)
		hs.Term = max(hs.Term, term)
	}
	switch c.rng.IntN(4) {
	case 0:
		hs.Term++
		hs.Vote = c.rng.Uint64N(5)
	case 1:
		hs.Commit += c.rng.Uint64N(3)
	}
	if hs != m.hs {
		b.HardState = &hs
	}
	if c.rng.IntN(5) == 0 {
		b.Floor = m.floor + c.rng.Uint64N(4)
	}
	return b
}

// step does one thing to the log.
func (c *crasher) step() {
	m := c.now()
	switch k := c.rng.IntN(100); {
	case k < 80:
		b := c.batch(m)
		c.inflight = m.apply(b)
		must(c.t, c.l.Append(b))
		c.done(c.l.durable == c.l.seq)
	case k < 92:
		low := max(m.base.Index, m.released)
		n := *m
		n.released = low + c.rng.Uint64N(m.last()-low+1)
		c.inflight = &n
		must(c.t, c.l.Release(n.released))
		// What is not durable yet is so in any state of the log's.
		for i, s := range c.states {
			s := *s
			s.released = max(s.released, min(n.released, s.last()))
			c.states[i] = &s
		}
		c.done(c.l.durable == c.l.seq)
	case k < 95:
		base := Position{m.last() + c.rng.Uint64N(20), lastTerm(m) + c.rng.Uint64N(2)}
		hs := raft.HardState{Term: max(m.hs.Term, base.Term), Commit: base.Index}
		c.inflight = &model{hs: hs, base: base, released: base.Index, floor: base.Index - min(base.Index, 3)}
		must(c.t, c.l.Reset(base.Index, base.Term, hs, c.inflight.floor))
		c.done(true)
	default: // a clean end, or a kill of the process with its page cache kept
		if k < 98 {
			must(c.t, c.l.Close())
			c.states = c.states[len(c.states)-1:]
		}
		c.reopen(c.d, "same disk")
	}
}

func (c *crasher) done(durable bool) {
	c.states = append(c.states, c.inflight)
	if c.inflight = nil; durable {
		c.states = c.states[len(c.states)-1:]
	}
	es := all(c.t, c.l)
	m := c.now()
	if d := entriesDiffer(m.entries[len(m.entries)-len(es):], es); d != "" {
		c.t.Fatalf("seed %d: the open log differs: %s", c.seed, d)
	}
}

// reopen goes on with the log on another disk, or on the same one.
func (c *crasher) reopen(d *disk.FaultFS, how string) {
	found, l, st := c.recover(d, how)
	n := *found
	n.released = st.Base.Index
	c.d, c.l, c.states, c.inflight = d, l, []*model{&n}, nil
	c.d.Observe(c.look)
}

func TestCrashAtEveryOperation(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5}
	if *crashSeed != 0 {
		seeds = []uint64{*crashSeed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := &crasher{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), d: disk.NewFaultFS()}
			c.l = mustCreate(t, c.options(c.d))
			c.states = []*model{{}}
			c.d.Observe(c.look)
			for range 150 {
				c.step()
				if c.next != nil {
					c.d.Observe(nil)
					d := c.next
					c.next, c.states, c.inflight = nil, c.nextStates, nil
					c.reopen(d, "real crash")
				}
			}
			t.Logf("%d crash images, %d with a torn tail", c.images, c.torn)
			if c.images < 300 || c.torn == 0 {
				t.Errorf("%d crash images, %d with a torn tail: too few to mean anything", c.images, c.torn)
			}
		})
	}
}
