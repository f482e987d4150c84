package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// history builds operations of one key, with the moments of call and answer.
func op(client int, from, to int, in demoInput, out demoOutput) demoOp {
	in.key = "k"
	return demoOp{client: client, in: in, out: out, call: time.Duration(from), answer: time.Duration(to)}
}

func put(v string) demoInput { return demoInput{kind: demoPut, value: v} }
func swap(v string, version int64) demoInput {
	return demoInput{kind: demoSwap, value: v, version: version}
}
func saw(v string, version int64) demoOutput { return demoOutput{seen: demoState{v, version}} }

func TestHistoriesThatOneCopyExplainsAreLinearizable(t *testing.T) {
	get, none, lost := demoInput{kind: demoGet}, demoOutput{}, demoOutput{unknown: true}
	for name, ops := range map[string][]demoOp{
		"one after the other": {
			op(0, 1, 2, get, none), op(0, 3, 4, put("a"), none), op(1, 5, 6, get, saw("a", 1)),
			op(1, 7, 8, swap("b", 1), demoOutput{swapped: true}), op(0, 9, 10, swap("c", 1), saw("b", 2)),
		},
		"overlapping": {
			op(0, 1, 10, put("a"), none), op(1, 2, 9, put("b"), saw("a", 1)), op(2, 3, 8, get, saw("a", 1)),
		},
		"lost put that happened":       {op(0, 1, 2, put("a"), lost), op(1, 3, 4, get, saw("a", 1))},
		"lost put that did not":        {op(0, 1, 2, put("a"), lost), op(1, 3, 4, get, none)},
		"lost put that happens late":   {op(0, 1, 2, put("a"), lost), op(1, 3, 4, get, none), op(1, 5, 6, get, saw("a", 1))},
		"lost swap that did not match": {op(0, 1, 2, swap("a", 7), lost), op(1, 3, 4, get, none)},
		"lost get":                     {op(0, 1, 2, get, lost), op(1, 3, 4, put("a"), none)},
	} {
		if err := checkHistory(ops, t.TempDir()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHistoriesThatNoCopyExplainsAreFound(t *testing.T) {
	get, none, lost := demoInput{kind: demoGet}, demoOutput{}, demoOutput{unknown: true}
	for name, ops := range map[string][]demoOp{
		"acknowledged put lost":     {op(0, 1, 2, put("a"), none), op(1, 3, 4, get, none)},
		"stale read":                {op(0, 1, 2, put("a"), none), op(0, 3, 4, put("b"), saw("a", 1)), op(1, 5, 6, get, saw("a", 1))},
		"put done twice":            {op(0, 1, 2, put("a"), none), op(1, 3, 4, get, saw("a", 2))},
		"lost put done twice":       {op(0, 1, 2, put("a"), lost), op(1, 3, 4, get, saw("a", 2))},
		"read goes back":            {op(0, 1, 9, put("a"), none), op(1, 2, 3, get, saw("a", 1)), op(1, 4, 5, get, none)},
		"swap against its version":  {op(0, 1, 2, swap("a", 3), demoOutput{swapped: true})},
		"swap refused without need": {op(0, 1, 2, swap("a", 0), saw("", 0))},
		"value out of nowhere":      {op(0, 1, 2, get, saw("x", 1))},
	} {
		dir := t.TempDir()
		err := checkHistory(ops, dir)
		if !errors.Is(err, errNotLinearizable) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		drawing := err.Error()[strings.LastIndex(err.Error(), " ")+1:]
		if info, err := os.Stat(drawing); err != nil || info.Size() == 0 {
			t.Errorf("%s: no drawing: %v", name, err)
		}
	}
}

func TestKeysAreCheckedEachByItself(t *testing.T) {
	var ops []demoOp
	for i := range 100 {
		o := op(i%8, 2*i+1, 2*i+2, put(fmt.Sprint(i)), demoOutput{})
		o.in.key = fmt.Sprint(i) // a first write of each key
		ops = append(ops, o)
	}
	if err := checkHistory(ops, t.TempDir()); err != nil {
		t.Error(err)
	}
	bad := op(0, 300, 301, demoInput{kind: demoGet}, saw("wrong", 1))
	bad.in.key = "50"
	if err := checkHistory(append(ops, bad), t.TempDir()); !errors.Is(err, errNotLinearizable) {
		t.Errorf("a wrong read of one of the keys: %v", err)
	}
}

func TestPauseIsTheLongestGapBetweenAcknowledgedWrites(t *testing.T) {
	ms := func(n int) int { return n * int(time.Millisecond) }
	ops := []demoOp{
		op(0, 0, ms(10), put("a"), demoOutput{}),
		op(1, 0, ms(500), put("b"), demoOutput{unknown: true}), // no answer, no write
		op(2, 0, ms(600), demoInput{kind: demoGet}, demoOutput{}),
		op(3, 0, ms(700), swap("c", 1), demoOutput{swapped: true}),
		op(4, 0, ms(650), swap("d", 1), demoOutput{}), // did not write
		op(5, 0, ms(710), put("e"), demoOutput{}),
		op(6, 0, ms(5000), put("f"), demoOutput{}),
	}
	if got := longestPause(ops, time.Duration(ms(20)), time.Duration(ms(1000))); got != 690*time.Millisecond {
		t.Errorf("pause %v", got)
	}
}
