package node

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/raft/quorum"
)

// AddMember implements api.ClusterServer.
func (s clusterService) AddMember(ctx context.Context, q *api.AddMemberRequest) (*api.AddMemberResponse, error) {
	// Also where the caller has all the time there is.
	ctx, cancel := sched.WithTimeout(ctx, s.n.sched, s.n.opts.RequestTimeout, errRequestTimeout)
	defer cancel()
	return led(ctx, s.n, q, api.ClusterClient.AddMember, s.n.addMember)
}

// addMember keeps a place on the leader.
func (n *Node) addMember(ctx context.Context, q *api.AddMemberRequest) (*api.AddMemberResponse, error) {
	r := &machine.Reserve{Name: q.GetName(), Manual: true}
	var err error
	if r.PeerURLs, err = n.placeURLs(q.GetPeerUrls()); err != nil {
		return nil, err
	}
	for _, u := range q.GetClientUrls() {
		if !strings.Contains(u, "://") {
			u = join.SchemePlain + "://" + u
		}
		if _, err := join.HostPort(u); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "client URL: %v", err)
		}
		r.ClientURLs = append(r.ClientURLs, u)
	}
	if err := n.placeTaken(r); err != nil {
		return nil, err
	}
	kind := confchange.AddLearner
	if q.GetVoter() {
		kind = confchange.AddVoter
		if err := n.oneMoreVoter(n.status()); err != nil {
			return nil, err
		}
	}
	id, err := n.addByHand(ctx, r, kind)
	switch {
	case errors.Is(err, machine.ErrBadMember):
		return nil, status.Errorf(codes.InvalidArgument, "add a member: %v", err)
	case errors.Is(err, machine.ErrMemberNameExists), errors.Is(err, chainfire.ErrPeerURLExists):
		return nil, status.Errorf(codes.AlreadyExists, "add a member: %v; 'chainfire member list' shows who is there", err)
	case err != nil:
		return nil, err
	}
	n.log.Info("a place is kept for a member", "member", id, "name", r.Name, "voter", q.GetVoter())
	out := &api.AddMemberResponse{Header: n.apiHeader(), Members: n.apiMembers(), Command: n.startCommand(id, r)}
	if i := slices.IndexFunc(out.Members, func(m *api.Member) bool { return m.GetId() == id }); i >= 0 {
		out.Member = out.Members[i]
	}
	return out, nil
}

// addByHand keeps a place for a member that has not started, and brings it into the
// configuration.
func (n *Node) addByHand(ctx context.Context, r *machine.Reserve, kind confchange.Kind) (uint64, error) {
	res, err := n.do(ctx, &machine.Command{Reserve: r})
	if err != nil {
		return 0, err
	}
	err = n.change(ctx, confchange.Change{Steps: []confchange.Step{{Kind: kind, ID: res.MemberID}}})
	if err != nil {
		undo, cancel := sched.WithTimeout(context.WithoutCancel(ctx), n.sched, n.opts.RequestTimeout, nil)
		defer cancel()
		return 0, errors.Join(err, n.release(undo, res.MemberID))
	}
	return res.MemberID, nil
}

// placeURLs is the peer URL of a member that is to come, with the scheme that the
// members speak.
func (n *Node) placeURLs(urls []string) ([]string, error) {
	if len(urls) != 1 {
		return nil, status.Errorf(codes.InvalidArgument, "%d peer URLs: give the one that the member is to be started with, HOST:PORT", len(urls))
	}
	u := urls[0]
	if !strings.Contains(u, "://") {
		u = n.opts.scheme() + "://" + u
	}
	addr, err := join.HostPort(u)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "peer URL: %v", err)
	}
	if strings.HasPrefix(addr, ":") {
		return nil, status.Errorf(codes.InvalidArgument, "peer URL %q has no host; give HOST:PORT, as the others reach it", urls[0])
	}
	if !strings.HasPrefix(u, n.opts.scheme()+"://") {
		return nil, status.Errorf(codes.FailedPrecondition,
			"the peer URL is %s, but the members of this cluster speak %s to each other; give HOST:PORT", u, n.opts.scheme())
	}
	return []string{u}, nil
}

// placeTaken names the member that has the name or the peer URL already.
func (n *Node) placeTaken(q *machine.Reserve) error {
	for _, r := range (host{n}).Records() {
		what := ""
		switch {
		case q.Name != "" && r.Name == q.Name:
			what = "the name"
		case slices.ContainsFunc(r.PeerURLs, func(u string) bool { return slices.Contains(q.PeerURLs, u) }):
			what = "the peer URL"
		default:
			continue
		}
		return status.Errorf(codes.AlreadyExists, "%s is that of member %s (%s, %s); choose another, or remove that member first",
			what, r.Called(), strings.Join(r.PeerURLs, ","), r.Phase)
	}
	return nil
}

// oneMoreVoter refuses a voter that is not up where the others would be no majority
// with it: nothing could be written then, nor could it come in itself.
func (n *Node) oneMoreVoter(st raft.Status) error {
	up := map[uint64]bool{n.id: true}
	for _, p := range st.Peers {
		if p.Active && p.Acked && st.Conf.IsVoter(p.ID) {
			up[p.ID] = true
		}
	}
	voters := append(slices.Clone(st.Conf.Voters), raft.None)
	if quorum.Has(voters, nil, func(id uint64) bool { return up[id] }) {
		return nil
	}
	return status.Errorf(codes.FailedPrecondition,
		"as a voter it would count at once, and it runs nowhere: of %d voters %d must be up, and %d would be; add it as a learner, and promote it when it runs ('chainfire member promote'); or start it with 'chainfire serve --join', which needs no place in advance",
		len(voters), quorum.Size(len(voters)), len(up))
}

// startCommand is what to run where a member is to be.
func (n *Node) startCommand(id uint64, r *machine.Reserve) string {
	if n.unproven != nil {
		return n.etcdCommand(id, r)
	}
	c := join.StartCommand{Name: r.Name, Plain: n.opts.Plain, Own: n.own != nil}
	remote := func(addr string) bool {
		host, _, err := net.SplitHostPort(addr)
		ip, perr := netip.ParseAddr(host)
		return err != nil || host != "localhost" && (perr != nil || !ip.IsLoopback())
	}
	// The URLs were checked.
	c.Peer, _ = join.HostPort(r.PeerURLs[0])
	c.Remote = n.opts.Plain && remote(c.Peer)
	if len(r.ClientURLs) > 0 {
		c.Client, _ = join.HostPort(r.ClientURLs[0])
		c.Remote = c.Remote || remote(c.Client)
	}
	for _, m := range (host{n}).Records() {
		if m.ID == id || m.Phase != chainfire.PhaseVoter || len(m.PeerURLs) == 0 {
			continue
		}
		if addr, err := join.HostPort(m.PeerURLs[0]); err == nil {
			c.Join = append(c.Join, addr)
		}
	}
	if len(n.opts.AdvertiseClient) > 0 {
		if addr, err := join.HostPort(n.opts.AdvertiseClient[0]); err == nil {
			c.TokenFrom = addr
		}
	}
	return c.Line()
}

// etcdCommand is startCommand where members speak as only etcd's command line says.
func (n *Node) etcdCommand(id uint64, r *machine.Reserve) string {
	name := cmp.Or(r.Name, "NAME")
	urls := strings.Join(r.PeerURLs, ",")
	var list []string
	for _, m := range n.machine.Members() {
		if m.ID == id {
			m.Name = name
		}
		for _, u := range m.PeerURLs {
			list = append(list, m.Name+"="+u)
		}
	}
	return strings.Join([]string{
		"etcd", "--name", join.ShellQuote(name), "--peer-auto-tls", "--listen-peer-urls", join.ShellQuote(urls),
		"--initial-advertise-peer-urls", join.ShellQuote(urls), "--initial-cluster", join.ShellQuote(strings.Join(list, ",")),
		"--initial-cluster-state", "existing",
	}, " ")
}
