package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"chainfire/snapshot"
)

// What a file of 'snapshot save' consists of.
const (
	tarBlock = 512
	// tarEnd is what a tar file ends with, in zeros.
	tarEnd = 2 * tarBlock
	// maxMark bounds the manifest in an archive, as in a folder.
	maxMark = 64 << 20
)

// archive checks a file of 'snapshot save'. What is where in it follows from the
// manifest, which is first: what is damaged does not hide what comes after.
func (d *debugSnapshot) archive(ctx context.Context, path string) (err error) {
	f, err := os.Open(d.target.path)
	if err != nil {
		return fmt.Errorf("open the snapshot file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at the snapshot file: %w", err)
	}
	head, err := tar.NewReader(f).Next()
	if err != nil || head.Name != snapshot.MarkName {
		return fmt.Errorf("%s is no file of 'chainfire snapshot save': that begins with %s in a tar; give %s", path, snapshot.MarkName, snapshotExpected)
	}
	r := &archiveReader{f: f, size: info.Size(), path: d.target.path, tell: d.report.tell}
	n := &snapshot.Inspection{ManifestFile: d.target.path}
	markAt := int64(tarBlock)
	if head.Size > maxMark {
		n.ManifestError = fmt.Errorf("it claims to have %d bytes", head.Size)
	} else {
		mark := make([]byte, min(head.Size, max(0, r.size-markAt)))
		if _, err := f.ReadAt(mark, markAt); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the manifest: %w", err)
		}
		n.Manifest, n.ManifestError = snapshot.DecodeManifest(mark)
	}
	if n.Manifest == nil {
		return d.summary(d.target.path, n, head.Size)
	}
	if err := r.header(snapshot.MarkName, head.Size); err != nil {
		return err
	}
	if err := r.body(snapshot.MarkName, head.Size); err != nil {
		return err
	}
	for i := range n.Manifest.Files {
		if err := d.archived(ctx, r, &n.Manifest.Files[i]); err != nil {
			return err
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	return d.summary(d.target.path, n, head.Size)
}

// archived checks one file in an archive.
func (d *debugSnapshot) archived(ctx context.Context, r *archiveReader, f *snapshot.File) error {
	if r.at >= r.size {
		return d.file(snapshotFile{InspectedFile: snapshot.InspectedFile{Name: f.Name, State: snapshot.FileMissing, Size: f.Size}, path: d.target.path, at: r.at}, true)
	}
	if err := r.header(f.Name, f.Size); err != nil {
		return err
	}
	at := r.at
	found, err := snapshot.CheckFile(ctx, f, io.NewSectionReader(r.f, at, f.Size))
	if err != nil {
		return err
	}
	if err := d.file(snapshotFile{InspectedFile: *found, path: d.target.path, at: at}, true); err != nil {
		return err
	}
	return r.body(f.Name, f.Size)
}

// archiveReader goes through an archive, in the places that follow from the sizes.
type archiveReader struct {
	f        *os.File
	path     string
	at, size int64
	tell     func(debugFault) error
}

// header compares the header of a file with the one that is written for it.
func (r *archiveReader) header(name string, size int64) error {
	var want bytes.Buffer
	if err := tar.NewWriter(&want).WriteHeader(archiveHeader(name, size)); err != nil {
		return fmt.Errorf("make the header of %s: %w", name, err)
	}
	got := make([]byte, want.Len())
	n, err := r.f.ReadAt(got, r.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s at %d: %w", r.path, r.at, err)
	}
	at := r.at
	r.at += int64(len(got))
	switch {
	case n < len(got):
		return r.tell(debugFault{Fault: "rotten", File: r.path, Offset: at, Reason: "the file ends before the header of " + name})
	case !bytes.Equal(got, want.Bytes()):
		return r.tell(debugFault{
			Fault: "rotten", File: r.path, Offset: at, Bytes: int64(len(got)), Reason: "the tar header of " + name + " is not as it was written",
		})
	}
	return nil
}

// body goes behind the content of a file, and checks the zeros that fill it up.
func (r *archiveReader) body(name string, size int64) error {
	r.at += size
	return r.zeros((tarBlock-size%tarBlock)%tarBlock, "the filling behind "+name+" is not zero")
}

// end checks what an archive ends with.
func (r *archiveReader) end() error {
	if r.at > r.size {
		return nil // which was told with the file that it ends in
	}
	if r.at+tarEnd > r.size {
		return r.tell(debugFault{Fault: "rotten", File: r.path, Offset: r.size, Reason: "the file ends before the end of the tar"})
	}
	if err := r.zeros(tarEnd, "the end of the tar is not zero"); err != nil {
		return err
	}
	if r.at < r.size {
		return r.tell(debugFault{
			Fault: "rotten", File: r.path, Offset: r.at, Bytes: r.size - r.at, Reason: "there is more in the file than the manifest says",
		})
	}
	return nil
}

func (r *archiveReader) zeros(n int64, reason string) error {
	b := make([]byte, n)
	k, err := r.f.ReadAt(b, r.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s at %d: %w", r.path, r.at, err)
	}
	at := r.at
	r.at += n
	if len(bytes.Trim(b[:k], "\x00")) == 0 {
		return nil // what is missing is told with what should follow
	}
	return r.tell(debugFault{Fault: "rotten", File: r.path, Offset: at, Bytes: n, Reason: reason})
}
