package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, d FS, name string) string {
	t.Helper()
	data, err := ReadFile(d, name, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	}
	must(t, err)
	return string(data)
}

func open(t *testing.T, d FS, name string) File {
	t.Helper()
	f, err := d.OpenReadWrite(name, Category)
	must(t, err)
	return f
}

func write(t *testing.T, f File, off int64, data string) {
	t.Helper()
	_, err := f.WriteAt([]byte(data), off)
	must(t, err)
}

func TestWriteFileAtomicIsOldOrNewAtEveryCrash(t *testing.T) {
	d := NewFaultFS()
	must(t, MkdirAll(d, "a/b"))
	must(t, WriteFileAtomic(d, "a/b/f", []byte("old")))
	seen := map[string]int{}
	d.Observe(func(Event) {
		for seed := range uint64(8) {
			for names := NamesSynced; names <= NamesPrefix; names++ {
				seen[read(t, d.Crash(CrashOptions{Seed: seed, Names: names, Tear: TearPrefix}), "a/b/f")]++
			}
		}
	})
	must(t, WriteFileAtomic(d, "a/b/f", []byte("new")))
	d.Observe(nil)
	if len(seen) != 2 || seen["old"] == 0 || seen["new"] == 0 {
		t.Errorf("crashes left %v", seen)
	}
	if got := read(t, d.Crash(CrashOptions{}), "a/b/f"); got != "new" {
		t.Errorf("after the call a crash leaves %q", got)
	}
	for _, op := range []Op{OpCreate, OpWrite, OpSync, OpRename, OpSyncDir} {
		d.Heal()
		d.Fail(Rule{Op: op})
		if err := WriteFileAtomic(d, "a/b/f", []byte("x")); !errors.Is(err, ErrInjected) {
			t.Errorf("failing %s: %v", op, err)
		}
	}
}

func TestHelpersOnTheRealFileSystem(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x", "y")
	must(t, MkdirAll(OS(), dir))
	name := filepath.Join(dir, "f")
	must(t, WriteFileAtomic(OS(), name, []byte("1")))
	must(t, WriteFileAtomic(OS(), name, []byte("22")))
	if got := read(t, OS(), name); got != "22" {
		t.Errorf("read %q", got)
	}
	if _, err := ReadFile(OS(), name, 1); err == nil {
		t.Error("a file over the limit was read")
	}
	if n, err := FreeBytes(dir); err != nil || n == 0 {
		t.Errorf("free space %d, %v", n, err)
	}
}

func TestLockedDirectoryIsInUse(t *testing.T) {
	dir := t.TempDir()
	fault := NewFaultFS()
	must(t, MkdirAll(fault, dir))
	for _, d := range []FS{OS(), fault} {
		c, err := Lock(d, dir)
		must(t, err)
		_, err = Lock(d, dir)
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
			t.Errorf("second lock: %v", err)
		}
		must(t, c.Close())
		if c, err = Lock(d, dir); err != nil {
			t.Fatalf("lock after release: %v", err)
		}
		must(t, c.Close())
		if _, err := Lock(d, filepath.Join(dir, "none")); err == nil || errors.Is(err, ErrInUse) {
			t.Errorf("lock in a directory that is not there: %v", err)
		}
	}
}

func TestCrashKeepsWhatWasSyncedAndTearsTheRestBySeed(t *testing.T) {
	d := NewFaultFS()
	f := open(t, d, "f")
	old, now := strings.Repeat("o", 3000), strings.Repeat("n", 2000)
	write(t, f, 0, old)
	must(t, f.Sync())
	must(t, SyncDir(d, "."))
	write(t, f, 2000, now)
	kinds := map[Tear]map[string]bool{}
	for tear := TearNothing; tear <= TearGarble; tear++ {
		kinds[tear] = map[string]bool{}
		for seed := range uint64(20) {
			got := read(t, d.Crash(CrashOptions{Seed: seed, Tear: tear}), "f")
			if got != read(t, d.Crash(CrashOptions{Seed: seed, Tear: tear}), "f") {
				t.Fatalf("tear %d, seed %d: not the same twice", tear, seed)
			}
			if got[:2000] != old[:2000] || len(got) < 3000 || len(got) > 4000 {
				t.Fatalf("tear %d, seed %d: synced bytes changed, or %d bytes left", tear, seed, len(got))
			}
			kinds[tear][got] = true
		}
	}
	if len(kinds[TearNothing]) != 1 || !kinds[TearNothing][old] ||
		len(kinds[TearKeepAll]) != 1 || !kinds[TearKeepAll][old[:2000]+now] ||
		len(kinds[TearPrefix]) < 10 || len(kinds[TearSectors]) < 5 || len(kinds[TearGarble]) < 10 {
		t.Errorf("kinds of content: %d %d %d %d %d", len(kinds[0]), len(kinds[1]), len(kinds[2]), len(kinds[3]), len(kinds[4]))
	}
	if got := read(t, d.Crash(CrashOptions{Tear: TearKeepAll, File: "g"}), "f"); got != old {
		t.Error("a file that was not named is torn")
	}
	if got := read(t, d, "f"); got != old[:2000]+now {
		t.Error("the crash changed the disk it was taken from")
	}
}

func TestNamesAreDurableWithTheirDirectoryOnly(t *testing.T) {
	d := NewFaultFS()
	must(t, MkdirAll(d, "dir"))
	must(t, WriteFileAtomic(d, "dir/a", []byte("a")))
	must(t, d.Rename("dir/a", "dir/b"))
	f := open(t, d, "dir/c")
	write(t, f, 0, "c")
	must(t, f.Sync())
	state := func(o CrashOptions) string {
		var s []string
		for _, n := range []string{"a", "b", "c"} {
			s = append(s, read(t, d.Crash(o), "dir/"+n))
		}
		return strings.Join(s, " ")
	}
	if got := state(CrashOptions{}); got != "a missing missing" {
		t.Errorf("nothing synced: %s", got)
	}
	if got := state(CrashOptions{Names: NamesAll}); got != "missing a c" {
		t.Errorf("all kept: %s", got)
	}
	prefix := map[string]bool{}
	for seed := range uint64(30) {
		prefix[state(CrashOptions{Names: NamesPrefix, Seed: seed})] = true
	}
	if len(prefix) != 3 || !prefix["missing a missing"] {
		t.Errorf("prefixes: %v", prefix)
	}
	must(t, d.Rename("dir", "moved"))
	must(t, SyncDir(d, "."))
	if got := read(t, d.Crash(CrashOptions{}), "moved/a"); got != "a" {
		t.Errorf("moved directory: %q", got)
	}
	must(t, SyncDir(d, "moved"))
	must(t, d.RemoveAll("moved"))
	if got := d.Files(); len(got) != 0 {
		t.Errorf("left after the removal of all: %v", got)
	}
	if got := read(t, d.Crash(CrashOptions{}), "moved/c"); got != "c" {
		t.Errorf("removal without a sync: %q", got)
	}
}

func TestFaults(t *testing.T) {
	d := NewFaultFS()
	f := open(t, d, "f")
	must(t, SyncDir(d, "."))
	cause := errors.New("cause")
	d.Fail(Rule{Op: OpWrite, Path: "f", After: 1, Times: 1, Err: cause})
	write(t, f, 0, "12")
	if n, err := f.WriteAt([]byte("3456"), 2); n != 2 || !errors.Is(err, cause) {
		t.Errorf("failing write: %d, %v", n, err)
	}
	write(t, f, 4, "5")
	d.Fail(Rule{Op: OpSync, Times: 1})
	if err := f.Sync(); !errors.Is(err, ErrInjected) {
		t.Errorf("failing sync: %v", err)
	}
	must(t, f.Sync())
	if got := read(t, d, "f"); got != "12345" {
		t.Errorf("seen: %q", got)
	}
	if got := read(t, d.Crash(CrashOptions{Tear: TearKeepAll}), "f"); got != "" {
		t.Errorf("a second sync made %q durable", got)
	}
	d.LimitSpace(3)
	write(t, f, 0, "abcde") // over old bytes: takes no space
	if n, err := f.WriteAt([]byte("fghi"), 5); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full disk: %d, %v", n, err)
	}
	must(t, f.Sync())
	must(t, d.FlipBit("f", 1, 0))
	if got, durable := read(t, d, "f"), read(t, d.Crash(CrashOptions{}), "f"); got != "accdefgh" || durable != got {
		t.Errorf("flipped: %q, durable %q", got, durable)
	}
	if d.FlipBit("f", 8, 0) == nil || d.FlipBit("g", 0, 0) == nil {
		t.Error("flipped a bit that is not there")
	}
}

// The storage engine must find in FaultFS what it expects of a file system.
func TestStorageEngineSurvivesCrashesOfAFaultFS(t *testing.T) {
	d := NewFaultFS()
	db, err := pebble.Open("store", &pebble.Options{FS: d, Logger: quiet{}})
	must(t, err)
	for i := range 200 {
		key := []byte{byte(i)}
		must(t, db.Set(key, bytes.Repeat(key, 100), pebble.Sync))
		if i%60 == 59 {
			must(t, db.Flush())
		}
		if i%40 != 0 {
			continue
		}
		image := d.Crash(CrashOptions{Seed: uint64(i), Names: Names(i/40) % 3, Tear: TearPrefix})
		again, err := pebble.Open("store", &pebble.Options{FS: image, Logger: quiet{}})
		must(t, err)
		for k := range i + 1 {
			v, c, err := again.Get([]byte{byte(k)})
			if err != nil || len(v) != 100 || v[0] != byte(k) {
				t.Fatalf("after %d writes and a crash, key %d: %d bytes, %v", i+1, k, len(v), err)
			}
			must(t, c.Close())
		}
		must(t, again.Close())
	}
	must(t, db.Close())
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(f string, _ ...any) {
	panic(f)
}

var _ vfs.File = (*faultFile)(nil)

func TestForkKeepsApartWhatIsSeenAndWhatIsDurable(t *testing.T) {
	d := NewFaultFS()
	must(t, MkdirAll(d, "dir"))
	f := open(t, d, "dir/f")
	write(t, f, 0, "durable")
	must(t, f.Sync())
	must(t, SyncDir(d, "dir"))
	write(t, f, 0, "WRITTEN")
	must(t, d.Rename("dir/f", "dir/g"))
	lock, err := Lock(d, "dir")
	must(t, err)
	fork := d.Fork()
	write(t, f, 0, "later")
	must(t, lock.Close())
	if got := read(t, fork, "dir/g"); got != "WRITTEN" {
		t.Errorf("the fork shows %q", got)
	}
	if got := read(t, fork.Crash(CrashOptions{}), "dir/f"); got != "durable" {
		t.Errorf("after a power cut the fork shows %q", got)
	}
	must(t, SyncDir(fork, "dir"))
	if got := read(t, fork.Crash(CrashOptions{Tear: TearKeepAll}), "dir/g"); got != "WRITTEN" {
		t.Errorf("with everything kept the fork shows %q", got)
	}
	c, err := Lock(fork, "dir")
	must(t, err)
	must(t, c.Close())
	d.Fail(Rule{Op: OpSync, Times: 1})
	if err := f.Sync(); err == nil {
		t.Fatal("the sync does not fail")
	}
	if got := read(t, d.Fork().Crash(CrashOptions{Names: NamesAll, Tear: TearKeepAll}), "dir/g"); got != "durable" {
		t.Errorf("what a failed sync lost is %q in a fork", got)
	}
}
