//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

func openShared(path string, err error) error { return fmt.Errorf("open %s: %w", path, err) }

// lockShared takes a read lock, for which a file need not be open for writing.
func lockShared(f *os.File) error {
	spec := syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart}
	err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &spec)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return ErrInUse
	}
	return err
}
