package main

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// demoKind is what a client of the demo does to a key.
type demoKind uint8

// The kinds. A swap writes only if the key has the version that is expected.
const (
	demoGet demoKind = iota
	demoPut
	demoSwap
)

// String names the kind as it is drawn.
func (k demoKind) String() string { return [...]string{"get", "put", "swap"}[k] }

// demoInput is what was asked.
type demoInput struct {
	kind  demoKind
	key   string
	value string
	// version is what a swap expects; 0 is no such key.
	version int64
}

// demoState is one key: its value, and how often it was written.
type demoState struct {
	value   string
	version int64
}

// demoOutput is what was answered.
type demoOutput struct {
	// unknown says that there was no answer: a write may have happened, or may
	// happen later.
	unknown bool
	// swapped says that a swap wrote.
	swapped bool
	// seen is the key as a get or a swap that did not write read it, or as it was
	// before a put.
	seen demoState
}

// demoOp is one operation of a history, with the moments of its call and of its
// answer on one clock.
type demoOp struct {
	client       int
	in           demoInput
	out          demoOutput
	call, answer time.Duration
}

// wrote reports whether the operation is a write that was acknowledged.
func (o *demoOp) wrote() bool {
	return !o.out.unknown && (o.in.kind == demoPut || o.in.kind == demoSwap && o.out.swapped)
}

// demoStep is the whole of what one key may do. An operation without an answer
// is taken to end after everything else, where it can have had no effect on what
// was seen; the checker may put it at any point before.
func demoStep(s demoState, in demoInput, out demoOutput) (bool, demoState) {
	next := demoState{value: in.value, version: s.version + 1}
	switch in.kind {
	case demoGet:
		return out.unknown || out.seen == s, s
	case demoPut:
		return out.unknown || out.seen == s, next
	}
	matches := s.version == in.version
	switch {
	case matches && (out.unknown || out.swapped):
		return true, next
	case !matches && (out.unknown || !out.swapped && out.seen == s):
		return true, s
	}
	return false, s
}

func demoModel() porcupine.Model {
	return porcupine.Model{
		Partition: byKey,
		Init:      func() any { return demoState{} },
		Step: func(state, input, output any) (bool, any) {
			return demoStep(state.(demoState), input.(demoInput), output.(demoOutput))
		},
		DescribeOperation: func(input, output any) string {
			in, out := input.(demoInput), output.(demoOutput)
			if out.unknown {
				return fmt.Sprintf("%s %s %q -> no answer", in.kind, in.key, in.value)
			}
			return fmt.Sprintf("%s %s %q if version %d -> %q version %d, wrote %v",
				in.kind, in.key, in.value, in.version, out.seen.value, out.seen.version, out.swapped)
		},
		DescribeState: func(state any) string {
			s := state.(demoState)
			return fmt.Sprintf("%q version %d", s.value, s.version)
		},
	}
}

// byKey splits a history: keys do not touch each other here.
func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	at := map[string]int{}
	var parts [][]porcupine.Operation
	for _, op := range history {
		key := op.Input.(demoInput).key
		i, ok := at[key]
		if !ok {
			i = len(parts)
			at[key] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], op)
	}
	return parts
}

// errNotLinearizable is what the demo is there to never show.
var errNotLinearizable = errors.New("the history is not linearizable: some client saw what no single copy of the data could have shown")

// checkTimeout bounds the search for an order.
const checkTimeout = 2 * time.Minute

// checkHistory looks for an order of the operations, one after the other, that
// explains every answer and puts no operation before one that had ended when it
// began. Where there is none, it draws the history into dir.
func checkHistory(ops []demoOp, dir string) error {
	history := make([]porcupine.Operation, 0, len(ops))
	for i := range ops {
		o := &ops[i]
		end := int64(o.answer)
		if o.out.unknown {
			if o.in.kind == demoGet {
				continue // it tells nothing
			}
			end = math.MaxInt64
		}
		history = append(history, porcupine.Operation{
			ClientId: o.client, Input: o.in, Output: o.out, Call: int64(o.call), Return: end,
		})
	}
	model := demoModel()
	switch porcupine.CheckOperationsTimeout(model, history, checkTimeout) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("the history of %d operations was not checked to its end within %v; run it with a shorter --duration", len(history), checkTimeout)
	}
	_, info := porcupine.CheckOperationsVerbose(model, history, checkTimeout)
	drawing := filepath.Join(dir, "history.html")
	if err := porcupine.VisualizePath(model, info, drawing); err != nil {
		return errors.Join(errNotLinearizable, fmt.Errorf("draw the history: %w", err))
	}
	return fmt.Errorf("%w; it is drawn in %s", errNotLinearizable, drawing)
}

// longestPause is the longest time between two acknowledged writes, one after
// the other, of which the later came within (from, to].
func longestPause(ops []demoOp, from, to time.Duration) time.Duration {
	var acks []time.Duration
	for i := range ops {
		if ops[i].wrote() {
			acks = append(acks, ops[i].answer)
		}
	}
	slices.Sort(acks)
	longest := time.Duration(0)
	for i := 1; i < len(acks); i++ {
		if acks[i] > from && acks[i] <= to {
			longest = max(longest, acks[i]-acks[i-1])
		}
	}
	return longest
}
