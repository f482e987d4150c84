package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/internal/sniff"
	"chainfire/join"
	"chainfire/pki"
)

// earlyPort is the client port while the member joins and has nothing to answer
// with: every call is refused at once, with how far the join is. A seed may take
// hours, and whoever asks is not to wait for its end without a word.
type earlyPort struct {
	lis lendable
	// tls is how clients speak TLS; nil is not at all. plain says that they may do
	// without it.
	tls   *tls.Config
	plain bool
	// page answers a request over HTTP with why it is refused; nil is as at /health.
	page func(w http.ResponseWriter, reason string)
	mu   sync.Mutex
	last join.Event
	// begun says that there is a join, closed that it is over.
	begun, closed bool
	grpc          *grpc.Server
	http          *http.Server
	mux           *sniff.Listener
	wg            sync.WaitGroup
}

// lendable is a listener whose Accept can be ended without closing it.
type lendable interface {
	net.Listener
	SetDeadline(time.Time) error
}

func newEarlyPort(lis lendable, port *pki.Port) *earlyPort {
	e := &earlyPort{lis: lis, plain: port == nil}
	if port != nil {
		e.tls = port.ServerTLS()
	}
	return e
}

// tell takes in where the join is. The first word begins the answering.
func (e *earlyPort) tell(ev join.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ev.Step == join.StepSeed && ev.Total == 0 {
		ev.Done, ev.Total = e.last.Done, e.last.Total
	}
	e.last = ev
	if e.begun || e.closed {
		return
	}
	e.begun = true
	e.mux = sniff.New(&loan{lendable: e.lis, done: make(chan struct{})}, sniff.Options{})
	e.grpc = grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return status.Error(codes.Unavailable, e.reason())
	}))
	e.http = &http.Server{Handler: http.HandlerFunc(e.refuse), ReadHeaderTimeout: earlyTimeout}
	// They end when the port is handed on, and with nothing that matters.
	answer := func(calls, pages net.Listener) {
		e.wg.Go(func() { _ = e.grpc.Serve(calls) })
		e.wg.Go(func() { _ = e.http.Serve(pages) })
	}
	if e.tls != nil {
		answer(e.mux.TLS(e.tls))
	}
	if e.plain {
		answer(e.mux.HTTP2(), e.mux.HTTP1())
	}
	e.wg.Go(func() { _ = e.mux.Serve() })
}

// earlyTimeout bounds how long a request may take to say what it wants.
const earlyTimeout = 10 * time.Second

func (e *earlyPort) reason() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := string(e.last.Step)
	if e.last.Total > 0 {
		at += fmt.Sprintf(", %s of %s", bytesText(e.last.Done), bytesText(e.last.Total))
	}
	return fmt.Sprintf("this member is joining the cluster and does not serve yet (%s); ask another member", at)
}

// refuse answers a page, and /health as etcd's does.
func (e *earlyPort) refuse(w http.ResponseWriter, _ *http.Request) {
	if e.page != nil {
		e.page(w, e.reason())
		return
	}
	body, err := json.Marshal(map[string]string{"health": "false", "reason": e.reason()})
	if err != nil {
		body = nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(body) // who has gone away needs no answer
}

// handOn ends the answering and leaves the port to whoever serves it next.
func (e *earlyPort) handOn() error {
	e.mu.Lock()
	e.closed = true
	begun := e.begun
	e.mu.Unlock()
	if !begun {
		return nil
	}
	err := errors.Join(e.mux.Close(), e.http.Close())
	e.grpc.Stop()
	e.wg.Wait()
	return errors.Join(err, e.lis.SetDeadline(time.Time{}))
}

// loan is a listener that is given back: closing it leaves the port open.
type loan struct {
	lendable
	once sync.Once
	done chan struct{}
}

// Accept implements net.Listener.
func (l *loan) Accept() (net.Conn, error) {
	c, err := l.lendable.Accept()
	select {
	case <-l.done:
		if err == nil {
			err = c.Close()
		}
		return nil, errors.Join(net.ErrClosed, err)
	default:
		return c, err
	}
}

// Close implements net.Listener.
func (l *loan) Close() (err error) {
	l.once.Do(func() {
		close(l.done)
		err = l.SetDeadline(time.Now())
	})
	return err
}
