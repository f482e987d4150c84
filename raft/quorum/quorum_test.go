package quorum_test

import (
	"testing"

	"pgregory.net/rapid"

	"chainfire/raft/quorum"
)

// slowCommitted tries every index and counts, for each half, who holds it.
func slowCommitted(voters, outgoing []uint64, match map[uint64]uint64) uint64 {
	var best uint64
	for _, i := range match {
		ok := true
		for _, half := range [][]uint64{voters, outgoing} {
			n := 0
			for _, id := range half {
				if match[id] >= i {
					n++
				}
			}
			if len(half) > 0 && 2*n <= len(half) {
				ok = false
			}
		}
		if ok && i > best {
			best = i
		}
	}
	return best
}

func drawIDs(t *rapid.T, name string, minLen int) []uint64 {
	return rapid.SliceOfNDistinct(rapid.Uint64Range(1, 11), minLen, 9, rapid.ID[uint64]).Draw(t, name)
}

func TestCommittedEqualsCountingEveryIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		voters, outgoing := drawIDs(t, "voters", 1), drawIDs(t, "outgoing", 0)
		match := map[uint64]uint64{}
		for id := uint64(1); id <= 11; id++ {
			match[id] = rapid.Uint64Range(0, 12).Draw(t, "match")
		}
		got := quorum.Committed(voters, outgoing, func(id uint64) uint64 { return match[id] })
		if want := slowCommitted(voters, outgoing, match); got != want {
			t.Fatalf("committed %d, counting says %d (voters %v outgoing %v match %v)", got, want, voters, outgoing, match)
		}
	})
}

func TestTwoMajoritiesOfOneConfigurationIntersect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		voters, outgoing := drawIDs(t, "voters", 1), drawIDs(t, "outgoing", 0)
		a := rapid.SliceOfN(rapid.Bool(), 12, 12).Draw(t, "a")
		b := rapid.SliceOfN(rapid.Bool(), 12, 12).Draw(t, "b")
		if !quorum.Has(voters, outgoing, func(id uint64) bool { return a[id] }) ||
			!quorum.Has(voters, outgoing, func(id uint64) bool { return b[id] }) {
			return
		}
		for _, half := range [][]uint64{voters, outgoing} {
			common := len(half) == 0
			for _, id := range half {
				common = common || a[id] && b[id]
			}
			if !common {
				t.Fatalf("disjoint majorities of %v", half)
			}
		}
	})
}

func TestVoteIsDecidedOnlyWhenTheRestCannotChangeIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		voters, outgoing := drawIDs(t, "voters", 1), drawIDs(t, "outgoing", 0)
		// 0 missing, 1 granted, 2 refused
		ans := rapid.SliceOfN(rapid.IntRange(0, 2), 12, 12).Draw(t, "answers")
		result := func(missingGrants bool) bool {
			return quorum.Has(voters, outgoing, func(id uint64) bool {
				return ans[id] == 1 || ans[id] == 0 && missingGrants
			})
		}
		want := quorum.Pending
		switch best, worst := result(true), result(false); {
		case worst:
			want = quorum.Won
		case !best:
			want = quorum.Lost
		}
		got := quorum.Vote(voters, outgoing, func(id uint64) (bool, bool) { return ans[id] == 1, ans[id] != 0 })
		if got != want {
			t.Fatalf("vote is %v, want %v (voters %v outgoing %v answers %v)", got, want, voters, outgoing, ans)
		}
	})
}

func TestNoVoterDecidesNothing(t *testing.T) {
	if i := quorum.Committed(nil, nil, func(uint64) uint64 { return 9 }); i != 0 {
		t.Errorf("nobody committed %d", i)
	}
	if r := quorum.Vote(nil, nil, nil); r != quorum.Lost {
		t.Errorf("nobody's vote is %v", r)
	}
}
