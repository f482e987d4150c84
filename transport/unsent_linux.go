package transport

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsentBytes bounds what the system holds unsent for a connection. What is
// there cannot be overtaken by a heartbeat any more.
const unsentBytes = 128 << 10

// limitUnsent is a wish too: without it only the precedence suffers.
func limitUnsent(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
	})
}
