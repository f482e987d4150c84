package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// sdk are clients of aws-sdk-go-v2, one of each endpoint.
type sdk struct {
	clients []*s3.Client
	n       atomic.Uint64
}

// newSDK makes clients whose requests are tried so many times.
func (s *s3Service) newSDK(tries int) *sdk {
	c := &sdk{}
	for _, e := range s.endpoints {
		c.clients = append(c.clients, s3.New(s3.Options{
			BaseEndpoint: aws.String("http://" + e), Region: "us-east-1", UsePathStyle: true, RetryMaxAttempts: tries,
			Credentials: credentials.NewStaticCredentialsProvider(s3AccessKey, s3Secret, ""),
			HTTPClient:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		}))
	}
	return c
}

// next is the client of the endpoint whose turn it is. It may be called from any goroutine.
func (c *sdk) next() *s3.Client { return c.clients[int(c.n.Add(1))%len(c.clients)] }

func (c *sdk) put(ctx context.Context, bucket, key string, content []byte) error {
	_, err := c.next().PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)})
	return err
}

func (c *sdk) get(ctx context.Context, bucket, key string) ([]byte, error) {
	return getFrom(ctx, c.next(), bucket, key)
}

func getFrom(ctx context.Context, c *s3.Client, bucket, key string) ([]byte, error) {
	r, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r.Body)
	return b, errors.Join(err, r.Body.Close())
}

// holds says how an object differs from what it must be.
func (c *sdk) holds(ctx context.Context, bucket, key string, want []byte) error {
	have, err := c.get(ctx, bucket, key)
	if err == nil && !bytes.Equal(have, want) {
		err = fmt.Errorf("%s has %d bytes that are not the %d that were put", key, len(have), len(want))
	}
	return err
}

// codeOf is S3's code of an error, or "" if it has none.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// mustBe says how an error is not a refusal with a code.
func mustBe(code string, err error) error {
	if codeOf(err) != code {
		return fmt.Errorf("want %s, not: %w", code, cmpErr(err))
	}
	return nil
}

var errNone = errors.New("no error")

func cmpErr(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// s3AwsSDK runs aws-sdk-go-v2 and its transfer manager.
func s3AwsSDK(t *testing.T, s *s3Service) {
	c := s.newSDK(1)
	ctx := t.Context()
	o := newOperations(t)
	bucket := "aws-sdk-go-v2"
	o.do("CreateBucket, HeadBucket, ListBuckets", func() error {
		_, err := c.next().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
		_, headErr := c.next().HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
		all, listErr := c.next().ListBuckets(ctx, &s3.ListBucketsInput{})
		if listErr == nil && !slices.ContainsFunc(all.Buckets, func(b types.Bucket) bool { return *b.Name == bucket }) {
			listErr = errors.New("the bucket is not listed")
		}
		return errors.Join(err, headErr, listErr)
	})
	for _, a := range types.ChecksumAlgorithm("").Values() {
		switch a {
		case types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256, types.ChecksumAlgorithmCrc64nvme:
			o.do("PutObject and GetObject with "+string(a), func() error { return sdkChecksum(ctx, c, bucket, a) })
		}
	}
	o.do("keys that are paths", func() error {
		for _, k := range []string{"a/../b", "a//b", "/a", "a/", "a b+c%2F", "?#&=", "ü/漢"} {
			if slices.Contains(s.lacks, "all-keys") && (k == "a/../b" || k == "a//b" || k == "/a") {
				continue
			}
			if err := errors.Join(c.put(ctx, bucket, k, []byte(k)), c.holds(ctx, bucket, k, []byte(k))); err != nil {
				return fmt.Errorf("%q: %w", k, err)
			}
		}
		return nil
	})
	o.do("conditional PutObject: If-None-Match, If-Match", func() error { return sdkConditions(ctx, c, bucket) })
	o.do("paginators: ListObjectsV2, ListObjectVersions", func() error { return sdkPages(ctx, c, bucket) })
	o.do("presigned GetObject and PutObject", func() error { return sdkPresigned(ctx, c, bucket) })
	o.do("transfer manager: upload in parts, download, get as a stream", func() error { return sdkTransfer(ctx, c, bucket, 17<<20) })
	o.do("transfer manager: 8 at a time", func() error {
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = sdkTransfer(ctx, c, bucket, 6<<20+i) })
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	o.do("DeleteObjects, DeleteBucket", func() error { return sdkEmpty(ctx, c, bucket) })
}

// noise is bytes that do not compress, the same for the same size.
func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)}).Read(b) // never fails
	return b
}

func sdkChecksum(ctx context.Context, c *sdk, bucket string, a types.ChecksumAlgorithm) error {
	for _, size := range []int{0, 1000, 70_000} {
		key, content := fmt.Sprint("sum/", a, size), noise(size)
		if _, err := c.next().PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content), ChecksumAlgorithm: a}); err != nil {
			return err
		}
		if err := c.holds(ctx, bucket, key, content); err != nil {
			return err
		}
		head, err := c.next().HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			return err
		}
		sum := map[types.ChecksumAlgorithm]*string{
			types.ChecksumAlgorithmCrc32: head.ChecksumCRC32, types.ChecksumAlgorithmCrc32c: head.ChecksumCRC32C, types.ChecksumAlgorithmCrc64nvme: head.ChecksumCRC64NVME,
			types.ChecksumAlgorithmSha1: head.ChecksumSHA1, types.ChecksumAlgorithmSha256: head.ChecksumSHA256,
		}[a]
		if sum == nil {
			return fmt.Errorf("HeadObject of %s has no checksum %s", key, a)
		}
	}
	return nil
}

func sdkConditions(ctx context.Context, c *sdk, bucket string) error {
	put := func(content, ifNone, ifMatch string) (*s3.PutObjectOutput, error) {
		in := &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("once"), Body: bytes.NewReader([]byte(content))}
		if ifNone != "" {
			in.IfNoneMatch = &ifNone
		}
		if ifMatch != "" {
			in.IfMatch = &ifMatch
		}
		return c.next().PutObject(ctx, in)
	}
	first, err := put("one", "*", "")
	if err != nil {
		return err
	}
	_, again := put("two", "*", "")
	_, swapped := put("three", "", *first.ETag)
	_, late := put("four", "", *first.ETag)
	return errors.Join(mustBe("PreconditionFailed", again), swapped, mustBe("PreconditionFailed", late), c.holds(ctx, bucket, "once", []byte("three")))
}

func sdkPages(ctx context.Context, c *sdk, bucket string) error {
	var want []string
	for i := range 30 {
		key := fmt.Sprintf("page/%02d", i)
		want = append(want, key)
		if err := c.put(ctx, bucket, key, nil); err != nil {
			return err
		}
	}
	var have, versions []string
	for p := s3.NewListObjectsV2Paginator(c.next(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: aws.String("page/"), MaxKeys: aws.Int32(7)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			have = append(have, *o.Key)
		}
	}
	for p := s3.NewListObjectVersionsPaginator(c.next(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: aws.String("page/"), MaxKeys: aws.Int32(7)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Versions {
			versions = append(versions, *o.Key)
		}
	}
	if !slices.Equal(have, want) || !slices.Equal(versions, want) {
		return fmt.Errorf("objects %v, versions %v", have, versions)
	}
	return nil
}

func sdkPresigned(ctx context.Context, c *sdk, bucket string) error {
	p := s3.NewPresignClient(c.next())
	key, content := "presigned a+b/ü", []byte("by a link")
	put, err := p.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key}, s3.WithPresignExpires(time.Minute))
	if err != nil {
		return err
	}
	get, err := p.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	ask := func(method, url string, body []byte) (int, []byte, error) {
		r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, nil, err
		}
		b, err := io.ReadAll(answer.Body)
		return answer.StatusCode, b, errors.Join(err, answer.Body.Close())
	}
	if code, said, err := ask(http.MethodPut, put.URL, content); err != nil || code != http.StatusOK {
		return fmt.Errorf("put: status %d, %w: %s", code, cmpErr(err), said)
	}
	if code, said, err := ask(http.MethodGet, get.URL, nil); err != nil || code != http.StatusOK || !bytes.Equal(said, content) {
		return fmt.Errorf("get: status %d, %w: %s", code, cmpErr(err), said)
	}
	if code, said, err := ask(http.MethodPut, get.URL, content); err != nil || code != http.StatusForbidden {
		return fmt.Errorf("put by the link of a get: status %d, %w: %s", code, cmpErr(err), said)
	}
	return nil
}

func sdkTransfer(ctx context.Context, c *sdk, bucket string, size int) error {
	m := transfermanager.New(c.next(), func(o *transfermanager.Options) { o.PartSizeBytes, o.MultipartUploadThreshold = 5<<20, 5<<20 })
	key, content := fmt.Sprint("transfer/", size), noise(size)
	if _, err := m.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)}); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	got, err := m.GetObject(ctx, &transfermanager.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	have, err := io.ReadAll(got.Body)
	if err != nil || !bytes.Equal(have, content) {
		return fmt.Errorf("get: %d bytes of %d are not the same: %w", len(have), size, cmpErr(err))
	}
	at := &sink{}
	if _, err := m.DownloadObject(ctx, &transfermanager.DownloadObjectInput{Bucket: &bucket, Key: &key, WriterAt: at}); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	if !bytes.Equal(at.b, content) {
		return fmt.Errorf("download: %d bytes of %d are not the same", len(at.b), size)
	}
	return nil
}

// sink takes writes at any offset, from any goroutine.
type sink struct {
	mu sync.Mutex
	b  []byte
}

func (s *sink) WriteAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := int(off) + len(p); end > len(s.b) {
		s.b = append(s.b, make([]byte, end-len(s.b))...)
	}
	return copy(s.b[off:], p), nil
}

func sdkEmpty(ctx context.Context, c *sdk, bucket string) error {
	for {
		page, err := c.next().ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket})
		if err != nil {
			return err
		}
		if len(page.Contents) == 0 {
			_, err := c.next().DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
			return err
		}
		var ids []types.ObjectIdentifier
		for _, o := range page.Contents {
			ids = append(ids, types.ObjectIdentifier{Key: o.Key})
		}
		gone, err := c.next().DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: ids}})
		if err != nil {
			return err
		}
		if len(gone.Errors) > 0 || len(gone.Deleted) != len(ids) {
			return fmt.Errorf("DeleteObjects: %d of %d, %+v", len(gone.Deleted), len(ids), gone.Errors)
		}
	}
}
