package node_test

import (
	"errors"
	"testing"

	"chainfire"
)

func TestMemberAddStopsAtTheBoundOfLearners(t *testing.T) {
	for _, bound := range []int{-1, 1, 0} {
		o := options(t, "one")
		o.MaxLearners = bound
		n := start(t, o)
		add := func(url string) error {
			_, err := n.MemberAdd(t.Context(), &chainfire.MemberAddRequest{PeerURLs: []string{url}, Learner: true})
			return err
		}
		first, again, second := add("https://127.0.0.1:1"), add("https://127.0.0.1:1"), add("https://127.0.0.1:2")
		if bound < 0 {
			if !errors.Is(first, chainfire.ErrTooManyLearners) {
				t.Errorf("none may be: %v", first)
			}
			continue
		}
		if first != nil || !errors.Is(again, chainfire.ErrPeerURLExists) {
			t.Errorf("bound %d: the first %v, the same again %v", bound, first, again)
		}
		if tooMany := errors.Is(second, chainfire.ErrTooManyLearners); tooMany != (bound == 1) {
			t.Errorf("bound %d: the second %v", bound, second)
		}
	}
}
