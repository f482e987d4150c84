package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// writePiece is how much a connection must take within a write timeout.
const writePiece = 256 << 10

// link is a connection with its deadlines: each counts from the last progress,
// so that a slow peer is borne and a stuck one is not.
type link struct {
	net.Conn
	readTimeout  time.Duration
	writeTimeout time.Duration
	// progress, if set, is called by Read when something arrived.
	progress func() error
}

// Read sets the deadline anew for every piece that arrives.
func (l *link) Read(p []byte) (int, error) {
	if l.readTimeout > 0 {
		if err := l.SetReadDeadline(time.Now().Add(l.readTimeout)); err != nil {
			return 0, err
		}
	}
	n, err := l.Conn.Read(p)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("nothing arrived for %s: %w", l.readTimeout, err)
	}
	if err == nil && l.progress != nil {
		err = l.progress()
	}
	return n, err
}

// Write sends p, in one call of the connection for a usual batch and in several
// for a large one, each with a deadline of its own.
func (l *link) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		end := min(len(p), done+writePiece)
		if err := l.SetWriteDeadline(time.Now().Add(l.writeTimeout)); err != nil {
			return done, err
		}
		n, err := l.Conn.Write(p[done:end])
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("peer took %d of %d bytes in %s: %w", n, end-done, l.writeTimeout, err)
		}
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// tune sets what a TCP connection needs, as far as the connection, or the one
// under it, has it.
func tune(c net.Conn) {
	for range 4 {
		switch v := c.(type) {
		case *net.TCPConn:
			// They are wishes: a connection that has ended says so elsewhere.
			_ = v.SetNoDelay(true)
			_ = v.SetKeepAliveConfig(keepAlive())
			limitUnsent(v)
			return
		case interface{ NetConn() net.Conn }:
			c = v.NetConn()
		default:
			return
		}
	}
}

// describe tells an ended stream apart from one that failed.
func describe(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("closed by the peer")
	}
	return err
}
