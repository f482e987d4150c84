package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// wantMetrics checks that /metrics has lines.
func wantMetrics(t *testing.T, f *fixture, lines ...string) {
	t.Helper()
	_, body := get(t, f, "GET", "/metrics")
	for _, line := range lines {
		if !strings.Contains(body, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			var near []string
			for l := range strings.Lines(body) {
				if strings.HasPrefix(l, name) {
					near = append(near, l)
				}
			}
			t.Errorf("/metrics lacks %s; there is\n%s", line, strings.Join(near, ""))
		}
	}
}

func TestWhatTheMemberCountsIsInTheMetrics(t *testing.T) {
	wantMetrics(t, start(t),
		`etcd_disk_backend_commit_duration_seconds_bucket{le="0.256"} 3`,
		`etcd_disk_backend_commit_duration_seconds_sum 2`,
		`etcd_server_slow_apply_total 8`,
		`etcd_server_heartbeat_send_failures_total 9`,
		`etcd_server_slow_read_indexes_total 10`,
		`etcd_server_read_indexes_failed_total 11`,
		`etcd_server_snapshot_apply_in_progress_total 1`,
		`etcd_server_learner_promote_successes 12`,
		`etcd_server_learner_promote_failures{Reason="not ready"} 13`,
		`chainfire_body_extents 41`,
		`chainfire_body_live_bytes 42`,
		`chainfire_body_file_bytes 43`,
		`chainfire_body_damaged 44`,
		`chainfire_body_missing_extents 45`,
		`chainfire_body_yield_bytes_per_second 53`,
		`chainfire_body_corrupt_total 46`,
		`chainfire_body_repaired_total 47`,
		`chainfire_body_repaired_bytes_total 48`,
		`chainfire_body_collected_total 49`,
		`chainfire_body_remote_reads_total 50`,
		`chainfire_body_failed_reads_total 51`,
		`chainfire_body_scrubbed_bytes_total 52`,
		`etcd_mvcc_put_total 14`,
		`etcd_mvcc_delete_total 15`,
		`etcd_mvcc_range_total 16`,
		`etcd_mvcc_txn_total 17`,
		`etcd_debugging_mvcc_compact_revision 18`,
		`etcd_debugging_mvcc_db_compaction_keys_total 19`,
		`etcd_debugging_mvcc_db_compaction_last 20`,
		`etcd_debugging_mvcc_watch_stream_total 21`,
		`etcd_debugging_mvcc_watcher_total 22`,
		`etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_bucket{le="100"} 23`,
		`etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_sum 1500`,
		`etcd_server_range_duration_seconds_count{success="true"} 25`,
		`etcd_server_range_duration_seconds_count{success="false"} 26`,
		`etcd_network_known_peers{Local="11",Remote="11"} 1`,
		`etcd_network_known_peers{Local="11",Remote="ab"} 1`,
		`etcd_network_active_peers{Local="11",Remote="ab"} 1`,
		`etcd_network_disconnected_peers_total{Local="11",Remote="ab"} 27`,
		`etcd_network_peer_sent_bytes_total{To="ab"} 28`,
		`etcd_network_peer_received_bytes_total{From="ab"} 29`,
		`etcd_network_peer_sent_failures_total{To="ab"} 30`,
		`etcd_network_peer_received_failures_total{From="ab"} 31`,
		`etcd_network_peer_round_trip_time_seconds_bucket{To="ab",le="0.0001"} 32`,
	)
}

func TestBytesOfMessagesAreCountedBothWays(t *testing.T) {
	f := start(t)
	q := &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 1000)}
	if _, err := f.kv.Put(bounded(t), q); err != nil {
		t.Fatal(err)
	}
	a, err := f.kv.Range(bounded(t), &pb.RangeRequest{Key: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	size := func(name string) (n float64) {
		_, body := get(t, f, "GET", "/metrics")
		_, rest, _ := strings.Cut(body, "\n"+name+" ")
		if _, err := fmt.Sscan(rest, &n); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	for _, name := range []string{"etcd_network_client_grpc_received_bytes_total", "etcd_network_client_grpc_sent_bytes_total"} {
		if n := size(name); n < 1000 || n > 1200 {
			t.Errorf("%s is %v, the value has %d bytes", name, n, len(a.Kvs[0].Value))
		}
	}
}

func TestRequestsAreTimedByTheirKind(t *testing.T) {
	f := start(t)
	put(t, f, "k", "v")
	read := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("k")}}}
	for _, q := range []*pb.TxnRequest{{Success: []*pb.RequestOp{read}}, {Success: []*pb.RequestOp{
		{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k")}}},
	}}} {
		if _, err := f.kv.Txn(bounded(t), q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.kv.Range(bounded(t), &pb.RangeRequest{Key: []byte("k"), Revision: 99}); err == nil {
		t.Fatal("a revision to come was read")
	}
	wantMetrics(t, f,
		`etcd_server_request_duration_seconds_count{success="true",type="Put"} 1`,
		`etcd_server_request_duration_seconds_count{success="true",type="Txn"} 1`,
		`etcd_server_request_duration_seconds_count{success="true",type="ReadonlyTxn"} 1`,
		`etcd_server_request_duration_seconds_count{success="false",type="Range"} 1`,
		`etcd_server_request_duration_seconds_count{success="true",type="AuthUserAdd"} 0`,
		`etcd_server_request_duration_seconds_count{success="true",type="Compaction"} 0`,
	)
}

func TestVersionsOfClientsAreCountedApartUpToABound(t *testing.T) {
	f := start(t)
	status := pb.NewMaintenanceClient(f.conn)
	for i := range maxClientVersions + 5 {
		ctx := metadata.AppendToOutgoingContext(bounded(t), rpctypes.MetadataClientAPIVersionKey, fmt.Sprintf("3.%d", i))
		if _, err := status.Status(ctx, &pb.StatusRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := status.Status(context.Background(), &pb.StatusRequest{}); err != nil {
		t.Fatal(err)
	}
	wantMetrics(t, f,
		`etcd_server_client_requests_total{client_api_version="3.0",type="unary"} 1`,
		`etcd_server_client_requests_total{client_api_version="other",type="unary"} 6`,
	)
}

func TestHealthIsCountedByWhatItWas(t *testing.T) {
	f := start(t)
	get(t, f, "GET", "/health")
	get(t, f, "GET", "/livez")
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call == "Range" {
				return context.DeadlineExceeded
			}
			return nil
		}
	})
	get(t, f, "GET", "/health")
	get(t, f, "GET", "/readyz/serializable_read")
	wantMetrics(t, f,
		`etcd_server_health_success 1`,
		`etcd_server_health_failures 1`,
		`etcd_server_healthcheck{name="serializable_read",type="livez"} 1`,
		`etcd_server_healthcheck{name="serializable_read",type="readyz"} 0`,
		`etcd_server_healthchecks_total{name="serializable_read",status="error",type="readyz"} 1`,
	)
}

func TestHashesAndSnapshotsAreTimed(t *testing.T) {
	f := start(t)
	const hash, hashRev, backup = `etcd_mvcc_hash_duration_seconds_count`, `etcd_mvcc_hash_rev_duration_seconds_count`, `etcd_disk_backend_snapshot_duration_seconds_count`
	m := pb.NewMaintenanceClient(f.conn)
	if _, err := m.HashKV(bounded(t), &pb.HashKVRequest{}); err != nil {
		t.Fatal(err)
	}
	wantMetrics(t, f, hash+` 0`, hashRev+` 1`, backup+` 0`)
	if _, err := m.Hash(bounded(t), &pb.HashRequest{}); err != nil {
		t.Fatal(err)
	}
	wantMetrics(t, f, hash+` 1`, hashRev+` 1`, backup+` 0`)
	s, err := m.Snapshot(bounded(t), &pb.SnapshotRequest{})
	for err == nil {
		_, err = s.Recv()
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	wantMetrics(t, f, hash+` 1`, hashRev+` 1`, backup+` 1`)
}

func TestStreamsThatFailAreCountedAndThoseThatEndAreNot(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxRequestBytes = 1 << 10 })
	ended, err := pb.NewLeaseClient(f.conn).LeaseKeepAlive(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := ended.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := ended.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: make([]byte, 2*messageOverhead)})
	if _, err := w.stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Fatal(err)
	}
	wantMetrics(t, f, `etcd_network_server_stream_failures_total{API="watch",Type="receive"} 1`)
	if _, body := get(t, f, "GET", "/metrics"); strings.Count(body, "\netcd_network_server_stream_failures_total{") != 1 {
		t.Error("a stream that ended is counted as one that failed")
	}
}
