package etcdapi

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/time/rate"
)

// lines is a log whose lines are kept, as maps.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// with returns the lines with a message.
func (l *lines) with(t *testing.T, msg string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for _, line := range strings.Split(strings.TrimSpace(l.buf.String()), "\n") {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if m["msg"] == msg {
			out = append(out, m)
		}
	}
	return out
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) logged(level slog.Level) func(*Options) {
	return func(o *Options) { o.Logger = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level})) }
}

// slowFrom makes everything slow: a nanosecond is exceeded by any call.
func slowFrom(o *Options) { o.SlowCall, o.SlowRead = time.Nanosecond, time.Nanosecond }

func TestASlowWriteIsToldOfWithoutItsValue(t *testing.T) {
	var l lines
	f := start(t, l.logged(slog.LevelInfo), slowFrom)
	put(t, f, "the-key", "the-secret")
	_, err := f.kv.Txn(bounded(t), &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: []byte("cmp"), Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: []byte("the-secret")}}},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("other"), Value: []byte("the-secret")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	told := l.with(t, "a request took long")
	if len(told) != 2 || strings.Contains(l.String(), "the-secret") {
		t.Fatalf("%s", l.String())
	}
	m := told[0]
	if m["method"] != pb.KV_Put_FullMethodName || m["request_count"] != 1. || !strings.Contains(m["request"].(string), `key:"the-key" value_size:10`) ||
		!strings.HasPrefix(m["remote"].(string), "127.0.0.1:") || m["took"].(float64) <= 0 || m["response_bytes"].(float64) <= 0 {
		t.Errorf("%v", m)
	}
	if told[1]["request_count"] != 1. || !strings.Contains(told[1]["request"].(string), `failure:<request_put:<key:"other" value_size:10`) {
		t.Errorf("%v", told[1])
	}
}

func TestASlowReadIsToldOfWithWhatCameOfIt(t *testing.T) {
	var l lines
	f := start(t, l.logged(slog.LevelInfo), slowFrom)
	put(t, f, "k", "the-secret")
	if _, err := f.kv.Range(bounded(t), &pb.RangeRequest{Key: []byte("k")}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.kv.Range(bounded(t), &pb.RangeRequest{Key: []byte("k"), Revision: 99}); err == nil {
		t.Fatal("a revision to come was read")
	}
	read := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("k")}}}
	same := &pb.Compare{Key: []byte("k"), Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: []byte("the-secret")}}
	if _, err := f.kv.Txn(bounded(t), &pb.TxnRequest{Compare: []*pb.Compare{same}, Success: []*pb.RequestOp{read}}); err != nil {
		t.Fatal(err)
	}
	told := l.with(t, "a read took long")
	if len(told) != 3 || strings.Contains(l.String(), "the-secret") {
		t.Fatalf("%s", l.String())
	}
	if m := told[0]; m["kind"] != "read-only range " || !strings.HasPrefix(m["response"].(string), "range_response_count:1 size:") ||
		!strings.Contains(m["request"].(string), `key:"k"`) || m["err"] != nil || m["limit"] != 1. {
		t.Errorf("%v", m)
	}
	if m := told[1]; m["response"] != "" || m["err"] == nil {
		t.Errorf("%v", m)
	}
	if m := told[2]; m["kind"] != "read-only txn " || !strings.HasPrefix(m["response"].(string), "responses:<range_response_count:1> size:") {
		t.Errorf("%v", m)
	}
}

func TestOfCallsWithSecretsNothingButTheMethodIsToldOf(t *testing.T) {
	var l lines
	f := start(t, l.logged(slog.LevelInfo), slowFrom)
	_, err := pb.NewAuthClient(f.conn).UserAdd(bounded(t), &pb.AuthUserAddRequest{Name: "eve", Password: "the-secret"})
	if err != nil {
		t.Fatal(err)
	}
	told := l.with(t, "a request took long")
	if len(told) != 1 || told[0]["request"] != "" || told[0]["request_bytes"] != -1. || strings.Contains(l.String(), "the-secret") {
		t.Fatalf("%s", l.String())
	}
}

func TestALongKeyMakesNoLongLine(t *testing.T) {
	var l lines
	f := start(t, l.logged(slog.LevelInfo), slowFrom)
	key := strings.Repeat("k", 1<<19)
	put(t, f, key, "v")
	if _, err := f.kv.Range(bounded(t), &pb.RangeRequest{Key: []byte(key)}); err != nil {
		t.Fatal(err)
	}
	for msg, n := range map[string]int{"a request took long": 2, "a read took long": 1} {
		told := l.with(t, msg)
		if len(told) != n {
			t.Fatalf("%s: %d lines", msg, len(told))
		}
		for _, m := range told {
			if got := m["request"].(string); len(got) > maxSlowText+100 || !strings.HasSuffix(got, " bytes)") {
				t.Errorf("%s: %d bytes: ..%s", msg, len(got), got[len(got)-50:])
			}
		}
	}
}

func TestManySlowCallsMakeFewLinesThatCountTheRest(t *testing.T) {
	var l lines
	o := Options{Member: newFake()}
	l.logged(slog.LevelInfo)(&o)
	s := newSlowLog(&o)
	const calls = 100
	for range calls {
		s.warn(context.Background(), "slow", func() []slog.Attr { return nil })
	}
	if told := len(l.with(t, "slow")); told < slowBurst || told == calls {
		t.Errorf("%d lines of %d calls", told, calls)
	}
	s.lines.SetLimit(rate.Inf)
	s.warn(context.Background(), "slow", func() []slog.Attr { return nil })
	told := l.with(t, "slow")
	n := len(told)
	for _, m := range told { // on a slow machine there is a line among them, which says it, too
		if left, ok := m["left_out"].(float64); ok {
			n += int(left)
		}
	}
	if n != calls+1 || told[len(told)-1]["left_out"] == nil || s.leftOut.Load() != 0 {
		t.Errorf("%d lines and left out, of %d calls: %v", n, calls+1, told)
	}
}

func TestWhatIsFastEnoughIsToldOfForDebuggingAlone(t *testing.T) {
	patient := func(o *Options) { o.SlowCall, o.SlowRead = time.Hour, time.Hour }
	var quiet, chatty lines
	for _, l := range []*lines{&quiet, &chatty} {
		level := slog.LevelInfo
		if l == &chatty {
			level = slog.LevelDebug
		}
		put(t, start(t, l.logged(level), patient), "k", "the-secret")
	}
	if strings.Contains(quiet.String(), "request") || len(chatty.with(t, "a request was answered")) != 1 || strings.Contains(chatty.String(), "the-secret") {
		t.Errorf("%s\n%s", quiet.String(), chatty.String())
	}
}
