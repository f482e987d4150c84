package etcdlog

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLinesThatProgramsLookForAreInEtcdsWords(t *testing.T) {
	for msg, want := range map[string]struct {
		args []any
		line map[string]any
	}{
		"a request took long": {
			[]any{"began", time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), "took", time.Second, "method", "/etcdserverpb.KV/Put", "request_count", 1, "request", `key:"k"`},
			map[string]any{
				"msg": "request stats", "start time": "2026-01-02T03:04:05.000006Z", "time spent": "1s", "response type": "/etcdserverpb.KV/Put",
				"request count": 1., "request content": `key:"k"`,
			},
		},
		"applying took long": {
			[]any{"took", time.Second, "limit", 100 * time.Millisecond, "kind", "", "request", "put", "response", "size:7", "err", errors.New("no")},
			map[string]any{
				"msg": "apply request took too long", "took": "1s", "expected-duration": "100ms", "prefix": "", "request": "put", "response": "size:7", "error": "no",
			},
		},
		"connection over TLS was refused": {
			[]any{"remote", "1.2.3.4:5", "name", "here", "err", errors.New("no")},
			map[string]any{"msg": "rejected connection on client endpoint", "remote-addr": "1.2.3.4:5", "server-name": "here", "error": "no"},
		},
		"compaction was finished": {
			[]any{"revision", 7, "took", time.Second, "keys", 3, "bytes", 4096, "size", "4.1 kB"},
			map[string]any{
				"msg": "finished scheduled compaction", "compact-revision": 7., "took": "1s", "number-of-keys-compacted": 3.,
				"current-db-size-bytes": 4096., "current-db-size": "4.1 kB",
			},
		},
		"anything else": {[]any{"took", time.Second, "remote", "r"}, map[string]any{"msg": "anything else", "took": "1s", "remote": "r"}},
	} {
		var out strings.Builder
		log, _ := logger(t, Options{Level: "info", Stderr: &out})
		log.Warn(msg, want.args...)
		var got map[string]any
		if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
			t.Fatal(err)
		}
		for k, v := range want.line {
			if got[k] != v {
				t.Errorf("%s: %s is %v, want %v", msg, k, got[k], v)
			}
		}
		if len(got) != len(want.line)+3 { // level, ts, caller
			t.Errorf("%s: %s", msg, out.String())
		}
	}
}
