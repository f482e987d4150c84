package s3api

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// guardedBody is the body of a request as it comes from the wire. It ends a client that sends
// too slowly.
type guardedBody struct {
	from    io.ReadCloser
	control *http.ResponseController
	// idle is how long the client may move nothing.
	idle time.Duration
	// pace, if it is not nil, waits until so many bytes may have come.
	pace func(n int) error
	// total is how many bytes came. began and ended say whether any was asked for, and
	// whether all came.
	total        int64
	began, ended bool
	// until, if it is not zero, is when reading ends whatever comes.
	until time.Time
	// waited and moved are the time waited for the client and what it sent, of this window.
	waited time.Duration
	moved  int64
	err    error
}

// Read reads what came, and waits for it no longer than the limits let it.
func (b *guardedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.began = true
	begin := time.Now()
	// A writer that knows no deadlines is that of a test.
	deadline := begin.Add(b.idle)
	if !b.until.IsZero() && b.until.Before(deadline) {
		deadline = b.until
	}
	_ = b.control.SetReadDeadline(deadline)
	// A piece at a time, which is hashed while the processor has it at hand.
	n, err := b.from.Read(p[:min(len(p), copyBuffer)])
	b.total += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		b.ended = true
		b.release()
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = refuse(codeRequestTimeout).because(err)
	case err == nil:
		err = b.rated(n, time.Since(begin))
	default: // the client went away
		err = refuse(codeIncompleteBody).because(err)
	}
	if err == nil && b.pace != nil {
		err = b.pace(n)
	}
	b.err = err
	return n, err
}

// rated holds the client to the least rate.
func (b *guardedBody) rated(n int, waited time.Duration) error {
	b.waited += waited
	b.moved += int64(n)
	if b.waited < rateWindow {
		return nil
	}
	if float64(b.moved) < b.waited.Seconds()*minRate {
		return refuse(codeRequestTimeout)
	}
	b.waited, b.moved = 0, 0
	return nil
}

// discard reads up to limit bytes for nothing, and reports whether the body ended with them.
func (b *guardedBody) discard(limit int64) bool {
	if b.err == nil {
		b.until = time.Now().Add(maxDrainTime)
		_, _ = io.CopyN(io.Discard, b, limit+1) // how it ended is in ended
	}
	return b.ended
}

// release takes the deadline of reads back: past the body they are those of the connection.
func (b *guardedBody) release() { _ = b.control.SetReadDeadline(time.Time{}) }

// Close is for the library: the server reads or closes what is left.
func (b *guardedBody) Close() error { return b.from.Close() }
