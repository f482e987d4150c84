package etcdapi

import (
	"bytes"
	"errors"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"chainfire"
)

// noWatch is the id in answers that are about no single watch.
const noWatch int64 = -1

// progressRetry is the pause before a progress mark is asked for again that
// came out below what the client has been told.
const progressRetry = 10 * time.Millisecond

// errSessionClosed ends the receiving side after the sending side has ended.
var errSessionClosed = errors.New("watch session is closed")

// watchSession is one gRPC watch stream. A lock is held over each send, so that
// what a client is told of a watch comes in the order in which it became true:
// first that the watch is created, then its events, last that it is canceled.
//
// The ids of the client and those of the member's stream are apart. The latter
// are used once only, so an answer that was on its way when its watch was
// canceled can never be taken for one of the next watch of the same name.
type watchSession struct {
	member  chainfire.Watcher
	watches chainfire.WatchStream
	send    func(*pb.WatchResponse) error
	// permit returns why the client may not read an interval of keys.
	permit func(key, rangeEnd []byte) error
	max    int

	mu sync.Mutex
	// open holds the live watches under their id on the member's stream.
	open map[int64]*clientWatch
	// named holds all watches under their client's id, also those that ended by
	// themselves, until the client cancels them.
	named map[int64]*clientWatch
	// lastID is the last id used on the member's stream, nextAuto the next one
	// for a client that leaves the choice.
	lastID, nextAuto int64
	// told is the highest revision in a header sent so far.
	told   int64
	closed bool
	retry  *time.Timer
}

// clientWatch is one watch.
type clientWatch struct {
	client, stream int64
	fragment       bool
}

func newWatchSession(m watchMember, stream pb.Watch_WatchServer, maxMessage int) *watchSession {
	return &watchSession{
		member: m, watches: m.NewWatchStream(), send: stream.Send, max: maxMessage,
		permit: func(key, end []byte) error { return m.PermitRead(stream.Context(), key, end) },
		open:   make(map[int64]*clientWatch), named: make(map[int64]*clientWatch),
	}
}

// close ends every watch. Nothing is sent afterwards.
func (w *watchSession) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.retry != nil {
		w.retry.Stop()
	}
	w.watches.Close()
}

// header is a header at a revision, or at what the client was told already if
// that is more: headers never go back on a stream.
func (w *watchSession) header(revision int64) *pb.ResponseHeader {
	h := w.member.Header()
	w.told = max(w.told, revision)
	h.Revision = w.told
	return newHeader(h)
}

// create opens a watch and says so before any of its events is sent.
func (w *watchSession) create(r *pb.WatchCreateRequest) error {
	var denied error
	if r.GetStartRevision() >= 0 {
		denied = w.permit(watchKey(r), r.GetRangeEnd()) // which may have to wait
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errSessionClosed
	}
	now := w.member.Revision()
	if r.GetStartRevision() < 0 {
		return w.refuse(now, rpctypes.ErrCompacted.Error())
	}
	if denied != nil {
		return w.refuse(now, denialText(denied))
	}
	if key, end := watchKey(r), r.RangeEnd; len(end) > 0 && !bytes.Equal(end, []byte{0}) && bytes.Compare(key, end) >= 0 {
		return w.refuse(now, errorText(chainfire.ErrEmptyWatcherRange))
	}
	id := r.WatchId
	if id == 0 {
		for w.named[w.nextAuto] != nil {
			w.nextAuto++
		}
		id = w.nextAuto
		w.nextAuto++
	} else if w.named[id] != nil {
		return w.refuse(now, errorText(chainfire.ErrWatchDuplicateID))
	}
	from := r.StartRevision
	if from == 0 {
		// The header says from where on the watch sees everything, so the watch
		// must begin right there even if a write comes in between.
		from = now + 1
	}
	w.lastID++
	if _, err := w.watches.Watch(newWatchRequest(r, w.lastID, from)); err != nil {
		return w.refuse(now, errorText(err))
	}
	c := &clientWatch{client: id, stream: w.lastID, fragment: r.Fragment}
	w.open[c.stream], w.named[id] = c, c
	return w.send(&pb.WatchResponse{Header: w.header(now), WatchId: id, Created: true})
}

// denialText is why a watch is not permitted, in etcd's words: for any reason but these
// that it is not.
func denialText(err error) string {
	for _, known := range [...]error{chainfire.ErrInvalidAuthToken, chainfire.ErrAuthOldRevision, chainfire.ErrUserEmpty} {
		if errors.Is(err, known) {
			return toGRPC(known).Error()
		}
	}
	return rpctypes.ErrGRPCPermissionDenied.Error()
}

// refuse tells the client that a watch was not created, in the words of etcd.
func (w *watchSession) refuse(now int64, reason string) error {
	return w.send(&pb.WatchResponse{
		Header: w.header(now), WatchId: noWatch, Created: true, Canceled: true, CancelReason: reason,
	})
}

// cancel ends a watch and says so. As with etcd, nothing is said about a watch
// that does not exist.
func (w *watchSession) cancel(id int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errSessionClosed
	}
	c := w.named[id]
	if c == nil {
		return nil
	}
	delete(w.named, id)
	if _, live := w.open[c.stream]; live {
		delete(w.open, c.stream)
		// The member may have ended the watch while its last answer is still
		// on the way; the client is told of its own cancel instead.
		if err := w.watches.Cancel(c.stream); err != nil && !errors.Is(err, chainfire.ErrWatcherNotExist) {
			return toGRPC(err)
		}
	}
	return w.send(&pb.WatchResponse{Header: w.header(w.member.Revision()), WatchId: id, Canceled: true})
}

// requestProgress asks for a mark. As with etcd, a stream without watches has none.
func (w *watchSession) requestProgress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && len(w.open) > 0 {
		w.watches.RequestProgress()
	}
}

// deliver sends one answer of the member's stream, unless its watch was
// canceled in the meantime.
func (w *watchSession) deliver(r *chainfire.WatchResponse) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.WatchID == chainfire.AllWatches {
		return w.markProgress(r)
	}
	c := w.open[r.WatchID]
	if c == nil {
		return nil
	}
	if len(r.Events) == 0 && !r.Canceled && r.Revision < w.told {
		// A mark says that everything up to its header was sent, so it cannot
		// be raised; the next one that is due will not be behind.
		return nil
	}
	out := &pb.WatchResponse{Header: w.header(r.Revision), WatchId: c.client, Events: newEvents(r.Events)}
	if r.Canceled {
		delete(w.open, r.WatchID)
		out.Canceled, out.CompactRevision = true, r.CompactRevision
		if r.CompactRevision == 0 && r.Err != nil {
			out.CancelReason = errorText(r.Err)
		}
	}
	if c.fragment {
		return sendFragments(out, w.max, w.send)
	}
	return w.send(out)
}

// markProgress tells the client that all its watches have seen everything up to
// a revision. A mark below what was told already is asked for once more: the
// client waits for an answer.
func (w *watchSession) markProgress(r *chainfire.WatchResponse) error {
	if r.Revision < w.told {
		w.retry = time.AfterFunc(progressRetry, w.requestProgress)
		return nil
	}
	return w.send(&pb.WatchResponse{Header: w.header(r.Revision), WatchId: noWatch})
}
