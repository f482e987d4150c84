package etcdapi

import (
	"context"
	"slices"

	"chainfire"
)

func (f *fakeMember) change(added *chainfire.MemberInfo) *chainfire.MemberChange {
	return &chainfire.MemberChange{Header: f.header(f.rev), Member: added, Members: slices.Clone(f.members)}
}

func (f *fakeMember) MemberAdd(ctx context.Context, r *chainfire.MemberAddRequest) (*chainfire.MemberChange, error) {
	if err := f.enter(ctx, "MemberAdd"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := chainfire.MemberInfo{ID: uint64(100 + len(f.members)), PeerURLs: r.PeerURLs, Learner: r.Learner}
	f.members = append(f.members, m)
	return f.change(&m), nil
}

// find runs a change of one member's entry.
func (f *fakeMember) find(ctx context.Context, call string, id uint64, change func(i int)) (*chainfire.MemberChange, error) {
	if err := f.enter(ctx, call); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.members {
		if f.members[i].ID == id {
			change(i)
			return f.change(nil), nil
		}
	}
	return nil, chainfire.ErrMemberNotFound
}

func (f *fakeMember) MemberRemove(ctx context.Context, id uint64) (*chainfire.MemberChange, error) {
	return f.find(ctx, "MemberRemove", id, func(i int) { f.members = slices.Delete(f.members, i, i+1) })
}

func (f *fakeMember) MemberUpdate(ctx context.Context, id uint64, urls []string) (*chainfire.MemberChange, error) {
	return f.find(ctx, "MemberUpdate", id, func(i int) { f.members[i].PeerURLs = urls })
}

func (f *fakeMember) MemberPromote(ctx context.Context, id uint64) (*chainfire.MemberChange, error) {
	return f.find(ctx, "MemberPromote", id, func(i int) { f.members[i].Learner = false })
}

func (f *fakeMember) Members(ctx context.Context, linearizable bool) (*chainfire.MemberChange, error) {
	call := "Members"
	if linearizable {
		call = "MembersLinearizable"
	}
	if err := f.enter(ctx, call); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.change(nil), nil
}

func (f *fakeMember) Status(ctx context.Context) (*chainfire.Status, error) {
	if err := f.enter(ctx, "Status"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &chainfire.Status{
		Header: f.header(f.rev), Version: "0.9.1", Leader: f.leader, Learner: f.learner,
		RaftIndex: 30, CommitIndex: 20, AppliedIndex: 10, StoreBytes: 4096, LiveBytes: 1024,
		Errors: []string{"disk is slow"},
	}, nil
}

func (f *fakeMember) MoveLeader(ctx context.Context, target uint64) error {
	if err := f.enter(ctx, "MoveLeader"); err != nil {
		return err
	}
	f.set(func() { f.leader = target })
	return nil
}

func (f *fakeMember) Health(ctx context.Context, linearizable bool) error {
	if err := f.enter(ctx, "Health"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leader == 0 {
		return chainfire.ErrNoLeader
	}
	return nil
}

func (f *fakeMember) ClusterStatus(context.Context) (*chainfire.ClusterStatus, error) {
	return nil, chainfire.ErrNoLeader
}
