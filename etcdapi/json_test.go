package etcdapi

import (
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// send makes one HTTP request of the client port, and reads the answer whole.
func send(t *testing.T, f *fixture, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	resp := open(bounded(t), t, f, method, path, strings.NewReader(body), headers...)
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, compact(string(text))
}

// compact takes out the spaces that the encoder puts in by the build it is part
// of, so that nobody compares its text.
func compact(body string) string { return strings.ReplaceAll(body, `, "`, `,"`) }

// open makes a request of which the answer may go on. Headers are pairs.
func open(ctx context.Context, t *testing.T, f *fixture, method, path string, body io.Reader, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+f.addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestJSONIsEtcds(t *testing.T) {
	f := start(t)
	for _, tc := range []struct {
		name, path, body string
		code             int
		want             string
	}{
		{
			"numbers are text, bytes are base64, names are those of the messages", "kv/put", `{"key":"YQ==","value":"MQ=="}`, 200,
			`{"header":{"cluster_id":"`,
		},
		{"what is read", "kv/range", `{"key":"YQ=="}`, 200, `"kvs":[{"key":"YQ==","create_revision":"2","mod_revision":"2","version":"1","value":"MQ=="}],"count":"1"}`},
		{"unknown fields are passed over", "kv/range", `{"key":"YQ==","what":1}`, 200, `"count":"1"}`},
		{"the older path", "../v3beta/kv/range", `{"key":"YQ=="}`, 200, `"count":"1"}`},
		{"an error has its code and text", "kv/put", `{}`, 400, `{"code":3,"message":"etcdserver: key is not provided"}`},
		{"what is no JSON", "kv/put", `{`, 400, `{"code":3,"message":"unexpected EOF"}`},
		{"a path that there is not", "kv/nothing", `{}`, 404, `{"code":5,"message":"Not Found"}`},
		{"a lease", "lease/grant", `{"TTL":"5","ID":"9"}`, 200, `"ID":"9","TTL":"5"}`},
		{"a lease by its older path", "kv/lease/timetolive", `{"ID":"9","keys":true}`, 200, `"ID":"9","TTL":"4","grantedTTL":"5","keys":["aw=="]}`},
		{"users", "auth/status", `{}`, 200, `"authRevision":"1"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := strings.Replace("/v3/"+tc.path, "/v3/../", "/", 1)
			resp, body := send(t, f, "POST", path, tc.body)
			if resp.StatusCode != tc.code || !strings.Contains(body, tc.want) {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, body, tc.code, tc.want)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("content type %q", ct)
			}
		})
	}
	resp, body := send(t, f, "GET", "/v3/kv/range", "")
	if resp.StatusCode != 501 || body != `{"code":12,"message":"Method Not Allowed"}` {
		t.Errorf("GET: %d %s", resp.StatusCode, body)
	}
}

func TestJSONMeetsTheLimitsAndGatesOfGRPC(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxRequestBytes = 1 << 10 })
	value := func(n int) string {
		return `{"key":"YQ==","value":"` + base64.StdEncoding.EncodeToString(make([]byte, n)) + `"}`
	}
	for _, tc := range []struct {
		name, body string
		code       int
		want       string
	}{
		{"the request limit", value(2 << 10), 400, `{"code":3,"message":"etcdserver: request is too large"}`},
		{"the limit of a message", value(600 << 10), 429, `{"code":8,"message":"grpc: received message larger than max (614407 vs. 525312)"}`},
		{"the limit of what is read", value(4 << 20), 400, `{"code":3,"message":"message is larger than the request limit"}`},
	} {
		if resp, body := send(t, f, "POST", "/v3/kv/put", tc.body); resp.StatusCode != tc.code || body != tc.want {
			t.Errorf("%s: %d %s, want %d %s", tc.name, resp.StatusCode, body, tc.code, tc.want)
		}
	}
	f.set(func() { f.leader = 0 })
	resp, body := send(t, f, "POST", "/v3/kv/range", `{"key":"YQ==","serializable":true}`,
		"Grpc-Metadata-"+rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	if want := `{"code":14,"message":"etcdserver: no leader"}`; resp.StatusCode != 503 || body != want {
		t.Errorf("without a leader: %d %s, want %s", resp.StatusCode, body, want)
	}
}

func TestAuthorizationHeaderNamesTheCaller(t *testing.T) {
	f := start(t)
	f.enableAuth(t)
	for _, token := range []string{"root", "Bearer root"} {
		resp, body := send(t, f, "POST", "/v3/maintenance/hashkv", `{}`, "Authorization", token)
		if resp.StatusCode != 200 {
			t.Errorf("%q: %d %s", token, resp.StatusCode, body)
		}
	}
	resp, body := send(t, f, "POST", "/v3/maintenance/hashkv", `{}`)
	if want := `{"code":3,"message":"etcdserver: user name is empty"}`; resp.StatusCode != 400 || body != want {
		t.Errorf("nobody: %d %s, want %s", resp.StatusCode, body, want)
	}
}

func TestWatchOverJSONStreamsUntilTheServerStops(t *testing.T) {
	f := start(t)
	resp := open(bounded(t), t, f, "POST", "/v3/watch", strings.NewReader(`{"create_request":{"key":"YQ=="}}{"progress_request":{}}`))
	lines := bufio.NewReader(resp.Body)
	want := func(part string) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("the stream ended before %s: %v", part, err)
			}
			line = compact(line)
			if !strings.HasPrefix(line, `{"result":{"header":{`) && !strings.HasPrefix(line, `{"error":{`) {
				t.Errorf("line %s", line)
			}
			if strings.Contains(line, part) {
				return
			}
		}
	}
	want(`"created":true}}`)
	put(t, f, "a", "1")
	want(`"events":[{"kv":{"key":"YQ==","create_revision":"2","mod_revision":"2","version":"1","value":"MQ=="}}]}}`)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f.stop(t)
	}()
	want(`{"error":{"code":14,"message":"etcdserver: server stopped"}}`)
	<-stopped
}

func TestHostsAndOriginsThatAreNotNamedAreKeptOut(t *testing.T) {
	f := start(t, func(o *Options) { o.HostWhitelist, o.CORS = []string{"db.local"}, []string{"https://a.example"} })
	for _, tc := range []struct {
		host, origin string
		code         int
		allowed      string
	}{
		{"db.local:2379", "https://a.example", 200, "https://a.example"},
		{"db.local", "https://b.example", 200, ""},
		{"evil.example", "https://a.example", 421, ""},
	} {
		resp, body := send(t, f, "GET", "/version", "", "Host", tc.host, "Origin", tc.origin)
		if got := resp.Header.Get("Access-Control-Allow-Origin"); resp.StatusCode != tc.code || got != tc.allowed {
			t.Errorf("%s from %s: %d %q %s", tc.host, tc.origin, resp.StatusCode, got, body)
		}
	}
	everybody := start(t)
	if resp, _ := send(t, everybody, "OPTIONS", "/v3/kv/put", ""); resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("without a list: %d %v", resp.StatusCode, resp.Header)
	}
}
