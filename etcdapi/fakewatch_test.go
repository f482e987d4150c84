package etcdapi

import (
	"context"

	"chainfire"
)

// fakeStream is a watch stream of a fakeMember, under the member's lock.
type fakeStream struct {
	member  *fakeMember
	watches map[int64]*fakeWatch
	asked   bool
	closed  bool
}

type fakeWatch struct {
	req  chainfire.WatchRequest
	next int64
}

func (f *fakeMember) NewWatchStream() chainfire.WatchStream {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams++
	return &fakeStream{member: f, watches: map[int64]*fakeWatch{}}
}

func (f *fakeMember) openStreams() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.streams
}

func (s *fakeStream) Watch(r *chainfire.WatchRequest) (int64, error) {
	if err := s.member.enter(context.Background(), "Watch"); err != nil {
		return 0, err
	}
	s.member.mu.Lock()
	defer s.member.mu.Unlock()
	w := &fakeWatch{req: *r, next: r.StartRevision}
	if w.next <= 0 {
		w.next = s.member.rev + 1
	}
	s.watches[r.ID] = w
	s.member.announce()
	return r.ID, nil
}

func (s *fakeStream) Cancel(id int64) error {
	s.member.mu.Lock()
	defer s.member.mu.Unlock()
	if s.watches[id] == nil {
		return chainfire.ErrWatcherNotExist
	}
	delete(s.watches, id)
	s.member.announce()
	return nil
}

func (s *fakeStream) RequestProgress() {
	s.member.mu.Lock()
	defer s.member.mu.Unlock()
	s.asked = true
	s.member.announce()
}

func (s *fakeStream) Close() {
	s.member.mu.Lock()
	defer s.member.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.member.streams--
		s.member.announce()
	}
}

func (s *fakeStream) Recv(ctx context.Context) (*chainfire.WatchResponse, error) {
	for {
		s.member.mu.Lock()
		resp, changed := s.next(), s.member.changed
		closed := s.closed
		s.member.mu.Unlock()
		if closed {
			return nil, chainfire.ErrWatchStreamClosed
		}
		if resp != nil {
			return resp, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// next is the next answer, or nil.
func (s *fakeStream) next() *chainfire.WatchResponse {
	f := s.member
	for id, w := range s.watches {
		if w.next > f.rev {
			continue
		}
		if w.next < f.compacted {
			delete(s.watches, id)
			return &chainfire.WatchResponse{WatchID: id, Revision: f.rev, Canceled: true, CompactRevision: f.compacted}
		}
		resp := &chainfire.WatchResponse{WatchID: id, Revision: f.rev}
		for _, ev := range f.events {
			if ev.KV.ModRevision < w.next || !within(string(ev.KV.Key), w.req.Key, w.req.RangeEnd) ||
				ev.Type == chainfire.EventPut && w.req.NoPut || ev.Type == chainfire.EventDelete && w.req.NoDelete {
				continue
			}
			if !w.req.PrevKV {
				ev.PrevKV = nil
			}
			resp.Events = append(resp.Events, ev)
		}
		w.next = f.rev + 1
		if len(resp.Events) > 0 || w.req.ProgressNotify {
			return resp
		}
	}
	if s.asked {
		s.asked = false
		return &chainfire.WatchResponse{WatchID: chainfire.AllWatches, Revision: f.rev}
	}
	return nil
}
