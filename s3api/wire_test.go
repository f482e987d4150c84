package s3api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"chainfire/object"
	"chainfire/s3api"
	"chainfire/sigv4"
)

// wire is a connection on which a test writes every byte.
type wire struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (f *fixture) dial(t *testing.T) *wire {
	t.Helper()
	c, err := net.Dial("tcp", f.server.Listener.Addr().String()) //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &wire{t: t, Conn: c, in: bufio.NewReader(c)}
}

func (w *wire) send(s string) {
	w.t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		w.t.Fatal(err)
	}
}

// answer reads one answer, to a request of a method.
func (w *wire) answer(method string) *reply {
	w.t.Helper()
	resp, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	r := replyOf(resp, b)
	if resp.Close {
		r.header.Set("Connection", "close")
	}
	return r
}

// head is the head of a request as it goes over the wire, signed by the bytes of its target.
func head(t *testing.T, host, method, target, body string, more ...string) string {
	t.Helper()
	path, query, _ := strings.Cut(target, "?")
	at, payload := time.Now(), hashOf(body)
	names := []string{"host", "x-amz-content-sha256", "x-amz-date"}
	headers := "host:" + host + "\nx-amz-content-sha256:" + payload + "\nx-amz-date:" + at.UTC().Format(sigv4.DateFormat) + "\n"
	uri, err := sigv4.CanonicalURI(path, sigv4.S3Path)
	if err != nil {
		t.Fatal(err)
	}
	q, err := sigv4.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	scope := sigv4.NewScope(at, "us-east-1", "s3")
	key := sigv4.SigningKey(secret, scope)
	signature := key.Sign(sigv4.StringToSign(at, scope, sigv4.CanonicalRequest(method, uri, q.Canonical(""), headers, names, payload)))
	out := method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\nX-Amz-Content-Sha256: " + payload +
		"\r\nX-Amz-Date: " + at.UTC().Format(sigv4.DateFormat) + "\r\nContent-Length: " + fmt.Sprint(len(body)) +
		"\r\nAuthorization: " + sigv4.Algorithm + " Credential=" + adminID + "/" + scope.String() +
		", SignedHeaders=" + strings.Join(names, ";") + ", Signature=" + signature + "\r\n"
	for _, h := range more {
		out += h + "\r\n"
	}
	return out + "\r\n"
}

// TestTheFieldsOfAFormComeAsFastAsHeaders: until they are there it is not known who sends them,
// and whoever it is holds the place of another request.
func TestTheFieldsOfAFormComeAsFastAsHeaders(t *testing.T) {
	f := start(t, func(o *s3api.Options) { o.Limits.Headers = 3 * time.Second }) // a busy machine reads fields within them
	f.bucket("bucket")
	f.policy(`{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*"}`)
	field := "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n"
	file := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nbytes\r\n"
	end := "--b--\r\n"
	headers := fmt.Sprintf("POST /bucket HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n", len(field+file+end))
	// The file itself may take longer: as long as another, who begins later, takes for too long.
	inFile := f.dial(t)
	inFile.send(headers + field + file)
	w := f.dial(t)
	w.send(headers + field + "--b\r\nContent-")
	w.answer("POST").want(t, http.StatusBadRequest, "RequestTimeout")
	inFile.send(end)
	inFile.answer("POST").want(t, http.StatusNoContent, "")
}

func TestKeysAreTheBytesOfThePath(t *testing.T) {
	f := start(t, nil)
	f.bucket("paths")
	host := f.server.Listener.Addr().String()
	w := f.dial(t)
	for target, key := range map[string]string{
		"/paths/plain":                 "plain",
		"/paths//leading":              "/leading",
		"/paths/a//b":                  "a//b",
		"/paths/a/":                    "a/",
		"/paths/../paths/x":            "../paths/x",
		"/paths/a/./b":                 "a/./b",
		"/paths/%2e%2e/x":              "../x",
		"/paths/..%2f..%2fetc":         "../../etc",
		"/paths/with%2Fslash":          "with/slash",
		"/paths/a+b%20c":               "a+b c",
		"/paths/100%25":                "100%",
		"/paths/%2525":                 "%25",
		"/paths/%C3%BC":                "ü",
		"/paths/\xc3\xbc/raw":          "ü/raw",
		"/paths/a;b=c&d":               "a;b=c&d",
		"/paths/~tilde_-.":             "~tilde_-.",
		"/paths/back%5Cslash":          `back\slash`,
		"/paths/%0a":                   "\n",
		"/paths/:colon@at!$'()*,[]|":   ":colon@at!$'()*,[]|",
		"/paths/question%3Fmark":       "question?mark",
		"/paths/%E2%80%AE%F0%9F%94%A5": "\u202e🔥",
	} {
		w.send(head(t, host, "PUT", target, key) + key)
		if r := w.answer("PUT"); r.status != 200 {
			t.Errorf("%s: %d %s", target, r.status, r.body)
			continue
		}
		v, err := f.service.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := v.Bucket("paths")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Version(b, key, nil); err != nil {
			t.Errorf("%s is not the key %q: %v", target, key, err)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		w.send(head(t, host, "GET", target, ""))
		if r := w.answer("GET"); r.status != 200 || r.body != key {
			t.Errorf("GET %s: %d %q", target, r.status, r.body)
		}
	}
}

func TestTargetsThatAreRefused(t *testing.T) {
	f := start(t, nil)
	f.bucket("paths")
	host := f.server.Listener.Addr().String()
	for _, tc := range []struct {
		target, code string
		status       int
	}{
		{"/paths/" + strings.Repeat("x", 1025), "KeyTooLongError", 400},
		{"/paths%2Fkey", "InvalidBucketName", 400},
		{"/%2e%2e/paths/key", "InvalidBucketName", 400},
		{"//paths/key", "InvalidBucketName", 400},
		{"/UPPER/key", "InvalidBucketName", 400},
		{"/ab/key", "InvalidBucketName", 400},
		{"/192.168.1.1/key", "InvalidBucketName", 400},
		{"/a..b/key", "InvalidBucketName", 400},
		{"/" + strings.Repeat("b", 64), "InvalidBucketName", 400},
		{"/paths/k?renameObject", "NotImplemented", 501},
		{"/paths?intelligent-tiering", "NotImplemented", 501},
		{"/paths/k?subresource-of-tomorrow", "NotImplemented", 501},
	} {
		w := f.dial(t)
		w.send(head(t, host, "PUT", tc.target, ""))
		w.answer("PUT").want(t, tc.status, tc.code)
	}
	for _, target := range []string{"/paths/%00", "/paths/%ff", "/paths/%c3"} { // never to be signed
		w := f.dial(t)
		w.send("PUT " + target + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 0\r\n\r\n")
		w.answer("PUT").want(t, 400, "InvalidURI")
	}
}

func TestMethodsThatThereAreNot(t *testing.T) {
	f := start(t, nil)
	f.bucket("methods")
	for _, tc := range []struct{ method, path, allow string }{
		{"PATCH", "/methods/k", "DELETE, GET, HEAD, PUT"},
		{"POST", "/", "GET"},
		{"PUT", "/", "GET"},
		{"TRACE", "/methods/k", "DELETE, GET, HEAD, PUT"},
	} {
		r := f.do(call{method: tc.method, path: tc.path, id: adminID})
		r.want(t, 405, "MethodNotAllowed")
		for _, m := range strings.Split(tc.allow, ", ") {
			if !strings.Contains(r.header.Get("Allow"), m) {
				t.Errorf("%s %s: Allow is %q, which has no %s", tc.method, tc.path, r.header.Get("Allow"), m)
			}
		}
	}
}

func TestAClientIsAskedToGoOnOnlyWhereItsBodyIsRead(t *testing.T) {
	f := start(t, nil)
	f.bucket("expect")
	f.put("expect", "there", "v")
	host := f.server.Listener.Addr().String()
	for _, tc := range []struct {
		name, target string
		status       int
		more         []string
	}{
		{"a condition that does not hold", "/expect/there", 412, []string{"If-None-Match: *"}},
		{"no such bucket", "/nowhere/k", 404, nil},
		{"a header that is not there", "/expect/k", 501, []string{"If-Unmodified-Since: Mon, 02 Jan 2006 15:04:05 GMT"}},
	} {
		w := f.dial(t)
		w.send(head(t, host, "PUT", tc.target, "held back", append(tc.more, "Expect: 100-continue")...))
		r := w.answer("PUT") // a 100 would be read as the answer
		if r.status != tc.status {
			t.Errorf("%s: %d, want %d", tc.name, r.status, tc.status)
		}
		if r.header.Get("Connection") != "close" {
			t.Errorf("%s: the connection stays open, and the body may come or not", tc.name)
		}
	}
	w := f.dial(t)
	w.send(head(t, host, "PUT", "/expect/k", "held back", "Expect: 100-continue"))
	if r := w.answer("PUT"); r.status != 100 {
		t.Fatalf("a body that is wanted: %d %s", r.status, r.body)
	}
	w.send("held back")
	if r := w.answer("PUT"); r.status != 200 {
		t.Errorf("after the body: %d %s", r.status, r.body)
	}
}

// botocore announces every put, also one of nothing, and is confused for the rest of the connection
// where it is not asked to go on.
func TestAClientIsAskedToGoOnAlsoWhereItSendsNothing(t *testing.T) {
	f := start(t, nil)
	f.bucket("expect")
	host := f.server.Listener.Addr().String()
	w := f.dial(t)
	for _, body := range []string{"", "something", ""} {
		w.send(head(t, host, "PUT", "/expect/k", body, "Expect: 100-continue"))
		if r := w.answer("PUT"); r.status != 100 || len(r.header) != 0 {
			t.Fatalf("%d bytes that are wanted: %d %v %s", len(body), r.status, r.header, r.body)
		}
		w.send(body)
		if r := w.answer("PUT"); r.status != 200 {
			t.Errorf("after %d bytes: %d %s", len(body), r.status, r.body)
		}
	}
}

func TestBucketsInTheHost(t *testing.T) {
	f := start(t, func(o *s3api.Options) { o.Domains = []string{"s3.example", "Other.Example", "store.s3.example"} })
	f.bucket("virtual")
	f.bucket("with.dots")
	w := f.dial(t)
	for i, tc := range []struct{ host, target, path string }{
		{"virtual.s3.example", "/k", "/virtual/k"},
		{"virtual.s3.example:9000", "/virtual/k", "/virtual/virtual/k"},
		{"VIRTUAL.other.example", "//k", "/virtual//k"},
		{"with.dots.s3.example", "/k", "/with.dots/k"},
		{"s3.example", "/virtual/direct", "/virtual/direct"},
		{"store.s3.example", "/virtual/within", "/virtual/within"},
		{"virtual.store.s3.example", "/nested", "/virtual/nested"},
		{"elsewhere.example", "/virtual/elsewhere", "/virtual/elsewhere"},
		{"10.0.0.1:9000", "/virtual/address", "/virtual/address"},
		{"[::1]:9000", "/virtual/address6", "/virtual/address6"},
	} {
		body := fmt.Sprint("body ", i)
		w.send(head(t, tc.host, "PUT", tc.target, body) + body)
		if r := w.answer("PUT"); r.status != 200 {
			t.Errorf("%s%s: %d %s", tc.host, tc.target, r.status, r.body)
		}
		if r := f.do(call{method: "GET", path: tc.path, id: adminID}); r.body != body {
			t.Errorf("%s%s is not %s: %d %s", tc.host, tc.target, tc.path, r.status, r.body)
		}
	}
	for _, host := range []string{"ab.s3.example", "vir_tual.s3.example", "10.0.0.1.s3.example"} {
		w.send(head(t, host, "GET", "/virtual/k", ""))
		w.answer("GET").want(t, 400, "InvalidBucketName")
	}
	w.send(head(t, "virtual.s3.example", "GET", "/?list-type=2", ""))
	if r := w.answer("GET"); r.status != 200 || !strings.Contains(r.body, "<Name>virtual</Name>") {
		t.Errorf("listing by host: %d %s", r.status, r.body)
	}
}

func TestAForwardedHostCountsOnlyWhereItIsTrusted(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		f := start(t, func(o *s3api.Options) { o.TrustForwarded, o.Domains = trusted, []string{"s3.example"} })
		f.bucket("forwarded")
		w := f.dial(t)
		signed := head(t, "forwarded.s3.example", "PUT", "/k", "")
		w.send(strings.Replace(signed, "Host: forwarded.s3.example\r\n", "Host: proxy.internal\r\nX-Forwarded-Host: forwarded.s3.example\r\n", 1))
		if r := w.answer("PUT"); (r.status == 200) != trusted {
			t.Errorf("trusted is %v: %d %s", trusted, r.status, r.body)
		}
	}
}

// TestTheBucketIsOfTheHostThatIsSigned: who was given a link to one bucket gets none of another
// by a header that a proxy let through.
func TestTheBucketIsOfTheHostThatIsSigned(t *testing.T) {
	f := start(t, func(o *s3api.Options) { o.TrustForwarded, o.Domains = true, []string{"s3.example"} })
	f.bucket("signed")
	f.bucket("other")
	f.put("signed", "k", "v")
	f.put("other", "k", "secret")
	f.put("other", "signed/k", "secret")
	for _, c := range []struct {
		host, target, forwarded string
		status                  int
	}{
		{"signed.s3.example", "/k", "other.s3.example", 403},
		{"s3.example", "/signed/k", "other.s3.example", 403},
		{"signed.s3.example", "/k", "s3.example", 403},
		{"signed.s3.example", "/k", "SIGNED.s3.example:443", 200},
		{"s3.example", "/signed/k", "elsewhere.example", 200},
	} {
		w := f.dial(t)
		w.send(head(t, c.host, "GET", c.target, "", "X-Forwarded-Host: "+c.forwarded))
		if r := w.answer("GET"); r.status != c.status || strings.Contains(r.body, "secret") {
			t.Errorf("%s of %s, forwarded as %s: %d %s", c.target, c.host, c.forwarded, r.status, r.body)
		}
	}
}

func TestASlowBodyIsCutOff(t *testing.T) {
	f := start(t, func(o *s3api.Options) { o.Limits.Idle = time.Second })
	f.bucket("slow")
	host := f.server.Listener.Addr().String()
	w := f.dial(t)
	w.send(head(t, host, "PUT", "/slow/k", strings.Repeat("x", 100)) + "x")
	w.answer("PUT").want(t, 400, "RequestTimeout")
	if _, code := f.get("slow", "k"); code != "NoSuchKey" {
		t.Errorf("after a body that stopped: %q", code)
	}
}

func TestAnAnswerDoesNotWaitForABodyThatNobodyReads(t *testing.T) {
	f := start(t, func(o *s3api.Options) { o.Limits.Idle = time.Second })
	f.bucket("unread")
	f.put("unread", "k", "v")
	host := f.server.Listener.Addr().String()
	for _, length := range []string{"10", "1000000"} {
		w := f.dial(t)
		w.send(strings.Replace(head(t, host, "GET", "/unread/k", ""), "Content-Length: 0", "Content-Length: "+length, 1))
		if r := w.answer("GET"); r.status != 200 || r.body != "v" || r.header.Get("Connection") != "close" {
			t.Errorf("a body of %s bytes that does not come: %d %q %v", length, r.status, r.body, r.header)
		}
	}
}

func TestABodyThatEndsEarlyIsNotKept(t *testing.T) {
	f := start(t, nil)
	f.bucket("cut")
	host := f.server.Listener.Addr().String()
	for _, size := range []int{100, 200_000} {
		w := f.dial(t)
		body := strings.Repeat("x", size)
		w.send(head(t, host, "PUT", "/cut/k", body) + body[:size-1])
		if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		w.answer("PUT").want(t, 400, "IncompleteBody")
		if _, code := f.get("cut", "k"); code != "NoSuchKey" {
			t.Errorf("after a body of %d bytes was cut: %q", size, code)
		}
	}
}

func TestAnAnswerThatCannotGoOnIsCut(t *testing.T) {
	f := start(t, nil)
	f.bucket("rotten")
	f.put("rotten", "k", string(content(300_000)))
	f.service.OnOpen = func(*object.Body) error { return object.ErrUnavailable }
	f.do(call{method: "GET", path: "/rotten/k", id: adminID}).want(t, 503, "ServiceUnavailable")
}
