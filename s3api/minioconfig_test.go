package s3api_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/cors"
	"github.com/minio/minio-go/v7/pkg/lifecycle"
	"github.com/minio/minio-go/v7/pkg/tags"
)

// TestAnotherClientUploadsInParts, of a body whose length it does not know.
func TestAnotherClientUploadsInParts(t *testing.T) {
	if testing.Short() {
		t.Skip("megabytes in signed chunks take seconds under the race detector")
	}
	f := start(t, nil)
	f.bucket("bucket")
	c := f.minio(adminID)
	body := content(least + 1000)
	info, err := c.PutObject(t.Context(), "bucket", "key", io.MultiReader(bytes.NewReader(body)), -1, minio.PutObjectOptions{PartSize: least, ContentType: "text/x"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(info.ETag, "-2") || info.Size != int64(len(body)) {
		t.Errorf("the upload is %+v", info)
	}
	got, err := c.GetObject(t.Context(), "bucket", "key", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if b, err := io.ReadAll(got); err != nil || !bytes.Equal(b, body) {
		t.Errorf("%d bytes are read, %v", len(b), err)
	}
	core := minio.Core{Client: c}
	if _, err := core.NewMultipartUpload(t.Context(), "bucket", "left", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	left := 0
	for u := range c.ListIncompleteUploads(t.Context(), "bucket", "", true) {
		if u.Err != nil {
			t.Fatal(u.Err)
		}
		left++
	}
	if left != 1 {
		t.Errorf("%d uploads are open", left)
	}
	if err := c.RemoveIncompleteUpload(t.Context(), "bucket", "left"); err != nil {
		t.Error(err)
	}
	// A copy of parts, which the client puts together from two objects.
	f.put("bucket", "tail", "the tail")
	dst, srcs := minio.CopyDestOptions{Bucket: "bucket", Object: "joined"}, []minio.CopySrcOptions{{Bucket: "bucket", Object: "key"}, {Bucket: "bucket", Object: "tail"}}
	if _, err := c.ComposeObject(t.Context(), dst, srcs...); err != nil {
		t.Fatal(err)
	}
	if b, _ := f.get("bucket", "joined"); b != string(body)+"the tail" {
		t.Errorf("the object put together has %d bytes", len(b))
	}
}

// TestAnotherClientConfiguresBuckets as it writes documents.
func TestAnotherClientConfiguresBuckets(t *testing.T) {
	f := start(t, nil)
	ctx, c := t.Context(), f.minio(adminID)
	if err := c.MakeBucket(ctx, "bucket", minio.MakeBucketOptions{ObjectLocking: true}); err != nil {
		t.Fatal(err)
	}
	f.put("bucket", "key", "x")
	bucketTags, err := tags.MapToBucketTags(map[string]string{"team": "blue"})
	if err != nil {
		t.Fatal(err)
	}
	objectTags, err := tags.MapToObjectTags(map[string]string{"kind": "x"})
	if err != nil {
		t.Fatal(err)
	}
	rules := lifecycle.NewConfiguration()
	rules.Rules = []lifecycle.Rule{{
		ID: "r", Status: "Enabled", RuleFilter: lifecycle.Filter{Prefix: "tmp/"}, Expiration: lifecycle.Expiration{Days: 3},
		AbortIncompleteMultipartUpload: lifecycle.AbortIncompleteMultipartUpload{DaysAfterInitiation: 1},
	}}
	mode, days, unit, until := minio.Governance, uint(1), minio.Days, time.Now().Add(time.Hour)
	hold := minio.LegalHoldDisabled
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::bucket/*"]}]}`
	for name, set := range map[string]func(context.Context) error{
		"versioning": func(ctx context.Context) error { return c.EnableVersioning(ctx, "bucket") },
		"tags":       func(ctx context.Context) error { return c.SetBucketTagging(ctx, "bucket", bucketTags) },
		"object tags": func(ctx context.Context) error {
			return c.PutObjectTagging(ctx, "bucket", "key", objectTags, minio.PutObjectTaggingOptions{})
		},
		"lifecycle": func(ctx context.Context) error { return c.SetBucketLifecycle(ctx, "bucket", rules) },
		"policy":    func(ctx context.Context) error { return c.SetBucketPolicy(ctx, "bucket", policy) },
		"cors": func(ctx context.Context) error {
			return c.SetBucketCors(ctx, "bucket", cors.NewConfig([]cors.Rule{{AllowedOrigin: []string{"https://a.example.com"}, AllowedMethod: []string{"GET"}}}))
		},
		"lock": func(ctx context.Context) error {
			return c.SetObjectLockConfig(ctx, "bucket", &mode, &days, &unit)
		},
		"retention": func(ctx context.Context) error {
			return c.PutObjectRetention(ctx, "bucket", "key", minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
		},
		"hold": func(ctx context.Context) error {
			return c.PutObjectLegalHold(ctx, "bucket", "key", minio.PutObjectLegalHoldOptions{Status: &hold})
		},
	} {
		if err := set(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := c.GetBucketTagging(ctx, "bucket"); err != nil || got.ToMap()["team"] != "blue" {
		t.Errorf("tags: %v, %v", got, err)
	}
	if got, err := c.GetObjectTagging(ctx, "bucket", "key", minio.GetObjectTaggingOptions{}); err != nil || got.ToMap()["kind"] != "x" {
		t.Errorf("object tags: %v, %v", got, err)
	}
	if got, err := c.GetBucketLifecycle(ctx, "bucket"); err != nil || len(got.Rules) != 1 || got.Rules[0].Expiration.Days != 3 || got.Rules[0].RuleFilter.Prefix != "tmp/" {
		t.Errorf("lifecycle: %+v, %v", got, err)
	}
	if got, err := c.GetBucketPolicy(ctx, "bucket"); err != nil || got != policy {
		t.Errorf("policy: %s, %v", got, err)
	}
	if got, err := c.GetBucketCors(ctx, "bucket"); err != nil || len(got.CORSRules) != 1 {
		t.Errorf("CORS: %+v, %v", got, err)
	}
	if _, m, v, u, err := c.GetObjectLockConfig(ctx, "bucket"); err != nil || *m != mode || *v != days || *u != unit {
		t.Errorf("lock: %v", err)
	}
	if m, u, err := c.GetObjectRetention(ctx, "bucket", "key", ""); err != nil || *m != mode || u.Sub(until).Abs() > time.Second {
		t.Errorf("retention: %v, %v", u, err)
	}
	if got, err := c.GetObjectLegalHold(ctx, "bucket", "key", minio.GetObjectLegalHoldOptions{}); err != nil || *got != hold {
		t.Errorf("hold: %v, %v", got, err)
	}
	if got, err := c.GetObjectAttributes(ctx, "bucket", "key", minio.ObjectAttributesOptions{}); err != nil || got.ObjectSize != 1 {
		t.Errorf("attributes: %+v, %v", got, err)
	}
}

// TestAnotherClientSignsForms: its policies are taken, and bind.
func TestAnotherClientSignsForms(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	p := minio.NewPostPolicy()
	for _, err := range []error{
		p.SetBucket("bucket"), p.SetKeyStartsWith("user/"), p.SetExpires(time.Now().Add(time.Hour)), p.SetContentType("image/png"),
		p.SetContentLengthRange(1, 100), p.SetSuccessStatusAction("201"), p.SetUserMetadata("who", "me"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	to, fields, err := f.minio(adminID).PresignedPostPolicy(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	fields["key"] = "user/${filename}"
	w := &webForm{bucket: strings.Trim(to.Path, "/"), fields: fields, filename: "photo.jpg", file: "the bytes"}
	f.post(w).want(t, 201, "")
	if body, _ := f.get("bucket", "user/photo.jpg"); body != "the bytes" {
		t.Errorf("the object is %q", body)
	}
	fields["key"] = "other/${filename}"
	f.post(w).want(t, 403, "AccessDenied")
}
