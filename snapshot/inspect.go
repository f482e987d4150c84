package snapshot

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"chainfire/internal/disk"
)

// FileState is what was found of one file of a snapshot.
type FileState string

// The states.
const (
	// FileSound is as the manifest says.
	FileSound FileState = "sound"
	// FileRotten differs from the manifest.
	FileRotten FileState = "rotten"
	// FileMissing is in the manifest only, FileExtra not in it.
	FileMissing FileState = "missing"
	FileExtra   FileState = "extra"
	// FilePartial belongs to a snapshot that is not fetched in full.
	FilePartial FileState = "partial"
	// FileUnchecked is one for which there is no manifest to compare it with.
	FileUnchecked FileState = "unchecked"
	// FileUnreadable is what the disk did not give.
	FileUnreadable FileState = "unreadable"
)

// BadBytes are bytes of a file that are not as the manifest says: whole blocks,
// or what is missing or too much at its end.
type BadBytes struct {
	From, To int64
	Reason   string
}

// InspectedFile is what was found of one file.
type InspectedFile struct {
	Name  string
	State FileState
	// Size is what the manifest says, Have how much is there: for a partial file,
	// how much of it is right.
	Size, Have int64
	Bad        []BadBytes
}

// Inspection is what was found of a snapshot.
type Inspection struct {
	// Manifest is nil when it cannot be read; ManifestError says why then.
	Manifest      *Manifest
	ManifestError error
	// ManifestFile is where it is.
	ManifestFile string
	// Partial says that the snapshot is being fetched.
	Partial bool
	// Damage counts the files that are not as the manifest says, and a manifest
	// that cannot be read.
	Damage int
}

// Inspect reads a snapshot's directory: every block of every file is compared
// with the manifest, and each file is told. It changes nothing. It returns
// ErrNotComplete for a directory that holds neither a snapshot nor a part of one,
// an error of the disk when the directory cannot be listed, and what tell returns.
func Inspect(ctx context.Context, fsys disk.FS, dir string, tell func(*InspectedFile) error) (*Inspection, error) {
	fsys = disk.ReadOnly(fsys)
	n := &Inspection{}
	if err := n.readManifest(fsys, dir); err != nil {
		return nil, err
	}
	names, err := listFiles(fsys, dir, "")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		state := FileUnchecked
		if n.Manifest != nil {
			if _, ok := n.Manifest.find(name); ok {
				continue
			}
			state = FileExtra
		}
		size, err := sizeOf(fsys, local(fsys, dir, name))
		if err != nil {
			return nil, err
		}
		if err := n.count(&InspectedFile{Name: name, State: state, Have: size}, tell); err != nil {
			return nil, err
		}
	}
	if n.Manifest == nil {
		return n, nil
	}
	for i := range n.Manifest.Files {
		f, err := n.inspectFile(ctx, fsys, dir, &n.Manifest.Files[i])
		if err != nil {
			return nil, err
		}
		if err := n.count(f, tell); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *Inspection) count(f *InspectedFile, tell func(*InspectedFile) error) error {
	switch f.State {
	case FileRotten, FileMissing, FileUnreadable:
		n.Damage++
	case FileExtra:
		// What is beside a part of a snapshot is removed when the fetch goes on.
		if !n.Partial {
			n.Damage++
		}
	}
	return tell(f)
}

// readManifest reads the mark of a snapshot, or what stands for it while it is
// fetched.
func (n *Inspection) readManifest(fsys disk.FS, dir string) error {
	n.ManifestFile = fsys.PathJoin(dir, MarkName)
	b, err := disk.ReadFile(fsys, n.ManifestFile, maxManifest)
	if err == nil {
		n.Manifest, n.ManifestError = DecodeManifest(b)
	} else if errors.Is(err, fs.ErrNotExist) {
		n.Partial, n.ManifestFile = true, fsys.PathJoin(dir, partialName)
		if b, err = disk.ReadFile(fsys, n.ManifestFile, maxManifest); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", dir, ErrNotComplete)
		}
		if err == nil {
			var o Offer
			o, n.ManifestError = decodePartial(b)
			n.Manifest = o.Manifest
		}
	}
	if err != nil {
		return fmt.Errorf("inspect snapshot: %w", err)
	}
	if n.ManifestError != nil {
		n.Manifest = nil
		n.Damage++
	}
	return nil
}

func (n *Inspection) inspectFile(ctx context.Context, fsys disk.FS, dir string, f *File) (out *InspectedFile, err error) {
	if n.Partial {
		have, _, err := verifiedPrefix(ctx, fsys, local(fsys, dir, f.Name), f, make([]byte, BlockSize))
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		out = &InspectedFile{Name: f.Name, State: FilePartial, Size: f.Size, Have: have}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			out.State, out.Bad = FileUnreadable, []BadBytes{{From: have, To: f.Size, Reason: err.Error()}}
		}
		return out, nil
	}
	r, err := fsys.Open(local(fsys, dir, f.Name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &InspectedFile{Name: f.Name, State: FileMissing, Size: f.Size}, nil
	case err != nil:
		return &InspectedFile{Name: f.Name, State: FileUnreadable, Size: f.Size, Bad: []BadBytes{{To: f.Size, Reason: err.Error()}}}, nil
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return CheckFile(ctx, f, r)
}

// CheckFile compares all that a reader gives with what a manifest says of a file,
// block by block, and says what differs. The error is that of the context.
func CheckFile(ctx context.Context, f *File, r io.Reader) (*InspectedFile, error) {
	out := &InspectedFile{Name: f.Name, State: FileSound, Size: f.Size}
	buf := make([]byte, BlockSize)
	var sum uint32
	for i := 0; ; i++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		k, err := io.ReadFull(r, buf)
		b := buf[:k]
		sum = crc32.Update(sum, castagnoli(), b)
		if k > 0 {
			out.block(f, i, b)
		}
		out.Have += int64(k)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			out.State = FileUnreadable
			out.Bad = append(out.Bad, BadBytes{From: out.Have, To: f.Size, Reason: err.Error()})
			return out, nil
		}
	}
	if out.Have < f.Size {
		// The block that it ends in cannot be judged.
		out.bad(out.Have-out.Have%BlockSize, f.Size, "the file ends early")
	}
	if len(out.Bad) == 0 && sum != f.CRC {
		out.bad(0, f.Size, fmt.Sprintf("every block is as the manifest says, but the file's checksum is %08x, not %08x", sum, f.CRC))
	}
	return out, nil
}

// block compares block i of a file.
func (o *InspectedFile) block(f *File, i int, b []byte) {
	from := int64(i) * BlockSize
	to := from + int64(len(b))
	switch {
	case i >= len(f.Blocks):
		o.bad(from, to, "the file is longer than it should be")
	case len(b) > f.blockLen(i):
		if checksum(b[:f.blockLen(i)]) != f.Blocks[i] {
			o.bad(from, f.Size, "checksum does not match")
		}
		o.bad(f.Size, to, "the file is longer than it should be")
	case len(b) == f.blockLen(i) && checksum(b) != f.Blocks[i]:
		o.bad(from, to, "checksum does not match")
	}
}

// bad notes bytes that differ, together with those just before them.
func (o *InspectedFile) bad(from, to int64, reason string) {
	o.State = FileRotten
	if k := len(o.Bad) - 1; k >= 0 && o.Bad[k].To == from && o.Bad[k].Reason == reason {
		o.Bad[k].To = to
		return
	}
	o.Bad = append(o.Bad, BadBytes{From: from, To: to, Reason: reason})
}
