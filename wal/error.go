package wal

import (
	"errors"
	"fmt"
	"io/fs"
)

// Errors that callers decide on.
var (
	// ErrNotExist says that the directory holds no log.
	ErrNotExist = fmt.Errorf("no log: %w", fs.ErrNotExist)
	// ErrExist says that the directory already holds a log.
	ErrExist = fmt.Errorf("a log is there already: %w", fs.ErrExist)
	// ErrNotSegment says that a file is no segment of a log.
	ErrNotSegment = errors.New("not a segment of a log")
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("log is closed")
	// ErrPoisoned is in every error of a writing call after a write or a sync
	// has failed: what the disk holds is unknown until the log is opened again.
	ErrPoisoned = errors.New("log is poisoned by a failed write")
	// ErrInvalid refuses a call whose arguments do not fit the log. Nothing was
	// written, and the log stays usable.
	ErrInvalid = errors.New("does not fit the log")
	// ErrTooLarge refuses a batch over MaxBatchBytes. Nothing was written.
	ErrTooLarge = errors.New("batch is too large")
)

// CorruptError says that the disk does not hold what was once durable on it.
// Nothing was changed. The member must be rebuilt from its peers, or the file
// restored.
type CorruptError struct {
	File   string
	Offset int64
	Reason string
}

// Error names the file, the offset and what is wrong there.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("log is corrupt: %s at offset %d: %s", e.File, e.Offset, e.Reason)
}

// poison records the first failure of the disk; later calls return it.
func (l *Log) poison(err error) error {
	l.failed = fmt.Errorf("%w: %w", ErrPoisoned, err)
	l.opts.Logger.Error("log write failed; no further write is possible", "dir", l.opts.Dir, "error", err)
	return l.failed
}
