package s3api_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
)

func TestMinioClient(t *testing.T) {
	f := start(t, nil)
	c := f.minio(adminID)
	ctx := t.Context()
	if err := c.MakeBucket(ctx, "minio", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if ok, err := c.BucketExists(ctx, "minio"); !ok || err != nil {
		t.Errorf("the bucket exists: %v %v", ok, err)
	}
	if ok, err := c.BucketExists(ctx, "other"); ok || err != nil {
		t.Errorf("another bucket exists: %v %v", ok, err)
	}
	for name, o := range map[string]minio.PutObjectOptions{
		"plain":         {ContentType: "text/plain", UserMetadata: map[string]string{"Colour": "blue"}},
		"with md5":      {SendContentMd5: true},
		"with a sha256": {DisableContentSha256: false, Checksum: minio.ChecksumSHA256},
		"with crc64":    {Checksum: minio.ChecksumCRC64NVME},
		"with tags":     {UserTags: map[string]string{"a": "b c", "d": "e+f"}},
	} {
		body := content(100_000)
		if _, err := c.PutObject(ctx, "minio", name, bytes.NewReader(body), int64(len(body)), o); err != nil {
			t.Errorf("%s: put: %v", name, err)
			continue
		}
		got, err := c.GetObject(ctx, "minio", name, minio.GetObjectOptions{Checksum: true})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(got)
		if err != nil || !bytes.Equal(b, body) {
			t.Errorf("%s: get: %v, %d bytes", name, err, len(b))
		}
	}
	info, err := c.StatObject(ctx, "minio", "plain", minio.StatObjectOptions{})
	if err != nil || info.ContentType != "text/plain" || info.UserMetadata["Colour"] != "blue" {
		t.Errorf("stat: %+v %v", info, err)
	}
	_, err = c.CopyObject(ctx, minio.CopyDestOptions{Bucket: "minio", Object: "a copy+more"}, minio.CopySrcOptions{Bucket: "minio", Object: "plain"})
	if err != nil {
		t.Errorf("copy: %v", err)
	}
	for e := range c.RemoveObjects(ctx, "minio", c.ListObjects(ctx, "minio", minio.ListObjectsOptions{Recursive: true}), minio.RemoveObjectsOptions{}) {
		t.Errorf("remove %s: %v", e.ObjectName, e.Err)
	}
	if err := c.RemoveBucket(ctx, "minio"); err != nil {
		t.Errorf("remove the bucket: %v", err)
	}
	buckets, err := c.ListBuckets(ctx)
	if err != nil || len(buckets) != 0 {
		t.Errorf("buckets that are left: %v %v", buckets, err)
	}
}

func TestPresignedLinks(t *testing.T) {
	f := start(t, nil)
	f.bucket("links")
	f.put("links", "a key+ü", "linked")
	c := f.minio(adminID)
	link, err := c.PresignedGetObject(t.Context(), "links", "a key+ü", time.Minute, url.Values{"response-content-disposition": {`attachment; filename="x y.txt"`}})
	if err != nil {
		t.Fatal(err)
	}
	get := func(u string) (*http.Response, string) {
		resp, err := http.Get(u) //nolint:gosec,noctx // as a browser does
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp, string(b)
	}
	resp, body := get(link.String())
	if resp.StatusCode != 200 || body != "linked" || resp.Header.Get("Content-Disposition") != `attachment; filename="x y.txt"` {
		t.Errorf("a link: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	if resp, body := get(link.String() + "&response-content-type=text%2Fhtml"); resp.StatusCode != 403 {
		t.Errorf("a link with more than was signed: %d %s", resp.StatusCode, body)
	}
	upload, err := c.PresignedPutObject(t.Context(), "links", "uploaded", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "PUT", upload.String(), strings.NewReader("by link"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err = http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got, _ := f.get("links", "uploaded")
	if d := cmp.Diff("by link", got); resp.StatusCode != 200 || d != "" {
		t.Errorf("an upload by link: %d %s", resp.StatusCode, d)
	}
}
