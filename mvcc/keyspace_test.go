package mvcc

import (
	"bytes"
	"cmp"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// rowKey draws keys in which zeros, the escape and the terminator are common.
func rowKey(t *rapid.T) []byte {
	b := rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xfe, 0xff})
	return rapid.SliceOfN(b, 0, 6).Draw(t, "key")
}

func TestVersionRowsSortByKeyAndThenNewestFirst(t *testing.T) {
	c := newComparer()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rowKey(t), rowKey(t)
		ra := Revision{rapid.Int64Range(1, math.MaxInt64).Draw(t, "main"), rapid.Uint32().Draw(t, "sub")}
		rb := Revision{rapid.Int64Range(1, 3).Draw(t, "main"), rapid.Uint32Range(0, 3).Draw(t, "sub")}
		rowA, rowB := appendSuffix(appendPrefix(nil, a), ra), appendSuffix(appendPrefix(nil, b), rb)
		want := bytes.Compare(a, b)
		if want == 0 {
			want = cmp.Or(cmp.Compare(rb.Main, ra.Main), cmp.Compare(rb.Sub, ra.Sub))
		}
		if got := c.Compare(rowA, rowB); got != want {
			t.Fatalf("%x and %x compare as %d, want %d", rowA, rowB, got, want)
		}
		key, rev, err := parseVersionRow(nil, rowA)
		if err != nil || !bytes.Equal(key, a) || rev != ra {
			t.Fatalf("%x became %x %v, %v", a, key, rev, err)
		}
		if n := c.Split(rowA); !bytes.Equal(rowA[:n], appendPrefix(nil, a)) {
			t.Fatalf("%x splits at %d", rowA, n)
		}
	})
}

func TestNextPrefixLiesRightBehindAllVersions(t *testing.T) {
	c := newComparer()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rowKey(t), rowKey(t)
		prefix := appendPrefix(nil, a)
		next := nextPrefix(nil, prefix)
		if c.Split(next) != len(next) || c.Compare(prefix, next) >= 0 {
			t.Fatalf("%x is followed by %x", prefix, next)
		}
		row := appendSuffix(appendPrefix(nil, b), Revision{Main: 2})
		if before, own := c.Compare(row, next) < 0, bytes.Compare(b, a) <= 0; before != own {
			t.Fatalf("key %x against the next prefix of %x: %v", b, a, before)
		}
	})
}

func TestIntervalsAndTheirRowsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, from, end := rowKey(t), rowKey(t), rowKey(t)
		iv := newInterval(from, end)
		if got, want := iv.contains(key), inRange(key, from, end); got != want {
			t.Fatalf("[%x, %x) contains %x: %v", from, end, key, got)
		}
		lower, upper := iv.bounds()
		row := appendSuffix(appendPrefix(nil, key), Revision{Main: 5})
		if got := bytes.Compare(lower, row) <= 0 && bytes.Compare(row, upper) < 0; got != inRange(key, from, end) {
			t.Fatalf("rows [%x, %x) hold %x: %v", lower, upper, row, got)
		}
	})
}

func TestDamagedRowsAreErrorsNotPanics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.SampledFrom([]byte{'k', 'r', 0, 1, 2, 0xff, 0x80}), 0, 24).Draw(t, "row")
		if key, r, err := parseVersionRow(nil, b); err == nil {
			if again := appendSuffix(appendPrefix(nil, key), r); !bytes.Equal(again, b) {
				t.Fatalf("%x was read as %x", b, again)
			}
		}
		if c, err := parseChange(b); err == nil && c.kind != kindPut && c.kind != kindDelete {
			t.Fatalf("%x was read as kind %d", b, c.kind)
		}
		if _, err := parseVersion(Revision{Main: 9}, b); err == nil && b[0] != kindPut && b[0] != kindDelete {
			t.Fatalf("%x was read as a version", b)
		}
	})
}
