package mvcc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"chainfire"
)

// errCorruptRow is wrapped around what is wrong with a row of the store.
var errCorruptRow = fmt.Errorf("store: %w", chainfire.ErrCorrupt)

// The kinds of a change, as they stand in the store.
const (
	kindPut    = 1
	kindDelete = 2
)

// version is one version of one key. A tombstone has a revision only.
type version struct {
	rev       Revision
	create    int64
	count     int64 // KeyValue.Version
	lease     int64
	tombstone bool
	value     []byte
}

// appendTo appends the content of a version's row:
//
//	put:    1 | uvarint main-create | uvarint count | uvarint lease | value
//	delete: 2
func (v *version) appendTo(dst []byte) []byte {
	if v.tombstone {
		return append(dst, kindDelete)
	}
	dst = append(dst, kindPut)
	dst = binary.AppendUvarint(dst, uint64(v.rev.Main-v.create))
	dst = binary.AppendUvarint(dst, uint64(v.count))
	dst = binary.AppendUvarint(dst, uint64(v.lease))
	return append(dst, v.value...)
}

// parseVersion reads the content of a version's row. The value aliases b.
func parseVersion(r Revision, b []byte) (version, error) {
	v := version{rev: r}
	if len(b) == 1 && b[0] == kindDelete {
		v.tombstone = true
		return v, nil
	}
	if len(b) == 0 || b[0] != kindPut {
		return v, fmt.Errorf("%w: version at revision %d.%d is of no known kind", errCorruptRow, r.Main, r.Sub)
	}
	b = b[1:]
	for i, field := range [3]*int64{&v.create, &v.count, &v.lease} {
		x, n := binary.Uvarint(b)
		if n <= 0 {
			return v, fmt.Errorf("%w: version at revision %d.%d ends in field %d", errCorruptRow, r.Main, r.Sub, i)
		}
		*field = int64(x)
		b = b[n:]
	}
	v.create = r.Main - v.create
	v.value = b
	return v, nil
}

// keyValue is the version as requests see it. The value is shared, not copied.
func (v *version) keyValue(key []byte) chainfire.KeyValue {
	return chainfire.KeyValue{
		Key: key, Value: v.value,
		CreateRevision: v.create, ModRevision: v.rev.Main, Version: v.count, Lease: v.lease,
	}
}

// change is the content of a revision's row: which key changed, how, and which
// version it replaced (zero for none, or for a tombstone).
type change struct {
	kind byte
	prev Revision
	key  []byte
}

// appendTo appends the content of a revision's row:
//
//	kind | uvarint main of the replaced version or 0 | uvarint its sub | key
func (c *change) appendTo(dst []byte) []byte {
	dst = append(dst, c.kind)
	dst = binary.AppendUvarint(dst, uint64(c.prev.Main))
	dst = binary.AppendUvarint(dst, uint64(c.prev.Sub))
	return append(dst, c.key...)
}

var errShortChange = errors.New("revision row is cut short")

// parseChange reads the content of a revision's row. The key aliases b.
func parseChange(b []byte) (change, error) {
	var c change
	if len(b) == 0 || b[0] != kindPut && b[0] != kindDelete {
		return c, fmt.Errorf("%w: revision row is of no known kind", errCorruptRow)
	}
	c.kind = b[0]
	b = b[1:]
	prev, n := binary.Uvarint(b)
	if n <= 0 {
		return c, fmt.Errorf("%w: %w", errCorruptRow, errShortChange)
	}
	b = b[n:]
	sub, n := binary.Uvarint(b)
	if n <= 0 || sub > 1<<32-1 {
		return c, fmt.Errorf("%w: %w", errCorruptRow, errShortChange)
	}
	c.prev = Revision{Main: int64(prev), Sub: uint32(sub)}
	c.key = b[n:]
	return c, nil
}
