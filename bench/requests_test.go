package main

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// sortedKV answers what the loads of a table ask, from a map.
type sortedKV struct {
	pb.UnimplementedKVServer
	mu                  sync.Mutex
	revision, compacted int64
	data                map[string]*mvccpb.KeyValue
	// puts and updates count the requests that wrote, refused the transactions that did not.
	puts, updates, refused, ranges int
	// put, if any, is told each put.
	put func(*mvccpb.KeyValue)
}

func newSortedKV() *sortedKV { return &sortedKV{revision: 1, data: map[string]*mvccpb.KeyValue{}} }

func (kv *sortedKV) header() *pb.ResponseHeader { return &pb.ResponseHeader{Revision: kv.revision} }

func (kv *sortedKV) store(r *pb.PutRequest) {
	kv.revision++
	kv.data[string(r.Key)] = &mvccpb.KeyValue{Key: r.Key, Value: r.Value, ModRevision: kv.revision}
}

// seed stores besides what the loads do.
func (kv *sortedKV) seed(r *pb.PutRequest) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.store(r)
}

func (kv *sortedKV) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.puts++
	kv.store(r)
	if kv.put != nil {
		kv.put(kv.data[string(r.Key)])
	}
	return &pb.PutResponse{Header: kv.header()}, nil
}

func (kv *sortedKV) read(r *pb.RangeRequest) *pb.RangeResponse {
	res := &pb.RangeResponse{Header: kv.header()}
	for key, v := range kv.data {
		if key == string(r.Key) || len(r.RangeEnd) > 0 && key >= string(r.Key) && key < string(r.RangeEnd) {
			res.Kvs = append(res.Kvs, v)
		}
	}
	slices.SortFunc(res.Kvs, func(a, b *mvccpb.KeyValue) int { return strings.Compare(string(a.Key), string(b.Key)) })
	res.Count = int64(len(res.Kvs))
	if r.Limit > 0 && r.Limit < res.Count {
		res.Kvs, res.More = res.Kvs[:r.Limit], true
	}
	return res
}

func (kv *sortedKV) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.ranges++
	return kv.read(r), nil
}

func (kv *sortedKV) DeleteRange(_ context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	res := &pb.DeleteRangeResponse{Header: kv.header()}
	for _, found := range kv.read(&pb.RangeRequest{Key: r.Key, RangeEnd: r.RangeEnd}).Kvs {
		delete(kv.data, string(found.Key))
		res.Deleted++
	}
	return res, nil
}

func (kv *sortedKV) Compact(_ context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if !r.Physical {
		return nil, status.Error(codes.InvalidArgument, "the space is not given back")
	}
	kv.compacted = r.Revision
	return &pb.CompactionResponse{Header: kv.header()}, nil
}

func (kv *sortedKV) Txn(_ context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	for _, c := range r.Compare {
		if kv.data[string(c.Key)].GetModRevision() != c.GetModRevision() {
			kv.refused++
			read := kv.read(r.Failure[0].GetRequestRange())
			return &pb.TxnResponse{Header: kv.header(), Responses: []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponseRange{ResponseRange: read}}}}, nil
		}
	}
	kv.updates++
	for _, op := range r.Success {
		kv.store(op.GetRequestPut())
	}
	return &pb.TxnResponse{Header: kv.header(), Succeeded: true, Responses: []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{}}}}}, nil
}

// serveLanes serves on loopback until the test ends, and opens two connections.
func serveLanes(t *testing.T, register func(*grpc.Server)) lanes {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	register(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	var out lanes
	t.Cleanup(func() {
		if err := out.close(); err != nil {
			t.Error(err)
		}
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	for range 2 {
		conn, err := newLane(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, conn)
	}
	return out
}

func serveSorted(t *testing.T, kv *sortedKV) lanes {
	return serveLanes(t, func(s *grpc.Server) { pb.RegisterKVServer(s, kv) })
}

// do has three clients make so many steps in all.
func do(t *testing.T, l lanes, total int, makeStep func(int) step) (*crew, error) {
	t.Helper()
	cr := newCrew(l, 3, makeStep)
	res, err := cr.run(t.Context(), limit{total: total})
	if err == nil && res.Operations != uint64(total) {
		t.Errorf("%d operations, not %d", res.Operations, total)
	}
	return cr, err
}

func TestPutsInOrderWriteEveryKeyOnce(t *testing.T) {
	kv := newSortedKV()
	cr := newCrew(serveSorted(t, kv), 3, putInOrder("in/", 3, newValues(10)))
	for range 4 {
		if err := cr.once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(kv.data) != 12 || kv.puts != 12 || kv.data["in/000000000011"] == nil {
		t.Errorf("%d keys by %d puts, want the first 12", len(kv.data), kv.puts)
	}
	if got := cr.userBytes(); got != 12*(15+10) {
		t.Errorf("%d bytes of keys and values, want %d", got, 12*25)
	}
}

func TestReadsFailUnlessAllKeysAreThere(t *testing.T) {
	kv := newSortedKV()
	l := serveSorted(t, kv)
	k := keys{keyPrefix, 50}
	loads := map[string]func(int) step{
		"get": getRandom(k, false), "range": rangeRandom(k, 20), "count": countAndPut(k, newValues(4)), "mixed": mixed(k, newValues(4)),
	}
	for name, load := range loads {
		if _, err := do(t, l, 30, load); err == nil {
			t.Errorf("%s is content without keys", name)
		}
	}
	for i := range k.n {
		kv.seed(&pb.PutRequest{Key: k.name(i)})
	}
	for name, load := range loads {
		if _, err := do(t, l, 30, load); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	kv.seed(&pb.PutRequest{Key: []byte(keyPrefix + "one more")})
	if _, err := do(t, l, 30, loads["count"]); err == nil || !strings.Contains(err.Error(), "51 keys are counted") {
		t.Errorf("a count that is wrong ends with %v", err)
	}
}

func TestCountsAndPutsAreOneToOne(t *testing.T) {
	kv := newSortedKV()
	k := keys{keyPrefix, 5}
	for i := range k.n {
		kv.seed(&pb.PutRequest{Key: k.name(i)})
	}
	cr := newCrew(serveSorted(t, kv), 2, countAndPut(k, newValues(4)))
	for range 10 {
		if err := cr.once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if kv.puts != 10 || kv.ranges != 10 {
		t.Errorf("%d puts and %d counts, want 10 each", kv.puts, kv.ranges)
	}
}

func TestUpdatesPutOnlyOverTheVersionThatIsKnown(t *testing.T) {
	kv := newSortedKV()
	cr := newCrew(serveSorted(t, kv), 1, updates("registry/", 1, newValues(8)))
	step := func() {
		t.Helper()
		if err := cr.once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	step() // makes the object
	step()
	if kv.updates != 2 || kv.refused != 0 {
		t.Fatalf("%d updates, %d refused, want 2 and 0", kv.updates, kv.refused)
	}
	kv.seed(&pb.PutRequest{Key: []byte("registry/000000/000000")}) // by somebody else
	step()                                                         // is told of it
	step()
	if kv.updates != 3 || kv.refused != 1 {
		t.Errorf("%d updates, %d refused, want 3 and 1", kv.updates, kv.refused)
	}
	if got, want := cr.userBytes(), uint64(3*(22+8)); got != want {
		t.Errorf("%d bytes were written, want %d", got, want)
	}
}

func TestVersionsAreOfFewKeys(t *testing.T) {
	kv := newSortedKV()
	if _, err := do(t, serveSorted(t, kv), 5, versions("history/", newValues(4))); err != nil {
		t.Fatal(err)
	}
	if kv.updates != 5 || kv.revision != 1+5*fillBatch || len(kv.data) > rewritten {
		t.Errorf("%d transactions up to revision %d of %d keys", kv.updates, kv.revision, len(kv.data))
	}
}

func TestTheRevisionOfAnAnswerIsInItsHeader(t *testing.T) {
	if got, err := answerRevision(encode(t, &pb.RangeResponse{Header: &pb.ResponseHeader{MemberId: 7, Revision: 123456}, Count: 3})); err != nil || got != 123456 {
		t.Errorf("the revision is %d, %v", got, err)
	}
	if got, err := answerRevision(encode(t, &pb.RangeResponse{Count: 3})); err == nil {
		t.Errorf("the revision is %d, and there is none", got)
	}
}

func TestKeysThatWerePutInOrderAreDeletedAgain(t *testing.T) {
	kv := newSortedKV()
	cr := newCrew(serveSorted(t, kv), 3, putInOrder("in/", 3, newValues(1)))
	if _, err := cr.run(t.Context(), limit{total: 100}); err != nil {
		t.Fatal(err)
	}
	kv.seed(&pb.PutRequest{Key: []byte("in/no number")})
	if err := cr.clients[0].deleteInOrder(t.Context(), "in/", 30); err != nil {
		t.Fatal(err)
	}
	if len(kv.data) != 1 {
		t.Errorf("%d keys are left, want the one that was not put in order", len(kv.data))
	}
}

func TestAllHistoryIsCompacted(t *testing.T) {
	kv := newSortedKV()
	l := serveSorted(t, kv)
	kv.seed(&pb.PutRequest{Key: []byte("a")})
	kv.seed(&pb.PutRequest{Key: []byte("a")})
	if got, err := newCrew(l, 1, func(int) step { return nil }).clients[0].compact(t.Context()); err != nil || got != 3 || kv.compacted != 3 {
		t.Errorf("compacted up to %d, told %d, %v; want 3", kv.compacted, got, err)
	}
}
