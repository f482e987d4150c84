package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"chainfire"
	"chainfire/internal/witness"
	"chainfire/node"
)

// onlooker holds some watches of every kind on one stream, at one member after the
// other, and keeps what they show. Its chance is its own: that it looks on changes
// nothing about a run.
type onlooker struct {
	c       *cluster
	rng     *rand.Rand
	watches []witness.Watch
	// next is where each watch goes on.
	next []int64
	// shown counts the events.
	shown  int
	host   *host
	node   *node.Node
	stream chainfire.WatchStream
}

// onlookInterval is shared with nobody: others look at other moments.
const onlookInterval = 70 * time.Millisecond

func (c *cluster) startOnlookers() {
	for i, watches := range [][]witness.Watch{
		{{End: "\x00", PrevKV: true}, {Key: "k0", NoPut: true}, {Key: "k0", End: "k2", NoDelete: true, PrevKV: true}},
		{{Key: "k", End: "l"}, {Key: "k1", PrevKV: true}, {Key: "k1", End: "\x00", NoPut: true, PrevKV: true}},
	} {
		o := &onlooker{c: c, rng: rand.New(rand.NewPCG(c.w.seed, uint64(i)+11)), watches: watches}
		for j := range watches {
			watches[j].Name = fmt.Sprintf("watch %d of onlooker %d", j, i)
			o.next = append(o.next, 2)
		}
		c.onlookers = append(c.onlookers, o)
		var look func()
		look = func() {
			o.look()
			c.w.after(onlookInterval, look)
		}
		c.w.after(onlookInterval, look)
	}
}

// through is up to where all its watches have seen everything.
func (o *onlooker) through() int64 {
	least := o.next[0] - 1
	for _, n := range o.next {
		least = min(least, n-1)
	}
	return least
}

// look takes what there is to see, or a part of it.
func (o *onlooker) look() {
	if o.host == nil || o.host.node != o.node || o.node == nil || o.host.life.pausedUntil > o.c.w.now || o.rng.IntN(40) == 0 {
		o.move()
	}
	if o.stream == nil {
		return
	}
	o.stream.RequestProgress()
	for o.c.quiet || o.rng.IntN(12) > 0 {
		r, err := o.stream.Recv(glance{context.Background()})
		if err != nil {
			o.node = nil
			return
		}
		if r == nil {
			return
		}
		if !o.take(r) {
			o.node = nil
			return
		}
	}
}

// move opens the watches at another member.
func (o *onlooker) move() {
	if o.stream != nil {
		o.stream.Close()
		o.stream, o.node = nil, nil
	}
	hosts := o.c.alive()
	if len(hosts) == 0 {
		return
	}
	o.host = hosts[o.rng.IntN(len(hosts))]
	if o.host.node == nil || o.host.life == nil || o.host.life.void {
		return
	}
	o.node = o.host.node
	o.stream = o.node.NewWatchStream()
	for i := range o.watches {
		w := &o.watches[i]
		_, err := o.stream.Watch(&chainfire.WatchRequest{
			ID: int64(i + 1), Key: []byte(w.Key), RangeEnd: []byte(w.End), StartRevision: o.next[i],
			PrevKV: w.PrevKV, NoPut: w.NoPut, NoDelete: w.NoDelete, ProgressNotify: true,
		})
		if err != nil {
			o.node = nil
			return
		}
		w.Sessions = append(w.Sessions, witness.Session{Where: o.host.name, From: o.next[i], Created: o.node.Revision()})
	}
}

// take keeps an answer. It reports whether the stream is of further use.
func (o *onlooker) take(r *chainfire.WatchResponse) bool {
	when := o.c.moment()
	if r.Canceled && r.CompactRevision == 0 {
		return false
	}
	for i := range o.watches {
		if r.WatchID != chainfire.AllWatches && r.WatchID != int64(i+1) {
			continue
		}
		s := &o.watches[i].Sessions[len(o.watches[i].Sessions)-1]
		if r.Canceled {
			s.Answers = append(s.Answers, witness.Answer{When: when, Revision: r.Revision, CompactRevision: r.CompactRevision})
			o.next[i] = r.CompactRevision
			return false
		}
		if len(r.Events) > 0 {
			a := witness.Answer{When: when, Revision: r.Revision}
			for j := range r.Events {
				a.Events = append(a.Events, eventOf(&r.Events[j]))
			}
			s.Answers = append(s.Answers, a)
			o.shown += len(a.Events)
		}
		// Every answer says up to where the watch has seen everything.
		s.Answers = append(s.Answers, witness.Answer{When: when, Revision: r.Revision, Progress: true})
		o.next[i] = max(o.next[i], r.Revision+1)
	}
	return true
}

func wholeOf(kvs ...chainfire.KeyValue) []witness.KV {
	var out []witness.KV
	for i := range kvs {
		kv := &kvs[i]
		out = append(out, witness.KV{
			Key: string(kv.Key), Value: string(kv.Value), Create: kv.CreateRevision, Mod: kv.ModRevision, Version: kv.Version, Lease: kv.Lease,
		})
	}
	return out
}

func eventOf(e *chainfire.Event) witness.Event {
	out := witness.Event{Delete: e.Type == chainfire.EventDelete, KV: wholeOf(e.KV)[0]}
	if e.PrevKV != nil {
		out.Prev = &wholeOf(*e.PrevKV)[0]
	}
	return out
}

// witnessed is an operation as package witness has it.
func (o *op) witnessed() witness.Op {
	out := witness.Op{
		Who: fmt.Sprintf("client %d", o.client), Call: o.call, Return: o.answer,
		Outcome: map[outcome]witness.Outcome{answered: witness.Answered, refused: witness.Refused, open: witness.Ambiguous}[o.end],
		Then:    []witness.Step{{Key: o.key}}, Revision: o.header, Succeeded: true,
	}
	found := witness.Found{KVs: o.whole}
	switch o.kind {
	case opPut:
		out.Then[0].Kind, out.Then[0].Value = witness.Put, o.value
	case opDelete:
		out.Then[0].Kind, found.Count = witness.Delete, int64(len(o.whole))
	case opSwap:
		out.If = []witness.Compare{{Key: o.key, Target: witness.TargetMod, Number: o.expect}}
		out.Then[0].Kind, out.Then[0].Value = witness.Put, o.value
		out.Else = []witness.Step{{Key: o.key}}
		if out.Succeeded = o.wrote; !o.wrote {
			found.Count = int64(len(o.whole))
		}
	case opGet:
		found.Count = int64(len(o.whole))
	}
	if o.end == answered {
		out.Found = []witness.Found{found}
	}
	return out
}

// bearWitness holds all that clients and onlookers saw to what one store could have
// shown them.
func (c *cluster) bearWitness() {
	h := &witness.History{Base: 1, Compactions: c.compactions}
	for _, o := range c.ops {
		h.Ops = append(h.Ops, o.witnessed())
	}
	for _, o := range c.onlookers {
		h.Watches = append(h.Watches, o.watches...)
	}
	h.Watches = append(h.Watches, c.watcher.Watch)
	for _, v := range witness.Check(h) {
		c.w.violate("%v", v)
	}
}
