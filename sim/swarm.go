package sim

import (
	"strings"
	"time"

	"chainfire/internal/disk"
	"chainfire/internal/witness"
	"chainfire/node"
)

// swarm is which kinds there are in a run, and how often.
type swarm struct {
	members  int
	duration time.Duration
	every    map[string]time.Duration
	down     time.Duration
}

// The kinds, in the order in which they are drawn.
var faultNames = []string{
	"power cut", "kill", "stop", "blackout", "power cut at an operation", "power cut at a seed", "pause", "isolate", "cut one way", "split",
	"loss", "slow disk", "failed sync", "full disk", "rot", "join", "remove", "destroy", "transfer", "compact", "damage chunks",
}

func (s *swarm) draw(w *world) {
	s.members = pick(w, 0, 1, 3, 3, 3, 3, 5)
	s.duration = w.between(6*time.Second, 14*time.Second)
	s.every = map[string]time.Duration{}
	s.down = pick(w, 300*time.Millisecond, 2*time.Second, 5*time.Second)
	for _, name := range faultNames {
		often := pick(w, 1500*time.Millisecond, 4*time.Second, 8*time.Second)
		if w.rng.IntN(3) == 0 {
			s.every[name] = often
		}
	}
	s.every["flush"] = pick(w, 300*time.Millisecond, time.Second, 3*time.Second)
}

// faults are what the kinds do.
func faults() map[string]func(*cluster) {
	return map[string]func(*cluster){
		"power cut":                 func(c *cluster) { c.down((*host).powerCut) },
		"kill":                      func(c *cluster) { c.down((*host).kill) },
		"stop":                      func(c *cluster) { c.down((*host).stop) },
		"blackout":                  (*cluster).blackout,
		"power cut at an operation": (*cluster).crashAtOperation,
		"power cut at a seed":       (*cluster).crashAtSeed,
		"pause":                     (*cluster).pause,
		"isolate":                   (*cluster).isolate,
		"cut one way":               (*cluster).cutOneWay,
		"split":                     (*cluster).split,
		"loss":                      (*cluster).lose,
		"slow disk":                 (*cluster).slowDisk,
		"failed sync":               (*cluster).failSync,
		"full disk":                 (*cluster).fillDisk,
		"rot":                       (*cluster).rot,
		"join":                      (*cluster).growOrNot,
		"remove":                    (*cluster).removeOne,
		"destroy":                   (*cluster).destroy,
		"transfer":                  (*cluster).transfer,
		"compact":                   (*cluster).compact,
		"damage chunks":             (*cluster).damageChunks,
		"flush":                     (*cluster).flushOne,
	}
}

// startFaults lets the faults of this run come, each at its own random times.
func (c *cluster) startFaults() {
	do := faults()
	for _, name := range append([]string{"flush"}, faultNames...) {
		every := c.swarm.every[name]
		if every == 0 {
			continue
		}
		f := do[name]
		var next func()
		next = func() {
			if c.healing {
				return
			}
			f(c)
			c.w.after(c.w.between(every/4, 2*every), next)
		}
		c.w.after(c.w.between(every/4, 2*every), next)
	}
}

func (c *cluster) down(how func(*host)) {
	h := c.some((*host).up)
	if h == nil {
		return
	}
	c.counts.crashes++
	how(h)
	c.w.after(c.w.between(c.swarm.down/10, c.swarm.down), func() {
		h.start()
	})
}

// blackout cuts the power of everyone.
func (c *cluster) blackout() {
	c.w.story.tell("world", "the power goes everywhere")
	for _, h := range c.hosts {
		if h.up() {
			c.counts.crashes++
			h.powerCut()
			c.w.after(c.w.between(0, c.swarm.down), h.start)
		}
	}
}

func (c *cluster) crashAtOperation() {
	if h := c.some((*host).up); h != nil {
		h.crashIn = 1 + c.w.rng.IntN(40)
	}
}

// crashAtSeed lets everyone lose power who receives a snapshot.
func (c *cluster) crashAtSeed() {
	for _, h := range c.hosts {
		h.armed = c.w.chance(0.7)
	}
}

func (c *cluster) pause() {
	if h := c.some((*host).up); h != nil && h.life.pausedUntil < c.w.now {
		d := c.w.between(20*time.Millisecond, 2*time.Second)
		h.say("stands still for %v", d)
		h.life.pause(d)
	}
}

// cutFor takes ways away for a time.
func (c *cluster) cutFor(ways [][2]string) {
	for _, way := range ways {
		c.net.cut[way] = true
	}
	c.w.after(c.w.between(100*time.Millisecond, 5*time.Second), func() {
		c.w.story.tell("network", "mended: %v", ways)
		for _, way := range ways {
			delete(c.net.cut, way)
		}
	})
}

func (c *cluster) isolate() {
	h := c.anyHost()
	h.say("is cut off")
	var ways [][2]string
	for _, o := range c.hosts {
		if o != h {
			ways = append(ways, [2]string{h.name, o.name}, [2]string{o.name, h.name})
		}
	}
	if c.w.chance(0.5) {
		ways = append(ways, [2]string{h.name, "outside"}, [2]string{"outside", h.name})
	}
	c.cutFor(ways)
}

func (c *cluster) cutOneWay() {
	from, to := c.anyHost(), c.anyHost()
	if from == to {
		return
	}
	c.w.story.tell("network", "nothing comes from %s to %s", from.name, to.name)
	c.cutFor([][2]string{{from.name, to.name}})
}

func (c *cluster) split() {
	side := map[string]bool{}
	var text []string
	for _, h := range c.hosts {
		if side[h.name] = c.w.chance(0.5); side[h.name] {
			text = append(text, h.name)
		}
	}
	c.w.story.tell("network", "split: %s from the rest", strings.Join(text, ", "))
	var ways [][2]string
	for _, a := range c.hosts {
		for _, b := range c.hosts {
			if side[a.name] != side[b.name] {
				ways = append(ways, [2]string{a.name, b.name})
			}
		}
	}
	c.cutFor(ways)
}

func (c *cluster) lose() {
	c.net.loss = pick(c.w, 0.01, 0.1, 0.3)
	c.w.story.tell("network", "loses %v of all messages", c.net.loss)
	c.w.after(c.w.between(200*time.Millisecond, 4*time.Second), func() { c.net.loss = 0 })
}

func (c *cluster) damageChunks() {
	c.net.damage = pick(c.w, 0.05, 0.5)
	c.w.after(c.w.between(time.Second, 4*time.Second), func() { c.net.damage = 0 })
}

func (c *cluster) slowDisk() {
	h := c.anyHost()
	h.slow = c.w.between(10*time.Millisecond, 800*time.Millisecond)
	h.say("has a slow disk: %v", h.slow)
	c.w.after(c.w.between(100*time.Millisecond, 3*time.Second), func() { h.slow = 0 })
}

func (c *cluster) failSync() {
	if h := c.some((*host).up); h != nil {
		h.say("has a disk whose next sync of the log fails")
		h.disk.Fail(disk.Rule{Op: disk.OpSync, Path: walPrefix, Times: 1})
	}
}

func (c *cluster) fillDisk() {
	h := c.some((*host).up)
	if h == nil {
		return
	}
	room := c.w.rng.Int64N(20_000)
	h.say("has %d bytes left on its disk", room)
	h.full = true
	h.disk.LimitSpace(room)
	c.w.after(c.w.between(300*time.Millisecond, 3*time.Second), func() {
		h.say("has space again")
		h.full = false
		h.disk.Heal()
	})
}

func (c *cluster) flushOne() {
	for _, h := range c.hosts {
		if h.up() && c.w.chance(0.7) {
			h.flush()
		}
	}
}

func (c *cluster) transfer() {
	h := c.anyHost()
	c.w.outside.Go(func() {
		err := c.at(h, 2*time.Second, func(ctx ctxt, n *node.Node) error {
			s, err := n.Status(ctx)
			if err != nil {
				return err
			}
			var ids []uint64
			list, err := n.Members(ctx, false)
			if err != nil {
				return err
			}
			for _, m := range list.Members {
				if !m.Learner && m.ID != s.Leader {
					ids = append(ids, m.ID)
				}
			}
			if s.Leader != n.ID() || len(ids) == 0 {
				return nil
			}
			target := pick(c.w, ids...)
			h.say("is to hand leadership to member %d", target)
			return n.MoveLeader(ctx, target)
		})
		if err != nil {
			h.say("transfer: %v", err)
		}
	})
}

// compact drops what the watcher has seen.
func (c *cluster) compact() {
	h, rev := c.anyHost(), c.watcher.seen-int64(c.w.rng.IntN(50))
	if rev <= 1 {
		return
	}
	c.compactions = append(c.compactions, witness.Compaction{Revision: rev, Call: c.moment()})
	c.w.outside.Go(func() {
		err := c.at(h, 2*time.Second, func(ctx ctxt, n *node.Node) error {
			_, err := n.Compact(ctx, compactTo(rev))
			return err
		})
		h.say("compact to revision %d: %v", rev, err)
	})
}
