package etcdapi

import (
	"context"
	"sync"

	"google.golang.org/grpc"
)

// liveStream is a streaming call in progress.
type liveStream struct {
	// end ends the call's context; the cause is what the client is told.
	end context.CancelCauseFunc
	// needsLeader says that the client asked to be cut off without a leader.
	needsLeader bool
	// finite says that the call ends by itself and is let finish at shutdown.
	finite bool
}

// streamSet holds the streaming calls in progress.
type streamSet struct {
	mu     sync.Mutex
	live   map[*liveStream]struct{}
	closed error
}

func newStreamSet() *streamSet { return &streamSet{live: make(map[*liveStream]struct{})} }

// add takes a stream in. After close it returns the reason.
func (s *streamSet) add(l *liveStream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return s.closed
	}
	s.live[l] = struct{}{}
	return nil
}

func (s *streamSet) remove(l *liveStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, l)
}

// end ends the streams that match.
func (s *streamSet) end(reason error, match func(*liveStream) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.live {
		if match(l) {
			l.end(reason)
		}
	}
}

// close ends every stream that does not end by itself and lets no more in.
func (s *streamSet) close(reason error) {
	s.mu.Lock()
	s.closed = reason
	s.mu.Unlock()
	s.end(reason, func(l *liveStream) bool { return !l.finite })
}

// contextStream is a stream whose context can be ended by the server.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context is the context that ends with the stream or by the server's will.
func (s *contextStream) Context() context.Context { return s.ctx }
