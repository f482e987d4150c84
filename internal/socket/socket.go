// Package socket opens the ports of a member: of TCP, with the options of sockets that
// etcd has flags for, and sockets of one machine by their paths.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// The networks of Listen.
const (
	TCP  = "tcp"
	Unix = "unix"
)

// Options are for ports of TCP. The zero value is what the system does by itself.
type Options struct {
	// ReusePort lets several listeners have one address, also in other processes, if all
	// of them ask for it: who connects gets to one of them. What it cannot be had for is an
	// error.
	ReusePort bool
	// ReuseAddress takes an address of which connections of before are not over yet.
	ReuseAddress bool
}

// Listen opens a port: of TCP at HOST:PORT, or a socket at a path, in the place of one that
// was left there by a process that did not end in good order, and of nothing else: not of one
// at which a process still listens.
func Listen(network, addr string, o Options) (net.Listener, error) {
	var c net.ListenConfig
	if network == Unix {
		if err := clearLeft(addr); err != nil {
			return nil, err
		}
	} else {
		c.Control = o.control()
	}
	l, err := c.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// dialTime bounds the look for a process at a socket.
const dialTime = time.Second

// clearLeft removes the socket at a path, if there is one and nobody listens there.
func clearLeft(path string) error {
	info, err := os.Lstat(path)
	switch {
	case path == "":
		return errors.New("a socket needs a path: write unix:///PATH")
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for a socket: %w", err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there and no socket: give another path", path)
	}
	c, err := net.DialTimeout(Unix, path, dialTime)
	switch {
	case err == nil:
		return errors.Join(fmt.Errorf("%s: %w: a process listens there; end it, or give another path", path, syscall.EADDRINUSE), c.Close())
	case !errors.Is(err, syscall.ECONNREFUSED):
		// As one whose queue is full, or that is somebody else's.
		return fmt.Errorf("find out whether a process listens at a socket: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of before: %w", err)
	}
	return nil
}
