package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// history makes the same changes at several servers: single puts and deletions,
// deletions of intervals, transactions, compactions.
type history struct {
	t        *testing.T
	random   *rand.Rand
	clients  []*clientv3.Client
	revision int64
	compact  int64
}

func (h *history) key() string { return fmt.Sprintf("k/%02d", h.random.IntN(30)) }

func (h *history) put(key string) clientv3.Op {
	value := make([]byte, h.random.IntN(300))
	for i := range value {
		value[i] = byte(h.random.Uint32())
	}
	return clientv3.OpPut(key, string(value))
}

func (h *history) step() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	var op clientv3.Op
	switch n := h.random.IntN(20); {
	case n < 12:
		op = h.put(h.key())
	case n < 15:
		op = clientv3.OpDelete(h.key())
	case n < 17:
		op = clientv3.OpDelete(h.key(), clientv3.WithRange(h.key()))
	default:
		first := h.random.IntN(10)
		op = clientv3.OpTxn(nil, []clientv3.Op{
			h.put(fmt.Sprintf("k/%02d", first)), clientv3.OpDelete("k/10", clientv3.WithRange("k/20")), h.put(fmt.Sprintf("k/%02d", 20+first)),
		}, nil)
	}
	h.all(func(c *clientv3.Client) (err error) {
		r, err := c.Do(ctx, op)
		switch {
		case err != nil:
		case r.Put() != nil:
			h.revision = r.Put().Header.Revision
		case r.Del() != nil:
			h.revision = r.Del().Header.Revision
		case r.Txn() != nil:
			h.revision = r.Txn().Header.Revision
		}
		return err
	})
}

func (h *history) all(do func(*clientv3.Client) error) {
	h.t.Helper()
	for _, c := range h.clients {
		if err := do(c); err != nil {
			h.t.Fatal(err)
		}
	}
}

// compare asks all of them for the hash at a revision.
func (h *history) compare(rev int64) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	want := ""
	h.all(func(c *clientv3.Client) error {
		r, err := c.HashKV(ctx, c.Endpoints()[0], rev)
		if err != nil {
			return err
		}
		got := fmt.Sprintf("hash %x at %d, compacted %d, revision %d", r.Hash, r.HashRevision, r.CompactRevision, r.Header.Revision)
		if want == "" {
			want = got
		} else if got != want {
			h.t.Errorf("%s has %s; %s has %s", h.clients[0].Endpoints()[0], want, c.Endpoints()[0], got)
		}
		return nil
	})
}

// TestHashOfTheKeySpaceIsThatOfEtcdAtEveryMember makes one history at etcd and here,
// and compares the hashes at many revisions, before and after compactions.
func TestHashOfTheKeySpaceIsThatOfEtcdAtEveryMember(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := here.newCluster(t, calm()...)
	h := &history{t: t, random: rand.New(rand.NewPCG(seed, 1))}
	for _, endpoint := range []string{here.newEtcd(t), c.members[0].client} {
		h.clients = append(h.clients, etcdClientOf(t, endpoint))
	}
	followers := []*clientv3.Client{etcdClientOf(t, c.members[1].client), etcdClientOf(t, c.members[2].client)}
	for round := range 12 {
		for range 25 {
			h.step()
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		for _, f := range followers {
			// A linearizable read: it has applied what the others have.
			if _, err := f.Get(ctx, "k/00"); err != nil {
				t.Fatal(err)
			}
		}
		h.clients = append(h.clients, followers...)
		for range 5 {
			// At the compacted revision itself etcd answers with what it computed before
			// that compaction.
			h.compare(h.compact + 1 + h.random.Int64N(h.revision-h.compact))
		}
		h.compare(0)
		h.clients = h.clients[:2]
		if round%3 == 2 {
			h.compact += 1 + h.random.Int64N(h.revision-h.compact-1)
			// Etcd's hash is defined once the compaction is through.
			h.all(func(c *clientv3.Client) error {
				_, err := c.Compact(ctx, h.compact, clientv3.WithCompactPhysical())
				return err
			})
			for _, f := range followers {
				if _, err := f.Get(ctx, "k/00"); err != nil {
					t.Fatal(err)
				}
			}
			h.clients = append(h.clients, followers...)
			h.compare(0)
			h.clients = h.clients[:2]
		}
		cancel()
	}
}
