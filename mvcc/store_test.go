package mvcc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"chainfire"
	"chainfire/internal/disk"
)

// round is what one log entry of the test does.
type round struct {
	txns    [][]op
	compact int64
}

// apply applies rounds as one batch, up to a log index.
func apply(s *Store, rounds []round, index uint64) error {
	w, err := s.NewWriter()
	if err != nil {
		return err
	}
	for _, r := range rounds {
		for _, ops := range r.txns {
			for _, o := range ops {
				if o.delete {
					_, _, err = w.DeleteRange(o.key, o.end, false)
				} else {
					_, err = w.Put(o.key, o.value, 0, false)
				}
				if err != nil {
					return errors.Join(err, w.Abort())
				}
			}
			w.EndTxn()
		}
		if r.compact > 0 {
			if err := w.Compact(r.compact); err != nil {
				return errors.Join(err, w.Abort())
			}
		}
	}
	return w.Commit(index, 1)
}

// rig is a store beside its model, with the log that made it.
type rig struct {
	fs    *disk.FaultFS
	opts  Options
	store *Store
	model *model
	log   []round
	// others counts the stores that replacements came from.
	others int
	// watches are the open watches with what each has handed out.
	stream  chainfire.WatchStream
	watches map[int64]*rigWatch
}

type rigWatch struct {
	req       chainfire.WatchRequest
	from      int64
	got       []chainfire.Event
	seen      int64
	cancelled bool
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newRig(t fataler) *rig {
	t.Helper()
	r := &rig{fs: disk.NewFaultFS(), model: newModel()}
	r.opts = Options{FS: r.fs, Dir: "data", MemTableBytes: 64 << 10, CacheBytes: 1 << 20, RingBytes: 3 << 10}
	if err := Create(r.opts, State{}, nil); err != nil {
		t.Fatalf("create: %v", err)
	}
	r.open(t)
	return r
}

func (r *rig) open(t fataler) {
	t.Helper()
	var err error
	if r.store, err = Open(r.opts); err != nil {
		t.Fatalf("open: %v", err)
	}
	r.stream = r.store.NewWatchStream()
	r.watches = map[int64]*rigWatch{}
}

// add applies new rounds and follows them in the model.
func (r *rig) add(t fataler, rounds ...round) {
	t.Helper()
	r.log = append(r.log, rounds...)
	if err := apply(r.store, rounds, uint64(len(r.log))); err != nil {
		t.Fatalf("apply: %v", err)
	}
	for _, x := range rounds {
		for _, ops := range x.txns {
			r.model.txn(ops)
		}
		if x.compact > 0 {
			r.model.compacted = x.compact
		}
	}
}

// replay applies what the store lacks of the log, in rounds of the given size.
func (r *rig) replay(t fataler, size int) {
	t.Helper()
	for at := int(r.store.State().Applied); at < len(r.log); {
		n := min(size, len(r.log)-at)
		if err := apply(r.store, r.log[at:at+n], uint64(at+n)); err != nil {
			t.Fatalf("replay: %v", err)
		}
		at += n
	}
}

func (r *rig) hash(t fataler) Hash {
	t.Helper()
	h, err := r.store.HashKV(context.Background(), 0)
	if err != nil {
		t.Fatalf("hash: %v", err)
	}
	return h
}

// crash goes on with what a power cut leaves, and replays the rest of the log.
func (r *rig) crash(t fataler, size int) {
	t.Helper()
	flushed, before := r.store.FlushedIndex(), r.hash(t)
	image := r.fs.Crash(disk.CrashOptions{})
	r.close(t)
	r.fs, r.opts.FS = image, image
	r.open(t)
	if applied := r.store.State().Applied; applied < flushed {
		t.Fatalf("flushed index %d was claimed, the crash left %d", flushed, applied)
	}
	r.replay(t, size)
	if after := r.hash(t); after != before {
		t.Fatalf("hash after crash and replay is %+v, want %+v", after, before)
	}
}

func (r *rig) close(t fataler) {
	t.Helper()
	r.stream.Close()
	if err := r.store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

var testKeys = []string{"", "\x00", "\x00\x01", "\x01", "a", "a\x00", "a\x00\xff", "a\x01", "ab", "b", "b\xff", "c", "d", "\xff", "\xff\xff"}

func drawKey(t *rapid.T, label string) []byte {
	return []byte(rapid.SampledFrom(testKeys).Draw(t, label))
}

func drawEnd(t *rapid.T) []byte {
	switch rapid.IntRange(0, 3).Draw(t, "end kind") {
	case 0:
		return nil
	case 1:
		return []byte{0}
	}
	return drawKey(t, "end")
}

func drawRound(t *rapid.T) round {
	var r round
	for range rapid.IntRange(1, 3).Draw(t, "txns") {
		var ops []op
		for range rapid.IntRange(0, 4).Draw(t, "ops") {
			o := op{key: drawKey(t, "key"), delete: rapid.IntRange(0, 3).Draw(t, "delete") == 0}
			if o.delete {
				o.end = drawEnd(t)
			} else {
				o.value = rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "value")
			}
			ops = append(ops, o)
		}
		r.txns = append(r.txns, ops)
	}
	return r
}

func drawRange(t *rapid.T, m *model) *chainfire.RangeRequest {
	rev := func(label string) int64 {
		if rapid.Bool().Draw(t, label+" is set") {
			return rapid.Int64Range(0, m.revision+1).Draw(t, label)
		}
		return 0
	}
	return &chainfire.RangeRequest{
		Key: drawKey(t, "from"), RangeEnd: drawEnd(t),
		Limit:      rapid.Int64Range(0, 4).Draw(t, "limit"),
		Revision:   rev("revision"),
		SortOrder:  chainfire.SortOrder(rapid.IntRange(0, 2).Draw(t, "order")),
		SortTarget: chainfire.SortTarget(rapid.IntRange(0, 4).Draw(t, "target")),
		KeysOnly:   rapid.Bool().Draw(t, "keys only"), CountOnly: rapid.Bool().Draw(t, "count only"),
		MinModRevision: rev("min mod"), MaxModRevision: rev("max mod"),
		MinCreateRevision: rev("min create"), MaxCreateRevision: rev("max create"),
	}
}

func diff(a, b any) string { return cmp.Diff(a, b, cmpopts.EquateEmpty()) }

func (r *rig) checkRange(t *rapid.T) {
	req := drawRange(t, r.model)
	want, wantErr := r.model.rangeKV(req)
	got, err := r.store.Range(context.Background(), req)
	if !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
		t.Fatalf("range %+v: error %v, want %v", req, err, wantErr)
	}
	if d := diff(want, got); d != "" {
		t.Fatalf("range %+v: (-want +got)\n%s", req, d)
	}
}

// checkRound reads inside a round that is not committed, and drops it.
func (r *rig) checkRound(t *rapid.T) {
	w, err := r.store.NewWriter()
	if err != nil {
		t.Fatalf("writer: %v", err)
	}
	m := newModel()
	m.revision, m.compacted = r.model.revision, r.model.compacted
	for k, l := range r.model.versions {
		m.versions[k] = slices.Clone(l)
	}
	for _, ops := range drawRound(t).txns {
		for i, o := range ops {
			if o.delete {
				_, _, err = w.DeleteRange(o.key, o.end, true)
			} else {
				_, err = w.Put(o.key, o.value, 0, true)
			}
			if err != nil {
				t.Fatalf("write: %v", err)
			}
			if i == len(ops)-1 {
				w.EndTxn()
			}
		}
		m.txn(ops)
		req := drawRange(t, m)
		want, wantErr := m.rangeKV(req)
		got, err := w.Range(req)
		if !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
			t.Fatalf("range %+v in a round: error %v, want %v", req, err, wantErr)
		}
		if d := diff(want, got); d != "" {
			t.Fatalf("range %+v in a round: (-want +got)\n%s", req, d)
		}
	}
	if err := w.Abort(); err != nil {
		t.Fatalf("abort: %v", err)
	}
}

func (r *rig) compact(t *rapid.T) {
	if r.model.compacted >= r.model.revision {
		return
	}
	rev := rapid.Int64Range(r.model.compacted+1, r.model.revision).Draw(t, "compact")
	r.add(t, round{compact: rev})
	if rapid.Bool().Draw(t, "wait") {
		if err := r.store.WaitCompacted(context.Background(), rev); err != nil {
			t.Fatalf("wait for compaction: %v", err)
		}
	}
}

// replace installs a checkpoint of a second store that is ahead by some rounds.
func (r *rig) replace(t *rapid.T) {
	ctx := context.Background()
	r.others++
	dir := fmt.Sprintf("other-%d", r.others)
	other := Options{FS: r.fs, Dir: dir, MemTableBytes: 64 << 10, CacheBytes: 1 << 20}
	if err := r.store.Checkpoint(ctx, "copy"); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	if err := Create(other, State{}, nil); err != nil {
		t.Fatalf("create: %v", err)
	}
	s2, err := Open(other)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if err := s2.Replace("copy"); err != nil {
		t.Fatalf("replace: %v", err)
	}
	behind := r.store
	r.store = s2
	r.add(t, drawRound(t), drawRound(t))
	r.store = behind
	err = errors.Join(s2.Checkpoint(ctx, "copy"), s2.Close(), r.store.Replace("copy"), r.fs.RemoveAll(dir))
	if err != nil {
		t.Fatalf("replace: %v", err)
	}
	if got := r.store.State().Applied; got != uint64(len(r.log)) {
		t.Fatalf("applied index after replacement is %d, want %d", got, len(r.log))
	}
}

func TestStoreBehavesAsTheModelThroughCrashesAndReplacements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t)
		t.Repeat(map[string]func(*rapid.T){
			"write":  func(t *rapid.T) { r.add(t, drawRound(t)) },
			"write2": func(t *rapid.T) { r.add(t, drawRound(t), drawRound(t)) },
			"range":  r.checkRange,
			"range2": r.checkRange,
			"round":  r.checkRound,
			"flush": func(t *rapid.T) {
				if err := r.store.Flush(context.Background()); err != nil {
					t.Fatalf("flush: %v", err)
				}
				if got := r.store.FlushedIndex(); got != uint64(len(r.log)) {
					t.Fatalf("flushed index is %d after a flush at %d", got, len(r.log))
				}
			},
			"compact": r.compact,
			"crash":   func(t *rapid.T) { r.crash(t, rapid.IntRange(1, 5).Draw(t, "size")) },
			"replace": r.replace,
			"watch":   r.startWatch,
			"recv":    r.recv,
			"drain":   func(t *rapid.T) { r.drain(t) },
		})
		r.drain(t)
		r.close(t)
	})
}
