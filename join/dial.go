package join

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Conn is a connection to a peer port.
type Conn interface {
	grpc.ClientConnInterface
	Close() error
}

// Dialer makes a connection to a peer port, HOST:PORT.
type Dialer func(addr string) (Conn, error)

// Dial is the Dialer of production. It connects when it is first used.
func Dial(addr string) (Conn, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 2 * time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, nil
}

// Reason is the text of a gRPC error, without its wrapping, as a person wants
// to read it.
func Reason(err error) string {
	s, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	msg := s.Message()
	switch {
	case s.Code() == codes.DeadlineExceeded:
		return "no answer in time"
	case s.Code() == codes.Unimplemented:
		return "what answers there is not a ChainFire peer port (is it the client port?)"
	}
	msg = strings.TrimPrefix(msg, "connection error: desc = ")
	return strings.Trim(msg, `"`)
}
