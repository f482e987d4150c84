package mvcc

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// EtcdHash is what etcd's call HashKV says of the key space.
type EtcdHash struct {
	// Sum is the CRC-32C of the versions that can be read between the two revisions,
	// as etcd computes it.
	Sum uint32
	// Revision is the last revision in it, Compacted the compacted revision.
	Revision, Compacted int64
	// Current is the current revision.
	Current int64
}

// hashBatch is how many versions a pass over the key space takes into memory, 24 bytes
// each. More of them take more passes.
const hashBatch = 1 << 20

// EtcdHash hashes the key space at a revision, 0 being the current one: the same at every
// member whose compacted revision is the same, however far each has cleaned up behind
// it, and the same as etcd's HashKV of the same history. It returns ErrCompacted or
// ErrFutureRevision for a revision out of reach, and reads the whole key space, in
// memory that does not grow with it. Store.HashKV is stronger, and compares with no
// etcd. Any goroutine.
//
// In the hash are, in the order of revisions, all versions above the compacted
// revision, and of those up to it the ones in force at the revision; if no key is
// alive at the revision, those that were in force at the compacted one. (So it is in
// etcd, which goes by the list of what its compaction keeps, and by none if that is
// empty.) A deletion at the compacted revision itself is in none.
func (s *Store) EtcdHash(ctx context.Context, rev int64) (h EtcdHash, err error) {
	v, err := s.View()
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	return v.etcdHash(ctx, rev, hashBatch)
}

func (v *View) etcdHash(ctx context.Context, rev int64, batch int) (EtcdHash, error) {
	h := EtcdHash{Compacted: v.compacted, Current: v.rev}
	var err error
	if h.Revision, err = readRevision(rev, v.rev, v.compacted); err != nil {
		return h, err
	}
	alive, err := v.anyAlive(ctx, h.Revision)
	if err != nil {
		return h, err
	}
	k := hasher{ctx: ctx, rev: h.Revision, compacted: h.Compacted, alive: alive, batch: batch}
	h.Sum = checksum([]byte("key")) // the name of etcd's table
	for more := true; more; {
		if more, err = k.pass(v.snap); err != nil {
			return h, fmt.Errorf("hash the key space: %w", err)
		}
		for _, p := range k.pieces {
			h.Sum = concatCRC(h.Sum, p.sum, p.size)
		}
	}
	return h, nil
}

// anyAlive reports whether any key has a value at a revision.
func (v *View) anyAlive(ctx context.Context, rev int64) (alive bool, err error) {
	c, err := openCursor(ctx, v.snap, newInterval(nil, []byte{0}), rev)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	return c.next(), c.err()
}

// piece is the hash of one version.
type piece struct {
	rev  Revision
	sum  uint32
	size uint32
}

// hasher gathers the versions in the order of their revisions, while the store has
// them in that of their keys.
type hasher struct {
	ctx            context.Context
	rev, compacted int64
	alive          bool
	batch          int
	// last is the last revision that is hashed.
	last   Revision
	pieces []piece
	buf    []byte
}

// pass gathers the next versions, and reports whether there are more behind them.
func (k *hasher) pass(r pebble.Reader) (more bool, err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{tagKey}, UpperBound: []byte{tagKey + 1}})
	if err != nil {
		return false, fmt.Errorf("open iterator: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	k.pieces = k.pieces[:0]
	var bound Revision // above it nothing is taken any more
	var key, prefix []byte
	var atRev, atCompacted bool // what is in force there was met
	for valid, n := it.First(), 1; valid; valid, n = it.Next(), n+1 {
		if n%cancelEvery == 0 && k.ctx.Err() != nil {
			return false, k.ctx.Err()
		}
		row := it.Key()
		if p := row[:splitRow(row)]; !bytes.Equal(p, prefix) {
			prefix = append(prefix[:0], p...)
			atRev, atCompacted = false, false
		}
		var at Revision
		if key, at, err = parseVersionRow(key[:0], row); err != nil {
			return false, err
		}
		if at.Main > k.rev {
			continue
		}
		inForce := !atRev || at.Main <= k.compacted && !atCompacted && !k.alive
		atRev = true
		atCompacted = atCompacted || at.Main <= k.compacted
		if at.Main <= k.compacted && !inForce || compareRevisions(at, k.last) <= 0 || more && compareRevisions(at, bound) > 0 {
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return false, fmt.Errorf("read version of a key: %w", err)
		}
		ver, err := parseVersion(at, value)
		if err != nil {
			return false, err
		}
		if ver.tombstone && at.Main <= k.compacted {
			continue
		}
		k.pieces = append(k.pieces, k.piece(key, &ver))
		if len(k.pieces) == 2*k.batch {
			bound, more = k.settle(k.batch), true
		}
	}
	if len(k.pieces) > k.batch {
		more = true
	}
	if len(k.pieces) > 0 {
		k.last = k.settle(min(k.batch, len(k.pieces)))
	}
	return more, it.Error()
}

// settle keeps the first pieces in order, and returns the revision of the last.
func (k *hasher) settle(n int) Revision {
	slices.SortFunc(k.pieces, func(a, b piece) int { return compareRevisions(a.rev, b.rev) })
	k.pieces = k.pieces[:n]
	return k.pieces[n-1].rev
}

func compareRevisions(a, b Revision) int {
	return cmp.Or(cmp.Compare(a.Main, b.Main), cmp.Compare(a.Sub, b.Sub))
}

// piece is a version as etcd has it in its table: the revision as 8 bytes, an
// underscore, 8 bytes, and a t for a deletion; then the message mvccpb.KeyValue.
func (k *hasher) piece(key []byte, v *version) piece {
	b := binary.BigEndian.AppendUint64(k.buf[:0], uint64(v.rev.Main))
	b = append(b, '_')
	b = binary.BigEndian.AppendUint64(b, uint64(v.rev.Sub))
	if v.tombstone {
		b = append(b, 't')
	}
	b = appendBytesField(b, 1, key)
	if !v.tombstone {
		b = appendNumberField(b, 2, v.create)
		b = appendNumberField(b, 3, v.rev.Main)
		b = appendNumberField(b, 4, v.count)
		b = appendBytesField(b, 5, v.value)
		b = appendNumberField(b, 6, v.lease)
	}
	k.buf = b
	return piece{rev: v.rev, sum: checksum(b), size: uint32(len(b))}
}

// appendBytesField and appendNumberField write a field of a message of protocol
// buffers; what is empty or 0 is left out.
func appendBytesField(dst []byte, field byte, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = append(dst, field<<3|2)
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendNumberField(dst []byte, field byte, n int64) []byte {
	if n == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, field<<3), uint64(n))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
