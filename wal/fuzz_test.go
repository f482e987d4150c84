package wal

import (
	"errors"
	"hash/crc32"
	"math"
	"testing"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// FuzzOpenSegment opens a log whose only segment holds any bytes at all. Open
// must answer or refuse, and what it answers must be readable. With reseal the
// checksums are made right first, so that the parser behind them is reached.
func FuzzOpenSegment(f *testing.F) {
	d := disk.NewFaultFS()
	o := small(d)
	o.SegmentBytes = 1 << 20
	l, err := Create(o, 3, 1, raft.HardState{Term: 1})
	must(f, err)
	must(f, l.Append(Batch{Entries: run(4, 6, 1, 5), Floor: 2, HardState: &raft.HardState{Term: 2, Vote: 1}}))
	must(f, l.Append(Batch{Entries: run(5, 5, 2, 5)}))
	must(f, l.Close())
	seg, err := disk.ReadFile(d, l.cur.path, 1<<20)
	must(f, err)
	f.Add(seg, false)
	f.Add(seg, true)
	f.Add(seg[:200], true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, data []byte, again bool) {
		if again {
			reseal(data)
		}
		d := disk.NewFaultFS()
		must(t, disk.MkdirAll(d, "wal"))
		must(t, disk.WriteFileAtomic(d, l.cur.path, data))
		r, st, err := Open(small(d))
		var bad *CorruptError
		if errors.As(err, &bad) {
			return
		}
		must(t, err)
		es := all(t, r)
		must(t, r.Append(Batch{Entries: []raft.Entry{{Index: st.Last + 1, Term: math.MaxUint64}}}))
		r, st, err = Open(small(d.Crash(disk.CrashOptions{})))
		must(t, err)
		if again := all(t, r); entriesDiffer(es, again[:len(es)]) != "" || st.Torn != nil {
			t.Fatalf("second open: %+v", st)
		}
	})
}

// reseal makes every checksum of a segment right that can be.
func reseal(b []byte) {
	if len(b) < segmentHeaderBytes {
		return
	}
	seed := crc32.Checksum(b[:124], castagnoli)
	le.PutUint32(b[124:], seed)
	chain := seed
	for off := segmentHeaderBytes; off+recordHeaderBytes <= len(b); {
		rec := b[off:]
		n := uint64(le.Uint32(rec[4:]))
		if n > uint64(len(rec)-recordHeaderBytes) {
			n = uint64(len(rec) - recordHeaderBytes)
			le.PutUint32(rec[4:], uint32(n))
		}
		h := recordHeader{
			length: uint32(n), segment: le.Uint64(rec[8:]), seq: le.Uint64(rec[16:]),
			durable: le.Uint64(rec[24:]), offset: uint32(off),
		}
		chain = h.encode(rec[:recordHeaderBytes+int(n)], seed, chain)
		off += recordHeaderBytes + int(n)
	}
}

// FuzzInspect inspects a log whose middle segment, or the one behind it, holds
// any bytes at all. It must answer, agree with Open about whether the log is
// sound and what it then holds, and never hold more in memory than a few records.
func FuzzInspect(f *testing.F) {
	d := disk.NewFaultFS()
	o := small(d)
	l, err := Create(o, 3, 1, raft.HardState{Term: 1})
	must(f, err)
	for i := uint64(4); i < 40; i++ {
		must(f, l.Append(Batch{Entries: run(i, i, 1, 40), Floor: i - 3, HardState: &raft.HardState{Term: 1, Commit: i - 1}}))
	}
	must(f, l.Append(Batch{Entries: run(30, 34, 2, 5), HardState: &raft.HardState{Term: 2, Vote: 1, Commit: 29}}))
	must(f, l.Close())
	if len(l.segments) < 3 {
		f.Fatalf("%d segments are too few", len(l.segments))
	}
	for k, s := range l.segments {
		seg, err := disk.ReadFile(d, s.path, 1<<20)
		must(f, err)
		f.Add(uint8(k), seg, false)
		f.Add(uint8(k), seg[:len(seg)/2], true)
		seg[200] ^= 4
		f.Add(uint8(k), seg, true)
	}
	f.Add(uint8(1), []byte{}, false)
	f.Fuzz(func(t *testing.T, which uint8, data []byte, again bool) {
		if again {
			reseal(data)
		}
		image := d.Crash(disk.CrashOptions{})
		file := l.segments[int(which)%len(l.segments)].path
		must(t, disk.WriteFileAtomic(image, file, data))
		var held, told uint64
		faults := 0
		n, err := Inspect(InspectOptions{
			FS: image, Dir: "wal",
			Record: func(r *InspectedRecord) error {
				held = max(held, uint64(len(r.Entries)))
				for _, e := range r.Entries {
					told += e.Size()
				}
				return nil
			},
			Fault: func(x *Fault) error {
				if faults++; x.Offset < 0 || x.Bytes < 0 || x.File == "" || x.Reason == "" {
					t.Fatalf("fault %+v", x)
				}
				return nil
			},
		})
		must(t, err)
		if limit := uint64(len(data)) + 1<<14; held > limit/entryHeadBytes || told > limit*4 {
			t.Fatalf("%d bytes of entries, %d at once, from %d bytes", told, held, len(data))
		}
		r, st, err := Open(small(image))
		var bad *CorruptError
		if errors.As(err, &bad) {
			if n.Damage == 0 || faults == 0 {
				t.Fatalf("open says %v, the inspection nothing", err)
			}
			return
		}
		must(t, err)
		if n.Damage > 0 || n.HardState != st.HardState || n.Base != st.Base || n.Last != st.Last || n.Floor != st.Floor || (n.Torn == nil) != (st.Torn == nil) {
			t.Fatalf("open says %+v, the inspection %+v", st, n)
		}
		must(t, r.Close())
	})
}
