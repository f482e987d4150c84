package mvcc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	blk "github.com/cockroachdb/pebble/v2/sstable/block"
)

const tableExt = ".sst"

// hole is a stretch of rows that a damaged table keeps from being read, from
// after until until. These two themselves can be read only where it is said.
type hole struct {
	after, until         []byte
	afterRead, untilRead bool
}

// checkTables checks every block of the tables that count. Without levels, when
// the engine did not open, that is every table there is.
func (n *inspector) checkTables(levels [][]pebble.SSTableInfo) error {
	if levels == nil {
		for i := range n.out.Files {
			if f := &n.out.Files[i]; f.Kind == "table" {
				f.Live = true
				if _, err := n.checkTable(f); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for level, tables := range levels {
		for i := range tables {
			if err := n.checkLive(level, &tables[i]); err != nil {
				return err
			}
		}
	}
	n.holes = mergeHoles(n.holes)
	return nil
}

// checkLive checks one table that the engine knows, and notes the rows that its
// damage takes.
func (n *inspector) checkLive(level int, info *pebble.SSTableInfo) error {
	name := fmt.Sprintf("%06d%s", uint64(info.BackingSSTNum), tableExt)
	i := slices.IndexFunc(n.out.Files, func(f InspectedFile) bool { return path.Base(f.Path) == name && f.Kind == "table" })
	whole := hole{after: info.Smallest.UserKey, until: info.Largest.UserKey}
	if i < 0 {
		n.holes = append(n.holes, whole)
		return n.tell(Fault{Kind: FaultMissing, File: n.o.FS.PathJoin(n.out.Dir, name), Reason: "table is not there" + rowsText(whole)})
	}
	f := &n.out.Files[i]
	f.Live, f.Level = true, level
	worst, err := n.checkTable(f)
	switch {
	case err != nil:
		return err
	case worst == damagedIndex:
		n.holes = append(n.holes, whole)
	case worst == damagedRows:
		h, err := n.around(f.Path, whole)
		if err != nil {
			h = whole // it opened a moment ago
		}
		n.holes = append(n.holes, h)
	}
	return nil
}

// damage is how much the damage in a table takes.
type damage uint8

const (
	noDamage damage = iota
	// damagedFilter is in what only speeds reading up.
	damagedFilter
	// damagedValues takes the values of some rows.
	damagedValues
	// damagedRows takes the rows in some blocks.
	damagedRows
	// damagedIndex takes the whole table.
	damagedIndex
)

// checkTable reads every block of a table and compares it with its checksum.
func (n *inspector) checkTable(t *InspectedFile) (worst damage, err error) {
	if err := n.ctx.Err(); err != nil {
		return noDamage, context.Cause(n.ctx)
	}
	r, err := n.openTable(t.Path)
	if err != nil {
		return damagedIndex, n.tell(tableFault(t, err))
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	layout, err := layoutOf(r)
	if err != nil {
		return damagedIndex, n.tell(tableFault(t, err))
	}
	f, err := n.o.FS.Open(t.Path)
	if err != nil {
		return damagedIndex, n.tell(Fault{Kind: FaultUnreadable, File: t.Path, Reason: err.Error()})
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	blocks := blocksOf(layout)
	t.Blocks = len(blocks)
	var buf []byte
	for _, b := range blocks {
		reason, err := checkBlock(f, r.BlockReader().ChecksumType(), b.Handle, &buf)
		if err != nil {
			return worst, n.unreadable(t, b, err)
		}
		if reason == "" {
			continue
		}
		worst = max(worst, b.damage)
		err = n.tell(Fault{
			Kind: FaultRotten, File: t.Path, Offset: int64(b.Offset), Bytes: int64(b.Length) + blk.TrailerLen,
			Reason: b.name + " block " + reason,
		})
		if err != nil {
			return worst, err
		}
	}
	return worst, nil
}

func (n *inspector) unreadable(t *InspectedFile, b tableBlock, err error) error {
	return n.tell(Fault{
		Kind: FaultUnreadable, File: t.Path, Offset: int64(b.Offset), Bytes: int64(b.Length) + blk.TrailerLen,
		Reason: err.Error(),
	})
}

// openTable opens a table as the engine does.
func (n *inspector) openTable(name string) (r *sstable.Reader, err error) {
	f, err := n.o.FS.Open(name)
	if err != nil {
		return nil, err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCorruptRow, p)
		}
		if err != nil {
			r, err = nil, errors.Join(err, readable.Close())
		}
	}()
	o := engineOptions(&Options{FS: n.o.FS}, nil, nil)
	o.EnsureDefaults()
	return sstable.NewReader(n.ctx, readable, o.MakeReaderOptions())
}

// layoutOf reads where the blocks of a table are, turning a panic over what its
// index says into an error.
func layoutOf(r *sstable.Reader) (l *sstable.Layout, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCorruptRow, p)
		}
	}()
	return r.Layout()
}

// blockPlace is how the engine names the place of a block that fails.
var blockPlace = regexp.MustCompile(`block (\d+)/(\d+)`)

// tableFault is what keeps a table from being opened. Where the engine does not
// say the place it is the end, where the table says what is where.
func tableFault(t *InspectedFile, err error) Fault {
	f := Fault{Kind: FaultRotten, File: t.Path, Offset: max(0, t.Bytes-footerBytes), Reason: "the table cannot be opened: " + firstLine(err)}
	f.Bytes = t.Bytes - f.Offset
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Kind = FaultMissing
	case !pebble.IsCorruptionError(err) && !errors.Is(err, errCorruptRow) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		f.Kind = FaultUnreadable
	}
	if m := blockPlace.FindStringSubmatch(err.Error()); m != nil {
		if off, err := strconv.ParseInt(m[1], 10, 64); err == nil && off < t.Bytes {
			f.Offset, f.Bytes = off, t.Bytes-off
			if size, err := strconv.ParseInt(m[2], 10, 64); err == nil && size <= f.Bytes-blk.TrailerLen {
				f.Bytes = size + blk.TrailerLen
			}
		}
	}
	return f
}

// firstLine is what an error of the engine says, without the details behind it.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// footerBytes is the most that the end of a table takes.
const footerBytes = 61

// tableBlock is one block, and what its damage takes.
type tableBlock struct {
	blk.Handle
	name   string
	damage damage
}

// blocksOf lists the blocks of a table in their order.
func blocksOf(l *sstable.Layout) []tableBlock {
	var out []tableBlock
	add := func(h blk.Handle, name string, d damage) {
		if h.Length > 0 {
			out = append(out, tableBlock{h, name, d})
		}
	}
	for i := range l.Data {
		add(l.Data[i].Handle, "data", damagedRows)
	}
	for _, h := range l.ValueBlock {
		add(h, "value", damagedValues)
	}
	for _, h := range l.Index {
		add(h, "index", damagedIndex)
	}
	for _, h := range l.Filter {
		add(h.Handle, "filter", damagedFilter)
	}
	add(l.TopIndex, "index", damagedIndex)
	add(l.RangeDel, "deletion", damagedIndex)
	add(l.RangeKey, "range", damagedIndex)
	add(l.ValueIndex, "value index", damagedIndex)
	add(l.Properties, "properties", damagedIndex)
	add(l.MetaIndex, "index", damagedIndex)
	add(l.BlobReferenceIndex, "index", damagedIndex)
	slices.SortFunc(out, func(a, b tableBlock) int {
		switch {
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return 0
	})
	return out
}

// maxBlock bounds a block: nothing that is written is near it.
const maxBlock = 256 << 20

// checkBlock says what is wrong with a block, "" if nothing is.
func checkBlock(f io.ReaderAt, sum blk.ChecksumType, h blk.Handle, buf *[]byte) (reason string, err error) {
	if h.Length > maxBlock {
		return fmt.Sprintf("has an impossible length of %d", h.Length), nil
	}
	size := int(h.Length) + blk.TrailerLen
	*buf = slices.Grow((*buf)[:0], size)
	b := (*buf)[:size]
	if n, err := f.ReadAt(b, int64(h.Offset)); err != nil && (n < size || !errors.Is(err, io.EOF)) {
		if errors.Is(err, io.EOF) {
			return "goes on past the end of the file", nil
		}
		return "", err
	}
	if sum != blk.ChecksumTypeCRC32c {
		if err := blk.ValidateChecksum(sum, b, h); err != nil {
			return "fails its checksum", nil
		}
		return "", nil
	}
	if got, want := maskedSum(b[:h.Length+1]), binary.LittleEndian.Uint32(b[h.Length+1:]); got != want {
		return fmt.Sprintf("fails its checksum: %08x, expected %08x", got, want), nil
	}
	return "", nil
}

// around narrows the hole that a whole table would be to what lies between the
// first and the last damaged block of it.
func (n *inspector) around(name string, h hole) (_ hole, err error) {
	r, err := n.openTable(name)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, back := range [2]bool{false, true} {
		it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
		if err != nil {
			return h, err
		}
		start, step, to, read := it.First, it.Next, &h.after, &h.afterRead
		if back {
			start, step, to, read = it.Last, it.Prev, &h.until, &h.untilRead
		}
		var at []byte
		for kv := start(); kv != nil; kv = step() {
			at = append(at[:0], kv.K.UserKey...)
		}
		if at != nil {
			*to, *read = at, true
		}
		// It ends with the error of the damaged block, which was told.
		_ = it.Close()
	}
	if bytes.Compare(h.after, h.until) >= 0 {
		return h, fmt.Errorf("%w: the damaged blocks of %s hide no row", errCorruptRow, name)
	}
	return h, nil
}

// mergeHoles brings holes into order and puts those that overlap together.
func mergeHoles(holes []hole) []hole {
	slices.SortFunc(holes, func(a, b hole) int { return bytes.Compare(a.after, b.after) })
	var out []hole
	for _, h := range holes {
		k := len(out) - 1
		if k < 0 || bytes.Compare(h.after, out[k].until) > 0 {
			out = append(out, h)
			continue
		}
		last := &out[k]
		if bytes.Equal(h.after, last.after) {
			last.afterRead = last.afterRead && h.afterRead
		}
		switch bytes.Compare(h.until, last.until) {
		case 1:
			last.until, last.untilRead = h.until, h.untilRead
		case 0:
			last.untilRead = last.untilRead && h.untilRead
		}
	}
	return out
}
