package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// reader reads random stretches until stop, and checks that what it gets is
// contiguous and of one time: where one batch ends in an answer, another begins
// with its first entry, which its data marks.
func reader(l *Log, seed uint64, stop *atomic.Bool) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	for !stop.Load() {
		first, last := l.FirstIndex(), l.LastIndex()
		if last < first {
			continue
		}
		lo := first + rng.Uint64N(last-first+1)
		hi := lo + 1 + rng.Uint64N(last-lo+1)
		es, err := l.Entries(lo, hi, 1+rng.Uint64N(20_000))
		if errors.Is(err, raft.ErrCompacted) || errors.Is(err, raft.ErrUnavailable) {
			continue // released or replaced since the bounds were read
		}
		if err != nil || len(es) == 0 {
			return fmt.Errorf("read [%d, %d): %d entries, %w", lo, hi, len(es), err)
		}
		term := uint64(0)
		for i, e := range es {
			if e.Index != lo+uint64(i) || e.Term < term || e.Data[0] != byte(e.Index) ||
				(i > 0 && (e.Term != term) != (e.Data[1] == 1)) {
				return fmt.Errorf("read [%d, %d): entry %d, term %d after %d, at place %d", lo, hi, e.Index, e.Term, term, i)
			}
			term = e.Term
		}
		if _, err := l.Term(lo); err != nil && !errors.Is(err, raft.ErrCompacted) && !errors.Is(err, raft.ErrUnavailable) {
			return err
		}
		l.Size()
	}
	return nil
}

func TestReadsWhileTheWriterWorks(t *testing.T) {
	o := small(disk.NewFaultFS())
	o.SegmentBytes, o.CacheBytes = 8<<10, 4<<10
	l := mustCreate(t, o)
	var stop atomic.Bool
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		wg.Go(func() { errs[i] = reader(l, uint64(i), &stop) })
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 3000 {
		first := l.LastIndex() + 1
		if low := l.FirstIndex(); rng.IntN(3) == 0 && first > low+8 {
			first -= 1 + rng.Uint64N(8)
		}
		es := run(first, first+2+rng.Uint64N(9), uint64(1+i), 2+rng.IntN(300))
		for k := range es {
			es[k].Data[1] = 0
		}
		es[0].Data[1] = 1
		must(t, l.Append(Batch{Entries: es}))
		if i%50 == 49 {
			must(t, l.Release(max(l.FirstIndex()-1, l.LastIndex()-40)))
		}
		if i%700 == 699 {
			must(t, l.Reset(l.LastIndex()+10, uint64(1+i), raft.HardState{}, 0))
		}
	}
	stop.Store(true)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	must(t, l.Close())
}

func TestReadIsOfOneTimeWhenTheEndIsReplacedInTheMiddleOfIt(t *testing.T) {
	d := disk.NewFaultFS()
	l := mustCreate(t, small(d))
	for i := uint64(1); i <= 40; i++ {
		must(t, l.Append(Batch{Entries: run(i, i, 1, 50)}))
	}
	reads := 0
	d.Observe(func(e disk.Event) {
		if reads++; e.Op == disk.OpRead && reads == 3 {
			must(t, l.Append(Batch{Entries: run(10, 40, 2, 50)}))
		}
	})
	es, err := l.Entries(2, 41, 1<<20)
	must(t, err)
	same(t, "entries", es, append(run(2, 9, 1, 50), run(10, 40, 2, 50)...))
}

func TestMemoryPerEntryIsBounded(t *testing.T) {
	o := small(disk.NewFaultFS())
	o.SegmentBytes, o.CacheBytes = 1<<20, 64<<10
	l := mustCreate(t, o)
	const n = 40_000
	for i := uint64(1); i <= n; i += 4 {
		must(t, l.Append(Batch{Entries: run(i, i+3, 1+i/10_000, 32)}))
	}
	points := 0
	_, bytes := l.Size()
	for _, s := range l.segments {
		points += len(s.points)
	}
	if limit := int(bytes/pointBytes) + len(l.segments); points > limit {
		t.Errorf("%d index points for %d bytes in %d segments, want at most %d", points, bytes, len(l.segments), limit)
	}
	if len(l.terms) != 1+n/10_000 {
		t.Errorf("%d term runs", len(l.terms))
	}
	if l.cache.bytes > 64<<10 || len(l.cache.entries)-l.cache.head > 2000 || cap(l.cache.entries) > 8000 {
		t.Errorf("cache holds %d bytes, %d entries in %d slots", l.cache.bytes, len(l.cache.entries)-l.cache.head, cap(l.cache.entries))
	}
	es := all(t, l)
	same(t, "entries", len(es), n)
}

func TestAppendAllocatesLittle(t *testing.T) {
	l, err := Create(Options{Dir: t.TempDir() + "/wal"}, 0, 0, raft.HardState{})
	must(t, err)
	data := make([]byte, 100)
	es := make([]raft.Entry, 1)
	allocs := testing.AllocsPerRun(200, func() {
		es[0] = raft.Entry{Index: l.LastIndex() + 1, Term: 1, Data: data}
		must(t, l.Append(Batch{Entries: es}))
	})
	if allocs > 3 {
		t.Errorf("an append allocates %.0f times", allocs)
	}
	must(t, l.Close())
}
