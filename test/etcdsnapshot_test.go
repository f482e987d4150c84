package test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// TestSnapshotIsRestoredByEtcdutlWithAllOfItsHistory saves a history with etcdctl,
// checks the file and restores it with etcdutl, and starts etcd on it: every revision
// from the compacted one on reads there as here, and the hashes are the same.
func TestSnapshotIsRestoredByEtcdutlWithAllOfItsHistory(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	m := c.followers()[0]
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h := &history{t: t, random: rand.New(rand.NewPCG(seed, 1))}
	h.clients = append(h.clients, etcdClientOf(t, m.client))
	for range 150 {
		h.step()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h.compact = h.revision / 2
	if _, err := h.clients[0].Compact(ctx, h.compact); err != nil {
		t.Fatal(err)
	}
	lease := attached(t, m, 100_000, "with/lease", "with/lease/too")
	h.revision += 2
	negative, err := pb.NewLeaseClient(dial(t, m.client)).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: -5, TTL: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if out, errOut, code := newEtcdctl(t, m.client).run("", "snapshot", "save", file); code != 0 {
		t.Fatalf("save: exit code %d: %s%s", code, out, errOut)
	}
	utl := etcdTool(t, "etcdutl")
	a := runToEnd(t, t.TempDir(), utl, "snapshot", "status", file, "-w", "json")
	var st struct {
		Revision int64  `json:"revision"`
		Version  string `json:"version"`
	}
	if err := json.Unmarshal([]byte(a.stdout), &st); err != nil || a.code != 0 || st.Revision != h.revision || st.Version != "3.7.0" {
		t.Fatalf("status: exit code %d, %v: %s%s", a.code, err, a.stdout, a.stderr)
	}
	restored := here.newEtcd(t, file)
	sides := []side{newSide(t, "etcd", restored), newSide(t, "chainfire", m.client)}
	d := &differential{t: t, sides: sides, requests: requests{revision: h.revision, compacted: h.compact}}
	for rev := h.compact; rev <= h.revision; rev++ {
		r := &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: rev}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Range(ctx, r) })
		if rev > h.compact {
			r := &pb.HashKVRequest{Revision: rev}
			both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.care.HashKV(ctx, r) })
		}
	}
	for _, id := range []int64{int64(lease), negative.ID} {
		r := &pb.LeaseTimeToLiveRequest{ID: id, Keys: true}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.lease.LeaseTimeToLive(ctx, r) })
	}
	w := &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: h.compact, PrevKv: true}
	both(d, w, func(ctx context.Context, s side) (proto.Message, error) { return d.watched(ctx, s.watch, w) })
	if d.refused > 0 {
		t.Errorf("%d requests were refused", d.refused)
	}
	// It is gone at the member once it was sent.
	m.await("an empty folder of files for etcd", soon, func(context.Context) error {
		left, err := filepath.Glob(filepath.Join(m.dir, "etcd-snapshots", "*"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v are left", left)
		}
		return err
	})
}

// TestSnapshotIsMadeWithoutAMajority is when a backup is wanted most.
func TestSnapshotIsMadeWithoutAMajority(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk()...)
	leader := c.awaitLeader()
	ballast(t, leader.kv(), 64<<10)
	for _, m := range c.followers() {
		m.kill()
	}
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if out, errOut, code := newEtcdctl(t, leader.client).run("", "snapshot", "save", file); code != 0 {
		t.Fatalf("save: exit code %d: %s%s", code, out, errOut)
	}
	if a := runToEnd(t, t.TempDir(), etcdTool(t, "etcdutl"), "snapshot", "status", file); a.code != 0 {
		t.Errorf("status: exit code %d: %s%s", a.code, a.stdout, a.stderr)
	}
}
