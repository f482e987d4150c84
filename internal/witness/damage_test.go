package witness

import (
	"flag"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var worlds = flag.Int("worlds", 0, "how many right histories are damaged, each in every way; 0 is 60, or 15 with -short")

// spot is an answer with events, and where it is.
type spot struct {
	w *Watch
	s *Session
	// session and answer are its places.
	session, answer int
}

func (s *spot) at() *Answer { return &s.s.Answers[s.answer] }

// spots are the answers that fit, of whole answers only, in an order by chance.
func spots(rng *rand.Rand, h *History, fits func(s *spot) bool) []spot {
	var out []spot
	for i := range h.Watches {
		w := &h.Watches[i]
		for j := range w.Sessions {
			for k := range w.Sessions[j].Answers {
				s := spot{w, &w.Sessions[j], j, k}
				more := s.at().More || k > 0 && s.s.Answers[k-1].More
				if !more && fits(&s) {
					out = append(out, s)
				}
			}
		}
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// cutAt is the first event of the second revision in an answer, or 0.
func cutAt(events []Event) int {
	return max(0, slices.IndexFunc(events, func(e Event) bool { return e.KV.Mod != events[0].KV.Mod }))
}

// pairAt is the first event that is of one revision with the one before, or 0.
func pairAt(events []Event) int {
	for i := 1; i < len(events); i++ {
		if events[i].KV.Mod == events[i-1].KV.Mod {
			return i
		}
	}
	return 0
}

// onAnswers damages some answer that fits. It reports whether there is one.
func onAnswers(fits func(s *spot) bool, spoil func(s *spot)) func(*rand.Rand, *History) bool {
	return func(rng *rand.Rand, h *History) bool {
		found := spots(rng, h, fits)
		if len(found) > 0 {
			spoil(&found[0])
		}
		return len(found) > 0
	}
}

// onOps damages some operation that fits.
func onOps(fits func(o *Op) bool, spoil func(o *Op)) func(*rand.Rand, *History) bool {
	return func(rng *rand.Rand, h *History) bool {
		var found []*Op
		for i := range h.Ops {
			if fits(&h.Ops[i]) {
				found = append(found, &h.Ops[i])
			}
		}
		if len(found) > 0 {
			spoil(found[rng.IntN(len(found))])
		}
		return len(found) > 0
	}
}

func two(s *spot) bool { return cutAt(s.at().Events) > 0 }

// eventsEverywhere damages one revision's events in all watches at once.
func eventsEverywhere(fits func(e *Event) bool, spoil func(e *Event)) func(*rand.Rand, *History) bool {
	return func(rng *rand.Rand, h *History) bool {
		found := spots(rng, h, func(s *spot) bool { return slices.ContainsFunc(s.at().Events, func(e Event) bool { return fits(&e) }) })
		if len(found) == 0 {
			return false
		}
		events := found[0].at().Events
		at := events[slices.IndexFunc(events, func(e Event) bool { return fits(&e) })].KV
		for i := range h.Watches {
			for _, s := range h.Watches[i].Sessions {
				for _, a := range s.Answers {
					for k := range a.Events {
						if e := &a.Events[k]; e.KV.Mod == at.Mod && e.KV.Key == at.Key {
							spoil(e)
						}
					}
				}
			}
		}
		return true
	}
}

// damage is a way to spoil a right history, and the rule of which at least one
// violation tells.
type damage struct {
	rule  string
	spoil func(rng *rand.Rand, h *History) bool
}

func watchDamages() map[string]damage {
	return map[string]damage{
		"two revisions change places": {RuleOrdered, onAnswers(two, func(s *spot) {
			e := slices.Clone(s.at().Events)
			i := cutAt(e)
			e[i-1], e[i] = e[i], e[i-1]
			s.at().Events = e
		})},
		"two events of a revision change places": {RuleOrdered, onAnswers(func(s *spot) bool { return pairAt(s.at().Events) > 0 }, func(s *spot) {
			e := slices.Clone(s.at().Events)
			i := pairAt(e)
			e[i-1], e[i] = e[i], e[i-1]
			s.at().Events = e
		})},
		"an event comes twice": {RuleUnique, onAnswers(func(s *spot) bool { return len(s.at().Events) > 0 }, func(s *spot) {
			s.at().Events = slices.Insert(slices.Clone(s.at().Events), 0, s.at().Events[0])
		})},
		"a revision is torn": {RuleAtomic, onAnswers(func(s *spot) bool { return pairAt(s.at().Events) > 0 }, func(s *spot) {
			first, second := *s.at(), *s.at()
			i := pairAt(first.Events)
			first.Events, second.Events = first.Events[:i:i], first.Events[i:]
			s.s.Answers = slices.Concat(s.s.Answers[:s.answer], []Answer{first, second}, s.s.Answers[s.answer+1:])
		})},
		"a part of a revision is left out": {RuleAtomic, onAnswers(func(s *spot) bool { return pairAt(s.at().Events) > 0 }, func(s *spot) {
			i := pairAt(s.at().Events)
			s.at().Events = slices.Delete(slices.Clone(s.at().Events), i, i+1)
		})},
		"a revision is left out": {RuleReliable, onAnswers(func(s *spot) bool { return s.session == 0 && two(s) }, func(s *spot) {
			s.at().Events = s.at().Events[cutAt(s.at().Events):]
		})},
		"a resumed watch leaves out the first revision": {RuleResumable, onAnswers(func(s *spot) bool { return s.session > 0 && s.answer == 0 && two(s) }, func(s *spot) {
			s.at().Events = s.at().Events[cutAt(s.at().Events):]
		})},
		"a resumed watch is opened too late": {RuleResumable, onAnswers(func(s *spot) bool { return s.session > 0 && s.answer == 0 && len(s.at().Events) > 0 }, func(s *spot) {
			s.s.From += 1000
		})},
		"an event comes after the mark": {RuleBookmarkable, onAnswers(func(s *spot) bool {
			return len(s.at().Events) > 0 && s.answer+1 < len(s.s.Answers) && s.s.Answers[s.answer+1].Progress
		}, func(s *spot) {
			a := s.s.Answers
			a[s.answer], a[s.answer+1] = a[s.answer+1], a[s.answer]
		})},
		"the version before is another": {RulePrevKV, onAnswers(func(s *spot) bool { return len(s.at().Events) > 0 && s.at().Events[0].Prev != nil }, func(s *spot) {
			prev := *s.at().Events[0].Prev
			prev.Value += "!"
			s.at().Events[0].Prev = &prev
		})},
		"a watch shows another value": {RuleAgree, onAnswers(func(s *spot) bool { return len(s.at().Events) > 0 && !s.at().Events[0].Delete }, func(s *spot) {
			s.at().Events[0].KV.Value += "!"
		})},
		"the filter lets something through": {RuleFilter, onAnswers(func(s *spot) bool { return len(s.at().Events) > 0 }, func(s *spot) {
			s.w.NoPut, s.w.NoDelete = !s.at().Events[0].Delete, s.at().Events[0].Delete
		})},
		"a header is behind": {RuleHeader, onAnswers(func(s *spot) bool { return len(s.at().Events) > 0 }, func(s *spot) {
			s.at().Revision = s.at().Events[len(s.at().Events)-1].KV.Mod - 1
		})},
		"history is said to be gone": {RuleCompacted, onAnswers(func(s *spot) bool { return s.at().CompactRevision > 0 }, func(s *spot) {
			s.at().CompactRevision += 1000
		})},
		"a version does not count": {RuleVersion, eventsEverywhere(func(e *Event) bool { return !e.Delete }, func(e *Event) { e.KV.Version++ })},
		"a creation moves":         {RuleVersion, eventsEverywhere(func(e *Event) bool { return !e.Delete }, func(e *Event) { e.KV.Create-- })},
		"a value is another one":   {"", eventsEverywhere(func(e *Event) bool { return !e.Delete }, func(e *Event) { e.KV.Value = "nobody's" })},
		"a key is another one":     {"", eventsEverywhere(func(*Event) bool { return true }, func(e *Event) { e.KV.Key = "elsewhere" })},
		"nobody sees a revision": {RuleCovered, func(rng *rand.Rand, h *History) bool {
			found := spots(rng, h, func(s *spot) bool { return two(s) })
			if len(found) == 0 {
				return false
			}
			at := found[0].at().Events[0].KV.Mod
			for i := range h.Watches {
				for _, s := range h.Watches[i].Sessions {
					for j := range s.Answers {
						s.Answers[j].Events = slices.DeleteFunc(s.Answers[j].Events, func(e Event) bool { return e.KV.Mod == at })
					}
				}
			}
			return true
		}},
	}
}

func opDamages() map[string]damage {
	changed := func(o *Op) bool { return o.Outcome == Answered && o.changed() }
	saw := func(o *Op) bool {
		return o.Outcome == Answered && slices.ContainsFunc(o.Found, func(f Found) bool { return len(f.KVs) > 0 })
	}
	look := func(o *Op) *Found {
		return &o.Found[slices.IndexFunc(o.Found, func(f Found) bool { return len(f.KVs) > 0 })]
	}
	return map[string]damage{
		"an acknowledged write is lost": {"", onOps(changed, func(o *Op) { o.Revision++ })},
		"an acknowledged value is another": {RuleAcknowledged, onOps(func(o *Op) bool { return changed(o) && o.steps()[0].Kind == Put }, func(o *Op) {
			o.steps()[0].Value = "another"
		})},
		"a refused write happens": {RuleOrigin, onOps(func(o *Op) bool { return changed(o) && o.steps()[0].Kind == Put }, func(o *Op) {
			o.Outcome = Refused
		})},
		"a value that was read is another": {RuleRead, onOps(saw, func(o *Op) {
			f := look(o)
			f.KVs = slices.Clone(f.KVs)
			f.KVs[0].Value += "!"
		})},
		"a key that was read is not there":   {RuleRead, onOps(saw, func(o *Op) { look(o).KVs = nil })},
		"a revision that was read is behind": {RuleRead, onOps(saw, func(o *Op) { f := look(o); f.KVs = slices.Clone(f.KVs); f.KVs[0].Mod-- })},
		"a count is another":                 {RuleRead, onOps(func(o *Op) bool { return o.Outcome == Answered && len(o.Found) > 0 && !o.changed() && !o.mayWrite() }, func(o *Op) { o.Found[0].Count++ })},
		"a condition is ignored":             {RuleRead, onOps(func(o *Op) bool { return o.Outcome == Answered && len(o.If) > 0 && o.Succeeded }, func(o *Op) { o.If[0].Number += 1000 })},
		"a read began late":                  {RuleClock, onOps(func(o *Op) bool { return o.Outcome == Answered && !o.mayWrite() && !o.Serializable && o.Revision < 20 }, func(o *Op) { o.Call, o.Return = math.MaxInt64-1, math.MaxInt64 })},
		"a write began late":                 {RuleCause, onOps(changed, func(o *Op) { o.Call, o.Return = math.MaxInt64-1, math.MaxInt64 })},
		"nothing was compacted": {RuleCompacted, func(_ *rand.Rand, h *History) bool {
			h.Compactions = nil
			return slices.ContainsFunc(h.Ops, func(o Op) bool { return o.Outcome == Compacted })
		}},
		"leases end too soon": {RuleLease, func(_ *rand.Rand, h *History) bool {
			before := len(Check(h))
			for i := range h.Renewals {
				h.Renewals[i].TTL = 1_000_000
			}
			c := newChecker(h)
			c.replay()
			// It is damage only where a lease ended by itself.
			return before > 0 || slices.ContainsFunc(c.revisions, func(at int64) bool {
				t := c.turns[at]
				return t.op < 0 && t.before[t.events[0].KV.Key].Lease != 0
			})
		}},
	}
}

// TestEveryDamageToARightHistoryIsFound makes right histories by chance, of which
// nothing may be said, and damages each in every way, at random places.
func TestEveryDamageToARightHistoryIsFound(t *testing.T) {
	n := *worlds
	if n == 0 && testing.Short() {
		n = 15
	} else if n == 0 {
		n = 60
	}
	found := map[string]int{}
	for seed := range uint64(n) {
		if got := told(newWorld(seed, 700)); got != "" {
			t.Fatalf("seed %d: a right history is told\n%s", seed, got)
		}
		for _, damages := range []map[string]damage{watchDamages(), opDamages()} {
			for name, d := range damages {
				h := newWorld(seed, 700)
				if !d.spoil(rand.New(rand.NewPCG(seed, 2)), h) {
					continue
				}
				found[name]++
				wrong := Check(h)
				if len(wrong) == 0 || d.rule != "" && !slices.ContainsFunc(wrong, func(v *Violation) bool { return v.Rule == d.rule }) {
					t.Errorf("seed %d: %s: it is told\n%s\nand nothing of the rule %q", seed, name, told(h), d.rule)
				}
			}
		}
	}
	for _, damages := range []map[string]damage{watchDamages(), opDamages()} {
		for name := range damages {
			if found[name] < n/5 {
				t.Errorf("%s: only %d of %d histories could be damaged so", name, found[name], n)
			}
		}
	}
	t.Logf("%d histories, damaged %v", n, found)
}

func TestRightHistoriesAreLinearizableToPorcupine(t *testing.T) {
	drawing := filepath.Join(t.TempDir(), "history.html")
	for seed := range uint64(20) {
		if err := Linearizable(newWorld(seed, 700), drawing, time.Minute); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
