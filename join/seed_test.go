package join

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// logHost is a leader's log: entries first to last, of which some are committed.
type logHost struct {
	Host
	first, committed, last uint64
}

func (h logHost) FirstIndex() uint64 { return h.first }

func (h logHost) EntryTerm(index uint64) (term uint64, committed bool, err error) {
	if index > h.last {
		return 0, false, errors.New("after the log")
	}
	return 3, index <= h.committed, nil
}

func TestSeedIsTakenWhereTheLogReachesBackAndRefusedFromAnotherHistory(t *testing.T) {
	g := NewGate(GateOptions{Host: logHost{first: 50, committed: 90, last: 100}})
	for name, c := range map[string]struct {
		index, term, want uint64
		refused           bool
	}{
		"none":                    {},
		"in the log":              {70, 3, 70, false},
		"just before the log":     {49, 3, 49, false},
		"too old for the log":     {48, 3, 0, false},
		"the last committed":      {90, 3, 90, false},
		"not committed":           {91, 3, 0, true},
		"ahead of the cluster":    {200, 3, 0, true},
		"of a term that was lost": {70, 2, 0, true},
	} {
		got, err := g.checkSeed(c.index, c.term)
		if got != c.want || (err != nil) != c.refused || err != nil && status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}
