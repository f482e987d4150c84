package etcdapi

import (
	"go.etcd.io/etcd/api/v3/mvccpb"

	"chainfire"
)

func fillKV(to *mvccpb.KeyValue, kv *chainfire.KeyValue) {
	to.Key, to.Value, to.Lease = kv.Key, kv.Value, kv.Lease
	to.CreateRevision, to.ModRevision, to.Version = kv.CreateRevision, kv.ModRevision, kv.Version
}

// newKV converts a version that may be missing.
func newKV(kv *chainfire.KeyValue) *mvccpb.KeyValue {
	if kv == nil {
		return nil
	}
	out := new(mvccpb.KeyValue)
	fillKV(out, kv)
	return out
}

// newKVs converts with two allocations, however many there are.
func newKVs(kvs []chainfire.KeyValue) []*mvccpb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	block := make([]mvccpb.KeyValue, len(kvs))
	out := make([]*mvccpb.KeyValue, len(kvs))
	for i := range kvs {
		fillKV(&block[i], &kvs[i])
		out[i] = &block[i]
	}
	return out
}

// newEvents converts with four allocations at most, however many there are.
func newEvents(events []chainfire.Event) []*mvccpb.Event {
	if len(events) == 0 {
		return nil
	}
	previous := 0
	for i := range events {
		if events[i].PrevKV != nil {
			previous++
		}
	}
	block := make([]mvccpb.Event, len(events))
	kvs := make([]mvccpb.KeyValue, len(events)+previous)
	prev := kvs[len(events):]
	out := make([]*mvccpb.Event, len(events))
	for i := range events {
		ev := &events[i]
		fillKV(&kvs[i], &ev.KV)
		block[i].Kv = &kvs[i]
		if ev.Type == chainfire.EventDelete {
			block[i].Type = mvccpb.Event_DELETE
		}
		if ev.PrevKV != nil {
			fillKV(&prev[0], ev.PrevKV)
			block[i].PrevKv, prev = &prev[0], prev[1:]
		}
		out[i] = &block[i]
	}
	return out
}
