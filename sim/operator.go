package sim

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/node"
	"chainfire/wal"
)

type ctxt = context.Context

func compactTo(rev int64) *chainfire.CompactRequest { return &chainfire.CompactRequest{Revision: rev} }

// maxHosts bounds the machines in use at once.
const maxHosts = 6

// growOrNot lets a new machine join.
func (c *cluster) growOrNot() {
	n := 0
	for _, h := range c.hosts {
		if !h.retired {
			n++
		}
	}
	if n < maxHosts {
		c.join()
	}
}

// removeOne removes a member that is well; it stops by itself.
func (c *cluster) removeOne() {
	h := c.some(func(h *host) bool { return h.node != nil && c.spare(h) && len(c.voters()) > 2 })
	if h != nil {
		c.expel(h, nil)
	}
}

// destroy loses a machine for good, and replaces it.
func (c *cluster) destroy() {
	h := c.some(func(h *host) bool { return c.established(h) && c.spare(h) })
	if h == nil {
		return
	}
	h.say("is destroyed")
	c.retire(h)
	if len(c.hosts)%2 == 0 {
		c.supersede(h)
		return
	}
	c.expel(h, func() { c.join() })
}

// supersedeTime is for how long the operator waits for a newcomer that replaces a
// lost machine, until that one is removed without.
const supersedeTime = 20 * time.Second

// supersede lets a new machine join in place of a lost one, whose place is kept until
// the new one has caught up. An operator who waits for that in vain removes it.
func (c *cluster) supersede(h *host) {
	c.surgery = true
	c.expelled[h.name] = true
	limit := c.w.now + supersedeTime
	c.joinFor(h.name)
	c.w.outside.Go(func() {
		for {
			c.w.outside.sleep(300 * time.Millisecond)
			if c.absent(c.anyHost(), h.name) {
				h.say("is replaced")
				c.counts.replaced++
				c.surgery = false
				return
			}
			if c.w.now > limit {
				c.expel(h, nil)
				return
			}
		}
	})
}

// absent reports whether a member is gone for certain.
func (c *cluster) absent(at *host, name string) bool {
	gone := false
	err := c.at(at, 4*time.Second, func(ctx ctxt, n *node.Node) error {
		list, err := n.Members(ctx, true)
		gone = err == nil && !slices.ContainsFunc(list.Members, func(m chainfire.MemberInfo) bool { return m.Name == name })
		return err
	})
	return err == nil && gone
}

func (c *cluster) retire(h *host) {
	h.retired = true
	if h.up() {
		h.life.void = true
		h.finish(true)
	}
	h.dark = true
}

// established reports whether a host is a member that does not go away by
// itself when it stays silent.
func (c *cluster) established(h *host) bool {
	f := c.furthest()
	if f == nil {
		return false
	}
	conf := f.store.Conf()
	for _, m := range f.store.Members() {
		if m.Name == h.name {
			return conf.IsVoter(m.ID) || conf.IsLearner(m.ID) && m.ReservedIndex == 0
		}
	}
	return false
}

// expel removes a member as an operator does, who asks until it is done.
func (c *cluster) expel(h *host, then func()) {
	c.surgery = true
	c.expelled[h.name] = true
	h.say("is to be removed")
	c.w.outside.Go(func() {
		for !c.removeAt(c.anyHost(), h.name) {
			c.w.outside.sleep(300 * time.Millisecond)
		}
		h.say("is removed")
		c.counts.removed++
		c.surgery = false
		if then != nil {
			then()
		}
	})
}

// removeAt reports whether a member is gone for certain.
func (c *cluster) removeAt(at *host, name string) bool {
	gone := false
	err := c.at(at, 4*time.Second, func(ctx ctxt, n *node.Node) error {
		list, err := n.Members(ctx, true)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list.Members, func(m chainfire.MemberInfo) bool { return m.Name == name })
		if i < 0 {
			gone = true
			return nil
		}
		_, err = n.MemberRemove(ctx, list.Members[i].ID)
		return err
	})
	if err != nil {
		at.say("asked to remove %s: %v", name, err)
	}
	return err == nil && gone
}

// The kinds of files that rot, by a part of their path.
var rottingFiles = []string{
	walPrefix, ".sst", "MANIFEST", "/STORE", "member.json", "peers.json", "seed/", "snapshots/", "OPTIONS", "marker",
}

// rot flips a bit of a file of one host. Its copy may be lost with it.
func (c *cluster) rot() {
	h := c.some(func(h *host) bool { return c.spare(h) && (c.established(h) || len(h.via) > 0) })
	if h == nil {
		return
	}
	part := pick(c.w, rottingFiles...)
	var files []string
	for _, f := range h.disk.Files() {
		if strings.Contains("/"+f, part) && !strings.HasSuffix(f, disk.LockName) {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return
	}
	if part == "MANIFEST" || part == "OPTIONS" || part == "marker" {
		// Older ones go when a thread of the engine comes to it.
		files = files[len(files)-1:]
	}
	name := pick(c.w, files...)
	info, err := h.disk.Stat(name)
	if err != nil || info.Size() == 0 {
		return
	}
	if part == walPrefix && !c.othersHoldTheLogOf(h) {
		return
	}
	at := c.w.rng.Int64N(info.Size())
	if err := h.disk.FlipBit(name, at, uint(c.w.rng.IntN(8))); err != nil {
		return
	}
	h.rotten = true
	c.counts.rotten++
	h.say("has a bit flipped in %s at %d of %d", name, at, info.Size())
	if c.w.chance(0.5) {
		c.counts.crashes++
		h.kill()
		c.w.after(c.w.between(0, time.Second), h.start)
	}
}

// othersHoldTheLogOf reports whether a majority without this host has durable what
// is in its log. A last record that has rotted looks like a write that a crash cut
// short: the member comes back without it, and may vote for one who lacks it.
func (c *cluster) othersHoldTheLogOf(h *host) bool {
	own, err := logEnd(h.disk)
	if err != nil {
		return false
	}
	voters, holders := c.voters(), 0
	for _, name := range voters {
		o := c.byName(name)
		if o == nil || o == h || o.retired || o.rotten {
			continue
		}
		end, err := logEnd(o.disk.Crash(disk.CrashOptions{}))
		if err == nil && (end.Term > own.Term || end.Term == own.Term && end.Index >= own.Index) {
			holders++
		}
	}
	return holders > len(voters)/2
}

// logEnd is the last entry of the log on a disk.
func logEnd(fs disk.FS) (wal.Position, error) {
	var term uint64
	n, err := wal.Inspect(wal.InspectOptions{FS: fs, Dir: strings.TrimSuffix(walPrefix, "/"), Record: func(r *wal.InspectedRecord) error {
		if len(r.Entries) > 0 {
			term = r.Entries[len(r.Entries)-1].Term
		}
		return nil
	}})
	if err != nil {
		return wal.Position{}, err
	}
	if n.Last < n.First {
		return n.Base, nil
	}
	return wal.Position{Index: n.Last, Term: term}, nil
}

const operatorInterval = 200 * time.Millisecond

// startOperator looks after processes that ended by themselves.
func (c *cluster) startOperator() {
	var look func()
	look = func() {
		for _, h := range c.hosts {
			if _, err := h.disk.Stat("store-quarantined"); err == nil && c.counts.rotten == 0 {
				c.w.violate("%s has set a store aside that nobody damaged", h.name)
			}
			if h.retired && !c.expelled[h.name] && !c.surgery && c.established(h) {
				c.expel(h, nil) // it was lost just when it had caught up
			}
			if h.why != nil && !h.up() && !h.retired {
				c.tend(h)
			}
		}
		c.compare()
		c.w.after(operatorInterval, look)
	}
	c.w.after(operatorInterval, look)
}

// tend decides what becomes of a host whose process ended with an error.
func (c *cluster) tend(h *host) {
	why := h.why
	h.why = nil
	text := why.Error()
	switch {
	case c.furthest() == nil:
		h.why = why // nobody can tell what it is
		c.w.after(c.w.between(100*time.Millisecond, time.Second), h.start)
	case strings.Contains(text, "was removed from the cluster"), strings.Contains(text, "has given this member up"):
		if !c.expelled[h.name] && c.established(h) {
			c.w.violate("%s stops as one that was removed, which nobody asked for: %v", h.name, why)
		}
		c.retire(h)
	case strings.Contains(text, "no place in the cluster any more"):
		// It came too late; the person starts over on another disk.
		c.retire(h)
	case h.full && c.w.chance(0.9):
		h.why = why // once there is space
	case damaged(why) && (len(h.via) == 0 || c.established(h)):
		c.refusedStart(h, why)
	case damaged(why) && h.rotten:
		// A newcomer whose disk is bad is nobody's loss.
		c.retire(h)
	case len(h.via) > 0 && !c.established(h) && (strings.Contains(text, "join") || strings.Contains(text, "learn") || strings.Contains(text, "seed")):
		// The person who started it gives up, or tries again.
		if c.w.chance(0.3) || c.stranded(h) {
			h.say("is given up")
			c.retire(h)
			return
		}
		c.w.after(c.w.between(0, 2*time.Second), h.start)
	default:
		c.w.after(c.w.between(100*time.Millisecond, time.Second), h.start)
	}
}

// stranded reports whether a newcomer was told only of members that are gone.
func (c *cluster) stranded(h *host) bool {
	for _, addr := range h.via {
		if o := c.net.hosts[addr]; o != nil && !o.retired {
			return false
		}
	}
	return true
}

// damaged reports whether a start was refused over damage that does not pass.
func damaged(err error) bool {
	var log *wal.CorruptError
	if errors.Is(err, chainfire.ErrCorrupt) || errors.Is(err, node.ErrStoreDamaged) || errors.As(err, &log) {
		return true
	}
	for _, s := range []string{"is damaged", "restore the", "invalid character", "it is not clear which member"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

// refusedStart replaces a host that stopped over its own damage.
func (c *cluster) refusedStart(h *host, why error) {
	if !h.rotten {
		c.w.violate("%s finds damage where there was none: %v", h.name, why)
		return
	}
	if h.tries++; h.tries <= 2 {
		// It may rebuild itself once the others can be reached.
		c.w.after(c.w.between(100*time.Millisecond, time.Second), h.start)
		return
	}
	if c.surgery || c.furthest() == nil {
		h.why = why // later
		return
	}
	c.counts.refused++
	established := c.established(h)
	c.retire(h)
	if established {
		c.expel(h, func() { c.join() })
	}
}
