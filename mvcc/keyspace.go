package mvcc

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// The first byte of every row says which part of the key space it is in.
// docs/format/keyspace.md describes the rows.
const (
	tagAttach   = 'a' // that a key is attached to a lease
	tagBucket   = 'n' // how many live keys there are from one on
	tagKey      = 'k' // one version of one key
	tagLease    = 'l' // a lease
	tagMeta     = 'm' // the store's own state
	tagRevision = 'r' // what a revision changed
	tagSide     = 's' // a row beside the key space
)

// comparerName is part of the format of a store.
const comparerName = "chainfire.keyspace.v1"

// suffixLen is the length of a revision behind a key: main and sub, inverted so
// that newer versions come first.
const suffixLen = 12

// A key is written with each 0x00 followed by 0xff, and ends with terminator.
// That keeps the order of the keys, and no key's encoding starts another's.
const (
	escaped     = 0xff
	terminator0 = 0x00
	terminator1 = 0x01
)

// newComparer makes the order of the rows: plain byte order, with every version
// of one key under one prefix.
func newComparer() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = comparerName
	c.Split = splitRow
	c.ImmediateSuccessor = nextPrefix
	return &c
}

// splitRow is the length of a row's prefix: for a version, everything up to and
// with the terminator of its key; for any other row, all of it.
func splitRow(row []byte) int {
	if len(row) == 0 || row[0] != tagKey {
		return len(row)
	}
	if i := bytes.Index(row, []byte{terminator0, terminator1}); i >= 0 {
		return i + 2
	}
	return len(row)
}

// nextPrefix appends the smallest prefix above one.
func nextPrefix(dst, prefix []byte) []byte {
	dst = append(dst, prefix...)
	n := len(dst)
	if len(prefix) > 2 && prefix[0] == tagKey && dst[n-2] == terminator0 && dst[n-1] == terminator1 {
		dst[n-1]++
		return dst
	}
	return append(dst, 0)
}

// Revision numbers one change: Main counts the transactions that wrote, Sub the
// changes inside one, from 0.
type Revision struct {
	Main int64
	Sub  uint32
}

// appendPrefix appends the prefix that all versions of a key share.
func appendPrefix(dst, key []byte) []byte {
	dst = append(dst, tagKey)
	for {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			break
		}
		dst = append(append(dst, key[:i+1]...), escaped)
		key = key[i+1:]
	}
	return append(append(dst, key...), terminator0, terminator1)
}

// appendSuffix appends a revision behind a prefix.
func appendSuffix(dst []byte, r Revision) []byte {
	dst = binary.BigEndian.AppendUint64(dst, ^uint64(r.Main))
	return binary.BigEndian.AppendUint32(dst, ^r.Sub)
}

// appendAtMost appends the place before the newest version at or below a main
// revision.
func appendAtMost(dst []byte, rev int64) []byte {
	return binary.BigEndian.AppendUint64(dst, ^uint64(rev))
}

// parseVersionRow takes a version's row apart. The key is appended to dst.
func parseVersionRow(dst, row []byte) (key []byte, r Revision, err error) {
	n := splitRow(row)
	if len(row) != n+suffixLen || n < 3 {
		return nil, Revision{}, fmt.Errorf("%w: version row %x", errCorruptRow, row)
	}
	body := row[1 : n-2]
	for {
		i := bytes.IndexByte(body, 0)
		if i < 0 {
			break
		}
		if i+1 >= len(body) || body[i+1] != escaped {
			return nil, Revision{}, fmt.Errorf("%w: version row %x", errCorruptRow, row)
		}
		dst = append(dst, body[:i+1]...)
		body = body[i+2:]
	}
	return append(dst, body...), suffixRevision(row[n:]), nil
}

// suffixRevision reads what appendSuffix wrote.
func suffixRevision(suffix []byte) Revision {
	return Revision{
		Main: int64(^binary.BigEndian.Uint64(suffix)),
		Sub:  ^binary.BigEndian.Uint32(suffix[8:]),
	}
}

// appendRevisionRow appends the row that says what a revision changed.
func appendRevisionRow(dst []byte, r Revision) []byte {
	dst = append(dst, tagRevision)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Main))
	return binary.BigEndian.AppendUint32(dst, r.Sub)
}

func parseRevisionRow(row []byte) (Revision, error) {
	if len(row) != 13 || row[0] != tagRevision {
		return Revision{}, fmt.Errorf("%w: revision row %x", errCorruptRow, row)
	}
	return Revision{
		Main: int64(binary.BigEndian.Uint64(row[1:])),
		Sub:  binary.BigEndian.Uint32(row[9:]),
	}, nil
}

func metaRow(name string) []byte { return append([]byte{tagMeta}, name...) }

// interval is a set of keys as requests write it, taken apart.
type interval struct {
	from []byte
	// to is the first key after the interval; nil with open is no end.
	to   []byte
	open bool
	// one is set for a single key, which is from.
	one bool
}

func newInterval(key, rangeEnd []byte) interval {
	switch {
	case len(rangeEnd) == 0:
		return interval{from: key, one: true}
	case len(rangeEnd) == 1 && rangeEnd[0] == 0:
		return interval{from: key, open: true}
	}
	return interval{from: key, to: rangeEnd}
}

// empty reports whether no key can be in the interval.
func (iv interval) empty() bool {
	return !iv.one && !iv.open && bytes.Compare(iv.from, iv.to) >= 0
}

func (iv interval) contains(key []byte) bool {
	if iv.one {
		return bytes.Equal(iv.from, key)
	}
	return bytes.Compare(iv.from, key) <= 0 && (iv.open || bytes.Compare(key, iv.to) < 0)
}

// bounds are the rows that hold the interval's versions: [lower, upper).
func (iv interval) bounds() (lower, upper []byte) {
	lower = appendPrefix(nil, iv.from)
	switch {
	case iv.one:
		return lower, nextPrefix(nil, lower)
	case iv.open:
		return lower, []byte{tagKey + 1}
	}
	return lower, appendPrefix(nil, iv.to)
}
