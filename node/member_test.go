package node

import (
	"testing"

	"chainfire"
)

// A learner that was never started, or has not answered this leader yet, has a
// match index of 0: in a young cluster that is not far behind, and no reason to
// let it vote.
func TestLearnerIsPromotedByHandOnlyAfterItsOwnWord(t *testing.T) {
	const commit = 500
	for name, c := range map[string]struct {
		m    chainfire.MemberStatus
		want bool
	}{
		"caught up":                         {chainfire.MemberStatus{Active: true, MatchIndex: commit, AppliedIndex: commit}, true},
		"a little behind":                   {chainfire.MemberStatus{Active: true, MatchIndex: commit - 9, AppliedIndex: commit - 99}, true},
		"counted as heard of by a new lead": {chainfire.MemberStatus{Active: true}, false},
		"acknowledged and not applied":      {chainfire.MemberStatus{Active: true, MatchIndex: commit}, false},
		"caught up once, and silent":        {chainfire.MemberStatus{MatchIndex: commit, AppliedIndex: commit}, false},
	} {
		if got := caughtUp(&c.m, commit); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	far := chainfire.MemberStatus{Active: true, MatchIndex: 1, AppliedIndex: 1}
	if caughtUp(&far, 2+maxPromoteLag) {
		t.Error("far behind")
	}
}
