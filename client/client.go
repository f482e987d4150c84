// Package client is a small Go client for what etcd's client has no call for:
// the state of a ChainFire cluster as its leader sees it. For keys, watches and
// membership use go.etcd.io/etcd/client/v3 on the same addresses.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
)

// ErrNoEndpoints says that a client was made without an address.
var ErrNoEndpoints = errors.New("no endpoint given: name the client address of a member, as 127.0.0.1:2379")

// Client asks the members of one cluster. Its methods may be called from any
// goroutine.
type Client struct {
	members []member
}

type member struct {
	endpoint string
	conn     *grpc.ClientConn
}

// New makes a client for members' client addresses, HOST:PORT or
// http://HOST:PORT. It connects when it is first used. The caller closes it.
func New(endpoints ...string) (*Client, error) { return NewWith(Options{}, endpoints...) }

// Options say how members are spoken to. The zero value is without TLS, by nobody.
type Options struct {
	// TLS is for members that speak it to their clients: each must prove to be its host,
	// unless it names another.
	TLS *tls.Config
	// User and Password are who asks, in a cluster with users.
	User, Password string
}

// NewWith is New with options. With TLS the addresses are HOST:PORT or
// https://HOST:PORT.
func NewWith(o Options, endpoints ...string) (*Client, error) {
	scheme, creds := "http://", insecure.NewCredentials()
	if o.TLS != nil {
		scheme, creds = "https://", credentials.NewTLS(o.TLS)
	}
	if len(endpoints) == 0 {
		return nil, ErrNoEndpoints
	}
	c := &Client{}
	for _, e := range endpoints {
		addr := strings.TrimSuffix(strings.TrimPrefix(e, scheme), "/")
		if addr == "" || strings.Contains(addr, "/") {
			return nil, errors.Join(fmt.Errorf("endpoint %q: give HOST:PORT of a member's client port", e), c.Close())
		}
		conn, err := grpc.NewClient("passthrough:///"+addr, append(As(o.User, o.Password),
			grpc.WithTransportCredentials(creds),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
				MinConnectTimeout: time.Second,
			}))...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("endpoint %q: %w", e, err), c.Close())
		}
		c.members = append(c.members, member{endpoint: addr, conn: conn})
	}
	return c, nil
}

// Close gives the connections back. Calls that are under way fail.
func (c *Client) Close() error {
	var errs []error
	for _, m := range c.members {
		errs = append(errs, m.conn.Close())
	}
	return errors.Join(errs...)
}

// triesTimeout bounds the call to one member while there are others to ask and
// the context has more time.
const triesTimeout = 2 * time.Second

// Status describes the whole cluster. The members are asked in turn until one
// answers; any of them passes the question on to the leader. An answer without a
// leader is kept for the case that no other member knows one. The error names
// every member that was asked, with its reason.
func (c *Client) Status(ctx context.Context) (*chainfire.ClusterStatus, error) {
	var leaderless *chainfire.ClusterStatus
	var tried []error
	for i := range c.members {
		s, err := c.ask(ctx, i)
		switch {
		case err != nil:
			tried = append(tried, &refusal{c.members[i].endpoint, err})
		case s.Leader != 0:
			return s, nil
		case leaderless == nil:
			leaderless = s
		}
	}
	if leaderless != nil {
		return leaderless, nil
	}
	return nil, fmt.Errorf("no member answered: %w", errors.Join(tried...))
}

func (c *Client) ask(ctx context.Context, i int) (*chainfire.ClusterStatus, error) {
	if i < len(c.members)-1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, triesTimeout)
		defer cancel()
	}
	r, err := api.NewClusterClient(c.members[i].conn).ClusterStatus(ctx, &api.ClusterStatusRequest{})
	if err != nil {
		return nil, err
	}
	return r.ClusterStatus(), nil
}

// refusal is why one member did not answer a call for good.
type refusal struct {
	endpoint string
	err      error
}

// Error implements error.
func (r *refusal) Error() string { return r.endpoint + ": " + reason(r.err) }

// Unwrap is the error of gRPC.
func (r *refusal) Unwrap() error { return r.err }

// reason is what a person wants to read of a gRPC error.
func reason(err error) string {
	s, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	switch s.Code() {
	case codes.DeadlineExceeded:
		return "no answer in time"
	case codes.Unimplemented:
		return "what answers there is not the client port of a ChainFire member"
	}
	msg := strings.TrimPrefix(s.Message(), "connection error: desc = ")
	return strings.Trim(msg, `"`)
}
