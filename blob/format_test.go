package blob

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"chainfire/internal/disk"
	"chainfire/object"
)

// The worked example of docs/format/blob.md is what the store writes.
func TestTheWorkedExampleIsWhatTheStoreWrites(t *testing.T) {
	fs := disk.NewFaultFS()
	s := open(t, Options{FS: fs, Dir: "blob", Salt: 0x0102030405060708})
	id := object.ExtentID{Body: object.BodyID{Lease: 4711, N: 2}, N: 1}
	data := []byte("hello, extent")
	must(t, s.Put(context.Background(), id, data, crcOf(data)))
	must(t, s.Close())
	got, err := disk.ReadFile(fs, "blob/SEG-00000001", 1<<20)
	must(t, err)
	doc, err := os.ReadFile("../docs/format/blob.md")
	must(t, err)
	var want strings.Builder
	for at := 0; at < len(got); at += 16 {
		fmt.Fprintf(&want, "%04x  % x\n", at, got[at:min(at+16, len(got))])
	}
	if !strings.Contains(string(doc), want.String()) {
		t.Errorf("docs/format/blob.md does not have the bytes of the example, which are\n%s", want.String())
	}
}

// A client's bytes that look like records are taken for none: their checksums begin with what no
// client knows.
func TestBytesThatLookLikeRecordsAreNone(t *testing.T) {
	fs := disk.NewFaultFS()
	s := open(t, options(fs))
	forged := newExtent(ext(9, 9), []byte("forged"))
	var data []byte
	for off := int64(segmentHeaderBytes); off < 4000; off++ {
		// A head for the very offset where the bytes come to lie, of another store's salt.
		if at := off - segmentHeaderBytes - recordHeaderBytes - 4; at == int64(len(data)) {
			data = forged.appendTo(data, seedOf(8, 1), 1, off)
			data = append(data, "forged"...)
		}
	}
	must(t, s.Put(context.Background(), ext(1, 1), data, crcOf(data)))
	must(t, put(s, ext(1, 2), 100))
	must(t, s.Close())
	must(t, fs.RemoveAll("blob/index"))
	must(t, fs.FlipBit("blob/SEG-00000001", segmentHeaderBytes+20, 0)) // the head of the first
	s = open(t, options(fs))
	defer s.Close()
	if has, err := s.Has(ext(9, 9)); has || err != nil {
		t.Errorf("the forged extent: %v, %v", has, err)
	}
	must(t, holds(s, ext(1, 2), 100))
}
