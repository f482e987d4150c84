package mvcc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Version is one version of a key as it was written. A deletion has a key and a
// revision only.
type Version struct {
	Revision Revision
	// Key and Value are valid until the visit ends.
	Key, Value []byte
	// Create is the revision in which the key came to be, Count how often it was
	// written since, Lease the lease that it is attached to, or 0.
	Create, Count, Lease int64
	Deleted              bool
}

// versionBatch bounds the keys that Versions holds in memory, in bytes.
const versionBatch = 32 << 20

// perKey is what a key in memory takes beside its bytes.
const perKey = 48

// Versions visits, in the order of revisions, all that is needed to read the key space
// at any revision from the compacted one on: the versions in force there, and every
// later one. It walks the whole key space, in memory that does not grow with it. An
// error of visit ends it.
func (v *View) Versions(ctx context.Context, visit func(*Version) error) error {
	return v.versions(ctx, visit, versionBatch)
}

func (v *View) versions(ctx context.Context, visit func(*Version) error, batch int) (err error) {
	g, err := openGetter(v.snap)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	// What was written at the compacted revision is still named by its rows.
	old := oldVersions{ctx: ctx, compacted: v.compacted, batch: batch}
	for more := true; more; {
		if more, err = old.pass(v.snap); err != nil {
			return fmt.Errorf("list the versions of keys: %w", err)
		}
		for _, k := range old.keys {
			if err := visitAt(g, k.key, k.rev, visit); err != nil {
				return err
			}
		}
	}
	return v.recent(ctx, g, visit)
}

func visitAt(g *getter, key []byte, rev Revision, visit func(*Version) error) error {
	ver, err := g.at(key, rev)
	if err != nil {
		return err
	}
	return visit(&Version{
		Revision: rev, Key: key, Value: ver.value, Create: ver.create, Count: ver.count, Lease: ver.lease, Deleted: ver.tombstone,
	})
}

// recent visits the versions from the compacted revision on.
func (v *View) recent(ctx context.Context, g *getter, visit func(*Version) error) (err error) {
	it, err := v.snap.NewIter(&pebble.IterOptions{
		LowerBound: appendRevisionRow(nil, Revision{Main: max(v.compacted, 0)}), UpperBound: appendRevisionRow(nil, Revision{Main: v.rev + 1}),
	})
	if err != nil {
		return fmt.Errorf("open iterator: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for valid, n := it.First(), 1; valid; valid, n = it.Next(), n+1 {
		if n%cancelEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		rev, err := parseRevisionRow(it.Key())
		if err != nil {
			return err
		}
		row, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read what a revision changed: %w", err)
		}
		c, err := parseChange(row)
		if err != nil {
			return err
		}
		if err := visitAt(g, c.key, rev, visit); err != nil {
			return err
		}
	}
	return it.Error()
}

// oldVersion names a version.
type oldVersion struct {
	rev Revision
	key []byte
}

// oldVersions gathers the versions in force at the compacted revision that were written
// before it, in the order of revisions, while the store has them in that of keys.
type oldVersions struct {
	ctx       context.Context
	compacted int64
	batch     int
	// last is the last revision that was gathered.
	last Revision
	keys []oldVersion
	size int
}

// pass gathers the next versions, and reports whether there are more behind them.
func (o *oldVersions) pass(r pebble.Reader) (more bool, err error) {
	o.keys, o.size = o.keys[:0], 0
	if o.compacted <= 0 {
		return false, nil
	}
	c, err := openCursor(o.ctx, r, newInterval(nil, []byte{0}), o.compacted)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	var bound Revision // above it nothing is taken any more
	for c.next() {
		key, ver := c.entry()
		if ver.rev.Main == o.compacted || compareRevisions(ver.rev, o.last) <= 0 || more && compareRevisions(ver.rev, bound) > 0 {
			continue
		}
		o.keys = append(o.keys, oldVersion{ver.rev, bytes.Clone(key)})
		if o.size += len(key) + perKey; o.size > 2*o.batch {
			bound, more = o.settle(), true
		}
	}
	if o.size > o.batch && len(o.keys) > 1 {
		o.settle()
		more = true
	}
	slices.SortFunc(o.keys, func(a, b oldVersion) int { return compareRevisions(a.rev, b.rev) })
	if len(o.keys) > 0 {
		o.last = o.keys[len(o.keys)-1].rev
	}
	return more, c.err()
}

// settle keeps the first keys in order, as far as they fit, and returns the revision of
// the last.
func (o *oldVersions) settle() Revision {
	slices.SortFunc(o.keys, func(a, b oldVersion) int { return compareRevisions(a.rev, b.rev) })
	n := 0
	for o.size = 0; n < len(o.keys); n++ {
		size := len(o.keys[n].key) + perKey
		if n > 0 && o.size+size > o.batch {
			break
		}
		o.size += size
	}
	clear(o.keys[n:])
	o.keys = o.keys[:n]
	return o.keys[n-1].rev
}
