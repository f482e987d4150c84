package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// outerBucket is the bucket of the store outside of the cluster.
const outerBucket = "bodies"

// outside is a cluster that keeps its bodies in another store, which is a member by itself.
type outside struct {
	*s3Service
	store  *member
	client *leanS3
}

// newOutside starts a store with a bucket, and a cluster of three that keeps its bodies there.
func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{store: newOuterStore(t), client: newLeanS3()}
	c := &cluster{t: t}
	for i := range 3 {
		c.members = append(c.members, here.newOutsideMember(t, string(rune('a'+i)), o.store.s3, outerBucket, s3Secret))
	}
	c.grow()
	o.s3Service = &s3Service{cluster: c}
	for _, m := range c.members {
		o.endpoints = append(o.endpoints, m.s3)
	}
	o.awaitServing(t)
	o.must(t, http.MethodPut, "/mine", nil)
	return o
}

// newOuterStore starts a member by itself that has a bucket.
func newOuterStore(t *testing.T) *member {
	t.Helper()
	store := here.newS3Member(t, "store")
	store.env = append(store.env, "CHAINFIRE_BUCKET="+outerBucket)
	store.start()
	(&s3Service{endpoints: []string{store.s3}}).awaitServing(t)
	return store
}

// newOutsideMember makes a member that keeps bodies in a bucket of a store.
func (l *lab) newOutsideMember(t *testing.T, name, store, bucket, secret string) *member {
	t.Helper()
	m := l.newS3Member(t, name, "--blob-store", "s3://"+bucket+"/home?region=us-east-1&endpoint=http://"+store)
	m.env = append(m.env, "CHAINFIRE_BLOB_ACCESS_KEY_ID="+s3AccessKey, "CHAINFIRE_BLOB_SECRET_ACCESS_KEY="+secret)
	return m
}

// must makes a request of the first member that must succeed.
func (o *outside) must(t *testing.T, method, path string, body []byte) {
	t.Helper()
	a, err := o.client.do(t.Context(), o.endpoints[0], method, path, body)
	if err == nil {
		err = a.ok()
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// holdsEverywhere holds that every member serves the same bytes of an object.
func (o *outside) holdsEverywhere(t *testing.T, path string, want []byte) {
	t.Helper()
	for i, e := range o.endpoints {
		o.cluster.members[i].await("GET "+path, patience, func(ctx context.Context) error {
			a, err := o.client.do(ctx, e, http.MethodGet, path, nil)
			switch {
			case err != nil:
				return err
			case a.status == http.StatusServiceUnavailable:
				return a.ok() // a member that is starting says so
			case a.status != http.StatusOK:
				return &hopeless{a.ok()}
			case !bytes.Equal(a.body, want):
				return &hopeless{fmt.Errorf("%d bytes, that are not the %d that were put", len(a.body), len(want))}
			}
			return nil
		})
	}
}

// kept is how many bytes the store has of bodies.
func (o *outside) kept(t *testing.T) (total int64) {
	t.Helper()
	all, err := o.client.all(t.Context(), o.store.s3, outerBucket, "")
	if err != nil {
		t.Fatal(err)
	}
	for key, size := range all {
		if !strings.HasPrefix(key, "home/") {
			t.Errorf("the store has %s, which is not below the prefix", key)
		}
		total += size
	}
	return total
}

func TestS3ObjectsAreWholeWithTheirBodiesInAnotherStore(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	c := o.newSDK(1)
	for i, client := range c.clients {
		if err := outsideObjects(t.Context(), c, client, i); err != nil {
			t.Errorf("by member %d: %v", i, err)
		}
	}
	// A copy has the bytes of its source.
	if got := o.kept(t); got < int64(3*14<<20) {
		t.Errorf("the store has %d bytes of bodies", got)
	}
	t.Run("awscli", func(t *testing.T) { outsideAwscli(t, o) })
}

// outsideObjects writes small and large objects by one client, in all ways, and reads them by
// every one.
func outsideObjects(ctx context.Context, all *sdk, c *s3.Client, by int) error {
	bucket, key := "mine", func(name string) *string { return aws.String(fmt.Sprintf("%d/%s", by, name)) }
	small, large, parts := noise(1000+by), noise(3<<20+7+by), noise(11<<20+by)
	put := func(name string, content []byte) error {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: key(name), Body: bytes.NewReader(content)})
		return err
	}
	manager := transfermanager.New(c, func(o *transfermanager.Options) { o.PartSizeBytes, o.MultipartUploadThreshold = 5<<20, 5<<20 })
	_, partsErr := manager.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &bucket, Key: key("parts"), Body: bytes.NewReader(parts)})
	err := errors.Join(put("small", small), put("large", small), put("large", large), put("gone", large), partsErr)
	if err != nil {
		return err
	}
	_, copyErr := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &bucket, Key: key("copy"), CopySource: aws.String("mine/" + *key("parts"))})
	_, goneErr := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: key("gone")})
	if err := errors.Join(copyErr, goneErr); err != nil {
		return err
	}
	for i, reader := range all.clients {
		for name, want := range map[string][]byte{"small": small, "large": large, "parts": parts, "copy": parts} {
			if have, err := getFrom(ctx, reader, bucket, *key(name)); err != nil || !bytes.Equal(have, want) {
				return fmt.Errorf("%s at member %d has %d bytes that are not the %d of before: %w", name, i, len(have), len(want), cmpErr(err))
			}
		}
		// Over the bound of two extents.
		in := &s3.GetObjectInput{Bucket: &bucket, Key: key("parts"), Range: aws.String("bytes=1048000-2098000")}
		if have, err := rangeFrom(ctx, reader, in); err != nil || !bytes.Equal(have, parts[1048000:2098001]) {
			return fmt.Errorf("a range at member %d has %d bytes: %w", i, len(have), cmpErr(err))
		}
		_, err := getFrom(ctx, reader, bucket, *key("gone"))
		if err := mustBe("NoSuchKey", err); err != nil {
			return err
		}
	}
	return nil
}

func rangeFrom(ctx context.Context, c *s3.Client, in *s3.GetObjectInput) ([]byte, error) {
	r, err := c.GetObject(ctx, in)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r.Body)
	return b, errors.Join(err, r.Body.Close())
}

// outsideAwscli takes a file up in parts at one member, and down from another.
func outsideAwscli(t *testing.T, o *outside) {
	tool := newS3Tool(t, o.s3Service, "aws")
	tool.args = func(endpoint string) []string { return []string{"--endpoint-url", "http://" + endpoint, "s3"} }
	sent, err := writeNoise(filepath.Join(tool.dir, "up"), 20<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := tool.all("cp --no-progress up s3://mine/awscli", "cp --no-progress s3://mine/awscli down", "rm s3://mine/awscli"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(tool.dir, "down"))
	if got := sha256.Sum256(b); err != nil || !bytes.Equal(got[:], sent) {
		t.Errorf("%d bytes came back that are not those that were sent: %v", len(b), err)
	}
}

// TestS3ObjectsInAnotherStoreOutliveTheirMember kills a member, which may lead, while clients write at
// all of them, and has it come back.
func TestS3ObjectsInAnotherStoreOutliveTheirMember(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	var (
		mu    sync.Mutex
		acked = map[string][]byte{}
		wg    sync.WaitGroup
		stop  = make(chan struct{})
	)
	for w := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				path := fmt.Sprintf("/mine/%d/%d", w, n)
				content := s3Object{there: true, seed: uint64(w<<32 + n), size: 70_000 + n%4*600_000}.bytes()
				ctx, cancel := context.WithTimeout(t.Context(), callTime)
				a, err := o.client.do(ctx, o.endpoint(w+n), http.MethodPut, path, content)
				cancel()
				if err == nil && a.ok() == nil {
					mu.Lock()
					acked[path] = content
					mu.Unlock()
				}
			}
		})
	}
	awaitAcked := func(more int) {
		t.Helper()
		var from int
		mu.Lock()
		from = len(acked)
		mu.Unlock()
		await(t, "acknowledged writes", patience, func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			if n := len(acked) - from; n < more {
				return fmt.Errorf("%d of %d", n, more)
			}
			return nil
		})
	}
	for _, victim := range []*member{o.cluster.awaitLeader(), o.cluster.followers()[0]} {
		awaitAcked(10)
		victim.kill()
		awaitAcked(10)
		victim.start()
	}
	awaitAcked(10)
	close(stop)
	wg.Wait()
	for _, path := range slices.Sorted(maps.Keys(acked)) {
		o.holdsEverywhere(t, path, acked[path])
	}
	t.Logf("%d objects were acknowledged", len(acked))
}

func TestS3WithoutItsOtherStoreRefusesLargeObjectsAloneAndSaysWhy(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	small, large := noise(60_000), noise(3<<20)
	o.must(t, http.MethodPut, "/mine/small", small)
	o.must(t, http.MethodPut, "/mine/large", large)
	o.store.stop()
	var wg sync.WaitGroup
	for i, e := range o.endpoints {
		wg.Go(func() {
			for _, method := range []string{http.MethodPut, http.MethodGet} {
				body := large
				if method == http.MethodGet {
					body = nil
				}
				a, err := o.client.do(t.Context(), e, method, "/mine/large", body)
				if err != nil || a.status != http.StatusServiceUnavailable || a.refusal() != "ServiceUnavailable" || !strings.Contains(string(a.body), "external store") {
					t.Errorf("%s at member %d without the store: %v, status %d, %s", method, i, err, a.status, a.body)
				}
			}
			a, err := o.client.do(t.Context(), e, http.MethodPut, fmt.Sprint("/mine/small", i), small)
			if err != nil || a.ok() != nil {
				t.Errorf("a small object at member %d: %v, %v", i, err, a.ok())
			}
			if _, err := o.cluster.members[i].kv().Put(t.Context(), fmt.Sprint("k", i), "v"); err != nil {
				t.Errorf("a key at member %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	o.holdsEverywhere(t, "/mine/small", small)
	o.store.start()
	for i, e := range o.endpoints {
		path := fmt.Sprint("/mine/again", i)
		await(t, "the store is used again", patience, func(ctx context.Context) error {
			a, err := o.client.do(ctx, e, http.MethodPut, path, large)
			return errors.Join(err, a.ok())
		})
		o.holdsEverywhere(t, path, large)
	}
	o.holdsEverywhere(t, "/mine/large", large)
}

func TestS3SaysThatItsOtherStoreCannotBeUsed(t *testing.T) {
	t.Parallel()
	store := newOuterStore(t)
	for name, c := range map[string]struct{ bucket, secret, why string }{
		"secret": {outerBucket, "another", "request signature"},
		"bucket": {"nobody-made-it", s3Secret, "bucket does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := here.newOutsideMember(t, "a", store.s3, c.bucket, c.secret)
			m.start()
			s := &s3Service{endpoints: []string{m.s3}}
			s.awaitServing(t)
			m.await("the log tells of the store", patience, func(context.Context) error {
				for line := range strings.Lines(m.proc.log()) {
					if strings.Contains(line, "external store") && strings.Contains(line, "cannot be used") && strings.Contains(line, c.why) {
						return nil
					}
				}
				return errors.New("it does not")
			})
			client := newLeanS3()
			if _, err := client.must(t.Context(), m.s3, http.MethodPut, "/mine"); err != nil {
				t.Fatal(err)
			}
			a, err := client.do(t.Context(), m.s3, http.MethodPut, "/mine/large", noise(70_000))
			if err != nil || a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "external store") {
				t.Errorf("a large object: %v, status %d: %s", err, a.status, a.body)
			}
		})
	}
}
