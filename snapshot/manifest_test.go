package snapshot

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"chainfire/internal/disk"
	"chainfire/raft"
)

func drawManifest(t *rapid.T) *Manifest {
	m := &Manifest{Meta: Meta{ClusterID: rapid.Uint64Min(1).Draw(t, "cluster"), SnapshotMeta: raft.SnapshotMeta{
		Index: rapid.Uint64Min(1).Draw(t, "index"), Term: rapid.Uint64Min(1).Draw(t, "term"),
		Conf: raft.ConfState{Voters: []uint64{1, 5}, Learners: []uint64{7}},
	}}}
	for i := range rapid.IntRange(0, 5).Draw(t, "files") {
		f := File{Name: fmt.Sprintf("%d-%s", i, rapid.StringMatching(`[a-z]{1,4}(/[a-z.]{3})?`).Draw(t, "name"))}
		f.Size = rapid.Int64Range(0, 3*BlockSize).Draw(t, "size")
		f.CRC = rapid.Uint32().Draw(t, "crc")
		for range blocksOf(f.Size) {
			f.Blocks = append(f.Blocks, rapid.Uint32().Draw(t, "block"))
		}
		if validName(f.Name) == nil {
			m.Files = append(m.Files, f)
		}
	}
	return m
}

func TestManifestSurvivesItsStoredForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawManifest(t)
		b := want.Encode()
		got, err := DecodeManifest(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		o := Offer{ID: "id", Manifest: want}
		back, err := decodePartial(encodePartial(o))
		if err != nil || cmp.Diff(o, back) != "" {
			t.Fatalf("offer: %v", err)
		}
		sent, err := offerFromProto(offerToProto(o))
		if err != nil || cmp.Diff(o, sent) != "" {
			t.Fatalf("protocol: %v", err)
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "place")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := DecodeManifest(b); !errors.Is(err, ErrManifest) {
			t.Fatalf("a flipped bit was not seen: %v", err)
		}
	})
}

func TestOfferDamagedOnTheWayIsRefused(t *testing.T) {
	s, _, _ := server(t, nil)
	o, err := s.Open(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	r := offerToProto(o)
	r.Files[0].Crc32C ^= 1
	if _, err := offerFromProto(r); !errors.Is(err, ErrManifest) {
		t.Fatalf("got %v", err)
	}
}

func TestNamesThatLeaveTheDirectoryAreRefused(t *testing.T) {
	for _, name := range []string{
		"", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "./a", "a\\b", "a\x00b",
		"c:x", "\xff", MarkName, partialName, MarkName + ".tmp", strings.Repeat("x", 513), "1/2/3/4/5/6/7/8/9",
	} {
		m := &Manifest{Meta: Meta{ClusterID: 1, SnapshotMeta: raft.SnapshotMeta{Index: 1, Term: 1}}, Files: []File{{Name: name}}}
		if err := m.Validate(); !errors.Is(err, ErrManifest) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := DecodeManifest(m.Encode()); !errors.Is(err, ErrManifest) {
			t.Errorf("%q was decoded: %v", name, err)
		}
	}
}

func TestManifestMustFitTogether(t *testing.T) {
	good := func() *Manifest {
		return &Manifest{
			Meta:  Meta{ClusterID: 1, SnapshotMeta: raft.SnapshotMeta{Index: 1, Term: 1}},
			Files: []File{{Name: "a", Size: 1, Blocks: []uint32{1}}, {Name: "b"}},
		}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Manifest){
		"cluster":   func(m *Manifest) { m.Meta.ClusterID = 0 },
		"index":     func(m *Manifest) { m.Meta.Index = 0 },
		"conf":      func(m *Manifest) { m.Meta.Conf.Voters = []uint64{2, 1} },
		"order":     func(m *Manifest) { m.Files[1].Name = "A" },
		"duplicate": func(m *Manifest) { m.Files[1].Name = "a" },
		"negative":  func(m *Manifest) { m.Files[1].Size = -1 },
		"blocks":    func(m *Manifest) { m.Files[0].Size = BlockSize + 1 },
	} {
		m := good()
		change(m)
		if err := m.Validate(); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyNamesTheFirstBadBlock(t *testing.T) {
	for name, c := range map[string]struct {
		damage   func(fsys *disk.FaultFS) error
		file     string
		from, to int64
	}{
		"flipped bit": {
			func(f *disk.FaultFS) error { return f.FlipBit("d/000001.sst", BlockSize+5, 3) },
			"000001.sst", BlockSize, 2 * BlockSize,
		},
		"last block": {
			func(f *disk.FaultFS) error { return f.FlipBit("d/000001.sst", 3*BlockSize+16, 0) },
			"000001.sst", 3 * BlockSize, 3*BlockSize + 17,
		},
		"missing":  {func(f *disk.FaultFS) error { return f.Remove("d/000002.sst") }, "000002.sst", 0, 2 * BlockSize},
		"stray":    {func(f *disk.FaultFS) error { return disk.WriteFileAtomic(f, "d/000009.log", nil) }, "000009.log", 0, 0},
		"too long": {func(f *disk.FaultFS) error { return disk.WriteFileAtomic(f, "d/empty", []byte("x")) }, "empty", 0, 1},
		"short":    {func(f *disk.FaultFS) error { return disk.WriteFileAtomic(f, "d/CURRENT", []byte("x")) }, "CURRENT", 0, 16},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := disk.NewFaultFS()
			for name, data := range state() {
				put(t, fsys, "d/"+name, data)
			}
			m, err := BuildManifest(within(t), fsys, "d", Meta{ClusterID: 1, SnapshotMeta: raft.SnapshotMeta{Index: 1, Term: 1}})
			if err != nil {
				t.Fatal(err)
			}
			if err := Verify(within(t), fsys, "d", m); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(fsys); err != nil {
				t.Fatal(err)
			}
			var got *CorruptError
			if err := Verify(within(t), fsys, "d", m); !errors.As(err, &got) {
				t.Fatalf("got %v", err)
			}
			if got.File != c.file || got.From != c.from || got.To != c.to {
				t.Fatalf("got %v", got)
			}
		})
	}
}

func FuzzDecodeManifest(f *testing.F) {
	m := &Manifest{
		Meta:  Meta{ClusterID: 1, SnapshotMeta: raft.SnapshotMeta{Index: 1, Term: 1}},
		Files: []File{{Name: "a", Size: 1, Blocks: []uint32{1}}, {Name: "b"}},
	}
	f.Add(m.appendTo(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := DecodeManifest(seal(markMagic, body))
		if err != nil {
			if !errors.Is(err, ErrManifest) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		again, err := DecodeManifest(got.Encode())
		if err != nil || cmp.Diff(got, again) != "" {
			t.Fatalf("does not survive: %v", err)
		}
	})
}

// The example of docs/format/snapshot.md.
func TestDocumentedManifestIsTheOneWritten(t *testing.T) {
	crc := checksum([]byte("hi"))
	m := &Manifest{
		Meta: Meta{ClusterID: 0xc1, SnapshotMeta: raft.SnapshotMeta{
			Index: 100, Term: 3, Conf: raft.ConfState{Voters: []uint64{1, 2}},
		}},
		Files: []File{{Name: "A", Size: 2, CRC: crc, Blocks: []uint32{crc}}},
	}
	want := "4346534e41504d31" + "c100000000000000" + "6403" + "02010200000000" + "01" + "0141" + "02" +
		"c2d99df5" + "c2d99df5" + "4ff0f1dc"
	if got := fmt.Sprintf("%x", m.Encode()); got != want {
		t.Errorf("wrote %s, documented is %s", got, want)
	}
}
