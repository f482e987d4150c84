package etcdlog

import "log/slog"

// told is how etcd words a line that programs look for, and what it calls the fields of it.
type told struct {
	msg  string
	keys map[string]string
}

// etcdWords are the lines of this program that etcd has, too, by their own message.
var etcdWords = map[string]told{
	"a request took long":     requestStats,
	"a request was answered":  requestStats,
	"a read took long":        slowApply,
	"applying took long":      slowApply,
	"compaction was finished": {"finished scheduled compaction", compactionKeys},
	"connection over TLS was refused": {"rejected connection on client endpoint", map[string]string{
		"remote": "remote-addr", "name": "server-name",
	}},
	"a connection to the peer port was refused in its handshake": {"rejected connection on peer endpoint", map[string]string{
		"remote": "remote-addr", "name": "server-name",
	}},
	"heartbeats go out late": {"leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk", map[string]string{
		"heartbeat": "heartbeat-interval", "limit": "expected-duration", "exceeded": "exceeded-duration",
	}},
}

var requestStats = told{"request stats", map[string]string{
	"began": "start time", "took": "time spent", "method": "response type",
	"request_count": "request count", "request_bytes": "request size",
	"response_count": "response count", "response_bytes": "response size", "request": "request content",
}}

var slowApply = told{"apply request took too long", map[string]string{"limit": "expected-duration", "kind": "prefix"}}

var compactionKeys = map[string]string{
	"revision": "compact-revision", "keys": "number-of-keys-compacted",
	"bytes": "current-db-size-bytes", "size": "current-db-size",
	"live_bytes": "current-db-size-in-use-bytes", "live": "current-db-size-in-use",
}

// rename gives a field the name that it has with etcd: in the lines with this message, and
// an error everywhere.
func (t told) rename(a slog.Attr) slog.Attr {
	if key, ok := t.keys[a.Key]; ok {
		a.Key = key
	}
	if a.Key == "err" {
		a.Key = "error"
	}
	return a
}
