package witness

import (
	"fmt"
	"maps"
	"time"

	"github.com/anishathalye/porcupine"
)

// model is a store at a revision, as porcupine goes from one to the next. What is
// at a revision follows from the operations before it, of which each has a revision
// of its own.
type model struct {
	revision int64
	state    state
}

// move is an operation with the revision it made, or 0.
type move struct {
	*Op
	wrote int64
}

// step reports whether an operation can come next, and what is after it.
func (m *model) step(o *move) (bool, *model) {
	if o.wrote == 0 {
		e := apply(m.state, o.Op, m.revision+1)
		return o.Revision == m.revision && len(e.events) == 0 && (o.Revoke != 0 || o.agrees(&e)), m
	}
	if o.wrote != m.revision+1 {
		return false, m
	}
	e := apply(m.state, o.Op, o.wrote)
	if len(e.events) == 0 || o.Outcome == Answered && o.Revoke == 0 && !o.agrees(&e) {
		return false, m
	}
	next := &model{revision: o.wrote, state: maps.Clone(m.state)}
	next.state.take(e.events)
	return true, next
}

func (o *move) agrees(e *effect) bool {
	return o.Succeeded == e.succeeded && sameFound(o.Found, e.found)
}

// Linearizable returns an error unless there is one order of the linearizable
// operations, of all keys together, that explains every answer and puts none before
// one that had ended when it began. The watches only tell which operations without an
// answer happened, and which leases ended. What cannot be ordered is drawn into the
// file drawing; the search is given up after a time, which is an error too.
func Linearizable(h *History, drawing string, limit time.Duration) error {
	c := newChecker(h)
	c.replay()
	var all []porcupine.Operation
	for i := range h.Ops {
		o, end := &h.Ops[i], h.Ops[i].Return
		switch {
		case o.Outcome == Answered && (o.Serializable || o.At != 0):
			continue // it may be of any earlier state
		case o.Outcome == Answered:
		case c.wrote[i] == 0:
			continue // it tells nothing, or it never happened
		default:
			end = max(o.Call+1, c.turns[c.wrote[i]].first)
		}
		all = append(all, porcupine.Operation{Input: &move{o, c.wrote[i]}, Call: o.Call, Return: end})
	}
	all = append(all, c.leaseEndings()...)
	m := porcupine.Model{
		Init:  func() any { return &model{revision: h.Base, state: newState(h.Start)} },
		Step:  func(s, in, _ any) (bool, any) { return s.(*model).step(in.(*move)) },
		Equal: func(a, b any) bool { return a.(*model).revision == b.(*model).revision },
		DescribeOperation: func(in, _ any) string {
			return fmt.Sprintf("%s, wrote revision %d", in.(*move).Op, in.(*move).wrote)
		},
		DescribeState: func(s any) string { return fmt.Sprintf("revision %d", s.(*model).revision) },
	}
	switch result := porcupine.CheckOperationsTimeout(m, all, limit); result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("the %d operations were not ordered within %v", len(all), limit)
	}
	_, info := porcupine.CheckOperationsVerbose(m, all, limit)
	if err := porcupine.VisualizePath(m, info, drawing); err != nil {
		return fmt.Errorf("the %d operations are not linearizable; drawing them failed: %w", len(all), err)
	}
	return fmt.Errorf("the %d operations are not linearizable; they are drawn in %s", len(all), drawing)
}

// leaseEndings are the revisions that nobody wrote, as operations that revoked a lease.
func (c *checker) leaseEndings() []porcupine.Operation {
	var out []porcupine.Operation
	for _, at := range c.revisions {
		t := c.turns[at]
		if before := t.before[t.events[0].KV.Key]; t.op < 0 && before != nil {
			o := &Op{Who: "nobody", Revoke: before.Lease, Outcome: Ambiguous}
			out = append(out, porcupine.Operation{Input: &move{o, at}, Call: 0, Return: t.first})
		}
	}
	return out
}
