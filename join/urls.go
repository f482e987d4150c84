package join

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// checkURLs refuses peer URLs that the members could not use.
func (g *Gate) checkURLs(urls []string) error {
	for _, u := range urls {
		if _, err := HostPort(u); err != nil {
			return status.Errorf(codes.InvalidArgument, "peer URL: %v", err)
		}
		if scheme, _, _ := strings.Cut(u, "://"); scheme != g.opts.Scheme {
			return status.Errorf(codes.FailedPrecondition,
				"the newcomer's peer URL is %s, but the members of this cluster speak %s to each other; start it with %s:// in --listen-peer", u, g.opts.Scheme, g.opts.Scheme)
		}
	}
	if len(urls) == 0 || len(urls) > 16 {
		return status.Errorf(codes.InvalidArgument, "a newcomer has between 1 and 16 peer URLs, not %d", len(urls))
	}
	return nil
}
