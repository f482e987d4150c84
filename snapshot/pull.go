package snapshot

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"chainfire/internal/disk"
)

// errStalled ends a stream on which nothing arrives.
var errStalled = errors.New("nothing arrived for the stall timeout")

// target is a file being fetched: what was written and verified of it.
type target struct {
	*File
	out  disk.File
	path string
	have int64
	crc  uint32
	// damaged counts the damaged chunks at this place in a row.
	damaged int
}

// pull fetches what is missing of the offer. moved says that a byte arrived.
func (f *fetcher) pull(ctx context.Context) (moved bool, err error) {
	m := f.offer.Manifest
	targets, err := f.survey(ctx, m)
	if err != nil {
		return false, err
	}
	if err := f.checkSpace(); err != nil {
		return false, err
	}
	f.progress()
	start := f.done
	for i := range targets {
		if err := f.pullFile(ctx, &targets[i]); err != nil {
			return f.done > start, err
		}
	}
	return true, nil
}

// survey finds out how much of every file is there and right.
func (f *fetcher) survey(ctx context.Context, m *Manifest) ([]target, error) {
	f.done, f.total = 0, m.TotalBytes()
	targets := make([]target, len(m.Files))
	for i := range m.Files {
		t := &targets[i]
		t.File, t.path = &m.Files[i], local(f.o.FS, f.o.Dir, m.Files[i].Name)
		size, err := f.o.FS.Stat(t.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && size.Size() > t.Size {
			// There is no cutting a file shorter through the seam.
			if err := f.o.FS.Remove(t.path); err != nil {
				return nil, fmt.Errorf("remove %s: %w", t.path, err)
			}
			continue
		}
		if err == nil {
			t.have, t.crc, err = verifiedPrefix(ctx, f.o.FS, t.path, t.File, f.buf)
		}
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", t.path, err)
		}
		f.done += t.have
	}
	return targets, nil
}

// pullFile fetches the rest of one file and makes it durable. A file that was
// complete already is synced all the same: nobody knows that it ever was.
func (f *fetcher) pullFile(ctx context.Context, t *target) error {
	if err := f.o.FS.MkdirAll(f.o.FS.PathDir(t.path), 0o700); err != nil {
		return fmt.Errorf("create the directory of %s: %w", t.path, err)
	}
	out, err := f.o.FS.OpenReadWrite(t.path, disk.Category)
	if err != nil {
		return fmt.Errorf("create %s: %w", t.path, err)
	}
	t.out = out
	err = f.fill(ctx, t)
	synced := true
	if err == nil {
		err = out.Sync()
		synced = err == nil
		if err != nil {
			err = fmt.Errorf("sync %s: %w", t.path, err)
		}
	}
	if cerr := out.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close %s: %w", t.path, cerr)
	}
	if !synced {
		// What the system still shows of the file may not be on the disk, so it
		// must not pass for verified the next time.
		err = errors.Join(err, f.o.FS.Remove(t.path))
	}
	return err
}

// fill reads streams until the file is whole.
func (f *fetcher) fill(ctx context.Context, t *target) error {
	for t.have < t.Size {
		at := t.have
		err := f.readStream(ctx, t)
		if t.have > at {
			f.wait, t.damaged, f.troubled = 0, 0, time.Time{}
		}
		if t.have == t.Size {
			break
		}
		if err == nil {
			err = errors.New("stream ended early")
		}
		err = fmt.Errorf("read %s at %d: %w", t.Name, t.have, err)
		var local *localError
		if definite(err) || errors.Is(err, ErrUnknownSnapshot) || errors.As(err, &local) {
			return err
		}
		if err := f.pause(ctx, err); err != nil {
			return err
		}
	}
	if t.crc != t.CRC {
		return &CorruptError{
			Source: f.o.Source.Name(), File: t.Name, To: t.Size,
			Reason: fmt.Sprintf("checksum of the whole file %08x, expected %08x", t.crc, t.CRC),
		}
	}
	return nil
}

// localError is a failure of this member's own disk, which no source can mend.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// readStream writes what one stream brings. A stream that goes quiet is ended.
func (f *fetcher) readStream(ctx context.Context, t *target) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := f.o.Sched.AfterFunc(f.o.StallTimeout, func() { cancel(errStalled) })
	defer quiet.Stop()
	defer func() {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
	}()
	stream, err := f.o.Source.Read(ctx, f.offer.ID, t.Name, t.have)
	if err != nil {
		return err
	}
	for t.have < t.Size {
		c, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		quiet.Reset(f.o.StallTimeout)
		if err := f.check(t, &c); err != nil {
			return err
		}
		// Before the write: a file system may change what it is given.
		crc := crc32.Update(t.crc, castagnoli(), c.Data)
		if n, err := t.out.WriteAt(c.Data, t.have); err != nil {
			return &localError{fmt.Errorf("write %s at %d: %w", t.path, t.have+int64(n), err)}
		}
		t.crc = crc
		t.have += int64(len(c.Data))
		f.done += int64(len(c.Data))
		f.progress()
	}
	return nil
}

// check compares a chunk with its own checksum and with the manifest's. Damage
// on the way is tried again a few times; a source that sends something else
// than it offered is not.
func (f *fetcher) check(t *target, c *Chunk) error {
	i := int(t.have / BlockSize)
	want := t.blockLen(i)
	if c.File != t.Name || c.Offset != t.have || len(c.Data) != want {
		return fmt.Errorf("%w: sent %d bytes of %q at %d instead of %d bytes of %q at %d", ErrRefused,
			len(c.Data), c.File, c.Offset, want, t.Name, t.have)
	}
	got := checksum(c.Data)
	corrupt := &CorruptError{Source: f.o.Source.Name(), File: t.Name, From: t.have, To: t.have + int64(want)}
	switch got {
	case t.Blocks[i]:
		return nil
	case c.CRC:
		corrupt.Reason = fmt.Sprintf("the source sends checksum %08x but offered %08x", got, t.Blocks[i])
		return corrupt
	}
	if t.damaged++; t.damaged >= maxDamaged {
		corrupt.Reason = fmt.Sprintf("damaged on the way %d times in a row", t.damaged)
		return corrupt
	}
	return fmt.Errorf("damaged on the way: checksum %08x, expected %08x", got, c.CRC)
}
