package s3api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chainfire/object"
	"chainfire/s3api"
)

// counted counts the views that have all that was acknowledged: each is a question to the leader.
type counted struct {
	object.Service
	views atomic.Int64
}

func (c *counted) View(ctx context.Context) (*object.View, error) {
	c.views.Add(1)
	return c.Service.View(ctx)
}

// startCounted is start, and how many views a request took.
func startCounted(t *testing.T) (*fixture, func(call) (*reply, int64)) {
	t.Helper()
	c := &counted{}
	f := start(t, func(o *s3api.Options) {
		c.Service = o.Service
		o.Service = c
	})
	return f, func(q call) (*reply, int64) {
		t.Helper()
		q.id = adminID
		before := c.views.Load()
		r := f.do(q)
		return r, c.views.Load() - before
	}
}

// beginUpload begins an upload, and returns its id.
func (f *fixture) beginUpload(path string) string {
	f.t.Helper()
	r := f.do(call{method: "POST", path: path + "?uploads", id: adminID})
	r.want(f.t, http.StatusOK, "")
	_, rest, _ := strings.Cut(r.body, "<UploadId>")
	id, _, _ := strings.Cut(rest, "</UploadId>")
	return id
}

func TestARequestAsksForTheStateOnce(t *testing.T) {
	f, views := startCounted(t)
	f.bucket("bucket")
	f.put("bucket", "key", "hello")
	upload := f.beginUpload("/bucket/key")
	for _, c := range []struct {
		call
		most int64
	}{
		{call{method: "GET", path: "/bucket/key"}, 1},
		{call{method: "GET", path: "/bucket/key?uploadId=" + upload}, 1},
		{call{method: "POST", path: "/bucket/key?uploads"}, 0},
		{call{method: "PUT", path: "/bucket/key?tagging", body: "<Tagging><TagSet/></Tagging>"}, 0},
		{call{method: "DELETE", path: "/bucket/key?tagging"}, 0},
	} {
		if r, n := views(c.call); r.status/100 != 2 || n > c.most {
			t.Errorf("%s %s: %d, with %d views", c.method, c.path, r.status, n)
		}
	}
}

// TestAnUploadThatWasBegunIsAnswered: a client that is told of an error does not know the upload, and
// leaves it for good.
func TestAnUploadThatWasBegunIsAnswered(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	ctx, cancel := context.WithCancel(t.Context())
	f.service.OnChange = func(*object.Change) error {
		cancel() // the state cannot be read any more
		return nil
	}
	server := s3api.New(s3api.Options{Service: f.service, Logger: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/bucket/key?uploads", http.NoBody)
	if err := signer(adminID).Sign(r, hashOf(""), time.Now()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "<UploadId>") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

// TestNoOperationPassesOverAHeaderThatAsksForMore: who asks for a key of encryption is not to take the
// answer for what was kept with it.
func TestNoOperationPassesOverAHeaderThatAsksForMore(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.put("bucket", "key", "hello")
	upload := f.beginUpload("/bucket/key")
	for _, path := range []string{
		"GET /bucket/key", "HEAD /bucket/key", "GET /bucket/key?attributes", "GET /bucket/key?tagging", "POST /bucket/key?uploadId=" + upload,
		"PUT /bucket/key", "PUT /other", "PUT /bucket/key?acl", "POST /bucket/key?uploads", "PUT /bucket/key?partNumber=1&uploadId=" + upload, "DELETE /bucket/key", "GET /bucket",
	} {
		method, path, _ := strings.Cut(path, " ")
		for name, value := range map[string]string{"x-amz-server-side-encryption-customer-algorithm": "AES256", "x-amz-acl": "public-read"} {
			c := call{method: method, path: path, id: adminID, header: map[string]string{name: value, "X-Amz-Object-Attributes": "ETag"}}
			want := map[string]int{"public-read": 400, "AES256": 501}[value]
			if r := f.do(c); r.status != want {
				t.Errorf("%s %s with %s: %d %s", method, path, name, r.status, r.body)
			}
		}
	}
}
