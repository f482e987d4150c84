package join

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// checkSeed judges the snapshot that a newcomer brings along, by its last entry. It
// returns the index if the log reaches back to there, 0 if there is none or the log
// does not: then the newcomer pulls one, of which it may have parts. A snapshot of
// another history is refused: what it holds would never be corrected.
func (g *Gate) checkSeed(index, term uint64) (uint64, error) {
	h := g.opts.Host
	switch {
	case index == 0:
		return 0, nil
	case index+1 < h.FirstIndex():
		return 0, nil
	}
	const advice = "it is of another history of this cluster: clear the newcomer's data directory, and let it pull a seed, or bring one that was exported since"
	held, committed, err := h.EntryTerm(index)
	switch {
	case err != nil || !committed:
		return 0, status.Errorf(codes.FailedPrecondition,
			"the seed that the newcomer brings ends with entry %d of term %d, which this cluster has not committed; %s", index, term, advice)
	case held != term:
		return 0, status.Errorf(codes.FailedPrecondition,
			"the seed that the newcomer brings ends with entry %d of term %d, which is of term %d here; %s", index, term, held, advice)
	}
	return index, nil
}
