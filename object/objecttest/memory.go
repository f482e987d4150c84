// Package objecttest keeps the rows of package object in memory, for tests.
package objecttest

import (
	"bytes"
	"slices"
	"sort"

	"chainfire/object"
)

// maxChunk is how many rows a chunk has before it is split.
const maxChunk = 256

type row struct{ row, value []byte }

// Memory is rows in memory. It belongs to one goroutine; what Snapshot returns may be read by
// any.
type Memory struct {
	// chunks are the rows in their order. A chunk is never changed, only replaced; the
	// list of them is, unless something reads it.
	chunks [][]row
	shared bool
}

var _ object.Rows = (*Memory)(nil)

// New is no rows.
func New() *Memory { return &Memory{} }

// Snapshot is the rows as they are now, whatever is changed afterwards. It costs nothing but one
// copy of the list of chunks, at the next change.
func (m *Memory) Snapshot() object.Reader { return m.share() }

// Clone is rows of their own with the same content.
func (m *Memory) Clone() *Memory { return &Memory{chunks: m.share(), shared: true} }

func (m *Memory) share() snapshot {
	m.shared = true
	return m.chunks
}

// Get reads one row.
func (m *Memory) Get(r []byte) (value []byte, found bool, err error) {
	return snapshot(m.chunks).Get(r)
}

// Cursor walks the rows as they are now.
func (m *Memory) Cursor(from, to []byte) (object.Cursor, error) {
	return m.share().Cursor(from, to)
}

// Set writes a row.
func (m *Memory) Set(r, value []byte) error {
	m.own()
	if len(m.chunks) == 0 {
		m.chunks = [][]row{{{r, value}}}
		return nil
	}
	i := snapshot(m.chunks).chunk(r)
	at, found := find(m.chunks[i], r)
	c := slices.Clone(m.chunks[i])
	if found {
		c[at] = row{r, value}
	} else {
		c = slices.Insert(c, at, row{r, value})
	}
	if len(c) <= maxChunk {
		m.chunks[i] = c
		return nil
	}
	half := len(c) / 2
	m.chunks[i] = c[:half:half]
	m.chunks = slices.Insert(m.chunks, i+1, c[half:])
	return nil
}

// Delete removes a row. One that is not there is removed.
func (m *Memory) Delete(r []byte) error {
	if _, found, err := m.Get(r); !found {
		return err
	}
	m.own()
	i := snapshot(m.chunks).chunk(r)
	at, _ := find(m.chunks[i], r)
	if len(m.chunks[i]) == 1 {
		m.chunks = slices.Delete(m.chunks, i, i+1)
		return nil
	}
	m.chunks[i] = slices.Delete(slices.Clone(m.chunks[i]), at, at+1)
	return nil
}

// own makes the list of chunks one that nothing else reads.
func (m *Memory) own() {
	if m.shared {
		m.chunks = slices.Clone(m.chunks)
		m.shared = false
	}
}

// find is where a row is in a chunk, or would be.
func find(c []row, r []byte) (at int, found bool) {
	return slices.BinarySearchFunc(c, r, func(x row, r []byte) int { return bytes.Compare(x.row, r) })
}

// snapshot is chunks that do not change.
type snapshot [][]row

// chunk is the chunk that a row is in if it is there.
func (s snapshot) chunk(r []byte) int {
	return max(0, sort.Search(len(s), func(i int) bool { return bytes.Compare(s[i][0].row, r) > 0 })-1)
}

func (s snapshot) Get(r []byte) (value []byte, found bool, err error) {
	if len(s) == 0 {
		return nil, false, nil
	}
	c := s[s.chunk(r)]
	at, found := find(c, r)
	if !found {
		return nil, false, nil
	}
	return c[at].value, true, nil
}

func (s snapshot) Cursor(from, to []byte) (object.Cursor, error) {
	return &cursor{rows: s, from: bytes.Clone(from), to: bytes.Clone(to)}, nil
}

// cursor stands at a place of a chunk.
type cursor struct {
	rows      snapshot
	from, to  []byte
	chunk, at int
	begun     bool
	// What is given out is overwritten by the next move, so that a caller that keeps it fails
	// its test.
	row, value []byte
}

func (c *cursor) Next() bool {
	if !c.begun {
		return c.Seek(c.from)
	}
	c.at++
	return c.stand()
}

func (c *cursor) Seek(r []byte) bool {
	c.begun = true
	if bytes.Compare(r, c.from) < 0 {
		r = c.from
	}
	if len(c.rows) > 0 {
		c.chunk = c.rows.chunk(r)
		c.at, _ = find(c.rows[c.chunk], r)
	}
	return c.stand()
}

// stand goes to the next chunk at the end of one, and takes the row that is there.
func (c *cursor) stand() bool {
	if c.chunk < len(c.rows) && c.at >= len(c.rows[c.chunk]) {
		c.chunk, c.at = c.chunk+1, 0
	}
	clear(c.row)
	clear(c.value)
	if c.chunk >= len(c.rows) || bytes.Compare(c.rows[c.chunk][c.at].row, c.to) >= 0 {
		c.chunk = len(c.rows)
		return false
	}
	r := c.rows[c.chunk][c.at]
	c.row = append(c.row[:0], r.row...)
	c.value = append(c.value[:0], r.value...)
	return true
}

func (c *cursor) Row() []byte   { return c.row }
func (c *cursor) Value() []byte { return c.value }
func (c *cursor) Err() error    { return nil }
func (c *cursor) Close() error  { return nil }
