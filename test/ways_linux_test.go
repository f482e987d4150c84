package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// ways are what members reach each other by: each has its address for the others
// here, and what comes in is handed on. So anything can be held back that goes from
// one member to another, without root. It stays in order and is late, as with a
// network whose cut is mended before connections end.
type ways struct {
	t       *testing.T
	members []*member

	mu   sync.Mutex
	held map[[2]*member]bool
	// moved is closed and made anew with every change.
	moved chan struct{}
	conns map[net.Conn]struct{}
	over  bool
	wg    sync.WaitGroup
}

func newWays(t *testing.T) *ways {
	w := &ways{t: t, held: map[[2]*member]bool{}, moved: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() {
		w.change(func() {
			w.over = true
			for c := range w.conns {
				_ = c.Close() // whoever reads from it ends
			}
		})
		w.wg.Wait()
	})
	return w
}

func (w *ways) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.moved)
	w.moved = make(chan struct{})
}

// place lets a member that does not run yet be reached over these ways.
func (w *ways) place(m *member) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() }) // Accept ends
	own := m.peer
	m.peer = l.Addr().String()
	m.args = append(m.args, "--listen-peer", own, "--advertise-peer", m.peer)
	w.members = append(w.members, m)
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.carry(c, m, own) })
		}
	})
}

// keep notes a connection, to be closed at the end. It reports whether that is still
// to come.
func (w *ways) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = struct{}{}
	return !w.over
}

func (w *ways) drop(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
	_ = c.Close() // either end may have closed it
}

// carry hands on what one connection brings, in both directions.
func (w *ways) carry(in net.Conn, to *member, addr string) {
	defer w.drop(in)
	if !w.keep(in) {
		return
	}
	from := w.dialer(in)
	out, err := net.Dial("tcp", addr)
	if err != nil {
		return // the member is down
	}
	defer w.drop(out)
	if !w.keep(out) {
		return
	}
	var both sync.WaitGroup
	closed := make(chan struct{})
	end := sync.OnceFunc(func() {
		close(closed)
		_, _ = in.Close(), out.Close() // either may be closed by its end
	})
	both.Go(func() { defer end(); w.copy(out, in, [2]*member{from, to}, closed) })
	both.Go(func() { defer end(); w.copy(in, out, [2]*member{to, from}, closed) })
	both.Wait()
}

func (w *ways) copy(to, from net.Conn, way [2]*member, closed <-chan struct{}) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if !w.pass(way, closed) {
			return
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until a way is open, or the connection at its end.
func (w *ways) pass(way [2]*member, closed <-chan struct{}) bool {
	for {
		w.mu.Lock()
		held, moved := w.held[way] && !w.over, w.moved
		w.mu.Unlock()
		if !held {
			return true
		}
		select {
		case <-moved:
		case <-closed:
			return false
		}
	}
}

// hold keeps back what goes from one member to another.
func (w *ways) hold(from, to *member) { w.change(func() { w.held[[2]*member{from, to}] = true }) }

// isolate keeps back everything that goes to a member and comes from it.
func (w *ways) isolate(m *member) {
	for _, o := range w.members {
		if o != m {
			w.hold(o, m)
			w.hold(m, o)
		}
	}
}

// mend lets everything go on.
func (w *ways) mend() { w.change(func() { clear(w.held) }) }

// dialer finds the member at the other end of a connection: the system knows whose
// socket it is. It is nil for anyone else.
func (w *ways) dialer(c net.Conn) *member {
	inode, err := inodeOf(c.RemoteAddr().(*net.TCPAddr), c.LocalAddr().(*net.TCPAddr))
	if err != nil {
		return nil
	}
	link := "socket:[" + inode + "]"
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, p := range processes {
		line, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil {
			continue // it has ended
		}
		for _, m := range w.members {
			if bytes.Contains(line, []byte("\x00"+m.dir+"\x00")) && hasOpen(p, link) {
				return m
			}
		}
	}
	return nil
}

// hasOpen reports whether a process has a file open.
func hasOpen(process, link string) bool {
	dir := filepath.Join(process, "fd")
	files, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, f := range files {
		if l, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && l == link {
			return true
		}
	}
	return false
}

var errNoSocket = errors.New("no such socket")

// inodeOf is the system's number of a socket of this machine.
func inodeOf(local, remote *net.TCPAddr) (string, error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return "", err
	}
	name := func(a *net.TCPAddr) string {
		return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(a.IP.To4()), a.Port)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 9 && f[1] == name(local) && f[2] == name(remote) {
			return f[9], nil
		}
	}
	return "", errNoSocket
}
