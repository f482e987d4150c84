package test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// single is a cluster of one that has acknowledged some writes.
func single(t *testing.T) (*cluster, *load) {
	t.Helper()
	c := oneMember(t)
	l := startLoad(t, loadOptions{endpoints: c.endpoints()})
	l.awaitWrites(300)
	l.end()
	return c, l
}

// files are those that match, below the data directory of a member, in order.
func (m *member) files(pattern string) []string {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.dir, pattern))
	if err != nil || len(found) == 0 {
		m.t.Fatalf("no file matches %s: %v", pattern, err)
	}
	slices.Sort(found)
	return found
}

// last is the last of the files that match.
func (m *member) last(pattern string) string {
	m.t.Helper()
	found := m.files(pattern)
	return found[len(found)-1]
}

// largest is the largest of the files that match.
func (m *member) largest(pattern string) string {
	m.t.Helper()
	return slices.MaxFunc(m.files(pattern), func(a, b string) int {
		x, err := os.Stat(a)
		y, yerr := os.Stat(b)
		if err = errors.Join(err, yerr); err != nil {
			m.t.Fatal(err)
		}
		return cmp.Compare(x.Size(), y.Size())
	})
}

// spoil changes a file.
func spoil(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flip turns a bit in the middle of what was written; a segment of the log is
// longer than that.
func flip(b []byte) []byte {
	b[len(bytes.TrimRight(b, "\x00"))/2] ^= 0x10
	return b
}

// flipFirst turns a bit in the first record. A bit in the last one is not told
// from a write that a crash cut short, and need not be noticed if nothing is lost.
func flipFirst(b []byte) []byte {
	b[10] ^= 0x10
	return b
}

// litter leaves garbage behind what was written.
func litter(b []byte) []byte {
	// What was written may itself end with a few zeros.
	end := len(bytes.TrimRight(b, "\x00")) + 64
	garbage := bytes.Repeat([]byte("garbage"), 30)
	if missing := end + len(garbage) - len(b); missing > 0 {
		b = append(b, make([]byte, missing)...)
	}
	copy(b[end:], garbage)
	return b
}

// digest is a sum of all that is in a folder, the lock left out.
func digest(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, fmt.Sprintf("%s %x", path, sha256.Sum256(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// mustRefuse starts a member that must not start: it says why, and leaves its
// data as it is.
func (m *member) mustRefuse(words ...string) {
	m.t.Helper()
	before := digest(m.t, m.dir)
	m.launch()
	m.mustFail(patience, words...)
	if after := digest(m.t, m.dir); after != before {
		m.t.Errorf("the refused start changed the data from\n%s\nto\n%s", before, after)
	}
}

func TestRotInTheLogIsRefusedWithFileAndOffset(t *testing.T) {
	t.Parallel()
	c, l := single(t)
	a := c.members[0]
	a.kill()
	segment := a.last("wal/*.wal")
	spoil(t, segment, flip)
	a.mustRefuse(segment, "corrupt", " at ", "durable")
	spoil(t, segment, flip) // back as it was
	a.start()
	a.awaitServing()
	l.verify(c.members)
}

func TestUnfinishedWriteAtTheEndOfTheLogIsCutOff(t *testing.T) {
	t.Parallel()
	c, l := single(t)
	a := c.members[0]
	a.kill()
	segment := a.last("wal/*.wal")
	spoil(t, segment, litter)
	a.start()
	if log := a.proc.log(); !strings.Contains(log, "never acknowledged") || !strings.Contains(log, segment) {
		t.Errorf("the log does not say what was cut off:\n%s", log)
	}
	a.awaitServing()
	l.verify(c.members)
}

// storeDamage is ways to damage the store below a data directory that show when
// it is opened.
func storeDamage() map[string]func(*member) {
	remove := func(pattern string) func(*member) {
		return func(m *member) {
			if err := os.Remove(m.last(pattern)); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	return shortened(map[string]func(*member){
		"a table is gone":         remove("store/store-*/*.sst"),
		"the manifest is gone":    remove("store/store-*/MANIFEST-*"),
		"the manifest is rotten":  func(m *member) { spoil(m.t, m.last("store/store-*/MANIFEST-*"), flipFirst) },
		"the pointer is rotten":   func(m *member) { spoil(m.t, m.last("store/STORE"), flip) },
		"the whole store is gone": func(m *member) { removeAll(m.t, filepath.Join(m.dir, "store")) },
	})
}

func removeAll(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedStoreOfAFollowerIsRebuiltFromAnotherMember(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	ballast(t, c.awaitLeader().kv(), 1<<20)
	l := startLoad(t, loadOptions{endpoints: c.endpoints(), pace: 20 * time.Millisecond})
	l.awaitWrites(20)
	for name, damage := range storeDamage() {
		m := c.followers()[0]
		m.stop() // which flushes the store
		damage(m)
		m.mustRebuild(name)
		c.awaitVoters(3, 3)
		l.awaitWrites(20)
	}
	c.mustHoldTheSame("ballast/")
	l.verify(c.members)
}

// mustRebuild starts a member whose store is damaged and checks that it says so.
func (m *member) mustRebuild(why string) {
	m.t.Helper()
	m.start()
	m.awaitServing()
	if log := m.proc.log(); !strings.Contains(log, "store set aside; rebuilding it from another member") {
		m.t.Errorf("%s: the member started without a word of it:\n%s", why, log)
	}
}

// rotATable turns a bit in the data of a table of a member that is stopped, starts
// it, and reads at it until it ends. It returns the table.
func (m *member) rotATable() string {
	m.t.Helper()
	m.stop() // which flushes the store
	table := m.largest("store/store-*/*.sst")
	spoil(m.t, table, flip)
	m.launch()
	await(m.t, "the end of a member with a rotten table", soon, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		r, err := m.kv().Get(ctx, "ballast/", clientv3.WithPrefix(), clientv3.WithSerializable())
		switch {
		case err == nil:
			return &hopeless{fmt.Errorf("%d keys were read from a rotten table", len(r.Kvs))}
		case m.proc.alive():
			return err
		}
		return nil
	})
	m.mustFail(soon, "the member stopped", "corrupt data", table, "checksum mismatch")
	return table
}

func TestRotInATableEndsAFollowerWhichIsRebuiltAtItsNextStart(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	ballast(t, c.awaitLeader().kv(), 1<<20)
	l := startLoad(t, loadOptions{endpoints: c.endpoints(), pace: 20 * time.Millisecond})
	l.awaitWrites(20)
	m := c.followers()[0]
	m.rotATable()
	m.mustRebuild("rot in a table")
	c.awaitVoters(3, 3)
	l.awaitWrites(20)
	c.mustHoldTheSame("ballast/")
	l.verify(c.members)
	m.stop()
	m.start()
	if log := m.proc.log(); strings.Contains(log, "store set aside") {
		t.Errorf("the store is rebuilt once more:\n%s", log)
	}
}

func TestRotInATableEndsASingleMemberWhichNamesIt(t *testing.T) {
	t.Parallel()
	a := oneMember(t).members[0]
	ballast(t, a.kv(), 1<<20)
	table := a.rotATable()
	if _, err := os.Stat(table); err != nil {
		t.Errorf("the rotten table was not left where it is: %v", err)
	}
}

func TestDamagedStoreOfASingleMemberIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	for name, damage := range storeDamage() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := oneMember(t).members[0]
			ballast(t, a.kv(), 256<<10)
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			if _, err := a.kv().Put(ctx, "the last", "write"); err != nil {
				t.Fatal(err)
			}
			a.stop()
			damage(a)
			a.mustRefuse("the store is damaged", filepath.Join(a.dir, "store"), "restore the data directory from a backup")
		})
	}
}

func TestRotDoesNotTravelWithASeed(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	a := c.members[0]
	ballast(t, a.kv(), 1<<20)
	a.stop() // which flushes the store
	table := a.largest("store/store-*/*.sst")
	spoil(t, table, flip)
	a.start()
	a.awaitServing()
	b := here.newMember(t, "b")
	b.launch(a.peer)
	b.mustFail(patience, "cut a snapshot", filepath.Base(table), " at offset ", "fails its checksum")
	if !a.proc.alive() {
		t.Fatalf("the only member with data ended:\n%s", a.proc.log())
	}
	c.mustBeWhole(soon)
}

func TestMemberThatFindsRotInASnapshotOfItselfEndsAndIsRebuilt(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	ballast(t, c.awaitLeader().kv(), 1<<20)
	m := c.followers()[0]
	m.stop() // which flushes the store
	m.start()
	m.awaitServing()
	table := m.largest("store/store-*/*.sst")
	spoil(t, table, flip)
	file := filepath.Join(t.TempDir(), "saved")
	out, err := exec.CommandContext(t.Context(), m.lab.binary, "snapshot", "save", file, "--endpoints", m.client).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "fails its checksum") {
		t.Fatalf("a snapshot of a rotten store was saved, or refused without the reason: %v\n%s", err, out)
	}
	m.mustFail(soon, "the member stopped", "corrupt data", filepath.Base(table), "fails its checksum")
	m.mustRebuild("rot in a snapshot")
	c.awaitVoters(3, 3)
	c.mustHoldTheSame("ballast/")
}
