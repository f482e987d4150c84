package rafttest

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"chainfire/raft/confchange"
)

// A search is only as good as its copies and their fingerprints: what happens
// to a copy must be what would have happened to the original, and must leave
// the original alone.
func TestACloneGoesOnLikeItsOriginal(t *testing.T) {
	step := confchange.Step{Kind: confchange.AddVoter, ID: 3}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		x := newExplorer(Exploration{
			Voters: []uint64{1, 2}, Strangers: []uint64{3}, SlowDisks: seed%2 == 0,
			Changes:   []Proposal{func(uint64) confchange.Change { return confchange.Change{Steps: []confchange.Step{step}} }},
			Campaigns: 3, Writes: 5, Crashes: 2, Heartbeats: 5, Doubles: 3, Reads: 3,
		})
		s := x.begin(nil)
		var path []event
		for range 150 {
			next := x.events(s)
			if len(next) == 0 {
				break
			}
			ev := next[r.IntN(len(next))]
			path = append(path, ev)
			before := x.key(s)
			copied := x.copyOf(s)
			if got := x.key(copied); got != before {
				t.Fatalf("seed %d, event %d: a copy has fingerprint %x, its original %x", seed, len(path), got, before)
			}
			x.perform(copied, ev)
			if got := x.key(s); got != before {
				t.Fatalf("seed %d, event %d: %v on a copy changed its original", seed, len(path), ev)
			}
			x.perform(s, ev)
			if x.key(copied) != x.key(s) {
				t.Fatalf("seed %d, event %d: %v on a copy led elsewhere", seed, len(path), ev)
			}
			if s.err != nil || copied.err != nil {
				t.Fatalf("seed %d: %v, %v", seed, s.err, copied.err)
			}
			s = copied
		}
		again := x.begin(nil)
		for _, ev := range path {
			x.perform(again, ev)
		}
		if x.key(again) != x.key(s) {
			t.Errorf("seed %d: the same %d events from the start lead elsewhere", seed, len(path))
		}
	}
}

// copySchedule copies a run with everything in it, also its chance.
func copySchedule(k *cloner, s *Schedule) *Schedule {
	n := *s
	n.Cluster = k.clone(s.Cluster)
	n.asked, n.acked = slices.Clone(s.asked), slices.Clone(s.acked)
	k.copy(reflect.ValueOf(&n.rand).Elem(), reflect.ValueOf(&s.rand).Elem())
	n.jitter = func(_ uint64, max int) int { return n.rand.IntN(max) }
	return &n
}

// The same of random schedules, with all that a search never has: outboxes and
// messages held back, late completions, torn batches, wiped disks, pauses and
// clocks. A copy that is made in the middle comes to the same end as its original,
// by the hash of every event, over healing and a drill.
func TestACloneOfARandomScheduleComesToTheSameEnd(t *testing.T) {
	k, h := newCloner(), newHasher()
	had := map[string]int{}
	for seed := range uint64(300) {
		s := NewSchedule(seed, nil)
		s.chance(int(100 + seed))
		count(had, s)
		before := h.fingerprint(s.Cluster, true)
		copied := copySchedule(k, s)
		if got := h.fingerprint(copied.Cluster, true); got != before {
			t.Fatalf("seed %d: a copy has fingerprint %x, its original %x", seed, got, before)
		}
		end := func(s *Schedule) uint64 {
			err := s.Run(200)
			if err == nil {
				_, err = s.Drill()
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			return s.Hash()
		}
		first := end(copied)
		if got := h.fingerprint(s.Cluster, true); got != before {
			t.Fatalf("seed %d: what happened to a copy changed its original", seed)
		}
		if second := end(s); first != second {
			t.Errorf("seed %d: a copy came to %x after %d events, its original to %x after %d",
				seed, first, copied.Events(), second, s.Events())
		}
		if a, b := h.fingerprint(copied.Cluster, true), h.fingerprint(s.Cluster, true); a != b {
			t.Errorf("seed %d: the same end has fingerprints %x and %x", seed, a, b)
		}
	}
	for _, what := range []string{"down", "paused", "outbox", "written", "applied", "queue", "stash", "cut", "lost", "refused", "drift", "keeper", "snapshot", "reads"} {
		if had[what] < 2 {
			t.Errorf("%d copies had %q in them", had[what], what)
		}
	}
}

// count notes what a run that is copied has in it.
func count(had map[string]int, s *Schedule) {
	note := func(what string, is bool) {
		if is {
			had[what]++
		}
	}
	note("stash", len(s.net.stash) > 0)
	note("cut", len(s.net.cut) > 0)
	note("reads", len(s.check.reads) > 0)
	for _, m := range s.list {
		note("down", !m.up())
		note("paused", m.paused)
		note("outbox", len(m.outbox) > 0)
		note("written", m.written > 0)
		note("applied", m.applied > 0)
		note("queue", len(m.disk.queue) > 0)
		note("lost", len(m.lost) > 0)
		note("refused", m.refusedByPeers)
		note("drift", m.rate != nominal)
		note("keeper", len(m.keeper.rounds) > 0)
		note("snapshot", m.installing())
	}
}

// Every number and every flag in a busy cluster counts in its fingerprint, but
// for the fields that are listed as uncounted.
func TestFingerprintsCoverEveryField(t *testing.T) {
	h := newHasher()
	seen := map[string]bool{}
	for seed := range uint64(40) {
		s := NewSchedule(seed, nil)
		s.chance(400)
		w := &perturber{t: t, seen: seen, sum: func() uint64 { return h.fingerprint(s.Cluster, true) }, walked: map[any]bool{}}
		w.before = w.sum()
		w.walk("Cluster", reflect.ValueOf(s.Cluster).Elem())
	}
	for _, want := range []string{
		"member.rate", "member.stall", "member.ticks", "member.phase", "member.reached", "member.refusedByPeers", "member.applied",
		"sign.tick", "leadership.change", "round.target", "ballot.durable", "written.sum", "committed.inTerm", "committed.hash",
		"Core.elapsed", "Core.timeout", "raftLog.sure", "raftLog.awaited", "Progress.Match", "HardState.Commit", "machine.Hash",
		"Message.Term", "confRecord.index", "checker.known",
	} {
		if !seen[want] {
			t.Errorf("no cluster had %s to change", want)
		}
	}
}

// perturber changes one value after the other and looks at the fingerprint.
type perturber struct {
	t      *testing.T
	sum    func() uint64
	before uint64
	// seen are the fields whose change was noticed; each is tried until then.
	seen   map[string]bool
	walked map[any]bool
}

func (w *perturber) walk(name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Name() + "." + v.Type().Field(i).Name
			if !slices.Contains(uncounted, field) {
				w.walk(field, writable(v.Field(i)))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() && !w.walked[v.UnsafePointer()] {
			w.walked[v.UnsafePointer()] = true
			w.walk(name, v.Elem())
		}
	case reflect.Interface:
		if !v.IsNil() && v.Elem().Kind() == reflect.Pointer {
			w.walk(name, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			w.walk(name, v.Index(i))
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if it.Value().Kind() == reflect.Pointer {
				w.walk(name, it.Value())
			}
		}
	default:
		w.change(name, v)
	}
}

func (w *perturber) change(name string, v reflect.Value) {
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	switch {
	case w.seen[name]:
		return
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.CanInt():
		v.SetInt(v.Int() ^ 64)
	case v.CanUint():
		v.SetUint(v.Uint() ^ 64)
	default:
		return
	}
	w.seen[name] = true
	if w.sum() == w.before {
		w.t.Errorf("a change of %s is not noticed", name)
	}
	v.Set(old)
	if w.sum() != w.before {
		w.t.Fatalf("%s: the fingerprint does not come back", name)
	}
}

// Two runs that differ in what is still possible must not be taken for one.
func TestFingerprintsTellStatesApart(t *testing.T) {
	x := newExplorer(Exploration{Voters: []uint64{1, 2}, Campaigns: 2, Writes: 2, Crashes: 2, Heartbeats: 2, SlowDisks: true})
	start := x.begin(nil)
	seen := map[uint64]event{x.key(start): {}}
	for _, ev := range x.events(start) {
		s := x.copyOf(start)
		x.perform(s, ev)
		// The budget alone would tell most of them apart.
		s.done = start.done
		key := x.key(s)
		if other, ok := seen[key]; ok && ev.kind != evCampaign {
			t.Errorf("%v leads to the same as %v", ev, other)
		}
		seen[key] = ev
	}
}
