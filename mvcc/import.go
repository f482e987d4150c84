package mvcc

import (
	"bytes"
	"fmt"

	"chainfire"
)

// What a round of an import holds at most.
const (
	importRows  = 5000
	importBytes = 4 << 20
)

// perVersion is what a version in a round takes beside key and value.
const perVersion = 256

// Importer fills a new store that nobody serves with a history that was made elsewhere:
// the versions in the order of their revisions, the leases at any time, then Finish. The
// rows are those that the same writes would have made here, before a compaction came to
// clean up. It holds one round of bounded size in memory, and the ids of the leases.
// What it has written counts once Finish and Store.Close have returned. One goroutine.
type Importer struct {
	s           *Store
	w           *Writer
	index, term uint64
	compacted   int64
	leases      map[int64]struct{}
	last        Revision
	rows, bytes int
}

// errHistory is wrapped around what is wrong with a history, and wraps
// chainfire.ErrCorrupt.
var errHistory = fmt.Errorf("history: %w", chainfire.ErrCorrupt)

// NewImporter begins an import of a history whose compacted revision is given, or is
// NeverCompacted. Its rounds are committed as applied at an index of a term. The caller
// ends it with Finish or Abort.
func (s *Store) NewImporter(index, term uint64, compacted int64) (*Importer, error) {
	st := s.State()
	switch {
	case st.Revision != firstRevision || st.Compacted != NeverCompacted:
		return nil, fmt.Errorf("import a history: the store is at revision %d already", st.Revision)
	case compacted < NeverCompacted || compacted > maxRevision:
		return nil, fmt.Errorf("%w: the compacted revision is %d", errHistory, compacted)
	}
	return &Importer{s: s, index: index, term: term, compacted: compacted, leases: map[int64]struct{}{}}, nil
}

// Lease writes a lease.
func (i *Importer) Lease(l Lease) error {
	_, twice := i.leases[l.ID]
	if twice || l.ID == 0 || l.TTL <= 0 || l.Remaining < 0 || l.Remaining > l.TTL {
		return fmt.Errorf("%w: lease %s with %d of %d seconds left", errHistory, chainfire.LeaseID(l.ID), l.Remaining, l.TTL)
	}
	w, err := i.round(perVersion)
	if err != nil {
		return err
	}
	i.leases[l.ID] = struct{}{}
	return w.SetLease(l)
}

// Version writes one version. It is refused with an error that wraps chainfire.ErrCorrupt
// if a revision above the compacted one is missing before it, or if it does not follow
// from the version of its key before it.
func (i *Importer) Version(v *Version) error {
	if err := i.checkOrder(v); err != nil {
		return err
	}
	w, err := i.round(len(v.Key) + len(v.Value) + perVersion)
	if err != nil {
		return err
	}
	old, found, err := w.newest(v.Key)
	if err != nil {
		return err
	}
	if err := i.checkFollows(v, &old, found); err != nil {
		return err
	}
	if !found {
		old = version{}
	}
	was, prev := old.lease, old.rev // what old's value aliases is invalid soon
	key := bytes.Clone(v.Key)
	next := version{rev: v.Revision, tombstone: v.Deleted}
	if !v.Deleted {
		next.create, next.count, next.lease, next.value = v.Create, v.Count, v.Lease, bytes.Clone(v.Value)
	}
	if err := w.write(key, next, prev); err != nil {
		return err
	}
	i.last = v.Revision
	// No watch is there, and revisions are counted by what comes.
	w.sub, w.events, w.state.Revision = 0, nil, v.Revision.Main
	return w.attach(key, was, next.lease)
}

// detach takes back the attachments to leases that are not there: such a key stays as it
// is, attached to nothing.
func (i *Importer) detach() error {
	e, _, err := i.s.acquire()
	if err != nil {
		return err
	}
	defer i.s.release(e)
	return eachRow(e.db, []byte{tagAttach}, []byte{tagAttach + 1}, func(row, content []byte) error {
		id, _, err := parseAttachRow(row, content)
		if err != nil {
			return err
		}
		if _, ok := i.leases[id]; ok {
			return nil
		}
		w, err := i.round(len(row) + perVersion)
		if err != nil {
			return err
		}
		if err := w.batch.Delete(row, nil); err != nil {
			return fmt.Errorf("detach key from lease %x: %w", uint64(id), err)
		}
		return nil
	})
}

// checkOrder refuses a version out of order, and one before which something is missing
// that no compaction can have taken.
func (i *Importer) checkOrder(v *Version) error {
	r := v.Revision
	first := Revision{Main: max(i.last.Main, i.compacted, firstRevision) + 1}
	next := Revision{Main: i.last.Main, Sub: i.last.Sub + 1}
	switch {
	case r.Main <= firstRevision || r.Main > maxRevision:
		return fmt.Errorf("%w: there is a revision %d.%d", errHistory, r.Main, r.Sub)
	case compareRevisions(r, i.last) <= 0:
		return fmt.Errorf("%w: revision %d.%d comes after revision %d.%d", errHistory, r.Main, r.Sub, i.last.Main, i.last.Sub)
	case r.Main > i.compacted && r != first && r != next:
		return fmt.Errorf("%w: revision %d.%d follows on revision %d.%d, and nothing up to revision %d may be missing: what is between is lost",
			errHistory, r.Main, r.Sub, max(i.last.Main, i.compacted), i.last.Sub, i.compacted+1)
	}
	return nil
}

// checkFollows compares a version with the one before it, which may only be missing
// where a compaction can have taken it.
func (i *Importer) checkFollows(v *Version, old *version, found bool) error {
	r := v.Revision
	gone := !found && r.Main <= i.compacted
	switch {
	case v.Deleted && (found || gone):
	case v.Deleted:
		return fmt.Errorf("%w: revision %d.%d deletes key %q, which was not there", errHistory, r.Main, r.Sub, v.Key)
	case v.Count == 1 && v.Create == r.Main && !found:
	case v.Count > 1 && found && v.Count == old.count+1 && v.Create == old.create:
	case v.Count > 1 && gone && v.Create > firstRevision && v.Create <= r.Main:
	default:
		return fmt.Errorf("%w: revision %d.%d is version %d of key %q, created in revision %d, and does not follow on version %d, created in revision %d",
			errHistory, r.Main, r.Sub, v.Count, v.Key, v.Create, old.count, old.create)
	}
	return nil
}

// round is the round under way, or the next, if what is to come has no room in it.
func (i *Importer) round(size int) (*Writer, error) {
	if i.w != nil && (i.rows >= importRows || i.bytes+size > importBytes) {
		if err := i.commit(); err != nil {
			return nil, err
		}
	}
	if i.w == nil {
		w, err := i.s.NewWriter()
		if err != nil {
			return nil, err
		}
		i.w, i.rows, i.bytes = w, 0, 0
	}
	i.rows++
	i.bytes += size
	return i.w, nil
}

func (i *Importer) commit() error {
	w := i.w
	i.w = nil
	if err := w.Commit(i.index, i.term); err != nil {
		return fmt.Errorf("import a history: %w", err)
	}
	return nil
}

// ImportEnd is where an import ends.
type ImportEnd struct {
	// Revision is the current revision: that of the last version or the compacted one.
	Revision int64
	// Compacted is the compacted revision: that of the beginning, or a later one.
	Compacted int64
}

// Finish ends the import.
func (i *Importer) Finish(end ImportEnd) error {
	want := max(i.last.Main, i.compacted, firstRevision)
	switch {
	case end.Revision != want:
		return fmt.Errorf("%w: it ends at revision %d, and not at %d", errHistory, want, end.Revision)
	case end.Compacted < i.compacted || end.Compacted > end.Revision:
		return fmt.Errorf("%w: it ends at revision %d, compacted at %d, and began compacted at %d", errHistory, end.Revision, end.Compacted, i.compacted)
	}
	if i.w != nil {
		if err := i.commit(); err != nil {
			return err
		}
	}
	if err := i.detach(); err != nil {
		return err
	}
	w, err := i.round(perVersion)
	if err != nil {
		return err
	}
	w.state.Revision, w.state.Compacted = end.Revision, end.Compacted
	return i.commit()
}

// Abort drops the round under way, if there is one.
func (i *Importer) Abort() error {
	w := i.w
	i.w = nil
	if w == nil {
		return nil
	}
	return w.Abort()
}
