package blob

import (
	"context"
	"errors"
	"fmt"

	"chainfire/internal/disk"
	"chainfire/object"
)

// distrustName is the file that says that the index is to be made anew.
const distrustName = "index.damaged"

// distrust has the next Open make the index anew.
func (s *Store) distrust() error {
	return disk.WriteFileAtomic(s.fs, s.fs.PathJoin(s.opts.Dir, distrustName), []byte("the index is to be made anew\n"))
}

// damage notes that an extent was found damaged at a place: it is not there any more, and its
// segment is kept until it is there again or deleted.
func (s *Store) damage(id object.ExtentID, at place, bad *CorruptError) error {
	lost, err := s.noteDamage(id, at)
	if err != nil || !lost {
		return err
	}
	s.opts.Logger.Error("an extent is damaged", "file", bad.File, "offset", bad.Offset, "reason", bad.Reason,
		"lease", id.Body.Lease, "body", id.Body.N, "extent", id.N)
	if s.opts.Corrupt != nil {
		s.opts.Corrupt(id, bad)
	}
	return nil
}

func (s *Store) noteDamage(id object.ExtentID, at place) (bool, error) {
	s.indexing.Lock()
	defer s.indexing.Unlock()
	s.mu.Lock()
	p, unsynced := s.pending[id]
	if unsynced && p.at == at {
		delete(s.pending, id)
	}
	s.mu.Unlock()
	c := s.newChange()
	now, err := c.place(id)
	if err == nil && !unsynced && (now == nil || *now != at) {
		return false, c.discard() // it is elsewhere by now, or was deleted
	}
	if err == nil {
		err = c.damaged(id, at)
	}
	if err != nil {
		return false, errors.Join(s.indexFailed(err), c.discard())
	}
	return true, c.commit(nil)
}

// damageAt notes that a stretch of a segment is damaged, without knowing what it held.
func (s *Store) damageAt(g *segment, from, to int64, reason string) (*CorruptError, error) {
	bad := &CorruptError{File: s.segmentPath(g.id), Offset: from, Reason: reason}
	s.opts.Logger.Error("a segment is damaged", "file", bad.File, "offset", from, "to", to, "reason", reason)
	s.indexing.Lock()
	defer s.indexing.Unlock()
	c := s.newChange()
	if err := c.damagedAt(position{g.id, from}, to); err != nil {
		return bad, errors.Join(s.indexFailed(err), c.discard())
	}
	return bad, c.commit(nil)
}

// damage is what a store keeps a segment for: of an extent that is neither there again nor deleted, or of
// a stretch that is not settled.
type damage struct {
	at position
	// extent is what is lost; known is false where that cannot be told.
	extent object.ExtentID
	known  bool
}

// eachDamage calls f with each damage, until it returns false.
func (s *Store) eachDamage(f func(d damage) bool) error {
	more := true
	err := s.index.walk(rowDamage, []byte{rowDamage}, func(row, value []byte) (bool, error) {
		id, err := parseExtent(row)
		if err != nil {
			return false, err
		}
		p, err := parsePlace(value)
		if err != nil {
			return false, err
		}
		more = f(damage{at: position{p.segment, p.offset}, extent: id, known: true})
		return more, nil
	})
	if err != nil || !more {
		return err
	}
	return s.index.walk(rowUnknown, []byte{rowUnknown}, func(row, _ []byte) (bool, error) {
		v, err := parseNumbers(row[1:], 2)
		if err != nil {
			return false, err
		}
		return f(damage{at: position{v[0], int64(v[1])}}), nil
	})
}

// Settle says that every extent that this member is to have is there, so that nothing is missed of
// what a damaged stretch may have held: compaction may remove its segment.
func (s *Store) Settle(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.users.Done()
	s.mu.Lock()
	n := s.lostUnknown
	s.mu.Unlock()
	if n == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	s.indexing.Lock()
	defer s.indexing.Unlock()
	c := s.newChange()
	err := s.index.walk(rowUnknown, []byte{rowUnknown}, func(row, _ []byte) (bool, error) {
		c.lost--
		c.unknown--
		return true, c.b.Delete(append([]byte(nil), row...), nil)
	})
	if err != nil {
		return errors.Join(s.indexFailed(err), c.discard())
	}
	if err := c.commit(nil); err != nil {
		return fmt.Errorf("settle damage: %w", err)
	}
	return nil
}
