package witness

import (
	"cmp"
	"slices"
)

// within reports whether a key is in an interval, written as in Step.
func within(key, from, end string) bool {
	switch end {
	case "":
		return key == from
	case "\x00":
		return key >= from
	}
	return key >= from && key < end
}

// state is all keys at a revision.
type state map[string]KV

func newState(kvs []KV) state {
	s := state{}
	for _, kv := range kvs {
		s[kv.Key] = kv
	}
	return s
}

// in lists what an interval holds, in the order of the keys.
func (s state) in(from, end string) []KV {
	if end == "" {
		if kv, ok := s[from]; ok {
			return []KV{kv}
		}
		return nil
	}
	var out []KV
	for key, kv := range s {
		if within(key, from, end) {
			out = append(out, kv)
		}
	}
	slices.SortFunc(out, func(a, b KV) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// attached lists the keys of a lease.
func (s state) attached(lease int64) []KV {
	all := s.in("", "\x00")
	return slices.DeleteFunc(all, func(kv KV) bool { return kv.Lease != lease })
}

// take lets the events of one revision happen.
func (s state) take(events []Event) {
	for _, e := range events {
		if e.Delete {
			delete(s, e.KV.Key)
		} else {
			s[e.KV.Key] = e.KV
		}
	}
}

// holds reports whether a condition does.
func (c *Compare) holds(s state) bool {
	kv, ok := s[c.Key]
	if c.Target == TargetValue && !ok {
		return false
	}
	order := 0
	switch c.Target {
	case TargetValue:
		order = cmp.Compare(kv.Value, c.Value)
	case TargetMod:
		order = cmp.Compare(kv.Mod, c.Number)
	case TargetCreate:
		order = cmp.Compare(kv.Create, c.Number)
	case TargetVersion:
		order = cmp.Compare(kv.Version, c.Number)
	case TargetLease:
		order = cmp.Compare(kv.Lease, c.Number)
	}
	switch c.Relation {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Less:
		return order < 0
	}
	return order > 0
}

// effect is what an operation does to a state: its answer, and its events, which
// are of the revision after that of the state.
type effect struct {
	succeeded bool
	found     []Found
	events    []Event
}

// overlay is a state, and what an operation has changed in it so far.
type overlay struct {
	under   state
	changed state
	gone    map[string]bool
}

func (o *overlay) in(from, end string) []KV {
	out := slices.DeleteFunc(o.under.in(from, end), func(kv KV) bool {
		_, changed := o.changed[kv.Key]
		return changed || o.gone[kv.Key]
	})
	out = append(out, o.changed.in(from, end)...)
	slices.SortFunc(out, func(a, b KV) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// apply says what an operation does to a state, which it leaves as it is. The
// steps of a transaction see those before them.
func apply(s state, o *Op, revision int64) effect {
	if o.Revoke != 0 {
		var e effect
		for _, kv := range s.attached(o.Revoke) {
			e.events = append(e.events, deletion(kv, revision))
		}
		return e
	}
	e := effect{succeeded: true}
	for i := range o.If {
		e.succeeded = e.succeeded && o.If[i].holds(s)
	}
	steps := o.Then
	if !e.succeeded {
		steps = o.Else
	}
	over := overlay{under: s, changed: state{}, gone: map[string]bool{}}
	for _, step := range steps {
		e.found = append(e.found, over.step(step, revision, &e))
	}
	return e
}

func deletion(kv KV, revision int64) Event {
	return Event{Delete: true, KV: KV{Key: kv.Key, Mod: revision}, Prev: &kv}
}

func (o *overlay) step(s Step, revision int64, e *effect) Found {
	before := o.in(s.Key, s.End)
	switch s.Kind {
	case Get:
		f := Found{KVs: before, Count: int64(len(before))}
		if s.Limit > 0 && f.Count > s.Limit {
			f.KVs = before[:s.Limit]
		}
		return f
	case Delete:
		for _, kv := range before {
			delete(o.changed, kv.Key)
			o.gone[kv.Key] = true
			e.events = append(e.events, deletion(kv, revision))
		}
		return Found{KVs: before, Count: int64(len(before))}
	}
	kv := KV{Key: s.Key, Value: s.Value, Create: revision, Mod: revision, Version: 1, Lease: s.Lease}
	ev := Event{}
	if len(before) > 0 {
		kv.Create, kv.Version = before[0].Create, before[0].Version+1
		ev.Prev = &before[0]
	}
	delete(o.gone, s.Key)
	o.changed[s.Key] = kv
	ev.KV = kv
	e.events = append(e.events, ev)
	return Found{KVs: before}
}

// sameFound reports whether two answers to all steps are the same.
func sameFound(a, b []Found) bool {
	return slices.EqualFunc(a, b, func(x, y Found) bool { return x.Count == y.Count && slices.Equal(x.KVs, y.KVs) })
}

// sameEvents reports whether the same happened, whatever was said of before.
func sameEvents(a, b []Event) bool {
	return slices.EqualFunc(a, b, func(x, y Event) bool { return x.Delete == y.Delete && x.KV == y.KV })
}
