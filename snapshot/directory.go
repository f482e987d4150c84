package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"syscall"

	"chainfire/internal/disk"
	"chainfire/raft"
)

// look finds out what an earlier Fetch left: a complete snapshot (ok), or one
// to go on with. What is of no use is left for prepare to remove.
func (f *fetcher) look() (meta raft.SnapshotMeta, ok bool, err error) {
	m, err := Load(f.o.FS, f.o.Dir)
	switch {
	case err == nil && m.Meta.ClusterID == f.o.ClusterID && m.Meta.Index >= f.o.MinIndex:
		return m.Meta.SnapshotMeta, true, nil
	case err == nil || errors.Is(err, ErrManifest):
		return meta, false, nil
	case !errors.Is(err, ErrNotComplete):
		return meta, false, err
	}
	b, err := disk.ReadFile(f.o.FS, f.o.FS.PathJoin(f.o.Dir, partialName), maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return meta, false, nil
	}
	if err != nil {
		return meta, false, err
	}
	offer, err := decodePartial(b)
	if err != nil || f.acceptable(offer) != nil {
		// Torn, or of another cluster or time: nothing to go on with.
		return meta, false, nil
	}
	f.offer = offer
	return meta, false, f.removeStrays()
}

// removeStrays removes what the snapshot does not hold: the store that is opened
// on the directory would take it for its own.
func (f *fetcher) removeStrays() error {
	names, err := listFiles(f.o.FS, f.o.Dir, "")
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := f.offer.Manifest.find(name); ok {
			continue
		}
		if err := f.o.FS.Remove(local(f.o.FS, f.o.Dir, name)); err != nil {
			return fmt.Errorf("remove stray file %s: %w", name, err)
		}
	}
	return nil
}

// prepare empties the directory for a new offer and records the offer in it. Of a
// complete snapshot that is there the files stay that are as offered. The mark goes
// first, durably: no crash may leave it beside missing files.
func (f *fetcher) prepare(ctx context.Context, o Offer) error {
	old, err := Load(f.o.FS, f.o.Dir)
	if err != nil && !errors.Is(err, ErrNotComplete) && !errors.Is(err, ErrManifest) {
		return err
	}
	if err := removeMark(f.o.FS, f.o.Dir); err != nil {
		return err
	}
	if old != nil && old.Meta.ClusterID == o.Manifest.Meta.ClusterID {
		err = f.keepAsOffered(ctx, o.Manifest)
	} else if err = f.o.FS.RemoveAll(f.o.Dir); err != nil {
		err = fmt.Errorf("empty %s: %w", f.o.Dir, err)
	}
	if err != nil {
		return err
	}
	if err := disk.MkdirAll(f.o.FS, f.o.Dir); err != nil {
		return err
	}
	if err := disk.WriteFileAtomic(f.o.FS, f.o.FS.PathJoin(f.o.Dir, partialName), encodePartial(o)); err != nil {
		return fmt.Errorf("record the offer: %w", err)
	}
	f.offer = o
	return nil
}

// keepAsOffered removes every file but those that are, to the last byte, as a
// manifest says. Others are not mended where they are: they may be linked into the
// store that they came from.
func (f *fetcher) keepAsOffered(ctx context.Context, m *Manifest) error {
	names, err := listFiles(f.o.FS, f.o.Dir, "")
	if err != nil {
		return err
	}
	for _, name := range names {
		path := local(f.o.FS, f.o.Dir, name)
		if want, ok := m.find(name); ok {
			size, err := sizeOf(f.o.FS, path)
			if err != nil {
				return err
			}
			have := int64(-1)
			if size == want.Size {
				if have, _, err = verifiedPrefix(ctx, f.o.FS, path, want, f.buf); err != nil {
					return fmt.Errorf("look at %s: %w", path, err)
				}
			}
			if have == want.Size {
				continue
			}
		}
		if err := f.o.FS.Remove(path); err != nil {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	return nil
}

// checkSpace refuses before the first byte what cannot fit.
func (f *fetcher) checkSpace() error {
	usage, err := f.o.FS.GetDiskUsage(f.o.Dir)
	if err != nil {
		// Not every file system can tell; then the write will.
		f.log.Debug("free space is not known", "dir", f.o.Dir, "err", err)
		return nil
	}
	need, reserve := uint64(f.total-f.done), uint64(f.o.Reserve)
	if need+reserve > usage.AvailBytes {
		return fmt.Errorf("%s of the state are to come into %s and %s to stay free beside it, but only %s are free there: make room, or give another --data-dir: %w",
			mebibytes(need), f.o.Dir, mebibytes(reserve), mebibytes(usage.AvailBytes), syscall.ENOSPC)
	}
	return nil
}

// mebibytes is a size for people.
func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// complete makes the names durable and then writes the mark.
func (f *fetcher) complete() error {
	dirs := map[string]bool{}
	for i := range f.offer.Manifest.Files {
		for d := path.Dir(f.offer.Manifest.Files[i].Name); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	for _, d := range slices.Sorted(maps.Keys(dirs)) {
		if err := disk.SyncDir(f.o.FS, local(f.o.FS, f.o.Dir, d)); err != nil {
			return err
		}
	}
	if err := disk.SyncDir(f.o.FS, f.o.Dir); err != nil {
		return err
	}
	if err := disk.WriteFileAtomic(f.o.FS, f.o.FS.PathJoin(f.o.Dir, MarkName), f.offer.Manifest.Encode()); err != nil {
		return fmt.Errorf("write the mark: %w", err)
	}
	if err := f.o.FS.Remove(f.o.FS.PathJoin(f.o.Dir, partialName)); err != nil {
		return fmt.Errorf("remove the record of the offer: %w", err)
	}
	return disk.SyncDir(f.o.FS, f.o.Dir)
}

func removeMark(fsys disk.FS, dir string) error {
	err := fsys.Remove(fsys.PathJoin(dir, MarkName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the mark of %s: %w", dir, err)
	}
	return disk.SyncDir(fsys, dir)
}
