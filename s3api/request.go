package s3api

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"chainfire/object"
	"chainfire/sigv4"
)

// request is one request being served. It belongs to the goroutine of its handler.
type request struct {
	s *Server
	w *response
	r *http.Request
	// id is what the answer and the log call it.
	id      string
	started time.Time
	target
	op *operation
	// verified is the request's signature, and query its query, read once.
	verified *sigv4.Verified
	query    sigv4.Query
	// who is who asks: known from the signature alone.
	who identity
	// caller is whom the request counts for, where it holds a slot.
	caller string
	holds  bool
	// body guards the request's body: nothing else may read it.
	body *guardedBody
	// linger says that more of the body comes than is worth to be read before the answer.
	linger bool
	// rate bounds how fast bytes may move; nil without a bound.
	rate *rate.Limiter
}

// target is what a request is about, as its host and path say.
type target struct {
	bucket, key string
	// virtual says that the host named the bucket.
	virtual bool
}

func (t *target) level() level {
	switch {
	case t.bucket == "":
		return serviceLevel
	case t.key == "":
		return bucketLevel
	}
	return objectLevel
}

// ctx is the request's context: done when the client has gone.
func (rq *request) ctx() context.Context { return rq.r.Context() }

// now is the time in Unix milliseconds.
func (rq *request) now() int64 { return rq.s.o.Now().UnixMilli() }

// param is the first value of a parameter of the query.
func (rq *request) param(name string) string { return rq.query.Get(name) }

// view pins the state with all that was acknowledged before. The caller closes it by done,
// before it waits for the client.
func (rq *request) view() (v *object.View, done func(), err error) {
	v, err = rq.s.service.View(rq.ctx())
	if err != nil {
		return nil, nil, err
	}
	return v, func() { rq.s.closeView(v) }, nil
}

// bucketView is view and the request's bucket in it.
func (rq *request) bucketView() (v *object.View, b *object.Bucket, done func(), err error) {
	v, done, err = rq.view()
	if err != nil {
		return nil, nil, nil, err
	}
	if b, err = v.Bucket(rq.bucket); err != nil {
		done()
		return nil, nil, nil, err
	}
	return v, b, done, nil
}

func (s *Server) closeView(v *object.View) {
	if err := v.Close(); err != nil {
		s.log.Error("closing a view of the state failed", "err", err)
	}
}

// change runs one change, at the time of now.
func (rq *request) change(c *object.Change) (*object.Result, error) {
	c.Time = rq.now()
	return rq.s.service.Change(rq.ctx(), c)
}
