package join

import (
	"cmp"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
)

// line is the first two numbers of a version, MAJOR.MINOR: members that agree in
// both read and write the same formats. What follows them differs freely.
type line struct{ major, minor int }

func lineOf(version string) (line, bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return line{}, false
	}
	major, err := strconv.Atoi(parts[0])
	minor, merr := strconv.Atoi(parts[1])
	return line{major, minor}, err == nil && merr == nil
}

func (l line) String() string { return strconv.Itoa(l.major) + "." + strconv.Itoa(l.minor) }

func (l line) compare(other line) int {
	return cmp.Or(cmp.Compare(l.major, other.major), cmp.Compare(l.minor, other.minor))
}

// checkVersion refuses a newcomer that might not read what the members write, or
// write what they do not read.
func (g *Gate) checkVersion(q *api.JoinRequest) error {
	theirs, known := lineOf(q.GetVersion())
	ours, ok := lineOf(g.opts.Version)
	var why string
	switch {
	case !known || !ok:
		why = "it is not known whether the two fit"
	case theirs.compare(ours) < 0:
		why = "it is older, and may not read what the members write"
	case theirs.compare(ours) > 0:
		why = "it is newer, and may write what the members do not read; or update the members first, one by one"
	default:
		return nil
	}
	install := g.opts.Version
	if ok {
		install = ours.String()
	}
	return status.Errorf(codes.FailedPrecondition, "%s is version %q and %s is version %q: install version %s at the newcomer and start it again (%s)",
		newcomerName(q), q.GetVersion(), g.self(), g.opts.Version, install, why)
}

// checkLevel refuses a newcomer whose program does not understand what the members
// write. One that tells no level is of the first.
func (g *Gate) checkLevel(q *api.JoinRequest) error {
	level, known := g.opts.Host.FeatureLevel(), max(q.GetFeatureLevel(), 1)
	if known >= level {
		return nil
	}
	return status.Errorf(codes.FailedPrecondition, "the cluster is at feature level %d and %s knows %d: install version %s or newer at the newcomer and start it again",
		level, newcomerName(q), known, g.opts.Version)
}

// checkCluster refuses a newcomer that wants another cluster.
func checkCluster(q *api.JoinRequest, cluster uint64) error {
	want := q.GetExpectedClusterId()
	switch {
	case want == 0 && q.GetSeedIndex() == 0, want == cluster:
		return nil
	case q.GetSeedIndex() != 0:
		return status.Errorf(codes.FailedPrecondition,
			"the seed that the newcomer brings is of cluster %x, this is cluster %x; clear its data directory, or check the address given to --join", want, cluster)
	}
	return status.Errorf(codes.FailedPrecondition,
		"this is cluster %x, not cluster %x; check the address given to --join", cluster, want)
}
