package object

import (
	"context"
	"errors"
	"io"
)

// ErrNoSealKey says that the member has no key to seal secrets with, or to have them back.
var ErrNoSealKey = errors.New("this member has no sealing key")

// Service is the buckets and objects of a running member. All methods may be called from any
// goroutine. Besides this package's errors they return those of package chainfire:
// ErrNoLeader, ErrTimeout and their like, ErrFeatureLevel, ErrNoSpace, ErrLearner.
type Service interface {
	// Change runs one change through the log. It returns once the change is durable on a
	// majority and applied on this member.
	Change(ctx context.Context, c *Change) (*Result, error)
	// View pins the state, which reflects every change acknowledged before the call. The
	// caller closes it, soon.
	View(ctx context.Context) (*View, error)
	// Local pins the state as this member has applied it, which may be old.
	Local(ctx context.Context) (*View, error)
	// NewBody begins to write a body of which size bytes are to come, -1 if that is not
	// known. The bytes are durable on a majority of the members that are to hold it once
	// Finish has returned.
	NewBody(ctx context.Context, size int64) (BodyWriter, error)
	// OpenBody reads n bytes of a body from off on, all of them checked. It needs no view:
	// body is what View.Body returned. Bytes of a body that was let go meanwhile may be
	// gone: then reading fails. The caller closes it.
	OpenBody(ctx context.Context, body *Body, off, n int64) (io.ReadCloser, error)
	// Seal seals the secret of an access key for AccessKey.Sealed, so that it can be had back
	// by Unseal, on any member, and from no copy of the state alone. Both return ErrNoSealKey,
	// with what to do, where the member has no key.
	Seal(id, secret string) ([]byte, error)
	Unseal(id string, sealed []byte) (string, error)
}

// BodyWriter writes one body, for one goroutine.
type BodyWriter interface {
	io.Writer
	// Finish returns the body, for one Change, once it is durable.
	Finish(ctx context.Context) (Body, error)
	// Close says that nothing more is done with the body: the change that refers to it has
	// been answered, or there will be none. To be called once, whatever happened.
	Close()
}
