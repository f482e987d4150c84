package mvcc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// RowKind is a part of the key space.
type RowKind string

// The kinds.
const (
	RowVersion RowKind = "version"
	RowChange  RowKind = "change"
	RowMeta    RowKind = "meta"
	RowLease   RowKind = "lease"
	RowAttach  RowKind = "attachment"
	RowBucket  RowKind = "bucket"
	RowSide    RowKind = "side"
)

// InspectedRow is one row, decoded. It is valid until the callback returns.
type InspectedRow struct {
	Kind RowKind
	// Row and Content are the bytes as the engine holds them.
	Row, Content []byte
	// Name is set for a row of the store or the machine, and for a side row, whose Content is
	// the value.
	Name []byte
	// Key, Revision and Deleted are set for a version and for a change, the next
	// four for a version that is no deletion, Replaced for a change: the version
	// that it took the place of, zero for none.
	Key                    []byte
	Revision               Revision
	Deleted                bool
	Create, Version, Lease int64
	Value                  []byte
	Replaced               Revision
	// TTL and Remaining are set for a lease. It, and an attachment, which has the Key,
	// have the id in Lease.
	TTL, Remaining int64
	// Count is set for a bucket, which has the Key that it begins at: how many live keys.
	Count int64
}

// rowState is where a walk through the rows is.
type rowState struct {
	row InspectedRow
	// key holds the key of the row, prefix that of the key counted last.
	key, prefix []byte
	// last is the last row seen.
	last []byte
	// newest is the highest revision seen.
	newest int64
	// counted is the revision that the counts of live keys are of.
	counted int64
	// sideKept is the sum of the side rows that is kept.
	sideKept uint64
	steps    int
	format   bool
	// partial says that rows were not read which no hole accounts for.
	partial bool
}

// readRows reads every row outside of the holes.
func (n *inspector) readRows(db *pebble.DB) error {
	var lower []byte
	for i := range n.holes {
		h := &n.holes[i]
		upper := h.after
		if h.afterRead {
			upper = append(bytes.Clone(h.after), 0)
		}
		if err := n.readSpan(db, lower, upper, h.after); err != nil {
			return err
		}
		if err := n.tell(Fault{Kind: FaultUnreadable, File: n.out.Dir, Reason: "rows cannot be read for the damage above" + rowsText(*h)}); err != nil {
			return err
		}
		lower = h.until
		if !h.untilRead {
			lower = append(bytes.Clone(h.until), 0)
		}
	}
	if err := n.readSpan(db, lower, nil, nil); err != nil {
		return err
	}
	return n.checkState()
}

// readAll reports whether every row was read.
func (n *inspector) readAll() bool { return len(n.holes) == 0 && !n.partial }

// checkState checks what the rows together must fulfil.
func (n *inspector) checkState() error {
	whole := n.readAll()
	st := n.out.State
	var reasons []string
	switch {
	case !n.out.HasState && whole:
		reasons = append(reasons, "there is no state row")
	case n.out.HasState && n.newest > st.Revision:
		reasons = append(reasons, fmt.Sprintf("there are rows of revision %d, the state row is at revision %d", n.newest, st.Revision))
	}
	if !n.format && whole {
		reasons = append(reasons, "there is no format row")
	}
	if c := n.out.Rows; whole && n.counted == st.Revision && c.Counted != c.Live {
		reasons = append(reasons, fmt.Sprintf("%d keys are live, the counts come to %d", c.Live, c.Counted))
	}
	if whole && n.out.SideSum != n.sideKept {
		reasons = append(reasons, fmt.Sprintf("the sum of the side rows is %016x, the one that is kept %016x", n.out.SideSum, n.sideKept))
	}
	for _, r := range reasons {
		if err := n.tell(Fault{Kind: FaultRotten, File: n.out.Dir, Reason: r}); err != nil {
			return err
		}
	}
	if n.out.HasState && st.Applied < n.o.Floor {
		return n.tell(Fault{Kind: FaultBehind, File: n.out.Dir, Reason: fmt.Sprintf(
			"it holds the state after index %d, but the log says that index %d was durable in it", st.Applied, n.o.Floor)})
	}
	return nil
}

// readSpan reads the rows in [lower, upper). The engine may fail on the block
// behind the row end, which is known to be damaged.
func (n *inspector) readSpan(db *pebble.DB, lower, upper, end []byte) error {
	if upper != nil && bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	dark := darkRows{}
	for ok := it.First(); ok; ok = it.Next() {
		if n.steps++; n.steps%cancelEvery == 0 && n.ctx.Err() != nil {
			return errors.Join(n.ctx.Err(), it.Close())
		}
		n.last = append(n.last[:0], it.Key()...)
		b, err := it.ValueAndErr()
		if err != nil {
			dark.add(it.Key(), err)
			continue
		}
		if err := n.take(it.Key(), b); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	err = it.Error()
	// The error is the iterator's own, once more.
	if cerr := it.Close(); err == nil && dark.count == 0 {
		err = cerr
	}
	if dark.count > 0 {
		n.partial = true
		if terr := n.tell(Fault{Kind: FaultUnreadable, File: n.out.Dir, Reason: dark.String()}); terr != nil {
			return terr
		}
	}
	if err == nil || end != nil && bytes.Equal(n.last, end) {
		return nil
	}
	n.partial = true
	return n.tell(Fault{Kind: FaultUnreadable, File: n.out.Dir, Reason: fmt.Sprintf(
		"rows after %s cannot be read: %s", describeRow(n.last), firstLine(err))})
}

// darkRows are rows whose content cannot be read.
type darkRows struct {
	count       int64
	first, last []byte
	err         error
}

func (d *darkRows) add(row []byte, err error) {
	if d.count++; d.count == 1 {
		d.first, d.err = bytes.Clone(row), err
	}
	d.last = append(d.last[:0], row...)
}

func (d *darkRows) String() string {
	return fmt.Sprintf("the content of %d rows cannot be read, from %s to %s: %s",
		d.count, describeRow(d.first), describeRow(d.last), firstLine(d.err))
}

// take decodes one row, counts it and tells of it.
func (n *inspector) take(row, content []byte) error {
	n.row = InspectedRow{Row: row, Content: content}
	err := n.decode(row, content)
	if err != nil {
		return n.tell(Fault{Kind: FaultRotten, File: n.out.Dir, Reason: fmt.Sprintf("row %x does not follow the format: %v", row, err)})
	}
	if n.o.Row == nil {
		return nil
	}
	return n.o.Row(&n.row)
}

func (n *inspector) decode(row, content []byte) error {
	switch row[0] {
	case tagKey:
		return n.decodeVersion(row, content)
	case tagRevision:
		return n.decodeChange(row, content)
	case tagMeta:
		return n.decodeMeta(row, content)
	case tagLease:
		return n.decodeLease(row, content)
	case tagAttach:
		return n.decodeAttach(row, content)
	case tagBucket:
		return n.decodeBucket(row, content)
	case tagSide:
		n.row.Kind, n.row.Name = RowSide, row[1:]
		n.out.SideSum += sideHash(row[1:], content)
		n.out.Rows.Side++
		n.out.Rows.SideBytes += int64(len(row) - 1 + len(content))
		return nil
	}
	return errors.New("it is of no known kind")
}

func (n *inspector) decodeVersion(row, content []byte) error {
	r, c := &n.row, &n.out.Rows
	key, rev, err := parseVersionRow(n.key[:0], row)
	if err != nil {
		return err
	}
	n.key = key
	v, err := parseVersion(rev, content)
	if err != nil {
		return err
	}
	r.Kind, r.Key, r.Revision, r.Deleted = RowVersion, key, rev, v.tombstone
	if !v.tombstone {
		r.Create, r.Version, r.Lease, r.Value = v.create, v.count, v.lease, v.value
	}
	c.Versions++
	if v.tombstone {
		c.Deletions++
	}
	if p := row[:splitRow(row)]; !bytes.Equal(p, n.prefix) {
		n.prefix = append(n.prefix[:0], p...)
		if c.Keys++; !v.tombstone {
			c.Live++
		}
	}
	n.newest = max(n.newest, rev.Main)
	return nil
}

func (n *inspector) decodeChange(row, content []byte) error {
	r := &n.row
	rev, err := parseRevisionRow(row)
	if err != nil {
		return err
	}
	c, err := parseChange(content)
	if err != nil {
		return err
	}
	r.Kind, r.Key, r.Revision, r.Deleted, r.Replaced = RowChange, c.key, rev, c.kind == kindDelete, c.prev
	n.out.Rows.Changes++
	n.newest = max(n.newest, rev.Main)
	return nil
}

func (n *inspector) decodeLease(row, content []byte) error {
	l, err := parseLease(row, content)
	if err != nil {
		return err
	}
	r := &n.row
	r.Kind, r.Lease, r.TTL, r.Remaining = RowLease, l.ID, l.TTL, l.Remaining
	n.out.Rows.Leases++
	return nil
}

func (n *inspector) decodeAttach(row, content []byte) (err error) {
	r := &n.row
	if r.Lease, r.Key, err = parseAttachRow(row, content); err != nil {
		return err
	}
	r.Kind = RowAttach
	n.out.Rows.Attached++
	return nil
}

func (n *inspector) decodeBucket(row, content []byte) (err error) {
	r := &n.row
	r.Kind = RowBucket
	if r.Count, err = parseBucketCount(row, content); err != nil {
		return err
	}
	n.out.Rows.Buckets++
	n.out.Rows.Counted += r.Count
	r.Key, err = bucketKey(row)
	return err
}

func (n *inspector) decodeMeta(row, content []byte) (err error) {
	r := &n.row
	r.Kind, r.Name = RowMeta, row[1:]
	n.out.Rows.Meta++
	switch name := string(r.Name); {
	case name == stateName:
		n.out.State, err = parseState(content)
		n.out.HasState = err == nil
	case name == compactedName:
		if len(content) != 8 {
			return fmt.Errorf("%w: compaction row of %d bytes", errCorruptRow, len(content))
		}
		n.out.Reclaimed = int64(binary.BigEndian.Uint64(content))
	case name == countedName:
		n.counted, err = parseCounted(content)
	case name == sideName:
		n.sideKept, err = parseSideSum(content)
	case name == formatName:
		n.format = true
	case len(name) > len(userMeta) && name[:len(userMeta)] == userMeta:
		n.out.Meta = append(n.out.Meta, MetaRow{Name: name[len(userMeta):], Value: bytes.Clone(content)})
	default:
		return errors.New("its name is not known")
	}
	return err
}

// rowsText says which rows a hole takes.
func rowsText(h hole) string {
	from, to := "from ", " to "
	if h.afterRead {
		from = "after "
	}
	if h.untilRead {
		to = " up to, but not with, "
	}
	return ": those " + from + describeRow(h.after) + to + describeRow(h.until)
}

// describeRow says what a row is, for people.
func describeRow(row []byte) string {
	switch {
	case len(row) == 0:
		return "the first"
	case row[0] == tagKey:
		if key, rev, err := parseVersionRow(nil, row); err == nil {
			return fmt.Sprintf("key %q at revision %d", key, rev.Main)
		}
	case row[0] == tagRevision:
		if rev, err := parseRevisionRow(row); err == nil {
			return fmt.Sprintf("the change of revision %d.%d", rev.Main, rev.Sub)
		}
	case row[0] == tagMeta:
		return fmt.Sprintf("the store's row %q", row[1:])
	case row[0] == tagLease && len(row) == 9:
		return fmt.Sprintf("lease %x", row[1:])
	case row[0] == tagBucket:
		if key, err := bucketKey(row); err == nil {
			return fmt.Sprintf("the count of keys from %q on", key)
		}
	case row[0] == tagSide:
		return fmt.Sprintf("side row %x", row[1:])
	case row[0] == tagAttach && len(row) > attachRowLen:
		return fmt.Sprintf("key %q of lease %x", row[attachRowLen:], row[1:attachRowLen])
	}
	return fmt.Sprintf("row %x", row)
}
