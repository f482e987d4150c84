package main

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// leaseTTL is longer than any table takes, in seconds: no lease expires meanwhile.
const leaseTTL = 24 * 3600

// grants makes leases of ids that the server chooses, and notes them for their client.
func grants(ids [][]int64) func(int) step {
	return func(id int) step {
		return func(ctx context.Context, c *client) error {
			if err := c.ask(ctx, methodGrant, &pb.LeaseGrantRequest{TTL: leaseTTL}); err != nil {
				return fmt.Errorf("grant a lease: %w", err)
			}
			lease, err := readLease(c.reply)
			if err == nil {
				ids[id] = append(ids[id], lease)
			}
			return err
		}
	}
}

// readLease reads the id of a lease that lives from the answer to a grant or to a keep-alive,
// which have it, and the time to live, at the same place.
func readLease(b []byte) (id int64, err error) {
	ttl := int64(0)
	err = eachField(b, func(f field) error {
		switch f.number {
		case 2:
			id = int64(f.value)
		case 3:
			ttl = int64(f.value)
		}
		return nil
	})
	if err == nil && (id == 0 || ttl <= 0) {
		err = fmt.Errorf("the answer is of lease %x with %d seconds to live", id, ttl)
	}
	return id, err
}

// keepAlives keeps the leases of each client alive in turn, on a stream of its own.
func keepAlives(streams context.Context, ids [][]int64) func(int) step {
	return func(id int) step {
		var stream grpc.ClientStream
		next := 0
		return func(_ context.Context, c *client) (err error) {
			if stream == nil {
				stream, err = c.conn.NewStream(streams, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, methodKeepAlive)
				if err != nil {
					return fmt.Errorf("keep leases alive: %w", err)
				}
			}
			lease := ids[id][next%len(ids[id])]
			next++
			if err := encodeTo(&c.request, &pb.LeaseKeepAliveRequest{ID: lease}); err != nil {
				return err
			}
			if err := stream.SendMsg(&c.request); err != nil {
				return fmt.Errorf("keep a lease alive: %w", err)
			}
			if err := stream.RecvMsg(&c.reply); err != nil {
				return fmt.Errorf("keep a lease alive: %w", err)
			}
			got, err := readLease(c.reply)
			if err == nil && got != lease {
				err = fmt.Errorf("lease %x was to be kept alive, and %x was", lease, got)
			}
			return err
		}
	}
}

// runKeepAlives grants leases to the clients, which is not measured, and has them
// kept alive.
func (t *table) runKeepAlives(ctx context.Context, s *stand) (measured, error) {
	ids, err := t.grantAll(ctx, s)
	if err != nil {
		return nil, err
	}
	streams, cancel := context.WithCancel(ctx)
	defer cancel()
	return t.runCrew(ctx, s, newCrew(s.lanes, t.manyClients, keepAlives(streams, ids)))
}

// runGrants has leases granted.
func (t *table) runGrants(ctx context.Context, s *stand) (measured, error) {
	ids := make([][]int64, t.manyClients)
	return t.runCrew(ctx, s, newCrew(s.lanes, t.manyClients, grants(ids)))
}

// grantAll grants as many leases as there are to be, once for a cluster.
func (t *table) grantAll(ctx context.Context, s *stand) ([][]int64, error) {
	if s.leases != nil {
		return s.leases, nil
	}
	ids := make([][]int64, t.manyClients)
	granters := newCrew(s.lanes, t.manyClients, grants(ids))
	for i, do := range granters.steps {
		granters.steps[i] = func(ctx context.Context, c *client) error {
			for range max(t.leases/t.manyClients, 1) {
				if err := do(ctx, c); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if err := granters.once(ctx); err != nil {
		return nil, err
	}
	s.leases = ids
	return ids, nil
}
