package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/minio-go/v7"
	miniocredentials "github.com/minio/minio-go/v7/pkg/credentials"
)

// s3Domain is the domain below which buckets are in the tests.
const s3Domain = "s3.local.test"

// virtual is a member that serves S3 with buckets in names of hosts.
type virtual struct {
	// host is the domain and the port of the member.
	host string
	// transport finds every name below the domain at the member, and no other.
	transport *http.Transport
}

func newVirtual(t *testing.T) *virtual {
	t.Helper()
	m := here.newS3Member(t, "a", "--s3-domain", s3Domain)
	m.start()
	(&s3Service{endpoints: []string{m.s3}}).awaitServing(t)
	_, port, err := net.SplitHostPort(m.s3)
	if err != nil {
		t.Fatal(err)
	}
	v := &virtual{host: net.JoinHostPort(s3Domain, port)}
	v.transport = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if name, _, err := net.SplitHostPort(addr); err != nil || name != s3Domain && !strings.HasSuffix(name, "."+s3Domain) {
			return nil, fmt.Errorf("a test asks for %s: %w", addr, errors.Join(err, errors.ErrUnsupported))
		}
		var d net.Dialer
		return d.DialContext(ctx, network, m.s3)
	}}
	t.Cleanup(v.transport.CloseIdleConnections)
	return v
}

// sdk is a client of AWS's that notes which hosts it asks.
func (v *virtual) sdk(byPath bool, asked *hosts) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String("http://" + v.host), Region: "us-east-1", UsePathStyle: byPath, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(s3AccessKey, s3Secret, ""),
		HTTPClient:  &http.Client{Transport: asked.over(v.transport)},
	})
}

// hosts are those that were asked.
type hosts struct{ m sync.Map }

func (h *hosts) has(name string) bool {
	_, found := h.m.Load(name)
	return found
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (h *hosts) over(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		h.m.Store(r.URL.Hostname(), true)
		return next.RoundTrip(r)
	})
}

// ask makes a request that is not signed, or by its URL.
func (v *virtual) ask(ctx context.Context, method, url string, body []byte) (s3Answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return s3Answer{}, err
	}
	answer, err := (&http.Client{Transport: v.transport}).Do(r)
	if err != nil {
		return s3Answer{}, err
	}
	b, err := io.ReadAll(answer.Body)
	return s3Answer{answer.StatusCode, answer.Header, b}, errors.Join(err, answer.Body.Close())
}

var virtualBuckets = []string{"photos", "with.dots.in-it"}

func TestS3BucketsAreInTheNamesOfHosts(t *testing.T) {
	t.Parallel()
	v := newVirtual(t)
	t.Run("aws-sdk-go-v2", func(t *testing.T) { v.byAWS(t) })
	t.Run("minio-go", func(t *testing.T) { v.byMinioGo(t) })
	t.Run("no bucket", func(t *testing.T) { v.noBucket(t) })
}

func (v *virtual) byAWS(t *testing.T) {
	asked := &hosts{}
	c, byPath := v.sdk(false, asked), v.sdk(true, &hosts{})
	for _, bucket := range virtualBuckets {
		_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
		if err != nil {
			t.Fatalf("%s: %v", bucket, err)
		}
		for _, key := range []string{"a", bucket + "/a", "a b+c%2F/ü", "/a//b/../c"} {
			content := []byte(bucket + key)
			if err := s3Put(t, c, bucket, key, content); err != nil {
				t.Errorf("%s: %q: %v", bucket, key, err)
			}
			s3Holds(t, c, bucket, key, content)
			s3Holds(t, byPath, bucket, key, content)
		}
		list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
		if err != nil || len(list.Contents) != 4 {
			t.Errorf("%s lists %+v, %v", bucket, list, err)
		}
		if err := v.presigned(t.Context(), s3.NewPresignClient(c), bucket); err != nil {
			t.Errorf("%s: %v", bucket, err)
		}
		if !asked.has(bucket + "." + s3Domain) {
			t.Errorf("%s was not asked for at its host", bucket)
		}
	}
	if asked.has(s3Domain) {
		t.Error("the client put a bucket into a path")
	}
}

// presigned puts and gets an object by links.
func (v *virtual) presigned(ctx context.Context, c *s3.PresignClient, bucket string) error {
	key, content := "by a link/ü", []byte(bucket)
	put, err := c.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key}, s3.WithPresignExpires(time.Minute))
	if err != nil {
		return err
	}
	get, err := c.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	at := "http://" + bucket + "." + v.host + "/"
	if !strings.HasPrefix(get.URL, at) {
		return fmt.Errorf("the link %s is not of the host of its bucket", get.URL)
	}
	if a, err := v.ask(ctx, http.MethodPut, put.URL, content); err != nil || a.ok() != nil {
		return fmt.Errorf("put by a link: %w", errors.Join(err, a.ok()))
	}
	if a, err := v.ask(ctx, http.MethodGet, get.URL, nil); err != nil || a.ok() != nil || !bytes.Equal(a.body, content) {
		return fmt.Errorf("get by a link: %q %w", a.body, errors.Join(err, a.ok()))
	}
	// The host is signed: the link opens no other bucket, nor the same object by its path.
	for _, other := range []string{"http://other." + v.host + "/", "http://" + v.host + "/" + bucket + "/"} {
		a, err := v.ask(ctx, http.MethodGet, other+strings.TrimPrefix(get.URL, at), nil)
		if err != nil || a.status != http.StatusForbidden || a.refusal() != "SignatureDoesNotMatch" {
			return fmt.Errorf("a link at %s: status %d, %s %w", other, a.status, a.body, cmpErr(err))
		}
	}
	return nil
}

func (v *virtual) byMinioGo(t *testing.T) {
	asked := &hosts{}
	c, err := minio.New(v.host, &minio.Options{
		Creds: miniocredentials.NewStaticV4(s3AccessKey, s3Secret, ""), Region: "us-east-1", MaxRetries: 1,
		BucketLookup: minio.BucketLookupDNS, Transport: asked.over(v.transport),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, bucket := range virtualBuckets {
		key, content := "minio-go/ü", noise(100_000)
		if _, err := c.PutObject(t.Context(), bucket, key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{}); err != nil {
			t.Errorf("%s: %v", bucket, err)
			continue
		}
		o, err := c.GetObject(t.Context(), bucket, key, minio.GetObjectOptions{})
		if err != nil {
			t.Errorf("%s: %v", bucket, err)
			continue
		}
		have, err := io.ReadAll(o)
		if err := errors.Join(err, o.Close()); err != nil || !bytes.Equal(have, content) {
			t.Errorf("%s has %d bytes that are not the %d that were put: %v", bucket, len(have), len(content), err)
		}
		link, err := c.PresignedGetObject(t.Context(), bucket, key, time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := v.ask(t.Context(), http.MethodGet, link.String(), nil); err != nil || a.ok() != nil || !bytes.Equal(a.body, content) || link.Hostname() != bucket+"."+s3Domain {
			t.Errorf("%s: by the link %s: %v, %v", bucket, link, err, a.ok())
		}
		if !asked.has(bucket + "." + s3Domain) {
			t.Errorf("%s was not asked for at its host", bucket)
		}
	}
	if asked.has(s3Domain) {
		t.Error("the client put a bucket into a path")
	}
}

// noBucket asks hosts below the domain that are no bucket.
func (v *virtual) noBucket(t *testing.T) {
	for host, want := range map[string]string{
		"nobody-made-it": "NoSuchBucket",
		"a_b":            "InvalidBucketName",
		"ab":             "InvalidBucketName",
	} {
		client := newLeanS3()
		client.http.Transport = v.transport
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			a, err := client.do(t.Context(), host+"."+v.host, method, "/photos", nil)
			if err != nil || a.refusal() != want {
				t.Errorf("%s at %s: %v, status %d, %s; want %s", method, host, err, a.status, a.body, want)
			}
		}
	}
}
