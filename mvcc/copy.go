package mvcc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"chainfire/internal/disk"
)

// CopyCurrent writes a checkpoint of a store that nobody has open into a directory
// that does not exist yet, durably, and changes nothing in the store. Tables, which
// are never written again, are linked where the file system can; everything else is
// copied. skip, if set, names files of the engine directory that are left out.
//
// What is copied is what is on the disk: whoever hands the copy on has checked the
// store (Inspect), or checks the copy (VerifyCheckpoint, ReadCheckpoint).
func CopyCurrent(fsys FS, dir, dst string, skip func(name string) bool) error {
	src, err := Current(fsys, dir)
	if err != nil {
		return err
	}
	names, err := fsys.List(src)
	if err != nil {
		return fmt.Errorf("list store %s: %w", src, err)
	}
	if err := disk.MkdirAll(fsys, dst); err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if name == lockName || skip != nil && skip(name) {
			continue
		}
		from, to := fsys.PathJoin(src, name), fsys.PathJoin(dst, name)
		if strings.HasSuffix(name, tableExt) {
			err = vfs.LinkOrCopy(fsys, from, to)
		} else {
			err = vfs.Copy(fsys, from, to)
		}
		if err != nil {
			return fmt.Errorf("copy %s to %s: %w", from, to, err)
		}
	}
	return disk.SyncDir(fsys, dst)
}
