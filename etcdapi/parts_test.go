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
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// part serves a part of the server at one more port.
func (f *fixture) part(t *testing.T, part Part, how Speech) (addr string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.server.ServePart(lis, part, how) }()
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
	calls, pages := f.part(t, Calls, WithTLS), f.part(t, Pages, WithTLS)
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
	addr := f.part(t, Metrics, WithTLS)
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
	for _, part := range []Part{All, Calls, Pages, Metrics} {
		lis, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.server.ServePart(lis, part, WithTLS); !errors.Is(err, ErrServerClosed) {
			t.Errorf("%v", err)
		}
	}
}

func TestPartsSpeakTLSUnlessTheirPortIsPlain(t *testing.T) {
	c := newCertificates(t, "root")
	f := start(t, c.asking)
	over := func(addr, path string, protocols ...string) (int, string) {
		t.Helper()
		hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: c.client(protocols...), ForceAttemptHTTP2: true}}
		r, err := http.NewRequestWithContext(bounded(t), http.MethodGet, "https://"+addr+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hc.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Proto
	}
	call := func(addr string, protocols ...string) error {
		t.Helper()
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(c.client(protocols...))))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = pb.NewKVClient(conn).Range(bounded(t), &pb.RangeRequest{Key: []byte("a")})
		return err
	}
	calls, pages, metrics, bare := f.part(t, Calls, WithTLS), f.part(t, Pages, WithTLS), f.part(t, Metrics, WithTLS), f.part(t, Metrics, WithoutTLS)
	for _, protocols := range [][]string{{"h2"}, {"h2", "http/1.1"}} {
		if err := call(calls, protocols...); err != nil {
			t.Errorf("a call by %v where calls are served: %v", protocols, err)
		}
		for _, addr := range []string{pages, metrics} {
			if err := call(addr, protocols...); err == nil {
				t.Errorf("a call by %v to %s is answered", protocols, addr)
			}
		}
		if code, proto := over(pages, "/version", protocols...); code != http.StatusOK || proto != "HTTP/2.0" {
			t.Errorf("a page by %v: %d, %s", protocols, code, proto)
		}
		if code, body := over(metrics, "/health", protocols...); code != http.StatusOK {
			t.Errorf("health by %v: %d, %s", protocols, code, body)
		}
	}
	if code, _ := over(calls, "/version", "http/1.1"); code != http.StatusNotFound {
		t.Errorf("a page where calls are served: %d", code)
	}
	if code, _ := pageAt(t, metrics, "/health"); code != 0 {
		t.Errorf("health without TLS where TLS is spoken: %d", code)
	}
	if code, body := pageAt(t, bare, "/health"); code != http.StatusOK {
		t.Errorf("health without TLS: %d, %s", code, body)
	}
	if err := callsAt(t, f.part(t, All, WithoutTLS)); err != nil {
		t.Errorf("a call without TLS: %v", err)
	}
	for part, want := range map[Part]struct{ calls, pages bool }{All: {true, true}, Calls: {true, false}, Pages: {false, true}} {
		addr := f.part(t, part, Either)
		if plain, secure := callsAt(t, addr), call(addr, "h2"); (plain == nil) != want.calls || (secure == nil) != want.calls {
			t.Errorf("part %d either way: a call without TLS %v, with it %v", part, plain, secure)
		}
		plain, _ := pageAt(t, addr, "/version")
		secure, _ := over(addr, "/version", "http/1.1")
		if (plain == http.StatusOK) != want.pages || (secure == http.StatusOK) != want.pages {
			t.Errorf("part %d either way: a page without TLS %d, with it %d", part, plain, secure)
		}
	}
}
