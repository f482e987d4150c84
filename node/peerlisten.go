package node

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"chainfire/internal/socket"
	"chainfire/join"
)

// listen opens the ports at some addresses, which are served as one; plain says that one
// of them speaks without TLS.
func (t *tcp) listen(addrs []string) (l net.Listener, plain bool, err error) {
	var all []net.Listener
	for _, addr := range addrs {
		scheme, at := t.schemes.Split(addr)
		network := socket.TCP
		if join.LocalScheme(scheme) {
			network = socket.Unix
		}
		config, err := t.serverTLS(scheme, at)
		var l net.Listener
		if err == nil {
			l, err = socket.Listen(network, at, t.sockets)
		}
		if err != nil {
			err = fmt.Errorf("listen for peers on %s: %w; choose another with --listen-peer", addr, err)
			for _, l := range all {
				err = errors.Join(err, l.Close())
			}
			return nil, false, err
		}
		if config != nil {
			l = &tlsListener{Listener: l, cfg: config, reports: t.reports}
		} else {
			plain = true
		}
		all = append(all, l)
	}
	if len(all) == 1 {
		return all[0], plain, nil
	}
	return newListeners(all), plain, nil
}

// listeners are several as one. Accept is for one goroutine.
type listeners struct {
	all      []net.Listener
	accepted chan accepted
	closed   chan struct{}
	once     sync.Once
	closeErr error
	wg       sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

func newListeners(all []net.Listener) *listeners {
	l := &listeners{all: all, accepted: make(chan accepted), closed: make(chan struct{})}
	for _, one := range all {
		l.wg.Go(func() { l.run(one) })
	}
	return l
}

// run hands on what one of them accepts. After an error it goes on when that was taken,
// and whoever took it has waited where waiting helps.
func (l *listeners) run(one net.Listener) {
	for {
		c, err := one.Accept()
		select {
		case l.accepted <- accepted{c, err}:
		case <-l.closed:
			if err == nil {
				_ = c.Close() // nobody has it yet
			}
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// Accept implements net.Listener.
func (l *listeners) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listeners) Close() error {
	l.once.Do(func() {
		close(l.closed)
		var errs []error
		for _, one := range l.all {
			errs = append(errs, one.Close())
		}
		l.wg.Wait()
		l.closeErr = errors.Join(errs...)
	})
	return l.closeErr
}

// Addr is that of the first.
func (l *listeners) Addr() net.Addr { return l.all[0].Addr() }
