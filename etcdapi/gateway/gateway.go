// Package gateway offers etcd's gRPC services as JSON over HTTP under /v3/, for
// clients that speak no gRPC. It translates and decides nothing: a request
// becomes a call of the same server that gRPC clients call, and meets the same
// limits there. Paths, names, numbers and errors are those of etcd 3.7.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.etcd.io/etcd/api/v3/etcdserverpb/gw"
	electiongw "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb/gw"
	lockgw "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb/gw"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
)

// Path is the prefix of everything that the gateway serves.
const Path = "/v3/"

// jsonGrowth bounds how much longer a message may be as JSON than on the wire:
// base64 takes four letters for three bytes, and each letter may be written as an
// escape of six.
const jsonGrowth = 8

// service registers the paths of one service.
type service func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error

// New returns the handler of everything below Path, also over WebSockets. It calls conn, which the
// caller closes, after which requests are refused. A message on the wire may have
// maxMessage bytes; JSON that could only be of a larger one is not read to its end.
// The context is not kept.
func New(ctx context.Context, conn *grpc.ClientConn, maxMessage int) (http.Handler, error) {
	mux := runtime.NewServeMux(runtime.WithMarshalerOption(runtime.MIMEWildcard, &marshaler{
		JSONPb: &runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true},
			UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
		},
		limit: int64(maxMessage) * jsonGrowth,
	}))
	// A service that the server lacks is refused by the server, as it is over gRPC.
	for _, register := range []service{
		gw.RegisterKVHandler, gw.RegisterWatchHandler, gw.RegisterLeaseHandler,
		gw.RegisterClusterHandler, gw.RegisterMaintenanceHandler, gw.RegisterAuthHandler,
		lockgw.RegisterLockHandler, electiongw.RegisterElectionHandler,
	} {
		if err := register(ctx, mux, conn); err != nil {
			return nil, fmt.Errorf("register the paths of a service: %w", err)
		}
	}
	return newWebSockets(mux, int64(maxMessage)*jsonGrowth), nil
}

// marshaler is etcd's JSON, with a bound on what is read of one message.
type marshaler struct {
	*runtime.JSONPb
	limit int64
}

// NewDecoder reads messages one after the other, each within the bound.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	bounded := &boundedReader{from: r}
	decoder := m.JSONPb.NewDecoder(bounded)
	return runtime.DecoderFunc(func(v any) error {
		bounded.left = m.limit
		return decoder.Decode(v)
	})
}

// errTooLarge says that a message was longer than any that the server takes.
var errTooLarge = errors.New("message is larger than the request limit")

// boundedReader reads as much as is left.
type boundedReader struct {
	from io.Reader
	left int64
}

// Read reads at most what is left, and fails once nothing is.
func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
