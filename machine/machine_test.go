package machine

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func diff(a, b any) string {
	return cmp.Diff(a, b, cmpopts.EquateEmpty(), cmp.Comparer(sameError))
}

func testInit() Init {
	return Init{
		ClusterID: 7, Conf: raft.ConfState{Voters: []uint64{1}},
		Members: []MemberRecord{{ID: 1, Name: "one", PeerURLs: []string{"http://one"}, Incarnation: 11}},
		Index:   1, Term: 1,
	}
}

func testOptions(fs FS) Options {
	return Options{FS: fs, Dir: "data", MemTableBytes: 64 << 10, CacheBytes: 1 << 20, RingBytes: 4 << 10}
}

// start makes a new machine on a disk of its own.
func start(t fataler) (*Machine, *disk.FaultFS) {
	t.Helper()
	fs := disk.NewFaultFS()
	if err := Bootstrap(testOptions(fs), testInit()); err != nil {
		t.Fatalf("bootstrap: %v", err)
	}
	return reopen(t, fs), fs
}

func reopen(t fataler, fs FS) *Machine {
	t.Helper()
	m, err := Open(testOptions(fs))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return m
}

func closeAll(t fataler, machines ...*Machine) {
	t.Helper()
	for _, m := range machines {
		if err := m.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
}

// entry is a command as the log holds it.
func entry(index uint64, c Command) raft.Entry {
	return raft.Entry{Index: index, Term: 1, Data: c.AppendTo(nil)}
}

// do applies one command as the next entry.
func do(t fataler, m *Machine, c Command) Result {
	t.Helper()
	applied, _ := m.Applied()
	res, err := m.Apply([]raft.Entry{entry(applied+1, c)})
	if err != nil || len(res) != 1 {
		t.Fatalf("apply: %d results, %v", len(res), err)
	}
	return res[0]
}

func hash(t fataler, m *Machine) any {
	t.Helper()
	h, err := m.HashKV(context.Background(), 0)
	if err != nil {
		t.Fatalf("hash: %v", err)
	}
	return h
}

var keys = []string{"a", "a\x00", "ab", "b", "c", "\xff"}

func drawKey(t *rapid.T) []byte { return []byte(rapid.SampledFrom(keys).Draw(t, "key")) }

func drawEnd(t *rapid.T) []byte {
	return []byte(rapid.SampledFrom(append([]string{"", "", "\x00"}, keys...)).Draw(t, "end"))
}

func drawPut(t *rapid.T) *chainfire.PutRequest {
	r := &chainfire.PutRequest{Key: drawKey(t), PrevKV: rapid.Bool().Draw(t, "prev")}
	switch rapid.IntRange(0, 9).Draw(t, "kind of put") {
	case 0:
		r.IgnoreValue = true
	case 1:
		r.IgnoreLease = true
		r.Value = []byte("x")
	case 2:
		r.Lease = drawLease(t)
	default:
		r.Value = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "value")
	}
	return r
}

func drawDelete(t *rapid.T) *chainfire.DeleteRangeRequest {
	return &chainfire.DeleteRangeRequest{Key: drawKey(t), RangeEnd: drawEnd(t), PrevKV: rapid.Bool().Draw(t, "prev")}
}

func drawOps(t *rapid.T, depth int) (ops []chainfire.Op) {
	for range rapid.IntRange(0, 3).Draw(t, "ops") {
		var o chainfire.Op
		switch rapid.IntRange(0, 6).Draw(t, "op") {
		case 0, 1:
			o.Put = drawPut(t)
		case 2:
			o.Delete = drawDelete(t)
		case 3, 4:
			o.Range = &chainfire.RangeRequest{
				Key: drawKey(t), RangeEnd: drawEnd(t),
				Limit: rapid.Int64Range(0, 2).Draw(t, "limit"),
			}
			if rapid.IntRange(0, 3).Draw(t, "old") == 0 {
				o.Range.Revision = rapid.Int64Range(0, 30).Draw(t, "revision")
			}
		default:
			if depth == 0 {
				continue
			}
			o.Txn = drawTxn(t, depth-1)
		}
		ops = append(ops, o)
	}
	return ops
}

func drawTxn(t *rapid.T, depth int) *chainfire.TxnRequest {
	q := &chainfire.TxnRequest{}
	for range rapid.IntRange(0, 2).Draw(t, "compares") {
		q.Compare = append(q.Compare, chainfire.Compare{
			Key: drawKey(t), RangeEnd: drawEnd(t),
			Target: chainfire.CompareTarget(rapid.IntRange(0, 4).Draw(t, "target")),
			Result: chainfire.CompareResult(rapid.IntRange(0, 3).Draw(t, "result")),
			Number: rapid.Int64Range(0, 10).Draw(t, "number"),
			Value:  rapid.SliceOfN(rapid.Byte(), 0, 1).Draw(t, "right value"),
		})
	}
	q.Success, q.Failure = drawOps(t, depth), drawOps(t, depth)
	return q
}

func drawCommand(t *rapid.T) Command {
	c := Command{ID: RequestID{Member: rapid.Uint64().Draw(t, "member"), Seq: rapid.Uint64().Draw(t, "seq")}}
	switch rapid.IntRange(0, 11).Draw(t, "command") {
	case 0, 1, 2:
		c.Put = drawPut(t)
	case 3:
		c.Delete = drawDelete(t)
	case 4:
		c.Compact = &chainfire.CompactRequest{Revision: rapid.Int64Range(-1, 30).Draw(t, "compact")}
	case 5, 6:
		drawLeaseCommand(t, &c)
	default:
		c.Txn = drawTxn(t, 2)
	}
	return c
}

// applyIn applies entries in rounds of a size.
func applyIn(t fataler, m *Machine, entries []raft.Entry, size int) []Result {
	t.Helper()
	var out []Result
	for len(entries) > 0 {
		n := min(size, len(entries))
		res, err := m.Apply(entries[:n])
		if err != nil {
			t.Fatalf("apply: %v", err)
		}
		out, entries = append(out, res...), entries[n:]
	}
	return out
}

func TestMachinesAgreeWithTheModelHoweverTheLogIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, fsA := start(t)
		b, _ := start(t)
		m := newModel()
		var entries []raft.Entry
		var want []Result
		for i := range rapid.IntRange(1, 30).Draw(t, "commands") {
			c := drawCommand(t)
			index := uint64(i + 2)
			entries = append(entries, entry(index, c))
			res := m.do(&c)
			res.ID, res.Index, res.Term = c.ID, index, 1
			want = append(want, res)
		}
		gotA := applyIn(t, a, entries, rapid.IntRange(1, 30).Draw(t, "size of a"))
		flushAt := rapid.IntRange(0, len(entries)).Draw(t, "flush")
		gotB := applyIn(t, b, entries[:flushAt], rapid.IntRange(1, 7).Draw(t, "size of b"))
		if err := b.Flush(context.Background()); err != nil {
			t.Fatalf("flush: %v", err)
		}
		gotB = append(gotB, applyIn(t, b, entries[flushAt:], 3)...)
		if d := diff(want, gotA); d != "" {
			t.Fatalf("results: (-model +machine)\n%s", d)
		}
		if d := diff(gotA, gotB); d != "" {
			t.Fatalf("results: (-one batching +another)\n%s", d)
		}
		if d := diff(hash(t, a), hash(t, b)); d != "" {
			t.Fatalf("hashes differ: %s", d)
		}
		checkLeases(t, m, a)
		checkLeases(t, m, b)
		image := fsA.Crash(disk.CrashOptions{})
		c := reopen(t, image)
		applied, _ := c.Applied()
		applyIn(t, c, entries[applied-1:], 4)
		checkLeases(t, m, c)
		if d := diff(hash(t, a), hash(t, c)); d != "" {
			t.Fatalf("hashes differ after a crash: %s", d)
		}
		closeAll(t, a, b, c)
	})
}

func TestUndecodableCommandStopsTheMemberAndAppliesNothing(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	good := entry(2, Command{Put: &chainfire.PutRequest{Key: []byte("k")}})
	for name, bad := range map[string]raft.Entry{
		"no command":     {Index: 3, Term: 1, Data: []byte{commandVersion}},
		"newer version":  {Index: 3, Term: 1, Data: []byte{commandVersion + 1}},
		"unknown type":   {Index: 3, Term: 1, Type: raft.EntryConf + 1},
		"a gap":          entry(4, Command{Release: &Release{ID: 1}}),
		"no change":      {Index: 3, Term: 1, Type: raft.EntryConf, Data: []byte{0xff}},
		"change context": {Index: 3, Term: 1, Type: raft.EntryConf, Data: raft.EncodeChange(confchange.Change{Context: []byte{9}})},
	} {
		if _, err := m.Apply([]raft.Entry{good, bad}); err == nil {
			t.Errorf("%s: applied", name)
		}
		if applied, _ := m.Applied(); applied != 1 || m.Revision() != 1 {
			t.Errorf("%s: applied index %d, revision %d", name, applied, m.Revision())
		}
	}
}

func TestEmptyEntriesOnlyMoveTheIndex(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	res, err := m.Apply([]raft.Entry{{Index: 2, Term: 3}, {Index: 3, Term: 4}})
	if err != nil || len(res) != 0 {
		t.Fatalf("%v, %v", res, err)
	}
	if index, term := m.Applied(); index != 3 || term != 4 || m.Revision() != 1 {
		t.Fatalf("applied %d of term %d, revision %d", index, term, m.Revision())
	}
}

func TestReadTxnReadsOneRevisionAndWritesNothing(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	ctx := context.Background()
	do(t, m, Command{Put: &chainfire.PutRequest{Key: []byte("k"), Value: []byte("v")}})
	get := chainfire.Op{Range: &chainfire.RangeRequest{Key: []byte("k")}}
	resp, err := m.ReadTxn(ctx, &chainfire.TxnRequest{
		Compare: []chainfire.Compare{{Key: []byte("k"), Target: chainfire.CompareMod, Number: 2}},
		Success: []chainfire.Op{get},
	})
	if err != nil || !resp.Succeeded || string(resp.Responses[0].Range.KVs[0].Value) != "v" || resp.Header.Revision != 2 {
		t.Fatalf("%+v, %v", resp, err)
	}
	get.Range.Revision = 9
	if _, err := m.ReadTxn(ctx, &chainfire.TxnRequest{Failure: []chainfire.Op{get}, Success: []chainfire.Op{get}}); !errors.Is(err, chainfire.ErrFutureRevision) {
		t.Fatalf("future revision: %v", err)
	}
	put := chainfire.Op{Put: &chainfire.PutRequest{Key: []byte("k")}}
	if _, err := m.ReadTxn(ctx, &chainfire.TxnRequest{Success: []chainfire.Op{put}}); err == nil {
		t.Fatal("a transaction that writes was read")
	}
}

func TestCheckpointIsRestoredWithMembersAndKeys(t *testing.T) {
	ctx := context.Background()
	a, fs := start(t)
	do(t, a, Command{Put: &chainfire.PutRequest{Key: []byte("k"), Value: []byte("v")}})
	res := do(t, a, Command{Reserve: &Reserve{Name: "two", PeerURLs: []string{"http://two"}, Incarnation: 22}})
	meta, err := a.Checkpoint(ctx, "copy")
	if err != nil || meta.Index != 3 || meta.Term != 1 || !meta.Conf.Equal(a.Conf()) {
		t.Fatalf("checkpoint %+v, %v", meta, err)
	}
	if _, err := a.Checkpoint(ctx, "copy2"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"installed", "restored"} {
		opts := testOptions(fs)
		opts.Dir = dir
		if dir == "installed" {
			if err := Install(opts, "copy"); err != nil {
				t.Fatal(err)
			}
		} else if err := Bootstrap(opts, testInit()); err != nil {
			t.Fatal(err)
		}
		b, err := Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		if dir == "restored" {
			if err := b.Restore("copy2"); err != nil {
				t.Fatal(err)
			}
		}
		if d := diff(hash(t, a), hash(t, b)); d != "" {
			t.Errorf("%s: %s", dir, d)
		}
		if d := diff(a.Members(), b.Members()); d != "" || b.Members()[1].ID != res.MemberID {
			t.Errorf("%s: %s", dir, d)
		}
		if index, term := b.Applied(); index != 3 || term != 1 || b.ClusterID() != 7 {
			t.Errorf("%s: applied %d of term %d, cluster %d", dir, index, term, b.ClusterID())
		}
		closeAll(t, b)
	}
	closeAll(t, a)
}

func TestCheckpointOfAnotherClusterOrAnOlderStateIsRefused(t *testing.T) {
	ctx := context.Background()
	a, fs := start(t)
	if _, err := a.Checkpoint(ctx, "old"); err != nil {
		t.Fatal(err)
	}
	do(t, a, Command{Put: &chainfire.PutRequest{Key: []byte("k")}})
	if err := a.Restore("old"); err == nil {
		t.Error("an older state was restored")
	}
	opts, init := testOptions(fs), testInit()
	opts.Dir, init.ClusterID, init.Index = "other", 8, 50
	if err := Bootstrap(opts, init); err != nil {
		t.Fatal(err)
	}
	b, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Checkpoint(ctx, "foreign"); err != nil {
		t.Fatal(err)
	}
	if err := a.Restore("foreign"); err == nil {
		t.Error("another cluster's state was restored")
	}
	if index, _ := a.Applied(); index != 2 {
		t.Errorf("applied index is %d", index)
	}
	closeAll(t, a, b)
}
