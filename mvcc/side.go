package mvcc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2"
)

// Rows beside the key space are the caller's: bytes under bytes, in byte order, with no
// revisions, no watches, and no place in the hashes of the key space. They are written in
// the rounds of a Writer, with everything else of the round or not at all, and go with the
// store wherever it goes.

// sideRow is the row in the store of a side row.
func sideRow(dst, row []byte) []byte { return append(append(dst, tagSide), row...) }

// sideRound is what a round has of side rows. It is empty until there are some.
type sideRound struct {
	// batch has what the round has written, apart from its other rows: in a batch of its own,
	// because being walked costs, and rounds without side rows are not to pay for it.
	batch *pebble.Batch
	// rows are the same, to be looked up; nil is a row that was removed.
	rows map[string][]byte
	// it looks up the rows that the round has not written.
	it *pebble.Iterator
	// sum is that of all side rows, once it is summed.
	sum    uint64
	summed bool
}

// get looks a row up. The value must not be changed, and is valid until the next call.
func (d *sideRound) get(db *pebble.DB, row, key []byte) (value []byte, found bool, err error) {
	if value, written := d.rows[string(row)]; written {
		return value, value != nil, nil
	}
	if d.it == nil {
		d.it, err = db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagSide}, UpperBound: []byte{tagSide + 1}, UseL6Filters: true})
		if err != nil {
			return nil, false, fmt.Errorf("open iterator over side rows: %w", err)
		}
	}
	if !d.it.SeekPrefixGE(key) {
		if err := d.it.Error(); err != nil {
			return nil, false, fmt.Errorf("read side row %x: %w", row, err)
		}
		return nil, false, nil
	}
	// A prefix is a whole row.
	if value, err = d.it.ValueAndErr(); err != nil {
		return nil, false, fmt.Errorf("read side row %x: %w", row, err)
	}
	return value, true, nil
}

func (d *sideRound) close() error {
	var err error
	if d.it != nil {
		err = d.it.Close()
	}
	if d.batch != nil {
		err = errors.Join(err, d.batch.Close())
	}
	*d = sideRound{}
	if err != nil {
		return fmt.Errorf("end the side rows of a round: %w", err)
	}
	return nil
}

// SideGet reads a side row as the round has left it. The value is the caller's to keep, but
// must not be changed.
func (w *Writer) SideGet(row []byte) (value []byte, found bool, err error) {
	w.row = sideRow(w.row[:0], row)
	value, found, err = w.side.get(w.eng.db, row, w.row)
	if found && w.side.rows[string(row)] == nil {
		value = append([]byte{}, value...)
	}
	return value, found, err
}

// SetSide writes a side row.
func (w *Writer) SetSide(row, value []byte) error {
	if _, err := w.dropFromSum(row); err != nil {
		return err
	}
	if value == nil {
		value = []byte{}
	}
	if err := w.sideBatch().Set(w.row, value, nil); err != nil {
		return fmt.Errorf("write side row %x: %w", row, err)
	}
	w.side.rows[string(row)] = value
	w.side.sum += sideHash(row, value)
	return nil
}

// DeleteSide removes a side row, if it is there.
func (w *Writer) DeleteSide(row []byte) error {
	found, err := w.dropFromSum(row)
	if err != nil || !found {
		return err
	}
	if err := w.sideBatch().Delete(w.row, nil); err != nil {
		return fmt.Errorf("delete side row %x: %w", row, err)
	}
	w.side.rows[string(row)] = nil
	return nil
}

// SideCursor walks the side rows of [from, to) as the round has left them; to nil is no
// end. What the round writes later does not show. The caller closes it before the round
// ends.
func (w *Writer) SideCursor(from, to []byte) (*SideCursor, error) {
	if w.side.batch != nil {
		return openSideCursor(w.side.batch, from, to)
	}
	return openSideCursor(w.eng.db, from, to)
}

func (w *Writer) sideBatch() *pebble.Batch {
	if w.side.batch == nil {
		w.side.batch, w.side.rows = w.eng.db.NewIndexedBatch(), map[string][]byte{}
	}
	return w.side.batch
}

// writeSide adds the side rows of the round to its batch.
func (w *Writer) writeSide() error {
	if b := w.side.batch; b != nil {
		if err := b.Set(metaRow(sideName), binary.BigEndian.AppendUint64(nil, w.side.sum), nil); err != nil {
			return fmt.Errorf("write sum of side rows: %w", err)
		}
		if err := w.batch.Apply(b, nil); err != nil {
			return fmt.Errorf("write side rows: %w", err)
		}
	}
	return w.side.close()
}

// SideSum is the sum of all side rows as the round has left them. It tells two states apart,
// however they came about, and costs no walk over them: see View.SumSide.
func (w *Writer) SideSum() (uint64, error) {
	if err := w.loadSideSum(); err != nil {
		return 0, err
	}
	return w.side.sum, nil
}

func (w *Writer) loadSideSum() (err error) {
	if w.side.summed {
		return nil
	}
	w.side.sum, err = readSideSum(w.eng.db)
	w.side.summed = err == nil
	return err
}

// dropFromSum takes a row out of the sum, if it is there. It leaves the row in the store in
// w.row.
func (w *Writer) dropFromSum(row []byte) (found bool, err error) {
	if err := w.loadSideSum(); err != nil {
		return false, err
	}
	w.row = sideRow(w.row[:0], row)
	old, found, err := w.side.get(w.eng.db, row, w.row)
	if found {
		w.side.sum -= sideHash(row, old)
	}
	return found, err
}

// sideHash is what a row adds to the sum of all side rows: two checksums of it, spread over
// all bits.
func sideHash(row, value []byte) uint64 {
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(row)))
	var x uint64
	for _, poly := range [2]uint32{crc32.Castagnoli, crc32.IEEE} {
		table := crc32.MakeTable(poly)
		sum := crc32.Update(0, table, size[:])
		sum = crc32.Update(crc32.Update(sum, table, row), table, value)
		x = x<<32 | uint64(sum)
	}
	// The last step of SplitMix64.
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func readSideSum(r pebble.Reader) (uint64, error) {
	b, found, err := getRow(r, metaRow(sideName))
	if err != nil || !found {
		return 0, err
	}
	return parseSideSum(b)
}

func parseSideSum(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: sum of side rows of %d bytes", errCorruptRow, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

// SideGet reads a side row. The value is the caller's. Side rows may be of a later round
// than the view's revision, but all are of the same.
func (v *View) SideGet(row []byte) (value []byte, found bool, err error) {
	return getRow(v.snap, sideRow(nil, row))
}

// SideCursor walks the side rows of [from, to) that SideGet reads; to nil is no end. The
// caller closes it before the view.
func (v *View) SideCursor(from, to []byte) (*SideCursor, error) {
	return openSideCursor(v.snap, from, to)
}

// SideCursor stands before the first side row that it walks. It belongs to one goroutine.
type SideCursor struct {
	it    *pebble.Iterator
	value []byte
	fail  error
	// started says that it stands at a row, or after the last.
	started bool
}

func openSideCursor(r pebble.Reader, from, to []byte) (*SideCursor, error) {
	o := &pebble.IterOptions{LowerBound: sideRow(nil, from), UpperBound: []byte{tagSide + 1}}
	if to != nil {
		o.UpperBound = sideRow(nil, to)
	}
	if bytes.Compare(o.LowerBound, o.UpperBound) > 0 {
		o.UpperBound = o.LowerBound
	}
	it, err := r.NewIter(o)
	if err != nil {
		return nil, fmt.Errorf("open iterator over side rows: %w", err)
	}
	return &SideCursor{it: it}, nil
}

// Next moves to the next row, and reports whether there is one.
func (c *SideCursor) Next() bool {
	switch {
	case c.fail != nil:
		return false
	case c.started:
		return c.take(c.it.Next())
	}
	return c.take(c.it.First())
}

// Seek moves to the first row at or after one, which may be behind the cursor, and reports
// whether there is one.
func (c *SideCursor) Seek(row []byte) bool {
	return c.fail == nil && c.take(c.it.SeekGE(sideRow(nil, row)))
}

// take reads the value of the row that the iterator is at, if it is at one.
func (c *SideCursor) take(valid bool) bool {
	c.started, c.value = true, nil
	if !valid {
		if err := c.it.Error(); err != nil {
			c.fail = fmt.Errorf("walk side rows: %w", err)
		}
		return false
	}
	var err error
	if c.value, err = c.it.ValueAndErr(); err != nil {
		c.fail = fmt.Errorf("read side row %x: %w", c.Row(), err)
	}
	return err == nil
}

// Row is the row that the cursor is at. It is valid until the cursor moves.
func (c *SideCursor) Row() []byte { return c.it.Key()[1:] }

// Value is the value of that row, valid as long.
func (c *SideCursor) Value() []byte { return c.value }

// Err is why the walk ended early, nil where it did not.
func (c *SideCursor) Err() error { return c.fail }

// Close gives back what the cursor holds. It returns Err again, if there is one.
func (c *SideCursor) Close() error {
	if err := c.it.Close(); err != nil && c.fail == nil {
		c.fail = fmt.Errorf("walk side rows: %w", err)
	}
	return c.fail
}

// SideSum is the sum of all side rows of the view, as it is kept.
func (v *View) SideSum() (uint64, error) { return readSideSum(v.snap) }

// SumSide makes the sum of all side rows of the view anew, of the rows themselves. rest is that
// of View.HashKV.
func (v *View) SumSide(ctx context.Context, rest func() error) (sum uint64, err error) {
	c, err := v.SideCursor(nil, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for steps, read := 1, 0; c.Next(); steps++ {
		row, value := c.Row(), c.Value()
		sum += sideHash(row, value)
		if read += len(row) + len(value); steps%cancelEvery != 0 && read < restEvery {
			continue
		}
		read = 0
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if rest == nil {
			continue
		}
		if err := rest(); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// SideSum is the sum of all side rows, as it is kept. Any goroutine.
func (s *Store) SideSum() (uint64, error) {
	e, _, err := s.acquire()
	if err != nil {
		return 0, err
	}
	defer s.release(e)
	return readSideSum(e.db)
}
