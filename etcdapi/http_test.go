package etcdapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"chainfire"
)

// get fetches a path of the client port.
func get(t *testing.T, f *fixture, method, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), method, "http://"+f.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestHealthAndVersionAnswerOnTheGRPCPort(t *testing.T) {
	f := start(t)
	put(t, f, "a", "1") // over gRPC
	for _, tc := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/health", 200, `{"health":"true","reason":""}`},
		{"GET", "/health?serializable=true", 200, `{"health":"true","reason":""}`},
		{"POST", "/health", 405, "Method Not Allowed\n"},
		{"GET", "/version", 200, `{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0"}`},
		{"PUT", "/version", 405, "Method Not Allowed\n"},
		{"GET", "/livez", 200, "ok\n"},
		{"GET", "/livez?verbose", 200, "[+]serializable_read ok\nok\n"},
		{"GET", "/livez/serializable_read", 200, "ok\n"},
		{"GET", "/readyz", 200, "ok\n"},
		{"GET", "/readyz?verbose", 200, "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n"},
		{"GET", "/readyz?verbose&exclude=non_learner&exclude=what&exclude=", 200, "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n"},
		{"GET", "/readyz/data_corruption", 200, "ok\n"},
		{"GET", "/livez/non_learner", 404, "404 page not found\n"},
		{"GET", "/readyz/non_learner?verbose", 200, "[+]non_learner ok\nok\n"},
		{"DELETE", "/readyz", 405, "Method Not Allowed\n"},
		{"GET", "/nothing", 404, "404 page not found\n"},
	} {
		code, body := get(t, f, tc.method, tc.path)
		if code != tc.code || body != tc.body {
			t.Errorf("%s %s: %d %q, want %d %q", tc.method, tc.path, code, body, tc.code, tc.body)
		}
	}
}

func TestUnhealthyMemberSaysWhy(t *testing.T) {
	f := start(t)
	f.set(func() { f.leader = 0 })
	wantHTTP(t, f, "/health", 503, `{"health":"false","reason":"RAFT NO LEADER"}`)
	wantHTTP(t, f, "/health?serializable=true", 200, `{"health":"true","reason":""}`)
	f.set(func() {
		f.leader = fakeID
		f.hook = func(_ context.Context, call string) error {
			if call == "Range" {
				return fmt.Errorf("read index: %w", chainfire.ErrTimeout)
			}
			return nil
		}
	})
	wantHTTP(t, f, "/health", 503, `{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}`)
	wantHTTP(t, f, "/livez", 503, "[-]serializable_read failed: etcdserver: request timed out")
	wantHTTP(t, f, "/livez?exclude=serializable_read", 200, "ok")
	f.set(func() { f.learner, f.hook = true, nil })
	wantHTTP(t, f, "/health", 200, `{"health":"true","reason":""}`)
	wantHTTP(t, f, "/readyz", 503, "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[-]non_learner failed: not supported for learner")
}

func wantHTTP(t *testing.T, f *fixture, path string, wantCode int, wantBody string) {
	t.Helper()
	code, body := get(t, f, "GET", path)
	if code != wantCode || strings.TrimSpace(body) != wantBody {
		t.Errorf("%s: %d %q, want %d %q", path, code, body, wantCode, wantBody)
	}
}

func TestProfilesAreServedOnlyWhereAskedForAndWithoutTheCommandLine(t *testing.T) {
	closed := start(t)
	wantHTTP(t, closed, "/debug/pprof/", 404, "404 page not found")
	f := start(t, func(o *Options) { o.Profiles = true })
	if code, body := get(t, f, "GET", "/debug/pprof/goroutine?debug=1"); code != 200 || !strings.Contains(body, "goroutine profile:") {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := get(t, f, "GET", "/debug/pprof/cmdline"); code != 404 {
		t.Errorf("the command line: %d", code)
	}
}

// TestReflectionNamesEveryServiceOfEtcd is what grpcurl goes by.
func TestReflectionNamesEveryServiceOfEtcd(t *testing.T) {
	f := start(t)
	s, err := reflectionpb.NewServerReflectionClient(f.conn).ServerReflectionInfo(bounded(t))
	if err == nil {
		err = s.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, x := range r.GetListServicesResponse().GetService() {
		have[x.GetName()] = true
	}
	for _, name := range []string{"etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Lease", "v3lockpb.Lock", "v3electionpb.Election", "etcdserverpb.Cluster", "etcdserverpb.Maintenance", "grpc.health.v1.Health"} {
		if !have[name] {
			t.Errorf("%s is missing from %v", name, have)
		}
	}
}

func TestMetricsCountCallsAndShowTheStatus(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := start(t, func(o *Options) { o.Registry, o.ExtensiveMetrics = reg, true })
	put(t, f, "a", "1")
	_, err := f.kv.Put(bounded(t), &pb.PutRequest{})
	wantCode(t, err, codes.InvalidArgument)
	w := watch(t, f)
	w.create(&pb.WatchCreateRequest{Key: []byte("a")})
	w.recv()
	get(t, f, "GET", "/metrics") // by which it has seen the first leader
	f.set(func() { f.leader = 99 })
	var body string
	eventually(t, "the answer that was had is counted", func() bool {
		_, body = get(t, f, "GET", "/metrics")
		return strings.Contains(body, "\ngrpc_server_msg_sent_total{grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 1\n")
	})
	f.set(func() { f.leader = fakeID })
	for _, line := range []string{
		`grpc_server_started_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 2`,
		`grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1`,
		`grpc_server_handled_total{grpc_code="InvalidArgument",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1`,
		`grpc_server_handled_total{grpc_code="OK",grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"} 0`,
		`grpc_server_handling_seconds_count{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 2`,
		`grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 1`,
		`grpc_server_msg_received_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 1`,
		`grpc_server_msg_sent_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 1`,
		`etcd_server_has_leader 1`,
		`etcd_server_is_leader 0`,
		`etcd_server_is_learner 0`,
		`etcd_server_leader_changes_seen_total 2`,
		`etcd_server_proposals_committed_total 20`,
		`etcd_server_proposals_applied_total 10`,
		`etcd_debugging_mvcc_current_revision 2`,
		`etcd_mvcc_db_total_size_in_bytes 4096`,
		`etcd_mvcc_db_total_size_in_use_in_bytes 1024`,
		`etcd_server_id{server_id="11"} 1`,
		`etcd_server_version{server_version="3.7.3"} 1`,
		`etcd_cluster_version{cluster_version="3.7.0"} 1`,
		`chainfire_build_info{version="0.9.1"} 1`,
		`etcd_server_proposals_pending 5`,
		`etcd_server_proposals_failed_total 6`,
		`etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"} 8`,
		`etcd_disk_wal_fsync_duration_seconds_count 9`,
		`etcd_debugging_lease_granted_total 4`,
		`etcd_debugging_lease_revoked_total 3`,
		`etcd_debugging_lease_renewed_total 2`,
		`etcd_debugging_server_lease_expired_total 1`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if _, err := New(Options{Member: newFake(), Registry: reg}); err == nil {
		t.Error("two servers share one registry")
	}
}

func TestCallsAreTimedInExtensiveMetricsAlone(t *testing.T) {
	_, body := get(t, start(t), "GET", "/metrics")
	if strings.Contains(body, "grpc_server_handling_seconds") || !strings.Contains(body, "grpc_server_handled_total") {
		t.Errorf("%s", body)
	}
}

func TestMemberWithoutStatusHasNoLeaderInItsMetrics(t *testing.T) {
	f := start(t)
	f.set(func() {
		f.hook = func(_ context.Context, call string) error {
			if call == "Status" {
				return chainfire.ErrStopped
			}
			return nil
		}
	})
	code, body := get(t, f, "GET", "/metrics")
	if code != 200 || !strings.Contains(body, "\netcd_server_has_leader 0\n") || strings.Contains(body, "etcd_server_id") {
		t.Errorf("%d %s", code, body)
	}
}
