package mvcc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
)

// Hash is a digest of the key space. Members whose Revision and Compacted are
// equal must have equal sums.
type Hash struct {
	Sum uint64
	// Revision is the revision that was hashed, Compacted the compacted one.
	Revision, Compacted int64
}

// HashKV hashes what can be read of the key space at any revision from the
// compacted one up to rev (0 or less is the current one): the same on all
// members, whatever their disks hold. It walks the whole key space. It returns
// ErrCompacted or ErrFutureRevision for a revision out of reach. Any goroutine.
func (s *Store) HashKV(ctx context.Context, rev int64) (h Hash, err error) {
	v, err := s.View()
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	return v.HashKV(ctx, rev, nil)
}

// restEvery is about how many bytes are hashed between two rests.
const restEvery = 256 << 10

// HashKV is Store.HashKV of what the view pins. rest, if set, is called over and over
// while it works, to slow it down; its error ends the hash.
func (v *View) HashKV(ctx context.Context, rev int64, rest func() error) (h Hash, err error) {
	if rev, err = readRevision(rev, v.rev, v.compacted); err != nil {
		return h, err
	}
	h.Revision, h.Compacted = rev, v.compacted
	h.Sum, err = hashRows(ctx, v.snap, rev, v.compacted, rest)
	return h, err
}

// hashRows hashes every version at or below rev that a read from compacted on
// can see. Programs of different versions are compared by it, so that what a row of a
// version holds can change only with the feature level.
func hashRows(ctx context.Context, r pebble.Reader, rev, compacted int64, rest func() error) (sum uint64, err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{tagKey}, UpperBound: []byte{tagKey + 1}})
	if err != nil {
		return 0, fmt.Errorf("hash key space: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	digest := sha256.New()
	var head [8]byte
	steps, read := 0, 0
	for ok := it.First(); ok; {
		if steps++; steps%cancelEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if rest != nil && (steps%cancelEvery == 0 || read >= restEvery) {
			if err := rest(); err != nil {
				return 0, err
			}
			read = 0
		}
		row := it.Key()
		n := splitRow(row)
		if len(row) != n+suffixLen {
			return 0, fmt.Errorf("%w: version row %x", errCorruptRow, row)
		}
		main := suffixRevision(row[n:]).Main
		if main > rev {
			ok = it.Next()
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return 0, fmt.Errorf("hash key space: %w", err)
		}
		old := main <= compacted
		if !old || len(value) != 1 || value[0] != kindDelete {
			binary.BigEndian.PutUint32(head[:], uint32(len(row)))
			binary.BigEndian.PutUint32(head[4:], uint32(len(value)))
			for _, part := range [3][]byte{head[:], row, value} {
				digest.Write(part) // never fails
			}
			read += len(row) + len(value)
		}
		if old {
			ok = it.NextPrefix() // what is older was superseded
		} else {
			ok = it.Next()
		}
	}
	if err := it.Error(); err != nil {
		return 0, fmt.Errorf("hash key space: %w", err)
	}
	return binary.BigEndian.Uint64(digest.Sum(nil)), nil
}

// Count is the number of live keys now. It walks them all. Any goroutine.
func (s *Store) Count(ctx context.Context) (int64, error) {
	resp, err := s.Range(ctx, &chainfire.RangeRequest{RangeEnd: []byte{0}, CountOnly: true})
	if err != nil {
		return 0, err
	}
	return resp.Count, nil
}
