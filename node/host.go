package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"chainfire"
	"chainfire/api"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

// host is the node as the gate sees it (join.Host).
type host struct{ n *Node }

var _ join.Host = host{}

func (h host) ClusterID() uint64                            { return h.n.cluster }
func (h host) FeatureLevel() uint64                         { return h.n.machine.Level() }
func (h host) Identity() (id, incarnation uint64)           { return h.n.id, h.n.incarnation }
func (h host) Leader() uint64                               { return h.n.lead.Load() }
func (h host) FirstIndex() uint64                           { return h.n.wal.FirstIndex() }
func (h host) Contact(id uint64, done, total uint64)        { h.n.watch.heard(id, done, total) }
func (h host) Release(ctx context.Context, id uint64) error { return h.n.release(ctx, id) }

// EntryTerm implements join.Host.
func (h host) EntryTerm(index uint64) (term uint64, committed bool, err error) {
	term, err = h.n.wal.Term(index)
	return term, index <= h.n.commit.Load(), err
}

// Order implements join.Host.
func (h host) Order(id uint64, urls []string) []string { return h.n.order(id, urls) }

// Peer implements join.Host.
func (h host) Peer(id uint64) (api.PeerClient, error) {
	for _, m := range h.n.machine.Members() {
		if m.ID != id {
			continue
		}
		return h.n.peerClient(m.ID, m.PeerURLs)
	}
	// A leader that came in while this member was away, too far behind to know:
	// it said itself where it is (admit).
	for _, p := range h.n.streams.Peers() {
		if p.ID == id && p.Addr != "" {
			conn, err := h.n.conns.get(p.Addr)
			if err != nil {
				return nil, err
			}
			return api.NewPeerClient(conn), nil
		}
	}
	return nil, fmt.Errorf("member %d: %w", id, chainfire.ErrMemberNotFound)
}

func (n *Node) peerClient(id uint64, urls []string) (api.PeerClient, error) {
	conn, err := n.peerConn(id, urls)
	if err != nil {
		return nil, err
	}
	return api.NewPeerClient(conn), nil
}

// Records implements join.Host.
func (h host) Records() []join.Record {
	conf := h.n.machine.Conf()
	members := h.n.machine.Members()
	out := make([]join.Record, 0, len(members))
	for _, m := range members {
		out = append(out, join.Record{
			MemberInfo: info(m, conf), Incarnation: m.Incarnation,
			Phase: phase(m, conf), ReservedIndex: m.ReservedIndex, SecretHash: m.SecretHash, Replaces: m.Replaces,
		})
	}
	return out
}

func info(m machine.MemberRecord, conf raft.ConfState) chainfire.MemberInfo {
	return chainfire.MemberInfo{
		ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: !conf.IsVoter(m.ID),
		ReadReplica: m.ReadReplica,
	}
}

func phase(m machine.MemberRecord, conf raft.ConfState) chainfire.MemberPhase {
	switch {
	case m.Incarnation == 0:
		return chainfire.PhaseUnstarted
	case conf.IsVoter(m.ID):
		return chainfire.PhaseVoter
	case conf.IsLearner(m.ID):
		return chainfire.PhaseLearner
	}
	return chainfire.PhaseReserved
}

// Reserve implements join.Host.
func (h host) Reserve(ctx context.Context, q *join.Reservation) (id, index uint64, err error) {
	r, err := h.n.do(ctx, &machine.Command{Reserve: &machine.Reserve{
		Name: q.Name, PeerURLs: q.PeerURLs, ClientURLs: q.ClientURLs, Incarnation: q.Incarnation,
		Replaces: q.Replaces, Token: q.Ticket.Token, SecretHash: q.Ticket.SecretHash, ReadReplica: q.Ticket.ReadReplica,
		SeedIndex: q.Ticket.SeedIndex,
	}})
	switch {
	case errors.Is(err, machine.ErrNotReplaceable), errors.Is(err, chainfire.ErrMemberNotFound):
		return 0, 0, fmt.Errorf("%w (%w)", join.ErrPlaceGone, err)
	case errors.Is(err, machine.ErrNoToken):
		return 0, 0, join.ErrNoToken
	case errors.Is(err, machine.ErrMemberNameExists):
		return 0, 0, join.ErrNameExists
	case err != nil:
		return 0, 0, err
	}
	i := slices.IndexFunc(h.n.machine.Members(), func(m machine.MemberRecord) bool { return m.ID == r.MemberID })
	if i < 0 {
		return 0, 0, chainfire.ErrMemberNotFound
	}
	return r.MemberID, max(h.n.machine.Members()[i].ReservedIndex, r.MemberID), nil
}

func (n *Node) release(ctx context.Context, id uint64) error {
	_, err := n.do(ctx, &machine.Command{Release: &machine.Release{ID: id}})
	return err
}

// AddLearner implements join.Host.
func (h host) AddLearner(ctx context.Context, id uint64) error {
	return h.n.change(ctx, confchange.Change{Steps: []confchange.Step{{Kind: confchange.AddLearner, ID: id}}})
}

// RemoveLearner implements join.Host.
func (h host) RemoveLearner(ctx context.Context, id uint64) error {
	if h.n.machine.Conf().IsVoter(id) {
		return fmt.Errorf("member %d is a voter", id)
	}
	return h.n.change(ctx, confchange.Change{Steps: []confchange.Step{{Kind: confchange.Remove, ID: id}}})
}

// Active implements join.Host.
func (h host) Active(id uint64) bool {
	return slices.ContainsFunc(h.n.status().Peers, func(p raft.PeerStatus) bool { return p.ID == id && p.Active })
}

// Linearize implements join.Host.
func (h host) Linearize(ctx context.Context) error {
	ctx, cancel := h.n.withDeadline(ctx)
	defer cancel()
	return h.n.linearize(ctx)
}

// Sources implements join.Host: followers first, as the leader has most to do, and none
// that is known to differ from the others while there is another.
func (h host) Sources() []uint64 {
	st := h.n.status()
	var out []uint64
	for _, p := range st.Peers {
		if st.Conf.IsVoter(p.ID) && p.Active && p.Acked {
			out = append(out, p.ID)
		}
	}
	out = append(out, h.n.id)
	sound := slices.DeleteFunc(slices.Clone(out), func(id uint64) bool { return h.n.alarmed([]uint64{id}) })
	if len(sound) > 0 {
		return sound
	}
	return out
}

// Progress implements join.Host.
func (h host) Progress(id uint64) (match, commit uint64, reason string) {
	st := h.n.status()
	for _, p := range st.Peers {
		if p.ID == id {
			match = p.Match
		}
	}
	return match, st.Commit, h.n.watch.reason(id, st.Conf.IsLearner(id))
}
