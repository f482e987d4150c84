package witness

import "slices"

// follower goes through one session of a watch.
type follower struct {
	c *checker
	w *Watch
	s *Session
	// again says that the watch had been open before.
	again bool
	// from is the first revision of the session, and through that up to which
	// everything was handed out in it. What it shows of the time before the history
	// is not looked at.
	from, through int64
	// shown is the last revision of an event, mark that of a progress mark.
	shown, mark int64
	seen        map[string]int64 // the last revision seen, by key
}

// follow holds a watch to the turns, from session to session.
func (c *checker) follow(w *Watch) {
	var next int64
	for i := range w.Sessions {
		s := &w.Sessions[i]
		from := s.From
		if from == 0 {
			if s.Created == 0 {
				continue
			}
			from = s.Created + 1
		}
		if from <= c.h.Base {
			from = c.h.Base + 1
			s = s.since(c.h.Base)
		}
		if next != 0 && from > next {
			c.violate(RuleResumable, from, w.Key, "%s was opened again at %s from revision %d on, and has seen all before %d", w.Name, s.Where, from, next)
		}
		f := follower{c: c, w: w, s: s, again: next != 0, from: from, through: from - 1, seen: map[string]int64{}}
		next = max(next, f.session())
	}
}

// since is a session without what it shows up to a revision.
func (s *Session) since(revision int64) *Session {
	out := *s
	out.Answers = slices.Clone(s.Answers)
	for i := range out.Answers {
		a := &out.Answers[i]
		a.Events = slices.DeleteFunc(slices.Clone(a.Events), func(e Event) bool { return e.KV.Mod <= revision })
	}
	return &out
}

// session returns the revision from which the watch has to go on.
func (f *follower) session() int64 {
	for _, a := range whole(f.s.Answers, false) {
		switch {
		case a.CompactRevision != 0:
			f.gone(&a)
			return a.CompactRevision
		case a.Progress:
			f.progress(&a)
		case len(a.Events) > 0:
			f.answer(&a)
		}
	}
	return f.through + 1
}

func (f *follower) violate(rule string, revision int64, key, format string, args ...any) {
	f.c.violate(rule, revision, key, f.w.Name+" at "+f.s.Where+" "+format, args...)
}

// wants reports whether the watch is to show an event.
func (w *Watch) wants(e *Event) bool {
	return within(e.KV.Key, w.Key, w.End) && (!e.Delete && !w.NoPut || e.Delete && !w.NoDelete)
}

// due lists what the watch has still to show of the revisions up to one.
func (f *follower) due(through int64) []Event {
	var out []Event
	at, _ := slices.BinarySearch(f.c.revisions, f.through+1)
	for _, revision := range f.c.revisions[at:] {
		if revision > through {
			break
		}
		for _, e := range f.c.turns[revision].events {
			if f.w.wants(&e) {
				out = append(out, e)
			}
		}
	}
	return out
}

func (f *follower) progress(a *Answer) {
	if a.Revision < f.shown {
		f.violate(RuleBookmarkable, a.Revision, f.w.Key, "marks progress after it has shown revision %d", f.shown)
		return
	}
	for _, e := range f.due(a.Revision) {
		f.violate(RuleBookmarkable, e.KV.Mod, e.KV.Key, "marks progress up to %d, and has not shown it", a.Revision)
	}
	f.mark = max(f.mark, a.Revision)
	f.through = max(f.through, a.Revision)
}

// gone is the end of a session for want of history.
func (f *follower) gone(a *Answer) {
	asked := slices.ContainsFunc(f.c.h.Compactions, func(c Compaction) bool {
		return c.Revision == a.CompactRevision && c.Call < a.When
	})
	if !asked || f.through+1 >= a.CompactRevision {
		f.violate(RuleCompacted, a.CompactRevision, f.w.Key, "is told that revision %d is gone with it, which was not so", f.through+1)
	}
}

// answer holds the events of one answer to what is due.
func (f *follower) answer(a *Answer) {
	before := f.shown
	var shown []Event
	for i := range a.Events {
		e := &a.Events[i]
		if f.fits(e, before) {
			f.shown, f.seen[e.KV.Key] = e.KV.Mod, e.KV.Mod
			f.previous(a, e)
			shown = append(shown, *e)
		}
	}
	if len(shown) == 0 {
		return
	}
	if a.Revision < f.shown {
		f.violate(RuleHeader, f.shown, shown[len(shown)-1].KV.Key, "shows it in an answer of revision %d", a.Revision)
	}
	f.complete(shown)
	f.through = max(f.through, f.shown)
}

// fits reports whether an event may come here. before is the last revision of the
// answers before.
func (f *follower) fits(e *Event, before int64) bool {
	at, key := e.KV.Mod, e.KV.Key
	switch {
	case !f.w.wants(e):
		f.violate(RuleFilter, at, key, "shows it, and did not ask for it")
	case f.seen[key] == at:
		f.violate(RuleUnique, at, key, "shows it twice")
	case at < f.from:
		f.violate(RuleResumable, at, key, "shows it, and was opened from revision %d on", f.from)
	case at <= f.mark:
		f.violate(RuleBookmarkable, at, key, "shows it after it has marked progress up to %d", f.mark)
	case at < f.shown:
		f.violate(RuleOrdered, at, key, "shows it after revision %d", f.shown)
	case at == before:
		f.violate(RuleAtomic, at, key, "shows it apart from other events of its revision, in an answer of its own")
	default:
		return true
	}
	return false
}

// complete demands that nothing is left out among events that were shown.
func (f *follower) complete(shown []Event) {
	due := f.due(shown[len(shown)-1].KV.Mod)
	if sameEvents(due, shown) {
		return
	}
	complete := true
	for _, e := range due {
		if slices.ContainsFunc(shown, func(o Event) bool { return o.KV.Mod == e.KV.Mod && o.KV.Key == e.KV.Key }) {
			continue
		}
		complete = false
		switch {
		case slices.ContainsFunc(shown, func(o Event) bool { return o.KV.Mod == e.KV.Mod }):
			f.violate(RuleAtomic, e.KV.Mod, e.KV.Key, "shows other events of its revision without it")
		case f.again && f.through < f.from:
			f.violate(RuleResumable, e.KV.Mod, e.KV.Key, "leaves it out, having been opened again from revision %d on", f.from)
		default:
			f.violate(RuleReliable, e.KV.Mod, e.KV.Key, "leaves it out")
		}
	}
	for i, e := range shown {
		if complete && (i >= len(due) || e.KV.Key != due[i].KV.Key) {
			f.violate(RuleOrdered, e.KV.Mod, e.KV.Key, "shows it at another place inside its revision than others")
			return
		}
	}
}

// previous holds what an event says of the version before. That may be gone with
// compacted history.
func (f *follower) previous(a *Answer, e *Event) {
	at, key := e.KV.Mod, e.KV.Key
	want := f.c.turns[at].before[key]
	if !f.w.PrevKV {
		want = nil
	}
	switch {
	case e.Prev == nil && want == nil, e.Prev != nil && want != nil && *e.Prev == *want:
		return
	case e.Prev == nil && slices.ContainsFunc(f.c.h.Compactions, func(c Compaction) bool { return c.Revision >= at && c.Call < a.When }):
		return
	}
	f.violate(RulePrevKV, at, key, "says that it was %+v before, it was %+v", e.Prev, want)
}
