package disk

import (
	"errors"
	"io"
	"os"
	"path"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	errNotReadable = errors.New("file is not open for reading")
	errNotWritable = errors.New("file is not open for writing")
)

// faultFile is an open file or directory of a FaultFS.
type faultFile struct {
	fs          *FaultFS
	name        string
	n           *inode
	pos         int64
	read, write bool
	closed      bool
}

// Close implements File.
func (h *faultFile) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return &os.PathError{Op: "close", Path: h.name, Err: os.ErrClosed}
	}
	h.closed = true
	return nil
}

// check is called with the lock held.
func (h *faultFile) check(op Op, allowed bool, denied error) error {
	switch {
	case h.closed:
		return &os.PathError{Op: string(op), Path: h.name, Err: os.ErrClosed}
	case !allowed:
		return &os.PathError{Op: string(op), Path: h.name, Err: denied}
	}
	return nil
}

// Read implements File.
func (h *faultFile) Read(p []byte) (int, error) {
	n, err := h.ReadAt(p, h.pos)
	h.pos += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// ReadAt implements File.
func (h *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := h.fs.begin(OpRead, h.name); err != nil {
		return 0, err
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.check(OpRead, h.read, errNotReadable); err != nil {
		return 0, err
	}
	if off >= int64(len(h.n.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, h.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write implements File.
func (h *faultFile) Write(p []byte) (int, error) {
	n, err := h.WriteAt(p, h.pos)
	h.pos += int64(n)
	return n, err
}

// WriteAt implements File.
func (h *faultFile) WriteAt(p []byte, off int64) (int, error) {
	failed := h.fs.begin(OpWrite, h.name)
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.check(OpWrite, h.write, errNotWritable); err != nil {
		return 0, err
	}
	if failed != nil {
		h.n.write(p[:len(p)/2], off)
		return len(p) / 2, failed
	}
	grow := max(0, off+int64(len(p))-int64(len(h.n.data)))
	missing := grow - h.fs.take(grow)
	fits := max(0, int64(len(p))-missing)
	h.n.write(p[:fits], off)
	if missing > 0 {
		return int(fits), noSpace(h.name)
	}
	return len(p), nil
}

// Sync implements File; of a directory it makes the names durable.
func (h *faultFile) Sync() error {
	op := OpSync
	if h.n.dir {
		op = OpSyncDir
	}
	failed := h.fs.begin(op, h.name)
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.check(op, true, nil); err != nil {
		return err
	}
	switch {
	case failed != nil:
		// The pages count as clean from here on although they were never written.
		h.n.dirty = nil
		return failed
	case h.n.dir:
		h.fs.syncDir(h.n)
	default:
		h.n.sync()
	}
	return nil
}

// SyncData implements File.
func (h *faultFile) SyncData() error { return h.Sync() }

// SyncTo implements File: like the real call it may promise nothing.
func (h *faultFile) SyncTo(int64) (bool, error) { return false, nil }

// Preallocate implements File: space is taken when it is written.
func (h *faultFile) Preallocate(int64, int64) error { return nil }

// Prefetch implements File.
func (h *faultFile) Prefetch(int64, int64) error { return nil }

// Fd implements File: there is no descriptor.
func (h *faultFile) Fd() uintptr { return vfs.InvalidFd }

// Stat implements File.
func (h *faultFile) Stat() (vfs.FileInfo, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return faultInfo{name: path.Base(h.name), size: int64(len(h.n.data)), dir: h.n.dir}, nil
}

// faultInfo describes a file. The time is always the zero time: what a test does
// must not depend on when it ran.
type faultInfo struct {
	name string
	size int64
	dir  bool
}

func (i faultInfo) Name() string           { return i.name }
func (i faultInfo) Size() int64            { return i.size }
func (i faultInfo) ModTime() time.Time     { return time.Time{} }
func (i faultInfo) IsDir() bool            { return i.dir }
func (i faultInfo) Sys() any               { return nil }
func (i faultInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

func (i faultInfo) Mode() os.FileMode {
	if i.dir {
		return os.ModeDir | 0o700
	}
	return 0o600
}
