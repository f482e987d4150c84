package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"chainfire/sigv4"
)

const (
	s3Bucket = "bench"
	// s3AccessKey and s3Secret are what each server is started with.
	s3AccessKey, s3Secret = "CHAINFIREBENCHACCESS", "a-secret-of-the-benchmark-40-bytes-long!"
	// s3Timeout bounds one request.
	s3Timeout = 2 * time.Minute
)

// objectClient puts and gets objects at any of some endpoints. It is lean: on a machine
// that it shares with the servers, what a client spends the servers lack. It may be used
// from any goroutine.
type objectClient struct {
	endpoints []string
	http      *http.Client
	signer    sigv4.Signer
	// signed says that bodies are sent with their hashes, which the server must check.
	signed bool
}

func newObjectClient(endpoints []string, signed bool) *objectClient {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &objectClient{
		endpoints: endpoints,
		signed:    signed,
		http: &http.Client{Transport: &http.Transport{
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: 256, DisableCompression: true,
			ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
		}},
		signer: sigv4.Signer{Credentials: sigv4.Credentials{AccessKeyID: s3AccessKey, SecretAccessKey: s3Secret}, Region: "us-east-1"},
	}
}

func (c *objectClient) close() { c.http.CloseIdleConnections() }

// body is bytes to put, and their hash in hex.
type body struct {
	bytes []byte
	hash  string
}

// bodyVariants is how many bodies of one size there are, so that no two puts after each
// other are of the same.
const bodyVariants = 16

// newBodies cuts bodies of one size out of random bytes. They are hashed here, once, so
// that no load waits for the client's own hashing.
func newBodies(size int) []body {
	const step = 509
	b := make([]byte, size+step*bodyVariants)
	// The seed is fixed: what is written is the same for every system.
	_, _ = rand.NewChaCha8([32]byte{2}).Read(b) // never fails
	var out []body
	for i := range bodyVariants {
		cut := b[i*step:][:size]
		sum := sha256.Sum256(cut)
		out = append(out, body{cut, hex.EncodeToString(sum[:])})
	}
	return out
}

// hashOfNothing is the SHA-256 of an empty body.
var hashOfNothing = func() string {
	sum := sha256.Sum256(nil)
	return hex.EncodeToString(sum[:])
}()

func (c *objectClient) do(ctx context.Context, client int, method, key string, b *body) (*http.Response, error) {
	var content io.Reader
	hash := hashOfNothing
	if b != nil {
		content, hash = bytes.NewReader(b.bytes), b.hash
		if !c.signed {
			hash = "UNSIGNED-PAYLOAD"
		}
	}
	url := "http://" + c.endpoints[client%len(c.endpoints)] + "/" + s3Bucket + key
	r, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return nil, err
	}
	if err := c.signer.Sign(r, hash, time.Now()); err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode/100 != 2 {
		said, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return nil, errors.Join(fmt.Errorf("%s %s: %s: %s", method, url, answer.Status, said), err, answer.Body.Close())
	}
	return answer, nil
}

// makeBucket makes the bucket of the loads.
func (c *objectClient) makeBucket(ctx context.Context) error {
	answer, err := c.do(ctx, 0, http.MethodPut, "", nil)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func (c *objectClient) put(ctx context.Context, client int, key string, b *body) error {
	ctx, cancel := context.WithTimeout(ctx, s3Timeout)
	defer cancel()
	answer, err := c.do(ctx, client, http.MethodPut, "/"+key, b)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return errors.Join(err, answer.Body.Close())
}

// get reads an object of so many bytes and hands them to a writer.
func (c *objectClient) get(ctx context.Context, client int, key string, size int, to io.Writer, buffer []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s3Timeout)
	defer cancel()
	answer, err := c.do(ctx, client, http.MethodGet, "/"+key, nil)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{to}, answer.Body, buffer)
	if err == nil && n != int64(size) {
		err = fmt.Errorf("%s has %d bytes, not %d", key, n, size)
	}
	return errors.Join(err, answer.Body.Close())
}

func (c *objectClient) remove(ctx context.Context, client int, key string) error {
	ctx, cancel := context.WithTimeout(ctx, s3Timeout)
	defer cancel()
	answer, err := c.do(ctx, client, http.MethodDelete, "/"+key, nil)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// onlyWriter hides that a writer could read by itself, with a buffer of its own.
type onlyWriter struct{ io.Writer }
