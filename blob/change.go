package blob

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"chainfire/object"
)

// change is one change of the index, with the counts of the segments in step. It belongs to who
// holds Store.indexing, from newChange to commit or discard.
type change struct {
	s *Store
	b *pebble.Batch
	// now is where the extents of this change are after it, as far as it says; a nil place
	// is nowhere.
	now    map[object.ExtentID]*place
	counts map[uint64]count
	// lost and unknown are what is added to the counts of damage.
	lost, unknown int
}

type count struct{ live, records int64 }

func (s *Store) newChange() *change {
	return &change{s: s, b: s.index.db.NewBatch(), now: map[object.ExtentID]*place{}, counts: map[uint64]count{}}
}

func (c *change) discard() error { return c.b.Close() }

// place is where an extent is after the change so far.
func (c *change) place(id object.ExtentID) (*place, error) {
	if p, ok := c.now[id]; ok {
		return p, nil
	}
	p, found, err := c.s.index.place(id)
	if err != nil || !found {
		return nil, err
	}
	return &p, nil
}

func (c *change) count(p place, sign int64) {
	n := c.counts[p.segment]
	n.live += sign * p.size()
	n.records += sign
	c.counts[p.segment] = n
}

// set says where an extent is.
func (c *change) set(id object.ExtentID, p place) error {
	old, err := c.place(id)
	if err != nil {
		return err
	}
	if old != nil {
		c.count(*old, -1)
	}
	c.count(p, 1)
	c.now[id] = &p
	if err := c.b.Set(extentRow(rowExtent, id), p.encode(), nil); err != nil {
		return err
	}
	return c.healed(id)
}

// drop says that an extent is nowhere.
func (c *change) drop(id object.ExtentID) error {
	old, err := c.place(id)
	if err != nil || old == nil {
		return err
	}
	c.count(*old, -1)
	c.now[id] = nil
	return c.b.Delete(extentRow(rowExtent, id), nil)
}

// healed takes back that an extent was damaged.
func (c *change) healed(id object.ExtentID) error {
	c.s.mu.Lock()
	lost := c.s.lost + c.lost
	c.s.mu.Unlock()
	if lost == 0 {
		return nil // there is no such row, and so no need to look
	}
	row := extentRow(rowDamage, id)
	_, found, err := c.s.index.get(row)
	if err != nil || !found {
		return err
	}
	c.lost--
	return c.b.Delete(row, nil)
}

// damaged says that an extent was found damaged where it is.
func (c *change) damaged(id object.ExtentID, p place) error {
	if err := c.drop(id); err != nil {
		return err
	}
	c.lost++
	return c.b.Set(extentRow(rowDamage, id), p.encode(), nil)
}

// damagedAt says that a stretch of a segment is damaged, whatever it held.
func (c *change) damagedAt(p position, to int64) error {
	row := unknownRow(p)
	_, found, err := c.s.index.get(row)
	if err != nil || found {
		return err
	}
	c.lost++
	c.unknown++
	return c.b.Set(row, numbers(uint64(to)), nil)
}

// commit writes the change, together with the row of the whole index unless known is nil. A
// failure ends the store.
func (c *change) commit(known *position) error {
	s := c.s
	if known != nil {
		m := meta{salt: s.salt, known: *known}
		if err := c.b.Set([]byte{rowMeta}, m.encode(), nil); err != nil {
			return s.indexFailed(err)
		}
		if _, ok := c.counts[known.segment]; !ok {
			c.counts[known.segment] = count{}
		}
	}
	s.mu.Lock()
	for id, n := range c.counts {
		g := s.segments[id]
		if g == nil {
			continue // its file is gone
		}
		if err := c.b.Set(segmentRow(id), numbers(uint64(g.end), uint64(g.live+n.live), uint64(g.records+n.records)), nil); err != nil {
			s.mu.Unlock()
			return s.indexFailed(err)
		}
	}
	s.mu.Unlock()
	if err := c.b.Commit(pebble.NoSync); err != nil {
		return s.indexFailed(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range c.counts {
		if g := s.segments[id]; g != nil {
			g.live += n.live
			g.records += n.records
		}
	}
	s.lost += c.lost
	s.lostUnknown += c.unknown
	return c.b.Close()
}

// indexFailed ends the store because of its index. One that is damaged is made anew by the next
// Open.
func (s *Store) indexFailed(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrFailed) {
		return err
	}
	if errors.Is(err, errIndex) || pebble.IsCorruptionError(err) {
		err = errors.Join(err, s.distrust())
	}
	return s.fail(fmt.Errorf("change the index: %w", err))
}
