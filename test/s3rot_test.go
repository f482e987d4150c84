package test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"chainfire/sigv4"
)

// What docs/format/blob.md says of how an object's bytes are on a disk.
const (
	extentBytes     = 1 << 20
	pieceBytes      = 64 << 10
	recordHeadBytes = 64 // without the checksums of the pieces, of 4 bytes each
)

// rotten is an object whose bytes rot on the disk of one member.
type rotten struct {
	t      *testing.T
	s      *s3Service
	m      *member
	client *leanS3
	data   []byte
}

const rottenPath = "/rot/object"

// TestS3RottenBytesAreToldNeverServedAndHealed flips bytes of an object in the segment files of a
// member: while it runs, while it is stopped, after it was killed. Whoever reads there gets the bytes
// that were put; the log tells the file and the offset; and then the member has all of the object on its
// own disk again, and serves it without another's help.
func TestS3RottenBytesAreToldNeverServedAndHealed(t *testing.T) {
	t.Parallel()
	r := newRotten(t)
	r.check(r.flipByte(2, 3*pieceBytes+17))
	r.m.stop()
	at := []string{r.flipByte(0, 5), r.flipHead(4)}
	r.m.start()
	r.check(at...)
	r.m.kill()
	at = []string{r.flipByte(5, 1233), r.flipByte(1, 9*pieceBytes)}
	r.m.start()
	r.check(at...)
}

// TestS3BytesThatRotAtEveryMemberAreNeverServed flips a byte of the same extent at all three members:
// whoever reads gets an error, or an answer that ends early, and never other bytes than were put; what is
// whole of the object is served, nothing is copied of what is not, and a new put is read everywhere.
func TestS3BytesThatRotAtEveryMemberAreNeverServed(t *testing.T) {
	t.Parallel()
	r := newRotten(t)
	const bad = 3
	for i, m := range r.s.cluster.members {
		r.m = m
		r.flipByte(bad, int64(i)*pieceBytes+99)
	}
	for _, m := range r.s.cluster.members {
		r.m = m
		a, err := r.client.do(t.Context(), m.s3, http.MethodGet, rottenPath, nil)
		if err == nil && a.status == http.StatusOK {
			t.Errorf("%s serves the object whole, which nobody has", m.name)
		}
		if a.status == http.StatusOK && !bytes.HasPrefix(r.data, a.body) {
			t.Errorf("%s served other bytes than were put, before it gave up with %v", m.name, err)
		}
		for n := range r.extents() {
			a, err := r.client.do(t.Context(), m.s3, http.MethodGet, rottenPath, nil, "Range", r.rangeOf(n))
			switch {
			case err != nil:
				t.Errorf("extent %d from %s: %v", n, m.name, err)
			case n == bad && a.status < 500:
				t.Errorf("extent %d from %s: status %d with %d bytes", n, m.name, a.status, len(a.body))
			case n != bad && (a.status != http.StatusPartialContent || !bytes.Equal(a.body, r.extent(n))):
				t.Errorf("extent %d from %s: status %d with %d bytes, or others", n, m.name, a.status, len(a.body))
			}
		}
		r.mustNotCopy(bad)
	}
	r.put()
	for _, m := range r.s.cluster.members {
		r.m = m
		r.read()
	}
}

// rangeOf is the range of an extent.
func (r *rotten) rangeOf(n int) string {
	from := n * extentBytes
	return fmt.Sprintf("bytes=%d-%d", from, from+len(r.extent(n))-1)
}

// mustNotCopy has a part of an upload be a copy of an extent that nobody has.
func (r *rotten) mustNotCopy(n int) {
	r.t.Helper()
	a, err := r.client.do(r.t.Context(), r.m.s3, http.MethodPost, "/rot/copy?uploads", nil)
	var begun struct {
		UploadID string `xml:"UploadId"`
	}
	if err = errors.Join(err, a.ok()); err == nil {
		err = xml.Unmarshal(a.body, &begun)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	a, err = r.client.do(r.t.Context(), r.m.s3, http.MethodPut, "/rot/copy?partNumber=1&uploadId="+sigv4.Encode(begun.UploadID), nil,
		"X-Amz-Copy-Source", rottenPath, "X-Amz-Copy-Source-Range", r.rangeOf(n))
	// S3 may say 200 before it copies; then the answer is an error all the same.
	if err != nil || bytes.Contains(a.body, []byte("<ETag>")) {
		r.t.Errorf("a part is a copy of what nobody has: status %d, %s, %v", a.status, a.body, err)
	}
}

// newRotten puts an object that every member has.
func newRotten(t *testing.T) *rotten {
	t.Helper()
	s := newS3(t)
	if s.cluster == nil {
		t.Skip("it looks into the data directories of members")
	}
	r := &rotten{
		t: t, s: s, m: s.cluster.members[1], client: newLeanS3(),
		data: s3Object{there: true, seed: 7, size: 5<<20 + 1234}.bytes(),
	}
	if _, err := r.client.must(t.Context(), s.endpoints[0], http.MethodPut, "/rot"); err != nil {
		t.Fatal(err)
	}
	r.put()
	for _, m := range s.cluster.members {
		r.awaitWhole(m)
	}
	return r
}

// put puts the object.
func (r *rotten) put() {
	r.t.Helper()
	a, err := r.client.do(r.t.Context(), r.s.endpoints[0], http.MethodPut, rottenPath, r.data)
	if err = errors.Join(err, a.ok()); err != nil {
		r.t.Fatal(err)
	}
}

// extents are how many the object has.
func (r *rotten) extents() int { return (len(r.data) + extentBytes - 1) / extentBytes }

func (r *rotten) extent(n int) []byte {
	return r.data[n*extentBytes : min(len(r.data), (n+1)*extentBytes)]
}

// find returns where an extent is whole on the member's disk.
func (r *rotten) find(n int) (file string, offset int64, found bool) {
	r.t.Helper()
	for _, file := range r.m.files("blob/SEG-*") {
		b, err := os.ReadFile(file)
		if err != nil {
			r.t.Fatal(err)
		}
		if at := bytes.Index(b, r.extent(n)); at >= 0 {
			return file, int64(at), true
		}
	}
	return "", 0, false
}

// flipByte turns a bit of one byte of an extent, and returns what the log is to tell of it: the file,
// and where the piece begins that the byte is in.
func (r *rotten) flipByte(n int, off int64) string {
	r.t.Helper()
	return r.flip(n, off, off/pieceBytes*pieceBytes)
}

// flipHead turns a bit in the head of an extent's record, and returns what the log is to tell of it:
// the file, and where the record begins.
func (r *rotten) flipHead(n int) string {
	r.t.Helper()
	pieces := (len(r.extent(n)) + pieceBytes - 1) / pieceBytes
	head := -int64(recordHeadBytes + 4*pieces)
	return r.flip(n, head+10, head)
}

func (r *rotten) flip(n int, off, told int64) string {
	r.t.Helper()
	name, begin, found := r.find(n)
	if !found {
		r.t.Fatalf("extent %d is not on the disk of %s", n, r.m.name)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, begin+off); err == nil {
		b[0] ^= 0x10
		_, err = f.WriteAt(b, begin+off)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprintf("file=%s offset=%d ", name, begin+told)
}

// check reads where bytes have rotted, as the log is to tell, and waits until that is healed.
func (r *rotten) check(told ...string) {
	r.t.Helper()
	r.s.awaitServing(r.t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { r.read() })
	}
	wg.Wait()
	for _, where := range told {
		r.m.await("damage at "+where+"in the log", soon, func(context.Context) error {
			if r.m.log(where) == 0 {
				return errors.New("it does not tell of it")
			}
			return nil
		})
	}
	r.awaitWhole(r.m)
	for n := range r.extents() {
		if _, _, found := r.find(n); !found {
			r.t.Errorf("extent %d is not whole on the disk of %s", n, r.m.name)
		}
	}
	before := r.metric(r.m, "chainfire_body_remote_reads_total")
	r.read()
	if n := r.metric(r.m, "chainfire_body_remote_reads_total") - before; n > 0 {
		r.t.Errorf("%d extents were read from other members after %s had healed", n, r.m.name)
	}
}

// read reads the object from the member: whatever rots, it gives what was put.
func (r *rotten) read() {
	r.t.Helper()
	a, err := r.client.must(r.t.Context(), r.m.s3, http.MethodGet, rottenPath)
	switch {
	case err != nil:
		r.t.Error(err)
	case !bytes.Equal(a.body, r.data):
		r.t.Errorf("%d bytes were served that are not those that were put", len(a.body))
	}
}

// awaitWhole waits until a member has every extent, and no damage.
func (r *rotten) awaitWhole(m *member) {
	r.t.Helper()
	m.await("every extent whole", 2*patience, func(ctx context.Context) error {
		shown, err := m.metrics(ctx)
		if err != nil {
			return err
		}
		if n, bad, missing := shown["chainfire_body_extents"], shown["chainfire_body_damaged"], shown["chainfire_body_missing_extents"]; n != float64(r.extents()) || bad+missing > 0 {
			return fmt.Errorf("%v of %d extents are there, %v are damaged, %v missing", n, r.extents(), bad, missing)
		}
		return nil
	})
}

func (r *rotten) metric(m *member, name string) int64 {
	r.t.Helper()
	shown, err := m.metrics(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	v, found := shown[name]
	if !found {
		r.t.Fatalf("/metrics of %s has no %s", m.name, name)
	}
	return int64(v)
}

// metrics are what a member shows of those without labels, by name.
func (m *member) metrics(ctx context.Context) (map[string]float64, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.client+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(a.Body)
	if err = errors.Join(err, a.Body.Close()); err != nil {
		return nil, err
	}
	shown := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || name == "#" || strings.Contains(name, "{") {
			continue
		}
		if shown[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("/metrics of %s has %q: %w", m.name, line, err)
		}
	}
	return shown, nil
}
