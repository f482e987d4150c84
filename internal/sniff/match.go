package sniff

import (
	"bytes"
	"errors"
	"fmt"
	"net"
)

// http2Preface is what every HTTP/2 client sends first (RFC 9113, 3.4).
var http2Preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// http1Methods are the beginnings of a request line: a method and its space.
func http1Methods() [][]byte {
	names := []string{"GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE "}
	out := make([][]byte, len(names))
	for i, n := range names {
		out[i] = []byte(n)
	}
	return out
}

// overlap reports whether one of two prefixes begins with the other.
func overlap(a, b []byte) bool {
	n := min(len(a), len(b))
	return bytes.Equal(a[:n], b[:n])
}

// errUnknown says that a connection begins as none of the protocols does.
var errUnknown = errors.New("unknown protocol")

// match reads until the bytes decide for one route, and returns it with all
// that was read. It reads no more than the longest prefix.
func (l *Listener) match(conn net.Conn) (*route, []byte, error) {
	longest := 0
	for _, r := range l.routes {
		for _, p := range r.prefixes {
			longest = max(longest, len(p))
		}
	}
	buf := make([]byte, 0, longest)
	for {
		to, open := l.decide(buf)
		if to != nil {
			return to, buf, nil
		}
		if !open {
			return nil, nil, fmt.Errorf("%w: %q", errUnknown, buf)
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return nil, nil, fmt.Errorf("read first bytes: %w", err)
		}
	}
}

// decide returns the route whose prefix head begins with, or whether more
// bytes may still decide for one.
func (l *Listener) decide(head []byte) (to *route, open bool) {
	for i := range l.routes {
		for _, p := range l.routes[i].prefixes {
			if !overlap(p, head) {
				continue
			}
			if len(head) >= len(p) {
				return &l.routes[i], false
			}
			open = true
		}
	}
	return nil, open
}
