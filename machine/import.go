package machine

import (
	"cmp"
	"errors"
	"fmt"

	"chainfire"
	"chainfire/mvcc"
)

// Import is a state that was made elsewhere, as by etcd.
type Import struct {
	// Init is the cluster that is made of it. It has one member.
	Init Init
	// Alarms are raised from the beginning, for whomever they were raised; FinishImport
	// makes them the member's.
	Alarms []chainfire.Alarm
	// Compacted is the compacted revision where the versions begin, or
	// mvcc.NeverCompacted.
	Compacted int64
	// Versions visits the versions of the keys in the order of their revisions. What it
	// hands over is valid until the visit returns.
	Versions func(visit func(*mvcc.Version) error) error
	// End says, after that, where they end.
	End func() (ImportEnd, error)
}

// ImportEnd is where an import ends.
type ImportEnd struct {
	Leases []Lease
	// Revision is the current revision, Compacted the compacted one.
	Revision, Compacted int64
}

// BootstrapFrom writes the state of a brand-new cluster that begins with what another
// one had, durably. It returns ErrExist if there is a state in the directory, and an error
// that wraps chainfire.ErrCorrupt if the history does not hold together. After any error
// or a crash what is in the directory counts for nothing, although there may be a state
// in it: the caller marks it so.
func BootstrapFrom(opts Options, in Import) (err error) {
	c := &cluster{id: in.Init.ClusterID, conf: in.Init.Conf, removed: map[uint64]struct{}{}, tokens: in.Init.Tokens, auth: in.Init.Auth}
	if len(in.Init.Members) != 1 {
		return errors.New("bootstrap: a state is given to a cluster of one member")
	}
	c.put(in.Init.Members[0].clone())
	for _, a := range in.Alarms {
		if err := (&SetAlarm{Member: a.MemberID, Type: a.Type}).check(); err != nil {
			return fmt.Errorf("bootstrap: alarm of type %d: %w", a.Type, err)
		}
		c.setAlarm(a, true)
	}
	// Leases, alarms and users may be in it, and nobody who does not know them.
	if known := cmp.Or(opts.Level, FeatureLevel); known > firstLevel {
		c.level = known
	}
	if err := bootstrap(opts, in.Init, c); err != nil {
		return err
	}
	store, err := mvcc.Open(opts.store())
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := in.write(store); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

func (in *Import) write(store *mvcc.Store) (err error) {
	i, err := store.NewImporter(in.Init.Index, in.Init.Term, in.Compacted)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.Abort()) }()
	if err := in.Versions(i.Version); err != nil {
		return err
	}
	end, err := in.End()
	if err != nil {
		return err
	}
	for _, l := range end.Leases {
		if err := i.Lease(l); err != nil {
			return err
		}
	}
	return i.Finish(mvcc.ImportEnd{Revision: end.Revision, Compacted: end.Compacted})
}

// FinishImport ends what BootstrapFrom began, once all was applied that is to be applied
// to the state that it left: alarms become those of the cluster's one member, one of each
// type, because those of whom they were are no members; and the revision moves on by bump, so that what was
// before is compacted, unless bump is 0. Nobody serves the state, and no log follows it
// yet. Close makes it durable. Applier only.
func (m *Machine) FinishImport(bump int64) error {
	c := m.cluster.Load()
	if len(c.members) != 1 {
		return fmt.Errorf("finish the import: there are %d members, and only the one that it was made for may be there", len(c.members))
	}
	w, err := m.store.NewWriter()
	if err != nil {
		return fmt.Errorf("finish the import: %w", err)
	}
	if err := finishImport(w, c, bump); err != nil {
		return errors.Join(fmt.Errorf("finish the import: %w", err), w.Abort())
	}
	if err := w.Commit(m.Applied()); err != nil {
		return fmt.Errorf("finish the import: %w", err)
	}
	return m.load()
}

func finishImport(w *mvcc.Writer, c *cluster, bump int64) error {
	for _, a := range c.alarms {
		if err := w.DeleteMeta(alarmRow(a)); err != nil {
			return err
		}
	}
	for _, a := range c.alarms {
		a.MemberID = c.members[0].ID
		if err := w.SetMeta(alarmRow(a), []byte{alarmVersion}); err != nil {
			return err
		}
	}
	if bump == 0 {
		return nil
	}
	return w.Leap(bump)
}
