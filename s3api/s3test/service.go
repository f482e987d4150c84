// Package s3test is buckets and objects of one member in memory, for tests of what is above
// them: the real rules, and bodies that are only held.
package s3test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"chainfire/object"
	"chainfire/object/objecttest"
)

// member is the one member that there is.
const member = 1

// Service is an object.Service in memory. Its fields are to be set before it is used.
type Service struct {
	// OnChange, if it is not nil, is asked before each change, and refuses it by an error.
	OnChange func(*object.Change) error
	// OnOpen, if it is not nil, is asked before a body is read.
	OnOpen func(*object.Body) error
	// OnView, if it is not nil, may put something between a view and the rows that it reads.
	OnView func(object.Reader) object.Reader

	mu     sync.Mutex
	rows   *objecttest.Memory
	index  uint64
	lease  uint64
	bodies map[object.BodyID][][]byte
	next   uint32
	local  object.Reader // where the member is behind
	views  int
	open   int
}

var _ object.Service = (*Service)(nil)

// New makes a service without buckets, keys and objects.
func New() *Service {
	s := &Service{rows: objecttest.New(), bodies: map[object.BodyID][][]byte{}}
	r, err := s.Change(context.Background(), &object.Change{OpenLease: &object.OpenLease{Member: member, Boots: 1}})
	if err != nil {
		panic(fmt.Sprintf("opening the lease of an empty service: %v", err))
	}
	s.lease = r.Lease
	return s
}

// AddKey makes an access key.
func (s *Service) AddKey(key object.AccessKey, secret string) error {
	var err error
	if key.Sealed, err = s.Seal(key.ID, secret); err != nil {
		return err
	}
	_, err = s.Change(context.Background(), &object.Change{SetKey: &object.SetKey{Key: key}})
	if err != nil {
		_, err = s.Change(context.Background(), &object.Change{SetKey: &object.SetKey{Key: key, New: true}})
	}
	return err
}

// Lag keeps what Local shows as it is now, until Catch.
func (s *Service) Lag() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local = s.rows.Snapshot()
}

// Catch ends Lag.
func (s *Service) Catch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local = nil
}

// Left are the views and bodies that are open.
func (s *Service) Left() (views, bodies int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.views, s.open
}

// Digest is a hash of all that is there: it changes with the state.
func (s *Service) Digest() (string, error) {
	s.mu.Lock()
	rows := s.rows.Snapshot()
	s.mu.Unlock()
	c, err := rows.Cursor(nil, []byte{0xff})
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for c.Next() {
		_, _ = fmt.Fprintf(h, "%q=%q\n", c.Row(), c.Value()) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil)), errors.Join(c.Err(), c.Close())
}

// Change applies a change as a member would: encoded, decoded, and in its turn.
func (s *Service) Change(ctx context.Context, c *object.Change) (*object.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.OnChange != nil {
		if err := s.OnChange(c); err != nil {
			return nil, err
		}
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	read, err := object.DecodeChange(c.AppendTo(nil))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	return object.Apply(s.rows, s.index, func(object.ExtentID) []uint64 { return []uint64{member} }, read)
}

// View pins the state.
func (s *Service) View(ctx context.Context) (*object.View, error) { return s.view(ctx, false) }

// Local pins the state, or what was there at Lag.
func (s *Service) Local(ctx context.Context) (*object.View, error) { return s.view(ctx, true) }

func (s *Service) view(ctx context.Context, local bool) (*object.View, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.rows.Snapshot()
	if local && s.local != nil {
		rows = s.local
	}
	if s.OnView != nil {
		rows = s.OnView(rows)
	}
	s.views++
	return object.NewView(rows, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.views--
		return nil
	}), nil
}

// Seal and Unseal hide nothing: a secret is only bound to its id.
func (s *Service) Seal(id, secret string) ([]byte, error) { return []byte(id + "\x00" + secret), nil }

// Unseal is the secret that Seal was given with this id.
func (s *Service) Unseal(id string, sealed []byte) (string, error) {
	name, secret, ok := bytes.Cut(sealed, []byte{0})
	if !ok || string(name) != id {
		return "", fmt.Errorf("the secret of access key %q is not sealed with it", id)
	}
	return string(secret), nil
}

// NewBody begins a body.
func (s *Service) NewBody(ctx context.Context, size int64) (object.BodyWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	return &writer{s: s, size: size}, nil
}

// writer holds a body until it is finished.
type writer struct {
	s      *Service
	size   int64
	bytes  bytes.Buffer
	closed bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, fmt.Errorf("a body is written after it was closed")
	}
	return w.bytes.Write(p)
}

// Finish keeps the bytes.
func (w *writer) Finish(ctx context.Context) (object.Body, error) {
	b := w.bytes.Bytes()
	if w.size >= 0 && w.size != int64(len(b)) {
		return object.Body{}, fmt.Errorf("a body of %d bytes was begun and has %d", w.size, len(b))
	}
	out := object.Body{Size: int64(len(b))}
	if len(b) <= object.MaxInline {
		if len(b) > 0 {
			out.Inline = b
		}
		return out, ctx.Err()
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	out.ID = object.BodyID{Lease: w.s.lease, N: w.s.next}
	w.s.next++
	for len(b) > 0 {
		n := min(len(b), object.MaxExtent)
		w.s.bodies[out.ID] = append(w.s.bodies[out.ID], b[:n])
		out.Extents = append(out.Extents, object.Extent{
			Size: uint32(n), CRC: crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)), Holders: []uint64{member},
		})
		b = b[n:]
	}
	return out, ctx.Err()
}

func (w *writer) Close() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.closed {
		panic("a body is closed twice")
	}
	w.closed = true
	w.s.open--
}

// OpenBody reads what was kept.
func (s *Service) OpenBody(ctx context.Context, body *object.Body, off, n int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.OnOpen != nil {
		if err := s.OnOpen(body); err != nil {
			return nil, err
		}
	}
	if off < 0 || n < 0 || off+n > body.Size {
		return nil, fmt.Errorf("%w: bytes %d to %d of a body of %d", object.ErrInvalid, off, off+n, body.Size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	readers := []io.Reader{bytes.NewReader(body.Inline)}
	for _, piece := range s.bodies[body.ID] {
		readers = append(readers, bytes.NewReader(piece))
	}
	all := io.MultiReader(readers...)
	if _, err := io.CopyN(io.Discard, all, off); err != nil {
		return nil, fmt.Errorf("%w: %w", object.ErrUnavailable, err)
	}
	s.open++
	return &bodyReader{Reader: io.LimitReader(all, n), s: s}, nil
}

type bodyReader struct {
	io.Reader
	s      *Service
	closed bool
}

// Close may be called once.
func (r *bodyReader) Close() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.closed {
		return fmt.Errorf("a body is closed twice")
	}
	r.closed = true
	r.s.open--
	return nil
}
