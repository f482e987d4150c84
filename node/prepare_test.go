package node

import (
	"strings"
	"testing"

	"chainfire/internal/disk"
	"chainfire/snapshot"
)

// mustBeASeed checks that a directory holds the state of survivor and nothing else.
func mustBeASeed(t *testing.T, f *disk.FaultFS, dir string) *snapshot.Manifest {
	t.Helper()
	m, err := snapshot.Load(f, SeedDir(f, dir))
	if err == nil {
		err = snapshot.Verify(t.Context(), f, SeedDir(f, dir), m)
	}
	if err != nil || m.Meta.ClusterID != 7 || m.Meta.Index != 11 || m.Meta.Term != 3 {
		t.Fatalf("%+v, %v", m, err)
	}
	names, err := f.List(dir)
	if err != nil || len(names) != 1 || names[0] != seedDir {
		t.Fatalf("%s holds %v, %v", dir, names, err)
	}
	return m
}

func TestPreparedDirectoryIsTheStateAndNothingElse(t *testing.T) {
	f := survivor(t)
	if _, err := PrepareSeed(t.Context(), f, survivorDir); err != nil {
		t.Fatal(err)
	}
	m := mustBeASeed(t, f, survivorDir)
	again, err := PrepareSeed(t.Context(), f, survivorDir)
	if err != nil || again.Meta.Index != m.Meta.Index {
		t.Errorf("prepared again: %+v, %v", again, err)
	}
	mustBeASeed(t, f, survivorDir)
	for _, name := range f.Files() {
		for _, secret := range []string{"key", "token", identityFile, "wal"} {
			if strings.Contains(name, secret) {
				t.Errorf("%s is left", name)
			}
		}
	}
}

func TestExportLeavesTheDirectoryAsItIs(t *testing.T) {
	f := survivor(t)
	before := strings.Join(f.Files(), "\n")
	if _, err := ExportSeed(t.Context(), f, survivorDir, "out"); err != nil {
		t.Fatal(err)
	}
	mustBeASeed(t, f, "out")
	if err := mustBeOld(t, f); err != nil {
		t.Error(err)
	}
	if _, err := ExportSeed(t.Context(), f, survivorDir, "out"); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("exported over a seed: %v", err)
	}
	if err := f.RemoveAll("out"); err != nil {
		t.Fatal(err)
	}
	if after := strings.Join(f.Files(), "\n"); after != before {
		t.Errorf("files were\n%s\nand are\n%s", before, after)
	}
}

func TestNothingIsMadeOfADamagedOrTornDirectory(t *testing.T) {
	for name, spoil := range map[string]func(*disk.FaultFS) error{
		"is damaged":                    func(f *disk.FaultFS) error { return f.Remove("data/store/STORE") },
		"ends in an unfinished write":   tearLog,
		"is not the data directory of ": func(f *disk.FaultFS) error { return f.Remove("data/" + identityFile) },
	} {
		f := survivor(t)
		if err := spoil(f); err != nil {
			t.Fatal(err)
		}
		before := strings.Join(f.Files(), "\n")
		if _, err := PrepareSeed(t.Context(), f, survivorDir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
		if after := strings.Join(f.Files(), "\n"); after != before {
			t.Errorf("%q: files were\n%s\nand are\n%s", name, before, after)
		}
	}
}

// tearLog leaves the beginning of a record behind the last one.
func tearLog(f *disk.FaultFS) error {
	const segment = "data/wal/0000000000000001.wal"
	b, err := disk.ReadFile(f, segment, 1<<20)
	if err != nil {
		return err
	}
	end := len(strings.TrimRight(string(b), "\x00"))
	w, err := f.OpenReadWrite(segment, disk.Category)
	if err != nil {
		return err
	}
	if _, err = w.WriteAt([]byte("the beginning of a record"), int64(end)+8); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return err
	}
	return w.Close()
}

// TestCrashInAPreparationLeavesTheDirectoryOrASeed lets the power go at every change
// of the disk.
func TestCrashInAPreparationLeavesTheDirectoryOrASeed(t *testing.T) {
	f := survivor(t)
	var images []*disk.FaultFS
	f.Observe(func(e disk.Event) {
		if e.Op != disk.OpRead {
			images = append(images, f.Crash(disk.CrashOptions{Seed: uint64(len(images)), Names: disk.NamesPrefix, Tear: disk.TearGarble}))
		}
	})
	if _, err := PrepareSeed(t.Context(), f, survivorDir); err != nil {
		t.Fatal(err)
	}
	f.Observe(nil)
	old, made := 0, 0
	for i, image := range images {
		if err := settle(image, survivorDir); err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		if mustBeOld(t, image) == nil {
			old++
		} else {
			made++
			mustBeASeed(t, image, survivorDir)
		}
		if _, err := PrepareSeed(t.Context(), image, survivorDir); err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		mustBeASeed(t, image, survivorDir)
	}
	t.Logf("%d crashes left the directory, %d a seed", old, made)
	if old == 0 || made == 0 {
		t.Error("the preparation is never, or always, decided")
	}
}
