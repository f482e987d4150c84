package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// LockShared holds a directory of the real file system against a process that
// would take it with Lock, without changing a byte, a name or a time in it, and
// beside others who only read. It returns an error that wraps ErrInUse when such
// a process has it, and a lock on nothing when no process ever took the
// directory.
//
// A process must not call it for a directory that it holds with Lock itself:
// closing the result would release that lock too.
func LockShared(dir string) (io.Closer, error) {
	path := filepath.Join(dir, LockName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return noLock{}, nil
	}
	if err != nil {
		return nil, openShared(path, err)
	}
	if err := lockShared(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}
