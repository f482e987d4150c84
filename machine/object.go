package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"chainfire"
	"chainfire/mvcc"
	"chainfire/object"
)

// ObjectLevel is the feature level from which on the log and the store may hold buckets and
// objects.
const ObjectLevel uint64 = 2

// sideRows is the side rows of a round as package object wants them.
type sideRows struct{ w *mvcc.Writer }

var _ object.Rows = sideRows{}

func (r sideRows) Get(row []byte) ([]byte, bool, error) { return r.w.SideGet(row) }
func (r sideRows) Set(row, value []byte) error          { return r.w.SetSide(row, value) }
func (r sideRows) Delete(row []byte) error              { return r.w.DeleteSide(row) }

func (r sideRows) Cursor(from, to []byte) (object.Cursor, error) {
	return asCursor(r.w.SideCursor(from, to))
}

// sideView is those of a view.
type sideView struct{ v *mvcc.View }

func (r sideView) Get(row []byte) ([]byte, bool, error) { return r.v.SideGet(row) }

func (r sideView) Cursor(from, to []byte) (object.Cursor, error) {
	return asCursor(r.v.SideCursor(from, to))
}

// asCursor keeps a cursor that is nil from becoming one that is not.
func asCursor(c *mvcc.SideCursor, err error) (object.Cursor, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

// object performs a change of buckets and objects.
func (r *round) object(index uint64, c *object.Change) (*object.Result, error) {
	res, err := object.Apply(sideRows{r.w}, index, r.cluster.place, c)
	if object.Refused(err) {
		return nil, refuse(err)
	}
	if err != nil {
		return nil, fmt.Errorf("change of objects: %w", err)
	}
	sum, err := r.w.SideSum()
	if err != nil {
		return nil, err
	}
	r.sums = append(r.sums, objectSum{index, sum})
	return res, nil
}

// place says which members are to hold an extent: of the voters, in a joint configuration of
// those to be, who are the ones that stay.
func (c *cluster) place(e object.ExtentID) []uint64 {
	return object.Place(c.conf.Voters, object.Copies, e)
}

// Place says which members are to hold an extent, in the configuration in force after the
// last entry applied. Any goroutine.
func (m *Machine) Place(e object.ExtentID) []uint64 { return m.cluster.Load().place(e) }

// ObjectView pins the buckets and objects, all of them as the last round left them. The
// caller closes it, soon. Any goroutine; the view itself belongs to one.
func (m *Machine) ObjectView() (*object.View, error) {
	v, err := m.store.View()
	if err != nil {
		return nil, err
	}
	return object.NewView(sideView{v}, v.Close), nil
}

// SumObjects makes the sum of everything that the state has of buckets and objects anew, and
// compares it with the one that is kept: chainfire.ErrCorrupt says that they differ. It reads
// all of it. Any goroutine.
func (m *Machine) SumObjects(ctx context.Context) (sum uint64, err error) {
	v, err := m.store.View()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	kept, err := v.SideSum()
	if err != nil {
		return 0, err
	}
	if sum, err = v.SumSide(ctx, nil); err == nil && sum != kept {
		err = fmt.Errorf("%w: the sum of buckets and objects is %016x, the one that is kept %016x", chainfire.ErrCorrupt, sum, kept)
	}
	return sum, err
}

// objectSums are the sums of everything that the state has of buckets and objects, after each
// of the last changes of it.
type objectSums struct {
	mu   sync.Mutex
	sums []objectSum // by index
}

type objectSum struct{ index, sum uint64 }

// maxObjectSums is how many changes back it is known what the sum was: more than come while
// members tell each other of an index.
const maxObjectSums = 4096

// clear leaves none.
func (s *objectSums) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sums = s.sums[:0]
}

// reset leaves the sum of a state as of an index.
func (s *objectSums) reset(at objectSum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sums = append(s.sums[:0], at)
}

func (s *objectSums) add(sums []objectSum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sums = append(s.sums, sums...)
	if n := len(s.sums); n > 2*maxObjectSums {
		s.sums = append(s.sums[:0], s.sums[n-maxObjectSums:]...)
	}
}

// at is the sum after an index; known is false for one before those that are remembered.
func (s *objectSums) at(index uint64) (sum uint64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.sums, index+1, func(x objectSum, index uint64) int { return cmp.Compare(x.index, index) })
	if i == 0 {
		return 0, false
	}
	return s.sums[i-1].sum, true
}

// ObjectSumAt is the sum of everything that the state had of buckets and objects when an index
// was applied, which it is: the same at all members. known is false where that is too long
// ago, or was before this member began. Any goroutine.
func (m *Machine) ObjectSumAt(index uint64) (sum uint64, known bool) { return m.sums.at(index) }

// ObjectNeedsRoom reports whether a change is one that a store without room does not take.
// What deletes and lets go passes, and so does what an operator may need for that: the rules
// of a bucket, and access keys.
func ObjectNeedsRoom(c *object.Change) bool {
	return c.CreateBucket != nil || c.Put != nil || c.Copy != nil || c.CreateUpload != nil || c.PutPart != nil || c.Complete != nil
}
