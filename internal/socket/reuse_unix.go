//go:build unix

package socket

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// control sets the options on a socket before it is bound; nil is none.
func (o Options) control() func(network, addr string, c syscall.RawConn) error {
	if o == (Options{}) {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			for _, x := range []struct {
				on     bool
				option int
				name   string
			}{{o.ReuseAddress, unix.SO_REUSEADDR, "SO_REUSEADDR"}, {o.ReusePort, unix.SO_REUSEPORT, "SO_REUSEPORT"}} {
				if !x.on || failed != nil {
					continue
				}
				if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, x.option, 1); err != nil {
					failed = fmt.Errorf("set %s: %w", x.name, err)
				}
			}
		})
		if err != nil {
			return err
		}
		return failed
	}
}
