// Package disk is the file-system seam: everything durable goes through an FS,
// so that a test or the simulator can put a FaultFS in the place of the real
// disk and crash it, tear its writes, fill it or rot it, all from a seed.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system. It is the interface of the storage engine below, so that
// the store and the log can stand on the same (faulty) disk.
type FS = vfs.FS

// File is an open file or directory of an FS.
type File = vfs.File

// WriteCategory says what a file is written for.
type WriteCategory = vfs.DiskWriteCategory

// OpenOption is a hint for opening a file.
type OpenOption = vfs.OpenOption

// Category is given to every file opened for writing; the real file system
// ignores it.
const Category = vfs.WriteCategoryUnspecified

// LockName is the file by which Lock holds a directory.
const LockName = "LOCK"

// ErrInUse says that another process, or another part of this one, holds the
// directory.
var ErrInUse = errors.New("in use by another process")

// OS is the real file system.
func OS() FS { return vfs.Default }

// SyncDir makes the names in dir durable: files created, renamed and removed.
func SyncDir(fsys FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s to sync it: %w", dir, err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// MkdirAll creates dir and the parents that are missing, readable by the owner
// only, and makes their names durable.
func MkdirAll(fsys FS, dir string) error {
	var parents []string
	for d := dir; ; {
		_, err := fsys.Stat(d)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for directory %s: %w", d, err)
		}
		up := fsys.PathDir(d)
		if up == d {
			break
		}
		parents = append(parents, up)
		d = up
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create directory %s: %w", dir, err)
	}
	for i := len(parents) - 1; i >= 0; i-- {
		if err := SyncDir(fsys, parents[i]); err != nil {
			return err
		}
	}
	return nil
}

// WriteFileAtomic replaces the file at path with data. When it returns nil the
// new content is durable; after a crash at any earlier point the file holds
// either the old content (or does not exist) or the new one. One caller at a
// time for a path.
func WriteFileAtomic(fsys FS, path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := fsys.Create(tmp, Category)
	if err != nil {
		return fmt.Errorf("create %s: %w", tmp, err)
	}
	// An FS may modify what it is given to write; the caller's bytes stay whole.
	_, err = f.Write(append([]byte(nil), data...))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return fmt.Errorf("rename %s to %s: %w", tmp, path, err)
	}
	return SyncDir(fsys, fsys.PathDir(path))
}

// ReadFile returns the content of a file of at most limit bytes; a larger one is
// an error, not a cut answer. A missing file is fs.ErrNotExist.
func ReadFile(fsys FS, path string, limit int64) ([]byte, error) {
	f, err := fsys.Open(path)
	if named := (*fs.PathError)(nil); errors.As(err, &named) && named.Path == path {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: larger than %d bytes", path, limit)
	}
	return data, nil
}

// Lock takes a directory for this process. It returns an error that wraps
// ErrInUse when the directory is taken; closing the result releases it. The
// lock also ends with the process.
func Lock(fsys FS, dir string) (io.Closer, error) {
	path := fsys.PathJoin(dir, LockName)
	c, err := fsys.Lock(path)
	if err == nil {
		return c, nil
	}
	var errno syscall.Errno
	var perr *fs.PathError
	switch {
	case errors.As(err, &perr):
		// The lock file could not be made at all.
	case errors.As(err, &errno) && errno != syscall.EAGAIN && errno != syscall.EACCES:
		// The file system cannot lock.
	default:
		return nil, fmt.Errorf("data directory %s is %w", dir, ErrInUse)
	}
	return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
}

// FreeBytes is the space that this process can still use on the real file
// system that holds path.
func FreeBytes(path string) (uint64, error) {
	u, err := vfs.Default.GetDiskUsage(path)
	if err != nil {
		return 0, fmt.Errorf("read free space of %s: %w", path, err)
	}
	return u.AvailBytes, nil
}
