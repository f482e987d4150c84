package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"chainfire/etcdapi/gateway"
)

// pipeBytes is what one direction of the pipe to the gRPC server holds.
const pipeBytes = 256 << 10

// jsonPort is the way from JSON over HTTP to the gRPC server: a client of it that
// is connected in memory, so that a request passes the same limits, gates and
// counts as one of gRPC.
type jsonPort struct {
	pipe *bufconn.Listener
	conn *grpc.ClientConn
	// own is for calls that the server makes by itself: those of clients on conn must
	// not use up its streams.
	own *grpc.ClientConn
	http.Handler
}

// newJSONPort makes the client, which owns goroutines until close. The server is
// to serve on pipe.
func newJSONPort(ctx context.Context, maxMessage int) (*jsonPort, error) {
	pipe := bufconn.Listen(pipeBytes)
	conn, err := dialPipe(pipe)
	if err != nil {
		return nil, errors.Join(err, pipe.Close())
	}
	own, err := dialPipe(pipe)
	if err != nil {
		return nil, errors.Join(err, conn.Close(), pipe.Close())
	}
	handler, err := gateway.New(ctx, conn, maxMessage)
	if err != nil {
		return nil, errors.Join(err, conn.Close(), own.Close(), pipe.Close())
	}
	return &jsonPort{pipe: pipe, conn: conn, own: own, Handler: handler}, nil
}

func dialPipe(pipe *bufconn.Listener) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///gateway",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, fmt.Errorf("make a client in memory: %w", err)
	}
	return conn, nil
}

// close ends the calls that are left. It may be called again.
func (p *jsonPort) close() error {
	var errs []error
	for _, c := range []*grpc.ClientConn{p.conn, p.own} {
		if err := c.Close(); status.Code(err) != codes.Canceled { // it was closed before
			errs = append(errs, err)
		}
	}
	if err := errors.Join(append(errs, p.pipe.Close())...); err != nil {
		return fmt.Errorf("close the JSON gateway: %w", err)
	}
	return nil
}
