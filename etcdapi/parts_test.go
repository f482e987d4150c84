package etcdapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
)

// part serves one more port of the server by one of its methods.
func (f *fixture) part(t *testing.T, serve func(*Server, net.Listener) error) (addr string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(f.server, lis) }()
	t.Cleanup(func() {
		f.stop(t)
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return lis.Addr().String()
}

// callsAt is how a call of gRPC to an address ends.
func callsAt(t *testing.T, addr string) error {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = pb.NewKVClient(conn).Range(bounded(t), &pb.RangeRequest{Key: []byte("a")})
	return err
}

// pageAt asks for a page; 0 is no answer.
func pageAt(t *testing.T, addr, path string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(bounded(t), http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(r)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAPortForCallsHasNoPagesAndAPortForPagesNoCalls(t *testing.T) {
	f := start(t)
	calls, pages := f.part(t, (*Server).ServeCalls), f.part(t, (*Server).ServePages)
	if err := callsAt(t, calls); err != nil {
		t.Errorf("a call where calls are served: %v", err)
	}
	if code, _ := pageAt(t, calls, "/version"); code != 0 {
		t.Errorf("a page where calls are served: %d", code)
	}
	wantCode(t, callsAt(t, pages), codes.Unavailable)
	if code, body := pageAt(t, pages, "/version"); code != http.StatusOK || !strings.Contains(body, etcdVersion) {
		t.Errorf("a page where pages are served: %d %s", code, body)
	}
}

func TestAPortForMetricsHasMetricsAndHealthAndNothingElse(t *testing.T) {
	f := start(t)
	addr := f.part(t, (*Server).ServeMetrics)
	for path, want := range map[string]int{
		"/metrics": http.StatusOK, "/health": http.StatusOK, "/livez": http.StatusOK, "/readyz": http.StatusOK,
		"/version": http.StatusNotFound, "/v3/kv/range": http.StatusNotFound, "/debug/pprof/": http.StatusNotFound,
	} {
		if code, body := pageAt(t, addr, path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	wantCode(t, callsAt(t, addr), codes.Unavailable)
}

func TestWithoutTheGatewayThereIsNoJSON(t *testing.T) {
	f := start(t, func(o *Options) { o.NoGateway = true })
	if code, _ := pageAt(t, f.addr, "/v3/kv/range"); code != http.StatusNotFound {
		t.Errorf("code %d", code)
	}
	if err := callsAt(t, f.addr); err != nil {
		t.Error(err)
	}
}

func TestAServerThatIsClosedServesNoPart(t *testing.T) {
	f := start(t)
	f.stop(t)
	for _, serve := range []func(*Server, net.Listener) error{(*Server).ServeCalls, (*Server).ServePages, (*Server).ServeMetrics} {
		lis, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := serve(f.server, lis); !errors.Is(err, ErrServerClosed) {
			t.Errorf("%v", err)
		}
	}
}
