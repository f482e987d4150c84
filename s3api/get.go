package s3api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"chainfire/object"
	"chainfire/object/lifecycle"
	"chainfire/sigv4"
)

// found is a version that is to be read, and where those of its bytes are that are needed.
type found struct {
	bucket  *object.Bucket
	version *object.Version
	bytes   source
	// rules are the bucket's rules of lifecycle, nil where it has none or they were not read.
	rules *lifecycle.Config
}

// look decides on a version that was found, within the view that it was found in, which piece of
// it is needed. Of no bytes nothing more is read.
type look func(view *object.View, f *found) (span, error)

// find reads the version that a request asks for, which is no delete marker, in one view.
func (rq *request) find(bucket, key string, id *object.VersionID, need look) (*found, error) {
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
	out := &found{bucket: b, version: v}
	piece, err := need(view, out)
	if err == nil {
		err = out.bytes.locate(view, v, piece)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
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

// setExpiry says in an answer when the rules, nil being none, delete the newest version of a key, and
// by which of them.
func setExpiry(h http.Header, rules *lifecycle.Config, v *object.Version) {
	if rules == nil {
		return
	}
	if at, rule, ok := rules.Expiry(v); ok {
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
	var piece span
	var status int
	f, err := rq.find(rq.bucket, rq.key, id, func(view *object.View, f *found) (_ span, err error) {
		if err := rq.changed(f, overrides); err != nil {
			return span{}, err
		}
		f.rules = rq.lifecycleOf(view, f.bucket)
		if piece, status, err = rq.piece(view, f); err != nil || rq.r.Method == http.MethodHead {
			return span{}, err
		}
		return piece, nil
	})
	if err != nil {
		return rq.hidden(err, rq.bucket)
	}
	v := f.version
	h := rq.w.Header()
	setAttributes(h, &v.Attributes)
	setLock(h, v)
	setVersion(h, f.bucket, v.ID)
	if v.Latest {
		setExpiry(h, f.rules, v)
	}
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

// changed holds a version to the conditions of who reads it. That it is not modified is told with
// what a cache keeps of it (RFC 9110, section 15.4.5).
func (rq *request) changed(f *found, overrides []object.Pair) error {
	v := f.version
	condition := readConditionOf(rq.r.Header, "If-")
	err := condition.check(v, codeNotModified)
	e, ok := errors.AsType[*apiError](err)
	if !ok || e.status != http.StatusNotModified {
		return err
	}
	h := http.Header{}
	setVersion(h, f.bucket, v.ID)
	for name, value := range map[string]string{"Cache-Control": v.CacheControl, "Expires": v.Expires} {
		for _, o := range overrides {
			if o.Name == name {
				value = o.Value
			}
		}
		if value != "" {
			h.Set(name, value)
		}
	}
	h.Set("Etag", quoted(v.ETag))
	h.Set("Last-Modified", httpTime(v.Modified))
	for name := range h {
		e = e.header(name, h.Get(name))
	}
	return e
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
func (rq *request) piece(view *object.View, f *found) (span, int, error) {
	v := f.version
	whole := span{0, v.Size}
	text := rq.r.Header.Get("Range")
	if rq.query.Has("partNumber") {
		if text != "" {
			return whole, 0, refusef(codeInvalidRequest, "Cannot specify both Range header and partNumber query parameter")
		}
		return rq.part(view, f)
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
func (rq *request) part(view *object.View, f *found) (span, int, error) {
	v := f.version
	number, err := rq.partNumber()
	if err != nil {
		return span{}, 0, err
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
	if err := f.bytes.readParts(view, v); err != nil {
		return span{}, 0, err
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
