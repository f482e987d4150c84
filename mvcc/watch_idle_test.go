package mvcc

import (
	"fmt"
	"testing"

	"chainfire"
	"chainfire/internal/disk"
)

// TestIdleWatchesCostABusyStoreNothing: whatever their number, publishing what concerns
// none of them touches none of them, wakes no reader and takes no more memory.
func TestIdleWatchesCostABusyStoreNothing(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	events := []chainfire.Event{{KV: chainfire.KeyValue{Key: []byte("m"), Value: []byte("v")}}}
	publish := func() float64 {
		return testing.AllocsPerRun(100, func() {
			st := s.State()
			st.Revision = s.hub.rev + 1
			s.hub.publish([]*block{{rev: st.Revision, events: events, bytes: 1 << 20}}, st)
		})
	}
	alone := publish()
	var idle []*stream
	for i := range 100 {
		st := s.NewWatchStream().(*stream)
		for j := range 100 {
			key := fmt.Appendf(nil, "%c%04d", 'a'+i%12, i*100+j) // before "m"
			mustWatch(t, st, chainfire.WatchRequest{Key: key})
			mustWatch(t, st, chainfire.WatchRequest{Key: key, RangeEnd: []byte("l~"), PrevKV: true, ProgressNotify: true})
			mustWatch(t, st, chainfire.WatchRequest{Key: append([]byte("n"), key...), RangeEnd: []byte{0}})
		}
		idle = append(idle, st)
	}
	busy := s.NewWatchStream().(*stream)
	mustWatch(t, busy, chainfire.WatchRequest{Key: []byte("m")})
	touched := 0
	s.hub.index.match([]byte("m"), func(*watch) { touched++ })
	if touched != 1 {
		t.Errorf("a key that one watches concerns %d watches", touched)
	}
	if beside := publish(); beside > alone {
		t.Errorf("%v allocations beside %d idle watches, %v without", beside, 3*len(idle)*100, alone)
	}
	for _, st := range idle {
		if len(st.woken) > 0 || st.queue.pop() != nil {
			t.Fatal("a stream of idle watches was woken")
		}
	}
	if len(busy.woken) == 0 || busy.queue.pop() == nil {
		t.Error("the stream of the watch that is concerned was not woken")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestStormOfProgressRequestsIsOneAnswer: who asks over and over is told once,
// when every watch of the stream has seen everything.
func TestStormOfProgressRequestsIsOneAnswer(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	st := s.NewWatchStream()
	mustWatch(t, st, chainfire.WatchRequest{Key: []byte("k")})
	mustWatch(t, st, chainfire.WatchRequest{Key: []byte("k")})
	mustApply(t, s, put1("k"))
	for range 10_000 {
		st.RequestProgress()
	}
	for range 2 {
		if resp := mustRecv(t, st); len(resp.Events) != 1 {
			t.Fatalf("before the events: %+v", resp)
		}
	}
	if resp := mustRecv(t, st); resp.WatchID != chainfire.AllWatches || resp.Revision != 2 {
		t.Fatalf("after the events: %+v", resp)
	}
	mustNotRecv(t, st)
	st.RequestProgress()
	if resp := mustRecv(t, st); resp.WatchID != chainfire.AllWatches || resp.Revision != 2 {
		t.Fatalf("asked once more: %+v", resp)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
