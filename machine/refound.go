package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"chainfire/mvcc"
	"chainfire/raft"
)

// Refounding says what becomes of a member's state when it is made that of a new
// cluster, whose only member it is.
type Refounding struct {
	// ClusterID is new, and so is the id of the member, which votes alone.
	ClusterID uint64
	Member    MemberRecord
	// Tokens are the only join tokens from now on.
	Tokens []TokenRecord
	// Index and Term are those of the entry that the new state stands for: after
	// everything applied, and in a later term.
	Index, Term uint64
	// BumpRevision moves the revision on, and compacts what was before; 0 leaves
	// both as they are.
	BumpRevision int64
}

// Refound makes the state that of a new cluster. Keys and whatever else is stored
// stay, and so does the feature level; the members of the old cluster are as good as removed. It is no command of
// the log: only a state that nobody serves, and that no log follows, is changed so.
// Flush or Close makes it durable. Applier only.
func (m *Machine) Refound(r Refounding) error {
	if err := m.checkRefounding(&r); err != nil {
		return fmt.Errorf("make a new cluster of the state: %w", err)
	}
	w, err := m.store.NewWriter()
	if err != nil {
		return err
	}
	if err := m.refound(w, &r); err != nil {
		return errors.Join(fmt.Errorf("make a new cluster of the state: %w", err), w.Abort())
	}
	if err := w.Commit(r.Index, r.Term); err != nil {
		return fmt.Errorf("make a new cluster of the state: %w", err)
	}
	return m.load()
}

func (m *Machine) checkRefounding(r *Refounding) error {
	index, term := m.Applied()
	old := m.cluster.Load()
	_, used := old.find(r.Member.ID)
	switch {
	case r.ClusterID == 0 || r.ClusterID == old.id:
		return errors.New("the cluster id is not a new one")
	case r.Member.ID == 0 || used || m.Removed(r.Member.ID):
		return fmt.Errorf("member id %d is not a new one", r.Member.ID)
	case r.Index <= index || r.Term <= term:
		return fmt.Errorf("index %d of term %d does not come after index %d of term %d, which is applied", r.Index, r.Term, index, term)
	}
	if err := checkMemberVersion(r.Member.Version); err != nil {
		return err
	}
	return checkMember(r.Member.Name, r.Member.PeerURLs, r.Member.ClientURLs)
}

// refound writes the rows of the new membership in the place of the old one.
func (m *Machine) refound(w *mvcc.Writer, r *Refounding) error {
	old := m.cluster.Load()
	for i := range old.tokens {
		if err := w.DeleteMeta(memberRow(rowToken, old.tokens[i].ID)); err != nil {
			return err
		}
	}
	// They are of members that are no more.
	for _, a := range old.alarms {
		if err := w.DeleteMeta(alarmRow(a)); err != nil {
			return err
		}
	}
	for i := range old.members {
		id := old.members[i].ID
		if err := w.DeleteMeta(memberRow(rowMember, id)); err != nil {
			return err
		}
		if err := w.SetMeta(memberRow(rowRemoved, id), []byte{1}); err != nil {
			return err
		}
	}
	if old.featureLevel() >= ObjectLevel {
		// Bodies of objects that are outside of the cluster are found by it. A program that does
		// not know the row knows no objects either.
		if err := w.SetMeta(memberRow(rowFormer, r.Index), binary.BigEndian.AppendUint64(nil, old.id)); err != nil {
			return err
		}
	}
	rec := r.Member.clone()
	rec.Reserved, rec.ReservedIndex, rec.SecretHash = false, 0, nil
	fresh := &cluster{
		id: r.ClusterID, conf: raft.ConfState{Voters: []uint64{rec.ID}},
		members: []MemberRecord{rec}, tokens: slices.Clone(r.Tokens), level: old.level,
	}
	for _, row := range fresh.rows() {
		if err := w.SetMeta(row.Name, row.Value); err != nil {
			return err
		}
	}
	if r.BumpRevision > 0 {
		return w.Leap(r.BumpRevision)
	}
	return nil
}

// Former are the ids that the cluster had before it was made anew of a member's state, the last one
// first. Any goroutine.
func (m *Machine) Former() []uint64 {
	former := slices.Clone(m.cluster.Load().former)
	slices.Reverse(former)
	return former
}

// CopyStopped writes a checkpoint of a machine that nobody has open into a
// directory that does not exist yet; see mvcc.CopyCurrent.
func CopyStopped(fsys FS, dir, dst string, skip func(name string) bool) error {
	return mvcc.CopyCurrent(fsys, dir, dst, skip)
}
