package mvcc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"chainfire"
	"chainfire/internal/disk"
)

// sameKeys are written together in every revision of these tests, with the
// revision as their value.
var sameKeys = []string{"a", "b", "c"}

// writeSame applies one revision that writes all of sameKeys, and now and then
// a compaction right behind it.
func writeSame(s *Store, i int) error {
	value := fmt.Appendf(nil, "%d", s.State().Revision+1)
	var ops []op
	for _, k := range sameKeys {
		ops = append(ops, op{key: []byte(k), value: value})
	}
	r := round{txns: [][]op{ops}}
	if i%50 == 49 {
		r.compact = s.State().Revision - 10
	}
	return apply(s, []round{r}, s.State().Applied+1)
}

// checkSame reads a revision and checks that it is whole and the right one.
func checkSame(ctx context.Context, s *Store, rev int64) error {
	resp, err := s.Range(ctx, &chainfire.RangeRequest{Key: []byte("a"), RangeEnd: []byte("z"), Revision: rev})
	if rev > 0 && errors.Is(err, chainfire.ErrCompacted) {
		return nil
	}
	if err != nil {
		return err
	}
	if rev == 0 {
		rev = resp.Header.Revision
	}
	if rev > 1 && len(resp.KVs) != len(sameKeys) {
		return fmt.Errorf("revision %d has %d keys", rev, len(resp.KVs))
	}
	for _, kv := range resp.KVs {
		if string(kv.Value) != fmt.Sprint(rev) || kv.ModRevision != rev {
			return fmt.Errorf("revision %d has %s = %s of revision %d", rev, kv.Key, kv.Value, kv.ModRevision)
		}
	}
	return nil
}

// follow receives until a revision, and checks that each comes whole and in
// order. A watch that was compacted away starts again.
func follow(ctx context.Context, s *Store, last int64) error {
	st := s.NewWatchStream()
	defer st.Close()
	req := &chainfire.WatchRequest{Key: []byte("a"), RangeEnd: []byte("z"), StartRevision: 2, PrevKV: true}
	if _, err := st.Watch(req); err != nil {
		return err
	}
	for next := int64(2); next <= last; {
		resp, err := st.Recv(ctx)
		if err != nil {
			return err
		}
		if resp.Canceled {
			next = resp.CompactRevision
			req.StartRevision = next
			if _, err := st.Watch(req); err != nil {
				return err
			}
			continue
		}
		for i, e := range resp.Events {
			if want := next + int64(i/len(sameKeys)); e.KV.ModRevision != want || string(e.KV.Value) != fmt.Sprint(want) {
				return fmt.Errorf("event %d of the answer at %d: %s = %s of revision %d", i, next, e.KV.Key, e.KV.Value, e.KV.ModRevision)
			}
			if e.PrevKV != nil && e.PrevKV.ModRevision != e.KV.ModRevision-1 {
				return fmt.Errorf("revision %d came after revision %d", e.KV.ModRevision, e.PrevKV.ModRevision)
			}
		}
		next += int64(len(resp.Events) / len(sameKeys))
	}
	return nil
}

// swap replaces the store by a checkpoint of itself.
func swap(ctx context.Context, s *Store) error {
	if err := s.Checkpoint(ctx, "copy"); err != nil {
		return err
	}
	return s.Replace("copy")
}

func TestReadsAndWatchesAreWholeWhileEverythingMoves(t *testing.T) {
	ctx := t.Context()
	s := newStore(t, disk.NewFaultFS(), func(o *Options) { o.RingBytes = 16 << 10 })
	const rounds = 1500
	var wg sync.WaitGroup
	fail := make(chan error, 20)
	run := func(f func() error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := f(); err != nil {
				fail <- err
			}
		}()
	}
	stop := make(chan struct{})
	for i := range 3 {
		run(func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				rev := int64(0)
				if i > 0 {
					rev = max(0, s.State().Revision-int64(i*5))
				}
				if err := checkSame(ctx, s, rev); err != nil {
					return err
				}
			}
		})
		run(func() error { return follow(ctx, s, rounds+1) })
	}
	for i := range rounds {
		if err := writeSame(s, i); err != nil {
			t.Fatal(err)
		}
		if i%400 == 399 {
			if err := swap(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	close(fail)
	for err := range fail {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLongReadEndsWithItsContext(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	if err := write(s, 0, 2000, 10); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Count(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("count: %v", err)
	}
	if _, err := s.HashKV(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("hash: %v", err)
	}
	if err := s.WaitCompacted(ctx, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHashDoesNotDependOnWhatCompactionHasCleanedUp(t *testing.T) {
	ctx := t.Context()
	s := newStore(t, disk.NewFaultFS(), nil)
	for i := range 2000 {
		r := put1(fmt.Sprintf("k%d", i%7))
		if i%5 == 0 {
			r.txns[0] = append(r.txns[0], op{key: fmt.Appendf(nil, "k%d", (i+1)%7), delete: true})
		}
		mustApply(t, s, r)
	}
	mustApply(t, s, round{compact: s.State().Revision - 20})
	early, err := s.HashKV(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WaitCompacted(ctx, s.State().Compacted); err != nil {
		t.Fatal(err)
	}
	if late, err := s.HashKV(ctx, 0); err != nil || late != early {
		t.Fatalf("%+v became %+v, %v", early, late, err)
	}
	if rows := len(dump(t, s)); rows > 100 {
		t.Fatalf("%d rows are left after the compaction", rows)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHashRestsWhileItReadsAndEndsWithItsRest(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	if err := write(s, 0, 2000, 10); err != nil {
		t.Fatal(err)
	}
	want, err := s.HashKV(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	rests := 0
	if h, err := v.HashKV(t.Context(), 0, func() error { rests++; return nil }); err != nil || h != want || rests < 2000/cancelEvery {
		t.Errorf("with %d rests: %+v, %v; want %+v", rests, h, err, want)
	}
	tired := errors.New("tired")
	if _, err := v.HashKV(t.Context(), 0, func() error { return tired }); !errors.Is(err, tired) {
		t.Errorf("it went on: %v", err)
	}
	if err := errors.Join(v.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
}
