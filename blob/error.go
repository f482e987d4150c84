package blob

import (
	"errors"
	"fmt"

	"chainfire"
)

// Errors that callers decide on.
var (
	// ErrNotFound says that the store does not have an extent, or not any more, or that it
	// was damaged.
	ErrNotFound = errors.New("no such extent")
	// ErrConflict refuses other bytes for an extent that is there.
	ErrConflict = errors.New("the extent is there with other bytes")
	// ErrChecksum refuses bytes that do not have the checksum given with them.
	ErrChecksum = errors.New("the bytes do not have the checksum given with them")
	// ErrRange refuses to read past the end of an extent, and extents of no bytes or too many.
	ErrRange = errors.New("outside of the extent")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("blob store is closed")
	// ErrFailed is in every error of a writing call after a write or a sync has failed: what
	// the disk holds is unknown until the store is opened again.
	ErrFailed = errors.New("blob store has failed")
	// ErrNotSegment says that a file is no segment of a blob store.
	ErrNotSegment = errors.New("not a segment of a blob store")
)

// CorruptError says that the disk does not hold what was once durable on it.
type CorruptError struct {
	File   string
	Offset int64
	Reason string
}

// Error names the file, the offset and what is wrong there.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("blob store is corrupt: %s at offset %d: %s", e.File, e.Offset, e.Reason)
}

// Unwrap says what kind of error it is.
func (e *CorruptError) Unwrap() error { return chainfire.ErrCorrupt }
