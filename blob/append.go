package blob

import (
	"context"
	"errors"
	"fmt"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/object"
)

// Put appends an extent of 1 to object.MaxExtent bytes, whose CRC-32C is crc, or returns
// ErrChecksum. It does not wait for the disk: Sync does. An extent that is there with the same
// checksum is left alone; with another it is ErrConflict.
//
// Where the disk is full, or nearly, it returns an error that wraps chainfire.ErrNoRoom, nothing
// was put, and the store goes on. Any other failed write ends the store.
func (s *Store) Put(ctx context.Context, id object.ExtentID, data []byte, crc uint32) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.users.Done()
	if len(data) == 0 || len(data) > object.MaxExtent {
		return fmt.Errorf("put extent %v of %d bytes: %w", id, len(data), ErrRange)
	}
	r := newExtent(id, data)
	if r.crc != crc {
		return fmt.Errorf("put extent %v: %w", id, ErrChecksum)
	}
	if there, err := s.there(&r); there || err != nil {
		return err
	}
	if err := s.take(ctx, s.appending); err != nil {
		return fmt.Errorf("put extent %v: %w", id, err)
	}
	defer func() { <-s.appending }()
	// Who had the token may have put the same.
	if there, err := s.there(&r); there || err != nil {
		return err
	}
	if err := s.room(r.size()); err != nil {
		return err
	}
	_, err := s.append(ctx, r, data, true)
	return err
}

// there reports whether an extent need not be put.
func (s *Store) there(r *record) (bool, error) {
	p, found, err := s.lookup(r.id)
	if err != nil || !found {
		return false, err
	}
	if p.length != r.length || p.crc != r.crc {
		return false, fmt.Errorf("put extent %v: %w", r.id, ErrConflict)
	}
	return true, nil
}

// append writes an extent after what is there. A fresh one becomes the store's with the next
// sync. The caller is the appender.
func (s *Store) append(ctx context.Context, r record, data []byte, fresh bool) (place, error) {
	if err := s.failure(); err != nil {
		return place{}, err
	}
	most := s.opts.UnsyncedBytes
	if fresh && s.opts.Yield != nil && s.opts.Yield() {
		most = min(most, YieldBytes)
	}
	s.mu.Lock()
	wait := s.unsynced > 0 && s.unsynced+r.size() > most
	s.mu.Unlock()
	if wait {
		if err := s.sync(ctx); err != nil {
			return place{}, err
		}
	}
	if g := s.active; g == nil || g.end > segmentHeaderBytes && g.end+r.size()+recordHeaderBytes > s.opts.SegmentBytes {
		if err := s.roll(); err != nil {
			return place{}, err
		}
	}
	g := s.active
	at := place{segment: g.id, offset: g.end, length: r.length, crc: r.crc}
	if err := s.write(g, r, data); err != nil {
		return place{}, err
	}
	if fresh {
		s.mu.Lock()
		defer s.mu.Unlock()
		q := queued{r.id, pending{s.seq, at}}
		s.pending[r.id] = q.pending
		s.queue = append(s.queue, q)
	}
	return at, nil
}

// write puts one record at the end of a segment. Where the disk is full the segment is as it was:
// what was written of the record lies behind its end. The caller is the appender.
func (s *Store) write(g *segment, r record, data []byte) error {
	if err := s.failure(); err != nil {
		return err
	}
	s.mu.Lock()
	r.durable = g.synced
	s.mu.Unlock()
	b := r.appendTo(s.buf[:0], g.seed, g.id, g.end)
	b = append(b, data...)
	s.buf = b
	f, err := s.files.get(g.id)
	if err == nil {
		err = s.writeSteps(f, b, g.end)
		s.files.put(f)
	}
	if err != nil {
		path := s.segmentPath(g.id)
		if noRoom(err) {
			return fmt.Errorf("write %d bytes to %s at %d: %w: %w", len(b), path, g.end, chainfire.ErrNoRoom, err)
		}
		return s.fail(fmt.Errorf("write %d bytes to %s at %d: %w", len(b), path, g.end, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.end += int64(len(b))
	s.unsynced += int64(len(b))
	if r.kind != kindSeal { // for which alone nobody is to wait
		s.seq++
	}
	return nil
}

// writeSteps writes bytes to a file, with a breath between its steps.
func (s *Store) writeSteps(f disk.File, b []byte, off int64) error {
	step := len(b)
	if s.opts.Breathe != nil {
		step = stepBytes
	}
	for at := 0; at < len(b); at += step {
		if at > 0 {
			s.opts.Breathe()
		}
		if _, err := f.WriteAt(b[at:min(len(b), at+step)], off+int64(at)); err != nil {
			return err
		}
	}
	return nil
}

// Sync returns once everything put before the call is on disk. Who calls it while a sync runs
// shares the next one with all who do. A failed sync ends the store.
func (s *Store) Sync(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.users.Done()
	return s.sync(ctx)
}

func (s *Store) sync(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for target := s.seq; ; {
		switch {
		case s.failed != nil:
			return s.failed
		case s.synced >= target:
			return nil
		case s.round == nil:
			if err := s.lead(); err != nil {
				return err
			}
		default:
			r := s.round
			s.mu.Unlock()
			select {
			case <-r.done:
			case <-ctx.Done():
			}
			s.mu.Lock()
			if err := ctx.Err(); err != nil && s.synced < target {
				return fmt.Errorf("wait for the sync of extents: %w", err)
			}
		}
	}
}

// syncAll syncs all that was written. The caller is the appender, so that nothing comes after.
func (s *Store) syncAll() error { return s.sync(context.Background()) }

// lead does one sync for all that is written now. mu is held, and given up meanwhile.
func (s *Store) lead() error {
	r := &round{done: make(chan struct{})}
	s.round = r
	// Only the active segment has what is not on disk.
	g, end, seq, bytes := s.active, s.active.end, s.seq, s.unsynced
	s.mu.Unlock()
	err := s.syncSegment(g)
	s.mu.Lock()
	if err == nil {
		g.synced = end
		s.unsynced -= bytes
		s.mu.Unlock()
		if err = s.publish(seq, position{g.id, end}); err == nil {
			err = s.prove(g)
		}
		s.mu.Lock()
	}
	if err == nil {
		s.synced = seq
	}
	s.round = nil
	close(r.done)
	return err
}

// prove marks, after a sync, that all of the active segment is on disk: else what rots at its end
// would, after a kill, look like a write that was cut short. Where more was appended meanwhile, or
// somebody is about to, the mark comes after the next sync.
func (s *Store) prove(g *segment) error {
	select {
	case s.appending <- struct{}{}:
	default:
		return nil // who is in may wait for this very sync
	}
	defer func() { <-s.appending }()
	return s.mark(g)
}

// mark writes a seal behind what is on disk, if that is all there is and there is none yet. It is
// not waited for: the next sync takes it along, and a killed process leaves it. The caller is the
// appender.
func (s *Store) mark(g *segment) error {
	if g != s.active || g.end != g.synced || g.end == g.sealed || g.end == segmentHeaderBytes {
		return nil
	}
	if err := s.write(g, record{kind: kindSeal}, nil); err != nil {
		if errors.Is(err, chainfire.ErrNoRoom) {
			return nil // only a proof is missing
		}
		return err
	}
	g.sealed = g.end
	return nil
}

func (s *Store) syncSegment(g *segment) error {
	f, err := s.files.get(g.id)
	if err == nil {
		err = f.SyncData()
		s.files.put(f)
	}
	if err != nil {
		return s.fail(fmt.Errorf("sync %s: %w", s.segmentPath(g.id), err))
	}
	return nil
}

// publish puts into the index what is on disk up to a number, and that the index knows the
// segments up to a position.
func (s *Store) publish(seq uint64, known position) error {
	s.indexing.Lock()
	defer s.indexing.Unlock()
	s.mu.Lock()
	n := 0
	for n < len(s.queue) && s.queue[n].seq <= seq {
		n++
	}
	ready := s.queue[:n:n]
	s.mu.Unlock()
	c := s.newChange()
	for _, q := range ready {
		s.mu.Lock()
		p, still := s.pending[q.id]
		s.mu.Unlock()
		if !still || p != q.pending {
			continue // deleted meanwhile
		}
		if err := c.set(q.id, q.at); err != nil {
			return errors.Join(s.indexFailed(err), c.discard())
		}
	}
	if err := c.commit(&known); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range ready {
		if p, still := s.pending[q.id]; still && p == q.pending {
			delete(s.pending, q.id)
		}
	}
	s.queue = append([]queued(nil), s.queue[n:]...)
	return nil
}
