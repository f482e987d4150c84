package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"chainfire"
	"chainfire/machine"
)

// sum is the hash of the key space at a revision, and who had it first.
type sum struct {
	hash uint64
	who  string
}

// hashEvery is how many revisions lie between two that are compared.
const hashEvery = 32

// compare holds the states of the members to each other, at the revisions that
// they have passed since the last look; and each to its own past.
func (c *cluster) compare() {
	for _, h := range c.hosts {
		if !h.up() || h.store == nil || h.life.void || h.rotten {
			continue
		}
		c.compareAt(h, h.store)
	}
}

func (c *cluster) compareAt(h *host, m *machine.Machine) {
	if alarms := m.Alarms(); len(alarms) > 0 {
		c.w.violate("%s has alarms, and nothing is wrong: %v", h.name, alarms)
	}
	rev := m.Revision() / hashEvery * hashEvery
	if rev <= h.hashed || rev < m.CompactRevision() || c.compacts() {
		return
	}
	h.hashed = rev
	got, err := m.HashKV(context.Background(), rev)
	if err != nil {
		h.say("hash at revision %d: %v", rev, err)
		return
	}
	if was, ok := c.hashes[rev]; ok && was.hash != got.Sum {
		c.w.violate("%s and %s hold different states at revision %d", was.who, h.name, rev)
	}
	c.hashes[rev] = sum{got.Sum, h.name}
}

// compacts says that hashes during the run cannot be compared, since members
// compact at different moments.
func (c *cluster) compacts() bool { return c.swarm.every["compact"] > 0 }

// heal ends all faults, and lets everyone who is not lost run.
func (c *cluster) heal() {
	c.healing = true
	c.w.story.tell("world", "all faults end")
	clear(c.net.cut)
	c.net.loss, c.net.damage = 0, 0
	for _, h := range c.hosts {
		h.slow, h.crashIn, h.full, h.armed, h.between = 0, 0, false, false, false
		h.disk.Heal()
		if !h.up() {
			h.start()
		}
	}
}

// Bounds of the time that healing may take.
const (
	healTime = 240 * time.Second
	healLook = 250 * time.Millisecond
)

// converge demands that a healed cluster has a leader, takes a write, brings it
// to every member, ends every join, and agrees with itself.
func (c *cluster) converge() {
	limit := c.w.now + healTime
	var last *op
	written := false
	c.w.outside.Go(func() {
		for !written {
			h := c.anyHost()
			c.finals++
			last = &op{client: 99, kind: opPut, end: open, key: "k0", value: fmt.Sprintf("final-%d", c.finals)}
			c.ops = append(c.ops, last)
			last.call = c.moment()
			err := c.do(h, last, 3*time.Second)
			last.answer = c.moment()
			last.end = classify(err)
			c.w.story.tell("operator", "at %s: %s%s", h.name, last, reasonOf(err))
			written = err == nil
			if !written {
				c.w.outside.sleep(200 * time.Millisecond)
			}
		}
		c.quiet = true
	})
	why := ""
	for len(c.w.wrong) == 0 {
		c.w.run(c.w.now + healLook)
		if !written {
			why = "no write succeeds"
		} else if why = c.unsettled(last.revision); why == "" {
			return
		}
		if c.w.now > limit {
			c.w.violate("no progress in %v after all faults ended: %s; %s", healTime, why, c.describe())
		}
	}
}

// unsettled says what is still missing after healing; empty is nothing.
func (c *cluster) unsettled(revision int64) string {
	if c.surgery {
		return "a member is still to be removed"
	}
	var first *host
	names := 0
	for _, h := range c.hosts {
		if h.retired {
			continue
		}
		names++
		if h.node == nil || h.store == nil {
			return h.name + " does not run"
		}
		if h.store.Revision() < revision {
			return fmt.Sprintf("%s is at revision %d, not %d", h.name, h.store.Revision(), revision)
		}
		if first == nil {
			first = h
		}
		conf, same := h.store.Conf(), first.store.Conf()
		if conf.Joint() || !conf.Equal(same) {
			return fmt.Sprintf("%s has the configuration %s, %s has %s", h.name, &conf, first.name, &same)
		}
		index, _ := h.store.Applied()
		if at, _ := first.store.Applied(); at != index {
			return fmt.Sprintf("%s has applied %d, %s %d", h.name, index, first.name, at)
		}
	}
	if first == nil {
		return "nobody runs"
	}
	conf, members := first.store.Conf(), first.store.Members()
	for _, m := range members {
		h := c.byName(m.Name)
		switch {
		case h == nil || h.retired:
			return fmt.Sprintf("member %d (%s) is a ghost: %+v, configuration %s", m.ID, m.Name, m, &conf)
		case m.Reserved || !conf.Contains(m.ID):
			return fmt.Sprintf("member %d (%s) is neither voter nor learner", m.ID, m.Name)
		}
	}
	if len(members) != names {
		return fmt.Sprintf("%d members for %d hosts", len(members), names)
	}
	return ""
}

func (c *cluster) describe() string {
	var out string
	for _, h := range c.hosts {
		out += fmt.Sprintf("\n    %s: up %v, serves %v, retired %v, rotten %v, last end %v", h.name, h.up(), h.node != nil, h.retired, h.rotten, h.why)
		if h.store != nil {
			index, term := h.store.Applied()
			conf := h.store.Conf()
			out += fmt.Sprintf(", applied %d of term %d, revision %d, configuration %s", index, term, h.store.Revision(), &conf)
		}
	}
	return out
}

// finish holds what the members have in the end to what the clients saw.
func (c *cluster) finish() {
	c.readAll()
	c.readObjects()
	c.settle() // a member may have stopped over rot that only the last reads met
	c.watchAll()
	c.settle()
	if len(c.w.wrong) > 0 {
		return
	}
	live := slices.DeleteFunc(c.alive(), c.mayBeDamaged)
	for i, h := range live {
		c.holdsHistory(h)
		c.sameState(live[0], live[i])
	}
	c.account()
	if len(c.w.wrong) == 0 {
		c.linearizable()
		c.objectsLinearizable()
		c.bearWitness()
	}
	for _, h := range c.hosts {
		if h.retired && h.up() {
			c.w.violate("%s was removed and runs on", h.name)
		}
	}
}

func (c *cluster) alive() []*host {
	return slices.DeleteFunc(slices.Clone(c.hosts), func(h *host) bool { return h.retired })
}

// mayBeDamaged reports whether a host may find damage only when everything in its
// store is read, which is nobody's fault here. Its answers were checked. Damage
// stays on the host that has it: it does not travel with a snapshot.
func (c *cluster) mayBeDamaged(h *host) bool {
	if !h.rotten {
		return false
	}
	if h.store == nil {
		return errors.Is(h.why, chainfire.ErrCorrupt) // it has stopped over it
	}
	_, err := h.store.HashKV(context.Background(), 0)
	if err == nil {
		_, err = h.store.SumObjects(context.Background())
	}
	return errors.Is(err, chainfire.ErrCorrupt) || h.store.Err() != nil
}

// readAll reads every key at every voter.
func (c *cluster) readAll() {
	left := 0
	for i, h := range c.alive() {
		for k := range c.keys {
			left++
			c.w.outside.Go(func() {
				defer func() { left-- }()
				o := &op{client: 100 + i, end: open, kind: opGet, key: fmt.Sprintf("k%d", k)}
				o.call = c.moment()
				err := c.do(h, o, 10*time.Second)
				o.answer = c.moment()
				switch o.end = classify(err); o.end {
				case answered:
					c.ops = append(c.ops, o)
				case open:
					if c.mayBeDamaged(h) {
						break // it found the damage by this read, and stopped instead of serving it
					}
					c.w.violate("the last read of %s at %s: %v", o.key, h.name, err)
				}
			})
		}
	}
	for limit := c.w.now + 20*time.Second; left > 0 && len(c.w.wrong) == 0; {
		c.w.run(c.w.now + healLook)
		if c.w.now > limit {
			c.w.violate("%d last reads do not end", left)
		}
	}
}

// behind reports whether somebody who watches has not seen everything up to a revision.
func (c *cluster) behind(revision int64) bool {
	return c.watcher.seen < revision || slices.ContainsFunc(c.onlookers, func(o *onlooker) bool { return o.through() < revision })
}

// watchAll lets all who watch see the end.
func (c *cluster) watchAll() {
	limit := c.w.now + 20*time.Second
	for len(c.w.wrong) == 0 && c.behind(c.alive()[0].store.Revision()) {
		c.w.run(c.w.now + healLook)
		if c.w.now > limit {
			c.w.violate("the watcher has seen revision %d, the members are at %d", c.watcher.seen, c.alive()[0].store.Revision())
		}
	}
}

// settle waits until nothing is under way any more: the members may still record
// that a learner has caught up, and one that found rot be rebuilt or replaced.
func (c *cluster) settle() {
	for limit := c.w.now + healTime; len(c.w.wrong) == 0; {
		why := c.unsettled(0)
		if why == "" {
			return
		}
		c.w.run(c.w.now + healLook/10)
		if c.w.now > limit {
			c.w.violate("the healed cluster does not come to rest: %s", why)
		}
	}
}

// holdsHistory demands that a member has, for every key, what the history ends
// with.
func (c *cluster) holdsHistory(h *host) {
	want := map[string]keyState{}
	for _, e := range c.watcher.history {
		if e.deleted {
			delete(want, e.key)
		} else {
			want[e.key] = keyState{e.value, e.revision, e.version}
		}
	}
	r, err := h.store.Range(context.Background(), &chainfire.RangeRequest{RangeEnd: []byte{0}})
	if err != nil {
		c.w.violate("read everything at %s: %v", h.name, err)
		return
	}
	if len(r.KVs) != len(want) {
		c.w.violate("%s holds %d keys, the history %d", h.name, len(r.KVs), len(want))
	}
	for i := range r.KVs {
		key := string(r.KVs[i].Key)
		if got := stateOf(r.KVs[i:]); got != want[key] {
			c.w.violate("%s holds %+v under %s, the history %+v", h.name, got, key, want[key])
		}
	}
}

// sameState demands that two members hold the same.
func (c *cluster) sameState(a, b *host) {
	sums, objects := [2]uint64{}, [2]uint64{}
	for i, h := range [2]*host{a, b} {
		var err error
		if objects[i], err = h.store.SumObjects(context.Background()); err != nil {
			c.w.violate("hash of the objects of %s: %v", h.name, err)
		}
		s, err := h.store.HashKV(context.Background(), 0)
		if err != nil {
			c.w.violate("hash of %s: %v", h.name, err)
		}
		sums[i] = s.Sum
	}
	if sums[0] != sums[1] || a.store.CompactRevision() != b.store.CompactRevision() {
		c.w.violate("%s and %s hold different states in the end", a.name, b.name)
	}
	if objects[0] != objects[1] {
		c.w.violate("%s and %s hold different objects in the end", a.name, b.name)
	}
	if x, y := fmt.Sprintf("%+v", a.store.Members()), fmt.Sprintf("%+v", b.store.Members()); x != y {
		c.w.violate("%s and %s list different members: %s and %s", a.name, b.name, x, y)
	}
}
