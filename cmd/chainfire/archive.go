package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"chainfire/internal/disk"
	"chainfire/snapshot"
)

// writeArchive packs a complete snapshot into one file, reads that back, and
// gives it its name once it is durable. It returns the size of the file.
func writeArchive(ctx context.Context, dir, file string, m *snapshot.Manifest) (size int64, err error) {
	partial := file + ".part"
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return 0, fmt.Errorf("create the snapshot file: %w", err)
	}
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	if err := packFiles(ctx, f, dir, m); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("sync the snapshot file: %w", err)
	}
	if size, err = f.Seek(0, io.SeekEnd); err != nil {
		return 0, fmt.Errorf("measure the snapshot file: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("rewind the snapshot file: %w", err)
	}
	if err := checkArchive(ctx, f, m); err != nil {
		return 0, fmt.Errorf("read the snapshot file back: %w", err)
	}
	err = f.Close()
	f = nil
	if err != nil {
		return 0, fmt.Errorf("close the snapshot file: %w", err)
	}
	if err := os.Rename(partial, file); err != nil {
		return 0, fmt.Errorf("name the snapshot file: %w", err)
	}
	return size, disk.SyncDir(disk.OS(), filepath.Dir(file))
}

func packFiles(ctx context.Context, out io.Writer, dir string, m *snapshot.Manifest) error {
	w := tar.NewWriter(out)
	mark := m.Encode()
	// The manifest comes first, so that a reader knows what follows.
	if err := w.WriteHeader(archiveHeader(snapshot.MarkName, int64(len(mark)))); err != nil {
		return fmt.Errorf("write the snapshot file: %w", err)
	}
	if _, err := w.Write(mark); err != nil {
		return fmt.Errorf("write the snapshot file: %w", err)
	}
	for i := range m.Files {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("write the snapshot file: %w", err)
		}
		if err := packFile(w, dir, &m.Files[i]); err != nil {
			return fmt.Errorf("pack %s: %w", m.Files[i].Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write the snapshot file: %w", err)
	}
	return nil
}

// archiveHeader is what stands before a file in an archive.
func archiveHeader(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Mode: 0o600, Size: size}
}

func packFile(w *tar.Writer, dir string, f *snapshot.File) (err error) {
	if err := w.WriteHeader(archiveHeader(f.Name, f.Size)); err != nil {
		return err
	}
	in, err := os.Open(filepath.Join(dir, filepath.FromSlash(f.Name)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	_, err = io.CopyN(w, in, f.Size)
	return err
}

// checkArchive compares a packed snapshot with its manifest, file by file.
func checkArchive(ctx context.Context, in io.Reader, m *snapshot.Manifest) error {
	r := tar.NewReader(in)
	head, err := r.Next()
	if err != nil {
		return err
	}
	mark, err := io.ReadAll(io.LimitReader(r, head.Size))
	if err != nil {
		return err
	}
	if _, err := snapshot.DecodeManifest(mark); err != nil {
		return err
	}
	for i := range m.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := &m.Files[i]
		head, err := r.Next()
		if err != nil {
			return fmt.Errorf("file %s: %w", f.Name, err)
		}
		sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
		n, err := io.Copy(sum, r)
		if err != nil {
			return fmt.Errorf("file %s: %w", f.Name, err)
		}
		if head.Name != f.Name || n != f.Size || sum.Sum32() != f.CRC {
			return fmt.Errorf("file %s: %d bytes with checksum %08x, expected %d with %08x; the disk did not keep what was written",
				f.Name, n, sum.Sum32(), f.Size, f.CRC)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		return errors.New("there is more in it than the manifest says")
	}
	return nil
}
