package mvcc

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
)

// FlushedIndex is the applied index that a crash of the machine at this moment
// would keep. It never claims more than what is durable, and never goes back
// while the store is open. Any goroutine.
func (s *Store) FlushedIndex() uint64 {
	s.mu.Lock()
	e := s.eng
	s.mu.Unlock()
	return e.flushed.Load()
}

// Flush makes everything applied before the call durable. Writes go on
// meanwhile. Any goroutine.
func (s *Store) Flush(ctx context.Context) error {
	e, _, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(e)
	return s.flush(ctx, e)
}

// BeginFlush makes what was applied before the call durable, and does not wait for it. In simulation
// (Still) it does nothing: whoever runs that flushes. Any goroutine.
func (s *Store) BeginFlush() error {
	if s.opts.Still {
		return nil
	}
	e, _, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(e)
	if _, err := e.db.AsyncFlush(); err != nil {
		return s.fail.set(fmt.Errorf("flush store: %w", err))
	}
	return nil
}

func (s *Store) flush(ctx context.Context, e *engine) error {
	done, err := e.db.AsyncFlush()
	if err != nil {
		return s.fail.set(fmt.Errorf("flush store: %w", err))
	}
	select {
	case <-done:
		return s.noteFlushed(e)
	case <-s.fail.failed:
		return s.fail.get()
	case <-s.stop:
		return chainfire.ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flushEngine flushes an engine with no limit in time but failure.
func (s *Store) flushEngine(e *engine) error {
	done, err := e.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-s.fail.failed:
		return s.fail.get()
	}
}

// watchFlushes follows the flushes of an engine until it is closed.
func (s *Store) watchFlushes(e *engine) {
	if s.opts.Still {
		return // whoever flushes takes note
	}
	e.watching.Add(1)
	go func() {
		defer e.watching.Done()
		for {
			select {
			case <-e.stop:
				return
			case <-e.flushes:
				if err := s.noteFlushed(e); err != nil {
					_ = s.fail.set(err) // kept as the first error
					return
				}
			}
		}
	}()
}

// noteFlushed reads how far the durable part of an engine reaches.
func (s *Store) noteFlushed(e *engine) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	st, err := e.state(true)
	if err != nil {
		return fmt.Errorf("read flushed state: %w", err)
	}
	if st.Applied <= e.flushed.Load() {
		return nil
	}
	e.flushed.Store(st.Applied)
	if s.opts.Flushed != nil {
		s.opts.Flushed(st.Applied)
	}
	return nil
}

// commit applies a batch without waiting for the disk.
func (s *Store) commit(e *engine, b *pebble.Batch) error {
	if err := s.fail.get(); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := e.db.Apply(b, pebble.NoSync); err != nil {
		return s.fail.set(fmt.Errorf("write store: %w", err))
	}
	if err := s.fail.get(); err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return s.fail.set(fmt.Errorf("write store: %w", err))
	}
	return nil
}
