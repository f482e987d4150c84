package node

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"chainfire/internal/disk"
)

func keptName(cluster uint64) string { return fmt.Sprintf("%s%x", keptPrefix, cluster) }

// The parts of a data directory that a recovery exchanges, in the order in which
// the old ones go, which is the reverse of that in which the new ones come: where
// any of them is missing there is no identity. The rest, other than the last group,
// is kept with the old ones.
var (
	exchanged = []string{identityFile, tokenFile, sealFile, pkiDir, storeDir, walDir}
	kept      = []string{bootsFile, peersFile, joiningFile, foundingFile, damageFile}
	dropped   = []string{snapshotDir, etcdDir, seedDir, quarantineDir}
)

// settleRecovery completes a recovery that was cut short after it was decided, and
// clears away one that was cut short before.
func settleRecovery(f disk.FS, dir string) error {
	if there, err := exists(f, f.PathJoin(dir, recoveringDir)); err != nil {
		return err
	} else if there {
		if err := f.RemoveAll(f.PathJoin(dir, recoveringDir)); err != nil {
			return fmt.Errorf("clear %s: %w", f.PathJoin(dir, recoveringDir), err)
		}
	}
	return completeRecovery(f, dir)
}

// settle brings a directory to where what was begun on it, and cut short, is done or
// never was.
func settle(f disk.FS, dir string) error {
	return errors.Join(settleRecovery(f, dir), settlePreparation(f, dir), settleRestoration(f, dir))
}

// ResumeRecovery completes a recovery of a directory that was cut short after it was
// decided, and says what it came to; nil if there is none. The caller holds the
// directory.
func ResumeRecovery(f disk.FS, dir string) (*Recovered, error) {
	there, err := exists(f, f.PathJoin(dir, recoveredDir))
	if err != nil || !there {
		return nil, err
	}
	if err := completeRecovery(f, dir); err != nil {
		return nil, err
	}
	return EarlierRecovery(f, dir)
}

// EarlierRecovery is what the recovery came to that a directory stems from, as far
// as the directory says; nil if there is none.
func EarlierRecovery(f disk.FS, dir string) (*Recovered, error) {
	id, found, err := loadIdentity(f, dir)
	if err != nil || !found || id.RecoveredFrom == 0 {
		return nil, err
	}
	out := &Recovered{OldCluster: id.RecoveredFrom, Cluster: id.Cluster, Member: id.Member, Name: id.Name}
	for path, to := range map[string]*string{
		f.PathJoin(dir, keptName(id.RecoveredFrom)): &out.Kept, f.PathJoin(dir, tokenFile): &out.TokenFile,
	} {
		there, err := exists(f, path)
		if err != nil {
			return nil, err
		}
		if there {
			*to = path
		}
	}
	return out, nil
}

// completeRecovery moves a recovered directory in its place, if there is one that
// is not in its place yet. The caller holds the directory.
func completeRecovery(f disk.FS, dir string) error {
	there, err := exists(f, f.PathJoin(dir, recoveredDir))
	if err != nil || !there {
		return err
	}
	x := &exchange{f: f, dir: dir, fresh: f.PathJoin(dir, recoveredDir)}
	if err := x.run(); err != nil {
		return fmt.Errorf("complete the recovery of %s: %w; try again, with 'chainfire recover' or with a start", dir, err)
	}
	return nil
}

// exchange puts the parts of a recovered directory in the place of the old ones.
// Done again after a crash it goes on where it was.
type exchange struct {
	f               disk.FS
	dir, fresh, old string
}

func (x *exchange) run() error {
	id, found, err := loadIdentity(x.f, x.fresh)
	if err != nil {
		return err
	}
	if found { // else all that is left is the folder itself
		x.old = x.f.PathJoin(x.dir, keptName(id.RecoveredFrom))
		if err := disk.MkdirAll(x.f, x.old); err != nil {
			return err
		}
		if err := x.setAside(); err != nil {
			return err
		}
		for _, name := range slices.Backward(exchanged) {
			if err := x.move(x.fresh, x.dir, name); err != nil {
				return err
			}
		}
	}
	if err := x.f.RemoveAll(x.fresh); err != nil {
		return fmt.Errorf("remove %s: %w", x.fresh, err)
	}
	return disk.SyncDir(x.f, x.dir)
}

// setAside moves the old parts away: those whose new part is still to come, and
// those that have none.
func (x *exchange) setAside() error {
	for _, name := range exchanged {
		waits, err := exists(x.f, x.f.PathJoin(x.fresh, name))
		if err == nil && waits {
			err = x.move(x.dir, x.old, name)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range kept {
		if err := x.move(x.dir, x.old, name); err != nil {
			return err
		}
	}
	for _, name := range dropped {
		if err := x.f.RemoveAll(x.f.PathJoin(x.dir, name)); err != nil {
			return fmt.Errorf("clear %s: %w", x.f.PathJoin(x.dir, name), err)
		}
	}
	return nil
}

// move moves a part, if it is there, durably.
func (x *exchange) move(from, to, name string) error {
	err := x.f.Rename(x.f.PathJoin(from, name), x.f.PathJoin(to, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("move %s to %s: %w", x.f.PathJoin(from, name), to, err)
	}
	if err := disk.SyncDir(x.f, to); err != nil {
		return err
	}
	return disk.SyncDir(x.f, from)
}

// exists reports whether there is a file or folder at a path.
func exists(f disk.FS, path string) (bool, error) {
	_, err := f.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", path, err)
	}
	return true, nil
}
