package disk

import (
	"fmt"
	"io"
	"io/fs"
)

// ErrReadOnly is in the error of every call that would change a file system
// made by ReadOnly.
var ErrReadOnly = fmt.Errorf("opened to be read only: %w", fs.ErrPermission)

// ReadOnly is a file system that cannot be changed: reading goes to the one
// given, and whatever would write, make, name or remove a file is refused with
// ErrReadOnly. Lock succeeds and takes nothing, because the lock file of a
// storage engine is made, or emptied, by taking it; see LockShared for a lock
// that leaves no trace.
func ReadOnly(fsys FS) FS { return readOnly{fsys} }

type readOnly struct{ FS }

func refuseChange(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: ErrReadOnly}
}

// Create implements FS.
func (readOnly) Create(name string, _ WriteCategory) (File, error) {
	return nil, refuseChange("create", name)
}

// Link implements FS.
func (readOnly) Link(_, newname string) error { return refuseChange("link", newname) }

// OpenReadWrite implements FS.
func (readOnly) OpenReadWrite(name string, _ WriteCategory, _ ...OpenOption) (File, error) {
	return nil, refuseChange("open for writing", name)
}

// Remove implements FS.
func (readOnly) Remove(name string) error { return refuseChange("remove", name) }

// RemoveAll implements FS.
func (readOnly) RemoveAll(name string) error { return refuseChange("remove", name) }

// Rename implements FS.
func (readOnly) Rename(oldname, _ string) error { return refuseChange("rename", oldname) }

// ReuseForWrite implements FS.
func (readOnly) ReuseForWrite(oldname, _ string, _ WriteCategory) (File, error) {
	return nil, refuseChange("reuse", oldname)
}

// MkdirAll implements FS.
func (readOnly) MkdirAll(dir string, _ fs.FileMode) error { return refuseChange("create", dir) }

// Lock implements FS: it takes nothing.
func (readOnly) Lock(string) (io.Closer, error) { return noLock{}, nil }

// Unwrap implements FS: what is below could be changed, so it is not shown.
func (readOnly) Unwrap() FS { return nil }

type noLock struct{}

// Close implements io.Closer.
func (noLock) Close() error { return nil }
