package machine

import (
	"context"
	"errors"
	"fmt"

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

// HashObjects hashes everything that the state has of buckets and objects: the same at all
// members that have applied the same entries. It reads all of it. Any goroutine.
func (m *Machine) HashObjects(ctx context.Context) (sum uint64, err error) {
	v, err := m.store.View()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	return v.HashSide(ctx, nil)
}

// ObjectNeedsRoom reports whether a change is one that a store without room does not take.
// What deletes and lets go passes, and so does what an operator may need for that: the rules
// of a bucket, and access keys.
func ObjectNeedsRoom(c *object.Change) bool {
	return c.CreateBucket != nil || c.Put != nil || c.Copy != nil || c.CreateUpload != nil || c.PutPart != nil || c.Complete != nil
}
