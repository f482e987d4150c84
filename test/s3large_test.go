package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chainfire/sigv4"
)

var (
	s3LargeFlag   = flag.Int64("s3-large", 0, "MiB of the object that TestS3LargeObjectByAwscli takes up and down; 0 leaves it out")
	s3ObjectsFlag = flag.Int("s3-objects", 3000, "objects in the bucket that TestS3PagesOfABigBucketAreQuick lists")
	s3PageFlag    = flag.Duration("s3-page", 0, "bound of every page of a listing in TestS3PagesOfABigBucketAreQuick; 0 leaves the bound of half of them, since the machine may be busy")
)

// TestS3LargeObjectByAwscli takes an object of many parts up, and down again:
//
//	go test ./test -run TestS3LargeObjectByAwscli -v -s3 -s3-large 5120 -timeout 0
func TestS3LargeObjectByAwscli(t *testing.T) {
	if *s3LargeFlag == 0 {
		t.Skip("-s3-large says how large; it needs ten times as much on the disk")
	}
	size := *s3LargeFlag << 20
	aws, err := exec.LookPath("aws")
	if err != nil {
		notInstalled(t, "awscli", err)
	}
	s := newS3(t)
	dir := t.TempDir()
	sent, err := writeNoise(filepath.Join(dir, "large"), size)
	if err != nil {
		t.Fatal(err)
	}
	run := func(to io.Writer, args ...string) time.Duration {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), aws, append(args, "--endpoint-url", "http://"+s.endpoints[0])...)
		var errOut bytes.Buffer
		cmd.Dir, cmd.Env, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dir, s.env(dir), dieWithParent(), to, &errOut
		from := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v: %s", cmd, err, errOut.String())
		}
		return time.Since(from)
	}
	run(io.Discard, "s3", "mb", "s3://large")
	up := run(io.Discard, "s3", "cp", "--no-progress", "large", "s3://large/large")
	s.endpoints = append(s.endpoints[1:], s.endpoints[0]) // down from another member
	hash := sha256.New()
	down := run(hash, "s3", "cp", "s3://large/large", "-")
	if !bytes.Equal(hash.Sum(nil), sent) {
		t.Error("the bytes that came back are not those that were sent")
	}
	rate := func(d time.Duration) float64 { return float64(*s3LargeFlag) / d.Seconds() }
	t.Logf("%d MiB: up in %v (%.0f MiB/s), down in %v (%.0f MiB/s)", *s3LargeFlag, up.Round(time.Millisecond), rate(up), down.Round(time.Millisecond), rate(down))
}

// writeNoise writes a file of bytes that do not compress, and returns their SHA-256.
func writeNoise(path string, size int64) ([]byte, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), io.LimitReader(rand.NewChaCha8([32]byte{5}), size))
	return h.Sum(nil), errors.Join(err, f.Close())
}

// TestS3PagesOfABigBucketAreQuick fills a bucket and lists it by pages from anywhere, by
// folders, and by prefixes, at every member. With a million objects:
//
//	go test ./test -run TestS3PagesOfABigBucketAreQuick -v -s3 -s3-objects 1000000 -s3-page 50ms -timeout 0
func TestS3PagesOfABigBucketAreQuick(t *testing.T) {
	t.Parallel()
	n := *s3ObjectsFlag
	s := newS3(t)
	client := newLeanS3()
	if _, err := client.must(t.Context(), s.endpoints[0], http.MethodPut, "/big"); err != nil {
		t.Fatal(err)
	}
	key := func(i int) string { return fmt.Sprintf("%03d/%02d/%08d", i%100, i/100%10, i) }
	from := time.Now()
	fillBucket(t, s, client, n, key)
	t.Logf("%d objects in %v", n, time.Since(from).Round(time.Millisecond))
	var sorted []string
	for i := range n {
		sorted = append(sorted, key(i))
	}
	slices.Sort(sorted)
	l := &lister{t: t, s: s, client: client, sorted: sorted, rng: rand.New(rand.NewPCG(1, 2))}
	l.pages(200)
	l.logAndBound("")
	if s.cluster != nil {
		l.restart()
	}
}

// fillBucket puts n objects without a body, by many clients.
func fillBucket(t *testing.T, s *s3Service, client *leanS3, n int, key func(int) string) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancelCause(t.Context())
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if _, err := client.must(ctx, s.endpoint(i), http.MethodPut, "/big/"+key(i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Fatal(err)
	}
	cancel(nil)
}

// lister times pages of a listing whose right answer it knows.
type lister struct {
	t      *testing.T
	s      *s3Service
	client *leanS3
	sorted []string
	rng    *rand.Rand
	took   map[string][]time.Duration
}

// pages asks for so many pages of each kind.
func (l *lister) pages(n int) {
	l.t.Helper()
	l.took = map[string][]time.Duration{}
	for i := range n {
		at := l.rng.IntN(len(l.sorted))
		after := l.sorted[at]
		end := min(at+1001, len(l.sorted))
		l.one(i, "start-after", "&start-after="+sigv4.Encode(after), l.sorted[at+1:end], nil)
		folder := after[:strings.LastIndex(after, "/")+1]
		l.one(i, "prefix", "&max-keys=1000&prefix="+sigv4.Encode(folder), l.below(folder), nil)
		if i%10 == 0 {
			l.one(i, "delimiter", "&delimiter=%2F", nil, l.folders())
		}
	}
}

// below are the first 1000 keys with a prefix.
func (l *lister) below(prefix string) []string {
	at, _ := slices.BinarySearch(l.sorted, prefix)
	end := at
	for end < len(l.sorted) && end < at+1000 && strings.HasPrefix(l.sorted[end], prefix) {
		end++
	}
	return l.sorted[at:end]
}

// folders are the first parts of all keys.
func (l *lister) folders() []string {
	var out []string
	for _, k := range l.sorted {
		if f, _, _ := strings.Cut(k, "/"); len(out) == 0 || out[len(out)-1] != f+"/" {
			out = append(out, f+"/")
		}
	}
	return out
}

func (l *lister) one(i int, kind, query string, keys, folders []string) {
	l.t.Helper()
	from := time.Now()
	a, err := l.client.must(l.t.Context(), l.s.endpoint(i), http.MethodGet, "/big?list-type=2"+query)
	l.took[kind] = append(l.took[kind], time.Since(from))
	var p s3Page
	if err == nil {
		err = xml.Unmarshal(a.body, &p)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	var have, prefixes []string
	for _, o := range p.Contents {
		have = append(have, o.Key)
	}
	for _, c := range p.CommonPrefixes {
		prefixes = append(prefixes, c.Prefix)
	}
	if !slices.Equal(have, keys) || !slices.Equal(prefixes, folders) {
		l.t.Fatalf("%s: %d keys and %d prefixes, want %d and %d", query, len(have), len(prefixes), len(keys), len(folders))
	}
}

// maxMedianPage is what half of the pages take at most on any machine, however busy: some hundred times
// what they take on one that is not. What a page reads is counted in package object.
const maxMedianPage = time.Second

func (l *lister) logAndBound(when string) {
	l.t.Helper()
	for kind, took := range l.took {
		slices.Sort(took)
		median, longest := took[len(took)/2], took[len(took)-1]
		l.t.Logf("%s%s: %d pages, median %v, 99 of 100 in %v, at most %v", when, kind, len(took),
			median.Round(time.Microsecond), took[len(took)*99/100].Round(time.Microsecond), longest.Round(time.Microsecond))
		if median > maxMedianPage {
			l.t.Errorf("%shalf of the pages by %s took more than %v: a page costs more than what is on it", when, kind, maxMedianPage)
		}
		if bound := *s3PageFlag; bound > 0 && longest > bound {
			l.t.Errorf("%sa page by %s took %v, more than %v", when, kind, longest, bound)
		}
	}
}

// restart kills a member and times its way back, with all the objects.
func (l *lister) restart() {
	l.t.Helper()
	m := l.s.cluster.members[2]
	m.kill()
	from := time.Now()
	m.start()
	served := time.Since(from)
	l.s.awaitServing(l.t)
	l.t.Logf("a member that was killed answers a read %v after its start, and S3 after %v", served.Round(time.Millisecond), time.Since(from).Round(time.Millisecond))
	l.pages(20)
	l.logAndBound("after a restart, ")
}
