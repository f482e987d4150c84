package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/machine"
	"chainfire/pki"
	"chainfire/raft"
	"chainfire/wal"
)

const survivorDir = "data"

// survivor writes the directory of member 2 of cluster 7, one of three voters. Its
// store holds the first entries of its log, its commit index covers some more, and
// the last ones are not known to be committed.
func survivor(t *testing.T) *disk.FaultFS {
	t.Helper()
	f := disk.NewFaultFS()
	n := recovery(f).directory(survivorDir, false)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(disk.MkdirAll(f, survivorDir))
	id := identity{Cluster: 7, Member: 2, Incarnation: 22, Name: "b"}
	var err error
	n.creds, err = pki.NewCredentials(n.sched.Now())
	check(err)
	_, err = n.foundAuthority(id, []string{"https://b:2380"})
	check(err)
	members := []machine.MemberRecord{
		{ID: 1, Name: "a", PeerURLs: []string{"https://a:2380"}, Incarnation: 11},
		{ID: 2, Name: "b", PeerURLs: []string{"https://b:2380"}, ClientURLs: []string{"http://b:2379"}, Incarnation: 22},
		{ID: 3, Name: "c", PeerURLs: []string{"https://c:2380"}, Incarnation: 33},
	}
	check(machine.Bootstrap(n.machineOptions(), machine.Init{
		ClusterID: 7, Members: members, Conf: raft.ConfState{Voters: []uint64{1, 2, 3}}, Index: 10, Term: 2,
		Tokens: []machine.TokenRecord{{ID: 1, SecretHash: bytes.Repeat([]byte{1}, 32)}},
	}))
	log, err := wal.Create(n.walOptions(), 10, 2, raft.HardState{Term: 2, Commit: 10})
	check(err)
	var es []raft.Entry
	for i := range uint64(5) {
		es = append(es, raft.Entry{Index: 11 + i, Term: 3, Data: putCommand(fmt.Sprintf("k%d", 11+i))})
	}
	check(log.Append(wal.Batch{Entries: es, HardState: &raft.HardState{Term: 4, Vote: 3, Commit: 13}}))
	check(log.Close())
	m, err := machine.Open(n.machineOptions())
	check(err)
	_, err = m.Apply(es[:1])
	check(errors.Join(err, m.Close()))
	check(writeSealed(f, n.path(peersFile), []peerAddress{{ID: 1, URLs: []string{"https://a:2380"}}}))
	check(saveIdentity(f, survivorDir, id))
	return f
}

func putCommand(key string) []byte {
	c := machine.Command{Put: &chainfire.PutRequest{Key: []byte(key), Value: []byte("v")}}
	return c.AppendTo(nil)
}

func recovery(f disk.FS) Recovery {
	return Recovery{
		Dir: survivorDir, FS: f, BumpRevision: 1000, Logger: slog.New(slog.DiscardHandler), Sched: sched.Or(nil),
		Bounds: Bounds{Still: true, SegmentBytes: 4096},
	}
}

// mustBeOld checks that a directory is what survivor wrote.
func mustBeOld(t *testing.T, f disk.FS) error {
	t.Helper()
	s, err := Survey(t.Context(), f, survivorDir)
	if err == nil {
		err = s.Damage()
	}
	if err != nil {
		return err
	}
	if s.Cluster != 7 || s.Member != 2 || s.Name != "b" || s.Last != 15 || s.LastTerm != 3 || s.Term != 4 || s.Vote != 3 ||
		s.Applied != 11 || s.Revision != 2 || s.Plain || s.Role() != RoleVoter || len(s.Members) != 3 {
		return fmt.Errorf("not the directory that it was: %+v", *s)
	}
	n := recovery(f).directory(survivorDir, false)
	if err := n.loadCredentials(identity{Cluster: 7, Member: 2}, true); err != nil {
		return err
	}
	return nil
}

// mustBeNew checks that a directory is what a recovery makes of it.
func mustBeNew(t *testing.T, f disk.FS) error {
	t.Helper()
	id, found, err := loadIdentity(f, survivorDir)
	if err != nil || !found {
		return fmt.Errorf("identity: %v, %w", found, err)
	}
	s, err := Survey(t.Context(), f, survivorDir)
	if err == nil {
		err = s.Damage()
	}
	if err != nil {
		return err
	}
	if s.Cluster == 7 || id.Cluster != s.Cluster || s.Member <= 15 || id.Incarnation == 22 || s.Name != "b" || s.RecoveredFrom != 7 ||
		!s.Conf.Equal(raft.ConfState{Voters: []uint64{s.Member}}) || len(s.Members) != 1 || s.Term != 5 || s.LastTerm != 5 ||
		s.Vote != 0 || s.Last != s.Member || s.Applied != s.Last || s.Revision != 6+1000 || s.Compacted != s.Revision {
		return fmt.Errorf("not what a recovery makes: %+v", *s)
	}
	if r := s.Members[0]; r.ID != s.Member || r.Incarnation != id.Incarnation || r.PeerURLs[0] != "https://b:2380" || r.ClientURLs[0] != "http://b:2379" {
		return fmt.Errorf("its member is %+v", r)
	}
	n := recovery(f).directory(survivorDir, false)
	if err := n.loadCredentials(id, true); err != nil {
		return err
	}
	m, err := machine.Open(n.machineOptions())
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	for _, old := range []uint64{1, 2, 3} {
		if !m.Removed(old) {
			return fmt.Errorf("member %d of the old cluster may come back", old)
		}
	}
	text, err := disk.ReadFile(f, n.path(tokenFile), 1<<10)
	if err != nil {
		return err
	}
	token, err := pki.ParseToken(string(text))
	if tokens := m.Tokens(); err != nil || len(tokens) != 1 || !pki.Matches(token.Secret[:], tokens[0].SecretHash) {
		return fmt.Errorf("token %v, %v: %w", token, tokens, err)
	}
	for i := 11; i <= 15; i++ {
		r, err := m.Range(t.Context(), &chainfire.RangeRequest{Key: fmt.Appendf(nil, "k%d", i)})
		if err != nil || r.Count != 1 {
			return fmt.Errorf("k%d: %+v, %w", i, r, err)
		}
	}
	if there, err := exists(f, n.path(peersFile)); there || err != nil {
		return fmt.Errorf("the old members' addresses are still there: %w", err)
	}
	return nil
}

func TestRecoveryMakesANewClusterOfEverythingInTheLog(t *testing.T) {
	f := survivor(t)
	if err := mustBeOld(t, f); err != nil {
		t.Fatal(err)
	}
	out, err := Recover(t.Context(), recovery(f))
	if err != nil {
		t.Fatal(err)
	}
	if out.OldCluster != 7 || out.OldMember != 2 || out.Applied != 15 || out.Unsure != 2 || out.OldRevision != 6 || out.Revision != 1006 {
		t.Errorf("%+v", out)
	}
	if err := mustBeNew(t, f); err != nil {
		t.Fatal(err)
	}
	// What it was is whole, in its folder.
	old, err := Survey(t.Context(), f, out.Kept)
	if err != nil || old.Damage() != nil || old.Cluster != 7 || old.Last != 15 || old.Applied != 11 {
		t.Errorf("kept: %+v, %v", old, err)
	}
	again, err := EarlierRecovery(f, survivorDir)
	if err != nil || again == nil || again.Cluster != out.Cluster || again.Kept != out.Kept || again.TokenFile != out.TokenFile {
		t.Errorf("told again: %+v, %v", again, err)
	}
}

func TestDamagedDirectoryIsNotRecoveredAndLeftAsItIs(t *testing.T) {
	for name, spoil := range map[string]func(*disk.FaultFS) error{
		"log":      func(f *disk.FaultFS) error { return f.FlipBit("data/wal/0000000000000001.wal", 20, 1) },
		"identity": func(f *disk.FaultFS) error { return f.FlipBit("data/"+identityFile, 20, 1) },
		"store":    func(f *disk.FaultFS) error { return f.Remove("data/store/STORE") },
		"noted":    func(f *disk.FaultFS) error { return writeSealed(f, "data/"+damageFile, damage{"rot"}) },
	} {
		f := survivor(t)
		if err := spoil(f); err != nil {
			t.Fatal(name, err)
		}
		before := strings.Join(f.Files(), "\n")
		if _, err := Recover(t.Context(), recovery(f)); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
		if after := strings.Join(f.Files(), "\n"); after != before {
			t.Errorf("%s: files were\n%s\nand are\n%s", name, before, after)
		}
	}
}

// TestCrashInARecoveryLeavesTheOldDirectoryOrTheNewOne lets the power go at every
// change of the disk: what is found then starts as what it was, or, completed, as
// what it becomes; and the same recovery done again makes the new one of either.
func TestCrashInARecoveryLeavesTheOldDirectoryOrTheNewOne(t *testing.T) {
	f := survivor(t)
	var images []*disk.FaultFS
	f.Observe(func(e disk.Event) {
		if e.Op == disk.OpRead {
			return
		}
		seed := uint64(len(images))
		images = append(images, f.Crash(disk.CrashOptions{Seed: seed, Names: disk.NamesPrefix, Tear: disk.TearGarble}))
	})
	if _, err := Recover(t.Context(), recovery(f)); err != nil {
		t.Fatal(err)
	}
	f.Observe(nil)
	images = append(images, f.Crash(disk.CrashOptions{}))
	old, fresh := 0, 0
	for i, image := range images {
		if testing.Short() && i%7 != 0 {
			continue
		}
		resumed, err := ResumeRecovery(image, survivorDir)
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		if wasOld := mustBeOld(t, image); wasOld == nil {
			old++
			if _, err := Recover(t.Context(), recovery(image)); err != nil {
				t.Fatalf("image %d: recover again: %v", i, err)
			}
		} else {
			fresh++
			if resumed == nil && i < len(images)-1 {
				if done, err := EarlierRecovery(image, survivorDir); err != nil || done == nil {
					t.Fatalf("image %d is neither old (%v) nor new: %v", i, wasOld, err)
				}
			}
		}
		if err := mustBeNew(t, image); err != nil {
			t.Fatalf("image %d of %d: %v", i, len(images), err)
		}
	}
	t.Logf("%d crashes left the old directory, %d the new one", old, fresh)
	if old == 0 || fresh == 0 {
		t.Error("the recovery is never, or always, decided")
	}
}

func TestInterruptedRecoveryEndsBeforeItIsDecided(t *testing.T) {
	f := survivor(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Recover(ctx, recovery(f)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := mustBeOld(t, f); err != nil {
		t.Fatal(err)
	}
}
