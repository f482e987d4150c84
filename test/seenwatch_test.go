package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"chainfire/internal/witness"
)

// seenWatch is one watch, through all its sessions. Its goroutine alone touches it,
// but for what is atomic.
type seenWatch struct {
	*record
	witness.Watch
	// next is the first revision that it has not seen, by events and marks, and
	// unmarked by events alone: it goes on from either. first is that of the history.
	next, unmarked, first int64
	created               bool
	// fresh ones begin anew after each disconnect, with what comes then; late ones
	// with what was a while before.
	fresh, late bool
	past        []witness.Watch
	// through is up to which revision it has seen everything; when that is where
	// everyone is done, it is.
	through atomic.Int64
}

func (w *seenWatch) everything() bool {
	return w.End == "\x00" && w.Key == "" && !w.NoPut && !w.NoDelete && !w.fresh && !w.late
}

func (w *seenWatch) done() bool {
	goal := w.goal.Load()
	return goal > 0 && w.through.Load() >= goal
}

// begin opens a session and returns the revision to ask for.
func (w *seenWatch) begin(where string, rng *rand.Rand) int64 {
	from := w.next
	if (w.fresh || w.late) && len(w.Sessions) > 0 {
		w.past = append(w.past, w.Watch)
		w.Sessions = nil
	}
	switch {
	case w.fresh:
		from = 0
	case w.late:
		from = max(w.first, w.shown.Load()-rng.Int64N(60))
		w.next, w.unmarked = from, from
		w.through.Store(0)
	case rng.IntN(2) == 0:
		from = w.unmarked
	}
	w.created = false
	w.Sessions = append(w.Sessions, witness.Session{Where: where, From: from})
	return from
}

func (w *seenWatch) session() *witness.Session { return &w.Sessions[len(w.Sessions)-1] }

// opened notes the answer that it is open.
func (w *seenWatch) opened(revision int64) {
	w.created = true
	w.session().Created = revision
	if w.fresh {
		w.next, w.unmarked = revision+1, revision+1
	}
}

// take notes an answer.
func (w *seenWatch) take(a witness.Answer) {
	s := w.session()
	s.Answers = append(s.Answers, a)
	w.saw(a.Revision)
	switch {
	case a.CompactRevision > 0:
		w.next, w.unmarked = a.CompactRevision, a.CompactRevision
		return
	case a.Progress:
		w.next = max(w.next, a.Revision+1)
	case !a.More && len(a.Events) > 0:
		last := a.Events[len(a.Events)-1].KV.Mod
		w.next, w.unmarked = max(w.next, last+1), max(w.unmarked, last+1)
	}
	w.through.Store(w.next - 1)
}

func eventsOf(events []*mvccpb.Event) []witness.Event {
	var out []witness.Event
	for _, e := range events {
		o := witness.Event{Delete: e.Type == mvccpb.Event_DELETE, KV: versionOf(e.Kv)}
		if e.PrevKv != nil {
			prev := versionOf(e.PrevKv)
			o.Prev = &prev
		}
		out = append(out, o)
	}
	return out
}

// rawStream is a stream of some watches on one member, opened again whenever it ends.
type rawStream struct {
	*record
	where   string
	client  *clientv3.Client
	watches []*seenWatch
	rng     *rand.Rand
	// leader ends the stream when the member has no leader; slow lets answers wait.
	leader, slow bool
	// brief ones are left soon.
	brief bool
}

// run watches until everything was seen up to the goal, or the context ends.
func (s *rawStream) run(ctx context.Context) error {
	if err := reopen(ctx, s.done, s.once); err != nil {
		return fmt.Errorf("the watches at %s have not seen everything up to %d: %w", s.where, s.goal.Load(), err)
	}
	return nil
}

// reopen opens what is watched again whenever it ends, until it is done. An error is that
// the context ended first, with why the last one ended.
func reopen(ctx context.Context, done func() bool, once func(context.Context) error) error {
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for !done() {
		if last := once(ctx); ctx.Err() != nil {
			return errors.Join(ctx.Err(), last)
		}
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
	return nil
}

func (s *rawStream) done() bool {
	for _, w := range s.watches {
		if !w.done() {
			return false
		}
	}
	return true
}

// once opens the stream, and takes what it shows until it ends or is left.
func (s *rawStream) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.leader {
		ctx = metadata.AppendToOutgoingContext(ctx, "hasleader", "true")
	}
	stream, err := pb.NewWatchClient(s.client.ActiveConnection()).Watch(ctx)
	if err != nil {
		return err
	}
	for i, w := range s.watches {
		r := &pb.WatchCreateRequest{
			Key: []byte(w.Key), RangeEnd: []byte(w.End), StartRevision: w.begin(s.where, s.rng), WatchId: int64(i + 1),
			PrevKv: w.PrevKV, ProgressNotify: i%2 == 0, Fragment: i == 0,
		}
		if w.NoPut {
			r.Filters = append(r.Filters, pb.WatchCreateRequest_NOPUT)
		}
		if w.NoDelete {
			r.Filters = append(r.Filters, pb.WatchCreateRequest_NODELETE)
		}
		if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}}); err != nil {
			return err
		}
	}
	asking := make(chan struct{})
	defer func() { cancel(); <-asking }()
	go func() { defer close(asking); askProgress(ctx, stream, 100*time.Millisecond) }()
	left := 20 + s.rng.IntN(600)
	if s.brief {
		left = 3 + s.rng.IntN(40)
	}
	for ; !s.done(); left-- {
		if left == 0 && s.goal.Load() == 0 {
			return nil
		}
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := s.take(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// take notes an answer. An error ends the stream.
func (s *rawStream) take(ctx context.Context, r *pb.WatchResponse) error {
	a := witness.Answer{
		When: s.now(), Revision: r.Header.GetRevision(), Events: eventsOf(r.Events), More: r.Fragment, CompactRevision: r.CompactRevision,
	}
	a.Progress = !r.Created && !r.Canceled && len(r.Events) == 0
	if r.WatchId == -1 && a.Progress {
		for _, w := range s.watches {
			if w.created {
				w.take(a)
			}
		}
		return nil
	}
	if r.WatchId < 1 || int(r.WatchId) > len(s.watches) || r.Canceled && r.CompactRevision == 0 {
		return fmt.Errorf("watch %d was refused or ended: %s", r.WatchId, r.CancelReason)
	}
	w := s.watches[r.WatchId-1]
	if r.Created {
		w.opened(a.Revision)
		return nil
	}
	w.take(a)
	if r.Canceled {
		return fmt.Errorf("watch %d needs history that is gone", r.WatchId)
	}
	if s.slow && s.rng.IntN(30) == 0 {
		s.doze(ctx, 60+s.rng.Int64N(200))
	}
	return nil
}

// doze waits until so many more revisions were seen by others.
func (s *rawStream) doze(ctx context.Context, revisions int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for from, began := s.shown.Load(), time.Now(); s.shown.Load() < from+revisions && s.goal.Load() == 0 && time.Since(began) < 2*time.Second; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// clientWatch is a watch of etcd's client, which goes on at another member by itself.
type clientWatch struct {
	*seenWatch
	client *clientv3.Client
	rng    *rand.Rand
	leader bool
}

func (c *clientWatch) run(ctx context.Context) error {
	if err := reopen(ctx, c.done, c.once); err != nil {
		return fmt.Errorf("a watch of etcd's client has not seen everything up to %d: %w", c.goal.Load(), err)
	}
	return nil
}

func (c *clientWatch) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.leader {
		ctx = clientv3.WithRequireLeader(ctx)
	}
	opts := []clientv3.OpOption{clientv3.WithRev(c.begin("any member", c.rng)), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify()}
	if c.End != "" {
		opts = append(opts, clientv3.WithRange(c.End))
	}
	if c.PrevKV {
		opts = append(opts, clientv3.WithPrevKV())
	}
	key := c.Key
	if key == "" {
		key = "\x00"
	}
	left := 200 + c.rng.IntN(2000)
	for r := range c.client.Watch(ctx, key, opts...) {
		a := witness.Answer{
			When: c.now(), Revision: r.Header.GetRevision(), Events: eventsOf(r.Events),
			Progress: r.IsProgressNotify(), CompactRevision: r.CompactRevision,
		}
		switch {
		case r.Created:
			if !c.created {
				c.opened(a.Revision)
			}
			continue
		case r.CompactRevision == 0 && r.Err() != nil:
			return r.Err()
		}
		c.take(a)
		if left--; c.done() || r.CompactRevision > 0 || left < 0 && c.goal.Load() == 0 {
			return r.Err()
		}
	}
	return ctx.Err()
}
