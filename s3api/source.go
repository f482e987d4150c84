package s3api

import (
	"errors"
	"fmt"
	"io"

	"chainfire/object"
)

// maxHeldExtents bounds the extents of an object that are in memory while it is read: 16 GiB of
// it. What is beyond is looked up when it is its turn.
const maxHeldExtents = 16 << 10

// source is where the bytes of a version are, as far as they are needed.
type source struct {
	// parts are those of a version of many, else one that stands for all of it; nil until
	// they are needed.
	parts []object.Part
	// bodies are of the parts from first on.
	first  int
	bodies []*object.Body
}

// readParts reads the parts of a version, once.
func (s *source) readParts(view *object.View, v *object.Version) (err error) {
	switch {
	case s.parts != nil:
	case v.Parts > 0:
		s.parts, err = view.Parts(v)
	default:
		s.parts = []object.Part{{Number: 1, Size: v.Size, Body: v.Body}}
	}
	return err
}

// locate finds where a piece of a version is.
func (s *source) locate(view *object.View, v *object.Version, piece span) error {
	if piece.n == 0 {
		return nil
	}
	if err := s.readParts(view, v); err != nil {
		return err
	}
	skip := piece.off
	for s.first < len(s.parts) && skip >= s.parts[s.first].Size {
		skip -= s.parts[s.first].Size
		s.first++
	}
	held := 0
	for left := skip + piece.n; left > 0 && held < maxHeldExtents; {
		i := s.first + len(s.bodies)
		if i == len(s.parts) {
			break // what is missing is told by who reads on
		}
		body := &object.Body{}
		if s.parts[i].Size > 0 {
			var err error
			if body, err = view.Body(s.parts[i].Body); err != nil {
				return err
			}
		}
		s.bodies = append(s.bodies, body)
		held += len(body.Extents)
		left -= s.parts[i].Size
	}
	return nil
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
	if n := i - r.from.first; n >= 0 && n < len(r.from.bodies) {
		return r.from.bodies[n], nil
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

// WriteTo implements io.WriterTo: bytes that are in memory are not copied there.
func (r *reader) WriteTo(w io.Writer) (total int64, err error) {
	for r.left > 0 {
		if err := r.begin(); err != nil {
			return total, err
		}
		n, err := io.Copy(w, r.file)
		total += n
		r.left -= n
		if err != nil {
			return total, err
		}
		if n != r.n {
			return total, io.ErrUnexpectedEOF
		}
		err = r.file.Close()
		r.file, r.n = nil, 0
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Close closes what is open.
func (r *reader) Close() {
	if r.file != nil {
		_ = r.file.Close() // of a reader nothing is lost
		r.file = nil
	}
}
