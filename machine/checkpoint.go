package machine

import (
	"context"
	"fmt"

	"chainfire"
	"chainfire/mvcc"
	"chainfire/raft"
)

// Checkpoint writes a copy of the state, at least as new as the call, into a
// directory that does not exist yet, and says what it holds. Applying goes on
// meanwhile.
func (m *Machine) Checkpoint(ctx context.Context, dir string) (raft.SnapshotMeta, error) {
	applied, _ := m.Applied()
	if err := m.store.Checkpoint(ctx, dir); err != nil {
		return raft.SnapshotMeta{}, err
	}
	meta, _, err := CheckpointMeta(m.store.FS(), dir)
	if err == nil && meta.Index < applied {
		// Damage at the very end of the manifest looks like a write cut short.
		err = fmt.Errorf("%w: checkpoint %s holds index %d, and %d was applied before", chainfire.ErrCorrupt, dir, meta.Index, applied)
	}
	return meta, err
}

// VerifyCheckpoint compares every block of a checkpoint with its checksum, and
// returns an error that wraps chainfire.ErrCorrupt and names table and offset.
func (m *Machine) VerifyCheckpoint(ctx context.Context, dir string) error {
	return mvcc.VerifyCheckpoint(ctx, m.store.FS(), dir)
}

// CheckpointMeta reads what a checkpoint holds, and of which cluster. A nil FS
// is the real one.
func CheckpointMeta(fsys FS, dir string) (meta raft.SnapshotMeta, clusterID uint64, err error) {
	st, rows, err := mvcc.ReadCheckpoint(fsys, dir)
	if err != nil {
		return meta, 0, err
	}
	// Whether its feature level is known is asked by those who are to apply on it.
	c, err := loadCluster(rows, anyLevel)
	if err != nil {
		return meta, 0, fmt.Errorf("read checkpoint %s: %w", dir, err)
	}
	return raft.SnapshotMeta{Index: st.Applied, Term: st.Term, Conf: c.conf}, c.id, nil
}

// Restore makes a received checkpoint the state: of the same cluster, not older than
// what is there, and not above the feature level of this program (ErrNewer). The directory is moved. Reads under way end on the
// old state, watch streams live on. After a crash there is the old state or the
// new one. Applier only.
func (m *Machine) Restore(dir string) error {
	_, rows, err := mvcc.ReadCheckpoint(m.store.FS(), dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	c, err := loadCluster(rows, m.known)
	if err != nil {
		return fmt.Errorf("restore: read checkpoint %s: %w", dir, err)
	}
	if own := m.ClusterID(); c.id != own {
		return fmt.Errorf("restore: checkpoint %s is of cluster %x, this is cluster %x", dir, c.id, own)
	}
	m.sums.clear() // what is applied is another index before it is known what the sum is
	if err := m.store.Replace(dir); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := m.load(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}
