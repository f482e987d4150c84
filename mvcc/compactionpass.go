package mvcc

import (
	"time"

	"github.com/dustin/go-humanize"
)

// Compaction is what one pass of the compactor did.
type Compaction struct {
	// Revision is the one that it came to.
	Revision int64
	// Dropped are the versions and tombstones that it deleted.
	Dropped uint64
	// Took is how long it was at it, with the writes that slipped in between.
	Took time.Duration
}

// pass is the work of the compactor from where there was something to do until there is
// nothing left. It is the compactor's own.
type pass struct {
	began   time.Time
	dropped uint64
}

func (p *pass) start() {
	if p.began.IsZero() {
		p.began = time.Now()
	}
}

// finish tells what was done. In simulation nothing is told: how long it took differs from
// one run to the next.
func (p *pass) finish(s *Store, reached int64) {
	done := Compaction{Revision: reached, Dropped: p.dropped, Took: time.Since(p.began)}
	*p = pass{}
	if s.opts.Still {
		return
	}
	if s.opts.Compacted != nil {
		s.opts.Compacted(done)
	}
	u, err := s.DiskUsage()
	if err != nil {
		return // the store is closed
	}
	s.opts.Logger.Info("compaction was finished", "revision", done.Revision, "took", done.Took, "keys", done.Dropped,
		"bytes", u.DiskBytes, "size", humanize.Bytes(uint64(max(u.DiskBytes, 0))),
		"live_bytes", u.LiveBytes, "live", humanize.Bytes(uint64(max(u.LiveBytes, 0))))
}
