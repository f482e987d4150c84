package etcdapi

import (
	"context"
	"maps"
	"slices"

	"chainfire"
)

// fakeTTL is the least that the fake grants, and what it says is left of every lease
// less one.
const fakeTTL = 2

func (f *fakeMember) LeaseGrant(ctx context.Context, r *chainfire.LeaseGrantRequest) (*chainfire.LeaseGrantResponse, error) {
	if err := f.enter(ctx, "LeaseGrant"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.ID
	if id == 0 {
		id = int64(len(f.leases)) + 1000
	}
	if _, ok := f.leases[id]; ok {
		return nil, chainfire.ErrLeaseExists
	}
	f.leases[id] = max(r.TTL, fakeTTL)
	return &chainfire.LeaseGrantResponse{Header: f.header(f.rev), ID: id, TTL: f.leases[id]}, nil
}

func (f *fakeMember) LeaseRevoke(ctx context.Context, id int64) (*chainfire.LeaseRevokeResponse, error) {
	if err := f.enter(ctx, "LeaseRevoke"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.leases[id]; !ok {
		return nil, chainfire.ErrLeaseNotFound
	}
	delete(f.leases, id)
	return &chainfire.LeaseRevokeResponse{Header: f.header(f.rev)}, nil
}

// LeaseRenew moves the revision on: whoever answers with a header from after the
// renewal shows another than one from before it.
func (f *fakeMember) LeaseRenew(ctx context.Context, id int64) (int64, error) {
	if err := f.enter(ctx, "LeaseRenew"); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rev++
	if ttl, ok := f.leases[id]; ok {
		return ttl, nil
	}
	return 0, chainfire.ErrLeaseNotFound
}

func (f *fakeMember) LeaseTimeToLive(ctx context.Context, id int64, keys bool) (*chainfire.LeaseTimeToLive, error) {
	if err := f.enter(ctx, "LeaseTimeToLive"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ttl, ok := f.leases[id]
	if !ok {
		return nil, chainfire.ErrLeaseNotFound
	}
	out := &chainfire.LeaseTimeToLive{Header: f.header(f.rev), TTL: ttl - 1, GrantedTTL: ttl}
	if keys {
		out.Keys = [][]byte{[]byte("k")}
	}
	return out, nil
}

func (f *fakeMember) LeaseList(ctx context.Context) (*chainfire.LeaseList, error) {
	if err := f.enter(ctx, "LeaseList"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &chainfire.LeaseList{Header: f.header(f.rev), IDs: slices.Sorted(maps.Keys(f.leases))}, nil
}

func (f *fakeMember) Counts() chainfire.Counts {
	return chainfire.Counts{
		ProposalsPending: 5, ProposalsFailed: 6,
		LogSyncs:     chainfire.Histogram{Counts: map[float64]uint64{0.001: 7, 0.002: 8}, Count: 9, Sum: 0.5},
		Leases:       chainfire.LeaseCounts{Granted: 4, Revoked: 3, Renewed: 2, Expired: 1},
		StoreFlushes: chainfire.Histogram{Counts: map[float64]uint64{0.256: 3}, Count: 4, Sum: 2},
		SlowApplies:  8, HeartbeatsLate: 9, SlowReadIndexes: 10, FailedReadIndexes: 11, Restoring: true,
		Promoted: 12, PromotionsFailed: map[string]uint64{"not ready": 13},
		Store: chainfire.StoreCounts{
			Puts: 14, Deletes: 15, Ranges: 16, Txns: 17, CompactRevision: 18, Dropped: 19, LastCompaction: 20, WatchStreams: 21, Watches: 22,
			Compactions: chainfire.Histogram{Counts: map[float64]uint64{0.1: 23}, Count: 24, Sum: 1.5},
			Read:        chainfire.Histogram{Count: 25}, ReadFailed: chainfire.Histogram{Count: 26},
		},
		Bodies: chainfire.BodyCounts{
			Extents: 41, LiveBytes: 42, FileBytes: 43, Damaged: 44, MissingExtents: 45, BytesPerSecond: 53, Corrupt: 46, Repaired: 47,
			RepairedBytes: 48, Collected: 49, RemoteReads: 50, FailedReads: 51, ScrubbedBytes: 52,
		},
		Peers: []chainfire.PeerCounts{{
			ID: 0xab, Connected: true, Disconnects: 27, SentBytes: 28, ReceivedBytes: 29, SendFailures: 30, ReceiveFailures: 31,
			RoundTrips: chainfire.Histogram{Counts: map[float64]uint64{0.0001: 32}, Count: 33, Sum: 1},
		}},
	}
}
