package object

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"chainfire/internal/record"
)

// A body is written alike in its row and in a change: the row has how often it is referred to
// and no id, which is in the row's key; a change has the id. The extents are their common size,
// their CRCs one after the other, and runs of extents with the same holders.
var (
	messageBody = record.New("body", record.Number, record.Number, record.Text, record.Number, record.Text, record.Repeated, record.Text)
	messageRun  = record.New("run of extents", record.Number, record.Text)
)

const (
	bodyRefs = 1 + iota
	bodySize
	bodyInline
	bodyExtentSize
	bodyCRCs
	bodyRuns
	bodyName
)

// crcSize is how many bytes the CRC of an extent has.
const crcSize = 4

// encode is what a body's row holds.
func (b *storedBody) encode() []byte {
	r := make([]byte, 0, 64+len(b.Inline)+crcSize*len(b.Extents))
	return appendBody(record.AppendUint(append(r, recordVersion), bodyRefs, b.refs), &b.Body)
}

func decodeBody(id BodyID, value []byte) (*storedBody, error) {
	refs, err := decodeBodyRefs(id, value)
	if err != nil {
		return nil, err
	}
	b := &storedBody{}
	err = readBody(value[1:], b)
	if err == nil && b.ID != (BodyID{}) {
		err = fmt.Errorf("%w: it has a name of its own", record.ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("row of body %d.%d: %w", id.Lease, id.N, err)
	}
	b.ID, b.refs = id, refs
	return b, nil
}

// decodeBodyRefs reads how often a body is referred to.
func decodeBodyRefs(id BodyID, value []byte) (refs uint64, err error) {
	err = readRecord(&messageBody, "body", value, func(x record.Field) error {
		if x.Num == bodyRefs {
			refs = x.N
		}
		return nil
	})
	if err == nil && refs == 0 {
		err = fmt.Errorf("%w: nothing refers to it", record.ErrMalformed)
	}
	if err != nil {
		return 0, fmt.Errorf("row of body %d.%d: %w", id.Lease, id.N, err)
	}
	return refs, nil
}

// appendBody appends all of a body but its id.
func appendBody(r []byte, b *Body) []byte {
	r = record.AppendUint(r, bodySize, uint64(b.Size))
	r = record.AppendBytes(r, bodyInline, b.Inline)
	if len(b.Extents) == 0 {
		return r
	}
	r = record.AppendUint(r, bodyExtentSize, uint64(b.Extents[0].Size))
	r = record.AppendMessage(r, bodyCRCs, func(r []byte) []byte {
		for i := range b.Extents {
			r = binary.BigEndian.AppendUint32(r, b.Extents[i].CRC)
		}
		return r
	})
	return appendRuns(r, bodyRuns, len(b.Extents), func(i int) []uint64 { return b.Extents[i].Holders })
}

// appendRuns appends the holders of n extents.
func appendRuns(r []byte, num protowire.Number, n int, holders func(int) []uint64) []byte {
	for from := 0; from < n; {
		members, to := holders(from), from+1
		for to < n && slices.Equal(members, holders(to)) {
			to++
		}
		r = record.AppendMessage(r, num, func(r []byte) []byte {
			r = record.AppendUint(r, 1, uint64(to-from))
			if len(members) == 0 {
				return r
			}
			return record.AppendMessage(r, 2, func(r []byte) []byte {
				for _, m := range members {
					r = protowire.AppendVarint(r, m)
				}
				return r
			})
		})
		from = to
	}
	return r
}

// runs are holders of extents as they are read, at most of limit extents. Extents of one run
// share the slice.
type runs struct {
	holders [][]uint64
	limit   int
}

func (l *runs) read(b []byte) error {
	var count uint64
	var members []uint64
	err := messageRun.Read(b, func(x record.Field) error {
		if x.Num == 1 {
			count = x.N
			return nil
		}
		for rest := x.Bytes; len(rest) > 0; {
			m, n := protowire.ConsumeVarint(rest)
			if n < 0 {
				return fmt.Errorf("%w: holders of extents: %w", record.ErrMalformed, protowire.ParseError(n))
			}
			members = append(members, m)
			rest = rest[n:]
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case count == 0 || count > uint64(l.limit-len(l.holders)):
		return fmt.Errorf("%w: a run of %d extents, with %d before it", record.ErrMalformed, count, len(l.holders))
	}
	for range count {
		l.holders = append(l.holders, members)
	}
	return nil
}

// readBody reads all of a body; its inline bytes alias those read.
func readBody(value []byte, b *storedBody) error {
	var extentSize uint32
	var crcs []byte
	found := runs{limit: maxExtents}
	err := messageBody.Read(value, func(x record.Field) (err error) {
		switch x.Num {
		case bodyRefs:
			b.refs = x.N
		case bodySize:
			var n int
			n, err = readUpTo(x, math.MaxInt64)
			b.Size = int64(n)
		case bodyInline:
			b.Inline = x.Bytes
		case bodyExtentSize:
			extentSize, err = readUint32(x)
		case bodyCRCs:
			crcs = x.Bytes
		case bodyRuns:
			err = found.read(x.Bytes)
		case bodyName:
			err = readBodyID(x.Bytes, &b.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return b.setExtents(extentSize, crcs, found.holders)
}

// setExtents puts the extents together of what was read of them.
func (b *Body) setExtents(size uint32, crcs []byte, holders [][]uint64) error {
	n := len(holders)
	if len(crcs) != crcSize*n {
		return fmt.Errorf("%w: the CRCs of %d extents have %d bytes", record.ErrMalformed, n, len(crcs))
	}
	if n == 0 {
		if size != 0 {
			return fmt.Errorf("%w: no extents, of %d bytes", record.ErrMalformed, size)
		}
		return nil
	}
	// Sizes are at most 32 bits, the extents at most maxExtents: this is far from 64 bits.
	last := b.Size - int64(n-1)*int64(size)
	if last <= 0 || last > int64(size) {
		return fmt.Errorf("%w: %d extents of %d bytes do not make up %d", record.ErrMalformed, n, size, b.Size)
	}
	b.Extents = make([]Extent, n)
	for i := range b.Extents {
		b.Extents[i] = Extent{Size: size, CRC: binary.BigEndian.Uint32(crcs[crcSize*i:]), Holders: holders[i]}
	}
	b.Extents[n-1].Size = uint32(last)
	return nil
}
