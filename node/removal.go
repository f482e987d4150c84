package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/raft/quorum"
)

// MemberRemove implements chainfire.Cluster, with etcd's refusals: ErrMemberNotReady
// where too few of the voters that would be left have ever started, and
// ErrUnhealthyCluster where too few of them are up.
func (n *Node) MemberRemove(ctx context.Context, id uint64) (*chainfire.MemberChange, error) {
	if n.learner() {
		return nil, chainfire.ErrLearner
	}
	for {
		members := n.machine.Members()
		i := slices.IndexFunc(members, func(m machine.MemberRecord) bool { return m.ID == id })
		if i < 0 {
			return nil, chainfire.ErrMemberNotFound
		}
		if members[i].Reserved {
			if err := n.release(ctx, id); err != nil {
				return nil, err
			}
			return n.memberChange(0), nil
		}
		voters, err := n.removable(ctx, id)
		if err != nil {
			return nil, err
		}
		if lost, err := n.wouldLose(ctx, id); err != nil {
			return nil, err
		} else if lost != "" {
			return nil, fmt.Errorf("%w: without member %d %s", chainfire.ErrUnhealthyCluster, id, lost)
		}
		err = n.changeFor(ctx, voters, removal(id))
		switch {
		case errors.Is(err, machine.ErrVotersChanged):
			continue // what was checked is not what there is
		case errors.Is(err, raft.ErrBadChange):
			return nil, chainfire.ErrMemberNotReady
		case err != nil:
			return nil, err
		}
		return n.memberChange(0), nil
	}
}

func removal(id uint64) confchange.Change {
	return confchange.Change{Steps: []confchange.Step{{Kind: confchange.Remove, ID: id}}}
}

// succession takes one member out, and makes the other a voter if that one was. A
// member that was removed meanwhile is named all the same, so that the change is
// refused.
func succession(voters []uint64, in, out uint64) confchange.Change {
	kind := confchange.AddLearner // as it is already
	if slices.Contains(voters, out) {
		kind = confchange.AddVoter
	}
	return confchange.Change{Joint: true, Steps: []confchange.Step{{Kind: kind, ID: in}, {Kind: confchange.Remove, ID: out}}}
}

// errSole is in the error of a change that would take out who alone has bytes of objects.
var errSole = errors.New("let it run until the others have them; 'chainfire member remove --force' takes it out all the same, and they are gone for good")

// succeed carries a succession out, unless bytes of objects would be lost with who goes out: who
// comes in is to have them, and has them only later.
func (n *Node) succeed(ctx context.Context, voters []uint64, in, out uint64) error {
	lost, err := n.wouldLose(ctx, out)
	switch {
	case err != nil:
		return status.Errorf(codes.FailedPrecondition, "%v; try again", err)
	case lost != "":
		return fmt.Errorf("%w: without member %d %s: %w", chainfire.ErrUnhealthyCluster, out, lost, errSole)
	}
	return n.changeFor(ctx, voters, succession(voters, in, out))
}

// removable refuses to remove a voter when the rest that is up would be no
// majority. It returns the voters for which that holds, none for a learner.
func (n *Node) removable(ctx context.Context, id uint64) ([]uint64, error) {
	conf := n.machine.Conf()
	if !conf.IsVoter(id) {
		return nil, nil
	}
	cs, err := n.ClusterStatus(ctx)
	if err != nil {
		return nil, err
	}
	started, active, rest := 0, 0, 0
	for _, m := range cs.Members {
		if m.ID == id || !slices.Contains(conf.Voters, m.ID) {
			continue
		}
		rest++
		if m.Phase != chainfire.PhaseUnstarted {
			started++
		}
		if m.Active {
			active++
		}
	}
	switch {
	case rest == 0 || started < quorum.Size(rest):
		return nil, chainfire.ErrMemberNotReady
	case active < quorum.Size(rest):
		return nil, chainfire.ErrUnhealthyCluster
	}
	return conf.Voters, nil
}

// RemoveMember implements api.ClusterServer.
func (s clusterService) RemoveMember(ctx context.Context, q *api.RemoveMemberRequest) (*api.RemoveMemberResponse, error) {
	return led(ctx, s.n, q, api.ClusterClient.RemoveMember, s.n.removeMember)
}

// removeMember removes a member on the leader.
func (n *Node) removeMember(ctx context.Context, q *api.RemoveMemberRequest) (*api.RemoveMemberResponse, error) {
	r, err := join.Find(host{n}.Records(), q.GetMember())
	if err != nil {
		return nil, err
	}
	out := &api.RemoveMemberResponse{}
	st := n.status()
	voters := without(st.Conf.Voters, r.ID)
	if slices.Contains(st.Conf.Voters, r.ID) {
		if len(voters) == 0 {
			return nil, status.Errorf(codes.FailedPrecondition,
				"member %s is the only voter: without it there is no cluster; let another become a voter first, or end the cluster by stopping it", r.Called())
		}
		if w := n.whatIsMissing(st, voters); w != "" && !q.GetForce() {
			return nil, status.Errorf(codes.FailedPrecondition,
				"without member %s %s. Start what is silent; or replace it instead, with 'chainfire member replace' or 'chainfire serve --join … --replace'; or remove with --force, after which nothing can be written until enough of them are up",
				r.Called(), w)
		} else if w != "" {
			out.Warning = "without it " + w + "; until then nothing can be written or changed"
		}
	}
	if err := n.guardBodies(ctx, q, r, out); err != nil {
		return nil, err
	}
	if r.Phase == chainfire.PhaseReserved || r.Phase == chainfire.PhaseUnstarted && !st.Conf.Contains(r.ID) {
		err = n.release(ctx, r.ID)
	} else {
		n.log.Info("removing a member", "member", r.ID, "name", r.Name, "forced", q.GetForce(), "warning", out.Warning)
		err = n.changeFor(ctx, st.Conf.Voters, removal(r.ID))
	}
	if err != nil {
		return nil, err
	}
	out.Header, out.Removed, out.Members = n.apiHeader(), apiMember(r.MemberInfo), n.apiMembers()
	return out, nil
}

// guardBodies refuses to remove a member with which object bodies would be lost, or with force warns.
func (n *Node) guardBodies(ctx context.Context, q *api.RemoveMemberRequest, r join.Record, out *api.RemoveMemberResponse) error {
	lost, err := n.wouldLose(ctx, r.ID)
	switch {
	case q.GetForce() && err != nil:
		lost = err.Error()
	case err != nil:
		return status.Errorf(codes.FailedPrecondition, "%v; try again, or remove with --force", err)
	}
	switch {
	case lost == "":
	case !q.GetForce():
		return status.Errorf(codes.FailedPrecondition,
			"without member %s %s. Let it run until the others have them, or remove with --force, after which they are gone for good", r.Called(), lost)
	case out.Warning == "":
		out.Warning = "without it " + lost
	default:
		out.Warning += "; " + lost
	}
	return nil
}

// ReplaceMember implements api.ClusterServer.
func (s clusterService) ReplaceMember(ctx context.Context, q *api.ReplaceMemberRequest) (*api.ReplaceMemberResponse, error) {
	return led(ctx, s.n, q, api.ClusterClient.ReplaceMember, s.n.replaceMember)
}

// replaceMember lets a learner take a voter's place on the leader.
func (n *Node) replaceMember(ctx context.Context, q *api.ReplaceMemberRequest) (*api.ReplaceMemberResponse, error) {
	records := host{n}.Records()
	old, err := join.Find(records, q.GetMember())
	if err != nil {
		return nil, err
	}
	st := n.status()
	switch {
	case !slices.Contains(st.Conf.Voters, old.ID):
		return nil, status.Errorf(codes.FailedPrecondition,
			"member %s does not vote (%s), so that no place of a voter is to be taken: 'chainfire member remove %d' takes it out", old.Called(), old.Phase, old.ID)
	case old.ID == n.id:
		return nil, status.Errorf(codes.FailedPrecondition,
			"member %s leads the cluster; stop it first, which hands leadership over, or hand it over with 'etcdctl move-leader'", old.Called())
	}
	out := &api.ReplaceMemberResponse{Header: n.apiHeader(), Replaced: apiMember(old.MemberInfo)}
	by, why, err := n.standby(st, records, q.GetBy())
	if err != nil {
		return nil, err
	}
	if why != "" {
		out.Reason = why
		return out, nil
	}
	if w := n.whatIsMissing(st, append(without(st.Conf.Voters, old.ID), by.ID)); w != "" {
		return nil, status.Errorf(codes.FailedPrecondition, "with member %s in place of %s %s. Start what is silent first", by.Called(), old.Called(), w)
	}
	n.log.Info("replacing a member", "member", old.ID, "name", old.Name, "by", by.ID)
	if err := n.succeed(ctx, st.Conf.Voters, by.ID, old.ID); err != nil {
		return nil, err
	}
	// The joint configuration is left by itself; then the old member is gone.
	for !n.machine.Removed(old.ID) {
		if err := n.pause(ctx, n.opts.TickInterval); err != nil {
			return nil, fmt.Errorf("wait for the end of the change: %w", err)
		}
	}
	by.Learner = false
	out.By, out.Members = apiMember(by.MemberInfo), n.apiMembers()
	return out, nil
}

// standby finds a learner that is fit to vote, the one that is named or any. Where
// there is none, why says what is the matter with those that there are.
func (n *Node) standby(st raft.Status, records []join.Record, who string) (by join.Record, why string, err error) {
	if who != "" {
		by, err := join.Find(records, who)
		if err != nil {
			return by, "", err
		}
		if !st.Conf.IsLearner(by.ID) {
			return by, "", status.Errorf(codes.FailedPrecondition, "member %s does not stand by: it is no learner (%s)", by.Called(), by.Phase)
		}
		records = []join.Record{by}
	}
	var unfit []string
	for _, r := range records {
		switch {
		case !st.Conf.IsLearner(r.ID):
		case r.Replaces != 0:
			unfit = append(unfit, fmt.Sprintf("member %s is to take the place of member %d", r.Called(), r.Replaces))
		case n.watch.fit(r.ID):
			return r, "", nil
		default:
			unfit = append(unfit, fmt.Sprintf("member %s is not fit: %s", r.Called(), n.watch.reason(r.ID, true)))
		}
	}
	if len(unfit) == 0 {
		return by, "no member stands by", nil
	}
	return by, strings.Join(unfit, "; "), nil
}

// whatIsMissing says which of the voters are silent, if those that the leader hears
// are no majority of them; else nothing.
func (n *Node) whatIsMissing(st raft.Status, voters []uint64) string {
	heard := map[uint64]raft.PeerStatus{}
	for _, p := range st.Peers {
		heard[p.ID] = p
	}
	up := func(id uint64) bool { return id == n.id || heard[id].Active && heard[id].Acked }
	if quorum.Has(voters, nil, up) {
		return ""
	}
	var all, silent []string
	for _, r := range (host{n}).Records() {
		if !slices.Contains(voters, r.ID) {
			continue
		}
		all = append(all, r.Called())
		switch p := heard[r.ID]; {
		case up(r.ID):
		case r.Phase == chainfire.PhaseUnstarted:
			silent = append(silent, r.Called()+" (never started)")
		default:
			silence := time.Duration(p.SilentTicks) * n.opts.TickInterval
			silent = append(silent, fmt.Sprintf("%s (for %v)", r.Called(), silence.Round(100*time.Millisecond)))
		}
	}
	return fmt.Sprintf("the voters are %s, of which %d must be up, and %d are silent: %s",
		strings.Join(all, ", "), quorum.Size(len(voters)), len(silent), strings.Join(silent, ", "))
}

func without(ids []uint64, id uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(ids), func(i uint64) bool { return i == id })
}

// changeError is a membership change's failure as it travels.
func changeError(err error) error {
	if _, ok := status.FromError(err); ok {
		return err // also none
	}
	switch {
	case errors.Is(err, chainfire.ErrMemberNotFound), errors.Is(err, machine.ErrMemberRemoved):
		return status.Error(codes.NotFound, "the member is gone already; 'chainfire member list' shows who is there")
	case errors.Is(err, chainfire.ErrConfChangePending):
		return status.Errorf(codes.FailedPrecondition, "%v; try again", err)
	case errors.Is(err, raft.ErrBadChange), errors.Is(err, chainfire.ErrUnhealthyCluster):
		return status.Errorf(codes.FailedPrecondition, "%v; 'chainfire status' shows the members", err)
	}
	// It may have been carried out: not a code on which a client asks another member.
	return status.Errorf(codes.Aborted, "change the membership: %v; see with 'chainfire member list' what became of it, and try again", err)
}

func (n *Node) apiHeader() *api.Header {
	h := n.Header()
	return &api.Header{ClusterId: h.ClusterID, MemberId: h.MemberID, Revision: h.Revision, RaftTerm: h.RaftTerm}
}

func apiMember(m chainfire.MemberInfo) *api.Member {
	return &api.Member{Id: m.ID, Name: m.Name, PeerUrls: m.PeerURLs, ClientUrls: m.ClientURLs, Learner: m.Learner}
}

func (n *Node) apiMembers() []*api.Member {
	var out []*api.Member
	for _, m := range n.memberChange(0).Members {
		out = append(out, apiMember(m))
	}
	return out
}
