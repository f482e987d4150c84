package s3api_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

// content is bytes that are the same in every run.
func content(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b)
	return b
}

func TestAWSClientWritesAndReadsBodiesOfEverySize(t *testing.T) {
	f := start(t, nil)
	f.bucket("bodies")
	c := f.sdk(adminID)
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 1 << 20, 3<<20 + 17} {
		body := content(size)
		key := fmt.Sprint("of ", size)
		put, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bodies"), Key: &key, Body: bytes.NewReader(body)})
		if err != nil {
			t.Fatalf("put of %d bytes: %v", size, err)
		}
		out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bodies"), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatalf("get of %d bytes: %v", size, err)
		}
		got, err := io.ReadAll(out.Body) // the client compares the checksum as it reads
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("get of %d bytes: %v, %d bytes came, equal is %v", size, err, len(got), bytes.Equal(got, body))
		}
		if aws.ToString(out.ETag) != aws.ToString(put.ETag) || aws.ToString(out.ChecksumCRC32) != aws.ToString(put.ChecksumCRC32) || out.ChecksumCRC32 == nil {
			t.Errorf("put answered %v %v, get %v %v", *put.ETag, aws.ToString(put.ChecksumCRC32), *out.ETag, aws.ToString(out.ChecksumCRC32))
		}
	}
}

func TestEveryChecksumIsVerifiedStoredAndGivenBack(t *testing.T) {
	f := start(t, nil)
	f.bucket("sums")
	c := f.sdk(adminID)
	for _, a := range types.ChecksumAlgorithmCrc32.Values() {
		key := string(a)
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("sums"), Key: &key, Body: strings.NewReader("123456789"), ChecksumAlgorithm: a})
		if strings.HasPrefix(key, "XXHASH") || key == "MD5" || key == "SHA512" {
			continue // what the client knows and S3's reference does not list for every region
		}
		if err != nil {
			t.Errorf("put with %s: %v", a, err)
			continue
		}
		out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("sums"), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Errorf("head with %s: %v", a, err)
			continue
		}
		have := map[types.ChecksumAlgorithm]*string{
			types.ChecksumAlgorithmCrc32: out.ChecksumCRC32, types.ChecksumAlgorithmCrc32c: out.ChecksumCRC32C,
			types.ChecksumAlgorithmCrc64nvme: out.ChecksumCRC64NVME, types.ChecksumAlgorithmSha1: out.ChecksumSHA1,
			types.ChecksumAlgorithmSha256: out.ChecksumSHA256,
		}
		if aws.ToString(have[a]) == "" || out.ChecksumType != types.ChecksumTypeFullObject {
			t.Errorf("head with %s: checksum %q of type %q", a, aws.ToString(have[a]), out.ChecksumType)
		}
	}
}

func TestAWSClientBucketOperations(t *testing.T) {
	f := start(t, nil)
	c := f.sdk(adminID)
	for _, name := range []string{"alpha", "beta.1", "gamma-2"} {
		f.bucket(name)
	}
	_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("alpha")})
	if codeOf(err) != "BucketAlreadyOwnedByYou" {
		t.Errorf("making a bucket twice: %v", err)
	}
	_, err = c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("delta"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	if codeOf(err) != "InvalidLocationConstraint" {
		t.Errorf("making a bucket elsewhere: %v", err)
	}
	var names []string
	pages := s3.NewListBucketsPaginator(c, &s3.ListBucketsInput{MaxBuckets: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Buckets {
			names = append(names, *b.Name)
		}
	}
	if d := cmp.Diff([]string{"alpha", "beta.1", "gamma-2"}, names); d != "" {
		t.Error(d)
	}
	prefixed, err := c.ListBuckets(t.Context(), &s3.ListBucketsInput{Prefix: aws.String("b")})
	if err != nil || len(prefixed.Buckets) != 1 || *prefixed.Buckets[0].Name != "beta.1" {
		t.Errorf("buckets that begin with b: %v %v", prefixed, err)
	}
	if out, err := c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("alpha")}); err != nil || aws.ToString(out.BucketRegion) != "us-east-1" {
		t.Errorf("head of a bucket: %v %v", out, err)
	}
	if _, err := c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("nowhere")}); codeOf(err) != "NotFound" {
		t.Errorf("head of a bucket that is not there: %v", err)
	}
	if out, err := c.GetBucketLocation(t.Context(), &s3.GetBucketLocationInput{Bucket: aws.String("alpha")}); err != nil || out.LocationConstraint != "" {
		t.Errorf("location: %v %v", out, err)
	}
	f.put("alpha", "k", "v")
	if _, err := c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("alpha")}); codeOf(err) != "BucketNotEmpty" {
		t.Errorf("deleting a bucket that is not empty: %v", err)
	}
	if _, err := c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("beta.1")}); err != nil {
		t.Errorf("deleting a bucket: %v", err)
	}
	if _, err := c.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("beta.1")}); codeOf(err) != "NoSuchBucket" {
		t.Errorf("deleting a bucket twice: %v", err)
	}
}

func TestAttributesComeBackAsTheyWereGiven(t *testing.T) {
	f := start(t, nil)
	f.bucket("attributes")
	c := f.sdk(adminID)
	in := &s3.PutObjectInput{
		Bucket: aws.String("attributes"), Key: aws.String("k"), Body: strings.NewReader("x"),
		ContentType: aws.String("text/plain; charset=utf-8"), CacheControl: aws.String("no-store"),
		ContentDisposition: aws.String(`attachment; filename="ü.txt"`), ContentEncoding: aws.String("gzip"),
		ContentLanguage: aws.String("de"), WebsiteRedirectLocation: aws.String("/elsewhere"),
		StorageClass: types.StorageClassStandardIa, Tagging: aws.String("a=b+c&d=%2B"),
		Metadata: map[string]string{"plain": "two  words", "umlaut": "=?UTF-8?B?w6TDtsO8?="},
	}
	if _, err := c.PutObject(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: in.Bucket, Key: in.Key})
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]*string{
		"content type":        {in.ContentType, out.ContentType},
		"cache control":       {in.CacheControl, out.CacheControl},
		"content disposition": {in.ContentDisposition, out.ContentDisposition},
		"content encoding":    {in.ContentEncoding, out.ContentEncoding},
		"content language":    {in.ContentLanguage, out.ContentLanguage},
		"redirect":            {in.WebsiteRedirectLocation, out.WebsiteRedirectLocation},
	} {
		if aws.ToString(pair[0]) != aws.ToString(pair[1]) {
			t.Errorf("%s: given %q, got %q", name, aws.ToString(pair[0]), aws.ToString(pair[1]))
		}
	}
	want := map[string]string{"plain": "two  words", "umlaut": "=?UTF-8?b?w6TDtsO8?="}
	if d := cmp.Diff(want, out.Metadata); d != "" {
		t.Error(d)
	}
	if out.StorageClass != types.StorageClassStandardIa || aws.ToInt32(out.TagCount) != 2 {
		t.Errorf("storage class %q, %d tags", out.StorageClass, aws.ToInt32(out.TagCount))
	}
}

func TestConditionsOfReaders(t *testing.T) {
	f := start(t, nil)
	f.bucket("conditions")
	etag, _ := f.put("conditions", "k", "v")
	c := f.sdk(adminID)
	old, soon := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for name, tc := range map[string]struct {
		in   s3.GetObjectInput
		want string
	}{
		"the ETag is that":                                 {s3.GetObjectInput{IfMatch: &etag}, ""},
		"the ETag is another":                              {s3.GetObjectInput{IfMatch: aws.String(`"0"`)}, "PreconditionFailed"},
		"one of the ETags is that":                         {s3.GetObjectInput{IfMatch: aws.String(`"0", ` + etag)}, ""},
		"the ETag is not that":                             {s3.GetObjectInput{IfNoneMatch: &etag}, "NotModified"},
		"the ETag is none":                                 {s3.GetObjectInput{IfNoneMatch: aws.String("*")}, "NotModified"},
		"modified since":                                   {s3.GetObjectInput{IfModifiedSince: &old}, ""},
		"not modified since":                               {s3.GetObjectInput{IfModifiedSince: &soon}, "NotModified"},
		"unmodified since":                                 {s3.GetObjectInput{IfUnmodifiedSince: &soon}, ""},
		"not unmodified since":                             {s3.GetObjectInput{IfUnmodifiedSince: &old}, "PreconditionFailed"},
		"an ETag that matches makes a time not count":      {s3.GetObjectInput{IfMatch: &etag, IfUnmodifiedSince: &old}, ""},
		"an ETag that does not match counts before a time": {s3.GetObjectInput{IfNoneMatch: &etag, IfModifiedSince: &old}, "NotModified"},
		"an ETag that is another makes a time not count":   {s3.GetObjectInput{IfNoneMatch: aws.String(`"0"`), IfModifiedSince: &soon}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tc.in.Bucket, tc.in.Key = aws.String("conditions"), aws.String("k")
			out, err := c.GetObject(t.Context(), &tc.in)
			if err == nil {
				out.Body.Close()
			}
			if got := codeOf(err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestRanges(t *testing.T) {
	f := start(t, nil)
	f.bucket("ranges")
	body := string(content(200_000)) // in extents
	f.put("ranges", "k", body)
	f.put("ranges", "empty", "")
	for _, tc := range []struct {
		key, text string
		status    int
		from, to  int
	}{
		{"k", "bytes=0-0", 206, 0, 1},
		{"k", "bytes=10-19", 206, 10, 20},
		{"k", "bytes=65530-65545", 206, 65530, 65546},
		{"k", "bytes=199990-", 206, 199990, 200000},
		{"k", "bytes=199990-999999999", 206, 199990, 200000},
		{"k", "bytes=-5", 206, 199995, 200000},
		{"k", "bytes=-999999999", 206, 0, 200000},
		{"k", "bytes=0-99999999999999999999999", 206, 0, 200000},
		{"k", "bytes=200000-", 416, 0, 0},
		{"k", "bytes=-0", 416, 0, 0},
		{"k", "bytes=5-4", 200, 0, 200000},
		{"k", "bytes=0-1,3-4", 200, 0, 200000},
		{"k", "bytes=a-b", 200, 0, 200000},
		{"k", "bytes=-", 200, 0, 200000},
		{"k", "items=0-1", 200, 0, 200000},
		{"k", "bytes=+1-2", 200, 0, 200000},
		{"empty", "bytes=0-", 416, 0, 0},
		{"empty", "bytes=-1", 416, 0, 0},
	} {
		r := f.do(call{method: "GET", path: "/ranges/" + tc.key, id: adminID, header: map[string]string{"Range": tc.text}})
		if r.status != tc.status {
			t.Errorf("%s of %s: status %d, want %d", tc.text, tc.key, r.status, tc.status)
			continue
		}
		switch tc.status {
		case 416:
			r.want(t, 416, "InvalidRange")
		case 206:
			if want := fmt.Sprintf("bytes %d-%d/%d", tc.from, tc.to-1, len(body)); r.header.Get("Content-Range") != want {
				t.Errorf("%s: Content-Range %q, want %q", tc.text, r.header.Get("Content-Range"), want)
			}
			fallthrough
		default:
			if r.body != body[tc.from:tc.to] {
				t.Errorf("%s: other bytes came than were asked for", tc.text)
			}
		}
	}
	etag := f.do(call{method: "HEAD", path: "/ranges/k", id: adminID}).header.Get("ETag")
	for text, status := range map[string]int{etag: 206, `"0"`: 200} {
		r := f.do(call{method: "GET", path: "/ranges/k", id: adminID, header: map[string]string{"Range": "bytes=0-1", "If-Range": text}})
		if r.status != status {
			t.Errorf("If-Range %s: status %d, want %d", text, r.status, status)
		}
	}
	for number, code := range map[string]string{"1": "", "2": "InvalidPartNumber", "0": "InvalidArgument", "x": "InvalidArgument"} {
		r := f.do(call{method: "GET", path: "/ranges/k?partNumber=" + number, id: adminID})
		if r.code != code {
			t.Errorf("part %s: %d %q, want %q", number, r.status, r.code, code)
		}
	}
}

// TestACacheIsToldWhatItKeepsOfAnObjectThatIsNotModified: it takes over what a 304 says.
func TestACacheIsToldWhatItKeepsOfAnObjectThatIsNotModified(t *testing.T) {
	f := start(t, nil)
	f.versioned("bucket")
	header := map[string]string{"Cache-Control": "max-age=60", "Expires": "Wed, 21 Oct 2065 07:28:00 GMT", "Content-Language": "de"}
	put := f.do(call{method: "PUT", path: "/bucket/key", id: adminID, body: "x", header: header})
	ask := func(method, query string) *reply {
		return f.do(call{method: method, path: "/bucket/key" + query, id: adminID, header: map[string]string{"If-None-Match": put.header.Get("Etag")}})
	}
	for _, method := range []string{"GET", "HEAD"} {
		r := ask(method, "")
		h := r.header
		if r.status != http.StatusNotModified || h.Get("Cache-Control") != header["Cache-Control"] || h.Get("Expires") != header["Expires"] || h.Get("Content-Language") != "" ||
			h.Get("Etag") != put.header.Get("Etag") || h.Get("X-Amz-Version-Id") != put.header.Get("X-Amz-Version-Id") || h.Get("Last-Modified") == "" {
			t.Errorf("%s: %d %v", method, r.status, h)
		}
	}
	if h := ask("GET", "?response-cache-control=no-store").header; h.Get("Cache-Control") != "no-store" || h.Get("Expires") != header["Expires"] {
		t.Errorf("with what the link asks for: %v", h)
	}
}
