package witness

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
)

// The rules, by which a Violation is named. Those of watches are the promises of
// etcd's documents, under the names that its robustness tests gave them.
const (
	// RuleAgree: an event is the same for everyone who sees it.
	RuleAgree = "agree"
	// RuleOrdered: the events of a watch come in the order of their revisions, and
	// inside one in the order in which they were asked for.
	RuleOrdered = "ordered"
	// RuleUnique: no event comes twice.
	RuleUnique = "unique"
	// RuleAtomic: the events of a revision come together.
	RuleAtomic = "atomic"
	// RuleReliable: nothing is left out between two events of a watch.
	RuleReliable = "reliable"
	// RuleResumable: a watch that was opened again goes on just where it was.
	RuleResumable = "resumable"
	// RuleBookmarkable: a progress mark says that nothing up to it is missing, and
	// nothing up to it comes after.
	RuleBookmarkable = "bookmarkable"
	// RulePrevKV: the version before is the one before.
	RulePrevKV = "prev_kv"
	// RuleVersion: versions and creations count on from the version before.
	RuleVersion = "version"
	// RuleFilter: a watch shows what it asked for and nothing else.
	RuleFilter = "filter"
	// RuleHeader: no event is of a later revision than its answer.
	RuleHeader = "header"
	// RuleCompacted: only what a compaction was asked for is gone, and that is.
	RuleCompacted = "compacted"
	// RuleCovered: every revision is a change that somebody saw. It fails too where
	// too few watch.
	RuleCovered = "covered"
	// RuleRevision: no two writes made one revision.
	RuleRevision = "revision"
	// RuleAcknowledged: an acknowledged write is exactly the events of its revision.
	RuleAcknowledged = "acknowledged"
	// RuleOrigin: every event was asked for by an operation that may have happened,
	// once.
	RuleOrigin = "origin"
	// RuleRead: what an answer holds is the fold of the events up to its revision.
	RuleRead = "read"
	// RuleLease: the keys of a lease go together, when it was revoked or its time
	// was over, and none comes later.
	RuleLease = "lease"
	// RuleClock: what began after a revision was shown to anyone is not of an earlier
	// one; a write is of a later one.
	RuleClock = "clock"
	// RuleCause: nothing is shown before it was asked for.
	RuleCause = "cause"
)

// turn is one revision: what happened at it, as the watches show it.
type turn struct {
	events []Event
	// before is each key as it was; nil where there was none.
	before map[string]*KV
	// first is when somebody was shown this revision or a later one.
	first int64
	// op is who wrote it, as an index into the operations; -1 is nobody known.
	op int
}

// checker is one check under way.
type checker struct {
	h         *History
	turns     map[int64]*turn
	revisions []int64 // of the turns, in order
	// sights are all moments at which a revision was shown, by time.
	sights []sight
	// wrote is the revision that each operation is known to have made, or 0.
	wrote []int64
	// ended is the revision from which on nothing may be attached to a lease.
	ended map[int64]int64
	wrong []*Violation
}

// Check holds a history to all rules and returns what is wrong, at most a few of
// each rule, the first first. It changes nothing.
func Check(h *History) []*Violation {
	c := newChecker(h)
	for i := range h.Watches {
		c.follow(&h.Watches[i])
	}
	c.compactions()
	if c.covered() {
		c.replay()
		c.clock()
	}
	return c.wrong
}

func newChecker(h *History) *checker {
	c := &checker{h: h, turns: map[int64]*turn{}, wrote: make([]int64, len(h.Ops)), ended: map[int64]int64{}}
	c.gather()
	c.look()
	c.fold()
	return c
}

// maxOfRule bounds the violations of one rule: the first tell most.
const maxOfRule = 5

func (c *checker) violate(rule string, revision int64, key, format string, args ...any) {
	n := 0
	for _, v := range c.wrong {
		if v.Rule == rule {
			n++
		}
	}
	if n < maxOfRule {
		c.wrong = append(c.wrong, &Violation{Rule: rule, Revision: revision, Key: key, Text: fmt.Sprintf(format, args...)})
	}
}

// gather makes the turns: the events of each revision, as the watch shows them that
// shows most of them, and what others show besides.
func (c *checker) gather() {
	c.eachRevision(func(_ *Watch, at int64, events []Event) {
		t := c.turns[at]
		if t == nil {
			t = &turn{op: -1}
			c.turns[at] = t
		}
		if len(events) > len(t.events) {
			t.events = events
		}
	})
	for _, t := range c.turns {
		t.events = slices.Clone(t.events)
	}
	c.eachRevision(func(w *Watch, at int64, events []Event) {
		t := c.turns[at]
		for _, e := range events {
			i := slices.IndexFunc(t.events, func(o Event) bool { return o.KV.Key == e.KV.Key })
			switch {
			case i < 0:
				t.events = append(t.events, e)
			case t.events[i].KV != e.KV || t.events[i].Delete != e.Delete:
				c.violate(RuleAgree, at, e.KV.Key, "%s shows %s, another watch %s", w.Name, describe(&e), describe(&t.events[i]))
			}
		}
	})
	c.revisions = slices.Sorted(maps.Keys(c.turns))
}

// eachRevision hands out the runs of events of one revision in the answers of all
// watches, where parts of one answer are one.
func (c *checker) eachRevision(f func(w *Watch, revision int64, events []Event)) {
	for i := range c.h.Watches {
		w := &c.h.Watches[i]
		for j := range w.Sessions {
			for _, a := range whole(w.Sessions[j].Answers, true) {
				for run := a.Events; len(run) > 0; {
					at, n := run[0].KV.Mod, 1
					for n < len(run) && run[n].KV.Mod == at {
						n++
					}
					if at > c.h.Base {
						f(w, at, run[:n:n])
					}
					run = run[n:]
				}
			}
		}
	}
}

// whole puts the parts of answers together. What was to follow the last part is
// lost with it; loose keeps that.
func whole(answers []Answer, loose bool) []Answer {
	var out []Answer
	var open *Answer
	for _, a := range answers {
		if open != nil {
			a.Events = append(slices.Clone(open.Events), a.Events...)
		}
		if open = nil; a.More {
			open = &a
			continue
		}
		out = append(out, a)
	}
	if open != nil && loose {
		out = append(out, *open)
	}
	return out
}

func describe(e *Event) string {
	if e.Delete {
		return fmt.Sprintf("the deletion of %q (%+v)", e.KV.Key, e.KV)
	}
	return fmt.Sprintf("%+v", e.KV)
}

// sight is that somebody was shown a revision.
type sight struct {
	when, revision int64
}

// look collects who was shown what, and when each revision was first.
func (c *checker) look() {
	c.sights = append(c.sights, sight{math.MinInt64, c.h.Base})
	for i := range c.h.Ops {
		if o := &c.h.Ops[i]; o.Outcome == Answered {
			c.sights = append(c.sights, sight{o.Return, o.Revision})
		}
	}
	for i := range c.h.Watches {
		for _, s := range c.h.Watches[i].Sessions {
			for _, a := range s.Answers {
				c.sights = append(c.sights, sight{a.When, a.Revision})
			}
		}
	}
	slices.SortFunc(c.sights, func(a, b sight) int { return cmp.Compare(a.revision, b.revision) })
	first, at := int64(math.MaxInt64), len(c.sights)
	for _, revision := range slices.Backward(c.revisions) {
		for at > 0 && c.sights[at-1].revision >= revision {
			at--
			first = min(first, c.sights[at].when)
		}
		c.turns[revision].first = first
	}
	slices.SortFunc(c.sights, func(a, b sight) int { return cmp.Compare(a.when, b.when) })
	for i := 1; i < len(c.sights); i++ {
		c.sights[i].revision = max(c.sights[i].revision, c.sights[i-1].revision)
	}
}

// fold finds what was before each event, and holds versions and creations to it.
func (c *checker) fold() {
	s := newState(c.h.Start)
	for _, at := range c.revisions {
		t := c.turns[at]
		t.before = make(map[string]*KV, len(t.events))
		for i := range t.events {
			e := &t.events[i]
			if kv, ok := s[e.KV.Key]; ok {
				t.before[e.KV.Key] = &kv
			}
			c.counts(at, e, t.before[e.KV.Key])
		}
		s.take(t.events)
	}
}

// counts holds the numbers of a version to the version before.
func (c *checker) counts(at int64, e *Event, before *KV) {
	want := KV{Key: e.KV.Key, Value: e.KV.Value, Lease: e.KV.Lease, Mod: at, Create: at, Version: 1}
	switch {
	case e.Delete && before == nil:
		c.violate(RuleVersion, at, e.KV.Key, "it is deleted, and was not there")
		return
	case e.Delete:
		want = KV{Key: e.KV.Key, Mod: at}
	case before != nil:
		want.Create, want.Version = before.Create, before.Version+1
	}
	if e.KV != want {
		c.violate(RuleVersion, at, e.KV.Key, "the event is %+v, and after %+v it should be %+v", e.KV, before, want)
	}
}

// covered demands that no revision is missing.
func (c *checker) covered() bool {
	ok, next := true, c.h.Base+1
	for _, at := range c.revisions {
		if at != next {
			c.violate(RuleCovered, next, "", "no watch shows a change of it, the next that one shows is of revision %d", at)
			ok = false
		}
		next = at + 1
	}
	return ok
}

// last is the last revision that a watch showed.
func (c *checker) last() int64 {
	if len(c.revisions) == 0 {
		return c.h.Base
	}
	return c.revisions[len(c.revisions)-1]
}
