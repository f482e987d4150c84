package node

import (
	"fmt"
	"slices"

	"chainfire/internal/disk"
)

// DataDir is what is in a data directory, for those who read the files of a
// member that is stopped. Paths are empty for what is not there.
type DataDir struct {
	// Cluster, Member and Name are those of member.json; Member is 0 without it.
	Cluster, Member uint64
	Name            string
	// Identity says what is wrong with member.json, which is IdentityFile, nil if
	// nothing is. A member does not start without it.
	Identity     error
	IdentityFile string
	// Peers is whether another member is known that a damaged store can be
	// rebuilt from; the member does that by itself at its next start.
	Peers bool
	// Damage is what the member noted of damage that it found in its store.
	Damage string
	// Log, Store and Blob are the folders of the write-ahead log, of the store, and of the
	// extents of object bodies.
	Log, Store, Blob string
	// Snapshots are the folders of a seed and of cuts for other members.
	Snapshots []string
}

// LookAt reads what a data directory holds, and changes nothing. found is false
// when the directory is not one.
func LookAt(fsys disk.FS, dir string) (d DataDir, found bool, err error) {
	fsys = disk.ReadOnly(fsys)
	names, err := fsys.List(dir)
	if err != nil {
		return d, false, fmt.Errorf("list %s: %w", dir, err)
	}
	at := func(name string) string {
		if slices.Contains(names, name) {
			return fsys.PathJoin(dir, name)
		}
		return ""
	}
	d.Log, d.Store, d.Blob = at(walDir), at(storeDir), at(blobDir)
	if seed := at(seedDir); seed != "" {
		d.Snapshots = append(d.Snapshots, seed)
	}
	if cuts := at(snapshotDir); cuts != "" {
		inside, err := fsys.List(cuts)
		if err != nil {
			return d, false, fmt.Errorf("list %s: %w", cuts, err)
		}
		slices.Sort(inside)
		for _, name := range inside {
			d.Snapshots = append(d.Snapshots, fsys.PathJoin(cuts, name))
		}
	}
	if d.Log == "" && d.Store == "" && at(identityFile) == "" && at(joiningFile) == "" {
		return DataDir{}, false, nil
	}
	id, _, err := loadIdentity(fsys, dir)
	d.IdentityFile = fsys.PathJoin(dir, identityFile)
	d.Cluster, d.Member, d.Name, d.Identity = id.Cluster, id.Member, id.Name, err
	var peers []peerAddress
	if _, err := readSealed(fsys, fsys.PathJoin(dir, peersFile), &peers); err == nil {
		d.Peers = len(peers) > 0
	}
	var noted damage
	if _, err := readSealed(fsys, fsys.PathJoin(dir, damageFile), &noted); err != nil {
		noted.Reason = err.Error()
	}
	d.Damage = noted.Reason
	return d, true, nil
}
