package test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// leftOut are the metrics of etcd that a member does not have, as patterns of their names,
// and why; docs/reference/http.md tells of them.
var leftOut = map[string]string{
	`etcd_debugging_disk_backend_.*`:                                      "of bbolt",
	`etcd_disk_backend_defrag_duration_seconds|etcd_disk_defrag_inflight`: "there is nothing to defragment",
	`etcd_mvcc_db_open_read_transactions`:                                 "of bbolt: a read here holds nothing up",
	`etcd_grpc_proxy_.*`:                                                  "of another program",
	`etcd_debugging_store_.*`:                                             "of the store of version 2",
	`etcd_(debugging_)?snap_.*`:                                           "there are no files of snapshots",
	`etcd_network_snapshot_.*`:                                            "who lacks much pulls it, in pieces",
	`etcd_disk_wal_write_(bytes_total|duration_seconds)`:                  "writing and syncing are one",
	`etcd_server_apply_duration_seconds`:                                  "commands are applied in rounds, not one by one",
	`etcd_server_feature_enabled`:                                         "the gates are of the inside of etcd",
	`etcd_debugging_lease_ttl_total`:                                      "of the inside of etcd",
	`etcd_debugging_mvcc_(keys_total|total_put_size_in_bytes)`:            "nothing counts the keys",
	`etcd_debugging_mvcc_(events|pending_events|slow_watcher)_total`:      "events are not handed out by one place",
	`etcd_debugging_mvcc_(db|index)_compaction_pause_.*`:                  "compaction does not pause anything",
	`etcd_debugging_server_watch_send_loop_.*`:                            "of the inside of etcd",
}

// ofMixin are the metrics that etcd's published dashboard and alert rules use.
var ofMixin = []string{
	"etcd_server_has_leader", "etcd_server_leader_changes_seen_total", "etcd_server_proposals_failed_total", "etcd_server_proposals_pending",
	"etcd_server_proposals_committed_total", "etcd_server_proposals_applied_total", "etcd_server_quota_backend_bytes", "etcd_server_slow_apply_total",
	"etcd_server_heartbeat_send_failures_total", "etcd_server_slow_read_indexes_total", "etcd_server_id",
	"etcd_mvcc_db_total_size_in_bytes", "etcd_mvcc_db_total_size_in_use_in_bytes",
	"etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds",
	"etcd_network_client_grpc_received_bytes_total", "etcd_network_client_grpc_sent_bytes_total",
	"etcd_network_peer_received_bytes_total", "etcd_network_peer_sent_bytes_total", "etcd_network_peer_sent_failures_total",
	"etcd_network_peer_round_trip_time_seconds", "etcd_network_active_peers",
	"grpc_server_handled_total", "grpc_server_started_total", "grpc_server_handling_seconds", "process_resident_memory_bytes",
}

// family is a metric: its type, the names of its labels and the bounds of its histograms.
type family struct {
	kind   string
	labels map[string]bool
	bounds map[string]bool
}

var (
	typeLine   = regexp.MustCompile(`^# TYPE (\S+) (\S+)`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? `)
	labelPair  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
)

// families reads what /metrics shows.
func families(body string) map[string]*family {
	out := map[string]*family{}
	var now *family
	for line := range strings.Lines(body) {
		if m := typeLine.FindStringSubmatch(line); m != nil {
			now = &family{kind: m[2], labels: map[string]bool{}, bounds: map[string]bool{}}
			out[m[1]] = now
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil || now == nil {
			continue
		}
		for _, p := range labelPair.FindAllStringSubmatch(m[2], -1) {
			if p[1] == "le" {
				now.bounds[p[2]] = true
			} else {
				now.labels[p[1]] = true
			}
		}
	}
	return out
}

// twoMembers starts a cluster of two by etcd's command line and returns the first one.
func twoMembers(t *testing.T, program string, more ...string) *dropIn {
	t.Helper()
	all := []*dropIn{newDropIn(t, "m1"), newDropIn(t, "m2")}
	for _, d := range all {
		if program != "" {
			d.program = program
		}
		d.launch(nil, d.line(append(more, "--initial-cluster", listOf(all...), "--metrics=extensive")...)...)
	}
	for _, d := range all {
		d.awaitReady()
	}
	return all[0]
}

func TestAMemberHasTheMetricsOfEtcd(t *testing.T) {
	t.Parallel()
	shown := map[string]map[string]*family{}
	for who, program := range map[string]string{"etcd": etcdTool(t, "etcd"), "member": ""} {
		d := twoMembers(t, program)
		d.ctl().prints("OK\n", "", "put", "a", "b")
		d.ctl().prints("a\nb\n", "", "get", "a")
		for _, path := range []string{"/health", "/readyz"} {
			if a := get(path).mustAt(t, d.client); a.code != 200 {
				t.Fatalf("%s: %s answers %d %s", who, path, a.code, a.body)
			}
		}
		// The first ping of another member takes a while.
		await(t, who+" has pinged the other", patience, func(context.Context) error {
			shown[who] = families(get("/metrics").mustAt(t, d.client).body)
			if shown[who]["etcd_network_peer_round_trip_time_seconds"] == nil {
				return fmt.Errorf("no round trip yet")
			}
			return nil
		})
	}
	for name, etcd := range shown["etcd"] {
		if !strings.HasPrefix(name, "etcd_") && !strings.HasPrefix(name, "grpc_server_") {
			continue
		}
		why := reasonFor(name)
		ours := shown["member"][name]
		switch {
		case ours == nil && why == "":
			t.Errorf("%s (%s) is missing: serve it, or give the reason in leftOut and docs/reference/http.md", name, etcd.kind)
		case ours == nil:
		case why != "":
			t.Errorf("%s is served, and leftOut says it is not: %s", name, why)
		default:
			compareFamilies(t, name, etcd, ours)
		}
	}
	for _, name := range ofMixin {
		if shown["member"][name] == nil {
			t.Errorf("%s is missing: etcd's dashboard or alerts use it", name)
		}
	}
}

func reasonFor(name string) string {
	for pattern, why := range leftOut {
		if regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(name) {
			return why
		}
	}
	return ""
}

func compareFamilies(t *testing.T, name string, etcd, ours *family) {
	t.Helper()
	if etcd.kind != ours.kind {
		t.Errorf("%s is a %s, that of etcd a %s", name, ours.kind, etcd.kind)
	}
	if len(ours.labels) > 0 && len(etcd.labels) > 0 && !maps.Equal(ours.labels, etcd.labels) {
		t.Errorf("%s has the labels %v, that of etcd %v", name, labelNames(ours.labels), labelNames(etcd.labels))
	}
	for bound := range etcd.bounds {
		if len(ours.bounds) > 0 && !ours.bounds[bound] {
			t.Errorf("%s has no bucket up to %s", name, bound)
		}
	}
}

func labelNames(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
