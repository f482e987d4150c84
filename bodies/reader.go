package bodies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"time"

	"chainfire/blob"
	"chainfire/object"
)

// fetchWithin is how long another member may take for one extent.
const fetchWithin = 10 * time.Second

// errWrongBytes says that an extent is whole, and not what the state says.
var errWrongBytes = errors.New("the extent does not have the checksum that the body has for it")

// buffers hold extents that are read or written.
var buffers = sync.Pool{New: func() any { return new([object.MaxExtent]byte) }}

// OpenBody reads n bytes of a body from off on: see object.Service. Bytes that cannot be had from any
// member are object.ErrUnavailable, from this call or from reading.
func (b *Bodies) OpenBody(ctx context.Context, body *object.Body, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < 0 || off > body.Size || n > body.Size-off {
		return nil, fmt.Errorf("read %d bytes at %d of a body of %d: %w", n, off, body.Size, object.ErrInvalid)
	}
	if len(body.Extents) == 0 {
		if int64(len(body.Inline)) != body.Size {
			return nil, fmt.Errorf("read a body of %d bytes that has %d inline: %w", body.Size, len(body.Inline), object.ErrInvalid)
		}
		return io.NopCloser(bytes.NewReader(body.Inline[off : off+n])), nil
	}
	if n == 0 {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{b: b, ctx: ctx, cancel: cancel, left: n, chunks: make(chan chunk, readAhead-1)}
	step := int64(body.Extents[0].Size)
	// The first one is waited for, so that what cannot be had is said before there is an answer.
	first, end := r.part(body, off, off+n, step)
	c := r.fetch(ctx, body, first)
	if c.err != nil {
		cancel()
		return nil, c.err
	}
	r.now = c
	began := b.goes(func() {
		defer close(r.chunks)
		stop := context.AfterFunc(b.ctx, cancel)
		defer stop()
		r.ahead(ctx, body, end, off+n, step)
	})
	if !began {
		cancel()
		c.release()
		return nil, fmt.Errorf("read a body: %w", blob.ErrClosed)
	}
	return r, nil
}

// reader reads a body, a few extents ahead.
type reader struct {
	b      *Bodies
	ctx    context.Context
	cancel context.CancelFunc
	chunks chan chunk
	now    chunk
	// left is how many bytes are still to be read.
	left   int64
	err    error
	closed bool
}

// chunk is bytes that were read, or why not.
type chunk struct {
	data []byte
	buf  *[object.MaxExtent]byte
	err  error
}

func (c *chunk) release() {
	if c.buf != nil {
		buffers.Put(c.buf)
	}
	*c = chunk{}
}

// part is a stretch of one extent.
type part struct {
	extent int
	off, n int64
}

// part is what of a body's [from, to) is in the extent that from is in, and where it ends.
func (r *reader) part(body *object.Body, from, to, step int64) (part, int64) {
	i := from / step
	end := min(to, i*step+int64(body.Extents[i].Size))
	return part{int(i), from - i*step, end - from}, end
}

// ahead reads what comes after the first part.
func (r *reader) ahead(ctx context.Context, body *object.Body, from, to, step int64) {
	for from < to {
		var p part
		p, from = r.part(body, from, to, step)
		c := r.fetch(ctx, body, p)
		select {
		case r.chunks <- c:
		case <-ctx.Done():
			c.release()
			return
		}
		if c.err != nil {
			return
		}
	}
}

func (r *reader) fetch(ctx context.Context, body *object.Body, p part) chunk {
	c := chunk{buf: buffers.Get().(*[object.MaxExtent]byte)}
	c.data = c.buf[:p.n]
	id := object.ExtentID{Body: body.ID, N: uint32(p.extent)}
	if err := r.b.fetch(ctx, id, &body.Extents[p.extent], p.off, c.data); err != nil {
		c.release()
		c.err = err
	}
	return c
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.await(); err != nil {
		return 0, err
	}
	n := copy(p, r.now.data)
	r.take(n)
	return n, nil
}

// WriteTo implements io.WriterTo: extents are written from where they were read to.
func (r *reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if err := r.await(); r.left == 0 {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(r.now.data)
		r.take(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// take says that so many of the bytes that are there were used.
func (r *reader) take(n int) {
	r.now.data = r.now.data[n:]
	r.left -= int64(n)
}

// await waits until there are bytes, or for why there are none.
func (r *reader) await() error {
	for r.err == nil && len(r.now.data) == 0 {
		r.now.release()
		c, more := <-r.chunks
		switch {
		case !more && r.left == 0:
			r.err = io.EOF
		case !more && r.b.ctx.Err() != nil:
			r.err = fmt.Errorf("read a body: %w", blob.ErrClosed)
		case !more:
			r.err = fmt.Errorf("read a body, of which %d bytes are left: %w", r.left, r.ctx.Err())
		case c.err != nil:
			r.err = c.err
		default:
			r.now = c
		}
	}
	return r.err
}

// Close implements io.Closer.
func (r *reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.cancel()
	r.now.release()
	r.err = errors.New("read of a body that was closed")
	for c := range r.chunks {
		c.release()
	}
	return nil
}

// fetch reads bytes of an extent, from this member or else from another that has it.
func (b *Bodies) fetch(ctx context.Context, id object.ExtentID, e *object.Extent, off int64, dst []byte) error {
	var why reasons
	if e.External() {
		return b.fetchFrom(ctx, id, e, off, dst, &why)
	}
	err := b.store.GetOf(id, blob.Info{Size: e.Size, CRC: e.CRC}, off, dst)
	if err == nil {
		return nil
	}
	why.add(b.opts.Member, err)
	if errors.Is(err, blob.ErrNotFound) && slices.Contains(b.opts.State.Place(id), b.opts.Member) {
		b.repairs.add(id)
	}
	if err := b.fetchFrom(ctx, id, e, off, dst, &why); err != nil {
		return err
	}
	b.counts.remote.Add(1)
	return nil
}

// fetchFrom reads bytes of an extent from another member.
func (b *Bodies) fetchFrom(ctx context.Context, id object.ExtentID, e *object.Extent, off int64, dst []byte, why *reasons) error {
	for _, m := range b.sources(id, e.Holders) {
		err := b.fetchOne(ctx, m, id, off, dst)
		if err = whole(e, off, dst, err); err == nil {
			b.health.good(m)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("read extent %d of body %d.%d: %w", id.N, id.Body.Lease, id.Body.N, ctx.Err())
		}
		if !errors.Is(err, blob.ErrNotFound) && !errors.Is(err, errWrongBytes) {
			b.health.fail(m)
		}
		why.add(m, err)
	}
	b.counts.unavailable.Add(1)
	return why.unavailable(fmt.Sprintf("read extent %d of body %d.%d", id.N, id.Body.Lease, id.Body.N))
}

func (b *Bodies) fetchOne(ctx context.Context, member uint64, id object.ExtentID, off int64, dst []byte) error {
	p, err := b.peer(member)
	if err != nil {
		return err
	}
	within := fetchWithin
	if b.health.suspect(member) {
		within /= 10
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return p.Get(ctx, id, off, dst)
}

// whole checks an extent that was read as a whole against what the body says of it.
func whole(e *object.Extent, off int64, dst []byte, err error) error {
	if err == nil && off == 0 && len(dst) == int(e.Size) && crc32.Checksum(dst, castagnoli) != e.CRC {
		return errWrongBytes
	}
	return err
}
