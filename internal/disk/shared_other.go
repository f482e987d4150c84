//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package disk

import (
	"fmt"
	"os"
)

// openShared takes a lock file that cannot be opened for one that is held: where
// there are no advisory locks, the holder shares it with nobody.
func openShared(path string, err error) error {
	return fmt.Errorf("open %s: %w: %w", path, ErrInUse, err)
}

func lockShared(*os.File) error { return nil }
