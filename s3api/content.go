package s3api

import (
	"cmp"
	"crypto/md5"
	"errors"
	"io"
	"strconv"

	"chainfire/object"
	"chainfire/object/checksum"
	"chainfire/sigv4"
)

// content is what a request's body holds, verified as it is read: nothing of it counts before
// Read has returned io.EOF. It belongs to one goroutine.
type content struct {
	// length is in bytes.
	length int64

	from *sigv4.Body
	said digests
	digester
	n   int64
	err error
}

// content is the body of a request that must have one, of at most limit bytes. Where the
// request brings no checksum, one by the algorithm given is computed. What can be refused
// before the body comes is refused here. The caller gives back its MD5.
func (rq *request) content(limit int64, fallback checksum.Algorithm) (*content, error) {
	length := rq.verified.Length(rq.r.ContentLength)
	if length < 0 {
		return nil, refuse(codeMissingContentLength)
	}
	if most := rq.who.maxObject(); most > 0 {
		limit = min(limit, most)
	}
	if length > limit {
		return nil, refuse(codeEntityTooLarge).
			with("ProposedSize", strconv.FormatInt(length, 10)).with("MaxSizeAllowed", strconv.FormatInt(limit, 10))
	}
	d, err := rq.digestsOf()
	if err != nil {
		return nil, err
	}
	return &content{
		length: length, from: rq.verified.Body(rq.body), said: d, digester: newDigester(rq.s.hashes.md5(length), cmp.Or(d.algorithm, fallback)),
	}, nil
}

// Read reads what the body holds.
func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.from.Read(p)
	c.n += int64(n)
	_, _ = c.Write(p[:n]) // never fails
	switch {
	case c.n > c.length:
		err = refuse(codeIncompleteBody)
	case err == io.EOF: //nolint:errorlint // what wraps it is a refusal, and does not say that the signature holds
		err = c.end()
	}
	c.err = err
	return n, err
}

// end checks the whole, and returns io.EOF if it holds.
func (c *content) end() error {
	if c.n != c.length {
		return refuse(codeIncompleteBody)
	}
	if err := c.check(&c.said, c.from.Trailer()); err != nil {
		return err
	}
	return io.EOF
}

func isRefusal(err error) bool {
	var a *apiError
	var b *sigv4.Error
	return errors.As(err, &a) || errors.As(err, &b)
}

// noContent holds that a request brings no body, and that it says so in what it signed.
func (rq *request) noContent() error {
	b, err := rq.small(maxDrain)
	if err == nil && len(b) > 0 {
		err = refuse(codeUnexpectedContent)
	}
	return err
}

// small is the whole body of a request, verified, of at most limit bytes.
func (rq *request) small(limit int64) ([]byte, error) {
	d, err := rq.digestsOf()
	if err != nil {
		return nil, err
	}
	return rq.smallBy(limit, d)
}

// smallBy is small by what is said of the body.
func (rq *request) smallBy(limit int64, d digests) ([]byte, error) {
	length := rq.verified.Length(rq.r.ContentLength)
	if length > limit {
		return nil, refuse(codeEntityTooLarge).with("MaxSizeAllowed", strconv.FormatInt(limit, 10))
	}
	body := rq.verified.Body(rq.body)
	b, err := body.All(limit)
	if err != nil {
		return nil, err
	}
	if length >= 0 && int64(len(b)) != length {
		return nil, refuse(codeIncompleteBody)
	}
	sums := newDigester(md5.New(), d.algorithm)
	_, _ = sums.Write(b) // never fails
	if err := sums.check(&d, body.Trailer()); err != nil {
		return nil, err
	}
	return b, nil
}

// store reads a source to its end into a body of the service, which is durable once this returned
// without an error; size is how many bytes are to come, -1 where that is not known. The caller
// closes the writer, if there is one, after the change that refers to the body was answered.
func (rq *request) store(size int64, from io.Reader) (body object.Body, w object.BodyWriter, err error) {
	w, err = rq.s.service.NewBody(rq.ctx(), size)
	if err != nil {
		return object.Body{}, nil, err
	}
	if err = rq.copyTo(w, from); err == nil {
		body, err = w.Finish(rq.ctx())
	}
	if err != nil {
		w.Close()
		return object.Body{}, nil, err
	}
	return body, w, nil
}

// copyTo copies what is read to its end.
func (rq *request) copyTo(w io.Writer, from io.Reader) error {
	buffer, _ := rq.s.buffers.Get().(*[copyBuffer]byte)
	defer rq.s.buffers.Put(buffer)
	_, err := io.CopyBuffer(w, from, buffer[:])
	return err
}
