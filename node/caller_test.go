package node

import "testing"

// TestWritesAreRefusedWhereTooManyWaitToBeApplied as in etcd: beyond 5000.
func TestWritesAreRefusedWhereTooManyWaitToBeApplied(t *testing.T) {
	for _, tc := range []struct {
		commit, applied uint64
		want            bool
	}{{0, 0, false}, {5001, 0, true}, {5000, 0, false}, {9000, 4000, false}, {9001, 4000, true}, {10, 11, false}} {
		if got := lagging(tc.commit, tc.applied); got != tc.want {
			t.Errorf("committed %d, applied %d: %v", tc.commit, tc.applied, got)
		}
	}
}
