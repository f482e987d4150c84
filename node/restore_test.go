package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chainfire"
	"chainfire/etcdfile"
	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/machine"
	"chainfire/mvcc"
	"chainfire/pki"
)

// etcdSnapshot writes a file of three versions of a key, the last of them attached to a
// lease, with the checksum of the whole.
func etcdSnapshot(t *testing.T) string {
	t.Helper()
	opts := mvcc.Options{FS: disk.NewFaultFS(), Dir: "source"}
	if err := mvcc.Create(opts, mvcc.State{}, nil); err != nil {
		t.Fatal(err)
	}
	s, err := mvcc.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	err = w.SetLease(mvcc.Lease{ID: 5, TTL: 100, Remaining: 40})
	for i := range int64(3) {
		_, perr := w.Put([]byte("k"), fmt.Appendf(nil, "v%d", i), i/2*5, false)
		w.EndTxn()
		err = errors.Join(err, perr)
	}
	if err := errors.Join(err, w.Commit(20, 4)); err != nil {
		t.Fatal(err)
	}
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "snapshot.db")
	err = etcdfile.Write(t.Context(), path, etcdfile.State{View: v, Applied: 20, Term: 4})
	if err := errors.Join(err, v.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	sum := sha256.Sum256(b)
	if err := errors.Join(err, os.WriteFile(path, append(b, sum[:]...), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func restoration(f disk.FS, file string) Restoration {
	return Restoration{
		From: file, Dir: survivorDir, FS: f, Logger: slog.New(slog.DiscardHandler), Sched: sched.Or(nil), Name: "n", Version: "1.2.3",
		AdvertisePeer: "https://n:2380", AdvertiseClient: []string{"http://n:2379"}, Bounds: Bounds{Still: true, SegmentBytes: 4096},
	}
}

// mustBeRestored checks that a directory is the member that a restore makes.
func mustBeRestored(t *testing.T, f disk.FS) error {
	t.Helper()
	s, err := Survey(t.Context(), f, survivorDir)
	if err == nil {
		err = s.Damage()
	}
	if err != nil {
		return err
	}
	if s.Member != 1 || s.Name != "n" || s.Plain || s.Role() != RoleVoter || len(s.Members) != 1 || s.Applied != 1 || s.Last != 1 ||
		s.Revision != 4 || s.Compacted != mvcc.NeverCompacted || s.Members[0].PeerURLs[0] != "https://n:2380" || s.Members[0].Version != "1.2.3" {
		return fmt.Errorf("not what a restore makes: %+v", *s)
	}
	n := recovery(f).directory(survivorDir, false)
	if err := n.loadCredentials(identity{Cluster: s.Cluster, Member: 1}, true); err != nil {
		return err
	}
	m, err := machine.Open(n.machineOptions())
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	for i := range int64(3) {
		r, err := m.Range(t.Context(), &chainfire.RangeRequest{Key: []byte("k"), Revision: i + 2})
		if err != nil || len(r.KVs) != 1 || string(r.KVs[0].Value) != fmt.Sprintf("v%d", i) || r.KVs[0].Version != i+1 {
			return fmt.Errorf("k at revision %d: %+v, %w", i+2, r, err)
		}
	}
	leases, err := m.Leases()
	keys, kerr := m.LeaseKeys(5)
	if err := errors.Join(err, kerr); err != nil || len(leases) != 1 || leases[0] != (machine.Lease{ID: 5, TTL: 100, Remaining: 40}) || len(keys) != 1 || m.Level() < machine.LeaseLevel {
		return fmt.Errorf("leases %+v with %q at level %d, %w", leases, keys, m.Level(), err)
	}
	text, err := disk.ReadFile(f, n.path(tokenFile), 1<<10)
	if err != nil {
		return err
	}
	token, err := pki.ParseToken(string(text))
	if tokens := m.Tokens(); err != nil || len(tokens) != 1 || !pki.Matches(token.Secret[:], tokens[0].SecretHash) {
		return fmt.Errorf("token %v, %v: %w", token, tokens, err)
	}
	return nil
}

func TestRestoreMakesTheFirstMemberOfANewCluster(t *testing.T) {
	f := disk.NewFaultFS()
	file := etcdSnapshot(t)
	out, err := Restore(t.Context(), restoration(f, file))
	if err != nil {
		t.Fatal(err)
	}
	if out.Applied != 20 || out.Term != 4 || out.Versions != 3 || out.Leases != 1 || !out.Hashed || out.Copied || out.Revision != 4 || out.OldRevision != 4 {
		t.Errorf("%+v", out)
	}
	if err := mustBeRestored(t, f); err != nil {
		t.Fatal(err)
	}
	before := strings.Join(f.Files(), "\n")
	if _, err := Restore(t.Context(), restoration(f, file)); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("again: %v", err)
	}
	if after := strings.Join(f.Files(), "\n"); after != before {
		t.Errorf("files were\n%s\nand are\n%s", before, after)
	}
}

// TestCrashInARestoreLeavesNothingThatStarts lets the power go at every change of the
// disk: what is found then is empty, or refuses to start until the restore is done
// again, or is the new member.
func TestCrashInARestoreLeavesNothingThatStarts(t *testing.T) {
	f := disk.NewFaultFS()
	file := etcdSnapshot(t)
	var images []*disk.FaultFS
	f.Observe(func(e disk.Event) {
		if e.Op == disk.OpRead {
			return
		}
		seed := uint64(len(images))
		images = append(images, f.Crash(disk.CrashOptions{Seed: seed, Names: disk.NamesPrefix, Tear: disk.TearGarble}))
	})
	if _, err := Restore(t.Context(), restoration(f, file)); err != nil {
		t.Fatal(err)
	}
	f.Observe(nil)
	images = append(images, f.Crash(disk.CrashOptions{}))
	empty, refused, whole := 0, 0, 0
	for i, image := range images {
		if testing.Short() && i%7 != 0 && i < len(images)-1 {
			continue
		}
		_, found, err := loadIdentity(image, survivorDir)
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		switch settled := settle(image, survivorDir); {
		case found && settled == nil:
			whole++
		case found:
			t.Fatalf("image %d: the new member does not start: %v", i, settled)
		case settled != nil && strings.Contains(settled.Error(), "was cut short"):
			refused++
		default:
			names, err := image.List(survivorDir)
			names = slices.DeleteFunc(names, func(n string) bool { return n == disk.LockName || n == restoringFile+".tmp" })
			if err := errors.Join(ignoreMissing(err), settled); err != nil || len(names) > 0 {
				t.Fatalf("image %d is begun, and nothing says so: %v, %v", i, names, err)
			}
			empty++
		}
		if !found {
			if _, err := Restore(t.Context(), restoration(image, file)); err != nil {
				t.Fatalf("image %d: restore again: %v", i, err)
			}
		}
		if err := mustBeRestored(t, image); err != nil {
			t.Fatalf("image %d of %d: %v", i, len(images), err)
		}
	}
	t.Logf("%d crashes left nothing, %d what does not start, %d the new member", empty, refused, whole)
	if empty == 0 || refused == 0 || whole == 0 {
		t.Error("one of the three never comes about")
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func TestRestoreThatFailsLeavesTheDirectoryAsItWas(t *testing.T) {
	file := etcdSnapshot(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Restore(canceled, restoration(disk.NewFaultFS(), file)); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	for _, there := range []bool{false, true} {
		failed := 0
		for room := int64(0); ; room += 512 {
			f := disk.NewFaultFS()
			if there {
				if err := disk.MkdirAll(f, survivorDir); err != nil {
					t.Fatal(err)
				}
			}
			f.LimitSpace(room)
			_, err := Restore(t.Context(), restoration(f, file))
			f.Heal()
			if err == nil {
				break
			}
			failed++
			if names, lerr := f.List(survivorDir); len(names) > 0 || there != (lerr == nil) {
				t.Fatalf("with room for %d bytes: %v; %v is left: %v", room, err, names, lerr)
			}
		}
		if failed < 10 {
			t.Errorf("it failed for want of room only %d times", failed)
		}
	}
}
