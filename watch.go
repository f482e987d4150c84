package chainfire

import "context"

// WatchRequest opens one watch on a stream.
type WatchRequest struct {
	Key, RangeEnd []byte
	// StartRevision is the first revision of interest; 0 or less is the next
	// one to come.
	StartRevision int64
	// ID is the caller's choice of id, unique in the stream; 0 lets the stream
	// choose.
	ID     int64
	PrevKV bool
	// NoPut and NoDelete drop those events.
	NoPut, NoDelete bool
	// ProgressNotify asks for an empty answer from time to time while the
	// watch is synced and idle.
	ProgressNotify bool
	// Fragment allows one revision's events to be split over several answers
	// when they are too large for one message.
	Fragment bool
}

// EventType says what happened to a key.
type EventType uint8

// The event types.
const (
	EventPut EventType = iota
	EventDelete
)

// Event is one change of one key. For a delete, KV holds the key and the
// revision of the deletion.
type Event struct {
	Type   EventType
	KV     KeyValue
	PrevKV *KeyValue
}

// WatchResponse is what a stream hands out: events of one watch, in revision
// order, all events of a revision together; or a progress mark (no events); or
// the end of a watch (Canceled).
type WatchResponse struct {
	// WatchID is the watch, or -1 for a progress mark of the whole stream.
	WatchID int64
	// Revision is the revision up to which the watch has seen everything.
	Revision int64
	Events   []Event
	// Canceled ends the watch. CompactRevision is set when its start had been
	// compacted; Err has the reason otherwise, nil when it was asked for.
	Canceled        bool
	CompactRevision int64
	Err             error
}

// AllWatches is the WatchID of a progress mark for the whole stream.
const AllWatches int64 = -1

// WatchStream carries any number of watches to one reader. Watch, Cancel and
// RequestProgress may be called from any goroutine; Recv from one at a time.
// A reader that stops reading costs nothing but its stream: no write waits for
// it and no memory grows; when it reads again it is served from history.
type WatchStream interface {
	// Watch opens a watch and returns its id. It returns ErrWatchDuplicateID
	// for an id in use and ErrEmptyWatcherRange for an interval that holds no
	// key. A start below the compacted revision is not an error here: Recv
	// hands out a Canceled answer.
	Watch(r *WatchRequest) (int64, error)
	// Cancel ends a watch; it returns ErrWatcherNotExist for an unknown id.
	// Nothing of that watch is handed out afterwards.
	Cancel(id int64) error
	// RequestProgress asks for one progress mark of the whole stream, handed
	// out once every watch is synced; requests before that are folded into one.
	RequestProgress()
	// Recv blocks until there is something to hand out, the context ends, or
	// the stream is closed (ErrWatchStreamClosed).
	Recv(ctx context.Context) (*WatchResponse, error)
	// Close releases the stream and everything it holds.
	Close()
}
