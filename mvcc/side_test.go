package mvcc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"chainfire/internal/disk"
)

// sideReader is what both a Writer and a View are for side rows.
type sideReader interface {
	SideGet(row []byte) ([]byte, bool, error)
	SideCursor(from, to []byte) (*SideCursor, error)
}

// checkSide holds the rows of [from, to) against a model, by a cursor and one by one, with
// a seek before every step for which seek returns a row.
func checkSide(r sideReader, model map[string]string, from, to []byte, seek func() []byte) error {
	c, err := r.SideCursor(from, to)
	if err != nil {
		return err
	}
	rows := slices.DeleteFunc(slices.Sorted(maps.Keys(model)), func(row string) bool {
		return row < string(from) || to != nil && row >= string(to)
	})
	// at is the place of the next row.
	for at := 0; ; at++ {
		var more bool
		if to := seek(); to != nil {
			at, _ = slices.BinarySearch(rows, string(to))
			more = c.Seek(to)
		} else {
			more = c.Next()
		}
		if !more || at >= len(rows) {
			if more || at < len(rows) {
				err = fmt.Errorf("the walk of %q to %q is at row %d of %d, and there are more: %t", from, to, at, len(rows), more)
			}
			break
		}
		if row, value := string(c.Row()), string(c.Value()); row != rows[at] || value != model[row] {
			err = fmt.Errorf("row %d of %q to %q is %q = %q, want %q = %q", at, from, to, row, value, rows[at], model[rows[at]])
			break
		}
	}
	if err := errors.Join(err, c.Err(), c.Close()); err != nil {
		return err
	}
	for _, key := range testKeys {
		want, there := model[key]
		got, found, err := r.SideGet([]byte(key))
		if err != nil || found != there || string(got) != want {
			return fmt.Errorf("row %q is %q, %t, %w, want %q, %t", key, got, found, err, want, there)
		}
	}
	return nil
}

func noSeek() []byte { return nil }

// sumOf is the sum of the rows of a model.
func sumOf(model map[string]string) (sum uint64) {
	for row, value := range model {
		sum += sideHash([]byte(row), []byte(value))
	}
	return sum
}

// checkView holds all side rows of a view, and their sums, against a model, and closes it.
func checkView(v *View, model map[string]string) error {
	err := checkSide(v, model, nil, nil, noSeek)
	kept, kerr := v.SideSum()
	anew, aerr := v.SumSide(context.Background(), nil)
	if want := sumOf(model); kept != want || anew != want {
		err = errors.Join(err, fmt.Errorf("the sum is kept as %x and comes to %x, want %x", kept, anew, want))
	}
	return errors.Join(err, kerr, aerr, v.Close())
}

// sideRig is a store beside a model of its side rows.
type sideRig struct {
	fs    *disk.FaultFS
	opts  Options
	store *Store
	// w is the round under way, nil for none; log has the rows after each round before.
	w       *Writer
	pending map[string]string
	log     []map[string]string
	pinned  []pinnedSide
}

type pinnedSide struct {
	v     *View
	model map[string]string
}

func (r *sideRig) rows() map[string]string { return r.log[len(r.log)-1] }

func (r *sideRig) open(t *rapid.T) {
	var err error
	if r.store, err = Open(r.opts); err != nil {
		t.Fatalf("open: %v", err)
	}
}

// change writes in the round under way, with a key of the key space now and then.
func (r *sideRig) change(t *rapid.T) {
	if r.w == nil {
		var err error
		if r.w, err = r.store.NewWriter(); err != nil {
			t.Fatalf("begin a round: %v", err)
		}
		r.pending = maps.Clone(r.rows())
	}
	row := drawKey(t, "row")
	var err error
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		_, err = r.w.Put(row, []byte("key"), 0, false)
		r.w.EndTxn()
	case 1:
		err = r.w.DeleteSide(row)
		delete(r.pending, string(row))
	default:
		value := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "value")
		r.pending[string(row)] = string(value)
		err = r.w.SetSide(row, value)
	}
	if err != nil {
		t.Fatalf("change: %v", err)
	}
}

// read holds what the round, or else the store, has against the model.
func (r *sideRig) read(t *rapid.T) {
	from := drawKey(t, "from")
	var to []byte
	if rapid.Bool().Draw(t, "bounded") {
		to = drawKey(t, "to")
	}
	steps := 0
	seek := func() []byte {
		if steps++; steps > 20 || rapid.IntRange(0, 3).Draw(t, "seek") > 0 {
			return nil
		}
		// Before its bounds a cursor is at their begin.
		return slices.MaxFunc([][]byte{from, drawKey(t, "seek to")}, bytes.Compare)
	}
	var err error
	if r.w != nil {
		var sum uint64
		if sum, err = r.w.SideSum(); err == nil && sum != sumOf(r.pending) {
			err = fmt.Errorf("the sum in the round is %x, want %x", sum, sumOf(r.pending))
		}
		err = errors.Join(err, checkSide(r.w, r.pending, from, to, seek))
	} else {
		var v *View
		if v, err = r.store.View(); err == nil {
			err = errors.Join(checkSide(v, r.rows(), from, to, seek), v.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *sideRig) end(t *rapid.T) {
	if r.w == nil {
		return
	}
	w, rows := r.w, r.pending
	r.w, r.pending = nil, nil
	var err error
	if rapid.IntRange(0, 3).Draw(t, "end") == 0 {
		err = w.Abort()
	} else {
		r.log = append(r.log, rows)
		err = w.Commit(uint64(len(r.log)), 1)
	}
	if err != nil {
		t.Fatalf("end the round: %v", err)
	}
}

func (r *sideRig) pin(t *rapid.T) {
	v, err := r.store.View()
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	r.pinned = append(r.pinned, pinnedSide{v, r.rows()})
}

func (r *sideRig) unpin(t *rapid.T) {
	for _, p := range r.pinned {
		if err := checkView(p.v, p.model); err != nil {
			t.Fatalf("a view of before: %v", err)
		}
	}
	r.pinned = nil
}

// restart ends the round and the views, and goes on with what is on the disk: after a
// power cut with what was flushed.
func (r *sideRig) restart(t *rapid.T, crash bool) {
	if r.w != nil {
		if err := r.w.Abort(); err != nil {
			t.Fatalf("abort: %v", err)
		}
		r.w = nil
	}
	r.unpin(t)
	flushed, image := r.store.FlushedIndex(), r.fs.Crash(disk.CrashOptions{})
	if err := r.store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if crash {
		r.fs, r.opts.FS = image, image
	} else {
		flushed = uint64(len(r.log))
	}
	r.open(t)
	applied := r.store.State().Applied
	if applied < max(1, flushed) {
		t.Fatalf("index %d is left of %d", applied, flushed)
	}
	r.log = r.log[:applied]
}

// copied checks a copy of the store, and makes it the store.
func (r *sideRig) copied(t *rapid.T) {
	if r.w != nil {
		return
	}
	ctx := context.Background()
	other := r.opts
	other.Dir = "other"
	err := r.store.Checkpoint(ctx, "copy")
	if err == nil {
		err = Install(other, "copy")
	}
	if err != nil {
		t.Fatalf("copy: %v", err)
	}
	s, err := Open(other)
	if err != nil {
		t.Fatalf("open the copy: %v", err)
	}
	v, err := s.View()
	if err == nil {
		err = checkView(v, r.rows())
	}
	if err := errors.Join(err, s.Close(), r.store.Checkpoint(ctx, "copy"), r.fs.RemoveAll("other")); err != nil {
		t.Fatalf("the copy: %v", err)
	}
	r.unpin(t)
	if err := r.store.Replace("copy"); err != nil {
		t.Fatalf("replace: %v", err)
	}
}

func TestSideRowsAreAsTheRoundsHaveLeftThemThroughRestartsAndCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &sideRig{fs: disk.NewFaultFS(), log: []map[string]string{{}}}
		r.opts = Options{FS: r.fs, Dir: "data", MemTableBytes: 64 << 10, CacheBytes: 1 << 20}
		if err := Create(r.opts, State{Applied: 1, Term: 1}, nil); err != nil {
			t.Fatalf("create: %v", err)
		}
		r.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"change":  r.change,
			"change2": r.change,
			"read":    r.read,
			"end":     r.end,
			"pin":     r.pin,
			"unpin":   r.unpin,
			"flush": func(t *rapid.T) {
				if err := r.store.Flush(context.Background()); err != nil {
					t.Fatalf("flush: %v", err)
				}
			},
			"restart": func(t *rapid.T) { r.restart(t, rapid.Bool().Draw(t, "crash")) },
			"copy":    r.copied,
		})
		r.restart(t, false)
		r.read(t)
		if err := r.store.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	})
}

// TestACursorOverSideRowsStaysWithWhatItBeganWith lets a round change the rows that one of
// its cursors walks.
func TestACursorOverSideRowsStaysWithWhatItBeganWith(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	w, err := s.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	model := map[string]string{}
	for i := range 10 {
		row := fmt.Sprint(i)
		model[row] = "old"
		if err := w.SetSide([]byte(row), []byte("old")); err != nil {
			t.Fatal(err)
		}
	}
	c, err := w.SideCursor(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for c.Next() {
		if string(c.Value()) != "old" {
			t.Errorf("row %q is %q", c.Row(), c.Value())
		}
		next := fmt.Sprint(n + 1)
		if err := errors.Join(w.DeleteSide([]byte(next)), w.SetSide([]byte(next+"b"), nil)); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if err := errors.Join(c.Close(), w.Abort(), s.Close()); err != nil || n != len(model) {
		t.Errorf("%d rows, %v", n, err)
	}
}

// TestSideRowsAreOutsideOfTheKeySpace holds the hashes, the count and the size of a store
// against what they were before it had side rows, and finds these in an inspection.
func TestSideRowsAreOutsideOfTheKeySpace(t *testing.T) {
	fs := disk.NewFaultFS()
	s := newStore(t, fs, nil)
	ctx := t.Context()
	if err := write(s, 0, 300, 20); err != nil {
		t.Fatal(err)
	}
	type seen struct {
		hash     Hash
		etcd     EtcdHash
		count    int64
		revision int64
	}
	look := func() (x seen) {
		t.Helper()
		var errs [3]error
		x.hash, errs[0] = s.HashKV(ctx, 0)
		x.etcd, errs[1] = s.EtcdHash(ctx, 0)
		x.count, errs[2] = s.Count(ctx)
		x.revision = s.State().Revision
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		return x
	}
	before := look()
	w, err := s.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := w.SetSide(fmt.Appendf(nil, "row%02d", i), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(s.State().Applied+1, 1); err != nil {
		t.Fatal(err)
	}
	if after := look(); after != before {
		t.Errorf("after side rows it is %+v, before it was %+v", after, before)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got := mustInspectStore(t, fs, "data")
	if len(got.faults) > 0 || got.Rows.Side != 100 || got.Rows.SideBytes != 1000 || got.Hash != before.hash {
		t.Errorf("faults %v, rows %+v, hash %+v", got.faults, got.Rows, got.Hash)
	}
}

// TestARoundWithoutSideRowsPaysNothingForThem looks up and commits, and finds that no batch
// was made for side rows.
func TestARoundWithoutSideRowsPaysNothingForThem(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	w, err := s.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Put([]byte("a"), []byte("b"), 0, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.SideGet([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() {
		if err := errors.Join(w.writeSide(), w.side.close()); err != nil {
			t.Error(err)
		}
	}); n != 0 || w.side.batch != nil {
		t.Errorf("%v allocations", n)
	}
	if err := errors.Join(w.Commit(1, 1), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestAnInspectionFindsSideRowsThatAreNotAsTheyWereWritten takes one away behind the store's back.
func TestAnInspectionFindsSideRowsThatAreNotAsTheyWereWritten(t *testing.T) {
	fs := disk.NewFaultFS()
	s := newStore(t, fs, nil)
	w, err := s.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(w.SetSide([]byte("a"), []byte("1")), w.SetSide([]byte("b"), []byte("2")), w.Commit(1, 1),
		s.eng.db.Delete(sideRow(nil, []byte("a")), pebble.NoSync), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	got := mustInspectStore(t, fs, "data")
	if len(got.faults) != 1 || got.faults[0].Kind != FaultRotten || !strings.Contains(got.faults[0].Reason, "the sum of the side rows") {
		t.Errorf("%+v", got.faults)
	}
}
