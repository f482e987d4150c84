package transport

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"chainfire/raft"
)

func number() *rapid.Generator[uint64] {
	return rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 300), rapid.Uint64(),
		rapid.Just(uint64(math.MaxUint64)))
}

func ids(t *rapid.T, name string) []uint64 {
	l := rapid.SliceOfN(number(), 0, 5).Draw(t, name)
	if len(l) == 0 {
		return nil
	}
	return l
}

func drawMessage(t *rapid.T) raft.Message {
	m := raft.Message{
		Type:   raft.MessageType(rapid.IntRange(int(raft.MsgVote), int(raft.MsgReadIndexResp)).Draw(t, "type")),
		From:   number().Draw(t, "from"),
		To:     number().Draw(t, "to"),
		Reject: rapid.Bool().Draw(t, "reject"), Transfer: rapid.Bool().Draw(t, "transfer"),
	}
	for _, v := range numbers(&m) {
		*v = number().Draw(t, "number")
	}
	follow := m.Index + 1
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		e := raft.Entry{Index: follow, Term: m.LogTerm, Type: raft.EntryType(rapid.IntRange(0, 1).Draw(t, "entry type"))}
		if rapid.Bool().Draw(t, "odd entry") {
			e.Index, e.Term = number().Draw(t, "index"), number().Draw(t, "term")
		}
		if b := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "data"); len(b) > 0 {
			e.Data = b
		}
		m.Entries = append(m.Entries, e)
		follow = e.Index + 1
	}
	if rapid.Bool().Draw(t, "snapshot") {
		m.Snapshot = &raft.SnapshotMeta{
			Index: number().Draw(t, "s index"), Term: number().Draw(t, "s term"),
			Conf: raft.ConfState{
				Voters: ids(t, "v"), Outgoing: ids(t, "o"), Learners: ids(t, "l"),
				LearnersNext: ids(t, "n"), AutoLeave: rapid.Bool().Draw(t, "auto"),
			},
		}
	}
	return m
}

func TestEveryMessageSurvivesTheCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []raft.Message
		for range rapid.IntRange(0, 4).Draw(t, "messages") {
			want = append(want, drawMessage(t))
		}
		b := appendMessages(nil, want)
		bound := 10
		for i := range want {
			bound += sizeBound(&want[i])
		}
		if len(b) > bound {
			t.Fatalf("%d bytes, more than the bound %d", len(b), bound)
		}
		got, err := decodeMessages(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 {
			want = []raft.Message{}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		for cut := range b {
			if _, err := decodeMessages(b[:cut]); !errors.Is(err, ErrCodec) {
				t.Fatalf("cut after %d of %d bytes: %v", cut, len(b), err)
			}
		}
	})
}

func TestAnUsualAppendTakesFewBytes(t *testing.T) {
	m := appendOf(1, 2, 1_000_000, 100)
	m.Commit, m.Session = 999_999, 3
	if b := appendMessage(nil, &m); len(b) > 124 {
		t.Fatalf("%d bytes for 100 bytes of data", len(b))
	}
}

func TestClaimedCountsDoNotAllocate(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	one := raft.Message{Type: raft.MsgAppend, From: 1, To: 2}
	entries := append(append([]byte{1}, appendMessage(nil, &one)...), huge...)
	entries[1+1], entries[1+2] = byte(hasEntries&0xff), byte(hasEntries>>8)
	for name, b := range map[string][]byte{"messages": huge, "entries": entries} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := decodeMessages(b)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrCodec) {
				t.Fatalf("decoded: %v", err)
			}
			if grew := after.TotalAlloc - before.TotalAlloc; grew > 1<<20 {
				t.Fatalf("allocated %d bytes", grew)
			}
		})
	}
}

func TestAppendingToOneEntryLeavesTheNextAlone(t *testing.T) {
	m := raft.Message{Type: raft.MsgAppend, From: 1, To: 2, Entries: []raft.Entry{
		{Index: 1, Term: 1, Data: []byte("one")}, {Index: 2, Term: 1, Data: []byte("two")},
	}}
	got, err := decodeMessages(appendMessages(nil, []raft.Message{m}))
	if err != nil {
		t.Fatal(err)
	}
	_ = append(got[0].Entries[0].Data, "xxxxxxxx"...)
	if string(got[0].Entries[1].Data) != "two" {
		t.Fatalf("second entry became %q", got[0].Entries[1].Data)
	}
}

func FuzzDecodeMessages(f *testing.F) {
	full := appendOf(1, 2, 5, 9)
	full.Snapshot = &raft.SnapshotMeta{Index: 3, Term: 2, Conf: raft.ConfState{Voters: []uint64{1, 2}}}
	f.Add(appendMessages(nil, []raft.Message{full, heartbeat(2, 1, 4)}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		msgs, err := decodeMessages(bytes.Clone(b))
		if err != nil {
			if !errors.Is(err, ErrCodec) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		again, err := decodeMessages(appendMessages(nil, msgs))
		if err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
		if d := cmp.Diff(msgs, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add(appendFrame(nil, kindMessages, []byte("payload")))
	f.Add(appendFrame(nil, kindHello, encodeHello(Hello{Version: 1})))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, payload, err := readFrame(bytes.NewReader(b), 1<<20)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(b, appendFrame(nil, k, payload)) {
			t.Fatal("a frame was read that was not written")
		}
	})
}

// The examples of docs/format/wire.md.
func TestDocumentedBytesAreTheOnesWritten(t *testing.T) {
	hello := appendFrame([]byte(Magic), kindHello, encodeHello(Hello{
		Version: 1, MinVersion: 1, ClusterID: 0xc1, From: 1, To: 2, Incarnation: 0x65, Expected: 0x66, BootNonce: 9,
	}))
	frame, start := beginFrame(nil)
	frame = endFrame(appendMessages(frame, []raft.Message{{
		Type: raft.MsgAppend, From: 1, To: 2, Term: 7, Session: 3, Index: 41, LogTerm: 7, Commit: 40,
		Entries: []raft.Entry{{Index: 42, Term: 7, Data: []byte("hi")}},
	}}), start, kindMessages)
	for want, got := range map[string][]byte{
		"43484e4649524531" + "380000000100000073518c3a" + "0100010000000000" + "c100000000000000" +
			"01000000000000000200000000000000" + "65000000000000006600000000000000" + "0900000000000000": hello,
		"1200000004000000800ad8a7" + "01" + "051f02" + "0102" + "0703290728" + "01" + "000000026869": frame,
	} {
		if hex.EncodeToString(got) != want {
			t.Errorf("wrote %x, documented is %s", got, want)
		}
	}
}
