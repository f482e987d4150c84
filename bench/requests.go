package main

import (
	"context"
	"encoding/binary"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
)

// The methods that loads call.
const (
	methodPut       = "/etcdserverpb.KV/Put"
	methodRange     = "/etcdserverpb.KV/Range"
	methodDelete    = "/etcdserverpb.KV/DeleteRange"
	methodTxn       = "/etcdserverpb.KV/Txn"
	methodCompact   = "/etcdserverpb.KV/Compact"
	methodWatch     = "/etcdserverpb.Watch/Watch"
	methodGrant     = "/etcdserverpb.Lease/LeaseGrant"
	methodKeepAlive = "/etcdserverpb.Lease/LeaseKeepAlive"
	methodSnapshot  = "/etcdserverpb.Maintenance/Snapshot"
)

// encodeTo encodes a request into memory that is used again.
func encodeTo(b *[]byte, m proto.Message) (err error) {
	*b, err = proto.MarshalOptions{}.MarshalAppend((*b)[:0], m)
	return err
}

// ask makes a request on the client's connection.
func (c *client) ask(ctx context.Context, method string, m proto.Message) error {
	if err := encodeTo(&c.request, m); err != nil {
		return err
	}
	return c.call(ctx, method)
}

// keys says which keys a load writes or reads.
type keys struct {
	prefix string
	n      int
}

func (k keys) name(i int) []byte { return fmt.Appendf(nil, "%s%012d", k.prefix, i) }

// random is one of the keys, put into the memory of b.
func (k keys) random(b []byte, c *client) []byte {
	return fmt.Appendf(b[:0], "%s%012d", k.prefix, c.rng.IntN(k.n))
}

// putRandom writes random keys.
func putRandom(k keys, vals values) func(int) step {
	return func(int) step {
		var m pb.PutRequest
		return func(ctx context.Context, c *client) error {
			m.Key = k.random(m.Key, c)
			return c.put(ctx, &m, vals)
		}
	}
}

// putInOrder writes new keys: each client behind those it wrote, in turns with the others.
func putInOrder(prefix string, clients int, vals values) func(int) step {
	return func(id int) step {
		var m pb.PutRequest
		at := id
		return func(ctx context.Context, c *client) error {
			m.Key = fmt.Appendf(m.Key[:0], "%s%012d", prefix, at)
			at += clients
			return c.put(ctx, &m, vals)
		}
	}
}

func (c *client) put(ctx context.Context, m *pb.PutRequest, vals values) error {
	m.Value = append(m.Value[:0], vals.pick(c.rng)...)
	if err := c.ask(ctx, methodPut, m); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	c.userBytes += uint64(len(m.Key) + len(m.Value))
	return nil
}

// getRandom reads random keys, one at a time.
func getRandom(k keys, serializable bool) func(int) step {
	return func(int) step {
		m := pb.RangeRequest{Serializable: serializable}
		return func(ctx context.Context, c *client) error {
			m.Key = k.random(m.Key, c)
			return c.readExactly(ctx, &m, 1)
		}
	}
}

// readExactly makes a range and fails unless so many keys are in the answer.
func (c *client) readExactly(ctx context.Context, m *pb.RangeRequest, want int) error {
	if err := c.ask(ctx, methodRange, m); err != nil {
		return fmt.Errorf("range: %w", err)
	}
	a, err := readRange(c.reply)
	if err != nil {
		return err
	}
	if a.kvs != want {
		return fmt.Errorf("a range from %s has %d keys, not %d", m.Key, a.kvs, want)
	}
	return nil
}

// rangeRandom reads so many keys at a time, from a random one on.
func rangeRandom(k keys, length int) func(int) step {
	return func(int) step {
		var m pb.RangeRequest
		return func(ctx context.Context, c *client) error {
			from := c.rng.IntN(k.n - length + 1)
			m.Key, m.RangeEnd = k.name(from), k.name(from+length)
			return c.readExactly(ctx, &m, length)
		}
	}
}

// mixed puts one time in ten and reads the other nine.
func mixed(k keys, vals values) func(int) step {
	puts, gets := putRandom(k, vals), getRandom(k, false)
	return func(id int) step {
		put, get := puts(id), gets(id)
		return func(ctx context.Context, c *client) error {
			if c.rng.IntN(10) == 0 {
				return put(ctx, c)
			}
			return get(ctx, c)
		}
	}
}

// countAndPut reads the first key and the exact number of all, and puts one, in turns.
func countAndPut(k keys, vals values) func(int) step {
	puts := putRandom(k, vals)
	return func(id int) step {
		put := puts(id)
		m := pb.RangeRequest{Key: []byte(k.prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(k.prefix)), Limit: 1}
		count := id%2 == 0
		return func(ctx context.Context, c *client) error {
			if count = !count; !count {
				return put(ctx, c)
			}
			if err := c.readExactly(ctx, &m, 1); err != nil {
				return err
			}
			a, err := readRange(c.reply)
			if err == nil && a.count != uint64(k.n) {
				err = fmt.Errorf("%d keys are counted, not %d", a.count, k.n)
			}
			return err
		}
	}
}

// updates are what Kubernetes does to its objects: put if the version known is the
// newest, else get. Each client has so many keys of its own.
func updates(prefix string, each int, vals values) func(int) step {
	return func(id int) step {
		known := make([]uint64, each)
		return func(ctx context.Context, c *client) error {
			i := c.rng.IntN(each)
			key := fmt.Appendf(nil, "%s%06d/%06d", prefix, id, i)
			revision, put, err := c.update(ctx, key, known[i], []byte(vals.pick(c.rng)))
			if err != nil {
				return fmt.Errorf("transaction: %w", err)
			}
			if put {
				c.userBytes += uint64(len(key) + vals.size)
			}
			known[i] = revision
			return nil
		}
	}
}

// update is one such transaction: it returns the version that is the newest then, and
// whether it is what was put.
func (c *client) update(ctx context.Context, key []byte, known uint64, value []byte) (uint64, bool, error) {
	err := c.ask(ctx, methodTxn, &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: key, Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{ModRevision: int64(known)}}},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value}}}},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}},
	})
	if err != nil {
		return 0, false, err
	}
	a, err := readTxn(c.reply)
	if err != nil || a.succeeded {
		return a.revision, a.succeeded, err
	}
	revision := uint64(0)
	for _, answer := range a.answers {
		err := eachField(answer, func(f field) error {
			ranged, err := readRange(f.bytes)
			if err != nil || ranged.kvs == 0 {
				return err
			}
			kv, err := readKeyValue(ranged.last)
			revision = kv.modRevision
			return err
		})
		if err != nil {
			return 0, false, err
		}
	}
	if revision == 0 || revision == known {
		return 0, false, fmt.Errorf("key %s was not at version %d, and is at %d", key, known, revision)
	}
	return revision, false, nil
}

// stamp puts a moment, in nanoseconds, at the beginning of a value.
func stamp(value []byte, nanos int64) { binary.BigEndian.PutUint64(value, uint64(nanos)) }

// stamped is the moment in a value.
func stamped(value []byte) (int64, error) {
	if len(value) < 8 {
		return 0, fmt.Errorf("a value of %d bytes holds no time", len(value))
	}
	return int64(binary.BigEndian.Uint64(value)), nil
}
