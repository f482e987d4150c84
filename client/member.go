package client

import (
	"context"

	"chainfire/api"
)

// AddMember keeps a place for a member that runs nowhere yet: a learner, or a voter,
// which counts at once. Addresses are HOST:PORT or URLs; name and client URLs may be
// empty. The answer says what to start there.
func (c *Client) AddMember(ctx context.Context, q *api.AddMemberRequest) (*api.AddMemberResponse, error) {
	var out *api.AddMemberResponse
	err := c.first(ctx, func(ctx context.Context, m api.ClusterClient) (err error) {
		out, err = m.AddMember(ctx, q)
		return err
	})
	return out, err
}

// RemoveMember takes a member out for good, by its id or name. Unless force is set,
// the leader refuses where the voters that would be left have no majority that is up.
func (c *Client) RemoveMember(ctx context.Context, who string, force bool) (*api.RemoveMemberResponse, error) {
	var out *api.RemoveMemberResponse
	err := c.first(ctx, func(ctx context.Context, m api.ClusterClient) (err error) {
		out, err = m.RemoveMember(ctx, &api.RemoveMemberRequest{Member: who, Force: force})
		return err
	})
	return out, err
}

// ReplaceMember lets a learner that has caught up, the one named or with "" any, take
// the place of a voter, which is removed for good. An answer without By says that
// nobody was fit and that nothing has changed.
func (c *Client) ReplaceMember(ctx context.Context, who, by string) (*api.ReplaceMemberResponse, error) {
	var out *api.ReplaceMemberResponse
	err := c.first(ctx, func(ctx context.Context, m api.ClusterClient) (err error) {
		out, err = m.ReplaceMember(ctx, &api.ReplaceMemberRequest{Member: who, By: by})
		return err
	})
	return out, err
}
