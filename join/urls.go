package join

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// checkURLs refuses peer URLs that the members could not use.
func (g *Gate) checkURLs(urls []string) error {
	for _, u := range urls {
		if _, err := g.opts.Schemes.Address(u); err != nil {
			return status.Errorf(codes.InvalidArgument, "peer URL: %v", err)
		}
		usual := g.opts.Schemes.usual()
		if scheme, _, _ := strings.Cut(u, "://"); scheme != usual && !g.opts.Schemes.Mixed {
			return status.Errorf(codes.FailedPrecondition,
				"the newcomer's peer URL is %s, but the members of this cluster speak %s to each other; start it with %s:// in --listen-peer", u, usual, usual)
		}
	}
	if len(urls) == 0 || len(urls) > 16 {
		return status.Errorf(codes.InvalidArgument, "a newcomer has between 1 and 16 peer URLs, not %d", len(urls))
	}
	return nil
}

// sameURLs compares two lists as sets.
func sameURLs(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
