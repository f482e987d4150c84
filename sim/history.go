package sim

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"chainfire"
	"chainfire/internal/witness"
	"chainfire/node"
)

// change is one event of the store's own history.
type change struct {
	key      string
	deleted  bool
	revision int64
	value    string
	version  int64
}

// watcher follows the whole key space, from one member to the other, and must
// see every revision once.
type watcher struct {
	// Watch is what it was shown, for package witness.
	witness.Watch
	c       *cluster
	history []change
	// seen is the last revision handed out.
	seen   int64
	host   *host
	node   *node.Node
	stream chainfire.WatchStream
}

// glance lets Recv hand out what is there, and never wait.
type glance struct{ context.Context }

// Done implements context.Context.
func (glance) Done() <-chan struct{} { return closedChannel }

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

const watchInterval = 100 * time.Millisecond

func (c *cluster) startWatcher() {
	wt := &watcher{c: c, seen: 1, Watch: witness.Watch{Name: "the watcher", End: "\x00"}}
	c.watcher = wt
	var look func()
	look = func() {
		wt.look()
		c.w.after(watchInterval, look)
	}
	c.w.after(watchInterval, look)
}

// look takes what there is to see.
func (wt *watcher) look() {
	c := wt.c
	if wt.host == nil || wt.host.node != wt.node || wt.node == nil || wt.host.life.pausedUntil > c.w.now || c.w.chance(0.01) {
		wt.move()
	}
	if wt.stream == nil {
		return
	}
	for {
		r, err := wt.stream.Recv(glance{context.Background()})
		switch {
		case err != nil:
			wt.node = nil
			return
		case r == nil:
			return
		case r.Canceled:
			c.w.violate("the watch from revision %d on %s ends: compacted at %d, %v", wt.seen+1, wt.host.name, r.CompactRevision, r.Err)
			return
		}
		a := witness.Answer{When: c.moment(), Revision: r.Revision}
		for i := range r.Events {
			wt.take(&r.Events[i])
			a.Events = append(a.Events, eventOf(&r.Events[i]))
		}
		s := &wt.Sessions[len(wt.Sessions)-1]
		s.Answers = append(s.Answers, a)
	}
}

// move opens the watch on another member.
func (wt *watcher) move() {
	c := wt.c
	if wt.stream != nil {
		wt.stream.Close()
		wt.stream = nil
	}
	wt.host = c.anyHost()
	wt.node = wt.host.node
	if wt.node == nil || wt.host.life == nil || wt.host.life.void {
		wt.node = nil
		return
	}
	wt.stream = wt.node.NewWatchStream()
	wt.Sessions = append(wt.Sessions, witness.Session{Where: wt.host.name, From: wt.seen + 1})
	if _, err := wt.stream.Watch(&chainfire.WatchRequest{RangeEnd: []byte{0}, StartRevision: wt.seen + 1}); err != nil {
		wt.node = nil
	}
}

func (wt *watcher) take(e *chainfire.Event) {
	c := wt.c
	at := e.KV.ModRevision
	if at != wt.seen && at != wt.seen+1 {
		c.w.violate("the watch on %s shows revision %d after %d", wt.host.name, at, wt.seen)
		return
	}
	if k := len(wt.history); at == wt.seen && (k == 0 || wt.history[k-1].key == string(e.KV.Key)) {
		c.w.violate("the watch on %s shows revision %d of %s twice", wt.host.name, at, e.KV.Key)
		return
	}
	wt.seen = at
	wt.history = append(wt.history, change{
		key: string(e.KV.Key), deleted: e.Type == chainfire.EventDelete, revision: at,
		value: string(e.KV.Value), version: e.KV.Version,
	})
}

// account holds what the clients were told against the history of the store:
// every acknowledged write is in it, once, at the revision answered, and nothing
// is in it that no client asked for.
func (c *cluster) account() {
	byValue := map[string]*op{}
	deletes := map[int64]*op{}
	// Deletes without an answer, by key, in the order of the calls: which of them
	// made a change does not show, and the one that began first fits best.
	loose := map[string][]*op{}
	for _, o := range c.ops {
		switch {
		case o.kind == opPut || o.kind == opSwap:
			byValue[o.value] = o
		case o.kind == opDelete && o.end == open:
			loose[o.key] = append(loose[o.key], o)
		case o.kind == opDelete && o.wrote:
			deletes[o.revision] = o
		}
	}
	for _, h := range c.watcher.history {
		if h.deleted {
			switch o := deletes[h.revision]; {
			case o != nil && o.key == h.key:
				o.found = true
			case len(loose[h.key]) > 0:
				o := loose[h.key][0]
				loose[h.key] = loose[h.key][1:]
				o.found, o.revision = true, h.revision
			default:
				c.w.violate("revision %d deletes %s, which no client asked for", h.revision, h.key)
			}
			continue
		}
		o := byValue[h.value]
		switch {
		case o == nil || o.key != h.key:
			c.w.violate("revision %d writes %q to %s, which no client asked for", h.revision, h.value, h.key)
		case o.found:
			c.w.violate("%q is written twice: at revision %d and at %d", h.value, o.revision, h.revision)
		case o.end == refused || o.end == answered && (!o.wrote || o.revision != h.revision):
			c.w.violate("revision %d writes %q, but the client was told: %s", h.revision, h.value, o)
		default:
			o.found, o.revision = true, h.revision
		}
	}
	for _, o := range c.ops {
		if o.wrote && !o.found {
			c.w.violate("LOST: %s", o)
		}
	}
}

// register is one key in the model: what it holds, and the last revision that is
// known to have changed it.
type register struct {
	keyState
	changed int64
}

// follow is the whole of what one key may do: whether an operation can come
// next, and the register after it.
func follow(s register, o *op) (bool, register) {
	after := func() register {
		return register{keyState{o.value, o.revision, s.version + 1}, o.revision}
	}
	switch {
	case o.end == answered && o.wrote:
		next := after()
		if o.kind == opDelete {
			next.keyState = keyState{}
		}
		return o.seen == s.keyState && o.revision > s.changed && (o.kind != opSwap || s.mod == o.expect), next
	case o.end == answered:
		return o.seen == s.keyState && (o.kind != opSwap || s.mod != o.expect) && (o.kind != opDelete || s.mod == 0), s
	case o.kind == opDelete:
		return o.revision > s.changed && s.mod != 0, register{changed: o.revision}
	}
	return o.revision > s.changed && (o.kind != opSwap || s.mod == o.expect), after()
}

// checkTime bounds the search for an order of one key's operations. What is not
// searched to the end was still held to the order of the store.
const checkTime = 200 * time.Millisecond

// linearizable demands that, for every key, one order of its operations explains
// every answer and puts none before one that had ended when it began.
func (c *cluster) linearizable() {
	model := porcupine.Model{
		Init: func() any { return register{} },
		Step: func(state, input, _ any) (bool, any) { return follow(state.(register), input.(*op)) },
	}
	keys := map[string][]porcupine.Operation{}
	for _, o := range c.ops {
		end := o.answer
		if o.end != answered {
			if !o.found {
				continue // it tells nothing, or it never happened
			}
			end = math.MaxInt64
		}
		keys[o.key] = append(keys[o.key], porcupine.Operation{ClientId: o.client, Input: o, Call: o.call, Return: end})
	}
	for _, key := range sortedKeys(keys) {
		if c.ordered(key); len(c.w.wrong) > 0 {
			return
		}
		if porcupine.CheckOperationsTimeout(model, keys[key], checkTime) == porcupine.Illegal {
			c.w.violate("the %d operations on %s are not linearizable:%s", len(keys[key]), key, c.operationsOn(key))
		}
	}
}

// operationsOn lists what was done to a key, in the order of the calls.
func (c *cluster) operationsOn(key string) string {
	if !c.w.story.on() {
		return " run the seed alone to see them"
	}
	var out string
	for _, o := range c.ops {
		if o.key == key && o.end != refused {
			out += fmt.Sprintf("\n    client %d [%d, %d] %s", o.client, o.call, o.answer, o)
		}
	}
	return out
}
