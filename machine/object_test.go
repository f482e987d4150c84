package machine

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/object"
	"chainfire/object/objecttest"
	"chainfire/raft"
)

func ptr[T any](v T) *T { return &v }

// inline is a body with its ETag.
func inline(text string) (object.Body, string) {
	sum := md5.Sum([]byte(text))
	b := object.Body{Size: int64(len(text))}
	if text != "" {
		b.Inline = []byte(text)
	}
	return b, hex.EncodeToString(sum[:])
}

func putOf(bucket, key, text string) *object.Change {
	body, etag := inline(text)
	return &object.Change{Time: 1000, Put: &object.Put{Bucket: bucket, Key: key, ETag: etag, Body: body}}
}

func drawBucket(t *rapid.T) string {
	return rapid.SampledFrom([]string{"one", "two", "three"}).Draw(t, "bucket")
}

func drawObjectKey(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "a/b", "a\x00", "b"}).Draw(t, "key")
}

func drawBody(t *rapid.T) (object.Body, string) {
	if rapid.IntRange(0, 3).Draw(t, "kind of body") > 0 {
		return inline(rapid.StringN(0, 50, -1).Draw(t, "body"))
	}
	// Of a lease that may be open, on members that may be enough.
	id := object.BodyID{Lease: rapid.Uint64Range(2, 20).Draw(t, "lease"), N: rapid.Uint32Range(1, 3).Draw(t, "n")}
	holders := rapid.SampledFrom([][]uint64{{1}, {2}, {1, 2}}).Draw(t, "holders")
	return object.Body{ID: id, Size: 7, Extents: []object.Extent{{Size: 7, CRC: 1, Holders: holders}}}, "00"
}

// drawObjectChange draws a change of few buckets and keys, some of which are refused.
func drawObjectChange(t *rapid.T) *object.Change {
	c := &object.Change{Time: rapid.Int64Range(1, 10).Draw(t, "time")}
	bucket, key := drawBucket(t), drawObjectKey(t)
	body, etag := drawBody(t)
	upload := rapid.Uint64Range(2, 20).Draw(t, "upload") << 12
	switch rapid.IntRange(0, 14).Draw(t, "change") {
	case 0, 1:
		c.CreateBucket = &object.CreateBucket{Name: bucket, Owner: "me"}
	case 2:
		c.SetBucket = &object.SetBucket{Name: bucket, Versioning: ptr(rapid.SampledFrom([]object.Versioning{object.VersioningEnabled, object.VersioningSuspended}).Draw(t, "versioning"))}
	case 3:
		c.DeleteBucket = &object.DeleteBucket{Name: bucket}
	case 4, 5, 6:
		c.Put = &object.Put{Bucket: bucket, Key: key, ETag: etag, Body: body}
		c.Put.If.IfNoneMatch = rapid.SampledFrom([]string{"", "*"}).Draw(t, "if none match")
	case 7:
		c.Copy = &object.Copy{SourceBucket: drawBucket(t), SourceKey: drawObjectKey(t), SourceSeq: upload, Bucket: bucket, Key: key, ETag: etag}
	case 8:
		c.Delete = &object.Delete{Bucket: bucket, Objects: []object.DeleteObject{{Key: key}, {Key: "b", Version: ptr(object.Null)}}}
	case 9:
		c.CreateUpload = &object.CreateUpload{Bucket: bucket, Key: key, Owner: "me"}
	case 10:
		c.PutPart = &object.PutPart{Bucket: bucket, Key: key, Upload: upload, Number: 1, ETag: etag, Body: body}
	case 11:
		c.Complete = &object.Complete{Bucket: bucket, Key: key, Upload: upload, Parts: []object.CompletePart{{Number: 1, ETag: etag}}}
	case 12:
		c.OpenLease = &object.OpenLease{Member: 1, Boots: 1}
	case 13:
		c.CloseLeases = &object.CloseLeases{Member: 1, Boots: 2}
	default:
		c.Reap = &object.Reap{}
	}
	return c
}

// objectRows are all rows of buckets and objects, row and value.
func objectRows(t fataler, rows object.Reader) (all [][2]string) {
	t.Helper()
	c, err := rows.Cursor([]byte{0}, []byte{0xff})
	if err != nil {
		t.Fatalf("read rows: %v", err)
	}
	for c.Next() {
		all = append(all, [2]string{string(c.Row()), string(c.Value())})
	}
	if err := errors.Join(c.Err(), c.Close()); err != nil {
		t.Fatalf("read rows: %v", err)
	}
	return all
}

func rowsOf(t fataler, m *Machine) [][2]string {
	t.Helper()
	v, err := m.store.View()
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	all := objectRows(t, sideView{v})
	if err := v.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return all
}

// TestObjectsAreThoseOfRowsInMemoryHoweverTheLogIsCut applies one log, of objects and keys, to
// two machines in rounds of different lengths, to a third after a crash, and to rows in
// memory.
func TestObjectsAreThoseOfRowsInMemoryHoweverTheLogIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, fsA := start(t)
		b, _ := start(t)
		rows := objecttest.New()
		var entries []raft.Entry
		var want []Result
		for i := range rapid.IntRange(1, 40).Draw(t, "commands") {
			index := uint64(i + 2)
			if rapid.IntRange(0, 5).Draw(t, "kind") == 0 {
				entries = append(entries, entry(index, Command{Put: &chainfire.PutRequest{Key: []byte("k"), Value: []byte("v")}}))
				continue
			}
			c := drawObjectChange(t)
			entries = append(entries, entry(index, Command{Object: c}))
			res := Result{Index: index, Term: 1}
			res.Object, res.Err = object.Apply(rows, index, func(object.ExtentID) []uint64 { return []uint64{1} }, c)
			want = append(want, res)
		}
		gotA := applyIn(t, a, entries, rapid.IntRange(1, 30).Draw(t, "size of a"))
		gotB := applyIn(t, b, entries, rapid.IntRange(1, 7).Draw(t, "size of b"))
		if d := diff(gotA, gotB); d != "" {
			t.Fatalf("results: (-one batching +another)\n%s", d)
		}
		ofObjects := slices.DeleteFunc(gotA, func(r Result) bool { return r.Put != nil })
		if d := diff(want, ofObjects); d != "" {
			t.Fatalf("results: (-memory +machine)\n%s", d)
		}
		all := objectRows(t, rows)
		for _, m := range []*Machine{a, b} {
			if d := diff(all, rowsOf(t, m)); d != "" {
				t.Fatalf("rows: (-memory +machine)\n%s", d)
			}
		}
		c := reopen(t, fsA.Crash(disk.CrashOptions{}))
		applied, _ := c.Applied()
		applyIn(t, c, entries[applied-1:], 4)
		checkSums(t, applied, a, b, c)
		if d := diff(all, rowsOf(t, c)); d != "" {
			t.Fatalf("rows after a crash: (-memory +machine)\n%s", d)
		}
		closeAll(t, a, b, c)
	})
}

// checkSums finds that machines have the same sums of objects at all indexes, of which the last
// knows those from one on, and that they are those of the rows.
func checkSums(t *rapid.T, from uint64, machines ...*Machine) {
	t.Helper()
	last, _ := machines[0].Applied()
	for index := uint64(1); index <= last; index++ {
		want, known := machines[0].ObjectSumAt(index)
		if !known {
			t.Fatalf("the sum at index %d is not known", index)
		}
		for i, m := range machines {
			got, known := m.ObjectSumAt(index)
			if here := i < len(machines)-1 || index >= from; known != here || known && got != want {
				t.Fatalf("the sum at index %d is %x, known %t, want %x", index, got, known, want)
			}
		}
	}
	for _, m := range machines {
		kept, _ := m.ObjectSumAt(last)
		if sum, err := m.SumObjects(context.Background()); err != nil || sum != kept {
			t.Fatalf("the sum is %x, %v, kept is %x", sum, err, kept)
		}
	}
}

func TestACopyOfTheStateHasTheObjects(t *testing.T) {
	a, fs := start(t)
	mustDo(t, a, Command{Object: &object.Change{CreateBucket: &object.CreateBucket{Name: "bucket"}}})
	mustDo(t, a, Command{Object: putOf("bucket", "key", "text")})
	if _, err := a.Checkpoint(t.Context(), "copy"); err != nil {
		t.Fatal(err)
	}
	opts := testOptions(fs)
	opts.Dir = "other"
	if err := Install(opts, "copy"); err != nil {
		t.Fatal(err)
	}
	b, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	v, err := b.ObjectView()
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := v.Bucket("bucket")
	if err != nil {
		t.Fatal(err)
	}
	ver, err := v.Version(bucket, "key", nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := v.Body(ver.Body)
	if err != nil || string(body.Inline) != "text" || bucket.Objects != 1 {
		t.Errorf("%+v in %+v, %v", body, bucket, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	closeAll(t, a, b)
}

// TestDamagedRowsStopTheMember has an object refused where it must be, and finds that a row
// that cannot be read is no reason to refuse, which the others would not have.
func TestDamagedRowsStopTheMember(t *testing.T) {
	m, _ := start(t)
	if res := do(t, m, Command{Object: putOf("bucket", "key", "text")}); !errors.Is(res.Err, object.ErrNoSuchBucket) || res.Object != nil {
		t.Errorf("%+v", res)
	}
	w, err := m.store.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.SetSide([]byte("bbucket"), []byte{0xff}), w.Commit(3, 1)); err != nil {
		t.Fatal(err)
	}
	if res, err := m.Apply([]raft.Entry{entry(4, Command{Object: putOf("bucket", "key", "text")})}); err == nil {
		t.Errorf("%+v", res)
	}
	if index, _ := m.Applied(); index != 3 {
		t.Errorf("index %d is applied", index)
	}
	closeAll(t, m)
}

// TestABodyCountsOnTheVotersThatAreToStay puts a body in a joint configuration.
func TestABodyCountsOnTheVotersThatAreToStay(t *testing.T) {
	fs := disk.NewFaultFS()
	init := testInit()
	init.Conf = raft.ConfState{Voters: []uint64{1, 2, 3}, Outgoing: []uint64{1, 4, 5}, Learners: []uint64{6}}
	if err := Bootstrap(testOptions(fs), init); err != nil {
		t.Fatal(err)
	}
	m := reopen(t, fs)
	mustDo(t, m, Command{Object: &object.Change{CreateBucket: &object.CreateBucket{Name: "bucket"}}})
	lease := mustDo(t, m, Command{Object: &object.Change{OpenLease: &object.OpenLease{Member: 1, Boots: 1}}}).Object.Lease
	for i, c := range []struct {
		holders []uint64
		want    error
	}{
		{[]uint64{1, 4, 5}, object.ErrHolders},
		{[]uint64{1, 6}, object.ErrHolders},
		{[]uint64{1, 3}, nil},
	} {
		put := &object.Put{Bucket: "bucket", Key: "key", ETag: "00", Body: object.Body{
			ID: object.BodyID{Lease: lease, N: uint32(i)}, Size: 7, Extents: []object.Extent{{Size: 7, Holders: c.holders}},
		}}
		if res := do(t, m, Command{Object: &object.Change{Put: put}}); !errors.Is(res.Err, c.want) || (res.Err == nil) != (c.want == nil) {
			t.Errorf("on %v: %v, want %v", c.holders, res.Err, c.want)
		}
	}
	if got := m.Place(object.ExtentID{Body: object.BodyID{Lease: lease}}); diff(got, []uint64{1, 2, 3}) != "" {
		t.Errorf("placed on %v", got)
	}
	closeAll(t, m)
}

func TestAlarmsLetObjectsGoAndKeysBeTakenAway(t *testing.T) {
	one := []object.DeleteObject{{Key: "key"}}
	changes := map[string]struct {
		c              *object.Change
		space, corrupt error
	}{
		"put":           {putOf("bucket", "key", "text"), chainfire.ErrNoSpace, chainfire.ErrCorrupt},
		"copy":          {&object.Change{Copy: &object.Copy{}}, chainfire.ErrNoSpace, chainfire.ErrCorrupt},
		"create bucket": {&object.Change{CreateBucket: &object.CreateBucket{Name: "bucket"}}, chainfire.ErrNoSpace, chainfire.ErrCorrupt},
		"create upload": {&object.Change{CreateUpload: &object.CreateUpload{}}, chainfire.ErrNoSpace, chainfire.ErrCorrupt},
		"put part":      {&object.Change{PutPart: &object.PutPart{}}, chainfire.ErrNoSpace, chainfire.ErrCorrupt},
		"complete":      {&object.Change{Complete: &object.Complete{}}, chainfire.ErrNoSpace, chainfire.ErrCorrupt},
		"delete":        {&object.Change{Delete: &object.Delete{Bucket: "bucket", Objects: one}}, object.ErrNoSuchBucket, chainfire.ErrCorrupt},
		"abort":         {&object.Change{Abort: &object.Abort{Bucket: "bucket"}}, object.ErrNoSuchBucket, chainfire.ErrCorrupt},
		"reap":          {&object.Change{Reap: &object.Reap{}}, nil, chainfire.ErrCorrupt},
		"delete key":    {&object.Change{DeleteKey: &object.DeleteKey{ID: "AK"}}, object.ErrNoSuchAccessKey, object.ErrNoSuchAccessKey},
	}
	for _, alarm := range []chainfire.AlarmType{chainfire.AlarmNoSpace, chainfire.AlarmCorrupt} {
		m, _ := start(t)
		mustDo(t, m, Command{SetAlarm: &SetAlarm{Member: 1, Type: alarm}})
		for name, c := range changes {
			want := c.space
			if alarm == chainfire.AlarmCorrupt {
				want = c.corrupt
			}
			if res := do(t, m, Command{Object: c.c}); !errors.Is(res.Err, want) || (res.Err == nil) != (want == nil) {
				t.Errorf("%s with %s: %v, want %v", name, alarm, res.Err, want)
			}
		}
		closeAll(t, m)
	}
}

// TestChangesOfObjectsAreDescribedWithoutTheirSecrets draws any change, whose bytes are told
// apart from everything else that is described.
func TestChangesOfObjectsAreDescribedWithoutTheirSecrets(t *testing.T) {
	body := object.Body{ID: object.BodyID{Lease: 5, N: 2}, Size: 7, Extents: []object.Extent{{Size: 7, Holders: []uint64{1}}}}
	version := object.VersionID(9)
	for want, c := range map[string]*object.Change{
		`create bucket "b"`:                                                          {CreateBucket: &object.CreateBucket{Name: "b"}},
		`delete bucket "b"`:                                                          {DeleteBucket: &object.DeleteBucket{Name: "b"}},
		`change bucket "b"`:                                                          {SetBucket: &object.SetBucket{Name: "b"}},
		`set "lifecycle", 2 B, in bucket "b"`:                                        {SetConfig: &object.SetConfig{Bucket: "b", Name: "lifecycle", Value: []byte("{}")}},
		`put "k", 4 B inline in bucket "b"`:                                          putOf("b", "k", "text"),
		`put "k", 7 B in 1 extents of body 5.2 in bucket "b"`:                        {Put: &object.Put{Bucket: "b", Key: "k", Body: body}},
		`copy version 9 of "k" in bucket "b" to "l" in bucket "c"`:                   {Copy: &object.Copy{SourceBucket: "b", SourceKey: "k", SourceSeq: 9, Bucket: "c", Key: "l"}},
		`delete "k"; "l", version 9,; "m", the null version, in bucket "b"`:          {Delete: &object.Delete{Bucket: "b", Objects: []object.DeleteObject{{Key: "k"}, {Key: "l", Version: &version}, {Key: "m", Version: ptr(object.Null)}}}},
		`change "k", version 9, in bucket "b"`:                                       {SetObject: &object.SetObject{Bucket: "b", Key: "k", Version: &version}},
		`begin an upload of "k" in bucket "b"`:                                       {CreateUpload: &object.CreateUpload{Bucket: "b", Key: "k"}},
		`put part 3, 7 B in 1 extents of body 5.2, of upload 4 of "k" in bucket "b"`: {PutPart: &object.PutPart{Bucket: "b", Key: "k", Upload: 4, Number: 3, Body: body}},
		`complete, of 1 parts, upload 4 of "k" in bucket "b"`:                        {Complete: &object.Complete{Bucket: "b", Key: "k", Upload: 4, Parts: []object.CompletePart{{}}}},
		`abort upload 4 of "k" in bucket "b"`:                                        {Abort: &object.Abort{Bucket: "b", Key: "k", Upload: 4}},
		`open a write lease for member 1, start 2`:                                   {OpenLease: &object.OpenLease{Member: 1, Boots: 2}},
		`close write lease 5`:                                                        {CloseLease: &object.CloseLease{ID: 5}},
		`close the write leases of member 1 from before start 2`:                     {CloseLeases: &object.CloseLeases{Member: 1, Boots: 2}},
		`make access key "AK"`:                                                       {SetKey: &object.SetKey{New: true, Key: object.AccessKey{ID: "AK", Sealed: []byte("sealed secret")}}},
		`change access key "AK"`:                                                     {SetKey: &object.SetKey{Key: object.AccessKey{ID: "AK", Sealed: []byte("sealed secret")}}},
		`delete access key "AK"`:                                                     {DeleteKey: &object.DeleteKey{ID: "AK"}},
		`let go of bodies that nothing refers to`:                                    {Reap: &object.Reap{}},
	} {
		e := entry(2, Command{Object: c})
		d, err := DecodeEntry(&e)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := d.Describe(true); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got := d.Describe(false); strings.Contains(got, `"k"`) || got == "" {
			t.Errorf("%s: without keys it is %s", want, got)
		}
	}
}

func TestAViewOfObjectsStaysAsItWas(t *testing.T) {
	m, _ := start(t)
	mustDo(t, m, Command{Object: &object.Change{CreateBucket: &object.CreateBucket{Name: "bucket"}}})
	mustDo(t, m, Command{Object: putOf("bucket", "a", "text")})
	v, err := m.ObjectView()
	if err != nil {
		t.Fatal(err)
	}
	mustDo(t, m, Command{Object: putOf("bucket", "b", "text")})
	mustDo(t, m, Command{Object: &object.Change{Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: "a"}}}}})
	b, err := v.Bucket("bucket")
	if err != nil {
		t.Fatal(err)
	}
	l, err := v.List(context.Background(), b, object.ListRequest{Limit: 10})
	if err != nil || len(l.Entries) != 1 || l.Entries[0].Key != "a" {
		t.Errorf("%+v, %v", l, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	closeAll(t, m)
}

func TestSumsOfObjectsAreRememberedForAWhile(t *testing.T) {
	var s objectSums
	if _, known := s.at(5); known {
		t.Error("nothing was added, and a sum is known")
	}
	s.reset(objectSum{5, 1})
	last := uint64(5)
	for range 5 * maxObjectSums {
		last += 2
		s.add([]objectSum{{last, 10 * last}})
	}
	for _, back := range []uint64{0, 1, 2, 2 * (maxObjectSums - 1)} {
		index := last - back
		at := index - (last-index)%2 // of the change at or before it
		if sum, known := s.at(index); !known || sum != 10*at {
			t.Errorf("at index %d it is %d, %t, want %d", index, sum, known, 10*at)
		}
	}
	if _, known := s.at(6); known || len(s.sums) > 2*maxObjectSums {
		t.Errorf("%d sums are remembered, the first ones too: %t", len(s.sums), known)
	}
	s.clear()
	if _, known := s.at(last); known {
		t.Error("a sum is known of a state that is replaced")
	}
}
