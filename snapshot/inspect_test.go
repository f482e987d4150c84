package snapshot

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// inspect inspects the snapshot in d, and fails if that changes anything.
func inspect(t *testing.T, fsys *disk.FaultFS) (*Inspection, map[string]InspectedFile, error) {
	t.Helper()
	fsys.Observe(func(e disk.Event) {
		if e.Op != disk.OpRead {
			t.Errorf("the inspection changes the disk: %v", e)
		}
	})
	defer fsys.Observe(nil)
	files := map[string]InspectedFile{}
	n, err := Inspect(within(t), fsys, "d", func(f *InspectedFile) error { files[f.Name] = *f; return nil })
	return n, files, err
}

// saved is a complete snapshot in d.
func saved(t *testing.T) (*disk.FaultFS, *Manifest) {
	t.Helper()
	fsys := disk.NewFaultFS()
	for name, data := range state() {
		put(t, fsys, "d/"+name, data)
	}
	m, err := BuildManifest(within(t), fsys, "d", Meta{
		ClusterID: testCluster, SnapshotMeta: raft.SnapshotMeta{Index: 100, Term: 3, Conf: raft.ConfState{Voters: []uint64{1, 2}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, fsys, "d/"+MarkName, m.Encode())
	return fsys, m
}

func TestInspectionNamesEveryDamage(t *testing.T) {
	const table = "000001.sst"
	flip := func(name string, offs ...int64) func(*testing.T, *disk.FaultFS) {
		return func(t *testing.T, f *disk.FaultFS) {
			t.Helper()
			for _, off := range offs {
				if err := f.FlipBit("d/"+name, off, 3); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	const mismatch, early, long = "checksum does not match", "the file ends early", "the file is longer than it should be"
	for name, c := range map[string]struct {
		do     func(*testing.T, *disk.FaultFS)
		file   string
		state  FileState
		bad    []BadBytes
		damage int
	}{
		"nothing":   {func(*testing.T, *disk.FaultFS) {}, table, FileSound, nil, 0},
		"one block": {flip(table, BlockSize+5), table, FileRotten, []BadBytes{{BlockSize, 2 * BlockSize, mismatch}}, 1},
		"two blocks beside each other": {
			flip(table, 5, BlockSize+5), table, FileRotten,
			[]BadBytes{{0, 2 * BlockSize, mismatch}},
			1,
		},
		"two blocks apart": {
			flip(table, 5, 3*BlockSize+5), table, FileRotten,
			[]BadBytes{{0, BlockSize, mismatch}, {3 * BlockSize, 3*BlockSize + 17, mismatch}},
			1,
		},
		"short": {func(t *testing.T, f *disk.FaultFS) {
			t.Helper()
			put(t, f, "d/"+table, state()[table][:BlockSize])
		}, table, FileRotten, []BadBytes{{BlockSize, 3*BlockSize + 17, early}}, 1},
		"short inside a block": {func(t *testing.T, f *disk.FaultFS) {
			t.Helper()
			put(t, f, "d/"+table, state()[table][:BlockSize+9])
		}, table, FileRotten, []BadBytes{{BlockSize, 3*BlockSize + 17, early}}, 1},
		"long": {func(t *testing.T, f *disk.FaultFS) {
			t.Helper()
			put(t, f, "d/"+table, append(state()[table], "more"...))
		}, table, FileRotten, []BadBytes{{3*BlockSize + 17, 3*BlockSize + 21, long}}, 1},
		"long, whole blocks": {func(t *testing.T, f *disk.FaultFS) {
			t.Helper()
			put(t, f, "d/000002.sst", append(state()["000002.sst"], "more"...))
		}, "000002.sst", FileRotten, []BadBytes{{2 * BlockSize, 2*BlockSize + 4, long}}, 1},
		"missing": {func(t *testing.T, f *disk.FaultFS) {
			t.Helper()
			if err := f.Remove("d/" + table); err != nil {
				t.Fatal(err)
			}
		}, table, FileMissing, nil, 1},
		"foreign": {func(t *testing.T, f *disk.FaultFS) {
			t.Helper()
			put(t, f, "d/notes.txt", []byte("hello"))
		}, "notes.txt", FileExtra, nil, 1},
		"manifest": {flip(MarkName, 20), table, FileUnchecked, nil, 1},
		"disk": {func(_ *testing.T, f *disk.FaultFS) {
			f.Fail(disk.Rule{Op: disk.OpRead, Path: table, After: 1})
		}, table, FileUnreadable, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			fsys, m := saved(t)
			c.do(t, fsys)
			n, files, err := inspect(t, fsys)
			if err != nil {
				t.Fatal(err)
			}
			got := files[c.file]
			if got.State != c.state || n.Damage != c.damage || len(files) < len(m.Files) {
				t.Errorf("%s is %+v, damage %d, %d files", c.file, got, n.Damage, len(files))
			}
			if c.state == FileUnreadable {
				if len(got.Bad) != 1 || got.Bad[0].From != BlockSize {
					t.Errorf("unreadable are %+v", got.Bad)
				}
				return
			}
			if d := cmp.Diff(c.bad, got.Bad); d != "" {
				t.Error(d)
			}
			if c.state != FileUnchecked && (n.Manifest == nil || n.Manifest.Meta.Index != 100 || n.Partial) {
				t.Errorf("manifest %+v", n)
			}
			if c.state == FileUnchecked && !errors.Is(n.ManifestError, ErrManifest) {
				t.Errorf("manifest error %v", n.ManifestError)
			}
		})
	}
}

func TestInspectionOfAFetchThatWasCutSaysHowFarItCame(t *testing.T) {
	fsys, m := saved(t)
	if err := fsys.Remove("d/" + MarkName); err != nil {
		t.Fatal(err)
	}
	put(t, fsys, "d/"+partialName, encodePartial(Offer{ID: "x", Manifest: m}))
	put(t, fsys, "d/000001.sst", state()["000001.sst"][:2*BlockSize])
	put(t, fsys, "d/stray", []byte("x"))
	if err := fsys.Remove("d/000002.sst"); err != nil {
		t.Fatal(err)
	}
	n, files, err := inspect(t, fsys)
	if err != nil || !n.Partial || n.Damage != 0 {
		t.Fatal(n, err)
	}
	for name, have := range map[string]int64{"000001.sst": 2 * BlockSize, "000002.sst": 0, "CURRENT": 16} {
		if f := files[name]; f.State != FilePartial || f.Have != have {
			t.Errorf("%s: %+v, want %d bytes", name, f, have)
		}
	}
	if files["stray"].State != FileExtra {
		t.Errorf("stray: %+v", files["stray"])
	}
}

func TestInspectionOfNoSnapshotSaysSo(t *testing.T) {
	fsys := disk.NewFaultFS()
	if _, _, err := inspect(t, fsys); !errors.Is(err, ErrNotComplete) {
		t.Errorf("no directory: %v", err)
	}
	put(t, fsys, "d/notes.txt", []byte("hello"))
	if _, _, err := inspect(t, fsys); !errors.Is(err, ErrNotComplete) {
		t.Errorf("another directory: %v", err)
	}
}

func TestInspectionOfASnapshotEndsWithItsContext(t *testing.T) {
	fsys, _ := saved(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Inspect(ctx, fsys, "d", func(*InspectedFile) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
