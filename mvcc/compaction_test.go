package mvcc

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"chainfire/internal/disk"
)

// told is a writer whose lines are waited for.
type told chan []byte

func (c told) Write(p []byte) (int, error) {
	c <- append([]byte(nil), p...)
	return len(p), nil
}

func TestAFinishedCompactionIsToldOfOnce(t *testing.T) {
	lines, passes := make(told, 10), make(chan Compaction, 10)
	s := newStore(t, disk.NewFaultFS(), func(o *Options) {
		o.Logger = slog.New(slog.NewJSONHandler(lines, nil))
		o.Compacted = func(c Compaction) { passes <- c }
	})
	var rounds []round
	const versions = 3 * compactionChunk
	for range versions {
		rounds = append(rounds, round{txns: [][]op{{{key: []byte("k"), value: []byte("v")}}}})
	}
	mustApplyAll(t, s, rounds)
	// Each version but the last one is superseded at the last revision.
	mustApplyAll(t, s, []round{{compact: s.State().Revision}})
	select {
	case c := <-passes:
		if c.Revision != versions+1 || c.Dropped != versions-1 || c.Took <= 0 {
			t.Errorf("%+v", c)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no compaction was told of")
	}
	var line struct {
		Msg, Size, Live             string
		Revision, Keys, Took, Bytes int64
	}
	select {
	case b := <-lines:
		if err := json.Unmarshal(b, &line); err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was logged")
	}
	if line.Msg != "compaction was finished" || line.Revision != versions+1 || line.Keys != versions-1 || line.Took <= 0 || line.Bytes <= 0 || line.Size == "" || line.Live == "" {
		t.Errorf("%+v", line)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(passes) > 0 || len(lines) > 0 {
		t.Error("told of more than once")
	}
}

func TestFlushesAreTimed(t *testing.T) {
	took := make(chan time.Duration, 100)
	s := newStore(t, disk.NewFaultFS(), func(o *Options) { o.FlushTook = func(d time.Duration) { took <- d } })
	mustApplyAll(t, s, []round{{txns: [][]op{{{key: []byte("k"), value: []byte("v")}}}}})
	if len(took) > 0 {
		t.Error("a flush was told of before there was one")
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-took:
		if d <= 0 {
			t.Errorf("it took %v", d)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no flush was told of")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustApplyAll(t *testing.T, s *Store, rounds []round) {
	t.Helper()
	if err := apply(s, rounds, s.State().Applied+1); err != nil {
		t.Fatal(err)
	}
}
