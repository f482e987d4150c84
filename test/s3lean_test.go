package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"chainfire/sigv4"
)

// leanS3 is a client of S3 that does one request at a time and nothing by itself: it neither
// tries again nor hides what was answered. It may be used from any goroutine.
type leanS3 struct {
	http   *http.Client
	signer sigv4.Signer
}

func newLeanS3() *leanS3 {
	return &leanS3{
		http:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}},
		signer: sigv4.Signer{Credentials: sigv4.Credentials{AccessKeyID: s3AccessKey, SecretAccessKey: s3Secret}, Region: "us-east-1"},
	}
}

// s3Answer is what one request was answered with.
type s3Answer struct {
	status int
	header http.Header
	body   []byte
}

// refusal is S3's code of an answer that is none of success.
func (a s3Answer) refusal() string {
	var e struct{ Code string }
	if err := xml.Unmarshal(a.body, &e); err != nil || e.Code == "" {
		return fmt.Sprintf("status %d: %s", a.status, a.body)
	}
	return e.Code
}

// ok says how an answer is none of success.
func (a s3Answer) ok() error {
	if a.status/100 != 2 {
		return errors.New(a.refusal())
	}
	return nil
}

// do makes one request of a path, encoded, with its query. header are names and values, one
// after the other. An error says that there was no whole answer: what was asked may have
// happened.
func (c *leanS3) do(ctx context.Context, endpoint, method, path string, body []byte, header ...string) (s3Answer, error) {
	sum := sha256.Sum256(body)
	return c.send(ctx, endpoint, method, path, bytes.NewReader(body), int64(len(body)), hex.EncodeToString(sum[:]), header...)
}

func (c *leanS3) send(ctx context.Context, endpoint, method, path string, body io.Reader, size int64, hash string, header ...string) (s3Answer, error) {
	if size == 0 {
		body = nil
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+endpoint+path, body)
	if err != nil {
		return s3Answer{}, err
	}
	r.ContentLength = size
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if err := c.signer.Sign(r, hash, time.Now()); err != nil {
		return s3Answer{}, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return s3Answer{}, err
	}
	b, err := io.ReadAll(answer.Body)
	return s3Answer{answer.StatusCode, answer.Header, b}, errors.Join(err, answer.Body.Close())
}

// must is do without a body, where only success will do.
func (c *leanS3) must(ctx context.Context, endpoint, method, path string) (s3Answer, error) {
	a, err := c.do(ctx, endpoint, method, path, nil)
	if err == nil {
		err = a.ok()
	}
	if err != nil {
		err = fmt.Errorf("%s %s%s: %w", method, endpoint, path, err)
	}
	return a, err
}

// s3Page is one page of ListObjectsV2.
type s3Page struct {
	Contents []struct {
		Key  string
		ETag string
		Size int64
	}
	CommonPrefixes        []struct{ Prefix string }
	KeyCount              int
	IsTruncated           bool
	NextContinuationToken string
}

// list asks for one page; query begins with & or is empty.
func (c *leanS3) list(ctx context.Context, endpoint, bucket, query string) (s3Page, error) {
	a, err := c.must(ctx, endpoint, http.MethodGet, "/"+bucket+"?list-type=2"+query)
	var p s3Page
	if err == nil {
		err = xml.Unmarshal(a.body, &p)
	}
	return p, err
}

// all lists a bucket: sizes by key.
func (c *leanS3) all(ctx context.Context, endpoint, bucket, query string) (map[string]int64, error) {
	out := map[string]int64{}
	for token := ""; ; {
		more := query
		if token != "" {
			more += "&continuation-token=" + sigv4.Encode(token)
		}
		p, err := c.list(ctx, endpoint, bucket, more)
		if err != nil {
			return nil, err
		}
		for _, o := range p.Contents {
			out[o.Key] = o.Size
		}
		if !p.IsTruncated {
			return out, nil
		}
		token = p.NextContinuationToken
	}
}

// upload is a multipart upload by hand. It returns the answer to its completion.
func (c *leanS3) upload(ctx context.Context, endpoint func() string, path string, parts [][]byte) (s3Answer, error) {
	a, err := c.do(ctx, endpoint(), http.MethodPost, path+"?uploads", nil)
	if err != nil || a.ok() != nil {
		return a, err
	}
	var begun struct {
		UploadID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal(a.body, &begun); err != nil {
		return a, err
	}
	query := "&uploadId=" + sigv4.Encode(begun.UploadID)
	var done bytes.Buffer
	done.WriteString("<CompleteMultipartUpload>")
	for i, p := range parts {
		n := strconv.Itoa(i + 1)
		a, err := c.do(ctx, endpoint(), http.MethodPut, path+"?partNumber="+n+query, p)
		if err != nil || a.ok() != nil {
			return a, err
		}
		done.WriteString("<Part><PartNumber>" + n + "</PartNumber><ETag>")
		if err := xml.EscapeText(&done, []byte(a.header.Get("ETag"))); err != nil {
			return a, err
		}
		done.WriteString("</ETag></Part>")
	}
	done.WriteString("</CompleteMultipartUpload>")
	return c.do(ctx, endpoint(), http.MethodPost, path+"?"+query[1:], done.Bytes())
}
