// Package migrate follows a live etcd: a snapshot of it, what it writes after that, with
// the revisions kept, and where it stands when nothing is written any more.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"chainfire"
	"chainfire/mvcc"
)

// Options say what is followed, and until when.
type Options struct {
	// Client is how that etcd is reached. It has one endpoint: the member that is read.
	Client clientv3.Config
	// CutOver, once it is closed, ends the following as soon as everything is here and
	// nothing is written any more.
	CutOver <-chan struct{}
	// Idle ends it, too, once nothing was written for so long; 0 does not.
	Idle time.Duration
	// Report is told how it goes on, about once a second; nil tells nobody.
	Report func(Progress)
}

// Progress is how far a migration has come.
type Progress struct {
	// Step is one of the steps below.
	Step string
	// Revision is what is here, Current where the etcd stood when it was last asked.
	Revision, Current int64
}

// The steps.
const (
	StepSnapshot = "snapshot"
	StepFollow   = "follow"
	StepCutOver  = "cut-over"
)

// End is where an etcd stood at the end.
type End struct {
	// Revision is the last one that was written, Compacted the compacted one.
	Revision, Compacted int64
	// Hash is etcd's hash of the key space at the revision.
	Hash   uint32
	Leases []mvcc.Lease
}

// pollEvery is how often the etcd is asked where it stands.
const pollEvery = 500 * time.Millisecond

// callTimeout bounds one question.
const callTimeout = 10 * time.Second

// Source is an etcd that is followed. One goroutine.
type Source struct {
	o      Options
	client *clientv3.Client
	end    End
}

// Open reaches the etcd. The caller closes the source.
func Open(ctx context.Context, o Options) (*Source, error) {
	if len(o.Client.Endpoints) != 1 {
		return nil, fmt.Errorf("%d endpoints are given: a migration reads one member of the etcd", len(o.Client.Endpoints))
	}
	if o.Report == nil {
		o.Report = func(Progress) {}
	}
	o.Client.Logger = zap.NewNop()
	o.Client.Context = context.WithoutCancel(ctx)
	c, err := clientv3.New(o.Client)
	if err != nil {
		return nil, fmt.Errorf("make a client of %s: %w", o.Client.Endpoints[0], err)
	}
	s := &Source{o: o, client: c}
	if _, err := s.current(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("reach the etcd at %s: %w", o.Client.Endpoints[0], err), c.Close())
	}
	return s, nil
}

// Close ends all calls.
func (s *Source) Close() error { return s.client.Close() }

// current is where the etcd stands: everything that was acknowledged before the call is in
// it.
func (s *Source) current(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := s.client.Get(ctx, "\x00", clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}

// Save takes a snapshot into a new file, with the checksum of the whole, which whoever reads
// it looks at. It is not made durable.
func (s *Source) Save(ctx context.Context, path string) (err error) {
	s.o.Report(Progress{Step: StepSnapshot})
	in, err := s.client.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("take a snapshot of the etcd at %s: %w", s.o.Client.Endpoints[0], err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the file of the snapshot: %w", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("take a snapshot of the etcd at %s: %w", s.o.Client.Endpoints[0], err)
	}
	return nil
}

// follower is one run of Versions.
type follower struct {
	*Source
	visit func(*mvcc.Version) error
	// at is the last change that was handed on.
	at mvcc.Revision
	// ending says that it was decided to cut over, wrote when the last change came.
	ending   bool
	wrote    time.Time
	reported time.Time
}

// Versions visits what was written after a revision, in order, until the etcd is cut over:
// until it was decided so, everything is here, and nothing was written while leases and
// hash were asked for. What it hands over is valid until the visit returns.
func (s *Source) Versions(ctx context.Context, after int64, visit func(*mvcc.Version) error) error {
	f := &follower{Source: s, visit: visit, at: mvcc.Revision{Main: after}, wrote: time.Now()}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	events := s.client.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(after+1))
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	cutOver := s.o.CutOver
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case r, ok := <-events:
			if !ok {
				return fmt.Errorf("follow the etcd at %s: the watch ended", s.o.Client.Endpoints[0])
			}
			if err := f.take(&r); err != nil {
				return err
			}
		case <-cutOver:
			cutOver, f.ending = nil, true
		case <-poll.C:
			if done, err := f.look(ctx); err != nil || done {
				return err
			}
		}
	}
}

// take hands on what a watch brought: all changes of a revision come together.
func (f *follower) take(r *clientv3.WatchResponse) error {
	if err := r.Err(); errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("follow the etcd: it was compacted at %d, and revision %d had not come yet: run the migration again, and keep more history there meanwhile", r.CompactRevision, f.at.Main+1)
	} else if err != nil {
		return fmt.Errorf("follow the etcd: %w", err)
	}
	for _, e := range r.Events {
		v := &mvcc.Version{Revision: mvcc.Revision{Main: e.Kv.ModRevision}, Key: e.Kv.Key, Deleted: e.Type == mvccpb.Event_DELETE}
		if v.Revision.Main == f.at.Main {
			v.Revision.Sub = f.at.Sub + 1
		}
		if !v.Deleted {
			v.Value, v.Create, v.Count, v.Lease = e.Kv.Value, e.Kv.CreateRevision, e.Kv.Version, e.Kv.Lease
		}
		if err := f.visit(v); err != nil {
			return err
		}
		f.at, f.wrote = v.Revision, time.Now()
	}
	return nil
}

// look asks where the etcd stands, and reports whether it is cut over.
func (f *follower) look(ctx context.Context) (done bool, err error) {
	current, err := f.current(ctx)
	if err != nil {
		return false, fmt.Errorf("ask the etcd where it stands: %w", err)
	}
	idle := f.o.Idle > 0 && time.Since(f.wrote) >= f.o.Idle
	step := StepFollow
	if f.ending || idle {
		step = StepCutOver
	}
	if time.Since(f.reported) >= time.Second {
		f.reported = time.Now()
		f.o.Report(Progress{step, f.at.Main, current})
	}
	if step == StepFollow || current > f.at.Main {
		return false, nil
	}
	if f.end, err = f.stand(ctx, f.at.Main); err != nil {
		return false, err
	}
	// A lease may have ended meanwhile, or a client may write on.
	again, err := f.current(ctx)
	if err != nil {
		return false, fmt.Errorf("ask the etcd where it stands: %w", err)
	}
	if again != f.at.Main {
		f.wrote = time.Now()
		return false, nil
	}
	f.o.Report(Progress{step, f.at.Main, again})
	return true, nil
}

// stand asks for everything that is not keys.
func (s *Source) stand(ctx context.Context, rev int64) (End, error) {
	end := End{Revision: rev}
	one, cancel := context.WithTimeout(ctx, 6*callTimeout)
	h, err := s.client.HashKV(one, s.o.Client.Endpoints[0], rev)
	cancel()
	if err != nil {
		return end, fmt.Errorf("ask the etcd for its hash at revision %d: %w", rev, err)
	}
	end.Hash, end.Compacted = h.Hash, h.CompactRevision
	one, cancel = context.WithTimeout(ctx, callTimeout)
	leases, err := s.client.Leases(one)
	cancel()
	if err != nil {
		return end, fmt.Errorf("list the leases of the etcd: %w", err)
	}
	for _, l := range leases.Leases {
		one, cancel := context.WithTimeout(ctx, callTimeout)
		t, err := s.client.TimeToLive(one, l.ID)
		cancel()
		if err != nil {
			return end, fmt.Errorf("ask the etcd for lease %s: %w", chainfire.LeaseID(int64(l.ID)), err)
		}
		if t.TTL < 0 {
			continue // it has ended since
		}
		end.Leases = append(end.Leases, mvcc.Lease{ID: int64(l.ID), TTL: t.GrantedTTL, Remaining: min(max(t.TTL, 1), t.GrantedTTL)})
	}
	return end, nil
}

// End is where the etcd stood when it was cut over, after Versions.
func (s *Source) End() End { return s.end }
