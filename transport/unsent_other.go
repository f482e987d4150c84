//go:build !linux

package transport

import "net"

// limitUnsent does nothing where the system has no such limit.
func limitUnsent(*net.TCPConn) {}
