package s3api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"chainfire/object"
	"chainfire/object/lifecycle"
	"chainfire/sigv4"
)

// found is a version that is to be read, and where its bytes are.
type found struct {
	bucket  *object.Bucket
	version *object.Version
	bytes   source
	// rules are the bucket's rules of lifecycle, nil where it has none.
	rules *lifecycle.Config
}

// find reads the version that a request asks for, which is no delete marker, in one view.
func (rq *request) find(bucket, key string, id *object.VersionID) (*found, error) {
	view, done, err := rq.view()
	if err != nil {
		return nil, err
	}
	defer done()
	b, err := view.Bucket(bucket)
	if err != nil {
		return nil, err
	}
	v, err := versionOf(view, b, key, id)
	if err != nil {
		return nil, err
	}
	out := &found{bucket: b, version: v, rules: rq.lifecycleOf(view, b)}
	out.bytes, err = sourceOf(view, v)
	return out, err
}

// lifecycleOf is the rules of lifecycle of a bucket in a view, nil where it has none. Answers only
// tell what they will do: where they cannot be read that is told to the log, and the request goes on.
func (rq *request) lifecycleOf(view *object.View, b *object.Bucket) *lifecycle.Config {
	c, err := rq.s.documents.lifecycles.of(view, b)
	if err != nil {
		rq.s.log.Error("the rules of lifecycle cannot be read, and nothing of the bucket expires: set them anew", "request_id", rq.id, "bucket", b.Name, "err", err)
	}
	return c
}

// setExpiry says in an answer when lifecycle deletes the object, and by which rule.
func (f *found) setExpiry(h http.Header) {
	if f.rules == nil || !f.version.Latest {
		return
	}
	if at, rule, ok := f.rules.Expiry(f.version); ok {
		h.Set("X-Amz-Expiration", `expiry-date="`+at.UTC().Format(http.TimeFormat)+`", rule-id="`+sigv4.EncodePath(rule)+`"`)
	}
}

// versionOf reads a version that is no delete marker: of a version that is asked for, S3 does not
// say that its key has none.
func versionOf(view *object.View, b *object.Bucket, key string, id *object.VersionID) (*object.Version, error) {
	v, err := view.Version(b, key, id)
	switch {
	case id != nil && errors.Is(err, object.ErrNoSuchKey):
		return nil, object.ErrNoSuchVersion
	case err != nil:
		return nil, err
	case v.DeleteMarker:
		return nil, marker(v, id != nil)
	}
	return v, nil
}

// marker refuses to read a delete marker: asked for the key there is no object, asked for the
// version there is one that has no bytes.
func marker(v *object.Version, asked bool) error {
	e := refuse(codeNoSuchKey)
	if asked {
		e = refuse(codeMethodNotAllowed).header("Allow", http.MethodDelete).header("Last-Modified", httpTime(v.Modified))
	}
	return e.header("X-Amz-Delete-Marker", "true").header("X-Amz-Version-Id", versionText(v.ID))
}

// hidden keeps from who may not list a bucket which keys there are.
func (rq *request) hidden(err error, bucket string) error {
	var e *apiError
	missing := errors.Is(err, object.ErrNoSuchKey) || errors.Is(err, object.ErrNoSuchVersion) ||
		errors.As(err, &e) && e.code == codeNoSuchKey
	if !missing {
		return err
	}
	if denied := rq.allowed("s3:ListBucket", accessRead, bucket, ""); denied != nil {
		return denied
	}
	return err
}

func httpTime(ms int64) string { return time.UnixMilli(ms).UTC().Format(http.TimeFormat) }

// getObject answers GetObject and HeadObject.
func (rq *request) getObject() error {
	id, err := rq.versionParam()
	if err != nil {
		return err
	}
	if id != nil {
		if err := rq.allowed("s3:GetObjectVersion", accessRead, rq.bucket, rq.key); err != nil {
			return err
		}
	}
	overrides, err := rq.overrides()
	if err != nil {
		return err
	}
	f, err := rq.find(rq.bucket, rq.key, id)
	if err != nil {
		return rq.hidden(err, rq.bucket)
	}
	v := f.version
	condition := readConditionOf(rq.r.Header, "If-")
	h := rq.w.Header()
	if err := condition.check(v, codeNotModified); err != nil {
		var e *apiError
		if errors.As(err, &e) && e.status == http.StatusNotModified {
			return e.header("Etag", quoted(v.ETag)).header("Last-Modified", httpTime(v.Modified))
		}
		return err
	}
	piece, status, err := rq.piece(f)
	if err != nil {
		return err
	}
	setAttributes(h, &v.Attributes)
	setLock(h, v)
	setVersion(h, f.bucket, v.ID)
	f.setExpiry(h)
	h.Set("Etag", quoted(v.ETag))
	h.Set("Last-Modified", httpTime(v.Modified))
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.EqualFold(rq.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") && status == http.StatusOK {
		setChecksum(h, &v.Checksum, v.Parts)
	}
	for _, o := range overrides {
		h.Set(o.Name, o.Value)
	}
	h.Set("Content-Length", strconv.FormatInt(piece.n, 10))
	if status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", piece.off, piece.off+piece.n-1, v.Size))
	}
	if rq.r.Method == http.MethodHead {
		rq.w.WriteHeader(status)
		return nil
	}
	return rq.sendPiece(f, piece, status)
}

// sendPiece reads the first of the bytes before it answers, so that what cannot be read is told
// by the status.
func (rq *request) sendPiece(f *found, piece span, status int) error {
	r := rq.open(&f.bytes, piece)
	defer r.Close()
	return rq.send(status, r)
}

// overrides are the headers that the query asks for in place of the object's own. Who is not
// signed cannot make a link that does so.
func (rq *request) overrides() (out []object.Pair, err error) {
	for _, name := range []string{"Content-Type", "Content-Language", "Expires", "Cache-Control", "Content-Disposition", "Content-Encoding"} {
		parameter := "response-" + strings.ToLower(name)
		if !rq.query.Has(parameter) {
			continue
		}
		value := rq.param(parameter)
		if rq.anonymous() {
			return nil, refusef(codeInvalidRequest, "Request specific response headers cannot be used for anonymous GET requests.")
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }) || !utf8.ValidString(value) || len(value) > object.MaxHeader {
			return nil, invalidArgument(parameter, value, "The value is no value of a header.")
		}
		out = append(out, object.Pair{Name: name, Value: value})
	}
	return out, nil
}

// piece is what a request asks for of an object, by Range or partNumber, and the status of the
// answer.
func (rq *request) piece(f *found) (span, int, error) {
	v := f.version
	whole := span{0, v.Size}
	text := rq.r.Header.Get("Range")
	if rq.query.Has("partNumber") {
		if text != "" {
			return whole, 0, refusef(codeInvalidRequest, "Cannot specify both Range header and partNumber query parameter")
		}
		return rq.part(f)
	}
	if text == "" || !ifRange(rq.r.Header, v) {
		return whole, http.StatusOK, nil
	}
	s, ranged, err := parseRange(text, v.Size)
	if err != nil {
		return whole, 0, err
	}
	if !ranged {
		return whole, http.StatusOK, nil
	}
	return s, http.StatusPartialContent, nil
}

// part is one part of an object: of one that was not written in parts there is the first alone.
func (rq *request) part(f *found) (span, int, error) {
	v, text := f.version, rq.param("partNumber")
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > object.MaxParts {
		return span{}, 0, invalidArgument("partNumber", text, "Part number must be an integer between 1 and 10000, inclusive")
	}
	h := rq.w.Header()
	checksums := strings.EqualFold(rq.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED")
	if v.Parts == 0 {
		if number > 1 {
			return span{}, 0, refuse(codeInvalidPartNumber)
		}
		if checksums {
			setChecksum(h, &v.Checksum, 0)
		}
		return span{0, v.Size}, partialUnlessEmpty(v.Size), nil
	}
	off := int64(0)
	for i := range f.bytes.parts {
		p := &f.bytes.parts[i]
		if p.Number == number {
			h.Set("X-Amz-Mp-Parts-Count", decimal(v.Parts))
			if checksums {
				setChecksum(h, &p.Checksum, 0)
			}
			return span{off, p.Size}, partialUnlessEmpty(p.Size), nil
		}
		off += p.Size
	}
	return span{}, 0, refuse(codeInvalidPartNumber)
}

// partialUnlessEmpty: of no bytes there is no range.
func partialUnlessEmpty(size int64) int {
	if size == 0 {
		return http.StatusOK
	}
	return http.StatusPartialContent
}

// maxHeldExtents bounds the extents of an object that are in memory while it is read: 16 GiB of
// it. What is beyond is looked up when it is its turn.
const maxHeldExtents = 16 << 10

// source is where the bytes of a version are.
type source struct {
	// parts are those of a version of many, else one that stands for all of it. Bodies are
	// of the first of them.
	parts  []object.Part
	bodies []*object.Body
}

// sourceOf finds the bytes of a version.
func sourceOf(view *object.View, v *object.Version) (s source, err error) {
	if v.Parts > 0 {
		if s.parts, err = view.Parts(v); err != nil {
			return s, err
		}
	} else {
		s.parts = []object.Part{{Number: 1, Size: v.Size, Body: v.Body}}
	}
	for held, i := 0, 0; i < len(s.parts) && held < maxHeldExtents; i++ {
		body := &object.Body{}
		if s.parts[i].Size > 0 {
			if body, err = view.Body(s.parts[i].Body); err != nil {
				return s, err
			}
		}
		s.bodies = append(s.bodies, body)
		held += len(body.Extents)
	}
	return s, nil
}

// reader reads a piece of a source, one body after the other.
type reader struct {
	rq   *request
	from *source
	next int // the part that is next
	skip int64
	left int64
	file io.ReadCloser
	n    int64 // left of file
}

func (rq *request) open(from *source, s span) *reader {
	return &reader{rq: rq, from: from, skip: s.off, left: s.n}
}

// begin opens the first body.
func (r *reader) begin() error {
	if r.left == 0 || r.file != nil {
		return nil
	}
	for r.next < len(r.from.parts) && r.skip >= r.from.parts[r.next].Size {
		r.skip -= r.from.parts[r.next].Size
		r.next++
	}
	if r.next == len(r.from.parts) {
		return fmt.Errorf("an object ends %d bytes before its size", r.left)
	}
	body, err := r.body(r.next)
	if err != nil {
		return err
	}
	r.n = min(r.left, r.from.parts[r.next].Size-r.skip)
	if r.file, err = r.rq.s.service.OpenBody(r.rq.ctx(), body, r.skip, r.n); err != nil {
		return err
	}
	r.skip = 0
	r.next++
	return nil
}

// body is where the bytes of a part are.
func (r *reader) body(i int) (*object.Body, error) {
	if i < len(r.from.bodies) {
		return r.from.bodies[i], nil
	}
	view, err := r.rq.s.service.Local(r.rq.ctx())
	if err != nil {
		return nil, err
	}
	defer r.rq.s.closeView(view)
	return view.Body(r.from.parts[i].Body)
}

// Read reads on, and fails where a body ends before it should.
func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if err := r.begin(); err != nil {
		return 0, err
	}
	n, err := r.file.Read(p[:min(int64(len(p)), r.n)])
	r.left -= int64(n)
	r.n -= int64(n)
	switch {
	case r.n == 0 && (err == nil || errors.Is(err, io.EOF)):
		err = r.file.Close()
		r.file = nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close closes what is open.
func (r *reader) Close() {
	if r.file != nil {
		_ = r.file.Close() // of a reader nothing is lost
		r.file = nil
	}
}
