package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

const (
	// listPage is how many keys are listed at a time.
	listPage = 10_000
	// rewritten are the keys that a compaction's versions are of, at most.
	rewritten = 10_000
	// pacedClients wait for answers while a compaction runs, at most.
	pacedClients = 256
	// joinRest is longer than etcd wants its members to be connected before it adds one.
	joinRest = 6 * time.Second
)

// resident is the memory of a member, in the middle.
func (s *stand) resident() (measured, error) {
	u, err := s.cluster.usage()
	if err != nil {
		return nil, err
	}
	return measured{residentMiB: float64(u.RSS) / float64(len(s.cluster.members)) / (1 << 20)}, nil
}

// runToTheDisk makes so many puts, whatever time they take, and lets the store write in the
// background before it is asked what was written.
func (t *table) runToTheDisk(ctx context.Context, s *stand) (measured, error) {
	cr := newCrew(s.lanes, t.manyClients, putRandom(t.base(), newValues(t.valueSize)))
	l, err := openLedger(ctx, s.cluster)
	if err != nil {
		return nil, err
	}
	res, err := cr.run(ctx, limit{duration: t.timeout, total: t.diskPuts})
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, t.settle); err != nil {
		return nil, err
	}
	m := res.figures()
	return m, l.settle(ctx, res.Operations, cr.userBytes(), m)
}

// runList reads all keys, page by page.
func (t *table) runList(ctx context.Context, s *stand) (measured, error) {
	c := newCrew(s.lanes, 1, func(int) step { return nil }).clients[0]
	l, err := openLedger(ctx, s.cluster)
	if err != nil {
		return nil, err
	}
	from, n := time.Now(), 0
	m := &pb.RangeRequest{Key: []byte(keyPrefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(keyPrefix)), Limit: listPage}
	for more := true; more; {
		if err := c.ask(ctx, methodRange, m); err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		a, err := readRange(c.reply)
		if err != nil {
			return nil, err
		}
		n, more = n+a.kvs, a.more
		if !more {
			break
		}
		last, err := readKeyValue(a.last)
		if err != nil {
			return nil, err
		}
		m.Key = append(append(m.Key[:0], last.key...), 0)
	}
	elapsed := time.Since(from).Seconds()
	if n != t.bigKeys {
		return nil, fmt.Errorf("%d keys are listed, not %d", n, t.bigKeys)
	}
	out := measured{took: elapsed, perSecond: ratio(float64(n), elapsed)}
	return out, l.settle(ctx, uint64(n), 0, out)
}

// runSnapshot reads the snapshot that a backup keeps.
func (s *stand) runSnapshot(ctx context.Context) (_ measured, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := openLedger(ctx, s.cluster)
	if err != nil {
		return nil, err
	}
	from := time.Now()
	stream, err := s.lanes.of(0).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, methodSnapshot)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	var nothing, buf []byte
	if err := errors.Join(stream.SendMsg(&nothing), stream.CloseSend()); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	size := 0
	for {
		err := stream.RecvMsg(&buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
		size += len(buf)
	}
	if size == 0 {
		return nil, errors.New("the snapshot is empty")
	}
	out := measured{took: time.Since(from).Seconds()}
	return out, l.settle(ctx, 1, 0, out)
}

// runRestart kills one member, not the leader of more, and times its first answer.
func (t *table) runRestart(ctx context.Context, s *stand) (measured, error) {
	victim := 0
	if n := len(s.cluster.members); n > 1 {
		leader, err := s.cluster.leader(ctx)
		if err != nil {
			return nil, err
		}
		victim = (leader + 1) % n
	}
	r := revival{keys: t.bigKeys}
	one, err := r.once(ctx, s.cluster, victim)
	if err != nil {
		return nil, err
	}
	out := measured{took: one.FirstRead, residentMiB: float64(one.RSSAfter) / float64(len(s.cluster.members)) / (1 << 20)}
	return out, s.cluster.awaitAll(ctx)
}

// runJoin has a third member join two.
func (t *table) runJoin(ctx context.Context, s *stand) (measured, error) {
	g := growth{session: t.session, keys: t.bigKeys, valueSize: t.valueSize, before: joinRest}
	one, err := g.once(ctx, t.cmd, s.sys)
	if err != nil {
		return nil, err
	}
	return measured{took: one.Took}, nil
}

// runCompaction writes many versions, which is not measured, and puts at a steady pace while
// they are compacted, and for some time at least.
func (t *table) runCompaction(ctx context.Context, s *stand) (measured, error) {
	writers := newCrew(s.lanes, fillClients, versions("history/", newValues(t.valueSize)))
	if _, err := writers.run(ctx, limit{duration: t.timeout, total: max(t.sizes.versions/fillBatch, 1)}); err != nil {
		return nil, fmt.Errorf("write versions: %w", err)
	}
	if err := pause(ctx, t.settle); err != nil {
		return nil, err
	}
	c := newCrew(s.lanes, 1, func(int) step { return nil }).clients[0]
	var compacted time.Duration
	var failed error
	end := make(chan struct{})
	from := time.Now()
	go func() {
		defer close(end)
		_, failed = c.compact(ctx)
		compacted = time.Since(from)
		if failed == nil {
			failed = pause(ctx, t.through-compacted)
		}
	}()
	putters := newCrew(s.lanes, pacedClients, putRandom(keys{"beside/", rewritten}, newValues(t.valueSize)))
	res, err := putters.runPaced(ctx, time.Second/time.Duration(t.paced), end)
	<-end
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("put through a compaction: %w", err)
	}
	m := res.figures()
	m[took] = compacted.Seconds()
	return m, nil
}

// versions writes new versions of few keys, many in a transaction.
func versions(prefix string, vals values) func(int) step {
	return func(id int) step {
		at := id * fillBatch
		return func(ctx context.Context, c *client) error {
			txn := &pb.TxnRequest{}
			for range fillBatch {
				put := &pb.PutRequest{Key: keys{prefix: prefix}.name(at % rewritten), Value: []byte(vals.pick(c.rng))}
				txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
				at++
			}
			return c.ask(ctx, methodTxn, txn)
		}
	}
}
