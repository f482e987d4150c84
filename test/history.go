package test

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// opKind is what a client does to a key.
type opKind uint8

// The kinds. A swap writes only if the key has the mod revision that is expected.
const (
	opGet opKind = iota
	opPut
	opSwap
	opDelete
)

func (k opKind) String() string { return [...]string{"get", "put", "swap", "delete"}[k] }

// keyState is what is seen of one key; the zero value is a key that is not there.
type keyState struct {
	value   string
	mod     int64
	version int64
}

func stateOf(kv *mvccpb.KeyValue) keyState {
	if kv == nil {
		return keyState{}
	}
	return keyState{string(kv.GetValue()), kv.GetModRevision(), kv.GetVersion()}
}

func firstOf(kvs []*mvccpb.KeyValue) keyState {
	if len(kvs) == 0 {
		return keyState{}
	}
	return stateOf(kvs[0])
}

// op is one operation, with the moments of its call and of its answer on one
// clock.
type op struct {
	client int
	kind   opKind
	key    string
	// value is that of a put or swap, and no other operation has it.
	value string
	// expect is the mod revision that a swap wants; 0 is no such key.
	expect       int64
	call, answer time.Duration

	// unknown is why there is no answer: a write may have happened, or happen
	// later. Where the store's history shows that it did, found is set, and
	// revision with it.
	unknown error
	found   bool
	// wrote says that the answer acknowledges a change, made at revision.
	wrote    bool
	revision int64
	// seen is the key as it was read, or as it was before it was written.
	seen keyState
}

// leaves is the key as an operation with an answer leaves it.
func (o *op) leaves() keyState {
	switch {
	case !o.wrote:
		return o.seen
	case o.kind == opDelete:
		return keyState{}
	}
	return keyState{o.value, o.revision, o.seen.version + 1}
}

// register is one key in the model: what it holds, and the last revision that
// is known to have changed it.
type register struct {
	keyState
	changed int64
}

// step is the whole of what one key may do. It reports whether the operation can
// come next, and the register after it.
func step(s register, o *op) (bool, register) {
	switch {
	case o.unknown == nil && o.wrote:
		return o.seen == s.keyState && o.revision > s.changed &&
			(o.kind != opSwap || s.mod == o.expect), register{o.leaves(), o.revision}
	case o.unknown == nil:
		return o.seen == s.keyState && (o.kind != opSwap || s.mod != o.expect) &&
			(o.kind != opDelete || s.mod == 0), s
	case o.kind == opDelete:
		// Nothing tells whether it happened: where it is put, it did.
		return true, register{changed: s.changed}
	}
	next := register{keyState{o.value, o.revision, s.version + 1}, o.revision}
	return o.found && o.revision > s.changed && (o.kind != opSwap || s.mod == o.expect), next
}

func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return register{} },
		Step: func(state, input, _ any) (bool, any) { return step(state.(register), input.(*op)) },
		DescribeOperation: func(input, _ any) string {
			o := input.(*op)
			if o.unknown != nil {
				return fmt.Sprintf("%s %q, expects %d -> no answer, in the store at revision %d", o.kind, o.value, o.expect, o.revision)
			}
			return fmt.Sprintf("%s %q, expects %d -> wrote %v at revision %d, saw %q of revision %d, version %d",
				o.kind, o.value, o.expect, o.wrote, o.revision, o.seen.value, o.seen.mod, o.seen.version)
		},
		DescribeState: func(state any) string {
			s := state.(register)
			return fmt.Sprintf("%q of revision %d, version %d", s.value, s.mod, s.version)
		},
	}
}

// checkTime bounds the search for an order of one key's operations.
const checkTime = 30 * time.Second

// linearizable returns an error unless, for every key, there is one order of its
// operations that explains every answer and puts no operation before one that had
// ended when it began. Keys do not touch each other here. What cannot be ordered
// is drawn into dir.
func linearizable(ops []op, dir string) error {
	histories := map[string][]porcupine.Operation{}
	for i := range ops {
		o := &ops[i]
		end := int64(o.answer)
		if o.unknown != nil {
			if o.kind == opGet || o.kind != opDelete && !o.found {
				continue // it tells nothing, or it never happened
			}
			end = math.MaxInt64
		}
		histories[o.key] = append(histories[o.key], porcupine.Operation{
			ClientId: o.client, Input: o, Call: int64(o.call), Return: end,
		})
	}
	for key, history := range histories {
		result, info := porcupine.CheckOperationsVerbose(model(), history, checkTime)
		switch result {
		case porcupine.Ok:
			continue
		case porcupine.Unknown:
			return fmt.Errorf("the %d operations on %s were not checked to the end within %v", len(history), key, checkTime)
		}
		drawing := filepath.Join(dir, "history.html")
		return errors.Join(
			fmt.Errorf("the %d operations on %s are not linearizable; they are drawn in %s (go test -artifacts keeps it)", len(history), key, drawing),
			porcupine.VisualizePath(model(), info, drawing))
	}
	return nil
}
