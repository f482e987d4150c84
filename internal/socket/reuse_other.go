//go:build !unix

package socket

import (
	"errors"
	"syscall"
)

// control refuses what is not known of this system; nil is no options.
func (o Options) control() func(network, addr string, c syscall.RawConn) error {
	if o == (Options{}) {
		return nil
	}
	return func(string, string, syscall.RawConn) error {
		return errors.New("options of sockets are not supported on this system: leave --socket-reuse-port and --socket-reuse-address away")
	}
}
