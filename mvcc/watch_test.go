package mvcc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chainfire"
	"chainfire/internal/disk"
)

func (r *rig) startWatch(t *rapid.T) {
	key := drawKey(t, "key")
	if len(key) == 0 {
		key = []byte{0}
	}
	req := chainfire.WatchRequest{
		Key: key, RangeEnd: drawEnd(t), PrevKV: rapid.Bool().Draw(t, "prev"),
		NoPut: rapid.Bool().Draw(t, "no put"), NoDelete: rapid.Bool().Draw(t, "no delete"),
	}
	if rapid.Bool().Draw(t, "start is set") {
		req.StartRevision = rapid.Int64Range(1, r.model.revision+3).Draw(t, "start")
	}
	id, err := r.stream.Watch(&req)
	if errors.Is(err, chainfire.ErrEmptyWatcherRange) {
		if len(req.RangeEnd) > 0 && string(req.RangeEnd) != "\x00" && string(req.Key) >= string(req.RangeEnd) {
			return
		}
	}
	if err != nil {
		t.Fatalf("watch %+v: %v", req, err)
	}
	w := &rigWatch{req: req, from: req.StartRevision}
	if w.from == 0 {
		w.from = r.model.revision + 1
	}
	w.seen = w.from - 1
	r.watches[id] = w
}

// recv takes one answer, asking for a progress mark so that there is one.
func (r *rig) recv(t *rapid.T) {
	if !r.future() {
		r.take(t)
	}
}

// future reports whether a watch starts in the future, so that no mark comes.
func (r *rig) future() bool {
	for _, w := range r.watches {
		if !w.cancelled && w.from > r.model.revision+1 {
			return true
		}
	}
	return false
}

// take receives one answer, follows it, and says whether it was the mark.
func (r *rig) take(t fataler) bool {
	t.Helper()
	r.stream.RequestProgress()
	resp, err := r.stream.Recv(context.Background())
	if err != nil {
		t.Fatalf("recv: %v", err)
	}
	if resp.WatchID == chainfire.AllWatches {
		if resp.Revision != r.model.revision {
			t.Fatalf("progress mark at revision %d, want %d", resp.Revision, r.model.revision)
		}
		return true
	}
	w := r.watches[resp.WatchID]
	if w == nil || w.cancelled {
		t.Fatalf("answer %+v of no watch", resp)
	}
	if resp.Canceled {
		if resp.CompactRevision != r.model.compacted || w.seen+1 >= r.model.compacted {
			t.Fatalf("watch %d seen to %d cancelled at %d, compacted is %d", resp.WatchID, w.seen, resp.CompactRevision, r.model.compacted)
		}
		w.cancelled = true
		return false
	}
	if resp.Revision < w.seen || len(resp.Events) == 0 {
		t.Fatalf("watch %d went from %d to %d with %d events", resp.WatchID, w.seen, resp.Revision, len(resp.Events))
	}
	for i := range resp.Events {
		e := resp.Events[i]
		r.checkPrev(t, w, &e)
		e.PrevKV = nil
		w.got = append(w.got, e)
	}
	w.seen = resp.Revision
	w.check(t, r.model, resp.Revision)
	return false
}

// check compares everything a watch handed out up to a revision.
func (w *rigWatch) check(t fataler, m *model, through int64) {
	t.Helper()
	want := m.watched(&w.req, w.from)
	want = slices.DeleteFunc(want, func(e chainfire.Event) bool { return e.KV.ModRevision > through })
	if d := diff(want, w.got); d != "" {
		t.Fatalf("watch %+v up to %d: (-want +got)\n%s", w.req, through, d)
	}
}

func (r *rig) checkPrev(t fataler, w *rigWatch, e *chainfire.Event) {
	t.Helper()
	var want *chainfire.KeyValue
	create := e.Type == chainfire.EventPut && e.KV.CreateRevision == e.KV.ModRevision
	if w.req.PrevKV && !create && e.KV.ModRevision > r.model.compacted {
		want = r.model.at(string(e.KV.Key), e.KV.ModRevision-1)
	}
	if d := diff(want, e.PrevKV); d != "" {
		t.Fatalf("previous version of %q at %d: (-want +got)\n%s", e.KV.Key, e.KV.ModRevision, d)
	}
}

// drain receives until every watch is synced, and checks that nothing is missing.
func (r *rig) drain(t fataler) {
	t.Helper()
	if r.future() {
		for id, w := range r.watches {
			if !w.cancelled && w.from > r.model.revision+1 {
				if err := r.stream.Cancel(id); err != nil {
					t.Fatalf("cancel: %v", err)
				}
				w.cancelled = true
			}
		}
	}
	for !r.take(t) {
	}
	for _, w := range r.watches {
		if !w.cancelled {
			w.seen = r.model.revision
			w.check(t, r.model, r.model.revision)
		}
	}
}

func put1(key string) round {
	return round{txns: [][]op{{{key: []byte(key), value: []byte("v")}}}}
}

// mustApply applies one round as the next log entry.
func mustApply(t *testing.T, s *Store, r round) {
	t.Helper()
	if err := apply(s, []round{r}, s.State().Applied+1); err != nil {
		t.Fatal(err)
	}
}

// mustRecv receives an answer that is there already, or soon.
func mustRecv(t *testing.T, st chainfire.WatchStream) *chainfire.WatchResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := st.Recv(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// mustNotRecv checks that there is nothing to hand out.
func mustNotRecv(t *testing.T, st chainfire.WatchStream) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if resp, err := st.Recv(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("received %+v, %v", resp, err)
	}
}

func mustWatch(t *testing.T, st chainfire.WatchStream, r chainfire.WatchRequest) int64 {
	t.Helper()
	id, err := st.Watch(&r)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWatchIDsAreUniqueInAStream(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	st := s.NewWatchStream()
	req := chainfire.WatchRequest{Key: []byte("k")}
	first := mustWatch(t, st, req)
	req.ID = 1
	if id := mustWatch(t, st, req); id != 1 {
		t.Fatalf("asked for id 1, got %d", id)
	}
	if _, err := st.Watch(&req); !errors.Is(err, chainfire.ErrWatchDuplicateID) {
		t.Fatalf("id 1 twice: %v", err)
	}
	req.ID = 0
	if id := mustWatch(t, st, req); id == first || id == 1 {
		t.Fatalf("id %d twice", id)
	}
	if err := st.Cancel(99); !errors.Is(err, chainfire.ErrWatcherNotExist) {
		t.Fatalf("cancel of no watch: %v", err)
	}
	bad := chainfire.WatchRequest{Key: []byte("b"), RangeEnd: []byte("a")}
	if _, err := st.Watch(&bad); !errors.Is(err, chainfire.ErrEmptyWatcherRange) {
		t.Fatalf("empty interval: %v", err)
	}
	st.Close()
	if _, err := st.Watch(&req); !errors.Is(err, chainfire.ErrWatchStreamClosed) {
		t.Fatalf("watch on a closed stream: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCancelledWatchHandsOutNothingMore(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	st := s.NewWatchStream()
	id := mustWatch(t, st, chainfire.WatchRequest{Key: []byte("k")})
	mustApply(t, s, put1("k"))
	if err := st.Cancel(id); err != nil {
		t.Fatal(err)
	}
	mustNotRecv(t, st)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestProgressMarksComeOnlyWhenTheyAreTrue(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	st := s.NewWatchStream()
	quiet := mustWatch(t, st, chainfire.WatchRequest{Key: []byte("quiet"), ProgressNotify: true})
	mustWatch(t, st, chainfire.WatchRequest{Key: []byte("k")})
	future := mustWatch(t, st, chainfire.WatchRequest{Key: []byte("k"), StartRevision: 4, ProgressNotify: true})
	st.RequestProgress()
	st.RequestProgress()
	mustNotRecv(t, st)
	mustApply(t, s, put1("k"))
	mustApply(t, s, put1("x"))
	if resp := mustRecv(t, st); len(resp.Events) != 1 || resp.Revision != 3 {
		t.Fatalf("%+v", resp)
	}
	if resp := mustRecv(t, st); resp.WatchID != chainfire.AllWatches || resp.Revision != 3 {
		t.Fatalf("%+v", resp)
	}
	mustNotRecv(t, st)
	s.NotifyProgress()
	got := map[int64]int64{}
	for range 2 {
		resp := mustRecv(t, st)
		got[resp.WatchID] = resp.Revision
	}
	if got[quiet] != 3 || got[future] != 3 {
		t.Fatalf("marks %v", got)
	}
	mustNotRecv(t, st)
	mustApply(t, s, put1("quiet"))
	s.NotifyProgress()
	if resp := mustRecv(t, st); resp.WatchID != quiet || len(resp.Events) != 1 {
		t.Fatalf("%+v", resp)
	}
	if resp := mustRecv(t, st); resp.WatchID != future || len(resp.Events) != 0 || resp.Revision != 4 {
		t.Fatalf("%+v", resp)
	}
	mustNotRecv(t, st)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWatchesMarkedAtOnceAreServedByTheirNumbers(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	st := s.NewWatchStream()
	for range 50 {
		mustWatch(t, st, chainfire.WatchRequest{Key: []byte("k"), ProgressNotify: true})
	}
	s.NotifyProgress()
	for want := range int64(50) {
		if resp := mustRecv(t, st); resp.WatchID != want {
			t.Fatalf("watch %d is served, not %d", resp.WatchID, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestClosingEndsARecvThatWaits(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	for _, end := range []func(chainfire.WatchStream) error{
		func(st chainfire.WatchStream) error { st.Close(); return nil },
		func(chainfire.WatchStream) error { return s.Close() },
	} {
		st := s.NewWatchStream()
		done := make(chan error)
		go func() {
			_, err := st.Recv(context.Background())
			done <- err
		}()
		if err := end(st); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, chainfire.ErrWatchStreamClosed) {
			t.Fatalf("recv: %v", err)
		}
	}
	if _, err := s.NewWatchStream().Recv(context.Background()); !errors.Is(err, chainfire.ErrWatchStreamClosed) {
		t.Fatalf("stream of a closed store: %v", err)
	}
}

func TestOneRevisionStaysWholeHoweverLargeItIs(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), func(o *Options) { o.RingBytes = 4 << 10 })
	st := s.NewWatchStream()
	mustWatch(t, st, chainfire.WatchRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	var ops []op
	for i := range 9000 {
		ops = append(ops, op{key: fmt.Appendf(nil, "k%05d", i), value: make([]byte, 200)})
	}
	mustApply(t, s, round{txns: [][]op{ops}})
	mustApply(t, s, round{txns: [][]op{{{key: []byte("k"), end: []byte("l"), delete: true}}}})
	for _, want := range []chainfire.EventType{chainfire.EventPut, chainfire.EventDelete} {
		resp := mustRecv(t, st)
		if len(resp.Events) != len(ops) || resp.Events[0].Type != want {
			t.Fatalf("%d events of type %v", len(resp.Events), resp.Events[0].Type)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
