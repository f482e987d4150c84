package mvcc

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// cancelEvery is how many keys a walk takes between two looks at its context.
const cancelEvery = 256

// walker walks live keys in order, each in the version in force at one
// revision. What key and version return is valid until the next call of next.
type walker interface {
	next() bool
	entry() (key []byte, v *version)
	// rest counts the keys that the walk has not come to, and ends it.
	rest() (int64, error)
	err() error
}

// openWalk opens a walk over an interval of a pinned engine at a revision. The
// caller closes it.
func openWalk(ctx context.Context, r pebble.Reader, iv interval, rev int64) (closingWalker, error) {
	if iv.one {
		g, err := openGetter(r)
		if err != nil {
			return nil, err
		}
		return &single{g: g, key: iv.from, rev: rev}, nil
	}
	return openCursor(ctx, r, iv, rev)
}

type closingWalker interface {
	walker
	close() error
}

// single is the walk over one key, which the filters of key prefixes speed up.
type single struct {
	g *getter
	// shared says that the getter is another's to close.
	shared bool
	key    []byte
	rev    int64
	v      version
	fail   error
	done   bool
}

func (s *single) next() bool {
	if s.done {
		return false
	}
	s.done = true
	var found bool
	s.v, found, s.fail = s.g.get(s.key, s.rev)
	return found && s.fail == nil && !s.v.tombstone
}

func (s *single) entry() ([]byte, *version) { return s.key, &s.v }
func (s *single) err() error                { return s.fail }

func (s *single) close() error {
	if s.shared {
		return nil
	}
	return s.g.close()
}

// cursor walks the live keys of an interval as a pinned engine holds them.
type cursor struct {
	ctx  context.Context
	it   *pebble.Iterator
	rev  int64
	key  []byte
	v    version
	seek []byte
	fail error
	// upper is the row at which the interval ends.
	upper []byte

	started bool
	steps   int
}

// openCursor opens a cursor at a revision. The caller closes it.
func openCursor(ctx context.Context, r pebble.Reader, iv interval, rev int64) (*cursor, error) {
	lower, upper := iv.bounds()
	if bytes.Compare(lower, upper) > 0 {
		upper = lower
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("open iterator: %w", err)
	}
	return &cursor{ctx: ctx, it: it, rev: rev, upper: upper}, nil
}

// next moves to the next live key.
func (c *cursor) next() bool {
	if c.fail != nil {
		return false
	}
	valid := false
	if c.started {
		valid = c.it.NextPrefix()
	} else {
		c.started = true
		valid = c.it.First()
	}
	return c.settleFrom(valid)
}

// settleFrom moves to the first live key from where the iterator is, if it is anywhere.
func (c *cursor) settleFrom(valid bool) bool {
	for ; valid; valid = c.it.NextPrefix() {
		found, live := c.settle()
		if c.fail != nil || !found {
			return false
		}
		if live {
			return true
		}
	}
	return false
}

// settle reads the version in force of the key that the iterator is at, or of
// the next one that has any. found is false at the end of the interval, live
// for no tombstone.
func (c *cursor) settle() (found, live bool) {
	for c.it.Valid() {
		if c.steps++; c.steps%cancelEvery == 0 && c.ctx.Err() != nil {
			c.fail = c.ctx.Err()
			return false, false
		}
		var r Revision
		c.key, r, c.fail = parseVersionRow(c.key[:0], c.it.Key())
		if c.fail != nil {
			return false, false
		}
		if r.Main <= c.rev {
			b, err := c.it.ValueAndErr()
			if err != nil {
				c.fail = fmt.Errorf("read version of a key: %w", err)
				return false, false
			}
			c.v, c.fail = parseVersion(r, b)
			return c.fail == nil, c.fail == nil && !c.v.tombstone
		}
		row := c.it.Key()
		c.seek = appendAtMost(append(c.seek[:0], row[:splitRow(row)]...), c.rev)
		c.it.SeekGE(c.seek)
	}
	return false, false
}

func (c *cursor) entry() ([]byte, *version) { return c.key, &c.v }

func (c *cursor) err() error {
	if c.fail != nil {
		return c.fail
	}
	if err := c.it.Error(); err != nil {
		return fmt.Errorf("walk keys: %w", err)
	}
	return nil
}

func (c *cursor) close() error {
	if err := c.it.Close(); err != nil {
		return fmt.Errorf("walk keys: %w", err)
	}
	return nil
}

// getter looks single keys up in a pinned engine.
type getter struct {
	it   *pebble.Iterator
	seek []byte
}

func openGetter(r pebble.Reader) (*getter, error) {
	it, err := r.NewIter(&pebble.IterOptions{
		LowerBound: []byte{tagKey}, UpperBound: []byte{tagKey + 1}, UseL6Filters: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open iterator: %w", err)
	}
	return &getter{it: it}, nil
}

// get finds the newest version of a key at or below a revision, tombstones
// among them. Its value is valid until the next call.
func (g *getter) get(key []byte, rev int64) (v version, found bool, err error) {
	g.seek = appendPrefix(g.seek[:0], key)
	n := len(g.seek)
	g.seek = appendAtMost(g.seek, rev)
	if !g.it.SeekPrefixGE(g.seek) {
		if err := g.it.Error(); err != nil {
			return v, false, fmt.Errorf("look up key: %w", err)
		}
		return v, false, nil
	}
	row := g.it.Key()
	if len(row) != n+suffixLen {
		return v, false, fmt.Errorf("%w: version row %x", errCorruptRow, row)
	}
	b, err := g.it.ValueAndErr()
	if err != nil {
		return v, false, fmt.Errorf("look up key: %w", err)
	}
	v, err = parseVersion(suffixRevision(row[n:]), b)
	return v, err == nil, err
}

// at reads exactly one version, which must be there.
func (g *getter) at(key []byte, r Revision) (version, error) {
	g.seek = appendSuffix(appendPrefix(g.seek[:0], key), r)
	if !g.it.SeekPrefixGE(g.seek) || !bytes.Equal(g.it.Key(), g.seek) {
		if err := g.it.Error(); err != nil {
			return version{}, fmt.Errorf("look up key: %w", err)
		}
		return version{}, fmt.Errorf("%w: no version %d.%d of a key that revision changed", errCorruptRow, r.Main, r.Sub)
	}
	b, err := g.it.ValueAndErr()
	if err != nil {
		return version{}, fmt.Errorf("look up key: %w", err)
	}
	return parseVersion(r, b)
}

func (g *getter) close() error {
	if err := g.it.Close(); err != nil {
		return fmt.Errorf("look up key: %w", err)
	}
	return nil
}
