package witness

import (
	"cmp"
	"math"
	"slices"
)

// replayer goes through the revisions, with the state at each.
type replayer struct {
	*checker
	state state
	// claims are the answered writes by their revision, reads the other answers by
	// the revision of the state that they show.
	claims, reads map[int64][]int
	// puts are the operations by what they put.
	puts map[string]int
	// loose are those without an answer that delete.
	loose []int
	// open are revisions that nobody is known to have written yet, each with those of
	// loose that may have.
	open []opening
}

type opening struct {
	revision int64
	by       []int
	// lease says that the end of a lease explains it as well.
	lease bool
	// why is what is said if nothing does.
	why *Violation
}

// Open lists the operations without an answer of which a history does not show that
// they happened: they may in the one that goes on from it.
func Open(h *History) []Op {
	c := newChecker(h)
	c.replay()
	var out []Op
	for i := range h.Ops {
		if o := &h.Ops[i]; o.Outcome == Ambiguous && o.mayWrite() && c.wrote[i] == 0 {
			out = append(out, *o)
		}
	}
	return out
}

// replay holds every answer to the state of its revision, and finds who wrote each.
func (c *checker) replay() {
	r := &replayer{checker: c, state: newState(c.h.Start), claims: map[int64][]int{}, reads: map[int64][]int{}, puts: map[string]int{}}
	for i := range c.h.Ops {
		r.sort(i, &c.h.Ops[i])
	}
	r.answers(c.h.Base)
	for _, at := range c.revisions {
		r.turn(at, c.turns[at])
		r.state.take(c.turns[at].events)
		r.answers(at)
	}
	r.match()
	c.attachments()
}

// sort puts an operation where it is looked for.
func (r *replayer) sort(i int, o *Op) {
	deletes := o.Revoke != 0
	for _, branch := range [...][]Step{o.Then, o.Else} {
		for _, s := range branch {
			if s.Kind == Put {
				r.puts[s.Value] = i
			}
			deletes = deletes || s.Kind == Delete
		}
	}
	switch {
	case o.Outcome == Ambiguous && deletes:
		r.loose = append(r.loose, i)
	case o.Outcome != Answered:
	case o.Revision > r.last():
		r.violate(RuleCovered, o.Revision, o.key(), "no watch shows that revision; it is in the answer of %s", o)
	case o.Revoke != 0 || o.changed():
		if o.Revoke == 0 && r.turns[o.Revision] == nil {
			r.violate(RuleAcknowledged, o.Revision, o.key(), "nothing happened at it, and that was answered to %s", o)
		}
		r.claims[o.Revision] = append(r.claims[o.Revision], i)
	case o.At > o.Revision:
		r.violate(RuleRead, o.At, o.key(), "it was read before it was there: %s", o)
	case o.At != 0:
		r.reads[o.At] = append(r.reads[o.At], i)
	default:
		r.reads[o.Revision] = append(r.reads[o.Revision], i)
	}
}

// turn finds who made a revision, whose state is that of the one before.
func (r *replayer) turn(at int64, t *turn) {
	claims := r.claims[at]
	slices.SortStableFunc(claims, func(i, j int) int { return cmp.Compare(r.h.Ops[i].Revoke, r.h.Ops[j].Revoke) })
	for _, i := range claims {
		o := &r.h.Ops[i]
		e := apply(r.state, o, at)
		if o.Revoke != 0 && (t.op >= 0 || o.Call >= t.first || !sameEvents(e.events, t.events)) {
			continue // it found nothing to delete, after what others did at this revision
		}
		if t.op >= 0 {
			r.violate(RuleRevision, at, o.key(), "two writes were answered with it: %s, and %s", &r.h.Ops[t.op], o)
			continue
		}
		t.op, r.wrote[i] = i, at
		if key, ok := differing(e.events, t.events); !ok {
			r.violate(RuleAcknowledged, at, key, "the watches show something else than was acknowledged to %s", o)
		}
		r.told(at, o, &e)
	}
	if t.op >= 0 {
		return
	}
	if i := slices.IndexFunc(t.events, func(e Event) bool { return !e.Delete }); i >= 0 {
		r.written(at, t, &t.events[i])
	} else {
		r.deleted(at, t)
	}
}

// differing names a key about which two lists of events differ.
func differing(a, b []Event) (key string, same bool) {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return b[i].KV.Key, false
		case i >= len(b), a[i].Delete != b[i].Delete, a[i].KV != b[i].KV:
			return a[i].KV.Key, false
		}
	}
	return "", true
}

// told holds an answer to what it should have been.
func (r *replayer) told(at int64, o *Op, e *effect) {
	if o.Revoke == 0 && (o.Succeeded != e.succeeded || !sameFound(o.Found, e.found)) {
		r.violate(RuleRead, at, o.key(), "it was answered to %s; the watches make it succeeded %v, %+v", o, e.succeeded, e.found)
	}
}

// written finds who put something at a revision that nobody claims.
func (r *replayer) written(at int64, t *turn, e *Event) {
	i, ok := r.puts[e.KV.Value]
	if !ok {
		r.violate(RuleOrigin, at, e.KV.Key, "nobody asked for it: %s", describe(e))
		return
	}
	o := &r.h.Ops[i]
	switch {
	case o.Outcome == Refused || o.Outcome == Compacted:
		r.violate(RuleOrigin, at, e.KV.Key, "it happened, though it was refused: %s", o)
	case o.Outcome == Answered:
		r.violate(RuleOrigin, at, e.KV.Key, "it happened here, though that was answered: %s", o)
	case r.wrote[i] != 0:
		r.violate(RuleOrigin, at, e.KV.Key, "it happened twice, before at revision %d: %s", r.wrote[i], o)
	default:
		t.op, r.wrote[i] = i, at
		made := apply(r.state, o, at)
		if key, same := differing(made.events, t.events); !same {
			r.violate(RuleOrigin, at, key, "the watches show something else than this would do: %s", o)
		}
	}
}

// deleted finds who may have made a revision that only deletes, and that nobody
// claims: operations without an answer, or the end of a lease.
func (r *replayer) deleted(at int64, t *turn) {
	key := t.events[0].KV.Key
	open := opening{revision: at, why: &Violation{Rule: RuleOrigin, Revision: at, Key: key, Text: "nobody asked for its deletion"}}
	for _, i := range r.loose {
		if o := &r.h.Ops[i]; o.Call < t.first && sameEvents(apply(r.state, o, at).events, t.events) {
			open.by = append(open.by, i)
		}
	}
	if lease := r.state[key].Lease; lease != 0 {
		e := apply(r.state, &Op{Revoke: lease}, at)
		if other, same := differing(e.events, t.events); !same {
			open.why = &Violation{Rule: RuleLease, Revision: at, Key: other, Text: "nobody asked for the deletion of these, and they are not all keys of one lease"}
		} else if due := r.leaseEnds(lease); due > t.first {
			open.why = &Violation{Rule: RuleLease, Revision: at, Key: key, Text: "its lease ended before its time"}
		} else {
			open.lease = true
		}
	}
	r.open = append(r.open, open)
}

// leaseEnds is the moment before which a lease does not end by itself.
func (r *replayer) leaseEnds(lease int64) int64 {
	end, known := int64(0), false
	for _, n := range r.h.Renewals {
		if n.Lease == lease {
			end, known = max(end, n.Call+n.TTL), true
		}
	}
	if !known {
		return math.MaxInt64
	}
	return end
}

// match gives each open revision an operation of its own, if there is a way to.
func (r *replayer) match() {
	taken := map[int]int{} // which of open each operation has
	var give func(n int, tried map[int]bool) bool
	give = func(n int, tried map[int]bool) bool {
		for _, i := range r.open[n].by {
			if tried[i] || r.wrote[i] != 0 {
				continue // or it is known to have done something else
			}
			tried[i] = true
			if other, ok := taken[i]; !ok || give(other, tried) {
				taken[i] = n
				return true
			}
		}
		return false
	}
	for n := range r.open {
		if !r.open[n].lease && !give(n, map[int]bool{}) {
			r.violate(r.open[n].why.Rule, r.open[n].revision, r.open[n].why.Key, "%s", r.open[n].why.Text)
		}
	}
	for i, n := range taken {
		r.wrote[i] = r.open[n].revision
		r.turns[r.wrote[i]].op = i
	}
}

// answers holds the answers that show the state at a revision to it.
func (r *replayer) answers(at int64) {
	for _, i := range r.reads[at] {
		o := &r.h.Ops[i]
		e := apply(r.state, o, at+1)
		if len(e.events) > 0 {
			r.violate(RuleAcknowledged, at, e.events[0].KV.Key, "the answer says that nothing changed, and there was something to change: %s", o)
		}
		r.told(at, o, &e)
	}
	for _, i := range r.claims[at] {
		o := &r.h.Ops[i]
		if o.Revoke == 0 {
			continue
		}
		for _, kv := range r.state.attached(o.Revoke) {
			r.violate(RuleLease, at, kv.Key, "it is there, and its lease is gone: %s", o)
		}
		r.ended[o.Revoke] = at
	}
}

// attachments demands that nothing is attached to a lease that is gone.
func (c *checker) attachments() {
	for _, at := range c.revisions {
		for _, e := range c.turns[at].events {
			if end, ok := c.ended[e.KV.Lease]; ok && e.KV.Lease != 0 && at > end {
				c.violate(RuleLease, at, e.KV.Key, "it is attached to lease %x, which was gone at revision %d", e.KV.Lease, end)
			}
		}
	}
}
