package etcdwal_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"chainfire"
	"chainfire/etcdwal"
)

// TestFileThatLostItsLastRecordIsFound, although no entry is missing: the next file goes on
// from another checksum.
func TestFileThatLostItsLastRecordIsFound(t *testing.T) {
	dir := written(t, 34, 3)
	all := files(t, dir)
	change(t, all[1], func(b []byte) []byte {
		last := 0
		for from := 0; from+8 < len(b) && binary.LittleEndian.Uint64(b[from:]) != 0; {
			last = from
			from += 8 + (int(binary.LittleEndian.Uint64(b[from:])<<8>>8)+7)/8*8
		}
		return b[:last]
	})
	_, got, err := read(t, etcdwal.Options{Dir: dir, After: 2, Voters: []uint64{self}})
	if !errors.Is(err, chainfire.ErrCorrupt) || len(got) > 0 || !strings.Contains(err.Error(), all[2]+" at offset 0:") {
		t.Errorf("%d entries, %v", len(got), err)
	}
}

// TestEntryThatChangedSinceTheLogWasOpenedIsNotHandedOver: the disk may rot in between.
func TestEntryThatChangedSinceTheLogWasOpenedIsNotHandedOver(t *testing.T) {
	dir := written(t, 10, 3)
	last := files(t, dir)[len(files(t, dir))-1]
	l, err := etcdwal.Open(t.Context(), etcdwal.Options{Dir: dir, After: 20, Voters: []uint64{self}})
	if err != nil {
		t.Fatal(err)
	}
	from := at(t, last, 29)
	change(t, last, func(b []byte) []byte { b[from+500] ^= 1; return b })
	n := 0
	err = l.Entries(t.Context(), func(*raftpb.Entry) error { n++; return nil })
	if !errors.Is(err, chainfire.ErrCorrupt) || n != 8 {
		t.Errorf("%d entries, %v", n, err)
	}
}
