package mvcc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
	"chainfire/internal/disk"
)

// countRig is a store of many keys, and which were live at each revision.
type countRig struct {
	store *Store
	live  map[string]bool
	was   map[int64]map[string]bool
	r     *rand.Rand
}

func newCountRig(t *testing.T, seed uint64) *countRig {
	s := newStore(t, disk.NewFaultFS(), nil)
	t.Cleanup(func() {
		if t.Failed() {
			return // a writer or a view may be open, for which Close would wait
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &countRig{store: s, live: map[string]bool{}, was: map[int64]map[string]bool{}, r: rand.New(rand.NewPCG(seed, 0))}
}

func (c *countRig) key() string { return countKey('a'+c.r.IntN(2), c.r.IntN(6000)) }

// countKey is a key with bytes in it that are written otherwise in a row, or seem to end one.
func countKey(letter, n int) string {
	return strings.NewReplacer("1", "\x00", "2", "\x01", "5", "\xff").Replace(fmt.Sprintf("%c%04d", letter, n))
}

// round writes one transaction of many keys, and asks for counts inside of it.
func (c *countRig) round(t *testing.T) {
	t.Helper()
	w, err := c.store.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	switch c.r.IntN(4) {
	case 0: // a range goes
		from, to := c.key(), c.key()
		_, _, err = w.DeleteRange([]byte(from), []byte(to), false)
		maps.DeleteFunc(c.live, func(k string, _ bool) bool { return k >= from && k < to })
	case 1: // keys side by side come
		first := c.r.IntN(5000)
		for i := range 1 + c.r.IntN(1500) {
			k := countKey('b', first+i)
			if _, err = w.Put([]byte(k), []byte("v"), 0, false); err != nil {
				break
			}
			c.live[k] = true
		}
	default:
		for range 1 + c.r.IntN(400) {
			k := c.key()
			if c.r.IntN(3) == 0 {
				_, _, err = w.DeleteRange([]byte(k), nil, false)
				delete(c.live, k)
			} else {
				_, err = w.Put([]byte(k), []byte("v"), 0, false)
				c.live[k] = true
			}
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		q, want := c.question(c.live)
		resp, err := w.Range(q)
		checkCount(t, "in the transaction", q, resp, err, want)
	}
	if c.r.IntN(8) == 0 {
		c.live = maps.Clone(c.was[c.store.State().Revision])
		if c.live == nil {
			c.live = map[string]bool{}
		}
		err = w.Abort()
	} else {
		w.EndTxn()
		c.was[w.Revision()] = maps.Clone(c.live)
		err = w.Commit(c.store.State().Applied+1, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// question draws an interval, and how many keys of a set it has.
func (c *countRig) question(live map[string]bool) (*chainfire.RangeRequest, int64) {
	from, to := c.key(), c.key()
	switch c.r.IntN(4) {
	case 0:
		from, to = "\x00", "\x00"
	case 1:
		to = "\x00"
	case 2:
		from = "a"
	}
	q := &chainfire.RangeRequest{Key: []byte(from), RangeEnd: []byte(to), Limit: int64(c.r.IntN(3)), CountOnly: c.r.IntN(2) == 0}
	if q.Limit == 0 {
		q.CountOnly = true
	}
	var n int64
	for k := range live {
		if k >= from && (to == "\x00" || k < to) {
			n++
		}
	}
	return q, n
}

func checkCount(t *testing.T, where string, q *chainfire.RangeRequest, resp *chainfire.RangeResponse, err error, want int64) {
	t.Helper()
	if err != nil || resp.Count != want {
		t.Fatalf("%s, from %q to %q at %d there are %+v keys, %v, want %d", where, q.Key, q.RangeEnd, q.Revision, resp, err, want)
	}
}

func TestCountIsExactWhateverWasWritten(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := newCountRig(t, seed)
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for range rounds {
		c.round(t)
		v, err := c.store.View()
		if err != nil {
			t.Fatal(err)
		}
		now := c.store.State().Revision
		c.round(t) // behind which the view is
		revisions := slices.Collect(maps.Keys(c.was))
		slices.Sort(revisions)
		for range 10 {
			if len(revisions) == 0 {
				break
			}
			rev := revisions[c.r.IntN(len(revisions))]
			q, want := c.question(c.was[rev])
			q.Revision = rev
			resp, err := c.store.Range(t.Context(), q)
			checkCount(t, "of the store", q, resp, err, want)
			if rev <= now {
				resp, err = v.Range(t.Context(), q)
				checkCount(t, "of a view", q, resp, err, want)
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	checkBuckets(t, c.store.eng, len(c.live))
}

// checkBuckets holds each bucket to the keys that are in it.
func checkBuckets(t *testing.T, e *engine, want int) {
	t.Helper()
	type bucket struct {
		from []byte
		keys int64
	}
	var buckets []bucket
	err := eachRow(e.db, []byte{tagBucket}, []byte{tagBucket + 1}, func(row, content []byte) error {
		n, err := parseBucketCount(row, content)
		key, kerr := bucketKey(row)
		buckets = append(buckets, bucket{key, n})
		return errors.Join(err, kerr)
	})
	if err != nil || len(buckets) == 0 || len(buckets[0].from) > 0 {
		t.Fatalf("buckets %v, %v", buckets, err)
	}
	c, err := openCursor(t.Context(), e.db, interval{open: true}, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	in, all := make([]int64, len(buckets)), 0
	for at := 0; c.next(); all++ {
		for at+1 < len(buckets) && bytes.Compare(c.key, buckets[at+1].from) >= 0 {
			at++
		}
		in[at]++
	}
	if err := errors.Join(c.err(), c.close()); err != nil || all != want {
		t.Errorf("there are %d keys, %v, and should be %d", all, err, want)
	}
	for i, b := range buckets {
		if b.keys != in[i] || b.keys > bucketMax || b.keys == 0 && i > 0 {
			t.Errorf("the bucket from %q on counts %d keys and has %d", b.from, b.keys, in[i])
		}
	}
}

// TestCountsOfABuildThatKeepsNoneAreMadeAnew: a member may have gone back to such a build, or
// was seeded by one, with the rows as the newer one has left them.
func TestCountsOfABuildThatKeepsNoneAreMadeAnew(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	opts := s.opts
	if err := write(s, 0, 3000, 1); err != nil {
		t.Fatal(err)
	}
	for _, rows := range []string{"older", "none", "some"} {
		bounds := [2][]byte{{tagBucket}, {tagBucket + 1}}
		b := s.eng.db.NewBatch()
		set := func(row, content []byte) error { return b.Set(row, content, nil) }
		drop := func() error { return b.DeleteRange(bounds[0], bounds[1], nil) }
		var err error
		switch rows {
		case "older":
			err = errors.Join(drop(), eachRow(s.eng.db, bounds[0], bounds[1], set),
				eachRow(s.eng.db, metaRow(countedName), nextPrefix(nil, metaRow(countedName)), set))
		case "none":
			err = errors.Join(drop(), b.Delete(metaRow(countedName), nil))
		case "some": // as a crash leaves them while they are made
			err = errors.Join(drop(), set(bucketRow(nil), []byte{1}), b.Delete(metaRow(countedName), nil))
		}
		if err == nil {
			err = apply(s, []round{{txns: [][]op{
				{{key: []byte("a" + rows), value: []byte("v")}},
				{{key: []byte("key-00000100"), end: []byte("key-00000200"), delete: true}},
			}}}, s.State().Applied+1)
		}
		if err = errors.Join(err, b.Commit(pebble.NoSync), s.Close()); err != nil {
			t.Fatal(err)
		}
		if found := mustInspectStore(t, opts.FS.(*disk.FaultFS), "data"); found.Damage > 0 {
			t.Errorf("with %s rows: %+v", rows, found.faults)
		}
		if s, err = Open(opts); err != nil {
			t.Fatal(err)
		}
		want := int64(2901 + slices.Index([]string{"older", "none", "some"}, rows))
		q := &chainfire.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true}
		resp, err := s.Range(t.Context(), q)
		checkCount(t, "with "+rows+" rows", q, resp, err, want)
		checkBuckets(t, s.eng, int(want))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCountOfALargeRangeDoesNotWalkIt looks at how far a walk goes, not at the time it takes.
func TestCountOfALargeRangeDoesNotWalkIt(t *testing.T) {
	s := newStore(t, disk.NewFaultFS(), nil)
	defer s.Close()
	const keys = 50_000
	for i := range 5 {
		w, err := s.NewWriter()
		if err != nil {
			t.Fatal(err)
		}
		for j := range keys / 5 {
			if _, err := w.Put(fmt.Appendf(nil, "key-%08d", i*keys/5+j), nil, 0, false); err != nil {
				t.Fatal(err)
			}
		}
		w.EndTxn()
		if err := w.Commit(uint64(i+1), 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, rev := range []int64{s.State().Revision, s.State().Revision - 1} {
		c, err := openCursor(context.Background(), s.eng.db, newInterval([]byte("key-"), []byte("kez")), rev)
		if err != nil {
			t.Fatal(err)
		}
		n, err := c.rest()
		want := keys - keys/5*(s.State().Revision-rev)
		if err != nil || n != want {
			t.Errorf("%d keys at revision %d, %v, want %d", n, rev, err, want)
		}
		// Another 10,000 changes are more than what is corrected.
		if limit := 4 * bucketMax; rev == s.State().Revision && c.steps > limit {
			t.Errorf("the walk took %d steps, %d at most", c.steps, limit)
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
	}
}
