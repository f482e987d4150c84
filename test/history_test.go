package test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

var errNoAnswer = errors.New("no answer")

// tale is a short history in which everything is right: two puts, a swap that
// fails, one that was not answered, a delete, and reads.
func tale() ([]op, []change) {
	first := keyState{"one", 5, 1}
	second := keyState{"two", 6, 2}
	third := keyState{"three", 7, 3}
	ops := []op{
		{kind: opPut, value: "one", wrote: true, revision: 5},
		{kind: opPut, value: "two", wrote: true, revision: 6, seen: first},
		{kind: opGet, seen: second},
		{kind: opSwap, value: "never", expect: 5, seen: second},
		{kind: opSwap, value: "three", expect: 6, unknown: errNoAnswer},
		{kind: opPut, value: "lost on its way", unknown: errNoAnswer},
		{kind: opGet, seen: third},
		{kind: opDelete, wrote: true, revision: 8, seen: third},
		{kind: opGet},
	}
	for i := range ops {
		ops[i].key = "k"
		ops[i].call = time.Duration(10*i) * time.Millisecond
		ops[i].answer = ops[i].call + 5*time.Millisecond
	}
	return ops, []change{
		{key: "k", revision: 5, keyState: first},
		{key: "k", revision: 6, keyState: second},
		{key: "k", revision: 7, keyState: third},
		{key: "k", revision: 8, deleted: true},
	}
}

// judge is what verify does with a record and a history.
func judge(t *testing.T, ops []op, history []change) string {
	t.Helper()
	ops, wrong := account(ops, history)
	if err := linearizable(ops, t.TempDir()); err != nil {
		wrong = append(wrong, err.Error())
	}
	return strings.Join(wrong, "\n")
}

func TestTheCheckersTellARightHistoryFromAWrongOne(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(ops []op, history []change) ([]op, []change)
		want  string
	}{
		"right": {func(o []op, h []change) ([]op, []change) { return o, h }, ""},
		"lost write": {func(o []op, h []change) ([]op, []change) {
			return o, slices.Delete(h, 1, 2)
		}, `LOST: put of "two"`},
		"lost delete": {func(o []op, h []change) ([]op, []change) {
			return o, h[:3]
		}, "LOST: delete"},
		"write applied twice": {func(o []op, h []change) ([]op, []change) {
			return o, append(h, change{key: "k", revision: 9, keyState: keyState{"two", 9, 1}})
		}, "written twice"},
		"write from nowhere": {func(o []op, h []change) ([]op, []change) {
			return o, append(h, change{key: "k", revision: 9, keyState: keyState{"ghost", 9, 1}})
		}, "no client asked for"},
		"delete from nowhere": {func(o []op, h []change) ([]op, []change) {
			return o, append(h, change{key: "k", revision: 9, deleted: true})
		}, "no client asked for"},
		"failed swap that wrote": {func(o []op, h []change) ([]op, []change) {
			return o, append(h, change{key: "k", revision: 9, keyState: keyState{"never", 9, 1}})
		}, "but the client was told"},
		"stale read": {func(o []op, h []change) ([]op, []change) {
			o[2].seen = o[1].seen
			return o, h
		}, "not linearizable"},
		"read of a write that never happened": {func(o []op, h []change) ([]op, []change) {
			o[6].seen.value = "lost on its way"
			return o, h
		}, "not linearizable"},
		"read after a delete": {func(o []op, h []change) ([]op, []change) {
			o[8].seen = o[6].seen
			return o, h
		}, "not linearizable"},
		"swap that ignored its condition": {func(o []op, h []change) ([]op, []change) {
			o[4].expect = 5
			return o, h
		}, "not linearizable"},
		"revisions against the clock": {func(o []op, h []change) ([]op, []change) {
			o[0], o[1] = o[1], o[0]
			o[0].call, o[0].answer, o[1].call, o[1].answer = o[1].call, o[1].answer, o[0].call, o[0].answer
			return o, h
		}, "not linearizable"},
	} {
		ops, history := c.spoil(tale())
		got := judge(t, ops, history)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: judged %q, want %q", name, got, c.want)
		}
	}
}
