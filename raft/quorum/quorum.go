// Package quorum is the arithmetic of majorities: what index a majority holds,
// and whether a vote is won, over one list of voters or over the two of a joint
// configuration (thesis §4.3). There are no terms and no messages in it.
package quorum

import "slices"

// Result is the outcome of a vote.
type Result uint8

// The outcomes.
const (
	// Pending: the missing answers may still decide.
	Pending Result = iota
	Won
	// Lost: no possible answers of the rest can win.
	Lost
)

// String names the outcome for logs and scripts.
func (r Result) String() string { return [...]string{"pending", "won", "lost"}[r] }

// Size is the number of voters that make a majority of n.
func Size(n int) int { return n/2 + 1 }

// Committed is the highest index that a majority of voters holds, given what
// each holds, and, when outgoing is not empty, a majority of outgoing as well.
// Without any voter it is 0: nothing is ever committed by nobody.
func Committed(voters, outgoing []uint64, match func(id uint64) uint64) uint64 {
	i := majority(voters, match)
	if len(outgoing) > 0 {
		i = min(i, majority(outgoing, match))
	}
	return i
}

// onStack is the number of voters up to which no memory is allocated.
const onStack = 7

func majority(voters []uint64, match func(id uint64) uint64) uint64 {
	n := len(voters)
	if n == 0 {
		return 0
	}
	var buf [onStack]uint64
	held := buf[:0]
	for _, id := range voters {
		held = append(held, match(id))
	}
	slices.Sort(held)
	// Size(n) members hold this index or more.
	return held[n-Size(n)]
}

// Vote counts a vote. The answer function returns whether id has answered and
// whether it granted. In a joint configuration both halves must be won.
// Without any voter the vote is lost.
func Vote(voters, outgoing []uint64, answer func(id uint64) (granted, answered bool)) Result {
	r := vote(voters, answer)
	if len(outgoing) == 0 {
		return r
	}
	o := vote(outgoing, answer)
	switch {
	case r == Lost || o == Lost:
		return Lost
	case r == Won && o == Won:
		return Won
	}
	return Pending
}

func vote(voters []uint64, answer func(id uint64) (granted, answered bool)) Result {
	need := Size(len(voters))
	granted, missing := 0, 0
	for _, id := range voters {
		switch g, a := answer(id); {
		case !a:
			missing++
		case g:
			granted++
		}
	}
	switch {
	case len(voters) == 0 || granted+missing < need:
		return Lost
	case granted >= need:
		return Won
	}
	return Pending
}

// Has reports whether the members for which ok holds contain a majority of
// voters and, when outgoing is not empty, of outgoing.
func Has(voters, outgoing []uint64, ok func(id uint64) bool) bool {
	return Vote(voters, outgoing, func(id uint64) (bool, bool) { return ok(id), true }) == Won
}
