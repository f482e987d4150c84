package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
)

// saved is a file that etcdctl saves of a server.
func saved(t *testing.T, endpoint string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if out, errOut, code := newEtcdctl(t, endpoint).run("", "snapshot", "save", file); code != 0 {
		t.Fatalf("save: exit code %d: %s%s", code, out, errOut)
	}
	return file
}

// restored is what snapshot restore prints.
type restored struct {
	Dir         string `json:"data_dir"`
	File        string `json:"file"`
	Hashed      bool   `json:"hash_checked"`
	Copied      bool   `json:"of_data_dir"`
	Applied     uint64 `json:"consistent_index"`
	Cluster     string `json:"cluster_id"`
	Name        string `json:"name"`
	OldRevision int64  `json:"old_revision"`
	Revision    int64  `json:"revision"`
	Compacted   int64  `json:"compact_revision"`
	Versions    int64  `json:"versions"`
	Leases      int    `json:"leases"`
	Alarms      int    `json:"alarms"`
	Log         *struct {
		Last    uint64 `json:"last_entry"`
		Entries uint64 `json:"entries"`
		Beyond  uint64 `json:"not_committed"`
		Torn    string `json:"torn"`
	} `json:"wal"`
}

// restoreAs makes a member of a file, or of a directory, and starts it.
func (l *lab) restoreAs(t *testing.T, name, from string, flags ...string) (*member, restored) {
	t.Helper()
	m := l.newMember(t, name, calm()...)
	args := append([]string{"snapshot", "restore", from, "--data-dir", m.dir, "--name", name, "--advertise-peer", m.peer, "--advertise-client", m.client, "-w", "json"}, flags...)
	out, err := offline(t, args...)
	r := decode[restored](t, out, err)
	m.start()
	m.awaitServing()
	return m, r
}

// fill makes a history at servers: writes, deletions, transactions, leases, and a
// compaction in the middle.
func fill(t *testing.T, steps int, endpoints ...string) *history {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h := &history{t: t, random: rand.New(rand.NewPCG(seed, 1))}
	for _, e := range endpoints {
		h.clients = append(h.clients, etcdClientOf(t, e))
	}
	for range steps {
		h.step()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h.compact = h.revision / 2
	h.all(func(c *clientv3.Client) error {
		if _, err := c.Compact(ctx, h.compact); err != nil {
			return err
		}
		for _, id := range leasesOfFill {
			if _, err := pb.NewLeaseClient(c.ActiveConnection()).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: 100_000}); err != nil {
				return err
			}
			key := fmt.Sprintf("lease/%d", id)
			if _, err := c.Put(ctx, key, "v", clientv3.WithLease(clientv3.LeaseID(id))); err != nil {
				return err
			}
			if _, err := c.Put(ctx, "lease/moved", "v", clientv3.WithLease(clientv3.LeaseID(id))); err != nil {
				return err
			}
		}
		_, err := c.Delete(ctx, "k/", clientv3.WithRange("k/05"))
		r, gerr := c.Get(ctx, "k")
		if gerr == nil {
			h.revision = r.Header.Revision
		}
		return errors.Join(err, gerr)
	})
	return h
}

var leasesOfFill = []int64{7, -5, 1 << 40}

// mustBeSame compares everything that can be asked of a history: every revision from the
// compacted one on and those around, hashes, watches from each, and leases.
func mustBeSame(t *testing.T, h *history, sides ...side) {
	t.Helper()
	d := &differential{t: t, sides: sides, requests: requests{revision: h.revision, compacted: h.compact}}
	for rev := h.compact - 2; rev <= h.revision+1; rev++ {
		r := &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: rev}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Range(ctx, r) })
		if k := (&pb.HashKVRequest{Revision: rev}); rev != h.compact { // there etcd has the hash of before the compaction
			both(d, k, func(ctx context.Context, s side) (proto.Message, error) { return s.care.HashKV(ctx, k) })
		}
		if rev%7 == 0 || rev <= h.compact+1 {
			w := &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: rev, PrevKv: rev > h.compact}
			both(d, w, func(ctx context.Context, s side) (proto.Message, error) { return d.watched(ctx, s.watch, w) })
		}
	}
	for _, id := range append(leasesOfFill, 12345) {
		r := &pb.LeaseTimeToLiveRequest{ID: id, Keys: true}
		both(d, r, func(ctx context.Context, s side) (proto.Message, error) {
			a, err := s.lease.LeaseTimeToLive(ctx, r)
			if err == nil && a.TTL > a.GrantedTTL && a.TTL < a.GrantedTTL+10 {
				a.TTL = a.GrantedTTL // a new leader adds the time of an election
			}
			return a, err
		})
	}
	a := &pb.LeaseLeasesRequest{}
	both(d, a, func(ctx context.Context, s side) (proto.Message, error) { return s.lease.LeaseLeases(ctx, a) })
	c := &pb.CompactionRequest{Revision: h.compact}
	both(d, c, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Compact(ctx, c) })
}

// TestSnapshotOfEtcdIsRestoredWithAllOfItsHistory goes from etcd to here, from here to
// etcd again and to a second cluster here, and compares all four: what they answer, and
// how they go on under the same writes. More members join what was restored.
func TestSnapshotOfEtcdIsRestoredWithAllOfItsHistory(t *testing.T) {
	t.Parallel()
	from := here.startEtcd(t)
	h := fill(t, 150, from.client)
	first, r := here.restoreAs(t, "a", saved(t, from.client))
	if r.Revision != h.revision || r.OldRevision != h.revision || r.Compacted != h.compact || !r.Hashed || r.Copied || r.Leases != len(leasesOfFill) || r.Name != "a" || r.Versions == 0 {
		t.Errorf("restored: %+v", r)
	}
	back := saved(t, first.client)
	again := here.startEtcd(t, back)
	second, r2 := here.restoreAs(t, "b", back)
	if r2.Cluster == r.Cluster || r2.Versions != r.Versions || r2.Revision != r.Revision {
		t.Errorf("restored again: %+v, and before that %+v", r2, r)
	}
	sides := []side{
		newSide(t, "etcd", from.client), newSide(t, "restored", first.client),
		newSide(t, "etcd again", again.client), newSide(t, "restored again", second.client),
	}
	mustBeSame(t, h, sides...)
	grown := &cluster{t: t, members: []*member{first}}
	for _, name := range []string{"c", "d"} {
		m := here.newMember(t, name, calm()...)
		m.launch(first.peer)
		grown.members = append(grown.members, m)
	}
	grown.awaitVoters(3, 3)
	newcomer := grown.members[1]
	sides = append(sides, newSide(t, "newcomer", newcomer.client))
	for _, m := range []*member{first, second} {
		h.clients = append(h.clients, m.kv())
	}
	h.clients = append(h.clients, etcdClientOf(t, again.client))
	for range 20 {
		h.step()
	}
	newcomer.awaitServing()
	mustBeSame(t, h, sides...)
}

// TestAlarmsAreRestored: a cluster that was out of room is so, until its operator says
// otherwise.
func TestAlarmsAreRestored(t *testing.T) {
	t.Parallel()
	from := here.startEtcd(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	raise := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 99, Alarm: pb.AlarmType_NOSPACE}
	if _, err := pb.NewMaintenanceClient(dial(t, from.client)).Alarm(ctx, raise); err != nil {
		t.Fatal(err)
	}
	m, r := here.restoreAs(t, "a", saved(t, from.client))
	_, err := m.kv().Put(ctx, "k", "v")
	if err == nil || err.Error() != "etcdserver: mvcc: database space exceeded" || r.Alarms != 1 {
		t.Fatalf("put: %v; %+v", err, r)
	}
	if out, errOut, code := newEtcdctl(t, m.client).run("", "alarm", "disarm"); code != 0 {
		t.Fatalf("disarm: exit code %d: %s%s", code, out, errOut)
	}
	if _, err := m.kv().Put(ctx, "k", "v"); err != nil {
		t.Error(err)
	}
}

// TestDataDirectoryOfAStoppedEtcdIsRestored, and that of one that runs is not.
func TestDataDirectoryOfAStoppedEtcdIsRestored(t *testing.T) {
	t.Parallel()
	from := here.startEtcd(t)
	h := fill(t, 60, from.client)
	file := saved(t, from.client)
	dir := filepath.Join(t.TempDir(), "data")
	mustComplain(t, []string{"snapshot", "restore", from.dir, "--data-dir", dir}, filepath.Join("member", "snap", "db"), "in use", "stop the etcd")
	from.stop(t)
	m, r := here.restoreAs(t, "a", from.dir)
	if !r.Copied || r.Hashed || r.Revision != h.revision || r.Applied == 0 {
		t.Errorf("restored: %+v", r)
	}
	db := filepath.Join(from.dir, "member", "snap", "db")
	mustComplain(t, []string{"snapshot", "restore", db, "--data-dir", dir}, db, "--skip-hash-check")
	copied, _ := here.restoreAs(t, "b", db, "--skip-hash-check")
	mustBeSame(t, h, newSide(t, "etcd", here.newEtcd(t, file)), newSide(t, "of the directory", m.client), newSide(t, "of the file in it", copied.client))
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left of what was refused: %v", err)
	}
}

// TestRestoreMovesTheRevisionOn, so that a client which saw later revisions than those in
// the file does not wait in silence for them.
func TestRestoreMovesTheRevisionOn(t *testing.T) {
	t.Parallel()
	from := here.startEtcd(t)
	h := fill(t, 40, from.client)
	file := saved(t, from.client)
	for _, flags := range [][]string{{"--bump-revision", "1000"}, {"--mark-compacted"}} {
		mustComplain(t, append([]string{"snapshot", "restore", file, "--data-dir", filepath.Join(t.TempDir(), "data")}, flags...), "go together")
	}
	const bump = 1_000_000
	m, r := here.restoreAs(t, "a", file, "--bump-revision", fmt.Sprint(bump), "--mark-compacted")
	if r.OldRevision != h.revision || r.Revision != h.revision+bump || r.Compacted != r.Revision {
		t.Errorf("restored: %+v", r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, rev := range []int64{h.revision, h.revision + 1, h.revision + bump - 1} {
		w := <-m.kv().Watch(ctx, "k", clientv3.WithRev(rev))
		if !w.Canceled || w.CompactRevision != r.Revision {
			t.Errorf("watch from %d: %+v", rev, w)
		}
	}
	p, err := m.kv().Put(ctx, "k", "v")
	if err != nil || p.Header.Revision != r.Revision+1 {
		t.Fatalf("put: %+v, %v", p, err)
	}
	// What etcdutl moved on is taken over as it is, by way of an etcd.
	e := here.startEtcd(t, file, "--bump-revision", fmt.Sprint(bump), "--mark-compacted")
	if _, err := etcdClientOf(t, e.client).Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	moved, r2 := here.restoreAs(t, "b", saved(t, e.client))
	if r2.Revision != r.Revision+1 || r2.Compacted != r.Compacted {
		t.Errorf("restored of what etcdutl moved on: %+v", r2)
	}
	d := &differential{t: t, sides: []side{newSide(t, "etcd", e.client), newSide(t, "of a file of that", moved.client), newSide(t, "moved on here", m.client)}}
	for _, q := range []*pb.RangeRequest{
		{Key: []byte{0}, RangeEnd: []byte{0}}, {Key: []byte("k"), Revision: r.Revision}, {Key: []byte("k"), Revision: r.Revision - 1},
	} {
		both(d, q, func(ctx context.Context, s side) (proto.Message, error) { return s.kv.Range(ctx, q) })
	}
}

// TestWhatCannotBeRestoredIsRefusedAndNothingIsLeft names the file and what to do.
func TestWhatCannotBeRestoredIsRefusedAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	from := here.startEtcd(t)
	fill(t, 60, from.client)
	file := saved(t, from.client)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "own")
	if a := here.chainfire(t, t.TempDir(), oneMember(t).members[0], "snapshot", "save", own); a.code != 0 {
		t.Fatal(a.stderr)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := append([]byte{}, whole...)
	flipped[len(whole)/2] ^= 4
	into := filepath.Join(t.TempDir(), "data")
	for _, c := range []struct {
		file  string
		words []string
	}{
		{write("flipped", flipped), []string{"exit code 2", "corrupt data", "SHA-256"}},
		{write("cut", whole[:len(whole)-4096]), []string{"exit code 2", "corrupt data", "SHA-256"}},
		{write("cut inside", whole[:len(whole)-1000]), []string{"exit code 1", "cut short", "--skip-hash-check"}},
		{write("empty", nil), []string{"it is empty"}},
		{write("text", []byte(strings.Repeat("text\n", 3000))), []string{"no file of etcd", "etcdctl snapshot save"}},
		{own, []string{"chainfire snapshot save", "etcdctl snapshot save"}},
		{dir, []string{"no file of etcd", "member/snap/db"}},
		{filepath.Join(dir, "none"), []string{"no such file"}},
	} {
		mustComplain(t, []string{"snapshot", "restore", c.file, "--data-dir", into}, append(c.words, c.file)...)
		if _, err := os.Stat(into); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s: something is left: %v", c.file, err)
		}
	}
	mustComplain(t, []string{"snapshot", "restore", write("cut, unhashed", whole[:len(whole)-4096]), "--data-dir", into, "--skip-hash-check"}, "exit code 2", "cut short")
	m := oneMember(t).members[0]
	mustComplain(t, []string{"snapshot", "restore", file, "--data-dir", m.dir}, m.dir, "not empty")
	m.stop()
	mustComplain(t, []string{"snapshot", "restore", file, "--data-dir", m.dir}, m.dir, "not empty")
	m.start()
	m.awaitServing()
}

// TestUsersOfEtcdAreRestored, with what they may do and their passwords.
func TestUsersOfEtcdAreRestored(t *testing.T) {
	t.Parallel()
	from := here.startEtcd(t)
	withUsers(t, etcdClientOf(t, from.client))
	etcd := newEtcdctl(t, from.client)
	file, into := filepath.Join(t.TempDir(), "db"), here.newMember(t, "default")
	for _, line := range []string{"put a1 v", "snapshot save " + file} {
		if out, errOut, code := etcd.run("", append([]string{"--user", "root:root"}, strings.Fields(line)...)...); code != 0 {
			t.Fatalf("%s: %s%s", line, out, errOut)
		}
	}
	a := runToEnd(t, t.TempDir(), here.binary, "snapshot", "restore", file, "--data-dir", into.dir, "--name", into.name,
		"--advertise-peer", "https://"+into.peer, "--advertise-client", into.client)
	if a.code != 0 || !strings.Contains(a.stdout, "2, and authentication is enabled") {
		t.Fatalf("restore: %+v", a)
	}
	into.launch()
	await(t, "it serves", patience, func(ctx context.Context) error {
		_, err := clientAs(t, "ann", into.client).Get(ctx, "a1")
		return err
	})
	own := newEtcdctl(t, into.client)
	for _, line := range []string{
		"get a1", "--user ann:ann get a1", "--user ann:ann get b", "--user ann:wrong get a1", "--user root:root role get a",
		"--user root:root user list", "--user root:root user get ann", "--user root:root role list", "--user root:root auth status",
	} {
		args := strings.Fields(line)
		out, errOut, code := etcd.run("", args...)
		if gotOut, gotErrOut, gotCode := own.run("", args...); gotOut != out || lastError(gotErrOut) != lastError(errOut) || gotCode != code {
			t.Errorf("etcdctl %s: code %d, printed\n%s%s\netcd: code %d,\n%s%s", line, gotCode, gotOut, gotErrOut, code, out, errOut)
		}
	}
}
