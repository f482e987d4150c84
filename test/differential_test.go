package test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	requestsFlag    = flag.Int("requests", 2000, "how many random requests are put to etcd and to a member side by side")
	requestSeedFlag = flag.Uint64("request-seed", 0, "the seed of those requests; 0 is a new one")
)

// TestRandomRequestsAreAnsweredAsByEtcd puts the same requests to etcd and to a member
// here, one after the other, and compares the answers to the last field and the errors
// to the last letter. What differs by its nature is left out: ids of cluster and
// members, and the term.
func TestRandomRequestsAreAnsweredAsByEtcd(t *testing.T) {
	t.Parallel()
	seed := *requestSeedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	n := *requestsFlag
	if testing.Short() {
		n = min(n, 500)
	}
	t.Logf("%d requests of seed %d (-request-seed)", n, seed)
	d := &differential{
		t: t, requests: requests{random: rand.New(rand.NewPCG(seed, 1)), revision: 1},
		sides: []side{newSide(t, "etcd", here.newEtcd(t)), newSide(t, "chainfire", oneMember(t).members[0].client)},
	}
	for i := range n {
		if d.step(); d.differences > 20 {
			t.Fatalf("after %d requests there are enough differences", i+1)
		}
	}
	t.Logf("%d requests, of which %d were refused; %d differences", n, d.refused, d.differences)
}

// TestFirstCompactionMayNameRevisionZero: a store that was never compacted is so at -1.
// Found by request seed 1795696006053072295.
func TestFirstCompactionMayNameRevisionZero(t *testing.T) {
	t.Parallel()
	d := &differential{t: t, sides: []side{newSide(t, "etcd", here.newEtcd(t)), newSide(t, "chainfire", oneMember(t).members[0].client)}}
	for _, rev := range []int64{-1, 0, 0} {
		c := &pb.CompactionRequest{Revision: rev, Physical: true}
		both(d, c, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Compact(ctx, c) })
		h := &pb.HashKVRequest{Revision: 1}
		both(d, h, func(ctx context.Context, s side) (proto.Message, error) { return s.care.HashKV(ctx, h) })
		r := &pb.RangeRequest{Key: []byte("k"), Revision: -1}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Range(ctx, r) })
	}
}

// side is one of the servers that are compared.
type side struct {
	name  string
	kv    pb.KVClient
	watch pb.WatchClient
	lease pb.LeaseClient
	care  pb.MaintenanceClient
	auth  pb.AuthClient
	peers pb.ClusterClient
}

func newSide(t *testing.T, name, endpoint string) side {
	conn := dial(t, endpoint)
	return side{name, pb.NewKVClient(conn), pb.NewWatchClient(conn), pb.NewLeaseClient(conn), pb.NewMaintenanceClient(conn), pb.NewAuthClient(conn), pb.NewClusterClient(conn)}
}

type differential struct {
	t *testing.T
	requests
	sides []side
	// as says who makes a request; nil is nobody.
	as                   func(context.Context, side) context.Context
	refused, differences int
}

// step draws one request and puts it to both.
func (d *differential) step() {
	d.t.Helper()
	switch n := d.random.IntN(220); {
	case n < 60:
		r := d.rangeOf()
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Range(ctx, r) })
	case n < 70:
		r := d.rangeOf()
		if r.SortOrder == pb.RangeRequest_NONE {
			r.SortTarget = pb.RangeRequest_KEY // etcd loses keys of more than one part
		}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return rangeStream(ctx, s.kv, r) })
	case n < 115:
		r := d.put()
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Put(ctx, r) })
	case n < 130:
		r := d.remove()
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.DeleteRange(ctx, r) })
	case n < 180:
		r := d.txn(2)
		if d.as != nil && !touches(r) {
			return // docs/reference/differences.md
		}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Txn(ctx, r) })
	case n < 195:
		r := d.watch()
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return d.watched(ctx, s.watch, r) })
	case n < 198:
		r := &pb.HashKVRequest{Revision: d.compacted + 1 + d.random.Int64N(d.revision-d.compacted+1)}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.care.HashKV(ctx, r) })
	case n >= 200:
		d.stepOfLeases()
	default:
		if !d.oneIn(4) {
			return
		}
		r := &pb.CompactionRequest{Revision: d.around(), Physical: true}
		if both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Compact(ctx, r) }) {
			d.compacted = r.Revision
		}
	}
}

func (d *differential) alarm(r *pb.AlarmRequest) {
	d.t.Helper()
	both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.care.Alarm(ctx, r) })
}

// underAlarm puts one request of each kind to both.
func (d *differential) underAlarm() {
	d.t.Helper()
	key := []byte("k")
	put := &pb.PutRequest{Key: key}
	inside := &pb.TxnRequest{Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: put}}}}
	txn := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: inside}}}}
	both(d, put, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Put(ctx, put) })
	both(d, txn, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Txn(ctx, txn) })
	remove := &pb.DeleteRangeRequest{Key: key}
	both(d, remove, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.DeleteRange(ctx, remove) })
	grant := &pb.LeaseGrantRequest{ID: 7, TTL: 1000}
	both(d, grant, func(ctx context.Context, s side) (proto.Message, error) { return s.lease.LeaseGrant(ctx, grant) })
	revoke := &pb.LeaseRevokeRequest{ID: 7}
	both(d, revoke, func(ctx context.Context, s side) (proto.Message, error) { return s.lease.LeaseRevoke(ctx, revoke) })
	compact := &pb.CompactionRequest{Revision: d.revision - 1}
	both(d, compact, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Compact(ctx, compact) })
	read := &pb.RangeRequest{Key: key}
	both(d, read, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Range(ctx, read) })
}

func (d *differential) stepOfLeases() {
	d.t.Helper()
	switch d.random.IntN(6) {
	case 0, 1:
		r := d.grant()
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.lease.LeaseGrant(ctx, r) })
	case 2:
		r := &pb.LeaseRevokeRequest{ID: pick(&d.requests, d.lease(), 0)}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.lease.LeaseRevoke(ctx, r) })
	case 3:
		r := &pb.LeaseTimeToLiveRequest{ID: pick(&d.requests, d.lease(), d.lease(), 0), Keys: d.oneIn(2)}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.lease.LeaseTimeToLive(ctx, r) })
	case 4:
		r := &pb.LeaseLeasesRequest{}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.lease.LeaseLeases(ctx, r) })
	default:
		r := &pb.LeaseKeepAliveRequest{ID: pick(&d.requests, d.lease(), d.lease(), 0)}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return keepAlive(ctx, s.lease, r) })
	}
}

func keepAlive(ctx context.Context, c pb.LeaseClient, r *pb.LeaseKeepAliveRequest) (proto.Message, error) {
	s, err := c.LeaseKeepAlive(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.Send(r), s.CloseSend()); err != nil {
		return nil, err
	}
	m, err := s.Recv()
	if err != nil {
		return nil, err
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("after the client's end: %w", err)
	}
	return m, nil
}

// both puts a request to both sides and compares what comes. It reports whether etcd
// did what was asked.
func both(d *differential, r proto.Message, call func(context.Context, side) (proto.Message, error)) bool {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	var first string
	var firstErr error
	for i, s := range d.sides {
		asked := ctx
		if d.as != nil {
			asked = d.as(ctx, s)
		}
		m, err := call(asked, s)
		text := ""
		if err != nil {
			text = fmt.Sprintf("%v: %s", status.Code(err), status.Convert(err).Message())
		} else {
			d.learn(m)
			text = comparable(r, m)
		}
		if i == 0 {
			first, firstErr = text, err
			continue
		}
		if text != first {
			d.differences++
			d.t.Errorf("%T %s\n%s: %s\n%s: %s", r, prototext.MarshalOptions{}.Format(r), d.sides[0].name, first, s.name, text)
		}
	}
	if firstErr != nil {
		d.refused++
	}
	return firstErr == nil
}

// touches reports whether a transaction is about any key.
func touches(r *pb.TxnRequest) bool {
	any := func(o *pb.RequestOp) bool { return o.GetRequestTxn() == nil || touches(o.GetRequestTxn()) }
	return len(r.Compare) > 0 || slices.ContainsFunc(r.Success, any) || slices.ContainsFunc(r.Failure, any)
}

// learn takes the revision from an answer.
func (d *differential) learn(m proto.Message) {
	if h, ok := m.(interface{ GetHeader() *pb.ResponseHeader }); ok {
		d.revision = max(d.revision, h.GetHeader().GetRevision())
	}
}

// comparable is an answer without what differs by its nature.
func comparable(r, m proto.Message) string {
	m = proto.Clone(m)
	clearHeaders(m.ProtoReflect())
	settleTies(r, m)
	// The text of equal messages is equal but for its spaces.
	return strings.Join(strings.Fields(prototext.MarshalOptions{Multiline: true}.Format(m)), " ")
}

// settleTies puts what etcd leaves open in order: keys that are equal in what the
// request sorts by, those of a lease, and leases.
func settleTies(r, m proto.Message) {
	switch a := m.(type) {
	case *pb.AuthenticateResponse:
		a.Token = "" // chance
	case *pb.LeaseTimeToLiveResponse:
		slices.SortFunc(a.Keys, bytes.Compare)
		if a.TTL > 0 && a.TTL <= a.GrantedTTL && a.TTL+60 > a.GrantedTTL {
			a.TTL = a.GrantedTTL // the clocks are two
		}
	case *pb.LeaseLeasesResponse:
		slices.SortFunc(a.Leases, func(a, b *pb.LeaseStatus) int { return cmp.Compare(a.ID, b.ID) })
	}
	switch r := r.(type) {
	case *pb.RangeRequest:
		kvs, same := m.(*pb.RangeResponse).GetKvs(), sameIn(r.SortTarget)
		for from, to := 0, 0; from < len(kvs); from = to {
			for to = from + 1; to < len(kvs) && same(kvs[from], kvs[to]); to++ {
			}
			slices.SortFunc(kvs[from:to], func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Key, b.Key) })
		}
	case *pb.TxnRequest:
		answer := m.(*pb.TxnResponse)
		ops := r.Failure
		if answer.Succeeded {
			ops = r.Success
		}
		for i, op := range ops {
			if op.GetRequestRange() != nil {
				settleTies(op.GetRequestRange(), answer.Responses[i].GetResponseRange())
			} else if op.GetRequestTxn() != nil {
				settleTies(op.GetRequestTxn(), answer.Responses[i].GetResponseTxn())
			}
		}
	}
}

func sameIn(target pb.RangeRequest_SortTarget) func(a, b *mvccpb.KeyValue) bool {
	return func(a, b *mvccpb.KeyValue) bool {
		switch target {
		case pb.RangeRequest_VERSION:
			return a.Version == b.Version
		case pb.RangeRequest_CREATE:
			return a.CreateRevision == b.CreateRevision
		case pb.RangeRequest_MOD:
			return a.ModRevision == b.ModRevision
		case pb.RangeRequest_VALUE:
			return bytes.Equal(a.Value, b.Value)
		}
		return false
	}
}

// clearHeaders goes through a message and all that is in it.
func clearHeaders(m protoreflect.Message) {
	if h, ok := m.Interface().(*pb.ResponseHeader); ok {
		h.ClusterId, h.MemberId, h.RaftTerm = 0, 0, 0
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				clearHeaders(v.List().Get(i).Message())
			}
		default:
			clearHeaders(v.Message())
		}
		return true
	})
}

// rangeStream puts the chunks of a stream together.
func rangeStream(ctx context.Context, kv pb.KVClient, r *pb.RangeRequest) (proto.Message, error) {
	in, err := kv.RangeStream(ctx, r)
	if err != nil {
		return nil, err
	}
	whole := &pb.RangeResponse{}
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return nil, err
		}
		proto.Merge(whole, m.GetRangeResponse())
	}
}

// watched is what a watch hands out until it has everything up to now: the answer to
// its creation, all events in order, and its cancellation.
func (d *differential) watched(ctx context.Context, w pb.WatchClient, r *pb.WatchCreateRequest) (proto.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := w.Watch(ctx)
	if err == nil {
		err = in.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
	}
	if err != nil {
		return nil, err
	}
	whole := &pb.WatchResponse{}
	for {
		m, err := in.Recv()
		if err != nil {
			return nil, err
		}
		switch {
		case m.Created && !m.Canceled:
			whole.Created, whole.WatchId = true, m.WatchId
			if r.StartRevision > d.revision {
				return whole, nil
			}
			go askProgress(ctx, in, 20*time.Millisecond)
			continue
		case m.Canceled:
			whole.Canceled, whole.CancelReason, whole.CompactRevision = true, m.CancelReason, m.CompactRevision
			whole.Created = whole.Created || m.Created
			return whole, nil
		}
		whole.Events = append(whole.Events, m.Events...)
		if len(m.Events) == 0 && m.Header.Revision >= d.revision {
			return whole, nil
		}
	}
}

// askProgress asks until the context ends: a server lets the question pass while it has
// more to tell.
func askProgress(ctx context.Context, in grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse], pace time.Duration) {
	ask := func() {
		// An error ends the stream, which Recv tells.
		_ = in.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
	}
	ask()
	every(ctx, pace, ask)
}
