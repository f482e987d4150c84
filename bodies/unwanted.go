package bodies

import (
	"context"
	"errors"
	"time"

	"chainfire/object"
)

// maxWaiting is how many bodies may wait at once for their grace to be over; more wait for a later look.
const maxWaiting = 100_000

// Unwanted remembers since when bodies are not wanted, over many looks through all extents of a store,
// so that who reads a body can finish before its bytes go. The zero value remembers none. It belongs to
// one goroutine.
type Unwanted struct {
	// since is when a body was first seen not to be wanted, which it never is again; seen are
	// those of this look.
	since map[object.BodyID]time.Time
	seen  map[object.BodyID]bool
}

// Over reports whether a body, which is not wanted, was not for the grace. What cannot be remembered
// waits.
func (u *Unwanted) Over(id object.BodyID, grace time.Duration) bool {
	if u.since == nil {
		u.since, u.seen = map[object.BodyID]time.Time{}, map[object.BodyID]bool{}
	}
	since, found := u.since[id]
	if !found {
		if len(u.since) < maxWaiting {
			u.since[id], u.seen[id] = time.Now(), true
		}
		return false
	}
	u.seen[id] = true
	return time.Since(since) >= grace
}

// Looked says that a look came to its end: bodies that it did not ask for are gone, and forgotten.
func (u *Unwanted) Looked() {
	for id := range u.since {
		if !u.seen[id] {
			delete(u.since, id)
		}
	}
	clear(u.seen)
}

// Wanted says of each body of some extents whether it must be kept, but of those whose lease may be
// opened behind what is applied here.
func Wanted(ctx context.Context, s State, ids []object.ExtentID) (map[object.BodyID]bool, error) {
	wanted := map[object.BodyID]bool{}
	applied := s.Applied()
	err := view(ctx, s, func(v *object.View) error {
		for _, id := range ids {
			if _, done := wanted[id.Body]; done || id.Body.Lease > applied {
				continue
			}
			keep, err := v.Wanted(id.Body)
			if err != nil {
				return err
			}
			wanted[id.Body] = keep
		}
		return nil
	})
	return wanted, err
}

// view pins the state for f.
func view(ctx context.Context, s State, f func(*object.View) error) error {
	v, err := s.Local(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(v), v.Close())
}
