package transport

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"

	"chainfire/raft"
)

func TestAPeerIsGoneWhenNoneOfItsAddressesHasAProcess(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		errs []error
		gone bool
	}{
		{[]error{refused}, true},
		{[]error{refused, refused}, true},
		{[]error{refused, errors.New("no answer")}, false},
		{[]error{errors.New("no answer"), refused}, false},
	} {
		var r round
		var last error
		for i, err := range c.errs {
			over := r.failed(err, len(c.errs))
			last = r.verdict(err)
			if over != (i == len(c.errs)-1) {
				t.Errorf("%v: after %d the round is over: %t", c.errs, i+1, over)
			}
			if !over && errors.Is(last, syscall.ECONNREFUSED) {
				t.Errorf("%v: gone after %d of its addresses", c.errs, i+1)
			}
		}
		if gone := errors.Is(last, syscall.ECONNREFUSED); gone != c.gone {
			t.Errorf("%v: gone: %t", c.errs, gone)
		}
	}
}

// TestAllAddressesAreTriedBeforeAPeerIsWaitedFor has a pause after a round that no test
// would outlast, so that the second address is reached in the first round, or never.
func TestAllAddressesAreTriedBeforeAPeerIsWaitedFor(t *testing.T) {
	ra, rb := newRecorder(), newRecorder()
	addr := serve(t, start(t, options(2, rb)), "127.0.0.1:0")
	o := options(1, ra)
	o.BackoffMin, o.BackoffMax = 2*patience, 2*patience
	var mu sync.Mutex
	var dialed []string
	o.Dial = func(ctx context.Context, to string) (net.Conn, error) {
		mu.Lock()
		dialed = append(dialed, to)
		mu.Unlock()
		if to != addr {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", to)
	}
	a := start(t, o)
	a.SetPeer(2, []string{"dead:1", "dead:2", addr}, 102)
	ra.await(t, "connected", func() bool { return len(ra.connected) == 1 })
	a.Send([]raft.Message{heartbeat(1, 2, 1)})
	rb.await(t, "a message", func() bool { return len(rb.messages) == 1 })
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(dialed, []string{"dead:1", "dead:2", addr}) {
		t.Errorf("dialed %q", dialed)
	}
	ra.mu.Lock()
	defer ra.mu.Unlock()
	for _, err := range ra.unreachable {
		if errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("told that the process is gone: %v", err)
		}
	}
}
