package mvcc

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"chainfire"
)

// etcdHash is etcd's hash of the key space, computed as etcd's table has the versions:
// in the order of their revisions.
func (m *model) etcdHash(rev int64) (uint32, error) {
	inForce := func(at int64) map[int]bool {
		last := map[string]int{}
		for i, e := range m.events {
			if e.KV.ModRevision <= at {
				last[string(e.KV.Key)] = i
			}
		}
		out := map[int]bool{}
		for _, i := range last {
			if m.events[i].Type == chainfire.EventPut {
				out[i] = true
			}
		}
		return out
	}
	keep := inForce(rev)
	if len(keep) == 0 {
		keep = inForce(m.compacted)
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_, _ = h.Write([]byte("key")) // a hash takes everything
	sub := uint64(0)
	for i, e := range m.events {
		if sub++; i == 0 || m.events[i-1].KV.ModRevision != e.KV.ModRevision {
			sub = 0
		}
		if e.KV.ModRevision > rev || e.KV.ModRevision <= m.compacted && !keep[i] {
			continue
		}
		row := binary.BigEndian.AppendUint64(nil, uint64(e.KV.ModRevision))
		row = binary.BigEndian.AppendUint64(append(row, '_'), sub)
		kv := &mvccpb.KeyValue{Key: e.KV.Key}
		if e.Type == chainfire.EventDelete {
			row = append(row, 't')
		} else {
			kv.CreateRevision, kv.ModRevision, kv.Version = e.KV.CreateRevision, e.KV.ModRevision, e.KV.Version
			kv.Value, kv.Lease = e.KV.Value, e.KV.Lease
		}
		b, err := proto.Marshal(kv)
		if err != nil {
			return 0, err
		}
		_, _ = h.Write(append(row, b...))
	}
	return h.Sum32(), nil
}

// TestEtcdHashIsThatOfTheTableThatEtcdHas takes a few versions a pass, so that most
// hashes take several, and waits for the cleaning up only now and then.
func TestEtcdHashIsThatOfTheTableThatEtcdHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t)
		t.Repeat(map[string]func(*rapid.T){
			"write":   func(t *rapid.T) { r.add(t, drawRound(t)) },
			"compact": r.compact,
			"hash": func(t *rapid.T) {
				rev := rapid.Int64Range(max(1, r.model.compacted), r.model.revision).Draw(t, "revision")
				want, err := r.model.etcdHash(rev)
				if err != nil {
					t.Fatal(err)
				}
				v, err := r.store.View()
				if err != nil {
					t.Fatal(err)
				}
				got, err := v.etcdHash(context.Background(), rev, rapid.IntRange(1, 8).Draw(t, "batch"))
				if err := errors.Join(err, v.Close()); err != nil {
					t.Fatal(err)
				}
				if got != (EtcdHash{Sum: want, Revision: rev, Compacted: r.model.compacted, Current: r.model.revision}) {
					t.Fatalf("hash at %d is %+v, want %x", rev, got, want)
				}
			},
		})
		for rev, want := range map[int64]error{r.model.revision + 1: chainfire.ErrFutureRevision, r.model.compacted - 1: chainfire.ErrCompacted} {
			if rev <= 0 {
				continue
			}
			if _, err := r.store.EtcdHash(context.Background(), rev); !errors.Is(err, want) {
				t.Fatalf("hash at %d: %v, want %v", rev, err, want)
			}
		}
		r.close(t)
	})
}

func TestChecksumsOfTwoPiecesMakeThatOfBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOf(rapid.Byte()).Draw(t, "first")
		b := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "second")
		if got, want := concatCRC(checksum(a), checksum(b), uint32(len(b))), checksum(append(a, b...)); got != want {
			t.Fatalf("%x, want %x", got, want)
		}
	})
}
