package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
)

// first runs a call on one member after the other until one answers for good. A
// call that changes something is not put to a second member once it may have been
// carried out.
func (c *Client) first(ctx context.Context, call func(context.Context, api.ClusterClient) error) error {
	return c.try(ctx, func(ctx context.Context, m member) error { return call(ctx, api.NewClusterClient(m.conn)) })
}

// try is first for any service.
func (c *Client) try(ctx context.Context, call func(context.Context, member) error) error {
	var tried []error
	for i := range c.members {
		err := call(ctx, c.members[i])
		if err == nil {
			return nil
		}
		tried = append(tried, &refusal{c.members[i].endpoint, err})
		if status.Code(err) != codes.Unavailable {
			break
		}
	}
	return errors.Join(tried...)
}

// CreateToken makes a join token that lets in so many members, 0 being any number,
// for a time, 0 being without an end. Its text is in the answer this once.
func (c *Client) CreateToken(ctx context.Context, ttl time.Duration, uses uint64) (*api.CreateTokenResponse, error) {
	var out *api.CreateTokenResponse
	err := c.first(ctx, func(ctx context.Context, m api.ClusterClient) (err error) {
		out, err = m.CreateToken(ctx, &api.CreateTokenRequest{TtlSeconds: int64(ttl / time.Second), Uses: uses})
		return err
	})
	return out, err
}

// Tokens lists the join tokens that are still good, without their secrets.
func (c *Client) Tokens(ctx context.Context) ([]*api.Token, error) {
	var out *api.ListTokensResponse
	err := c.first(ctx, func(ctx context.Context, m api.ClusterClient) (err error) {
		out, err = m.ListTokens(ctx, &api.ListTokensRequest{})
		return err
	})
	return out.GetTokens(), err
}

// RevokeToken makes a join token useless.
func (c *Client) RevokeToken(ctx context.Context, id uint64) error {
	return c.first(ctx, func(ctx context.Context, m api.ClusterClient) error {
		_, err := m.RevokeToken(ctx, &api.RevokeTokenRequest{Id: id})
		return err
	})
}
