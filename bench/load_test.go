package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// memoryKV answers puts, transactions of puts and gets of one key from a map.
type memoryKV struct {
	pb.UnimplementedKVServer
	mu       sync.Mutex
	data     map[string][]byte
	requests int
	// failAfter refuses every request after so many; 0 refuses none.
	failAfter int
}

func (kv *memoryKV) request() error {
	kv.requests++
	if kv.failAfter > 0 && kv.requests > kv.failAfter {
		return status.Error(codes.ResourceExhausted, "no space")
	}
	return nil
}

func (kv *memoryKV) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.data[string(r.Key)] = r.Value
	return &pb.PutResponse{Header: &pb.ResponseHeader{}}, kv.request()
}

func (kv *memoryKV) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	res := &pb.RangeResponse{Header: &pb.ResponseHeader{}}
	if v, ok := kv.data[string(r.Key)]; ok {
		res.Kvs = []*mvccpb.KeyValue{{Key: r.Key, Value: v}}
	}
	return res, kv.request()
}

func (kv *memoryKV) Txn(_ context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	for _, op := range r.Success {
		put := op.GetRequestPut()
		kv.data[string(put.Key)] = put.Value
	}
	return &pb.TxnResponse{Header: &pb.ResponseHeader{}, Succeeded: true}, kv.request()
}

// serveMemory serves kv on loopback until the test ends, and connects to it.
func serveMemory(t *testing.T, kv *memoryKV) *pool {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	pb.RegisterKVServer(srv, kv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	p, err := newPool([]string{l.Addr().String()}, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestFillPutsEveryKeyOnce(t *testing.T) {
	kv := &memoryKV{data: map[string][]byte{}}
	p := serveMemory(t, kv)
	if err := p.fill(t.Context(), 1234, 10); err != nil {
		t.Fatal(err)
	}
	if len(kv.data) != 1234 || kv.requests != 13 {
		t.Errorf("%d keys in %d transactions, want 1234 in 13", len(kv.data), kv.requests)
	}
	for k, v := range kv.data {
		if !strings.HasPrefix(k, keyPrefix) || len(v) != 10 {
			t.Fatalf("key %q has a value of %d bytes", k, len(v))
		}
	}
}

func TestLoadCountsWhatWasAnswered(t *testing.T) {
	kv := &memoryKV{data: map[string][]byte{}}
	p := serveMemory(t, kv)
	if err := p.fill(t.Context(), 50, 16); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{opPut, opGet} {
		kv.requests = 0
		w := workload{Op: op, Clients: 5, Keys: 50, ValueSize: 16}
		res, err := p.run(t.Context(), w, limit{total: 333})
		if err != nil {
			t.Fatal(err)
		}
		if res.Operations != 333 || kv.requests != 333 {
			t.Errorf("%s: %d operations counted, %d requests answered, want 333", op, res.Operations, kv.requests)
		}
		if res.P50 <= 0 || res.P50 > res.P90 || res.P90 > res.P99 || res.P99 > res.Max || res.PerSecond <= 0 {
			t.Errorf("%s: figures out of order: %+v", op, res)
		}
	}
}

func TestLoadEndsInTime(t *testing.T) {
	p := serveMemory(t, &memoryKV{data: map[string][]byte{}})
	w := workload{Op: opPut, Clients: 3, Keys: 10, ValueSize: 1}
	res, err := p.run(t.Context(), w, limit{duration: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if res.Seconds < 0.05 || res.Seconds > 5 || res.Operations == 0 {
		t.Errorf("%d operations in %.3f s of a load of 50 ms", res.Operations, res.Seconds)
	}
}

func TestFailedRequestFailsTheLoad(t *testing.T) {
	p := serveMemory(t, &memoryKV{data: map[string][]byte{}, failAfter: 20})
	w := workload{Op: opPut, Clients: 3, Keys: 10, ValueSize: 1}
	_, err := p.run(t.Context(), w, limit{total: 1000})
	if err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("the load ended with %v, want the server's refusal", err)
	}
}

func TestGetOfAMissingKeyFailsTheLoad(t *testing.T) {
	p := serveMemory(t, &memoryKV{data: map[string][]byte{}})
	w := workload{Op: opGet, Clients: 1, Keys: 10}
	_, err := p.run(t.Context(), w, limit{total: 1})
	if err == nil || !strings.Contains(err.Error(), "fill the keys first") {
		t.Errorf("the load ended with %v, want a word on the missing key", err)
	}
}

func TestInterruptEndsTheLoadWithItsCause(t *testing.T) {
	p := serveMemory(t, &memoryKV{data: map[string][]byte{}})
	cause := errors.New("stopped by hand")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	w := workload{Op: opPut, Clients: 2, Keys: 10, ValueSize: 1}
	if _, err := p.run(ctx, w, limit{duration: time.Minute}); !errors.Is(err, cause) {
		t.Errorf("the load ended with %v, want %v", err, cause)
	}
}

func TestSenselessLoadsAreRefused(t *testing.T) {
	for _, w := range []workload{
		{Op: "scan", Clients: 1, Keys: 1},
		{Op: opPut, Clients: 0, Keys: 1},
		{Op: opPut, Clients: 1, Keys: 0},
		{Op: opPut, Clients: 1, Keys: 1, ValueSize: -1},
	} {
		if err := w.validate(); err == nil {
			t.Errorf("load %+v is accepted", w)
		}
	}
}
