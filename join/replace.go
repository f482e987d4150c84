package join

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/sched"
)

// Find is the member that is called by its name or its id, in decimal or in
// hexadecimal after 0x. The error says who there is, and is codes.NotFound, or
// codes.FailedPrecondition where more than one is meant.
func Find(records []Record, who string) (Record, error) {
	id, err := strconv.ParseUint(who, 0, 64)
	isID := err == nil
	var found, all []string
	var out Record
	for _, r := range records {
		all = append(all, r.Called())
		if who != "" && r.Name == who || isID && r.ID == id {
			found, out = append(found, r.Called()), r
		}
	}
	switch len(found) {
	case 0:
		return out, status.Errorf(codes.NotFound, "no member is called %q; there are %s", who, strings.Join(all, ", "))
	case 1:
		return out, nil
	}
	return Record{}, status.Errorf(codes.FailedPrecondition, "%q is more than one member: %s; name one by its id", who, strings.Join(found, ", "))
}

// Called is the member as people are told of it.
func (r Record) Called() string {
	if r.Name == "" {
		return strconv.FormatUint(r.ID, 10)
	}
	return fmt.Sprintf("%d (%s)", r.ID, r.Name)
}

// replaced is the member whose place a newcomer takes; ID 0 is none. A promise that
// was made stands, whatever has become of that member since: the newcomer that asks
// again is not asked whether it is still silent.
func (g *Gate) replaced(ctx context.Context, q *api.JoinRequest) (Record, error) {
	if q.GetReplace() != "" && q.GetReadReplica() {
		return Record{}, status.Error(codes.InvalidArgument, "a read replica cannot take the place of a member: it never votes")
	}
	records := g.opts.Host.Records()
	own := slices.IndexFunc(records, func(r Record) bool { return r.Incarnation == q.GetIncarnation() })
	promised := uint64(0)
	if own >= 0 {
		promised = records[own].Replaces
		place := records[own]
		records = slices.Delete(records, own, own+1)
		if q.GetReplace() != "" && promised == 0 {
			return Record{}, status.Errorf(codes.FailedPrecondition,
				"this data folder has a place as member %s already, and replaces nobody: start it without --replace, and take the other member out with 'chainfire member remove' if it is still there", place.Called())
		}
	}
	if q.GetReplace() == "" {
		i := slices.IndexFunc(records, func(r Record) bool { return promised != 0 && r.ID == promised })
		if i < 0 {
			return Record{}, nil
		}
		return records[i], nil
	}
	// One that comes in the place of another may have its name; that other is meant.
	named := slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return r.Replaces != 0 && r.Name == q.GetReplace() })
	old, err := Find(named, q.GetReplace())
	switch {
	case err != nil:
		return old, status.Errorf(codes.FailedPrecondition, "--replace: %s", Reason(err))
	case promised == old.ID:
		return old, nil
	case promised != 0:
		return old, status.Errorf(codes.FailedPrecondition,
			"this data folder was promised the place of member %d, not that of %s: start it with --replace %d, or with an empty folder", promised, old.Called(), promised)
	}
	return old, g.replaceable(ctx, old, records)
}

// replaceable refuses to promise the place of a member that is at work.
func (g *Gate) replaceable(ctx context.Context, old Record, records []Record) error {
	if old.Phase == chainfire.PhaseReserved {
		return status.Errorf(codes.FailedPrecondition,
			"--replace: member %s is a newcomer that has only a reservation, which ends by itself when it is not heard of; join without --replace", old.Called())
	}
	for _, r := range records {
		if r.Replaces == old.ID {
			return status.Errorf(codes.AlreadyExists,
				"--replace: the place of member %s is promised to member %s (%s); take that one out with 'chainfire member remove %d' if it is not to come",
				old.Called(), r.Called(), r.Phase, r.ID)
		}
	}
	if old.Phase == chainfire.PhaseLearner {
		return nil // it counts in no majority; nothing is lost with it
	}
	self, _ := g.opts.Host.Identity()
	if old.ID == self {
		return status.Errorf(codes.FailedPrecondition,
			"--replace: member %s leads the cluster; stop it first, which hands leadership over, or hand it over with 'etcdctl move-leader'", old.Called())
	}
	if !g.fallsSilent(ctx, old.ID) {
		return status.Errorf(codes.FailedPrecondition,
			"--replace: member %s is up; stop it first, or join without --replace and exchange the two with 'chainfire member replace'", old.Called())
	}
	return nil
}

// fallsSilent waits a while for a member that may just have been stopped, or of
// which a new leader does not know yet. The election timeouts are the host's.
func (g *Gate) fallsSilent(ctx context.Context, id uint64) bool {
	ctx, cancel := sched.WithTimeout(ctx, g.opts.Sched, g.opts.SilenceWait, nil)
	defer cancel()
	for g.opts.Host.Active(id) {
		if !sched.Sleep(ctx, g.opts.Sched, silenceLook, nil) {
			return false
		}
	}
	return true
}

const silenceLook = 50 * time.Millisecond

// taken refuses a newcomer that has the name or an address of a member.
func taken(r *Record, url string, q *api.JoinRequest) error {
	wiped := ""
	if q.GetName() != "" && r.Name == q.GetName() {
		wiped = fmt.Sprintf("; if the newcomer is that member with its data lost, or comes in its place, start it with --replace %s", r.handle())
	}
	if url != "" {
		return status.Errorf(codes.AlreadyExists,
			"the peer URL %s is that of member %d (%s, %s)%s; else give the newcomer another --listen-peer or --advertise-peer, or remove that member first",
			url, r.ID, r.Name, r.Phase, wiped)
	}
	return status.Errorf(codes.AlreadyExists,
		"the name %q is that of member %d (%s, %s)%s; else choose another --name, or remove that member first",
		r.Name, r.ID, strings.Join(r.PeerURLs, ","), r.Phase, wiped)
}

// handle is what to call the member by in a command.
func (r Record) handle() string {
	if r.Name == "" || strings.ContainsAny(r.Name, " '\"$`\\") {
		return strconv.FormatUint(r.ID, 10)
	}
	return r.Name
}
