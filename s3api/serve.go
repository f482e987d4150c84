package s3api

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"chainfire/sigv4"
)

// maxDrain is how much of a body is read and thrown away to keep the connection of a request
// that was refused. Of a larger one maxLinger is read after the answer, before the connection is
// closed: a client that still writes when it is closed may never see the answer. Neither takes
// longer than maxDrainTime.
const (
	maxDrain     = 256 << 10
	maxLinger    = 64 << 20
	maxDrainTime = 5 * time.Second
)

// always are the headers of every answer, and those that say something of the connection.
var always = []string{"X-Amz-Request-Id", "X-Amz-Id-2", "Server", "Vary", "Connection"}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rq := s.newRequest(w, r)
	s.o.Stats.Began()
	defer rq.finish()
	if !s.slots.take() {
		rq.fail(slowDown(SlowMember, "as many requests are served as may be at a time."))
		return
	}
	defer s.slots.free()
	defer rq.leave()
	if err := rq.serve(); err != nil {
		rq.fail(err)
	}
}

func (s *Server) newRequest(w http.ResponseWriter, r *http.Request) *request {
	if r.ContentLength == 0 && strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		// The library asks to go on only where there is something to read. Clients of Python that
		// are not asked take the next answer on the connection for the rest of this one.
		w.WriteHeader(http.StatusContinue)
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	rq := &request{
		s:       s,
		id:      strings.ToUpper(hex.EncodeToString(id[:])),
		started: s.o.Now(),
	}
	control := http.NewResponseController(w)
	rq.w = &response{ResponseWriter: w, control: control, idle: s.o.Limits.Idle}
	rq.body = &guardedBody{from: r.Body, control: control, idle: s.o.Limits.Idle}
	rq.r = r.WithContext(r.Context()) // a copy: the library knows its own body by its type
	rq.r.Body = rq.body
	// Before it sends a status the library reads what is left of a body, for as long as that takes.
	rq.w.settle = rq.drain
	h := w.Header()
	h.Set("X-Amz-Request-Id", rq.id)
	if s.o.HostID != "" {
		h.Set("X-Amz-Id-2", s.o.HostID)
	}
	h.Set("Server", "ChainFire")
	return rq
}

// serve takes the request apart, resolves who asks and what for, and hands it to its handler.
// What is wrong with the target or the operation is told only after the signature holds.
func (rq *request) serve() error {
	var wrong error
	rq.target, wrong = rq.s.targetOf(rq.r)
	if wrong == nil {
		var q sigv4.Query
		if q, wrong = sigv4.ParseQuery(rq.r.URL.RawQuery); wrong == nil {
			rq.op, wrong = find(rq.s.table, rq.r, rq.level(), q)
		}
	}
	rq.crossOrigin()
	if rq.r.Method == http.MethodOptions && rq.bucket != "" {
		rq.op = corsOperation()
		if err := rq.hold(); err != nil {
			return err
		}
		return rq.op.handle(rq)
	}
	refused := rq.authenticate()
	if err := rq.hold(); err != nil { // a refusal, too, may wait for its client
		return err
	}
	if refused != nil {
		return refused
	}
	if wrong != nil {
		return wrong
	}
	if err := rq.limit(); err != nil {
		return err
	}
	if err := rq.authorise(); err != nil {
		return err
	}
	if err := rq.foreign(); err != nil {
		return err
	}
	if err := refuseHeaders(rq.r.Header); err != nil {
		return err
	}
	return rq.op.handle(rq)
}

// fail answers with an error. Where the answer has begun there is no way to say it but to cut
// the connection.
func (rq *request) fail(err error) {
	e := errorOf(err)
	switch {
	case rq.w.gone:
		e = refuse(codeRequestTimeout).because(err)
	case e.status >= http.StatusInternalServerError && e.slow == "": // else it is the client that is busy
		rq.s.log.Error("a request failed", "request_id", rq.id, "operation", rq.operation(), "code", e.name, "err", e.Error())
	}
	rq.w.failed = e
	if rq.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	h := rq.w.Header()
	for name := range h { // what a handler had to say of success
		if !strings.HasPrefix(name, "Access-Control-") && !slices.Contains(always, name) {
			h.Del(name)
		}
	}
	for _, pair := range e.headers {
		h.Set(pair[0], pair[1])
	}
	if e.status == http.StatusNotModified || e.status == http.StatusNoContent {
		rq.w.WriteHeader(e.status)
	} else if err := rq.xml(e.status, rq.errorDocument(e)); err != nil {
		rq.s.log.Debug("an error could not be sent", "request_id", rq.id, "err", err)
		return
	}
	if rq.linger && rq.w.control.Flush() == nil {
		rq.body.discard(maxLinger)
	}
}

// drain reads what is left of a small body, so that the next request on the connection is
// found where the client puts it. A larger one, or one that the client holds back until it is
// asked to go on, ends the connection.
func (rq *request) drain() {
	if rq.body.ended || rq.r.ContentLength == 0 || rq.w.Header().Get("Connection") == "close" {
		return
	}
	waits := strings.EqualFold(rq.r.Header.Get("Expect"), "100-continue") && !rq.body.began
	if !waits && rq.r.ContentLength <= maxDrain && rq.body.discard(maxDrain) {
		return
	}
	rq.w.Header().Set("Connection", "close")
	// Without it the library would read on, and then close the body with the answer.
	if err := rq.w.control.EnableFullDuplex(); err == nil && !waits && rq.body.err == nil {
		rq.linger = true
	}
}

// errorDocument is an error as S3 writes it. Its details come between message and resource.
type errorDocument struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   text
	Detail    []detail
	Resource  text
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
}

type detail struct {
	XMLName xml.Name
	Value   string `xml:",innerxml"`
}

func (rq *request) errorDocument(e *apiError) *errorDocument {
	out := &errorDocument{
		Code: e.name, Message: newText(e.text()), Resource: newText(rq.r.URL.EscapedPath()),
		RequestID: rq.id, HostID: rq.s.o.HostID,
	}
	for _, d := range e.detail {
		out.Detail = append(out.Detail, detail{XMLName: xml.Name{Local: d.Name}, Value: newText(d.Value).Escaped})
	}
	return out
}

func (rq *request) operation() string {
	if rq.op == nil {
		return ""
	}
	return rq.op.name
}

// finish logs the request, and a panic of its handler, which it answers.
func (rq *request) finish() {
	p := recover()
	abort := false
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		abort = true
	} else if p != nil {
		rq.s.log.Error("a handler panicked", "request_id", rq.id, "operation", rq.operation(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		abort = rq.w.status != 0
		if !abort {
			abort = rq.failQuietly()
		}
	}
	rq.body.release()
	if e := rq.w.failed; e != nil && e.name == codeSlowDown.name {
		rq.s.o.Stats.SlowedDown(cmp.Or(e.slow, SlowCluster))
	}
	rq.s.o.Stats.Ended(rq.operation(), rq.w.status, rq.body.total, rq.w.written)
	attrs := []slog.Attr{
		slog.String("remote", rq.remote()),
		slog.String("access_key", rq.who.id()),
		slog.String("operation", rq.operation()),
		slog.String("method", rq.r.Method),
		slog.String("bucket", rq.bucket),
		slog.String("key", rq.key),
		slog.Int("status", rq.w.status),
		slog.Int64("bytes_in", rq.body.total),
		slog.Int64("bytes_out", rq.w.written),
		slog.Duration("duration", rq.s.o.Now().Sub(rq.started)),
		slog.String("request_id", rq.id),
	}
	if rq.w.failed != nil {
		attrs = append(attrs, slog.String("code", rq.w.failed.name))
	}
	rq.s.log.LogAttrs(rq.r.Context(), slog.LevelInfo, "s3 request", attrs...)
	if abort {
		panic(http.ErrAbortHandler)
	}
}

// failQuietly answers with an internal error, and reports whether the connection must be cut
// instead.
func (rq *request) failQuietly() (cut bool) {
	defer func() {
		if recover() != nil {
			cut = true
		}
	}()
	rq.fail(refuse(codeInternal))
	return false
}

// remote is where the request came from: of the addresses that were forwarded the last one, which
// is the proxy's own word. Those before it may be the client's.
func (rq *request) remote() string {
	if list := rq.r.Header.Values("X-Forwarded-For"); rq.s.o.TrustForwarded && len(list) > 0 {
		last := list[len(list)-1]
		if last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]); last != "" {
			return last
		}
	}
	host, _, err := net.SplitHostPort(rq.r.RemoteAddr)
	if err != nil {
		return rq.r.RemoteAddr
	}
	return host
}
