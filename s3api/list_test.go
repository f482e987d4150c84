package s3api_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"chainfire/s3api"
	"chainfire/s3api/s3test"
)

var listed = []string{"a", "b/1", "b/2", "b/c/3", "d e", "d+f", "ü/x", "z//y"}

func startListed(t *testing.T) *fixture {
	t.Helper()
	f := start(t, nil)
	f.bucket("listed")
	for _, k := range listed {
		f.put("listed", k, k)
	}
	return f
}

// page is one page of a listing, its prefixes with a "/ " before them.
func page(contents []types.Object, prefixes []types.CommonPrefix) (out []string) {
	for _, c := range contents {
		out = append(out, *c.Key)
	}
	for _, p := range prefixes {
		out = append(out, "prefix "+*p.Prefix)
	}
	return out
}

func TestListingsPageByPage(t *testing.T) {
	f := startListed(t)
	c := f.sdk(adminID)
	for _, tc := range []struct {
		name, prefix, delimiter, after string
		size                           int32
		want                           [][]string
	}{
		{"all", "", "", "", 1000, [][]string{{"a", "b/1", "b/2", "b/c/3", "d e", "d+f", "z//y", "ü/x"}}},
		{"three at a time", "", "", "", 3, [][]string{{"a", "b/1", "b/2"}, {"b/c/3", "d e", "d+f"}, {"z//y", "ü/x"}}},
		{"by folder", "", "/", "", 1000, [][]string{{"a", "d e", "d+f", "prefix b/", "prefix z/", "prefix ü/"}}},
		{"by folder, two at a time", "", "/", "", 2, [][]string{{"a", "prefix b/"}, {"d e", "d+f"}, {"prefix z/", "prefix ü/"}}},
		{"within a folder", "b/", "/", "", 1000, [][]string{{"b/1", "b/2", "prefix b/c/"}}},
		{"within a folder without a name", "z/", "/", "", 1000, [][]string{{"prefix z//"}}},
		{"after one", "", "", "b/2", 1000, [][]string{{"b/c/3", "d e", "d+f", "z//y", "ü/x"}}},
		{"nothing", "nothing", "", "", 1000, [][]string{nil}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := &s3.ListObjectsV2Input{Bucket: aws.String("listed"), Prefix: &tc.prefix, Delimiter: &tc.delimiter, MaxKeys: &tc.size, StartAfter: &tc.after}
			var got [][]string
			pages := s3.NewListObjectsV2Paginator(c, in)
			for pages.HasMorePages() {
				out, err := pages.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, page(out.Contents, out.CommonPrefixes))
				if int(*out.KeyCount) != len(out.Contents)+len(out.CommonPrefixes) {
					t.Errorf("KeyCount is %d", *out.KeyCount)
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("second version: %s", d)
			}
			got = nil
			for marker := tc.after; ; {
				out, err := c.ListObjects(t.Context(), &s3.ListObjectsInput{Bucket: aws.String("listed"), Prefix: &tc.prefix, Delimiter: &tc.delimiter, MaxKeys: &tc.size, Marker: &marker})
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, page(out.Contents, out.CommonPrefixes))
				if !*out.IsTruncated {
					break
				}
				marker = *out.NextMarker
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("first version: %s", d)
			}
		})
	}
}

func TestAnotherClientListsTheSame(t *testing.T) {
	f := startListed(t)
	var got []string
	for o := range f.minio(adminID).ListObjects(t.Context(), "listed", minio.ListObjectsOptions{Recursive: true, MaxKeys: 3}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		got = append(got, o.Key)
	}
	if d := cmp.Diff([]string{"a", "b/1", "b/2", "b/c/3", "d e", "d+f", "z//y", "ü/x"}, got); d != "" {
		t.Error(d)
	}
}

func TestKeysThatXMLCannotHoldAreListedEncoded(t *testing.T) {
	f := start(t, nil)
	f.bucket("odd")
	f.put("odd", "bell\a & <tag>", "x")
	r := f.do(call{method: "GET", path: "/odd?list-type=2&encoding-type=url", id: adminID})
	if want := "<Key>bell%07%20%26%20%3Ctag%3E</Key>"; !strings.Contains(r.body, want) {
		t.Errorf("encoded: %s", r.body)
	}
	r = f.do(call{method: "GET", path: "/odd?list-type=2", id: adminID})
	if want := "<Key>bell&#x7; &amp; &lt;tag&gt;</Key>"; !strings.Contains(r.body, want) {
		t.Errorf("as it is: %s", r.body)
	}
}

func TestListingsRefuseWhatIsOutOfBounds(t *testing.T) {
	f := startListed(t)
	for _, q := range []string{
		"max-keys=-1", "max-keys=2147483648", "max-keys=x", "encoding-type=base64", "list-type=2&continuation-token=x",
		"list-type=2&continuation-token=", "prefix=" + strings.Repeat("x", 1025), "prefix=%ff", "delimiter=%ff",
		"versions&version-id-marker=null", "versions&key-marker=a&version-id-marker=x", "versions&key-marker=none&version-id-marker=null",
	} {
		f.do(call{method: "GET", path: "/listed?" + q, id: adminID}).want(t, 400, "InvalidArgument")
	}
	r := f.do(call{method: "GET", path: "/listed?list-type=2&max-keys=0", id: adminID})
	if r.status != 200 || !strings.Contains(r.body, "<IsTruncated>false</IsTruncated>") || strings.Contains(r.body, "<Key>") {
		t.Errorf("a page of none: %d %s", r.status, r.body)
	}
	f.do(call{method: "GET", path: "/nowhere?list-type=2&max-keys=0", id: adminID}).want(t, 404, "NoSuchBucket")
}

func TestListingsOfVersions(t *testing.T) {
	f := start(t, nil)
	f.bucket("versions")
	f.put("versions", "a", "before versions")
	f.change(versioning("versions"))
	var ids []string
	for i := range 3 {
		_, id := f.put("versions", "a", fmt.Sprint(i))
		ids = append(ids, id)
	}
	c := f.sdk(adminID)
	marker, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("versions"), Key: aws.String("b")})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"a " + ids[2] + " true", "a " + ids[1] + " false", "a " + ids[0] + " false", "a null false",
		"b " + *marker.VersionId + " marker true",
	}
	for _, size := range []int32{1, 2, 1000} {
		var got []string
		pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: aws.String("versions"), MaxKeys: &size})
		for pages.HasMorePages() {
			out, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range out.Versions {
				got = append(got, fmt.Sprintf("%s %s %v", *v.Key, *v.VersionId, *v.IsLatest))
			}
			for _, m := range out.DeleteMarkers {
				got = append(got, fmt.Sprintf("%s %s marker %v", *m.Key, *m.VersionId, *m.IsLatest))
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d at a time: %s", size, d)
		}
	}
	r := f.do(call{method: "GET", path: "/versions?versions&key-marker=a&version-id-marker=null", id: adminID})
	if strings.Contains(r.body, "<Version>") || !strings.Contains(r.body, "<DeleteMarker>") {
		t.Errorf("after the null version: %s", r.body)
	}
}

// watching is a writer of answers that looks, at each piece of one, which views are open.
type watching struct {
	*httptest.ResponseRecorder
	service *s3test.Service
	held    int
}

func (w *watching) Write(p []byte) (int, error) {
	views, _ := w.service.Left()
	w.held = max(w.held, views)
	return w.ResponseRecorder.Write(p)
}

// TestNoAnswerHoldsTheStateWhileItIsWritten: a client that reads slowly would keep alive all that was
// deleted meanwhile.
func TestNoAnswerHoldsTheStateWhileItIsWritten(t *testing.T) {
	f := start(t, nil)
	f.versioned("bucket")
	f.put("bucket", "key", "hello")
	upload := f.beginUpload("/bucket/parts")
	server := s3api.New(s3api.Options{Service: f.service, Logger: slog.New(slog.DiscardHandler)})
	for _, path := range []string{
		"/", "/?max-buckets=1", "/bucket", "/bucket?list-type=2", "/bucket?versions", "/bucket?versions&max-keys=0", "/bucket?uploads",
		"/bucket/parts?uploadId=" + upload, "/bucket/key", "/bucket/key?attributes", "/bucket/key?tagging", "/bucket?versioning", "/bucket?acl",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		r.Header.Set("X-Amz-Object-Attributes", "ETag")
		if err := signer(adminID).Sign(r, hashOf(""), time.Now()); err != nil {
			t.Fatal(err)
		}
		w := &watching{ResponseRecorder: httptest.NewRecorder(), service: f.service}
		server.ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.held != 0 {
			t.Errorf("%s: %d, and %d views are open while it is written", path, w.Code, w.held)
		}
	}
}
