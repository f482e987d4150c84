package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/lifecycle"
	"github.com/minio/minio-go/v7/pkg/tags"
)

// minioGo is what minio-go does in one bucket, at each endpoint in turn.
type minioGo struct {
	clients []*minio.Client
	n       int
	bucket  string
	lacks   []string
}

func (m *minioGo) next() *minio.Client {
	m.n++
	return m.clients[m.n%len(m.clients)]
}

// s3MinioGo runs minio-go: over HTTP it sends bodies in signed chunks.
func s3MinioGo(t *testing.T, s *s3Service) {
	m := &minioGo{bucket: "minio-go", lacks: s.lacks}
	for _, e := range s.endpoints {
		c, err := minio.New(e, &minio.Options{Creds: credentials.NewStaticV4(s3AccessKey, s3Secret, ""), MaxRetries: 1, TrailingHeaders: true})
		if err != nil {
			t.Fatal(err)
		}
		m.clients = append(m.clients, c)
	}
	o := newOperations(t)
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"MakeBucket, BucketExists, ListBuckets, GetBucketLocation", m.buckets},
		{"PutObject, GetObject, StatObject of many sizes", m.sizes},
		{"PutObject of a size that is not known", m.unknownSize},
		{"PutObject with every checksum", m.checksums},
		{"GetObject: Seek, ReadAt, ranges", m.seeks},
		{"PutObject with user metadata, tags and headers", m.metadata},
		{"CopyObject, ComposeObject", m.copies},
		{"ListObjects: recursive, by folder, start after, V1", m.lists},
		{"SetBucketVersioning, versions", m.versions},
		{"SetBucketPolicy, SetBucketLifecycle, tagging", m.settings},
		{"PresignedPutObject, PresignedGetObject, PresignedPostPolicy", m.presigned},
		{"conditional PutObject", m.conditions},
		{"ListIncompleteUploads, RemoveIncompleteUpload", m.incomplete},
		{"RemoveObjects, RemoveBucket", m.removal},
	} {
		o.do(step.name, func() error { return step.do(t.Context()) })
	}
}

func (m *minioGo) put(ctx context.Context, key string, content []byte, o minio.PutObjectOptions) (minio.UploadInfo, error) {
	return m.next().PutObject(ctx, m.bucket, key, bytes.NewReader(content), int64(len(content)), o)
}

// holds says how an object differs from what it must be.
func (m *minioGo) holds(ctx context.Context, key string, want []byte, o minio.GetObjectOptions) error {
	r, err := m.next().GetObject(ctx, m.bucket, key, o)
	if err != nil {
		return err
	}
	have, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(have, want) {
		err = fmt.Errorf("%s has %d bytes that are not the %d that were put", key, len(have), len(want))
	}
	return errors.Join(err, r.Close())
}

func (m *minioGo) buckets(ctx context.Context) error {
	if err := m.next().MakeBucket(ctx, m.bucket, minio.MakeBucketOptions{}); err != nil {
		return err
	}
	there, err := m.next().BucketExists(ctx, m.bucket)
	if err == nil && !there {
		err = errors.New("the bucket does not exist")
	}
	where, locErr := m.next().GetBucketLocation(ctx, m.bucket)
	if locErr == nil && where != "us-east-1" {
		locErr = fmt.Errorf("the location is %q", where)
	}
	all, listErr := m.next().ListBuckets(ctx)
	if listErr == nil && !slices.ContainsFunc(all, func(b minio.BucketInfo) bool { return b.Name == m.bucket }) {
		listErr = errors.New("the bucket is not listed")
	}
	return errors.Join(err, locErr, listErr)
}

func (m *minioGo) sizes(ctx context.Context) error {
	for _, size := range []int{0, 1, 65_535, 65_536, 65_537, 1 << 20, 17 << 20} {
		content := noise(size)
		key := fmt.Sprint("size/", size)
		if _, err := m.put(ctx, key, content, minio.PutObjectOptions{PartSize: 5 << 20}); err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
		info, err := m.next().StatObject(ctx, m.bucket, key, minio.StatObjectOptions{})
		if err == nil && info.Size != int64(size) {
			err = fmt.Errorf("%s is said to have %d bytes", key, info.Size)
		}
		if err := errors.Join(err, m.holds(ctx, key, content, minio.GetObjectOptions{})); err != nil {
			return err
		}
	}
	return nil
}

func (m *minioGo) unknownSize(ctx context.Context) error {
	content := noise(11 << 20)
	_, err := m.next().PutObject(ctx, m.bucket, "unknown", io.MultiReader(bytes.NewReader(content)), -1, minio.PutObjectOptions{PartSize: 5 << 20})
	return errors.Join(err, m.holds(ctx, "unknown", content, minio.GetObjectOptions{}))
}

func (m *minioGo) checksums(ctx context.Context) error {
	for _, c := range []minio.ChecksumType{minio.ChecksumCRC32, minio.ChecksumCRC32C, minio.ChecksumCRC64NVME, minio.ChecksumSHA1, minio.ChecksumSHA256} {
		for _, size := range []int{5000, 11 << 20} {
			key, content := fmt.Sprint("sum/", c, size), noise(size)
			if _, err := m.put(ctx, key, content, minio.PutObjectOptions{Checksum: c, PartSize: 5 << 20}); err != nil {
				return fmt.Errorf("%v of %d bytes: %w", c, size, err)
			}
			info, err := m.next().StatObject(ctx, m.bucket, key, minio.StatObjectOptions{Checksum: true})
			sums := []string{info.ChecksumCRC32, info.ChecksumCRC32C, info.ChecksumCRC64NVME, info.ChecksumSHA1, info.ChecksumSHA256}
			if err == nil && !slices.ContainsFunc(sums, func(s string) bool { return s != "" }) {
				err = fmt.Errorf("%v of %d bytes: the object has no checksum", c, size)
			}
			if err := errors.Join(err, m.holds(ctx, key, content, minio.GetObjectOptions{Checksum: true})); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *minioGo) seeks(ctx context.Context) error {
	content := noise(17 << 20)
	r, err := m.next().GetObject(ctx, m.bucket, fmt.Sprint("size/", 17<<20), minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	b := make([]byte, 1000)
	for _, off := range []int64{0, 5<<20 - 500, 16 << 20} {
		if _, err := r.ReadAt(b, off); err != nil || !bytes.Equal(b, content[off:off+1000]) {
			return fmt.Errorf("read at %d: %w", off, cmpErr(err))
		}
	}
	if _, err := r.Seek(-1000, io.SeekEnd); err != nil {
		return err
	}
	if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, content[len(content)-1000:]) {
		return fmt.Errorf("read after a seek: %w", cmpErr(err))
	}
	return r.Close()
}

func (m *minioGo) metadata(ctx context.Context) error {
	_, err := m.put(ctx, "meta", []byte("x"), minio.PutObjectOptions{
		UserMetadata: map[string]string{"Colour": "blue"}, UserTags: map[string]string{"a": "1", "b": "2 3"},
		ContentType: "text/x-test", CacheControl: "no-cache", ContentDisposition: "inline", ContentLanguage: "en",
	})
	if err != nil {
		return err
	}
	info, err := m.next().StatObject(ctx, m.bucket, "meta", minio.StatObjectOptions{})
	if err != nil {
		return err
	}
	if info.UserMetadata["Colour"] != "blue" || info.UserTagCount != 2 || info.ContentType != "text/x-test" || info.Metadata.Get("Cache-Control") != "no-cache" {
		return fmt.Errorf("StatObject says %+v", info)
	}
	set, err := m.next().GetObjectTagging(ctx, m.bucket, "meta", minio.GetObjectTaggingOptions{})
	if err == nil && !maps.Equal(set.ToMap(), map[string]string{"a": "1", "b": "2 3"}) {
		err = fmt.Errorf("the tags are %v", set)
	}
	return err
}

func (m *minioGo) copies(ctx context.Context) error {
	big := fmt.Sprint("size/", 17<<20)
	_, err := m.next().CopyObject(ctx, minio.CopyDestOptions{Bucket: m.bucket, Object: "copy ü+"}, minio.CopySrcOptions{Bucket: m.bucket, Object: big})
	if err != nil {
		return err
	}
	_, err = m.next().ComposeObject(ctx, minio.CopyDestOptions{Bucket: m.bucket, Object: "composed"},
		minio.CopySrcOptions{Bucket: m.bucket, Object: big, MatchRange: true, Start: 0, End: 6<<20 - 1}, minio.CopySrcOptions{Bucket: m.bucket, Object: "copy ü+"})
	content := noise(17 << 20)
	return errors.Join(err, m.holds(ctx, "copy ü+", content, minio.GetObjectOptions{}),
		m.holds(ctx, "composed", slices.Concat(content[:6<<20], content), minio.GetObjectOptions{}))
}

func (m *minioGo) list(ctx context.Context, o minio.ListObjectsOptions) ([]string, error) {
	var keys []string
	for i := range m.next().ListObjects(ctx, m.bucket, o) {
		if i.Err != nil {
			return nil, i.Err
		}
		keys = append(keys, i.Key)
	}
	return keys, nil
}

func (m *minioGo) lists(ctx context.Context) error {
	for i := range 12 {
		if _, err := m.put(ctx, fmt.Sprintf("list/%d/%02d ü+", i%3, i), nil, minio.PutObjectOptions{}); err != nil {
			return err
		}
	}
	folders := []string{"list/0/", "list/1/", "list/2/"}
	for _, v1 := range []bool{true, false} {
		all, err := m.list(ctx, minio.ListObjectsOptions{Prefix: "list/", Recursive: true, MaxKeys: 5, UseV1: v1})
		if err == nil && (len(all) != 12 || !slices.IsSorted(all)) {
			err = fmt.Errorf("listed are %q", all)
		}
		top, topErr := m.list(ctx, minio.ListObjectsOptions{Prefix: "list/", UseV1: v1})
		if topErr == nil && !slices.Equal(top, folders) {
			topErr = fmt.Errorf("folders listed are %q", top)
		}
		if err := errors.Join(err, topErr); err != nil {
			return err
		}
	}
	later, err := m.list(ctx, minio.ListObjectsOptions{Prefix: "list/", Recursive: true, StartAfter: "list/2/05 ü+", WithMetadata: false})
	if err == nil && !slices.Equal(later, []string{"list/2/08 ü+", "list/2/11 ü+"}) {
		err = fmt.Errorf("listed after a key are %q", later)
	}
	return err
}

func (m *minioGo) versions(ctx context.Context) error {
	if err := m.next().EnableVersioning(ctx, m.bucket); err != nil {
		return err
	}
	first, err := m.put(ctx, "version", []byte("one"), minio.PutObjectOptions{})
	if err == nil {
		_, err = m.put(ctx, "version", []byte("two"), minio.PutObjectOptions{})
	}
	if err == nil {
		err = m.next().RemoveObject(ctx, m.bucket, "version", minio.RemoveObjectOptions{})
	}
	if err != nil {
		return err
	}
	_, gone := m.next().StatObject(ctx, m.bucket, "version", minio.StatObjectOptions{})
	if minio.ToErrorResponse(gone).Code != minio.NoSuchKey {
		return fmt.Errorf("an object behind a delete marker: %w", cmpErr(gone))
	}
	n, markers := 0, 0
	for i := range m.next().ListObjects(ctx, m.bucket, minio.ListObjectsOptions{Prefix: "version", WithVersions: true}) {
		if i.Err != nil {
			return i.Err
		}
		n++
		if i.IsDeleteMarker {
			markers++
		}
	}
	if n != 3 || markers != 1 {
		return fmt.Errorf("%d versions, %d of them delete markers", n, markers)
	}
	return errors.Join(m.holds(ctx, "version", []byte("one"), minio.GetObjectOptions{VersionID: first.VersionID}), m.next().SuspendVersioning(ctx, m.bucket))
}

func (m *minioGo) settings(ctx context.Context) error {
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/p/*"]}]}`, m.bucket)
	if err := m.next().SetBucketPolicy(ctx, m.bucket, policy); err != nil {
		return err
	}
	if have, err := m.next().GetBucketPolicy(ctx, m.bucket); err != nil || have == "" {
		return fmt.Errorf("the policy is %q: %w", have, cmpErr(err))
	}
	rules := lifecycle.NewConfiguration()
	rules.Rules = []lifecycle.Rule{{ID: "x", Status: "Enabled", Expiration: lifecycle.Expiration{Days: 3}, RuleFilter: lifecycle.Filter{Prefix: "tmp/"}}}
	if err := m.next().SetBucketLifecycle(ctx, m.bucket, rules); err != nil {
		return err
	}
	have, err := m.next().GetBucketLifecycle(ctx, m.bucket)
	if err != nil {
		return err
	}
	if len(have.Rules) != 1 || have.Rules[0].ID != "x" || have.Rules[0].Expiration.Days != 3 {
		return fmt.Errorf("the lifecycle is %+v", have)
	}
	set, err := tags.NewTags(map[string]string{"team": "x"}, false)
	if err != nil {
		return err
	}
	return errors.Join(m.next().SetBucketTagging(ctx, m.bucket, set), m.next().RemoveBucketTagging(ctx, m.bucket), m.next().SetBucketPolicy(ctx, m.bucket, ""))
}

func (m *minioGo) presigned(ctx context.Context) error {
	put, err := m.next().PresignedPutObject(ctx, m.bucket, "link ü+", time.Minute)
	if err != nil {
		return err
	}
	get, err := m.next().PresignedGetObject(ctx, m.bucket, "link ü+", time.Minute, url.Values{"response-content-type": {"text/y"}})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, put.String(), bytes.NewReader([]byte("by a link")))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	if err := errors.Join(drain(answer), ok(answer)); err != nil {
		return err
	}
	if r, err = http.NewRequestWithContext(ctx, http.MethodGet, get.String(), nil); err != nil {
		return err
	}
	if answer, err = http.DefaultClient.Do(r); err != nil {
		return err
	}
	if answer.Header.Get("Content-Type") != "text/y" {
		return fmt.Errorf("the type is %q", answer.Header.Get("Content-Type"))
	}
	return errors.Join(drain(answer), ok(answer))
}

func drain(r *http.Response) error {
	_, err := io.Copy(io.Discard, r.Body)
	return errors.Join(err, r.Body.Close())
}

func ok(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", r.Request.Method, r.Request.URL.Path, r.Status)
	}
	return nil
}

func (m *minioGo) conditions(ctx context.Context) error {
	once := minio.PutObjectOptions{}
	once.SetMatchETagExcept("*")
	first, err := m.put(ctx, "once", []byte("one"), once)
	if err != nil {
		return err
	}
	_, again := m.put(ctx, "once", []byte("two"), once)
	swap := minio.PutObjectOptions{}
	swap.SetMatchETag(first.ETag)
	_, err = m.put(ctx, "once", []byte("three"), swap)
	_, late := m.put(ctx, "once", []byte("four"), swap)
	for _, e := range []error{again, late} {
		if minio.ToErrorResponse(e).StatusCode != http.StatusPreconditionFailed {
			err = errors.Join(err, fmt.Errorf("want a precondition that failed, not: %w", cmpErr(e)))
		}
	}
	return errors.Join(err, m.holds(ctx, "once", []byte("three"), minio.GetObjectOptions{}))
}

func (m *minioGo) incomplete(ctx context.Context) error {
	core := minio.Core{Client: m.next()}
	id, err := core.NewMultipartUpload(ctx, m.bucket, "incomplete", minio.PutObjectOptions{})
	if err == nil {
		_, err = core.PutObjectPart(ctx, m.bucket, "incomplete", id, 1, bytes.NewReader(noise(9000)), 9000, minio.PutObjectPartOptions{})
	}
	if err != nil {
		return err
	}
	count := func() (n int, err error) {
		for u := range m.next().ListIncompleteUploads(ctx, m.bucket, "incomplete", true) {
			if u.Err != nil {
				return 0, u.Err
			}
			n++
		}
		return n, nil
	}
	if n, err := count(); err != nil || n != 1 {
		return fmt.Errorf("%d uploads are listed: %w", n, cmpErr(err))
	}
	if err := m.next().RemoveIncompleteUpload(ctx, m.bucket, "incomplete"); err != nil {
		return err
	}
	if n, err := count(); err != nil || n != 0 {
		return fmt.Errorf("%d uploads are listed after the removal: %w", n, cmpErr(err))
	}
	return nil
}

func (m *minioGo) removal(ctx context.Context) error {
	objects := m.next().ListObjects(ctx, m.bucket, minio.ListObjectsOptions{Recursive: true, WithVersions: true})
	for e := range m.next().RemoveObjects(ctx, m.bucket, objects, minio.RemoveObjectsOptions{}) {
		return fmt.Errorf("%s: %w", e.ObjectName, e.Err)
	}
	return m.next().RemoveBucket(ctx, m.bucket)
}
