package s3api_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"chainfire/object"
	"chainfire/s3api"
	"chainfire/s3api/s3test"
	"chainfire/sigv4"
)

const (
	adminID = "AKADMIN"
	secret  = "a-secret-that-no-log-may-have"
)

// fixture is a server over a service in memory, with an access key that may do everything.
type fixture struct {
	t       testing.TB
	service *s3test.Service
	api     *s3api.Server
	server  *httptest.Server
	log     *journal
}

// journal is a log that tests read.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func start(t testing.TB, change func(*s3api.Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, service: s3test.New(), log: &journal{}}
	f.key(object.AccessKey{ID: adminID, Admin: true})
	o := s3api.Options{Service: f.service, HostID: "member-1", Logger: slog.New(slog.NewJSONHandler(f.log, nil))}
	if change != nil {
		change(&o)
	}
	s := s3api.New(o)
	f.api = s
	f.server = httptest.NewUnstartedServer(s)
	f.server.Config = s.HTTPServer()
	f.server.Start()
	t.Cleanup(func() {
		f.server.Close()
		s.Close(context.Background())
		if held := s.Held(); len(held) != 0 {
			t.Errorf("slots are held by %v", held)
		}
		if views, bodies := f.service.Left(); views != 0 || bodies != 0 {
			t.Errorf("%d views and %d bodies were left open", views, bodies)
		}
	})
	return f
}

// key makes an access key, with the secret of all of them.
func (f *fixture) key(k object.AccessKey) {
	f.t.Helper()
	if err := f.service.AddKey(k, secret); err != nil {
		f.t.Fatal(err)
	}
}

// sdk is the client of AWS for a key, which tries once.
func (f *fixture) sdk(id string, change ...func(*s3.Options)) *s3.Client {
	o := s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(f.server.URL), UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, nil
		}),
		RetryMaxAttempts:           1,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, // as its configuration has it
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		HTTPClient:                 f.server.Client(),
	}
	return s3.New(o, change...)
}

func (f *fixture) minio(id string) *minio.Client {
	f.t.Helper()
	c, err := minio.New(strings.TrimPrefix(f.server.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(id, secret, ""), Region: "us-east-1", MaxRetries: 1,
		TrailingHeaders: true,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// bucket makes a bucket.
func (f *fixture) bucket(name string) {
	f.t.Helper()
	if _, err := f.sdk(adminID).CreateBucket(f.t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		f.t.Fatal(err)
	}
}

// versioned makes a bucket with versions.
func (f *fixture) versioned(name string) {
	f.t.Helper()
	f.bucket(name)
	f.change(versioning(name))
}

func (f *fixture) change(c *object.Change) {
	f.t.Helper()
	if _, err := f.service.Change(f.t.Context(), c); err != nil {
		f.t.Fatal(err)
	}
}

// put writes an object, and returns its ETag and version.
func (f *fixture) put(bucket, key, body string) (etag, version string) {
	f.t.Helper()
	out, err := f.sdk(adminID).PutObject(f.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		f.t.Fatalf("put %s/%s: %v", bucket, key, err)
	}
	return aws.ToString(out.ETag), aws.ToString(out.VersionId)
}

// get reads an object whole, or fails with its error's code.
func (f *fixture) get(bucket, key string) (body, code string) {
	f.t.Helper()
	out, err := f.sdk(adminID).GetObject(f.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return "", codeOf(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b), ""
}

// codeOf is the code of an error of S3, empty for no error.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	var m minio.ErrorResponse
	if errors.As(err, &m) {
		return m.Code
	}
	return err.Error()
}

// call is a request made by hand.
type call struct {
	method, path string
	body         string
	header       map[string]string
	// id signs it; empty leaves it unsigned.
	id string
	// payload is x-amz-content-sha256; the hash of the body where it is empty.
	payload string
}

// reply is an answer read whole.
type reply struct {
	status int
	header http.Header
	body   string
	// code is that of the error in the body.
	code string
}

// do makes a request.
func (f *fixture) do(c call) *reply {
	f.t.Helper()
	return f.send(f.request(c))
}

// send makes a request and reads its answer.
func (f *fixture) send(r *http.Request) *reply {
	f.t.Helper()
	resp, err := f.server.Client().Do(r)
	if err != nil {
		f.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatalf("%s %s: reading the answer: %v", r.Method, r.URL, err)
	}
	return replyOf(resp, b)
}

func replyOf(resp *http.Response, body []byte) *reply {
	var e struct{ Code string }
	_ = xml.Unmarshal(body, &e) // not every answer is an error
	return &reply{status: resp.StatusCode, header: resp.Header, body: string(body), code: e.Code}
}

func (f *fixture) request(c call) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), c.method, f.server.URL+c.path, strings.NewReader(c.body))
	if err != nil {
		f.t.Fatal(err)
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	if c.id != "" {
		payload := c.payload
		if payload == "" {
			payload = hashOf(c.body)
		}
		if err := signer(c.id).Sign(r, payload, time.Now()); err != nil {
			f.t.Fatal(err)
		}
	}
	return r
}

func signer(id string) *sigv4.Signer {
	return &sigv4.Signer{Credentials: sigv4.Credentials{AccessKeyID: id, SecretAccessKey: secret}, Region: "us-east-1"}
}

func md5Of(body string) string {
	sum := md5.Sum([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func hashOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// want holds an answer to a status and an error's code.
func (r *reply) want(t testing.TB, status int, code string) {
	t.Helper()
	if r.status != status || r.code != code {
		t.Errorf("answered %d %q, want %d %q; the answer: %s", r.status, r.code, status, code, r.body)
	}
}

// versioning is the change that begins to keep versions.
func versioning(bucket string) *object.Change {
	on := object.VersioningEnabled
	return &object.Change{SetBucket: &object.SetBucket{Name: bucket, Versioning: &on}}
}

func md5Hex(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}
