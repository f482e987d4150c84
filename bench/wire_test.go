package main

import (
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnswersAreReadAsTheyWereWritten(t *testing.T) {
	kv := &mvccpb.KeyValue{Key: []byte("k2"), ModRevision: 300, Value: []byte("v"), Version: 4, Lease: 5}
	header := &pb.ResponseHeader{ClusterId: 1, MemberId: 2, Revision: 70000, RaftTerm: 3}
	ranged := &pb.RangeResponse{Header: header, Kvs: []*mvccpb.KeyValue{{Key: []byte("k1")}, kv}, More: true, Count: 50_000}

	a, err := readRange(encode(t, ranged))
	if err != nil || a.kvs != 2 || a.count != 50_000 || !a.more {
		t.Fatalf("range: %+v, %v", a, err)
	}
	if last, err := readKeyValue(a.last); err != nil || string(last.key) != "k2" || string(last.value) != "v" || last.modRevision != 300 {
		t.Errorf("the last key is %+v, %v", last, err)
	}
	txn, err := readTxn(encode(t, &pb.TxnResponse{Header: header, Succeeded: true, Responses: []*pb.ResponseOp{
		{Response: &pb.ResponseOp_ResponseRange{ResponseRange: ranged}}, {Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{}}},
	}}))
	if err != nil || !txn.succeeded || txn.revision != 70000 || len(txn.answers) != 2 {
		t.Errorf("transaction: %+v, %v", txn, err)
	}
	var w watchAnswer
	for range 2 { // the second reading forgets the first
		err = w.readWatch(encode(t, &pb.WatchResponse{WatchId: 9, Created: true, Canceled: true, CancelReason: "why", Events: []*mvccpb.Event{{Kv: kv}, {Kv: kv, PrevKv: kv}}}))
		if err != nil || !w.created || !w.canceled || w.reason != "why" || len(w.events) != 2 {
			t.Fatalf("watch: %+v, %v", w, err)
		}
	}
	if got, err := readKeyValue(w.events[1]); err != nil || string(got.value) != "v" {
		t.Errorf("the event is of %+v, %v", got, err)
	}
}

func TestAMalformedAnswerIsAnError(t *testing.T) {
	whole := encode(t, &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Key: []byte("key")}}})
	for n := 1; n < len(whole); n++ {
		if a, err := readRange(whole[:n]); !errors.Is(err, errMalformed) {
			t.Errorf("%d of %d bytes are read as %+v, %v", n, len(whole), a, err)
		}
	}
}

func TestBareMessagesPassAsTheyAre(t *testing.T) {
	sent := []byte("some bytes")
	out, err := bareCodec{}.Marshal(&sent)
	if err != nil || string(out.Materialize()) != "some bytes" {
		t.Fatalf("sent: %q, %v", out.Materialize(), err)
	}
	got := make([]byte, 0, 64)
	at := &got[:1][0]
	in := mem.BufferSlice{mem.SliceBuffer("some "), mem.SliceBuffer("bytes")}
	if err := (bareCodec{}).Unmarshal(in, &got); err != nil || string(got) != "some bytes" || &got[0] != at {
		t.Errorf("received: %q, %v, in other memory: %v", got, err, &got[0] != at)
	}
	if _, err := (bareCodec{}).Marshal("text"); err == nil {
		t.Error("a message that is not bare is sent")
	}
	if err := (bareCodec{}).Unmarshal(in, new(string)); err == nil {
		t.Error("a message that is not bare is received")
	}
}
