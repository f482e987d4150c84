package object

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"chainfire/internal/record"
)

func drawBucket(t *rapid.T) *Bucket {
	return &Bucket{
		Name:         "bucket",
		ID:           rapid.Uint64().Draw(t, "id"),
		Created:      rapid.Int64().Draw(t, "created"),
		Owner:        rapid.String().Draw(t, "owner"),
		Versioning:   Versioning(rapid.IntRange(0, int(VersioningSuspended)).Draw(t, "versioning")),
		ObjectLock:   rapid.Bool().Draw(t, "object lock"),
		Lock:         LockRule{Mode: drawMode(t), Days: rapid.Uint32().Draw(t, "days"), Years: rapid.Uint32().Draw(t, "years")},
		QuotaBytes:   rapid.Int64().Draw(t, "quota"),
		QuotaObjects: rapid.Int64().Draw(t, "quota"),
		Bytes:        rapid.Int64().Draw(t, "bytes"),
		Objects:      rapid.Int64().Draw(t, "objects"),
	}
}

func drawMode(t *rapid.T) LockMode {
	return LockMode(rapid.IntRange(0, int(LockCompliance)).Draw(t, "mode"))
}

func drawPairs(t *rapid.T) []Pair {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Pair {
		return Pair{Name: rapid.String().Draw(t, "name"), Value: rapid.String().Draw(t, "value")}
	}), 0, 3).Draw(t, "pairs")
}

func drawAttributes(t *rapid.T) (a Attributes) {
	for _, h := range a.headers() {
		*h = rapid.String().Draw(t, "header")
	}
	a.Meta, a.Tags = drawPairs(t), drawPairs(t)
	return a
}

func drawVersion(t *rapid.T) *Version {
	v := &Version{
		Key:          rapid.StringN(1, 20, 40).Draw(t, "key"),
		Seq:          rapid.Uint64Range(1, math.MaxUint64).Draw(t, "seq"),
		DeleteMarker: rapid.Bool().Draw(t, "delete marker"),
		Modified:     rapid.Int64().Draw(t, "modified"),
		Size:         rapid.Int64().Draw(t, "size"),
		ETag:         rapid.String().Draw(t, "etag"),
		Attributes:   drawAttributes(t),
		Checksum: Checksum{
			Algorithm: ChecksumAlgorithm(rapid.IntRange(0, int(ChecksumSHA256)).Draw(t, "algorithm")),
			Type:      ChecksumType(rapid.IntRange(0, int(ChecksumComposite)).Draw(t, "type")),
			Value:     rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "value"),
		},
		Retention: Retention{Mode: drawMode(t), Until: rapid.Int64().Draw(t, "until")},
		LegalHold: rapid.Bool().Draw(t, "hold"),
		Body:      BodyID{Lease: rapid.Uint64().Draw(t, "lease"), N: rapid.Uint32().Draw(t, "n")},
		Parts:     rapid.IntRange(0, MaxParts).Draw(t, "parts"),
	}
	if rapid.Bool().Draw(t, "not null") {
		v.ID = VersionID(v.Seq)
	}
	return v
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBucket(t)
		if got, err := decodeBucket(b.Name, b.encode()); err != nil || *got != *b {
			t.Fatalf("read %+v, %v, wrote %+v", got, err, b)
		}
		v := drawVersion(t)
		row := versionRow(b.ID, v.Key, v.Seq)
		key, seq, err := splitVersionRow(row)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeVersion(key, seq, v.encode())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(got, v, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("read another than was written: %s", d)
		}
	})
}

// TestWhatIsReadAliasesNothing: cursors overwrite what they gave out.
func TestWhatIsReadAliasesNothing(t *testing.T) {
	v := &Version{
		Key: "k", Seq: 1, ID: 1, ETag: "etag", Checksum: Checksum{Algorithm: ChecksumCRC32, Value: []byte{1, 2, 3, 4}},
		Attributes: Attributes{ContentType: "type", Meta: []Pair{{Name: "name", Value: "value"}}},
	}
	value := v.encode()
	got, err := decodeVersion("k", 1, value)
	if err != nil {
		t.Fatal(err)
	}
	clear(value)
	if d := cmp.Diff(got, v); d != "" {
		t.Errorf("it changed with the row: %s", d)
	}
}

func TestRowsOfVersionsAreInTheOrderOfKeysNewestFirst(t *testing.T) {
	drawKey := rapid.StringOf(rapid.SampledFrom([]rune{0, 1, '/', 'a', 'ÿ'}))
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawKey.Draw(t, "a"), drawKey.Draw(t, "b")
		s, u := rapid.Uint64().Draw(t, "seq"), rapid.Uint64().Draw(t, "seq")
		want := strings.Compare(a, b)
		if want == 0 {
			want = -cmpUint(s, u)
		}
		if got := bytes.Compare(versionRow(1, a, s), versionRow(1, b, u)); got != want {
			t.Errorf("%q at %d is %d to %q at %d, want %d", a, s, got, b, u, want)
		}
		prefix := appendKeyPrefix(inBucket(rowVersion, 1), b)
		row := versionRow(1, a, s)
		in := bytes.Compare(row, prefix) >= 0 && bytes.Compare(row, afterPrefix(prefix)) < 0
		if in != strings.HasPrefix(a, b) {
			t.Errorf("%q is among the rows with prefix %q: %v", a, b, in)
		}
	})
}

func cmpUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestWhatANewerVersionWroteIsRefused(t *testing.T) {
	field := func(b []byte, num int) []byte { return append(b, byte(num<<3), 1) }
	bucket, version := (&Bucket{ID: 1}).encode(), (&Version{Modified: 1}).encode()
	for _, c := range []struct {
		name string
		read func() error
		want error
	}{
		{"a bucket of another version", readBucketOf(append([]byte{2}, bucket[1:]...)), record.ErrNewer},
		{"a bucket with another field", readBucketOf(field(slices.Clone(bucket), 15)), record.ErrNewer},
		{"a bucket of another versioning", readBucketOf([]byte{1, 4 << 3, 3}), record.ErrNewer},
		{"a bucket of another lock mode", readBucketOf([]byte{1, 6<<3 | 2, 2, 1 << 3, 3}), record.ErrNewer},
		{"a bucket of nothing", readBucketOf(nil), record.ErrMalformed},
		{"a bucket with a rule of too many days", readBucketOf([]byte{1, 6<<3 | 2, 6, 2 << 3, 0xff, 0xff, 0xff, 0xff, 0x1f}), record.ErrMalformed},
		{"a version of another version", readVersionOf(append([]byte{2}, version[1:]...)), record.ErrNewer},
		{"a version with another field", readVersionOf(field(slices.Clone(version), 15)), record.ErrNewer},
		{"a version with another checksum", readVersionOf([]byte{1, 7<<3 | 2, 2, 1 << 3, byte(ChecksumSHA256) + 1}), record.ErrNewer},
		{"a version with too many parts", readVersionOf([]byte{1, 11 << 3, 0x91, 0x4e}), record.ErrMalformed},
		{"a version of nothing", readVersionOf(nil), record.ErrMalformed},
		{"a version that is cut off", readVersionOf(version[:len(version)-1]), record.ErrMalformed},
		{"a null version of another version", readSeqOf([]byte{2, 0, 0, 0, 0, 0, 0, 0, 0}), record.ErrNewer},
		{"a null version of nothing", readSeqOf(nil), record.ErrMalformed},
		{"a null version that is cut off", readSeqOf([]byte{1, 0}), record.ErrMalformed},
	} {
		if err := c.read(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func readBucketOf(b []byte) func() error {
	return func() error { _, err := decodeBucket("bucket", b); return err }
}

func readVersionOf(b []byte) func() error {
	return func() error { _, err := decodeVersion("key", 1, b); return err }
}

func readSeqOf(b []byte) func() error {
	return func() error { _, err := decodeSeq(b); return err }
}

// FuzzRecords reads any bytes as each of the records: it must not panic, and what is read must be
// written so that it is read again.
func FuzzRecords(f *testing.F) {
	f.Add((&Bucket{ID: 1, Owner: "o", Lock: LockRule{Mode: LockGovernance, Days: 3}}).encode())
	f.Add((&Version{
		ID: 1, ETag: "e", Body: BodyID{Lease: 1}, Checksum: Checksum{Algorithm: ChecksumSHA1, Value: []byte("x")},
		Attributes: Attributes{ContentType: "t", Tags: []Pair{{Name: "n", Value: "v"}}},
	}).encode())
	f.Add(versionRow(1, "a\x00b", 7))
	f.Add(encodeSeq(7))
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := decodeBucket("b", data); err == nil {
			if again, err := decodeBucket("b", b.encode()); err != nil || *again != *b {
				t.Errorf("bucket %+v is read again as %+v, %v", b, again, err)
			}
		}
		if v, err := decodeVersion("k", 1, data); err == nil {
			if again, err := decodeVersion("k", 1, v.encode()); err != nil || !cmp.Equal(again, v, cmpopts.EquateEmpty()) {
				t.Errorf("version %+v is read again as %+v, %v", v, again, err)
			}
		}
		if key, seq, err := splitVersionRow(data); err == nil {
			if row := versionRow(1, key, seq); !bytes.Equal(row[9:], data[9:]) {
				t.Errorf("row %x is of key %q at %d, whose row is %x", data, key, seq, row)
			}
		}
		if seq, err := decodeSeq(data); err == nil && !bytes.Equal(encodeSeq(seq), data) {
			t.Errorf("%x is read as %d", data, seq)
		}
	})
}
