package s3api_test

import (
	"bytes"
	"net/http"
	"sync/atomic"
	"testing"

	"chainfire/object"
)

// rowCount counts the reads of rows.
type rowCount struct {
	object.Reader
	n *atomic.Int64
}

func (r rowCount) Get(row []byte) ([]byte, bool, error) {
	r.n.Add(1)
	return r.Reader.Get(row)
}

func (r rowCount) Cursor(from, to []byte) (object.Cursor, error) {
	r.n.Add(1)
	return r.Reader.Cursor(from, to)
}

// TestOfAnObjectNoMoreIsReadThanIsAskedFor: where the bytes of an object of many parts are takes as
// many reads as it has parts, which a question about it must not pay.
func TestOfAnObjectNoMoreIsReadThanIsAskedFor(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	up := f.upload(nil)
	one := bytes.Repeat([]byte("x"), least)
	first, err := f.part(up.UploadId, 1, one, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.part(up.UploadId, 2, one, nil)
	if err != nil {
		t.Fatal(err)
	}
	third, err := f.part(up.UploadId, 3, []byte("end"), nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := f.complete(up.UploadId, nil, named(1, first), named(2, second), named(3, third))
	if err != nil {
		t.Fatal(err)
	}
	var reads atomic.Int64
	f.service.OnView = func(r object.Reader) object.Reader { return rowCount{r, &reads} }
	count := func(c call, status int, body string) int64 {
		t.Helper()
		c.id = adminID
		before := reads.Load()
		if r := f.do(c); r.status != status || body != "" && r.body != body {
			t.Errorf("%s %s %v: %d, %.50q", c.method, c.path, c.header, r.status, r.body)
		}
		return reads.Load() - before
	}
	const manifest, body = 1, 1 // reads of each
	least := count(call{method: "HEAD", path: "/bucket/key"}, http.StatusOK, "")
	for _, c := range []struct {
		what   string
		call   call
		status int
		body   string
		more   int64
	}{
		{"all of it", call{method: "GET", path: "/bucket/key"}, 200, "", manifest + 3*body},
		{"what is known", call{method: "GET", path: "/bucket/key", header: map[string]string{"If-None-Match": *done.ETag}}, 304, "", -1}, // nor the rules
		{"what is another", call{method: "GET", path: "/bucket/key", header: map[string]string{"If-Match": "x"}}, 412, "", -1},
		{"the first byte", call{method: "GET", path: "/bucket/key", header: map[string]string{"Range": "bytes=0-0"}}, 206, "x", manifest + body},
		{"the end", call{method: "GET", path: "/bucket/key", header: map[string]string{"Range": "bytes=-3"}}, 206, "end", manifest + body},
		{"both sides of a seam", call{method: "GET", path: "/bucket/key", header: map[string]string{"Range": "bytes=-4"}}, 206, "xend", manifest + 2*body},
		{"a part", call{method: "GET", path: "/bucket/key?partNumber=3"}, 206, "end", manifest + body},
		{"the head of a part", call{method: "HEAD", path: "/bucket/key?partNumber=3"}, 206, "", manifest},
		{"a range", call{method: "HEAD", path: "/bucket/key", header: map[string]string{"Range": "bytes=0-0"}}, 206, "", 0},
	} {
		if got := count(c.call, c.status, c.body) - least; got != c.more {
			t.Errorf("%s takes %d reads more than a HEAD, not %d", c.what, got, c.more)
		}
	}
	copying := count(call{method: "PUT", path: "/bucket/copy", header: map[string]string{"X-Amz-Copy-Source": "/bucket/key"}}, 200, "")
	summed := count(call{method: "PUT", path: "/bucket/copy", header: map[string]string{"X-Amz-Copy-Source": "/bucket/key", "X-Amz-Checksum-Algorithm": "SHA256"}}, 200, "")
	if summed-copying != manifest+3*body {
		t.Errorf("a copy takes %d reads, and one that is summed anew %d", copying, summed)
	}
}
