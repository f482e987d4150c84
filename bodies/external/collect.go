package external

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"chainfire/bodies"
	"chainfire/object"
)

// pageLen is how many objects are looked at in one view of the state.
const pageLen = 1000

// Collector deletes extents that nothing refers to any more. Each member has one, and only that of
// the leader does something: two of them at once, while one leader follows another, delete the
// same objects.
type Collector struct {
	Store *Store
	State bodies.State
	// Grace is how long an extent stays that nothing refers to, so that who reads it can
	// finish; Every how often the store is looked through. 0 are those of package bodies.
	Grace, Every time.Duration
	Logger       *slog.Logger

	unwanted bodies.Unwanted
}

// Run collects until the context ends.
func (c *Collector) Run(ctx context.Context) {
	if c.Grace == 0 {
		c.Grace = bodies.DefaultGrace
	}
	if c.Every == 0 {
		c.Every = bodies.DefaultCollectEvery
	}
	t := time.NewTicker(c.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !c.State.Leads() {
			c.unwanted = bodies.Unwanted{}
			continue
		}
		deleted, err := c.Collect(ctx)
		if err != nil && ctx.Err() == nil {
			c.Logger.Warn("collection of extents in the external store failed; it is tried again", "err", err)
		}
		if deleted > 0 {
			c.Logger.Info("extents in the external store were deleted", "extents", deleted)
		}
	}
}

// Collect looks through the store once. It belongs to one goroutine.
func (c *Collector) Collect(ctx context.Context) (deleted int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var page []object.ExtentID
	flush := func() error {
		n, err := c.page(ctx, page)
		deleted, page = deleted+n, page[:0]
		return err
	}
	for o := range c.Store.client.ListObjectsIter(ctx, c.Store.o.Bucket, minio.ListObjectsOptions{Prefix: c.Store.root, Recursive: true}) {
		if o.Err != nil {
			return deleted, fmt.Errorf("list bucket %s: %w", c.Store.o.Bucket, o.Err)
		}
		id, ok := parseName(strings.TrimPrefix(o.Key, c.Store.root))
		if !ok {
			continue // not of an extent
		}
		if page = append(page, id); len(page) == pageLen {
			if err := flush(); err != nil {
				return deleted, err
			}
		}
	}
	if err := flush(); err != nil {
		return deleted, err
	}
	c.unwanted.Looked()
	return deleted, nil
}

// page deletes what was not wanted for long enough.
func (c *Collector) page(ctx context.Context, ids []object.ExtentID) (deleted int, err error) {
	wanted, err := bodies.Wanted(ctx, c.State, ids)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if keep, known := wanted[id.Body]; keep || !known || !c.unwanted.Over(id.Body, c.Grace) {
			continue
		}
		if err := c.Store.remove(ctx, c.Store.name(id)); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}

// parseName reads what Store.name wrote behind the root.
func parseName(name string) (id object.ExtentID, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || len(parts[0]) != 16 || len(parts[1]) != 8 || len(parts[2]) != 8 {
		return id, false
	}
	lease, err := strconv.ParseUint(parts[0], 16, 64)
	if err != nil {
		return id, false
	}
	body, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		return id, false
	}
	n, err := strconv.ParseUint(parts[2], 16, 32)
	if err != nil {
		return id, false
	}
	return object.ExtentID{Body: object.BodyID{Lease: lease, N: uint32(body)}, N: uint32(n)}, true
}
