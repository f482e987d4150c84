package sniff

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// Conn is a connection whose first bytes have been looked at; Read returns them
// first. As with any net.Conn, at most one goroutine reads at a time.
type Conn struct {
	net.Conn
	head []byte
}

// Read reads the bytes that were looked at, then the connection.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.head)
	if c.head = c.head[n:]; len(c.head) == 0 {
		c.head = nil
	}
	return n, nil
}

// NetConn returns the wrapped connection. Reading from it directly loses the
// bytes that were looked at.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends the sending half, which net/http uses so that a client gets
// the end of an answer. It returns errors.ErrUnsupported if the wrapped
// connection has no halves.
func (c *Conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn gives access to the socket's options. It returns
// errors.ErrUnsupported if the wrapped connection is not a socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// child is the net.Listener of one protocol.
type child struct {
	parent *Listener
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
}

// Accept waits for the next connection of the protocol. It returns net.ErrClosed
// after the child or its parent was closed.
func (c *child) Accept() (net.Conn, error) {
	select {
	case <-c.done:
	case <-c.parent.closed:
	case conn := <-c.conns:
		return conn, nil
	}
	return nil, &net.OpError{Op: "accept", Net: c.Addr().Network(), Addr: c.Addr(), Err: net.ErrClosed}
}

// Close ends this child alone; its protocol's connections are closed from then
// on, and the port stays open for the others.
func (c *child) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

// Addr is the address of the shared port.
func (c *child) Addr() net.Addr { return c.parent.Addr() }
