package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// lanes are connections to a cluster that cost the generator of load little. Each is
// to one member, the first to the one that leads: a single client asks that one,
// whichever it is, and many are spread evenly.
type lanes []*grpc.ClientConn

// maxAnswer bounds one answer, above any that is asked for.
const maxAnswer = 64 << 20

// newLanes opens n connections, or more if they are not the same number to each member.
func newLanes(ctx context.Context, c *cluster, n int) (lanes, error) {
	leader, err := c.leader(ctx)
	if err != nil {
		return nil, err
	}
	all := c.endpoints()
	all = slices.Concat(all[leader:], all[:leader])
	var l lanes
	for i := 0; i < n || i%len(all) != 0; i++ {
		conn, err := newLane(all[i%len(all)])
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l = append(l, conn)
	}
	return l, nil
}

func newLane(endpoint string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent("chainfire-bench"),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bareCodec{}), grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	return conn, nil
}

func (l lanes) close() error {
	var errs []error
	for _, c := range l {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// of is the connection of one client of many.
func (l lanes) of(client int) *grpc.ClientConn { return l[client%len(l)] }
