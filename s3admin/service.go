// Package s3admin manages what S3's own requests do not: access keys, and buckets with their
// quotas, over gRPC; and it makes the first access key of a new cluster.
//
// Secrets are made here, sealed by the member, and told once. They are in no log.
package s3admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/object"
)

// Options configure a Service.
type Options struct {
	// Objects are those of the member that answers; nil is a member without S3, which
	// refuses every call.
	Objects object.Service
	// Now is the clock. Default is time.Now.
	Now func() time.Time
	// Logger hears of every change, with ids and names and no secret. Default is none.
	Logger *slog.Logger
}

// Service is api.S3 on a member. It is safe for concurrent use. Who may call it is for the
// server to say that it is registered at.
type Service struct {
	api.UnimplementedS3Server
	o Options
	// keys lets one call at a time read a key and write it again.
	keys sync.Mutex
}

var _ api.S3Server = (*Service)(nil)

// New makes a service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{o: o}
}

var errOff = status.Error(codes.Unavailable, "this member was started without S3 (--s3=off); ask one that has it with --endpoints")

// change runs a change through the log.
func (s *Service) change(ctx context.Context, c *object.Change) (*object.Result, error) {
	if s.o.Objects == nil {
		return nil, errOff
	}
	if c.Time == 0 {
		c.Time = s.o.Now().UnixMilli()
	}
	r, err := s.o.Objects.Change(ctx, c)
	if errors.Is(err, chainfire.ErrNoLeader) {
		return nil, status.Error(codes.Aborted, err.Error()+uncertain) // it may have been lost on the way
	}
	return r, toStatus(err)
}

// read reads the state, as of after all that was acknowledged before.
func (s *Service) read(ctx context.Context, f func(*object.View) error) (err error) {
	if s.o.Objects == nil {
		return errOff
	}
	v, err := s.o.Objects.View(ctx)
	if err != nil {
		return toStatus(err)
	}
	defer func() {
		if cerr := v.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close the view: %w", cerr)
		}
	}()
	return toStatus(f(v))
}

// invalid refuses a request for what is in it.
func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// isStatus reports whether an error is one of gRPC already.
func isStatus(err error) bool {
	_, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	return ok
}
