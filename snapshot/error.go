package snapshot

import (
	"errors"
	"fmt"
)

// Errors that callers decide on.
var (
	// ErrUnknownSnapshot: no snapshot is open under that id (any more).
	ErrUnknownSnapshot = errors.New("snapshot is not open")
	// ErrBusy: as many snapshots are open as may be; try later.
	ErrBusy = errors.New("too many snapshots are open")
	// ErrBehind: the member asked has not applied the index that the snapshot
	// must hold. Another member may have.
	ErrBehind = errors.New("member has not applied the index asked for")
	// ErrBadRequest: an argument that no retry makes right.
	ErrBadRequest = errors.New("bad snapshot request")
	// ErrRefused: the source will not serve this snapshot, for the reason given;
	// asking it again is of no use.
	ErrRefused = errors.New("source refuses")
	// ErrCut: no snapshot can be made here, for the reason given.
	ErrCut = errors.New("cut a snapshot")
	// ErrClosed: the server is closed.
	ErrClosed = errors.New("snapshot server is closed")
	// ErrNotComplete: the directory is no complete snapshot.
	ErrNotComplete = errors.New("directory holds no complete snapshot")
)

// CorruptError names what is not as the manifest says: the bytes [From, To) of
// a file.
type CorruptError struct {
	// Source is the member or the directory that it was read from.
	Source   string
	File     string
	From, To int64
	Reason   string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("snapshot file %s of %s is corrupt in bytes [%d, %d): %s", e.File, e.Source, e.From, e.To, e.Reason)
}

// definite reports whether asking the same source again is of no use.
func definite(err error) bool {
	var c *CorruptError
	return errors.As(err, &c) || errors.Is(err, ErrRefused) || errors.Is(err, ErrBehind) ||
		errors.Is(err, ErrBadRequest) || errors.Is(err, ErrManifest)
}
