package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// httpCall is one request to a client port.
type httpCall struct {
	method, path, body string
	// headers are pairs.
	headers []string
}

// httpAnswer is what came of it.
type httpAnswer struct {
	code        int
	contentType string
	body        string
}

// open makes the request at a member; the answer is closed by the caller.
func (c httpCall) open(ctx context.Context, addr string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, "http://"+addr+c.path, strings.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(c.headers); i += 2 {
		req.Header.Set(c.headers[i], c.headers[i+1])
	}
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
}

// at makes the request at a member and reads the answer whole.
func (c httpCall) at(ctx context.Context, addr string) (*httpAnswer, error) {
	resp, err := c.open(ctx, addr)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	return &httpAnswer{code: resp.StatusCode, contentType: resp.Header.Get("Content-Type"), body: string(body)}, err
}

// mustAt is at, where an answer has to come.
func (c httpCall) mustAt(t *testing.T, addr string) *httpAnswer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	a, err := c.at(ctx, addr)
	if err != nil {
		t.Fatalf("%s %s at %s: %v", c.method, c.path, addr, err)
	}
	return a
}

// ownValues are the fields that two clusters need not agree on: identities and
// sizes of their own, and addresses.
var ownValues = map[string]bool{
	"cluster_id": true, "member_id": true, "raft_term": true, "ID": true, "leader": true,
	"name": true, "peerURLs": true, "clientURLs": true, "dbSize": true, "dbSizeInUse": true,
	"raftIndex": true, "raftAppliedIndex": true, "dbSizeQuota": true,
}

// common is the part of a body that two servers have to agree on: of JSON all but
// ownValues, with its numbers relative to the first revision, of text the lines in
// order, since etcd gives its checks in any. Which blank follows "proto:" in an error is
// up to the build of the protobuf library, on purpose.
func common(body string) string {
	body = strings.ReplaceAll(body, "\u00a0", " ")
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		lines := strings.Split(body, "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	b, err := json.MarshalIndent(blank(v), "", " ")
	if err != nil {
		return body
	}
	return string(b)
}

func blank(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Collect(maps.Keys(v)) {
			if ownValues[k] {
				v[k] = "its own"
			} else {
				v[k] = blank(v[k])
			}
		}
	case []any:
		for i := range v {
			v[i] = blank(v[i])
		}
	}
	return v
}

// post is a call of the JSON gateway.
func post(method, body string) httpCall {
	return httpCall{method: http.MethodPost, path: "/v3/" + method, body: body}
}

func get(path string) httpCall { return httpCall{method: http.MethodGet, path: path} }

// sameCalls go to both servers in this order.
func sameCalls() []httpCall {
	large := strings.Repeat("A", 2200<<10)
	tooLarge := strings.Repeat("A", 4<<20)
	return []httpCall{
		get("/version"),
		{method: "POST", path: "/version"},
		get("/health"),
		{method: "PUT", path: "/health"},
		get("/health?serializable=true"), get("/health?exclude=NOSPACE"),
		get("/livez"), get("/livez?verbose"), get("/livez/serializable_read?verbose"), get("/livez/nothing"),
		get("/readyz"), get("/readyz?verbose"), get("/readyz?verbose&exclude=non_learner"), get("/readyz?exclude=nothing"),
		get("/readyz/data_corruption?verbose"),
		{method: "POST", path: "/readyz"},
		{method: "DELETE", path: "/livez/serializable_read"},
		get("/"), get("/nothing"), get("/v3/kv/range"), get("/v2/keys"),
		{method: "OPTIONS", path: "/v3/kv/put"},
		post("kv/put", `{"key":"YQ==","value":"MQ=="}`), post("kv/put", `{"key":"YQ==","value":"Mg==","prev_kv":true}`),
		post("kv/put", `{"key":"YQ==","value":"Mg==","prevKv":true}`), post("kv/put", `{}`), post("kv/put", `{"key":"YQ"}`),
		post("kv/put", `{"key":"not base64!"}`), post("kv/put", `{"key":1}`), post("kv/put", `{"key":"YQ==","lease":"77"}`),
		post("kv/put", `{"key":"YQ==","ignore_value":true,"value":"MQ=="}`), post("kv/put", `{"key":"eg==","ignore_value":true}`),
		post("kv/put", `{"key":"YQ==","value":"`+large+`"}`), post("kv/put", `{"key":"YQ==","value":"`+tooLarge+`"}`),
		post("kv/range", `{"key":"YQ=="}`), post("kv/range", `{"key":"YQ==","what":{"is":"this"}}`), post("kv/range", ``),
		post("kv/range", `{`), post("kv/range", `[]`), post("kv/range", `null`), post("kv/range", `{"key":"YQ=="}{`),
		post("kv/range", `{"key":"AA==","range_end":"AA==","count_only":true}`),
		post("kv/range", `{"key":"AA==","range_end":"AA==","sort_order":"DESCEND","sort_target":"MOD","limit":"1"}`),
		post("kv/range", `{"key":"AA==","range_end":"AA==","sort_order":"SIDEWAYS"}`), post("kv/range", `{"key":"YQ==","revision":"99"}`),
		post("kv/range", `{"key":"YQ==","revision":99}`), post("kv/range", `{"key":"YQ==","revision":"x"}`),
		post("kv/txn", `{"compare":[{"key":"YQ==","target":"VERSION","version":"3"}],"success":[{"request_range":{"key":"YQ=="}}],"failure":[{"request_put":{"key":"Yg==","value":"Yg=="}}]}`),
		post("kv/txn", `{"compare":[{"key":"YQ==","target":"VALUE","result":"GREATER","value":"OTk="}],"failure":[{"request_delete_range":{"key":"YQ==","prev_kv":true}}]}`),
		post("kv/txn", `{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}`), post("kv/txn", `{}`),
		post("kv/txn", `{"success":[{"what":1}]}`),
		post("kv/deleterange", `{"key":"AA==","range_end":"AA==","prev_kv":true}`), post("kv/deleterange", `{}`),
		post("kv/compaction", `{"revision":"3"}`), post("kv/compaction", `{"revision":"3"}`), post("kv/range", `{"key":"YQ==","revision":"2"}`),
		post("kv/nothing", `{}`), post("nothing", `{}`),
		{method: "POST", path: "/v3alpha/kv/range", body: `{"key":"YQ=="}`},
		{method: "POST", path: "/v3beta/kv/range", body: `{"key":"YQ=="}`},
		{method: "PUT", path: "/v3/kv/put", body: `{"key":"YQ=="}`},
		{method: "POST", path: "/v3/kv/range", body: `{"key":"YQ=="}`, headers: []string{"Content-Type", "text/plain"}},
		{method: "POST", path: "/v3/kv/range", body: `key=YQ==`, headers: []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{method: "POST", path: "/v3/kv/range", body: `{"key":"YQ=="}`, headers: []string{"Grpc-Metadata-hasleader", "true", "Grpc-Timeout", "5S"}},
		{method: "POST", path: "/v3/kv/range", body: `{"key":"YQ=="}`, headers: []string{"Grpc-Timeout", "soon"}},
		post("cluster/member/list", `{}`), post("cluster/member/remove", `{"ID":"99"}`), post("maintenance/alarm", `{}`),
	}
}

func TestHTTPAnswersAreEtcds(t *testing.T) {
	t.Parallel()
	ours, etcd := oneMember(t).members[0].client, here.newEtcd(t)
	for _, c := range sameCalls() {
		name := fmt.Sprintf("%s %s %.90s %q", c.method, c.path, c.body, c.headers)
		got, want := c.mustAt(t, ours), c.mustAt(t, etcd)
		if got.code != want.code || got.contentType != want.contentType || common(got.body) != common(want.body) {
			t.Errorf("%s: answered\n%d %s %s\netcd answers\n%d %s %s", name,
				got.code, got.contentType, got.body, want.code, want.contentType, want.body)
		}
	}
}

// jsonStream reads a stream of the gateway.
type jsonStream struct {
	t     *testing.T
	lines *bufio.Reader
}

func openStream(t *testing.T, addr string, c httpCall) *jsonStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	resp, err := c.open(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() }) // what is not read is not wanted
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d", c.path, resp.StatusCode)
	}
	return &jsonStream{t: t, lines: bufio.NewReader(resp.Body)}
}

// next reads one message.
func (s *jsonStream) next() string {
	s.t.Helper()
	line, err := s.lines.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return line
}

func TestWatchOverHTTPIsEtcds(t *testing.T) {
	t.Parallel()
	var told [2][]string
	for i, addr := range []string{oneMember(t).members[0].client, here.newEtcd(t)} {
		s := openStream(t, addr, post("watch", `{"create_request":{"key":"YQ==","range_end":"Yg==","prev_kv":true,"watch_id":"7"}}`+"\n"))
		told[i] = append(told[i], common(s.next()))
		post("kv/put", `{"key":"YQ==","value":"MQ=="}`).mustAt(t, addr)
		told[i] = append(told[i], common(s.next()))
		post("kv/deleterange", `{"key":"YQ=="}`).mustAt(t, addr)
		told[i] = append(told[i], common(s.next()))
		late := openStream(t, addr, post("watch", `{"create_request":{"key":"YQ==","start_revision":"1"}}`))
		told[i] = append(told[i], common(late.next()), common(late.next()))
	}
	if !slices.Equal(told[0], told[1]) {
		t.Errorf("told\n%s\netcd tells\n%s", strings.Join(told[0], "\n"), strings.Join(told[1], "\n"))
	}
}
