package witness

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// version is one version of a key, as a tale writes it down.
func version(key, value string, create, mod, n int64) KV {
	return KV{Key: key, Value: value, Create: create, Mod: mod, Version: n}
}

func put(kv KV, prev *KV) Event { return Event{KV: kv, Prev: prev} }

func gone(kv KV, at int64) Event {
	return Event{Delete: true, KV: KV{Key: kv.Key, Mod: at}, Prev: &kv}
}

func without(e Event) Event {
	e.Prev = nil
	return e
}

// The places of a tale's operations.
const (
	firstPut = iota
	swap
	listing
	lostPut
	staleGet
	leasedPut
	oldGet
	failedSwap
	compactedGet
	lastDelete
	refusedPut
)

// tale is a short history in which everything is right: two keys of one
// transaction, a write without an answer that happened, a lease that ended, a stale
// read that may be stale, reads of old revisions, a compaction, and a watch that was
// cut off in the middle.
func tale() *History {
	one, two, three := version("a/1", "one", 2, 2, 1), version("a/2", "two", 3, 3, 1), version("b/1", "three", 4, 4, 1)
	four := version("a/2", "four", 3, 5, 2)
	four.Lease = 7
	find := func(kvs ...KV) []Found { return []Found{{KVs: kvs, Count: int64(len(kvs))}} }
	before := func(kvs ...KV) []Found { return []Found{{KVs: kvs}} }
	ops := []Op{
		firstPut: {Call: 10, Return: 20, Then: []Step{{Kind: Put, Key: "a/1", Value: "one"}}, Revision: 2, Succeeded: true, Found: before()},
		swap: {
			Call: 30, Return: 40, If: []Compare{{Key: "a/1", Target: TargetMod, Number: 2}},
			Then:     []Step{{Kind: Put, Key: "a/2", Value: "two"}, {Kind: Delete, Key: "a/1"}},
			Revision: 3, Succeeded: true, Found: []Found{{}, {KVs: []KV{one}, Count: 1}},
		},
		listing:   {Call: 45, Return: 48, Then: []Step{{Key: "a/", End: "a0"}}, Revision: 3, Succeeded: true, Found: find(two)},
		lostPut:   {Call: 50, Return: 60, Then: []Step{{Kind: Put, Key: "b/1", Value: "three"}}, Outcome: Ambiguous},
		staleGet:  {Call: 55, Return: 57, Then: []Step{{Key: "a/1"}}, Serializable: true, Revision: 2, Succeeded: true, Found: find(one)},
		leasedPut: {Call: 70, Return: 80, Then: []Step{{Kind: Put, Key: "a/2", Value: "four", Lease: 7}}, Revision: 5, Succeeded: true, Found: before(two)},
		oldGet:    {Call: 85, Return: 90, Then: []Step{{Key: "a/2"}}, At: 3, Revision: 5, Succeeded: true, Found: find(two)},
		failedSwap: {
			Call: 92, Return: 95, If: []Compare{{Key: "a/1", Target: TargetVersion, Relation: Greater}},
			Then: []Step{{Kind: Put, Key: "a/1", Value: "never"}}, Else: []Step{{Key: "b/1"}}, Revision: 5, Found: find(three),
		},
		compactedGet: {Call: 100, Return: 105, Then: []Step{{Key: "a/1"}}, At: 2, Outcome: Compacted},
		lastDelete:   {Call: 130, Return: 140, Then: []Step{{Kind: Delete, Key: "b/1"}}, Revision: 7, Succeeded: true, Found: find(three)},
		refusedPut:   {Call: 141, Return: 142, Then: []Step{{Kind: Put, Key: "c", Value: "refused", Lease: 9}}, Outcome: Refused},
	}
	for i := range ops {
		ops[i].Who = "client"
	}
	second := []Event{put(two, nil), gone(one, 3)}
	all := Watch{Name: "all", Key: "", End: "\x00", PrevKV: true, Sessions: []Session{
		{Where: "m1", From: 2, Created: 1, Answers: []Answer{
			{When: 22, Revision: 2, Events: []Event{put(one, nil)}}, {When: 42, Revision: 3, Events: second}, {When: 47, Revision: 3, Progress: true},
		}},
		{Where: "m2", From: 4, Created: 3, Answers: []Answer{
			{When: 82, Revision: 5, Events: []Event{put(three, nil), put(four, &two)}},
			{When: 120, Revision: 6, Events: []Event{gone(four, 6)}},
			{When: 142, Revision: 7, Events: []Event{gone(three, 7)}},
		}},
	}}
	puts := Watch{Name: "puts", Key: "b/1", NoDelete: true, Sessions: []Session{{Where: "m3", From: 2, Created: 2, Answers: []Answer{
		{When: 62, Revision: 4, Events: []Event{without(put(three, nil))}}, {When: 143, Revision: 7, Progress: true},
	}}}}
	deletes := Watch{Name: "deletes", Key: "a/", End: "a0", NoPut: true, Sessions: []Session{{Where: "m3", Created: 1, Answers: []Answer{
		{When: 42, Revision: 3, Events: []Event{without(second[1])}}, {When: 122, Revision: 6, Events: []Event{without(gone(four, 6))}},
	}}}}
	return &History{
		Base: 1, Ops: ops, Watches: []Watch{all, puts, deletes},
		Compactions: []Compaction{{Revision: 3, Call: 96, Return: 99, Acknowledged: true}},
		Renewals:    []Renewal{{Lease: 7, Call: 65, TTL: 50}},
	}
}

// told is what a check says, one violation in a line.
func told(h *History) string {
	var out []string
	for _, v := range Check(h) {
		out = append(out, v.Error())
	}
	return strings.Join(out, "\n")
}

var keptFlag = flag.String("kept", "", "a history, as a test that failed kept it in JSON, to check once more")

func TestAHistoryThatWasKept(t *testing.T) {
	if *keptFlag == "" {
		t.Skip("name a file with -kept")
	}
	b, err := os.ReadFile(*keptFlag)
	if err != nil {
		t.Fatal(err)
	}
	h := &History{}
	if err := json.Unmarshal(b, h); err != nil {
		t.Fatal(err)
	}
	if got := told(h); got != "" {
		t.Error(got)
	}
	if err := Linearizable(h, *keptFlag+".html", time.Minute); err != nil {
		t.Error(err)
	}
}

func TestTheCheckerTellsARightHistoryFromEveryWrongOne(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(h *History, o []Op, all []Session)
		want  string
	}{
		"right": {func(*History, []Op, []Session) {}, ""},
		"two watches show different values": {func(h *History, _ []Op, _ []Session) {
			h.Watches[1].Sessions[0].Answers[0].Events[0].KV.Value = "other"
		}, `agree: at revision 4 of "b/1": `},
		"events out of order": {func(_ *History, _ []Op, all []Session) {
			slices.Reverse(all[1].Answers[0].Events)
		}, `ordered: at revision 4 of "b/1": all at m2 shows it after revision 5`},
		"events out of order inside a revision": {func(h *History, _ []Op, all []Session) {
			again := h.Watches[0]
			again.Sessions = []Session{{From: 2, Answers: slices.Clone(all[0].Answers)}}
			again.Sessions[0].Answers[1].Events = slices.Clone(all[0].Answers[1].Events)
			slices.Reverse(again.Sessions[0].Answers[1].Events)
			h.Watches = append(h.Watches, again)
		}, `ordered: at revision 3 of "a/1": `},
		"an event twice": {func(_ *History, _ []Op, all []Session) {
			a := &all[1].Answers[1]
			a.Events = append(a.Events, a.Events[0])
		}, `unique: at revision 6 of "a/2": `},
		"a revision in two answers": {func(_ *History, _ []Op, all []Session) {
			whole := all[0].Answers[1]
			first, second := whole, whole
			first.Events, second.Events = whole.Events[:1], whole.Events[1:]
			all[0].Answers = slices.Insert(slices.Replace(all[0].Answers, 1, 2, first), 2, second)
		}, `atomic: at revision 3 of "a/1": `},
		"a part of a revision": {func(_ *History, _ []Op, all []Session) {
			all[0].Answers[1].Events = all[0].Answers[1].Events[:1]
		}, `atomic: at revision 3 of "a/1": all at m1 shows other events of its revision without it`},
		"an event left out": {func(_ *History, _ []Op, all []Session) {
			all[1].Answers = slices.Delete(all[1].Answers, 1, 2)
		}, `reliable: at revision 6 of "a/2": all at m2 leaves it out`},
		"an event left out where the watch goes on": {func(_ *History, _ []Op, all []Session) {
			all[1].Answers[0].Events = all[1].Answers[0].Events[1:]
		}, `resumable: at revision 4 of "b/1": `},
		"an event again where the watch goes on": {func(_ *History, _ []Op, all []Session) {
			all[1].Answers[0].Events = append(slices.Clone(all[0].Answers[1].Events[1:]), all[1].Answers[0].Events...)
		}, `resumable: at revision 3 of "a/1": `},
		"a watch that goes on elsewhere": {func(_ *History, _ []Op, all []Session) {
			all[1].From = 5
		}, "resumable: at revision 5 of "},
		"a mark before its events": {func(h *History, _ []Op, _ []Session) {
			a := h.Watches[1].Sessions[0].Answers
			a[0], a[1] = a[1], a[0]
		}, `bookmarkable: at revision 4 of "b/1": puts at m3 marks progress up to 7, and has not shown it`},
		"a mark that goes back": {func(_ *History, _ []Op, all []Session) {
			all[0].Answers[2].Revision = 2
		}, "bookmarkable: at revision 2 of "},
		"another version before": {func(_ *History, _ []Op, all []Session) {
			all[1].Answers[0].Events[1].Prev = &KV{Key: "a/2", Value: "two", Create: 3, Mod: 3, Version: 2}
		}, `prev_kv: at revision 5 of "a/2": `},
		"no version before": {func(_ *History, _ []Op, all []Session) {
			all[1].Answers[0].Events[1].Prev = nil
		}, `prev_kv: at revision 5 of "a/2": `},
		"a version before that nobody asked for": {func(h *History, _ []Op, all []Session) {
			h.Watches[2].Sessions[0].Answers[0].Events[0].Prev = all[0].Answers[1].Events[1].Prev
		}, `prev_kv: at revision 3 of "a/1": `},
		"a version that does not count on": {func(_ *History, _ []Op, all []Session) {
			all[1].Answers[0].Events[1].KV.Version = 3
		}, `version: at revision 5 of "a/2": `},
		"a change that is shown as a creation": {func(_ *History, _ []Op, all []Session) {
			all[1].Answers[0].Events[1].KV.Create = 5
		}, `version: at revision 5 of "a/2": `},
		"a deletion of nothing": {func(_ *History, _ []Op, all []Session) {
			a := &all[0].Answers[0]
			a.Events[0] = without(gone(a.Events[0].KV, 2))
		}, `version: at revision 2 of "a/1": it is deleted, and was not there`},
		"a put that was filtered away": {func(h *History, _ []Op, all []Session) {
			a := &h.Watches[2].Sessions[0].Answers[0]
			a.Events = []Event{without(all[0].Answers[1].Events[0]), a.Events[0]}
		}, `filter: at revision 3 of "a/2": `},
		"an event of another key": {func(h *History, _ []Op, _ []Session) {
			h.Watches[1].Key = "b/2"
		}, `filter: at revision 4 of "b/1": `},
		"a header behind its events": {func(_ *History, _ []Op, all []Session) {
			all[1].Answers[0].Revision = 4
		}, `header: at revision 5 of "a/2": `},
		"an end for want of history that is there": {func(_ *History, _ []Op, all []Session) {
			all[1].Answers = append(all[1].Answers, Answer{When: 150, Revision: 7, CompactRevision: 3})
		}, "compacted: at revision 3 of "},
		"a read that was refused for want of history that is there": {func(h *History, _ []Op, _ []Session) {
			h.Compactions[0].Revision = 2
		}, `compacted: at revision 2 of "a/1": nobody has asked for it to be compacted`},
		"a read of what was compacted": {func(h *History, o []Op, _ []Session) {
			h.Compactions[0] = Compaction{Revision: 4, Call: 82, Return: 84, Acknowledged: true}
		}, `compacted: at revision 3 of "a/2": it had been compacted`},
		"a revision that nobody saw": {func(h *History, _ []Op, all []Session) {
			all[1].Answers[0].Events = all[1].Answers[0].Events[1:]
			h.Watches = h.Watches[:1]
		}, `covered: at revision 4 of "": `},
		"two writes at one revision": {func(_ *History, o []Op, _ []Session) {
			o[lastDelete].Revision = 5
		}, `revision: at revision 5 of "b/1": `},
		"an acknowledged write that did not happen": {func(_ *History, o []Op, _ []Session) {
			o[lastDelete].Revision = 8
		}, `covered: at revision 8 of "b/1": `},
		"an acknowledged write in part": {func(h *History, o []Op, all []Session) {
			all[0].Answers[1].Events = all[0].Answers[1].Events[1:]
		}, `acknowledged: at revision 3 of "a/2": `},
		"a write that was answered with nothing done": {func(_ *History, o []Op, _ []Session) {
			o[lastDelete].Found, o[lastDelete].Revision = []Found{{}}, 6
		}, `acknowledged: at revision 6 of "b/1": the answer says that nothing changed`},
		"a write that nobody asked for": {func(h *History, o []Op, _ []Session) {
			h.Ops = slices.Delete(o, lostPut, lostPut+1)
		}, `origin: at revision 4 of "b/1": nobody asked for it`},
		"a write that was refused": {func(_ *History, o []Op, _ []Session) {
			o[lostPut].Outcome = Refused
		}, `origin: at revision 4 of "b/1": it happened, though it was refused`},
		"a write of another key": {func(_ *History, o []Op, _ []Session) {
			o[lostPut].Then[0].Key = "b/0"
		}, `origin: at revision 4 of "b/0": the watches show something else`},
		"a deletion that nobody asked for": {func(h *History, o []Op, _ []Session) {
			h.Ops = slices.Delete(o, lastDelete, lastDelete+1)
		}, `origin: at revision 7 of "b/1": nobody asked for its deletion`},
		"a read of something else": {func(_ *History, o []Op, _ []Session) {
			o[listing].Found[0].KVs = nil
		}, `read: at revision 3 of "a/": `},
		"a stale read of what never was": {func(_ *History, o []Op, _ []Session) {
			o[staleGet].Revision = 3
		}, `read: at revision 3 of "a/1": `},
		"a read of another revision than was asked for": {func(_ *History, o []Op, _ []Session) {
			o[oldGet].At = 2
		}, `read: at revision 2 of "a/2": `},
		"a read of a revision to come": {func(_ *History, o []Op, _ []Session) {
			o[oldGet].At = 6
		}, `read: at revision 6 of "a/2": it was read before it was there`},
		"a write that saw something else before": {func(_ *History, o []Op, _ []Session) {
			o[leasedPut].Found[0].KVs = nil
		}, `read: at revision 5 of "a/2": `},
		"a condition that does not hold": {func(_ *History, o []Op, _ []Session) {
			o[swap].If[0].Number = 1
		}, `read: at revision 3 of "a/2": `},
		"a condition that holds": {func(_ *History, o []Op, _ []Session) {
			o[failedSwap].If[0].Relation = Equal
		}, `read: at revision 5 of "a/1": `},
		"a lease that ends too soon": {func(h *History, _ []Op, _ []Session) {
			h.Renewals[0].TTL = 60
		}, `lease: at revision 6 of "a/2": its lease ended before its time`},
		"a key that outlives its lease": {func(h *History, o []Op, _ []Session) {
			h.Ops = append(o, Op{Who: "client", Call: 100, Return: 105, Revoke: 7, Revision: 5, Succeeded: true})
		}, `lease: at revision 5 of "a/2": `},
		"a key of a lease that is gone": {func(h *History, o []Op, _ []Session) {
			h.Ops = append(o, Op{Who: "client", Call: 66, Return: 68, Revoke: 7, Revision: 4, Succeeded: true})
		}, `lease: at revision 5 of "a/2": it is attached to lease 7, which was gone at revision 4`},
		"a read that is behind another answer": {func(_ *History, o []Op, _ []Session) {
			o[staleGet].Serializable = false
		}, `clock: at revision 3 of "a/1": `},
		"a read that is behind a watch": {func(_ *History, o []Op, _ []Session) {
			o[listing].Call, o[listing].Return = 125, 126
		}, `clock: at revision 6 of "a/": `},
		"a write that is behind a watch": {func(_ *History, o []Op, _ []Session) {
			o[leasedPut].Call, o[leasedPut].Return = 122, 124
		}, `clock: at revision 6 of "a/2": `},
		"an event before its cause": {func(_ *History, o []Op, all []Session) {
			all[1].Answers[2].When = 129
		}, `cause: at revision 7 of "b/1": `},
		"a write without an answer that comes too soon": {func(_ *History, o []Op, _ []Session) {
			o[lostPut].Call = 63
		}, `cause: at revision 4 of "b/1": `},
	} {
		h := tale()
		c.spoil(h, h.Ops, h.Watches[0].Sessions)
		if got := told(h); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: it is told\n%s\nand not\n%s", name, got, c.want)
		}
	}
}

func TestAHistoryMayBeginInTheMiddle(t *testing.T) {
	h := tale()
	h.Base, h.Start, h.Ops = 3, []KV{version("a/2", "two", 3, 3, 1)}, h.Ops[listing:]
	if got := told(h); got != "" {
		t.Errorf("from revision 3 on: %s", got)
	}
	h.Watches[0].Sessions[1].From = 5
	if got := told(h); !strings.Contains(got, `resumable: at revision 5 of ""`) {
		t.Errorf("with a gap after it: %q", got)
	}
}

func TestFragmentsAreOneAnswerOnceTheyAreWhole(t *testing.T) {
	h := tale()
	s := &h.Watches[0].Sessions[0]
	whole := s.Answers[1]
	first, second := whole, whole
	first.Events, first.More, second.Events = whole.Events[:1], true, whole.Events[1:]
	s.Answers = []Answer{s.Answers[0], first, second, s.Answers[2]}
	if got := told(h); got != "" {
		t.Errorf("in two parts: %s", got)
	}
	// A part whose rest was lost counts for nothing: the watch goes on before it.
	s.Answers = []Answer{s.Answers[0], first}
	h.Watches[0].Sessions = slices.Insert(h.Watches[0].Sessions, 1, Session{Where: "m1", From: 3, Answers: []Answer{whole}})
	if got := told(h); got != "" {
		t.Errorf("a part, and then the whole: %s", got)
	}
}

func TestWhatWasBeforeMayBeGoneWithCompactedHistory(t *testing.T) {
	h := tale()
	e := &h.Watches[0].Sessions[1].Answers[2].Events[0]
	e.Prev = nil
	if got := told(h); !strings.Contains(got, "prev_kv: at revision 7") {
		t.Errorf("without a compaction: %q", got)
	}
	h.Compactions = append(h.Compactions, Compaction{Revision: 7, Call: 141, Return: 145})
	if got := told(h); got != "" {
		t.Errorf("with one: %s", got)
	}
}

func TestDeletionsWithoutAnAnswerAreEachMatchedOnce(t *testing.T) {
	h := tale()
	ops := h.Ops
	// Either may have deleted b/1 alone, and it happened once.
	narrow, wide := ops[lastDelete], ops[lastDelete]
	narrow.Outcome, wide.Outcome = Ambiguous, Ambiguous
	wide.Then = []Step{{Kind: Delete, Key: "b/", End: "b0"}}
	ops[lastDelete] = wide
	h.Ops = append(ops, narrow)
	four := version("b/1", "five", 8, 8, 1)
	a := &h.Watches[0].Sessions[1].Answers
	*a = append(*a, Answer{When: 162, Revision: 8, Events: []Event{put(four, nil)}}, Answer{When: 182, Revision: 9, Events: []Event{gone(four, 9)}})
	h.Ops = append(h.Ops, Op{Who: "client", Call: 150, Return: 160, Then: []Step{{Kind: Put, Key: "b/1", Value: "five"}}, Revision: 8, Succeeded: true, Found: []Found{{}}})
	if got := told(h); got != "" {
		t.Errorf("two deletions, and two that may have done it: %s", got)
	}
	h.Ops[lastDelete].Outcome = Refused
	if got := told(h); !strings.Contains(got, `origin: at revision 9 of "b/1"`) {
		t.Errorf("two deletions, and one that may have done it: %q", got)
	}
}

func TestAWriteWithoutAnAnswerHappensOnce(t *testing.T) {
	h := tale()
	// It deletes what is there and puts what is not: it may have done either.
	either := Op{
		Who: "client", Call: 150, Return: 160, Outcome: Ambiguous, If: []Compare{{Key: "b/1", Target: TargetVersion, Relation: Greater}},
		Then: []Step{{Kind: Delete, Key: "b/1"}}, Else: []Step{{Kind: Put, Key: "b/1", Value: "five"}},
	}
	five := version("b/1", "five", 8, 8, 1)
	h.Ops = append(h.Ops, either)
	a := &h.Watches[0].Sessions[1].Answers
	*a = append(*a, Answer{When: 162, Revision: 8, Events: []Event{put(five, nil)}})
	if got := told(h); got != "" {
		t.Errorf("it put: %s", got)
	}
	*a = append(*a, Answer{When: 182, Revision: 9, Events: []Event{gone(five, 9)}})
	if got := told(h); !strings.Contains(got, `origin: at revision 9 of "b/1"`) {
		t.Errorf("it put, and deleted that: %q", got)
	}
}

func TestARevocationMayFindTheKeysOfItsLeaseGone(t *testing.T) {
	h := tale()
	// What deleted a/2 got no answer, and was seen before the revocation began.
	h.Ops = append(h.Ops, Op{Who: "client", Call: 100, Return: 110, Outcome: Ambiguous, Then: []Step{{Kind: Delete, Key: "a/2"}}},
		Op{Who: "client", Call: 123, Return: 124, Revoke: 7, Revision: 6, Succeeded: true})
	h.Renewals[0].TTL = 1000
	if got := told(h); got != "" {
		t.Errorf("it found nothing: %s", got)
	}
}

func TestWhatMayStillHappenIsCarriedOn(t *testing.T) {
	h := tale()
	late := Op{Who: "client", Call: 131, Return: 139, Then: []Step{{Kind: Delete, Key: "b/1"}}, Outcome: Ambiguous}
	h.Ops = append(h.Ops, late, Op{Who: "client", Call: 131, Return: 139, Then: []Step{{Key: "b/1"}}, Outcome: Ambiguous})
	if got := Open(h); len(got) != 1 || got[0].String() != late.String() {
		t.Errorf("open is %v, want the deletion alone", got)
	}
}

func TestPorcupineIsOfTheSameOpinion(t *testing.T) {
	drawing := filepath.Join(t.TempDir(), "history.html")
	if err := Linearizable(tale(), drawing, time.Minute); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(o []Op){
		"a stale read":             func(o []Op) { o[staleGet].Serializable = false },
		"a read of something else": func(o []Op) { o[listing].Found[0].KVs = nil },
		"a condition":              func(o []Op) { o[swap].If[0].Number = 1 },
		"a late write":             func(o []Op) { o[leasedPut].Call, o[leasedPut].Return = 146, 147 },
	} {
		h := tale()
		spoil(h.Ops)
		err := Linearizable(h, drawing, time.Minute)
		if err == nil || !strings.Contains(err.Error(), "are not linearizable") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
