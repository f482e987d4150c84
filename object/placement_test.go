package object_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"chainfire/object"
)

// extentAt is one of many extents, such as there are: few leases, many bodies, some extents of
// each.
func extentAt(i int) object.ExtentID {
	return object.ExtentID{
		Body: object.BodyID{Lease: uint64(i/100_000 + 5), N: uint32(i / 10 % 10_000)}, N: uint32(i % 10),
	}
}

func drawExtent(t *rapid.T) object.ExtentID {
	return object.ExtentID{
		Body: object.BodyID{Lease: rapid.Uint64().Draw(t, "lease"), N: rapid.Uint32().Draw(t, "body")}, N: rapid.Uint32().Draw(t, "extent"),
	}
}

// TestPlacesStayAsTheyAre holds places against what they were: members of different versions
// have to come to the same.
func TestPlacesStayAsTheyAre(t *testing.T) {
	members := []uint64{1, 2, 3, 4, 5, 1 << 40}
	for _, c := range []struct {
		e    object.ExtentID
		want []uint64
	}{
		{object.ExtentID{}, []uint64{3, 4, 5}},
		{object.ExtentID{Body: object.BodyID{Lease: 7}}, []uint64{3, 5, 1 << 40}},
		{object.ExtentID{Body: object.BodyID{Lease: 7}, N: 1}, []uint64{3, 4, 1 << 40}},
		{object.ExtentID{Body: object.BodyID{Lease: 7, N: 1}}, []uint64{3, 4, 1 << 40}},
		{object.ExtentID{Body: object.BodyID{Lease: 1 << 50, N: 1 << 30}, N: 5119}, []uint64{2, 3, 1 << 40}},
	} {
		if got := object.Place(members, object.Copies, c.e); !slices.Equal(got, c.want) {
			t.Errorf("extent %v is placed on %v, want %v", c.e, got, c.want)
		}
	}
}

func TestAMemberThatComesOrGoesMovesNothingBetweenOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 1<<40), 1, 9, rapid.ID).Draw(t, "members")
		n, e := rapid.IntRange(1, 4).Draw(t, "copies"), drawExtent(t)
		placed := object.Place(members, n, e)
		if len(placed) != min(n, len(members)) || !slices.IsSorted(placed) || len(slices.Compact(slices.Clone(placed))) != len(placed) {
			t.Fatalf("%d copies on %v of %v", n, placed, members)
		}
		if again := object.Place(rapid.Permutation(members).Draw(t, "order"), n, e); !slices.Equal(again, placed) {
			t.Fatalf("in another order they are %v, not %v", again, placed)
		}
		gone := rapid.SampledFrom(members).Draw(t, "gone")
		left := slices.DeleteFunc(slices.Clone(members), func(m uint64) bool { return m == gone })
		rest := object.Place(left, n, e)
		for _, m := range placed {
			if m != gone && !slices.Contains(rest, m) {
				t.Fatalf("without %d the copies on %v are on %v", gone, placed, rest)
			}
		}
		if !slices.Contains(placed, gone) && !slices.Equal(placed, rest) {
			t.Fatalf("member %d holds nothing, and without it %v became %v", gone, placed, rest)
		}
	})
}

func TestMembersGetEqualShares(t *testing.T) {
	for _, members := range [][]uint64{{1, 2, 3, 4}, {1, 2, 3, 4, 5}, {1, 1001, 2002, 2003, 900_000, 900_001, 7}} {
		const extents = 100_000
		held := map[uint64]int{}
		for i := range extents {
			for _, m := range object.Place(members, object.Copies, extentAt(i)) {
				held[m]++
			}
		}
		fair := object.Copies * extents / len(members)
		for _, m := range members {
			if off := float64(held[m])/float64(fair) - 1; off < -0.02 || off > 0.02 {
				t.Errorf("member %d of %v holds %d extents, a fair share is %d", m, members, held[m], fair)
			}
		}
	}
}
