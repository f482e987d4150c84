package mvcc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// The key space is divided into buckets, each of which has a row with the number of its
// live keys, so that a range is counted without walking its keys. A bucket begins at the
// key that its row names and ends before the next one's; the first begins at the empty
// key. The rows are written in the batch that makes or deletes keys.
//
// A program that does not know them may have written after one that does: a member may go
// back to it, and seeds others. Therefore each batch that moves the revision says that the
// counts are those of it, and counts of another revision are made anew.
const (
	// bucketMax is how many live keys a bucket may have: one that gets more is split.
	bucketMax = 512
	// bucketSplit is how many each part gets, but for the last.
	bucketSplit = bucketMax / 2
	// walkFirst is how many keys are walked before counts are looked at.
	walkFirst = 128
	// maxCorrection is how many changes since a revision are looked at to tell the count of
	// then from the count of now; behind that its keys are walked.
	maxCorrection = 8 << 10
)

// bucketRow is the row of the bucket that begins at a key.
func bucketRow(key []byte) []byte {
	row := appendPrefix(nil, key)
	row[0] = tagBucket
	return row
}

// bucketPlace is the place among the rows of buckets of a row of versions.
func bucketPlace(row []byte) []byte { return append([]byte{tagBucket}, row[1:]...) }

func parseBucketCount(row, content []byte) (int64, error) {
	n, size := binary.Uvarint(content)
	if size <= 0 || size != len(content) || n > math.MaxInt64 {
		return 0, fmt.Errorf("%w: number of keys in row %x", errCorruptRow, row)
	}
	return int64(n), nil
}

// bucketKey is the key at which a bucket begins.
func bucketKey(row []byte) ([]byte, error) {
	version := append(bytes.Clone(row), make([]byte, suffixLen)...)
	version[0] = tagKey
	key, _, err := parseVersionRow(nil, version)
	return key, err
}

// counter keeps the counts of a round.
type counter struct {
	w  *Writer
	it *pebble.Iterator
	// The bucket that keys are in: its row, the next one's, nil for none, and its keys.
	row, next []byte
	count     int64
	// changed says that the count differs from that of the row.
	changed bool
}

// setCounted says which revision the counts are of.
func setCounted(b pebble.Writer, rev int64, o *pebble.WriteOptions) error {
	if err := b.Set(metaRow(countedName), binary.BigEndian.AppendUint64(nil, uint64(rev)), o); err != nil {
		return fmt.Errorf("write revision of counts: %w", err)
	}
	return nil
}

func parseCounted(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: revision of counts of %d bytes", errCorruptRow, len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// writeCounts adds the counts that the round has changed to its batch. The overlay is
// complete.
func (w *Writer) writeCounts() (err error) {
	if w.state.Revision != w.was.Revision {
		if err := setCounted(w.batch, w.state.Revision, nil); err != nil {
			return err
		}
	}
	keys := w.over.within(interval{open: true})
	same := func(k *overlayKey) bool { return k.live() == k.wasLive }
	if !slices.ContainsFunc(keys, func(k *overlayKey) bool { return !same(k) }) {
		return nil
	}
	c, err := w.openCounter()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.it.Close()) }()
	for _, k := range keys {
		if same(k) {
			continue
		}
		if err := c.add(k.key, k.live()); err != nil {
			return err
		}
	}
	return c.end()
}

func (w *Writer) openCounter() (*counter, error) {
	it, err := w.eng.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagBucket}, UpperBound: []byte{tagBucket + 1}})
	if err != nil {
		return nil, fmt.Errorf("open iterator over counts: %w", err)
	}
	return &counter{w: w, it: it}, nil
}

// add counts one key that came or went. Keys come in order.
func (c *counter) add(key []byte, live bool) error {
	place := bucketRow(key)
	if c.row == nil || c.next != nil && bytes.Compare(place, c.next) >= 0 {
		if err := c.end(); err != nil {
			return err
		}
		if err := c.seek(place); err != nil {
			return err
		}
	}
	if live {
		c.count++
	} else {
		c.count--
	}
	c.changed = true
	return nil
}

// seek goes to the bucket that a place is in.
func (c *counter) seek(place []byte) error {
	if c.it.SeekLT(append(place, 0)) {
		content, err := c.it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read counts: %w", err)
		}
		c.row = bytes.Clone(c.it.Key())
		if c.count, err = parseBucketCount(c.row, content); err != nil {
			return err
		}
	} else {
		c.row, c.count = bucketRow(nil), 0
	}
	c.next = nil
	if c.it.SeekGE(append(bytes.Clone(c.row), 0)) {
		c.next = bytes.Clone(c.it.Key())
	}
	if err := c.it.Error(); err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	return nil
}

// end writes the bucket that keys were in: a part of it for each bucketSplit keys where it
// got too large, and none where it is empty.
func (c *counter) end() error {
	if !c.changed {
		return nil
	}
	c.changed = false
	first := len(c.row) == 3 // the tag, and the end of an empty key
	switch {
	case c.count < 0:
		return fmt.Errorf("%w: row %x counts fewer keys than were deleted", errCorruptRow, c.row)
	case c.count == 0 && !first:
		return c.w.batch.Delete(c.row, nil)
	case c.count > bucketMax:
		return c.split()
	}
	return c.set(c.row, c.count)
}

func (c *counter) set(row []byte, n int64) error {
	if err := c.w.batch.Set(row, binary.AppendUvarint(nil, uint64(n)), nil); err != nil {
		return fmt.Errorf("write count: %w", err)
	}
	return nil
}

// split walks the keys of the bucket as the round has left them.
func (c *counter) split() (err error) {
	iv, err := c.interval()
	if err != nil {
		return err
	}
	walk, err := c.w.walk(iv, math.MaxInt64)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, walk.close()) }()
	row, n, all := c.row, int64(0), int64(0)
	for walk.next() {
		if n == bucketSplit && c.count-all > bucketSplit/2 {
			if err := c.set(row, n); err != nil {
				return err
			}
			key, _ := walk.entry()
			row, n = bucketRow(key), 0
		}
		n++
		all++
	}
	if err := walk.err(); err != nil {
		return err
	}
	if all != c.count {
		return fmt.Errorf("%w: row %x counts %d keys where there are %d", errCorruptRow, c.row, c.count, all)
	}
	return c.set(row, n)
}

// interval holds the keys of the bucket.
func (c *counter) interval() (iv interval, err error) {
	if iv.from, err = bucketKey(c.row); err != nil {
		return iv, err
	}
	if c.next == nil {
		iv.open = true
		return iv, nil
	}
	iv.to, err = bucketKey(c.next)
	return iv, err
}

// countAll makes the rows of a store at a revision that has none of it. Which revision they
// are of is written last, so that an interrupted one begins anew.
func (e *engine) countAll(rev int64) (err error) {
	content, found, err := getRow(e.db, metaRow(countedName))
	if err != nil {
		return err
	}
	if found {
		if of, err := parseCounted(content); err != nil || of == rev {
			return err
		}
	}
	if err := e.db.DeleteRange([]byte{tagBucket}, []byte{tagBucket + 1}, pebble.NoSync); err != nil {
		return fmt.Errorf("count keys: %w", err)
	}
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagKey}, UpperBound: []byte{tagKey + 1}})
	if err != nil {
		return fmt.Errorf("count keys: %w", err)
	}
	walk := &cursor{ctx: context.Background(), it: it, rev: math.MaxInt64}
	defer func() { err = errors.Join(err, walk.close()) }()
	set := func(row []byte, n int64) error {
		return e.db.Set(row, binary.AppendUvarint(nil, uint64(n)), pebble.NoSync)
	}
	row, n := bucketRow(nil), int64(0)
	for walk.next() {
		if n == bucketSplit {
			if err := set(row, n); err != nil {
				return fmt.Errorf("count keys: %w", err)
			}
			row, n = bucketRow(walk.key), 0
		}
		n++
	}
	if err := walk.err(); err != nil {
		return err
	}
	if err := set(row, n); err != nil {
		return fmt.Errorf("count keys: %w", err)
	}
	return setCounted(e.db, rev, pebble.NoSync)
}
