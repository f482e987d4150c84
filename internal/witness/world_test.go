package witness

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// world is a store that keeps every promise, its clients, and those who watch: it
// makes right histories, each from one seed.
type world struct {
	rng *rand.Rand
	now int64
	h   *History

	states    []state // by revision, from 1 on
	events    [][]Event
	compacted int64
	clients   []*worldClient
	watchers  []*worldWatcher
	leases    []int64
	dead      map[int64]bool // leases that are gone
	values    int
	lease     int64
}

// worldClient has one operation under way, or none.
type worldClient struct {
	op   *Op
	done bool // it has happened
	lost bool // it will not be answered
}

type worldWatcher struct {
	Watch
	next int64
	open bool
}

// newWorld lets a store be used for so many steps, and everyone see the end of it.
func newWorld(seed uint64, steps int) *History {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 1)), h: &History{Base: 1}, lease: 100, dead: map[int64]bool{},
		states: []state{nil, {}}, events: [][]Event{nil, nil},
	}
	for range 5 {
		w.clients = append(w.clients, &worldClient{})
	}
	for i, watch := range []Watch{
		{Key: "", End: "\x00", PrevKV: true},
		{Key: "", End: "\x00"},
		{Key: "a/", End: "a0", NoPut: true, PrevKV: true},
		{Key: "a/", End: "a0", NoDelete: true},
		{Key: "a/1", PrevKV: true},
		{Key: "b", End: "\x00"},
	} {
		watch.Name = fmt.Sprintf("watch %d", i)
		w.watchers = append(w.watchers, &worldWatcher{Watch: watch, next: 2})
	}
	for range steps {
		w.step()
	}
	for _, c := range w.clients {
		for c.op != nil {
			w.advance(c)
		}
	}
	for _, o := range w.watchers {
		if !o.open {
			w.open(o)
		}
		w.deliver(o, w.revision())
		w.add(o, Answer{Progress: true})
		w.h.Watches = append(w.h.Watches, o.Watch)
	}
	return w.h
}

func (w *world) revision() int64 { return int64(len(w.states)) - 1 }

func (w *world) step() {
	w.now += 1 + w.rng.Int64N(5)
	switch p := w.rng.IntN(100); {
	case p < 60:
		w.advance(w.clients[w.rng.IntN(len(w.clients))])
	case p < 94:
		w.watch(w.watchers[w.rng.IntN(len(w.watchers))])
	case p < 95 && w.revision() > 20:
		to := max(w.compacted, w.revision()-5-w.rng.Int64N(5))
		for _, o := range w.watchers[:2] {
			to = min(to, max(o.next, 1))
		}
		w.compacted = max(w.compacted, to)
		w.h.Compactions = append(w.h.Compactions, Compaction{Revision: w.compacted, Call: w.now - 1, Return: w.now, Acknowledged: w.rng.IntN(2) == 0})
	case p < 97:
		w.lease++
		w.leases = append(w.leases, w.lease)
		w.h.Renewals = append(w.h.Renewals, Renewal{Lease: w.lease, TTL: 50, Call: w.now})
	case p < 99 && len(w.leases) > 0:
		w.expire(w.leases[0])
	}
}

// expire ends a lease whose time is over.
func (w *world) expire(lease int64) {
	for _, n := range w.h.Renewals {
		if n.Lease == lease && n.Call+n.TTL > w.now {
			return
		}
	}
	w.leases = slices.DeleteFunc(w.leases, func(l int64) bool { return l == lease })
	w.write(&Op{Revoke: lease})
}

// write lets an operation happen.
func (w *world) write(o *Op) effect {
	at := w.revision()
	e := apply(w.states[at], o, at+1)
	w.dead[o.Revoke] = true
	if len(e.events) > 0 {
		next := maps.Clone(w.states[at])
		next.take(e.events)
		w.states, w.events = append(w.states, next), append(w.events, e.events)
	}
	return e
}

// advance lets a client ask, its operation happen, or the answer come.
func (w *world) advance(c *worldClient) {
	switch o := c.op; {
	case o == nil:
		w.now++
		c.op = w.choose()
		c.op.Call, c.done, c.lost = w.now, false, w.rng.IntN(12) == 0
	case !c.done:
		c.done = true
		w.perform(o)
	default:
		w.now++
		o.Return = w.now
		if c.lost && o.Outcome == Answered {
			o.Outcome, o.Found, o.Succeeded, o.Revision = Ambiguous, nil, false, 0
		}
		w.h.Ops = append(w.h.Ops, *o)
		c.op = nil
	}
}

func (w *world) key() string { return [...]string{"a/1", "a/2", "a/3", "b/1", "b/2"}[w.rng.IntN(5)] }

// choose makes an operation of any kind.
func (w *world) choose() *Op {
	put := func(key string) Step {
		w.values++
		s := Step{Kind: Put, Key: key, Value: fmt.Sprintf("value %d", w.values)}
		if n := len(w.leases); n > 0 && w.rng.IntN(3) == 0 {
			s.Lease = w.leases[w.rng.IntN(n)]
		}
		return s
	}
	o := &Op{Who: "somebody", Serializable: w.rng.IntN(3) == 0}
	switch p := w.rng.IntN(100); {
	case p < 15:
		o.Then = []Step{{Key: w.key()}}
	case p < 25:
		o.Then = []Step{{Key: "a/", End: "a0", Limit: w.rng.Int64N(3)}, {Key: "b", End: "\x00"}}
	case p < 35:
		o.Then, o.At = []Step{{Key: "a/", End: "a0"}}, max(1, w.revision()-w.rng.Int64N(20))
	case p < 65:
		o.Then = []Step{put(w.key())}
	case p < 75:
		o.Then = []Step{{Kind: Delete, Key: w.key()}}
	case p < 80:
		o.Then = []Step{{Kind: Delete, Key: "a/", End: "a0"}}
	case p < 98:
		key := w.key()
		o.If = []Compare{{Key: key, Target: TargetMod, Number: w.states[w.revision()][key].Mod}}
		o.Then = []Step{put(key), {Kind: Delete, Key: "b/", End: "b0"}, {Key: "a", End: "c"}}
		if key[0] == 'b' {
			o.Then = []Step{put("a/1"), put("a/2"), {Key: key}}
		}
		o.Else = []Step{{Key: key}, put("b/2")}
		o.Serializable = false
	default:
		if len(w.leases) > 0 {
			o.Revoke, o.Serializable = w.leases[0], false
			w.leases = w.leases[1:]
		}
	}
	return o
}

// perform lets an operation happen, at some member that may be behind.
func (w *world) perform(o *Op) {
	o.Revision = w.revision()
	switch {
	case o.mayWrite():
		o.Serializable = false
		late := func(s Step) bool { return s.Lease != 0 && w.dead[s.Lease] }
		if w.rng.IntN(20) == 0 || slices.ContainsFunc(o.Then, late) || slices.ContainsFunc(o.Else, late) {
			o.Outcome = []Outcome{Refused, Ambiguous}[w.rng.IntN(2)]
			return
		}
		e := w.write(o)
		o.Revision, o.Succeeded, o.Found = w.revision(), e.succeeded, e.found
		if o.Revoke != 0 {
			o.Succeeded = true
		}
		return
	case o.At != 0 && o.At < w.compacted:
		o.Outcome = Compacted
		return
	case o.Serializable:
		o.Revision = max(1, o.At, o.Revision-w.rng.Int64N(10))
	}
	at := o.Revision
	if o.At != 0 {
		at = o.At
	}
	e := apply(w.states[at], o, at+1)
	o.Succeeded, o.Found = e.succeeded, e.found
}

// watch lets one who watches see something, lose its connection, or open it again.
func (w *world) watch(o *worldWatcher) {
	switch p := w.rng.IntN(10); {
	case !o.open:
		w.open(o)
	case p == 0:
		o.open = false
	case p < 3:
		w.deliver(o, w.revision())
		w.add(o, Answer{Progress: true})
	case o.next <= w.revision():
		w.deliver(o, o.next+w.rng.Int64N(w.revision()-o.next+1))
	}
}

func (w *world) open(o *worldWatcher) {
	o.open = true
	o.Sessions = append(o.Sessions, Session{Where: "m", From: o.next, Created: w.revision()})
	if o.next < w.compacted {
		w.add(o, Answer{CompactRevision: w.compacted})
		o.next = w.compacted
		o.Sessions = append(o.Sessions, Session{Where: "m", From: o.next, Created: w.revision()})
	}
}

func (w *world) add(o *worldWatcher, a Answer) {
	w.now++
	a.When, a.Revision = w.now, w.revision()
	s := &o.Sessions[len(o.Sessions)-1]
	s.Answers = append(s.Answers, a)
}

// deliver shows everything up to a revision, sometimes in parts.
func (w *world) deliver(o *worldWatcher, through int64) {
	var a Answer
	last := int64(0)
	for at := o.next; at <= through; at++ {
		for _, e := range w.events[at] {
			if !o.wants(&e) {
				continue
			}
			if !o.PrevKV {
				e.Prev = nil
			}
			a.Events, last = append(a.Events, e), at
		}
	}
	if last == 0 {
		return
	}
	o.next = last + 1
	if n := len(a.Events); n > 1 && w.rng.IntN(8) == 0 {
		first := a
		first.Events, first.More, a.Events = a.Events[:n/2], true, a.Events[n/2:]
		w.add(o, first)
	}
	w.add(o, a)
}
