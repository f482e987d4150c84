package mvcc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
	"chainfire/internal/disk"
)

// inspected is all that an inspection told.
type inspected struct {
	*Inspection
	faults []Fault
	rows   []string
	// keys are those of versions and of changes.
	keys map[string]bool
}

// inspectStore inspects a store, and fails if that changes anything.
func inspectStore(t *testing.T, fs *disk.FaultFS, dir string, floor uint64) (*inspected, error) {
	t.Helper()
	fs.Observe(func(e disk.Event) {
		if e.Op != disk.OpRead {
			t.Errorf("the inspection changes the disk: %v", e)
		}
	})
	defer fs.Observe(nil)
	s := &inspected{keys: map[string]bool{}}
	var err error
	s.Inspection, err = Inspect(context.Background(), InspectOptions{
		FS: fs, Dir: dir, Floor: floor,
		Fault: func(f *Fault) error { s.faults = append(s.faults, *f); return nil },
		Row: func(r *InspectedRow) error {
			s.rows = append(s.rows, fmt.Sprintf("% x -> % x", r.Row, r.Content))
			if r.Kind == RowVersion {
				s.keys[string(r.Key)] = true
			}
			return nil
		},
	})
	return s, err
}

func mustInspectStore(t *testing.T, fs *disk.FaultFS, dir string) *inspected {
	t.Helper()
	s, err := inspectStore(t, fs, dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filled is a closed store with 3001 keys in two tables, some deleted, some
// written again, and what its rows and its hash are. The second table has rows on
// either side of the first one's.
func filled(t *testing.T) (fs *disk.FaultFS, rows []string, hash Hash) {
	t.Helper()
	fs = disk.NewFaultFS()
	s := newStore(t, fs, nil)
	ctx := context.Background()
	index := func() uint64 { return s.State().Applied + 1 }
	err := errors.Join(write(s, 0, 3000, 60), write(s, 500, 300, 60))
	if err == nil {
		err = apply(s, []round{{txns: [][]op{
			{{key: []byte("key-00000100"), end: []byte("key-00000110"), delete: true}},
		}, compact: 2000}}, index())
	}
	if err == nil {
		err = errors.Join(s.WaitCompacted(ctx, 2000), s.eng.db.Compact(ctx, []byte{0}, []byte{0xff}, false))
	}
	st := s.State()
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	// The engine itself would merge the second table into the first some time.
	o := engineOptions(&s.opts, newFailure(&s.opts), nil)
	o.DisableAutomaticCompactions = true
	db, err := pebble.Open(fs.PathJoin("data", engineName(1)), o)
	if err != nil {
		t.Fatal(err)
	}
	st.Applied++
	st.Revision++
	key, rev := []byte("another"), Revision{Main: st.Revision}
	b := db.NewBatch()
	first := bucketRow(nil)
	content, _, err := getRow(db, first)
	if err != nil {
		t.Fatal(err)
	}
	count, err := parseBucketCount(first, content)
	err = errors.Join(err,
		b.Set(first, binary.AppendUvarint(nil, uint64(count+1)), nil),
		b.Set(appendSuffix(appendPrefix(nil, key), rev), (&version{rev: rev, create: rev.Main, count: 1}).appendTo(nil), nil),
		b.Set(appendRevisionRow(nil, rev), (&change{kind: kindPut, key: key}).appendTo(nil), nil),
		b.Set(metaRow(stateName), st.encode(), nil),
		setCounted(b, st.Revision, nil),
		b.Commit(pebble.NoSync), db.Flush(),
	)
	if err != nil {
		t.Fatal(err)
	}
	hash = Hash{Revision: st.Revision, Compacted: st.Compacted}
	hash.Sum, err = hashRows(ctx, db, hash.Revision, hash.Compacted, nil)
	rows = dumpRows(t, db)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if n := len(tables(t, fs)); n != 2 {
		t.Fatalf("%d tables", n)
	}
	return fs, rows, hash
}

func TestInspectionOfASoundStoreSaysWhatIsInIt(t *testing.T) {
	fs, rows, hash := filled(t)
	s := mustInspectStore(t, fs, "data")
	if len(s.faults) > 0 || s.Damage > 0 || !s.Opened {
		t.Fatalf("faults: %+v", s.faults)
	}
	if !slices.Equal(s.rows, rows) {
		t.Errorf("%d rows are told, %d are there", len(s.rows), len(rows))
	}
	if !s.HasHash || s.Hash != hash || !s.HasState || s.State.Revision != hash.Revision || s.Reclaimed != 2000 {
		t.Errorf("hash %+v, want %+v; state %+v, reclaimed %d", s.Hash, hash, s.State, s.Reclaimed)
	}
	// How many versions and changes are left is up to the compaction.
	want := RowCounts{Keys: 3001, Live: 2991, Versions: s.Rows.Versions, Deletions: 10, Changes: s.Rows.Changes, Meta: 4, Buckets: s.Rows.Buckets, Counted: 2991}
	if s.Rows != want || s.Rows.Versions < 3001 || s.Rows.Changes < 1000 {
		t.Errorf("rows %+v", s.Rows)
	}
	tables, manifests := 0, 0
	for _, f := range s.Files {
		switch {
		case f.Kind == "table" && f.Live && f.Blocks > 3:
			tables++
		case f.Kind == "manifest" && f.Live:
			manifests++
		}
	}
	if tables == 0 || manifests != 1 {
		t.Errorf("files %+v", s.Files)
	}
	if same := mustInspectStore(t, fs, fs.PathJoin("data", engineName(1))); same.Hash != hash || same.Damage > 0 {
		t.Errorf("the engine directory by itself: %+v, %+v", same.Hash, same.faults)
	}
}

// TestInspectionFindsFlippedBitsOfATable takes a byte here and there of the
// tables: each is named with file and offset, and costs one stretch of rows.
func TestInspectionFindsFlippedBitsOfATable(t *testing.T) {
	fs, rows, _ := filled(t)
	place := map[string]int{}
	for i, row := range rows {
		place[row] = i
	}
	few, filters := 0, 0
	for _, table := range tables(t, fs) {
		table = fs.PathJoin("data", engineName(1), table)
		info, err := fs.Stat(table)
		if err != nil {
			t.Fatal(err)
		}
		for off := int64(0); off < info.Size(); off += 1 + info.Size()/60 {
			what := fmt.Sprintf("bit flipped in %s at %d", table, off)
			image := fs.Crash(disk.CrashOptions{Names: disk.NamesAll, Tear: disk.TearKeepAll})
			must0(t, image.FlipBit(table, off, uint(off)))
			s := mustInspectStore(t, image, "data")
			at := slices.IndexFunc(s.faults, func(f Fault) bool {
				return f.Kind == FaultRotten && f.File == table && f.Offset <= off && off < f.Offset+f.Bytes
			})
			if at < 0 || s.Damage == 0 || !s.Opened {
				t.Fatalf("%s: %+v", what, s.faults)
			}
			value := strings.HasPrefix(s.faults[max(0, at)].Reason, "value block")
			lost, jumps, next := len(rows)-len(s.rows), 0, 0
			for _, row := range s.rows {
				i, ok := place[row]
				if !ok || i < next {
					t.Fatalf("%s: a row is told twice, or that was never written: %s\n%+v", what, row, s.faults)
				}
				if i > next {
					jumps++
				}
				next = i + 1
			}
			if jumps > 1 && !value || s.HasHash != (lost == 0 && len(s.faults) == 1) {
				t.Fatalf("%s costs %d rows in %d stretches: %+v", what, lost, jumps, s.faults)
			}
			switch reason := s.faults[at].Reason; {
			case strings.HasPrefix(reason, "filter"):
				filters++
				if lost > 0 {
					t.Fatalf("%s, in a filter, costs %d rows", what, lost)
				}
			case (value || strings.HasPrefix(reason, "data")) && lost > 0 && lost < 400: // of a block of 8 KiB
				few++
			}
		}
	}
	if few < 15 || filters == 0 {
		t.Errorf("%d flips cost a few rows, %d were in a filter", few, filters)
	}
}

func TestInspectionSaysWhatIsWrongWithAStore(t *testing.T) {
	table := func(fs *disk.FaultFS) string {
		return fs.PathJoin("data", engineName(1), tables(t, fs)[0])
	}
	rewrite := func(fs *disk.FaultFS, file string, change func([]byte) []byte) {
		b, err := disk.ReadFile(fs, file, 1<<30)
		if err == nil {
			err = disk.WriteFileAtomic(fs, file, change(b))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		do func(fs *disk.FaultFS) (kind FaultKind, file string, off int64)
		// rows says that rows can be read all the same, sound that nothing is lost.
		rows, sound bool
	}{
		"a table is gone": {do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			return FaultUnreadable, "data/" + engineName(1), must0(t, fs.Remove(table(fs)))
		}},
		"a table is cut short": {do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			file := table(fs)
			rewrite(fs, file, func(b []byte) []byte { return b[:len(b)-1000] })
			info, err := fs.Stat(file)
			return FaultRotten, file, must0(t, err) + info.Size() - footerBytes
		}},
		"a table of nothing": {do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			rewrite(fs, table(fs), func([]byte) []byte { return nil })
			return FaultRotten, table(fs), 0
		}},
		"a table of zeros": {rows: true, do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			rewrite(fs, table(fs), func(b []byte) []byte { clear(b[:len(b)/2]); return b })
			return FaultRotten, table(fs), 0
		}},
		"a foreign file for a table": {rows: true, do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			file := table(fs)
			rewrite(fs, file, func(b []byte) []byte { return []byte(strings.Repeat("x", len(b))) })
			info, err := fs.Stat(file)
			return FaultRotten, file, must0(t, err) + info.Size() - footerBytes
		}},
		"the first record of the manifest": {do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			return FaultRotten, manifestOf(t, fs), must0(t, fs.FlipBit(manifestOf(t, fs), 10, 1))
		}},
		"the end of the manifest": {rows: true, sound: true, do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			info, err := fs.Stat(manifestOf(t, fs))
			rewrite(fs, manifestOf(t, fs), func(b []byte) []byte { return append(b, "half a record"...) })
			return FaultTorn, manifestOf(t, fs), must0(t, err) + info.Size()
		}},
		"zeros behind the manifest": {rows: true, sound: true, do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			rewrite(fs, manifestOf(t, fs), func(b []byte) []byte { return append(b, make([]byte, 100)...) })
			return "", "", 0
		}},
		"the manifest is gone": {do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			file := manifestOf(t, fs)
			return FaultMissing, file, must0(t, fs.Remove(file))
		}},
		"the pointer": {rows: true, do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			return FaultRotten, "data/STORE", must0(t, fs.FlipBit("data/STORE", 3, 1))
		}},
		"the directory in force is gone": {do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			return FaultMissing, "data/" + engineName(1), must0(t, fs.RemoveAll("data/"+engineName(1)))
		}},
		"a left-over and a foreign file": {rows: true, sound: true, do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			must0(t, disk.WriteFileAtomic(fs, "data/notes.txt", []byte("hello")))
			must0(t, disk.WriteFileAtomic(fs, "data/"+engineName(1)+"/999999.sst", []byte("half a table")))
			return "", "", 0
		}},
		"a disk that does not read": {rows: true, do: func(fs *disk.FaultFS) (FaultKind, string, int64) {
			fs.Fail(disk.Rule{Op: disk.OpRead, Path: table(fs)})
			info, err := fs.Stat(table(fs))
			return FaultUnreadable, table(fs), must0(t, err) + info.Size() - footerBytes
		}},
	} {
		t.Run(name, func(t *testing.T) {
			fs, rows, _ := filled(t)
			kind, file, off := c.do(fs)
			s := mustInspectStore(t, fs, "data")
			found := kind == "" && len(s.faults) == 0 || slices.ContainsFunc(s.faults, func(f Fault) bool {
				return f.Kind == kind && f.File == file && f.Offset == off && f.Reason != ""
			})
			if !found || (s.Damage == 0) != c.sound {
				t.Errorf("told is %+v, want %s in %s at %d", s.faults, kind, file, off)
			}
			if (len(s.rows) > 0) != c.rows || c.sound && !slices.Equal(s.rows, rows) || s.HasHash && len(s.rows) < len(rows) {
				t.Errorf("%d of %d rows are told", len(s.rows), len(rows))
			}
		})
	}
}

// must0 fails the test on an error, and is 0.
func must0(t *testing.T, err error) int64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

func TestInspectionFindsAStoreThatIsBehind(t *testing.T) {
	fs, _, _ := filled(t)
	applied := mustInspectStore(t, fs, "data").State.Applied
	for floor, want := range map[uint64]int{applied: 0, applied + 1: 1} {
		s, err := inspectStore(t, fs, "data", floor)
		if err != nil || s.Damage != want || want > 0 && s.faults[0].Kind != FaultBehind {
			t.Errorf("floor %d: %+v, %v", floor, s.faults, err)
		}
	}
	// Without the last record of the manifest, the store is what it was before.
	manifest := manifestOf(t, fs)
	last := lastRecord(t, fs, manifest)
	b, err := disk.ReadFile(fs, manifest, 1<<20)
	must0(t, err)
	must0(t, disk.WriteFileAtomic(fs, manifest, b[:last+9]))
	for floor, want := range map[uint64][]FaultKind{0: {FaultTorn}, applied: {FaultBehind, FaultRotten}} {
		s, err := inspectStore(t, fs, "data", floor)
		must0(t, err)
		var kinds []FaultKind
		for _, f := range s.faults {
			kinds = append(kinds, f.Kind)
		}
		if end := s.faults[len(s.faults)-1]; !slices.Equal(kinds, want) || end.File != manifest || end.Offset != last || end.Bytes != 9 {
			t.Errorf("without the last record, floor %d: %+v", floor, s.faults)
		}
	}
}

func TestInspectionOfRowsThatWereNotWrittenSo(t *testing.T) {
	fs := disk.NewFaultFS()
	s := newStore(t, fs, nil)
	if err := errors.Join(
		apply(s, []round{{txns: [][]op{{{key: []byte("foo"), value: []byte("bar")}}}}}, 3),
		s.eng.db.Set([]byte("k\x01\x02"), []byte("x"), pebble.NoSync),
		s.eng.db.Set([]byte("mwrong"), []byte("x"), pebble.NoSync),
		s.eng.db.Set([]byte("zzz"), []byte("x"), pebble.NoSync),
		s.eng.db.Set(appendRevisionRow(nil, Revision{Main: 9}), (&change{kind: kindPut, key: []byte("foo")}).appendTo(nil), pebble.NoSync),
		s.Close(),
	); err != nil {
		t.Fatal(err)
	}
	got := mustInspectStore(t, fs, "data")
	for i, part := range []string{"row 6b0102", "row 6d77726f6e67", "row 7a7a7a", "revision 9"} {
		if i >= len(got.faults) || !strings.Contains(got.faults[i].Reason, part) || got.faults[i].Kind != FaultRotten {
			t.Fatalf("told is %+v", got.faults)
		}
	}
	if got.Rows.Versions != 1 || got.Rows.Changes != 2 || !got.HasState {
		t.Errorf("rows %+v", got.Rows)
	}
}

func TestInspectionOfNoStoreSaysSo(t *testing.T) {
	fs := disk.NewFaultFS()
	if _, err := inspectStore(t, fs, "none", 0); !errors.Is(err, ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	must0(t, disk.MkdirAll(fs, "empty"))
	if _, err := inspectStore(t, fs, "empty", 0); !errors.Is(err, ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	must0(t, disk.WriteFileAtomic(fs, "empty/notes.txt", []byte("hello")))
	if _, err := inspectStore(t, fs, "empty", 0); !errors.Is(err, ErrNotExist) {
		t.Errorf("a directory with something else: %v", err)
	}
}

func TestInspectionEndsWithItsContext(t *testing.T) {
	fs, _, _ := filled(t)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Inspect(ctx, InspectOptions{FS: fs, Dir: "data", Row: func(*InspectedRow) error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCheckpointOfARottenStoreIsFoundOut(t *testing.T) {
	fs, _, _ := filled(t)
	s, err := Open(Options{FS: fs, Dir: "data"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := s.Checkpoint(ctx, "copy"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := VerifyCheckpoint(ctx, fs, "copy"); err != nil {
		t.Fatalf("a sound copy: %v", err)
	}
	names, err := fs.List("copy")
	if err != nil {
		t.Fatal(err)
	}
	flips := 0
	for _, name := range names {
		path := fs.PathJoin("copy", name)
		info, err := fs.Stat(path)
		manifest := strings.HasPrefix(name, "MANIFEST-")
		if err != nil || !manifest && !strings.HasSuffix(name, tableExt) {
			continue
		}
		end := info.Size()
		if manifest {
			end = manifestHeader // of its first record, behind which there are others
		}
		for off := int64(0); off < end; off += 1 + end/97 {
			flips++
			image := fs.Crash(disk.CrashOptions{Names: disk.NamesAll, Tear: disk.TearKeepAll})
			must0(t, image.FlipBit(path, off, uint(off)))
			err := VerifyCheckpoint(ctx, image, "copy")
			if !errors.Is(err, chainfire.ErrCorrupt) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), " at offset ") {
				t.Fatalf("a bit of %s at %d: %v", path, off, err)
			}
		}
	}
	if flips < 100 {
		t.Errorf("only %d bits were flipped", flips)
	}
}

// Options have no checksum: what is wrong with them shows when the engine reads them.
func TestStoreWhoseOptionsRottedIsNotCopied(t *testing.T) {
	fs, _, _ := filled(t)
	s, err := Open(Options{FS: fs, Dir: "data"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // the damage is not its own business here
	rotten := 0
	for _, name := range fs.Files() {
		if strings.Contains(name, "/OPTIONS-") {
			b, err := disk.ReadFile(fs, name, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			rotten++
			must0(t, fs.FlipBit(name, int64(strings.Index(string(b), "block_restart_interval=")+len("block_restart_interval")), 7))
		}
	}
	if err := s.Checkpoint(context.Background(), "copy"); rotten == 0 || !errors.Is(err, chainfire.ErrCorrupt) {
		t.Fatalf("with %d rotten: %v", rotten, err)
	}
}

func TestInspectionHoldsCountsToTheKeys(t *testing.T) {
	fs := disk.NewFaultFS()
	s := newStore(t, fs, nil)
	err := errors.Join(write(s, 0, 600, 10), s.eng.db.Set(bucketRow([]byte("key-00000300")), []byte{1}, pebble.NoSync), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	found := mustInspectStore(t, fs, "data")
	if len(found.faults) != 1 || !strings.Contains(found.faults[0].Reason, "600 keys are live, the counts come to 601") {
		t.Errorf("%+v", found.faults)
	}
}
