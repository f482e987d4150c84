package snapshot

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"chainfire/internal/disk"
)

// BuildManifest reads every file below dir and describes it. The directory must
// not change meanwhile. It reads the whole snapshot once, a block at a time.
func BuildManifest(ctx context.Context, fsys disk.FS, dir string, meta Meta) (*Manifest, error) {
	names, err := listFiles(fsys, dir, "")
	if err != nil {
		return nil, err
	}
	meta.Conf = meta.Conf.Clone()
	m := &Manifest{Meta: meta}
	buf := make([]byte, BlockSize)
	for _, name := range names {
		f := File{Name: name}
		err := readBlocks(ctx, fsys, local(fsys, dir, name), buf, func(_ int, b []byte) error {
			f.Size += int64(len(b))
			f.CRC = crc32.Update(f.CRC, castagnoli(), b)
			f.Blocks = append(f.Blocks, checksum(b))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("describe snapshot file %s: %w", name, err)
		}
		m.Files = append(m.Files, f)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// Verify compares a directory with a manifest. The error is a *CorruptError
// that names the first bad block, a missing file, or one that is not in the
// manifest; any other error means that the disk could not be read.
func Verify(ctx context.Context, fsys disk.FS, dir string, m *Manifest) error {
	if err := m.Validate(); err != nil {
		return err
	}
	names, err := listFiles(fsys, dir, "")
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := m.find(name); !ok {
			return &CorruptError{Source: dir, File: name, Reason: "the file is not in the manifest"}
		}
	}
	buf := make([]byte, BlockSize)
	for i := range m.Files {
		f := &m.Files[i]
		have, _, err := verifiedPrefix(ctx, fsys, local(fsys, dir, f.Name), f, buf)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return &CorruptError{Source: dir, File: f.Name, To: f.Size, Reason: "the file is missing"}
		case err != nil:
			return fmt.Errorf("verify snapshot file %s: %w", f.Name, err)
		case have != f.Size:
			return &CorruptError{
				Source: dir, File: f.Name, From: have, To: min(f.Size, have+BlockSize),
				Reason: "checksum does not match, or the file is short",
			}
		}
		size, err := sizeOf(fsys, local(fsys, dir, f.Name))
		if err != nil {
			return err
		}
		if size != f.Size {
			return &CorruptError{Source: dir, File: f.Name, From: f.Size, To: size, Reason: "the file is longer than it should be"}
		}
	}
	return nil
}

// verifiedPrefix returns how many bytes of a local file are as the manifest
// says, in whole blocks, and their checksum.
func verifiedPrefix(ctx context.Context, fsys disk.FS, name string, f *File, buf []byte) (have int64, crc uint32, err error) {
	errStop := errors.New("differs")
	err = readBlocks(ctx, fsys, name, buf, func(i int, b []byte) error {
		if i >= len(f.Blocks) || len(b) != f.blockLen(i) || checksum(b) != f.Blocks[i] {
			return errStop
		}
		have += int64(len(b))
		crc = crc32.Update(crc, castagnoli(), b)
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return have, crc, err
}

// readBlocks calls fn with each block of a file in order.
func readBlocks(ctx context.Context, fsys disk.FS, name string, buf []byte, fn func(i int, b []byte) error) (err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	for i := 0; ; i++ {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := io.ReadFull(f, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("read at %d: %w", int64(i)*BlockSize, err)
		}
		if n > 0 {
			if err := fn(i, buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// listFiles lists the files below dir, sorted, without this package's own.
func listFiles(fsys disk.FS, dir, below string) ([]string, error) {
	entries, err := fsys.List(local(fsys, dir, below))
	if err != nil {
		return nil, fmt.Errorf("list snapshot directory %s: %w", local(fsys, dir, below), err)
	}
	var names []string
	for _, e := range entries {
		name := path.Join(below, e)
		if below == "" && ownName(name) {
			continue
		}
		info, err := fsys.Stat(local(fsys, dir, name))
		switch {
		case err != nil:
			return nil, fmt.Errorf("look at snapshot file %s: %w", name, err)
		case info.Mode().IsRegular():
			names = append(names, name)
		case !info.IsDir():
			return nil, fmt.Errorf("%w: %s is neither a file nor a directory", ErrManifest, name)
		default:
			if strings.Count(name, "/") >= maxDepth {
				return nil, fmt.Errorf("%w: %s is too deep", ErrManifest, name)
			}
			more, err := listFiles(fsys, dir, name)
			if err != nil {
				return nil, err
			}
			names = append(names, more...)
		}
	}
	slices.Sort(names)
	return names, nil
}

// local is the path of a snapshot's file on a file system.
func local(fsys disk.FS, dir, name string) string {
	if name == "" {
		return dir
	}
	return fsys.PathJoin(dir, name)
}

func sizeOf(fsys disk.FS, name string) (int64, error) {
	info, err := fsys.Stat(name)
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", name, err)
	}
	return info.Size(), nil
}

// Mark makes a directory a complete snapshot: it writes the manifest of the files in
// it, durably. They are durable already.
func Mark(fsys disk.FS, dir string, m *Manifest) error {
	if err := m.Validate(); err != nil {
		return err
	}
	if err := disk.WriteFileAtomic(fsys, fsys.PathJoin(dir, MarkName), m.Encode()); err != nil {
		return fmt.Errorf("write the mark: %w", err)
	}
	return nil
}

// OwnName reports whether a file in a snapshot's directory is the snapshot's own, and
// no part of the state.
func OwnName(name string) bool { return ownName(name) }

// Load reads the mark of a complete snapshot. It returns ErrNotComplete when
// there is none. The files are not read; Verify does that.
func Load(fsys disk.FS, dir string) (*Manifest, error) {
	b, err := disk.ReadFile(fsys, fsys.PathJoin(dir, MarkName), maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotComplete)
	}
	if err != nil {
		return nil, fmt.Errorf("load snapshot: %w", err)
	}
	m, err := DecodeManifest(b)
	if err != nil {
		return nil, fmt.Errorf("load snapshot in %s: %w", dir, err)
	}
	return m, nil
}
