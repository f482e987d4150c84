package etcdwal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"chainfire"
	"chainfire/etcdwal"
)

// self is the member whose log the tests write.
const self = 0xabc

// written is a log that etcd's own code writes: entries from 1 on in rounds of so many,
// each round with what was committed before it, and a segment for about every 20 entries. Each entry
// has its index as its data, and text, so that it is longer than a sector.
func written(t *testing.T, rounds, each int) string {
	t.Helper()
	segment := wal.SegmentSizeBytes
	wal.SegmentSizeBytes = 20 << 10
	t.Cleanup(func() { wal.SegmentSizeBytes = segment })
	dir := filepath.Join(t.TempDir(), "wal")
	id := uint64(self)
	meta, err := proto.Marshal(&pb.Metadata{NodeID: &id})
	if err != nil {
		t.Fatal(err)
	}
	w, err := wal.Create(nil, dir, meta)
	if err != nil {
		t.Fatal(err)
	}
	for r := range rounds {
		var entries []*raftpb.Entry
		for i := range each {
			entries = append(entries, entry(uint64(r*each+i+1), 1))
		}
		save(t, w, uint64(r*each), entries...)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func entry(index, term uint64) *raftpb.Entry {
	return &raftpb.Entry{Index: &index, Term: &term, Data: fmt.Appendf(nil, "%d of %d %s", index, term, strings.Repeat("x", 1000))}
}

func save(t *testing.T, w *wal.WAL, commit uint64, entries ...*raftpb.Entry) {
	t.Helper()
	term, vote := uint64(1), uint64(self)
	if err := w.Save(&raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}, entries); err != nil {
		t.Fatal(err)
	}
}

// read opens a log and returns the indexes and terms of its entries.
func read(t *testing.T, o etcdwal.Options) (*etcdwal.Log, []string, error) {
	t.Helper()
	before := contents(t, o.Dir)
	l, err := etcdwal.Open(t.Context(), o)
	var got []string
	if err == nil {
		err = l.Entries(t.Context(), func(e *raftpb.Entry) error {
			got = append(got, fmt.Sprintf("%d of %d", e.GetIndex(), e.GetTerm()))
			if !bytes.HasPrefix(e.Data, []byte(got[len(got)-1])) {
				return fmt.Errorf("entry %d has the data %.20s", e.GetIndex(), e.Data)
			}
			return nil
		})
	}
	if !bytes.Equal(before, contents(t, o.Dir)) {
		t.Error("the log is not as it was")
	}
	return l, got, err
}

// contents is everything in a folder.
func contents(t *testing.T, dir string) []byte {
	t.Helper()
	var out []byte
	for _, name := range files(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(fmt.Appendf(out, "%s %d\n", name, len(b)), b...)
	}
	return out
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// change changes the content of a file.
func change(t *testing.T, path string, how func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, how(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// at is where the record of an entry begins in a file.
func at(t *testing.T, path string, index int) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Index(b, fmt.Appendf(nil, "%d of 1 ", index))
	for from := 0; text >= 0; {
		n := int(binary.LittleEndian.Uint64(b[from:]) << 8 >> 8)
		n = from + 8 + (n+7)/8*8
		if n > text {
			return from
		}
		from = n
	}
	t.Fatalf("entry %d is not in %s", index, path)
	return 0
}

func TestEntriesBehindTheDatabaseAreRead(t *testing.T) {
	dir := written(t, 50, 2)
	if n := len(files(t, dir)); n < 4 {
		t.Fatalf("only %d files", n)
	}
	for _, after := range []uint64{0, 1, 19, 20, 21, 50, 98, 99, 100} {
		l, got, err := read(t, etcdwal.Options{Dir: dir, After: after, Voters: []uint64{self}})
		if err != nil || uint64(len(got)) != 100-after || l.Last != 100 || l.Beyond != 0 || l.Torn != nil || l.Member != self {
			t.Fatalf("after %d: %d entries, %+v, %v", after, len(got), l, err)
		}
		if len(got) > 0 && got[0] != fmt.Sprintf("%d of 1", after+1) {
			t.Errorf("after %d: the first is %s", after, got[0])
		}
	}
}

// TestOnlyTheLogOfTheSoleVoterIsCommittedAsItIsWritten: what one of several has beyond
// what it knows to be committed another leader may have replaced.
func TestOnlyTheLogOfTheSoleVoterIsCommittedAsItIsWritten(t *testing.T) {
	dir := written(t, 10, 3) // 27 are known to be committed
	for name, c := range map[string]struct {
		voters []uint64
		after  uint64
		last   uint64
	}{
		"alone":                     {[]uint64{self}, 20, 30},
		"one of three":              {[]uint64{1, 2, self}, 20, 27},
		"a learner":                 {[]uint64{1}, 20, 27},
		"with more in the database": {[]uint64{1, 2, self}, 29, 29},
	} {
		l, got, err := read(t, etcdwal.Options{Dir: dir, After: c.after, Voters: c.voters})
		if err != nil || l.Last != c.last || l.Beyond != 30-c.last || uint64(len(got)) != c.last-c.after {
			t.Errorf("%s: %d entries, %+v, %v", name, len(got), l, err)
		}
	}
}

func TestChangeOfTheMembersDecidesWhatIsCommittedAfterIt(t *testing.T) {
	dir := written(t, 1, 10)
	w := reopen(t, dir)
	kind, other := raftpb.ConfChangeAddNode, uint64(7)
	b, err := proto.Marshal(&raftpb.ConfChange{Type: &kind, NodeId: &other})
	if err != nil {
		t.Fatal(err)
	}
	conf, normal := raftpb.EntryConfChange, raftpb.EntryNormal
	changed, next := entry(11, 1), entry(12, 1)
	changed.Type, changed.Data = &conf, b
	next.Type = &normal
	save(t, w, 5, changed, next)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := etcdwal.Open(t.Context(), etcdwal.Options{Dir: dir, After: 8, Voters: []uint64{self}})
	if err != nil || l.Last != 11 || l.Beyond != 1 {
		t.Errorf("%+v, %v", l, err)
	}
}

// reopen opens a log of etcd's to write on.
func reopen(t *testing.T, dir string) *wal.WAL {
	t.Helper()
	w, err := wal.Open(nil, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := w.ReadAll(); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestEntriesThatAnotherLeaderReplacedAreNotRead(t *testing.T) {
	dir := written(t, 1, 10)
	w := reopen(t, dir)
	save(t, w, 6, entry(8, 2))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, got, err := read(t, etcdwal.Options{Dir: dir, After: 5, Voters: []uint64{self}})
	if text := strings.Join(got, ", "); err != nil || text != "6 of 1, 7 of 1, 8 of 2" {
		t.Errorf("%s, %v", text, err)
	}
}

// TestRecordThatWasCutShortAtTheEndIsPassedOver, and only there, and only while nothing
// says that it was whole once.
func TestRecordThatWasCutShortAtTheEndIsPassedOver(t *testing.T) {
	for name, how := range map[string]func(b []byte, from int) []byte{
		"its end never came to the disk": func(b []byte, from int) []byte { clear(b[from+600:]); return b },
		"one sector never came":          func(b []byte, from int) []byte { n := (from/512 + 1) * 512; clear(b[n : n+512]); return b },
		"the file ends in it":            func(b []byte, from int) []byte { return b[:from+700] },
		"the file ends in its length":    func(b []byte, from int) []byte { return b[:from+3] },
	} {
		dir := written(t, 10, 3)
		last := files(t, dir)[len(files(t, dir))-1]
		from := at(t, last, 30)
		change(t, last, func(b []byte) []byte { return how(b, from) })
		l, got, err := read(t, etcdwal.Options{Dir: dir, After: 20, Voters: []uint64{self}})
		if err != nil || l.Last != 29 || len(got) != 9 || l.Torn == nil || *l.Torn != (etcdwal.Torn{File: last, Offset: int64(from)}) {
			t.Errorf("%s: %d entries, %+v, %v", name, len(got), l, err)
		}
	}
	dir := written(t, 10, 3)
	last := files(t, dir)[len(files(t, dir))-1]
	change(t, last, func(b []byte) []byte { clear(b[at(t, last, 30):]); return b })
	l, _, err := read(t, etcdwal.Options{Dir: dir, After: 20, Voters: []uint64{self}})
	if err != nil || l.Last != 29 || l.Torn != nil {
		t.Errorf("nothing of it came to the disk: %+v, %v", l, err)
	}
}

func TestDamagedLogIsRefusedByFileAndOffset(t *testing.T) {
	flip := func(more int) func(b []byte, from int) []byte {
		return func(b []byte, from int) []byte {
			b[from+more] ^= 0x10
			return b
		}
	}
	for name, c := range map[string]struct {
		// file counts from the end.
		file, entry int
		how         func(b []byte, from int) []byte
		want        string
	}{
		"a byte of an entry":                  {1, 90, flip(500), "checksum of the record"},
		"a byte of an entry of another file":  {3, 50, flip(500), "checksum of the record"},
		"the checksum":                        {1, 90, flip(12), "checksum of the record"},
		"the length, which is too long":       {1, 90, flip(4), "says that it was committed"},
		"the length, which is none":           {1, 90, func(b []byte, from int) []byte { clear(b[from : from+8]); return b }, "says that it was committed"},
		"a sector":                            {1, 90, func(b []byte, from int) []byte { n := (from/512 + 1) * 512; clear(b[n : n+512]); return b }, "says that it was committed"},
		"a sector of another file":            {3, 50, func(b []byte, from int) []byte { n := (from/512 + 1) * 512; clear(b[n : n+512]); return b }, "checksum of the record"},
		"the kind of the record":              {1, 90, func(b []byte, from int) []byte { b[from+9] = 9; return b }, "kind 9"},
		"the last entry, which is not zeroed": {1, 102, flip(500), "checksum of the record"},
	} {
		dir := written(t, 34, 3)
		all := files(t, dir)
		path, index := all[len(all)-c.file], c.entry
		for b := contentsOf(t, path); !bytes.Contains(b, fmt.Appendf(nil, "%d of 1 ", index)); {
			index++ // where files end is etcd's affair
		}
		from := at(t, path, index)
		change(t, path, func(b []byte) []byte { return c.how(b, from) })
		_, got, err := read(t, etcdwal.Options{Dir: dir, After: 2, Voters: []uint64{self}})
		if !errors.Is(err, chainfire.ErrCorrupt) || len(got) > 0 {
			t.Errorf("%s: %d entries, %v", name, len(got), err)
			continue
		}
		for _, w := range []string{path, fmt.Sprintf("at offset %d:", from), c.want} {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: it does not say %q: %v", name, w, err)
			}
		}
	}
}

func contentsOf(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMissingPartsOfTheLogAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		remove func(all []string) []string
		after  uint64
		want   string
	}{
		"the first file":  {func(all []string) []string { return all[:1] }, 2, "what is between is lost"},
		"one in between":  {func(all []string) []string { return all[2:3] }, 2, "what is between is missing"},
		"the last file":   {func(all []string) []string { return all[len(all)-1:] }, 100, "its end is missing"},
		"all but a later": {func(all []string) []string { return all[:len(all)-1] }, 2, "what is between is lost"},
	} {
		dir := written(t, 34, 3)
		for _, path := range c.remove(files(t, dir)) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := read(t, etcdwal.Options{Dir: dir, After: c.after, Voters: []uint64{self}})
		if !errors.Is(err, chainfire.ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := etcdwal.Open(t.Context(), etcdwal.Options{Dir: dir}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a folder without a log: %v", err)
		}
	}
	// The log of one, with the end cut off of which it says that it was committed.
	dir := written(t, 10, 3)
	w := reopen(t, dir)
	save(t, w, 40)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, etcdwal.Options{Dir: dir, After: 20}); !errors.Is(err, chainfire.ErrCorrupt) || !strings.Contains(err.Error(), "entry 40 is committed") {
		t.Errorf("a log that ends early: %v", err)
	}
}
