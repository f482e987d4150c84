package machine

import (
	"cmp"
	"fmt"
	"slices"

	"chainfire"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

// editing is the membership as the round changes it: the first change copies
// the published one.
func (r *round) editing() *cluster {
	if !r.edited {
		r.edited, r.cluster = true, r.cluster.clone()
	}
	return r.cluster
}

// store writes a member's record.
func (r *round) storeMember(rec MemberRecord) error {
	r.editing().put(rec)
	return r.w.SetMeta(memberRow(rowMember, rec.ID), encodeRecord(&rec))
}

// removeMember removes a member for good. Who was promised its place comes in as
// any other.
func (r *round) removeMember(id uint64) error {
	r.editing().remove(id)
	for _, m := range r.cluster.members {
		if m.Replaces != id {
			continue
		}
		m = m.clone()
		m.Replaces = 0
		if err := r.storeMember(m); err != nil {
			return err
		}
	}
	if err := r.w.DeleteMeta(memberRow(rowMember, id)); err != nil {
		return err
	}
	return r.w.SetMeta(memberRow(rowRemoved, id), []byte{1})
}

// reserve makes a reservation, or finds the one that was asked for before.
func (r *round) reserve(index uint64, q *Reserve) (id uint64, err error) {
	if err := checkMember(q.Name, q.PeerURLs, q.ClientURLs); err != nil {
		return 0, refuse(err)
	}
	if rec := r.sameMember(q); rec != nil {
		if rec.Incarnation == q.Incarnation {
			if q.Replaces != 0 && q.Replaces != rec.Replaces {
				return 0, refuse(fmt.Errorf("%w: member %d was promised another place", ErrNotReplaceable, rec.ID))
			}
			return rec.ID, r.changeRole(*rec, q.ReadReplica)
		}
		if q.Replaces != 0 {
			return 0, refuse(fmt.Errorf("%w: member %d was added by hand", ErrNotReplaceable, rec.ID))
		}
		claimed := rec.clone()
		if err := r.cluster.conflict(rec.ID, 0, q.Name, q.PeerURLs); err != nil {
			return 0, refuse(err)
		}
		if q.Token != 0 {
			if err := r.useToken(q.Token); err != nil {
				return 0, err
			}
		}
		claimed.Name, claimed.Incarnation = q.Name, q.Incarnation
		claimed.ClientURLs = slices.Clone(q.ClientURLs)
		claimed.ReadReplica = q.ReadReplica && !r.cluster.conf.IsVoter(claimed.ID)
		return claimed.ID, r.storeMember(claimed)
	}
	if err := r.replaceable(q.Replaces); err != nil {
		return 0, refuse(err)
	}
	if err := r.cluster.conflict(0, q.Replaces, q.Name, q.PeerURLs); err != nil {
		return 0, refuse(err)
	}
	_, used := r.cluster.find(index)
	if _, gone := r.cluster.removed[index]; used || gone {
		return 0, refuse(chainfire.ErrMemberExists)
	}
	if q.Token != 0 {
		if err := r.useToken(q.Token); err != nil {
			return 0, err
		}
	}
	return index, r.storeMember(MemberRecord{
		ID: index, Name: q.Name, PeerURLs: slices.Clone(q.PeerURLs), ClientURLs: slices.Clone(q.ClientURLs),
		Incarnation: q.Incarnation, Reserved: true, ReservedIndex: keepFrom(index, q.SeedIndex), Manual: q.Manual,
		SecretHash: slices.Clone(q.SecretHash), Replaces: q.Replaces, ReadReplica: q.ReadReplica,
	})
}

// replaceable reports why a newcomer cannot be promised a member's place.
func (r *round) replaceable(id uint64) error {
	if id == 0 {
		return nil
	}
	i, ok := r.cluster.find(id)
	switch {
	case !ok:
		return chainfire.ErrMemberNotFound
	case r.cluster.members[i].Reserved:
		return fmt.Errorf("%w: member %d is only a reservation", ErrNotReplaceable, id)
	}
	for _, m := range r.cluster.members {
		if m.Replaces == id {
			return fmt.Errorf("%w: the place of member %d is promised to member %d", ErrNotReplaceable, id, m.ID)
		}
	}
	return nil
}

// changeRole lets a newcomer that asks again become, or not become, a read replica.
func (r *round) changeRole(rec MemberRecord, readReplica bool) error {
	if !rec.Reserved || rec.ReadReplica == readReplica {
		return nil
	}
	rec = rec.clone()
	rec.ReadReplica = readReplica
	return r.storeMember(rec)
}

// keepFrom is from where on the log is kept for a newcomer.
func keepFrom(reserved, seed uint64) uint64 {
	if seed == 0 || seed >= reserved {
		return reserved
	}
	return seed + 1
}

// begun reports whether a member began the cluster with others, so that it is no
// newcomer's place although it has not told yet which directory is its own.
func (r *round) begun(rec *MemberRecord) bool { return !rec.Manual && r.cluster.conf.IsVoter(rec.ID) }

// sameMember is the member that a reservation means: one with exactly its peer
// URLs that has its incarnation, or none yet.
func (r *round) sameMember(q *Reserve) *MemberRecord {
	if q.Incarnation == 0 {
		return nil
	}
	for i := range r.cluster.members {
		rec := &r.cluster.members[i]
		if (rec.Incarnation == q.Incarnation || rec.Incarnation == 0 && !r.begun(rec)) && sameURLs(rec.PeerURLs, q.PeerURLs) {
			return rec
		}
	}
	return nil
}

// sameURLs compares two lists as sets.
func sameURLs(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

func (r *round) release(q *Release) error {
	i, ok := r.cluster.find(q.ID)
	switch {
	case !ok:
		return refuse(chainfire.ErrMemberNotFound)
	case !r.cluster.members[i].Reserved:
		return refuse(ErrNotReserved)
	}
	return r.removeMember(q.ID)
}

func (r *round) update(q *UpdateMember) error {
	if err := q.check(); err != nil {
		return refuse(err)
	}
	i, ok := r.cluster.find(q.ID)
	if !ok {
		return refuse(chainfire.ErrMemberNotFound)
	}
	if err := r.cluster.conflict(q.ID, r.cluster.members[i].Replaces, q.Name, q.PeerURLs); err != nil {
		return refuse(err)
	}
	if known := r.cluster.members[i].Incarnation; q.Incarnation != 0 && known != 0 && q.Incarnation != known {
		return refuse(fmt.Errorf("%w: member %d has another data directory", ErrBadMember, q.ID))
	}
	rec := merge(r.cluster.members[i].clone(), q)
	if q.Settled && !rec.Reserved {
		rec.ReservedIndex = 0
	}
	return r.storeMember(rec)
}

// merge sets what is not empty.
func merge(rec MemberRecord, q *UpdateMember) MemberRecord {
	if len(q.PeerURLs) > 0 {
		rec.PeerURLs = slices.Clone(q.PeerURLs)
	}
	if len(q.ClientURLs) > 0 {
		rec.ClientURLs = slices.Clone(q.ClientURLs)
	}
	rec.Name = cmp.Or(q.Name, rec.Name)
	rec.Incarnation = cmp.Or(q.Incarnation, rec.Incarnation)
	rec.Version = cmp.Or(q.Version, rec.Version)
	rec.Level = cmp.Or(q.Level, rec.Level)
	return rec
}

// change applies a membership change. A change that does not fit leaves the
// configuration as it is, on every member alike.
func (r *round) change(e *raft.Entry, res *Result) error {
	change, err := raft.DecodeChange(e.Data)
	if err != nil {
		return fmt.Errorf("decode membership change: %w", err)
	}
	ctx, err := DecodeMemberContext(change.Context)
	if err != nil {
		return fmt.Errorf("decode membership change: %w", err)
	}
	res.ID = ctx.ID
	err = r.tryChange(change, &ctx)
	conf := r.cluster.conf.Clone()
	res.Conf = &conf
	return err
}

func (r *round) tryChange(change confchange.Change, ctx *MemberContext) error {
	described := ctx.Member
	conf, err := confchange.Apply(r.cluster.conf, change)
	if err != nil {
		return refuse(err)
	}
	if len(ctx.Voters) > 0 && !slices.Equal(ctx.Voters, r.cluster.conf.Voters) {
		return refuse(ErrVotersChanged)
	}
	for _, id := range conf.IDs() {
		if _, gone := r.cluster.removed[id]; gone {
			return refuse(fmt.Errorf("%w: %d", ErrMemberRemoved, id))
		}
		if i, ok := r.cluster.find(id); ok && r.cluster.members[i].ReadReplica && conf.IsVoter(id) {
			return refuse(chainfire.ErrReadReplica)
		}
	}
	if described != nil {
		if err := r.checkDescribed(conf, described); err != nil {
			return refuse(err)
		}
	}
	old := r.cluster.conf.IDs()
	r.editing().conf = conf
	if err := r.w.SetMeta(rowConf, encodeConf(conf)); err != nil {
		return err
	}
	for _, id := range conf.IDs() {
		if err := r.admit(id, described); err != nil {
			return err
		}
	}
	for _, id := range old {
		if !conf.Contains(id) {
			if err := r.removeMember(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkDescribed checks the description of a member that a change adds.
func (r *round) checkDescribed(conf raft.ConfState, d *MemberRecord) error {
	if !conf.Contains(d.ID) {
		return fmt.Errorf("%w: described member %d is not in the configuration", ErrBadMember, d.ID)
	}
	if err := checkMember(d.Name, d.PeerURLs, d.ClientURLs); err != nil {
		return err
	}
	if err := checkMemberVersion(d.Version); err != nil {
		return err
	}
	return r.cluster.conflict(d.ID, 0, d.Name, d.PeerURLs)
}

// admit makes sure that a member of the configuration has a record that is no
// reservation.
func (r *round) admit(id uint64, described *MemberRecord) error {
	i, known := r.cluster.find(id)
	rec := MemberRecord{ID: id}
	if known {
		rec = r.cluster.members[i].clone()
	}
	mentioned := described != nil && described.ID == id
	votes := r.cluster.conf.IsVoter(id)
	if known && !rec.Reserved && !mentioned && (rec.ReservedIndex == 0 && rec.Replaces == 0 || !votes) {
		return nil
	}
	if mentioned {
		rec = merge(rec, &UpdateMember{
			Name: described.Name, PeerURLs: described.PeerURLs, ClientURLs: described.ClientURLs,
			Incarnation: described.Incarnation, Version: described.Version, Level: described.Level,
		})
	}
	rec.Reserved, rec.SecretHash = false, nil
	if votes || rec.Manual {
		rec.ReservedIndex = 0
	}
	if votes {
		rec.Replaces = 0
	}
	return r.storeMember(rec)
}
