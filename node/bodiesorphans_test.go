package node_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"chainfire/bodies"
	"chainfire/node"
	"chainfire/object"
)

// orphanSegment is how long segments are where it is looked at what files take.
const orphanSegment = 4 << 20

// tidyBodies is quickBodies of a member that soon takes a lease, or another member, for gone.
func tidyBodies(o *node.Options) {
	quickBodies(o)
	quick := o.Bounds.Bodies
	o.Bounds.Bodies = func(b *bodies.Options) {
		quick(b)
		b.LeaseFor, b.AbsentFor = 300*time.Millisecond, 4*time.Second
		b.Blob.SegmentBytes = orphanSegment
	}
}

// beginUploads writes the first bytes of some bodies, whose number is given. end gives them up.
func beginUploads(t *testing.T, n *node.Node, number string) (end func()) {
	t.Helper()
	count, err := strconv.Atoi(number)
	must(t, err)
	var open []object.BodyWriter
	for i := range count {
		var w object.BodyWriter
		eventually(t, "a body is begun", func() (err error) {
			w, err = n.Objects().NewBody(t.Context(), -1)
			return err // it may be a learner yet
		})
		open = append(open, w)
		if _, err := w.Write(noise(uint64(1000+i), 8<<20)); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, w := range open {
			w.Close()
		}
	}
}

// TestNoOrphanOutlivesItsGrace leaves bytes behind in every way there is: objects that are deleted and
// overwritten, parts of an upload that is aborted, writers that go away before and after they finish, a
// put that is refused, and a member that is killed with SIGKILL in the middle of uploads. After the
// grace every member has exactly the extents again that the objects need which are there, at first
// those that were left, then also the one that was killed, once it is back.
func TestNoOrphanOutlivesItsGrace(t *testing.T) {
	first := options(t, "a")
	tidyBodies(&first)
	a := start(t, first)
	addr := peerAddr(t, a)
	token, err := os.ReadFile(node.TokenFile(first.Dir))
	if err != nil {
		t.Fatal(err)
	}
	second := options(t, "b", addr)
	tidyBodies(&second)
	b := start(t, second)
	third := options(t, "c", addr)
	tidyBodies(&third)
	third.ListenPeer = freeAddr(t)
	c := start(t, third)
	voters(t, 3, a, b, c)
	makeBucket(t, a, "bucket")
	all := []*node.Node{a, b, c}

	kept := map[string][]byte{"kept": noise(1, 3<<20+77), "overwritten": noise(2, 2<<20+5), "source": noise(3, 2<<20)}
	for key, data := range kept {
		if err := putBytes(t.Context(), a, key, data); err != nil {
			t.Fatal(err)
		}
	}
	const need = 4 + 3 + 2
	for _, n := range all {
		hasAllExtents(t, n, need)
	}
	live := a.Bodies().Live

	stop(t, c)
	child := process(t, third.Dir, third.ListenPeer, addr, string(token), processUploads+"=3")
	for _, n := range []*node.Node{a, b} {
		eventually(t, "bytes of the uploads have come", func() error {
			if have := n.Bodies().Extents; have <= need {
				return fmt.Errorf("member %d has %d extents", n.ID(), have)
			}
			return nil
		})
	}
	orphans{t, a, b, kept}.leave()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	for _, n := range []*node.Node{a, b} {
		hasNothingElse(t, n, need, live)
	}
	if n := a.Bodies().Collected + b.Bodies().Collected; n < orphanExtents {
		t.Errorf("%d extents were let go, and %d were left behind", n, orphanExtents)
	}
	if segments, err := filepath.Glob(filepath.Join(third.Dir, "blob", "SEG-*")); err != nil || len(segments) == 0 {
		t.Fatalf("the member that was killed has no segments, %v", err)
	}
	c = start(t, third)
	all[2] = c
	for _, n := range all {
		hasNothingElse(t, n, need, live)
		for key, data := range kept {
			if err := readsBytes(t, n, key, data); err != nil {
				t.Errorf("%s from member %d: %v", key, n.ID(), err)
			}
		}
	}
	if got := c.Bodies(); got.Collected == 0 {
		t.Error("the member that was killed had nothing of its uploads to let go")
	}
}

// hasNothingElse waits until a member has so many extents of so many bytes, and files that are no
// larger than those need.
func hasNothingElse(t *testing.T, n *node.Node, extents, live int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d extents and nothing else on member %d", extents, n.ID()), func() error {
		c := n.Bodies()
		if c.Extents != extents || c.Live != live || c.Missing > 0 || c.Damaged > 0 {
			return fmt.Errorf("there are %d, of %d bytes in place of %d; %d are missing, %d damaged", c.Extents, c.Live, live, c.Missing, c.Damaged)
		}
		// Segments are compacted of which less than half is there, but for the one that is written.
		if most := 2*live + orphanSegment + object.MaxExtent; c.Bytes > most {
			return fmt.Errorf("the files take %d bytes, at most %d are in order", c.Bytes, most)
		}
		return nil
	})
}

// orphanExtents is how many extents are left behind by leave at least, each at one of the two members
// or both: those of the client that goes away in the middle may not have been sent.
const orphanExtents = 2 * (3 + 2*3 + 2 + 3*2 + 2)

// orphans leave bytes behind at two members.
type orphans struct {
	t    *testing.T
	a, b *node.Node
	// kept are objects that are there afterwards as they were before.
	kept map[string][]byte
}

func (o orphans) leave() {
	o.t.Helper()
	ctx := o.t.Context()
	for i, n := range []*node.Node{o.a, o.b} {
		must(o.t, putBytes(ctx, n, "deleted", noise(uint64(10+i), 3<<20)))
		o.change(n, &object.Change{Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: "deleted"}}}})
		must(o.t, putBytes(ctx, n, "overwritten", noise(uint64(20+i), 2<<20+5)))
		must(o.t, putBytes(ctx, n, "overwritten", o.kept["overwritten"]))
		o.moved(n)
		o.aborted(n)
		// A client that goes away in the middle, and one that does before the object is put.
		gone, leave := context.WithCancel(ctx)
		w, err := n.Objects().NewBody(gone, -1)
		must(o.t, err)
		_, err = w.Write(noise(uint64(30+i), 5<<20))
		must(o.t, err)
		leave()
		w.Close()
		o.body(n, uint64(40+i), func(object.Body) {})
		// One whose put is refused.
		o.body(n, uint64(50+i), func(body object.Body) {
			if err := o.put(n, "kept", body, object.Condition{IfNoneMatch: "*"}); !errors.Is(err, object.ErrPreconditionFailed) {
				o.t.Fatalf("a put over an object that is there: %v", err)
			}
		})
	}
}

// body writes a body and has it used.
func (o orphans) body(n *node.Node, seed uint64, use func(object.Body)) {
	o.t.Helper()
	must(o.t, useBody(o.t.Context(), n, noise(seed, 2<<20), func(body object.Body) error {
		use(body)
		return nil
	}))
}

func (o orphans) put(n *node.Node, key string, body object.Body, on object.Condition) error {
	sum := md5.Sum([]byte(key))
	_, err := n.Objects().Change(o.t.Context(), &object.Change{
		Put: &object.Put{Bucket: "bucket", Key: key, If: on, ETag: hex.EncodeToString(sum[:]), Body: body},
	})
	return err
}

func (o orphans) change(n *node.Node, c *object.Change) *object.Result {
	o.t.Helper()
	r, err := n.Objects().Change(o.t.Context(), c)
	must(o.t, err)
	return r
}

// moved copies an object to another key, which refers to the same body then, deletes the first one, and
// takes it back the same way.
func (o orphans) moved(n *node.Node) {
	o.t.Helper()
	for _, way := range [][2]string{{"source", "copy"}, {"copy", "source"}} {
		v, err := n.Objects().View(o.t.Context())
		must(o.t, err)
		bucket, err := v.Bucket("bucket")
		must(o.t, err)
		source, err := v.Version(bucket, way[0], nil)
		must(o.t, errors.Join(err, v.Close()))
		o.change(n, &object.Change{Copy: &object.Copy{
			SourceBucket: "bucket", SourceKey: way[0], SourceSeq: source.Seq, Bucket: "bucket", Key: way[1],
			Attributes: source.Attributes, ETag: source.ETag,
		}})
		o.change(n, &object.Change{Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: way[0]}}}})
	}
}

// aborted has an upload of two parts that comes to nothing, one of which is replaced.
func (o orphans) aborted(n *node.Node) {
	o.t.Helper()
	id := o.change(n, &object.Change{CreateUpload: &object.CreateUpload{Bucket: "bucket", Key: "parts"}}).Upload
	for i, number := range []int{1, 2, 2} {
		sum := md5.Sum([]byte{byte(i)})
		o.body(n, uint64(60+i), func(body object.Body) {
			o.change(n, &object.Change{PutPart: &object.PutPart{
				Bucket: "bucket", Key: "parts", Upload: id, Number: number, ETag: hex.EncodeToString(sum[:]), Body: body,
			}})
		})
	}
	o.change(n, &object.Change{Abort: &object.Abort{Bucket: "bucket", Key: "parts", Upload: id}})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
