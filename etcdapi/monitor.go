package etcdapi

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"chainfire"
)

// monitor asks the member for its status from time to time. It counts leader
// changes, remembers whether the member is a learner, so that calls need not
// ask, and ends the streams that require a leader once none was known for long.
type monitor struct {
	member   chainfire.Maintenance
	log      *slog.Logger
	timeout  time.Duration
	patience time.Duration
	streams  *streamSet

	mu      sync.Mutex
	learner bool
	replica bool
	leader  uint64
	changes uint64
	// lastSeen is when a leader was last known.
	lastSeen time.Time
}

func newMonitor(o *Options, streams *streamSet) *monitor {
	return &monitor{
		member: o.Member, log: o.Logger, timeout: o.RequestTimeout, patience: o.NoLeaderTimeout,
		streams: streams, lastSeen: time.Now(),
	}
}

// run asks every interval until the context ends.
func (m *monitor) run(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if _, err := m.status(ctx); err != nil && ctx.Err() == nil {
			m.log.Debug("member has no status", "err", err)
		}
		if m.leaderless() {
			m.streams.end(rpctypes.ErrGRPCNoLeader, func(s *liveStream) bool { return s.needsLeader })
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// status asks the member and takes note of the answer.
func (m *monitor) status(ctx context.Context) (*chainfire.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	st, err := m.member.Status(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learner, m.replica = st.Learner, st.ReadReplica
	if st.Leader != 0 {
		m.lastSeen = time.Now()
		if st.Leader != m.leader {
			m.changes++
		}
	}
	m.leader = st.Leader
	return st, nil
}

// leaderless reports whether no leader was known for longer than patience.
func (m *monitor) leaderless() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.lastSeen) >= m.patience
}

func (m *monitor) leaderChanges() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changes
}

// isReplica reports whether the member was a read replica when it was last asked,
// which isLearner does.
func (m *monitor) isReplica() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.replica
}

// isLearner reports whether the member is a learner. A member that was one when
// it was last asked is asked again, so that none is refused after its promotion.
func (m *monitor) isLearner(ctx context.Context) bool {
	m.mu.Lock()
	learner := m.learner
	m.mu.Unlock()
	if !learner {
		return false
	}
	st, err := m.status(ctx)
	return err != nil || st.Learner
}
