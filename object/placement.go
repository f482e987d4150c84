package object

import "slices"

// Copies is how many members are to hold an extent, where there are as many.
const Copies = 3

// Place says which n of the members are to hold an extent, or all where they are fewer: those
// with the greatest weights, by rendezvous hashing, so that a member that comes or goes moves
// no extents between others. The result is sorted; members, which are distinct, may be in any
// order.
//
// It decides at apply what is refused, so that it is part of the format of the log and must
// stay as it is: see docs/format/command.md.
func Place(members []uint64, n int, e ExtentID) []uint64 {
	if len(members) <= n {
		return slices.Sorted(slices.Values(members))
	}
	chosen := make([]uint64, 0, n+1)
	for _, m := range members {
		at := len(chosen)
		for w := weight(m, e); at > 0 && weight(chosen[at-1], e) < w; {
			at--
		}
		if chosen = slices.Insert(chosen, at, m); len(chosen) > n {
			chosen = chosen[:n]
		}
	}
	slices.Sort(chosen)
	return chosen
}

// weight is that of a member for an extent. Two members never have the same: what is done
// after the member was mixed in can be undone.
func weight(member uint64, e ExtentID) uint64 {
	w := mix(member)
	w = mix(w ^ e.Body.Lease)
	w = mix(w ^ uint64(e.Body.N))
	return mix(w ^ uint64(e.N))
}

// mix spreads every bit over all others, one to one: the last step of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
