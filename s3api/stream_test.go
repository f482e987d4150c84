package s3api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chainfire/object"
	"chainfire/s3api/s3test"
	"chainfire/sigv4"
)

// nowhere is a service whose bodies are thrown away as they are written.
type nowhere struct{ *s3test.Service }

var errNowhere = errors.New("the bytes are nowhere")

func (nowhere) NewBody(context.Context, int64) (object.BodyWriter, error) {
	return nowhereWriter{}, nil
}

type nowhereWriter struct{}

func (nowhereWriter) Write(p []byte) (int, error)                 { return len(p), nil }
func (nowhereWriter) Close()                                      {}
func (nowhereWriter) Finish(context.Context) (object.Body, error) { return object.Body{}, errNowhere }

// nobody takes an answer and keeps nothing of it.
type nobody struct {
	header http.Header
	status int
	n      int64
}

func (w *nobody) Header() http.Header { return w.header }
func (w *nobody) WriteHeader(status int) {
	w.status = status
}

func (w *nobody) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	return len(p), nil
}

// allocated is how many bytes a function allocates, at most what all goroutines do.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestABodyIsNotHeldInMemory(t *testing.T) {
	const size, most = 64 << 20, 4 << 20
	service := nowhere{s3test.New()}
	if err := service.AddKey(object.AccessKey{ID: "AKKEY", Admin: true}, "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Change(t.Context(), &object.Change{CreateBucket: &object.CreateBucket{Name: "bucket", Owner: "AKKEY"}}); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Service: service, Logger: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "http://s3.example/bucket/key", &fast{left: size})
	r.ContentLength = size
	signer := &sigv4.Signer{Credentials: sigv4.Credentials{AccessKeyID: "AKKEY", SecretAccessKey: "s"}, Region: "us-east-1"}
	if err := signer.Sign(r, sigv4.UnsignedPayload, time.Now()); err != nil {
		t.Fatal(err)
	}
	w := &nobody{header: http.Header{}}
	if n := allocated(func() { s.ServeHTTP(w, r) }); n > most || w.status != http.StatusInternalServerError {
		t.Errorf("a body of %d bytes that comes in: %d allocated, status %d", size, n, w.status)
	}
	s.table = []operation{{name: "Large", method: http.MethodGet, level: serviceLevel, access: accessOpen, handle: func(rq *request) error {
		return rq.send(http.StatusOK, &fast{left: size})
	}}}
	w = &nobody{header: http.Header{}}
	r = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://s3.example/", nil)
	if n := allocated(func() { s.ServeHTTP(w, r) }); n > most || w.n != size {
		t.Errorf("a body of %d bytes that goes out: %d allocated, %d went", size, n, w.n)
	}
}

func TestAClientThatReadsNothingIsCutOff(t *testing.T) {
	s := New(Options{Service: s3test.New(), Logger: slog.New(slog.DiscardHandler), Limits: Limits{Idle: 50 * time.Millisecond}})
	ended := make(chan error, 1)
	s.table = []operation{{name: "Endless", method: http.MethodGet, level: serviceLevel, access: accessOpen, handle: func(rq *request) error {
		err := rq.send(http.StatusOK, &fast{left: 1 << 40})
		ended <- err
		return err
	}}}
	server := httptest.NewServer(s)
	defer server.Close()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: s3.example\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a client that reads nothing was sent all of it")
	}
}

// strangeText draws what a client may put into a path, a query or a header.
func strangeText(t *rapid.T, name string) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune("ab/.-_~%+ &=;:?\"<>\\,*\n\x00\x7fü界0123456789")), 0, 24, -1).Draw(t, name)
}

func TestNoRequestMakesAHandlerPanic(t *testing.T) {
	service := s3test.New()
	if err := service.AddKey(object.AccessKey{ID: "AKKEY", Admin: true}, "s"); err != nil {
		t.Fatal(err)
	}
	on := object.VersioningEnabled
	for _, c := range []*object.Change{
		{CreateBucket: &object.CreateBucket{Name: "bucket", Owner: "AKKEY", ObjectLock: true}},
		{SetBucket: &object.SetBucket{Name: "bucket", Versioning: &on}},
		{Put: &object.Put{Bucket: "bucket", Key: "a", ETag: strings.Repeat("0", 32), Body: object.Body{Size: 1, Inline: []byte("x")}}},
		{CreateUpload: &object.CreateUpload{Bucket: "bucket", Key: "a", Owner: "AKKEY"}},
	} {
		if _, err := service.Change(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	s := New(Options{Service: service, Logger: slog.New(slog.DiscardHandler)})
	signer := &sigv4.Signer{Credentials: sigv4.Credentials{AccessKeyID: "AKKEY", SecretAccessKey: "s"}, Region: "us-east-1"}
	parameters := append([]string{
		"versionId", "partNumber", "prefix", "delimiter", "max-keys", "marker", "list-type", "continuation-token",
		"key-marker", "version-id-marker", "encoding-type", "max-uploads", "upload-id-marker", "part-number-marker", "id",
		"response-content-type", "max-buckets",
	}, subresources...)
	headers := []string{
		"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Range", "Content-Md5", "Content-Type", "X-Amz-Copy-Source",
		"X-Amz-Copy-Source-Range", "X-Amz-Copy-Source-If-Match", "X-Amz-Metadata-Directive", "X-Amz-Tagging", "X-Amz-Acl",
		"X-Amz-Storage-Class", "X-Amz-Checksum-Crc32", "X-Amz-Checksum-Algorithm", "X-Amz-Checksum-Mode", "X-Amz-Meta-A",
		"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Attributes", "X-Amz-Max-Parts", "Origin",
		"Access-Control-Request-Method", "X-Amz-If-Match-Size", "X-Amz-Mp-Object-Size", "X-Amz-Bypass-Governance-Retention",
	}
	bodies := []string{
		"", "x", "<", "{}", "[]", "null", "<Delete><Object><Key>a</Key></Object></Delete>", "<Tagging><TagSet/></Tagging>",
		"<CompleteMultipartUpload><Part/></CompleteMultipartUpload>", "<VersioningConfiguration/>", "<a><b></b></a>",
		`{"Version":"2012-10-17","Statement":[{}]}`, "<LifecycleConfiguration><Rule/></LifecycleConfiguration>",
	}
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SampledFrom([]string{"/", "/bucket", "/bucket/", "/bucket/a"}).Draw(t, "path")
		if rapid.Bool().Draw(t, "a strange path") {
			path += sigv4.EncodePath(strangeText(t, "more of the path"))
		}
		var query []string
		for range rapid.IntRange(0, 3).Draw(t, "parameters") {
			p := rapid.SampledFrom(parameters).Draw(t, "parameter")
			if rapid.Bool().Draw(t, "with a value") {
				p += "=" + sigv4.Encode(rapid.OneOf(rapid.SampledFrom([]string{"", "1", "2", "null", "url", "0000000000000001"}), rapid.Custom(func(t *rapid.T) string { return strangeText(t, "value") })).Draw(t, "value"))
			}
			query = append(query, p)
		}
		body := rapid.SampledFrom(bodies).Draw(t, "body")
		method := rapid.SampledFrom([]string{"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"}).Draw(t, "method")
		r := httptest.NewRequestWithContext(context.Background(), method, "http://s3.example"+path+"?"+strings.Join(query, "&"), strings.NewReader(body))
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			value := rapid.OneOf(
				rapid.SampledFrom([]string{"", "*", "true", "bucket/a", "COPY", "REPLACE", "bytes=0-", "CRC32", "1", "https://example.org"}),
				rapid.Custom(func(t *rapid.T) string { return strings.Map(printable, strangeText(t, "value")) }),
			).Draw(t, "value")
			r.Header.Set(rapid.SampledFrom(headers).Draw(t, "header"), value)
		}
		if rapid.Bool().Draw(t, "signed") {
			if err := signer.Sign(r, sigv4.PayloadHash([]byte(body)), time.Now()); err != nil {
				t.Skip(err) // what cannot be signed is refused, and tested elsewhere
			}
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("%s %s: %s", method, r.URL, w.Body)
		}
		if views, open := service.Left(); views != 0 || open != 0 {
			t.Fatalf("%s %s left %d views and %d bodies open", method, r.URL, views, open)
		}
		for name, values := range w.Header() {
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n") {
					t.Fatalf("%s %s: the header %s of the answer is %q", method, r.URL, name, fmt.Sprint(v))
				}
			}
		}
	})
}

// printable leaves out what the library lets no header have.
func printable(r rune) rune {
	if r < 0x20 || r == 0x7f {
		return -1
	}
	return r
}
