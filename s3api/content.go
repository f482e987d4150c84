package s3api

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"hash"
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

	from    *sigv4.Body
	digests digests
	md5     hash.Hash
	sum     hash.Hash
	// algorithm is that of sum.
	algorithm checksum.Algorithm
	n         int64
	err       error
}

// content is the body of a request that must have one, of at most limit bytes. Where the
// request brings no checksum, one by the algorithm given is computed. What can be refused
// before the body comes is refused here.
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
	c := &content{length: length, from: rq.verified.Body(rq.body), digests: d, md5: md5.New(), algorithm: d.algorithm}
	if c.algorithm == checksum.None {
		c.algorithm = fallback
	}
	c.sum = checksum.New(c.algorithm)
	return c, nil
}

// Read reads what the body holds.
func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.from.Read(p)
	c.n += int64(n)
	c.md5.Write(p[:n])
	if c.sum != nil {
		c.sum.Write(p[:n])
	}
	switch {
	case c.n > c.length:
		err = refuse(codeIncompleteBody)
	case errors.Is(err, io.EOF):
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
	var sum []byte
	if c.sum != nil {
		sum = c.sum.Sum(nil)
	}
	if err := c.digests.check(c.md5.Sum(nil), sum, c.from.Trailer()); err != nil {
		return err
	}
	return io.EOF
}

func isRefusal(err error) bool {
	var a *apiError
	var b *sigv4.Error
	return errors.As(err, &a) || errors.As(err, &b)
}

// etag is the MD5 of what was read, in hex.
func (c *content) etag() string { return hex.EncodeToString(c.md5.Sum(nil)) }

// checksum is that of what was read.
func (c *content) checksum() object.Checksum {
	if c.sum == nil {
		return object.Checksum{}
	}
	return object.Checksum{Algorithm: c.algorithm, Type: object.ChecksumFullObject, Value: c.sum.Sum(nil)}
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
	md5Sum := md5.Sum(b)
	var sum []byte
	if h := checksum.New(d.algorithm); h != nil {
		h.Write(b)
		sum = h.Sum(nil)
	}
	if err := d.check(md5Sum[:], sum, body.Trailer()); err != nil {
		return nil, err
	}
	return b, nil
}

// store reads the content into a body of the service, which is durable once this returned
// without an error. The caller closes the writer, if there is one, after the change that
// refers to the body was answered.
func (rq *request) store(c *content) (body object.Body, w object.BodyWriter, err error) {
	w, err = rq.s.service.NewBody(rq.ctx(), c.length)
	if err != nil {
		return object.Body{}, nil, err
	}
	if err = rq.copyTo(w, c); err == nil {
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
	for {
		n, err := from.Read(buffer[:])
		if n > 0 {
			if _, writeErr := w.Write(buffer[:n]); writeErr != nil {
				return writeErr
			}
		}
		if errors.Is(err, io.EOF) && !isRefusal(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
