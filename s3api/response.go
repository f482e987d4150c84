package s3api

import (
	"io"
	"net/http"
	"time"
)

// copyBuffer is how much of a body is in memory on its way.
const copyBuffer = 128 << 10

// writePiece is how much is written to a client under one deadline: at the least rate it takes
// about as long as a client may be idle.
const writePiece = 64 << 10

// response is the answer to a request. It counts what is sent, and ends a client that does not
// take it.
type response struct {
	http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration
	status  int
	written int64
	// failed is the error that was answered.
	failed *apiError
	// gone says that the client does not take the answer.
	gone bool
	// settle is called before the status is sent.
	settle func()
}

// WriteHeader sends the status, once.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.settle()
		w.deadline()
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write sends a piece at a time, each within the time that a client may be idle.
func (w *response) Write(p []byte) (n int, err error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	for n < len(p) && err == nil {
		w.deadline()
		var m int
		m, err = w.ResponseWriter.Write(p[n:min(n+writePiece, len(p))])
		n += m
	}
	w.written += int64(n)
	w.gone = w.gone || err != nil
	return n, err
}

// deadline gives the client time for the next piece. A writer that knows no deadlines is that
// of a test.
func (w *response) deadline() { _ = w.control.SetWriteDeadline(time.Now().Add(w.idle)) }

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// send answers with a status and a body. The status is not given before the first bytes of the
// body are there.
func (rq *request) send(status int, from io.Reader) error {
	if err := rq.copyTo(&paced{rq, status}, from); err != nil {
		return err
	}
	rq.w.WriteHeader(status)
	return nil
}

// paced writes an answer at the rate that the request's key may have.
type paced struct {
	rq     *request
	status int
}

// Write implements io.Writer.
func (p *paced) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		piece := b[n:min(n+copyBuffer, len(b))]
		if err := p.rq.pace(len(piece)); err != nil {
			return n, err
		}
		p.rq.w.WriteHeader(p.status)
		var m int
		m, err = p.rq.w.Write(piece)
		n += m
	}
	return n, err
}
