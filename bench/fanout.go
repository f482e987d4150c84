package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

const (
	// watchesPerStream is how many watches share a stream.
	watchesPerStream = 100
	// pacedEvents is how many events a second the watches are to be sent while the delay
	// is measured: less than either system can send.
	pacedEvents = 20_000
	// fastestPaced and slowestPaced bound the puts a second for that.
	fastestPaced, slowestPaced = 500, 2
	// fewestPaced is how many puts there are at least at that pace.
	fewestPaced = 5
	// arriveTimeout bounds the wait for the last events.
	arriveTimeout = 2 * time.Minute
)

var fanoutKey = []byte("watched/key")

// fanout are many watches of one key.
type fanout struct {
	watches int
	streams []*watchStream
	readers sync.WaitGroup
	stop    context.CancelCauseFunc
	ctx     context.Context
	// arrived counts events at all watches; moved tells that it grew.
	arrived atomic.Int64
	moved   chan struct{}
}

// watchStream is one stream of watches, read by one goroutine.
type watchStream struct {
	stream grpc.ClientStream
	buf    []byte
	answer watchAnswer

	mu     sync.Mutex
	delays histogram
}

// openFanout opens the watches and waits until all of them are.
func openFanout(ctx context.Context, l lanes, watches int) (*fanout, error) {
	f := &fanout{watches: watches, moved: make(chan struct{}, 1)}
	f.ctx, f.stop = context.WithCancelCause(ctx)
	for have := 0; have < watches; have += watchesPerStream {
		s, err := openWatches(f.ctx, l.of(len(f.streams)), min(watchesPerStream, watches-have))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open watches: %w", err), f.close())
		}
		f.streams = append(f.streams, s)
	}
	for _, s := range f.streams {
		f.readers.Go(func() { f.stop(fmt.Errorf("watch: %w", f.read(s))) })
	}
	return f, nil
}

func openWatches(ctx context.Context, conn *grpc.ClientConn, n int) (*watchStream, error) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, methodWatch)
	if err != nil {
		return nil, err
	}
	s := &watchStream{stream: stream}
	var request []byte
	create := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: fanoutKey}}}
	if err := encodeTo(&request, create); err != nil {
		return nil, err
	}
	for range n {
		if err := stream.SendMsg(&request); err != nil {
			return nil, err
		}
	}
	for range n {
		if err := s.next(); err != nil {
			return nil, err
		}
		if !s.answer.created {
			return nil, fmt.Errorf("an event before all %d watches of a stream are open", n)
		}
	}
	return s, nil
}

// next waits for an answer.
func (s *watchStream) next() error {
	if err := s.stream.RecvMsg(&s.buf); err != nil {
		return err
	}
	if err := s.answer.readWatch(s.buf); err != nil {
		return err
	}
	if s.answer.canceled {
		return fmt.Errorf("the watch was canceled: %s", s.answer.reason)
	}
	return nil
}

// read notes how late the events come until the stream ends.
func (f *fanout) read(s *watchStream) error {
	for {
		if err := s.next(); err != nil {
			return err
		}
		now := time.Now().UnixNano()
		s.mu.Lock()
		for _, event := range s.answer.events {
			kv, err := readKeyValue(event)
			var sent int64
			if err == nil {
				sent, err = stamped(kv.value)
			}
			if err != nil {
				s.mu.Unlock()
				return err
			}
			s.delays.add(time.Duration(now - sent))
		}
		s.mu.Unlock()
		f.arrived.Add(int64(len(s.answer.events)))
		select {
		case f.moved <- struct{}{}:
		default:
		}
	}
}

// await waits until so many events arrived at the watches in all.
func (f *fanout) await(events int64) error {
	late := time.NewTimer(arriveTimeout)
	defer late.Stop()
	for f.arrived.Load() < events {
		select {
		case <-f.moved:
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		case <-late.C:
			return fmt.Errorf("%d of %d events arrived in %v", f.arrived.Load(), events, arriveTimeout)
		}
	}
	if n := f.arrived.Load(); n != events {
		return fmt.Errorf("%d events arrived, and not %d", n, events)
	}
	return nil
}

// takeDelays returns how late the events were since the last call.
func (f *fanout) takeDelays() *histogram {
	all := &histogram{}
	for _, s := range f.streams {
		s.mu.Lock()
		all.merge(&s.delays)
		s.delays = histogram{}
		s.mu.Unlock()
	}
	return all
}

func (f *fanout) close() error {
	f.stop(errFanoutOver)
	f.readers.Wait()
	if err := context.Cause(f.ctx); !errors.Is(err, errFanoutOver) {
		return err
	}
	return nil
}

var errFanoutOver = errors.New("the watches are no longer needed")

// putStamped puts the watched key with the moment in its value.
func putStamped(valueSize int) func(int) step {
	return func(int) step {
		m := pb.PutRequest{Key: fanoutKey, Value: make([]byte, max(valueSize, 8))}
		return func(ctx context.Context, c *client) error {
			stamp(m.Value, time.Now().UnixNano())
			return c.ask(ctx, methodPut, &m)
		}
	}
}

// pace is how far the puts are apart while the delay is measured.
func (f *fanout) pace() time.Duration {
	return time.Second / time.Duration(min(max(pacedEvents/f.watches, slowestPaced), fastestPaced))
}

// runFanout has one client put as fast as it is answered for half the time, until the last
// event arrived: that is how many events there are a second. For the other half it puts at
// a pace that is the same for all systems: that is how late events are.
func (t *table) runFanout(ctx context.Context, s *stand, watches int) (_ measured, err error) {
	f, err := openFanout(ctx, s.lanes, watches)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	writer := newCrew(s.lanes, 1, putStamped(t.valueSize))
	sent := int64(0)
	flood := func(d time.Duration) (time.Duration, error) {
		began := time.Now()
		res, err := writer.run(f.ctx, limit{duration: d})
		if err != nil {
			return 0, err
		}
		writer.forget()
		sent += int64(res.Operations)
		err = f.await(sent * int64(watches))
		return time.Since(began), err
	}
	if _, err := flood(t.warmUp); err != nil {
		return nil, err
	}
	l, err := openLedger(ctx, s.cluster)
	if err != nil {
		return nil, err
	}
	before := sent
	elapsed, err := flood(t.duration / 2)
	if err != nil {
		return nil, err
	}
	events := (sent - before) * int64(watches)
	m := measured{perSecond: ratio(float64(events), elapsed.Seconds())}
	if err := l.settle(ctx, uint64(events), 0, m); err != nil {
		return nil, err
	}
	f.takeDelays()
	end := make(chan struct{})
	timer := time.AfterFunc(max(t.duration/2, fewestPaced*f.pace()+f.pace()/2), func() { close(end) })
	defer timer.Stop()
	res, err := writer.runPaced(f.ctx, f.pace(), end)
	if err != nil {
		return nil, err
	}
	if err := f.await((sent + int64(res.Operations)) * int64(watches)); err != nil {
		return nil, err
	}
	h := f.takeDelays()
	m[p50], m[p99], m[longest] = millis(h.quantile(0.5)), millis(h.quantile(0.99)), millis(h.max)
	return m, nil
}
