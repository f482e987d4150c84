package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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

// one returns the only or the last of the files that match, below the data
// directory of a member.
func (m *member) one(pattern string) string {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.dir, pattern))
	if err != nil || len(found) == 0 {
		m.t.Fatalf("no file matches %s: %v", pattern, err)
	}
	slices.Sort(found)
	return found[len(found)-1]
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

// flip turns a bit in the middle.
func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 0x10
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
	segment := a.one("wal/*.wal")
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
	segment := a.one("wal/*.wal")
	spoil(t, segment, func(b []byte) []byte { return append(b, bytes.Repeat([]byte("garbage"), 30)...) })
	a.start()
	if log := a.proc.log(); !strings.Contains(log, "never acknowledged") || !strings.Contains(log, segment) {
		t.Errorf("the log does not say what was cut off:\n%s", log)
	}
	a.awaitServing()
	l.verify(c.members)
}

// storeDamage is ways to damage the store below a data directory.
func storeDamage() map[string]func(*member) {
	remove := func(pattern string) func(*member) {
		return func(m *member) {
			if err := os.Remove(m.one(pattern)); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	return map[string]func(*member){
		"a table is gone":         remove("store/store-*/*.sst"),
		"the manifest is gone":    remove("store/store-*/MANIFEST-*"),
		"a table is rotten":       func(m *member) { spoil(m.t, m.one("store/store-*/*.sst"), flip) },
		"the manifest is rotten":  func(m *member) { spoil(m.t, m.one("store/store-*/MANIFEST-*"), flip) },
		"the pointer is rotten":   func(m *member) { spoil(m.t, m.one("store/STORE"), flip) },
		"the whole store is gone": func(m *member) { removeAll(m.t, filepath.Join(m.dir, "store")) },
	}
}

func removeAll(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedStoreOfAFollowerIsRebuiltFromAnotherMember(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, 3)
	ballast(t, c.awaitLeader().kv(), 1<<20)
	l := startLoad(t, loadOptions{endpoints: c.endpoints(), pace: 20e6})
	l.awaitWrites(20)
	for name, damage := range storeDamage() {
		m := c.followers()[0]
		m.stop() // which flushes the store
		damage(m)
		m.start()
		m.awaitServing()
		if log := m.proc.log(); !strings.Contains(log, "store set aside; rebuilding it from another member") {
			t.Errorf("%s: the member started without a word of it:\n%s", name, log)
		}
		c.awaitVoters(3, 3)
		l.awaitWrites(20)
	}
	c.mustHoldTheSame("ballast/")
	l.verify(c.members)
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
