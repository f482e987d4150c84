// Package snapshot cuts, checks and streams the state of a member: a directory
// of files, described by a manifest with a checksum for every 256 KiB of it. A Server holds such directories for others to read, Fetch pulls one,
// going on after any cut at the last block that was verified. No file is ever
// held in memory whole. docs/format/snapshot.md has the layouts.
package snapshot

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"path"
	"sort"
	"strings"
	"unicode/utf8"

	"chainfire/raft"
)

// BlockSize is the unit of checking, reading and resuming, in bytes. It is part
// of the format.
const BlockSize = 256 << 10

// MarkName is the file that makes a directory a complete snapshot: the manifest
// of the files beside it, written last.
const MarkName = "SNAPSHOT"

// partialName describes a snapshot that is being fetched.
const partialName = "SNAPSHOT.partial"

// Bounds of a manifest. They hold a store of a few TiB.
const (
	maxFiles    = 1 << 20
	maxName     = 512
	maxDepth    = 8
	maxManifest = 64 << 20
)

// ErrManifest is wrapped around the reason a manifest is not valid.
var ErrManifest = errors.New("invalid snapshot manifest")

// Meta says what a snapshot holds, and of which cluster.
type Meta struct {
	raft.SnapshotMeta
	ClusterID uint64
}

// File is one file of a snapshot.
type File struct {
	// Name is the path below the directory, with forward slashes.
	Name string
	// Size is in bytes.
	Size int64
	// CRC is the CRC-32C of the whole file, Blocks those of every BlockSize of
	// it, the last block as short as it is.
	CRC    uint32
	Blocks []uint32
}

// blockLen is the length of block i.
func (f *File) blockLen(i int) int {
	return int(min(BlockSize, f.Size-int64(i)*BlockSize))
}

func blocksOf(size int64) int64 { return size/BlockSize + min(1, size%BlockSize) }

// Manifest describes a snapshot. It is not changed once it is built.
type Manifest struct {
	Meta Meta
	// Files are sorted by name.
	Files []File
}

// TotalBytes is the sum of the sizes.
func (m *Manifest) TotalBytes() int64 {
	var n int64
	for i := range m.Files {
		n += m.Files[i].Size
	}
	return n
}

// find returns the file of that name.
func (m *Manifest) find(name string) (*File, bool) {
	i := sort.Search(len(m.Files), func(i int) bool { return m.Files[i].Name >= name })
	if i == len(m.Files) || m.Files[i].Name != name {
		return nil, false
	}
	return &m.Files[i], true
}

// Validate checks what must hold of every manifest, whoever made it: names that
// stay below the directory, in order, and blocks that cover the sizes.
func (m *Manifest) Validate() error {
	if m.Meta.ClusterID == 0 || m.Meta.Index == 0 || m.Meta.Term == 0 {
		return fmt.Errorf("%w: cluster %x, index %d, term %d", ErrManifest, m.Meta.ClusterID, m.Meta.Index, m.Meta.Term)
	}
	if err := m.Meta.Conf.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if len(m.Files) > maxFiles {
		return fmt.Errorf("%w: %d files, the limit is %d", ErrManifest, len(m.Files), maxFiles)
	}
	var total int64
	for i := range m.Files {
		f := &m.Files[i]
		if err := validName(f.Name); err != nil {
			return err
		}
		if i > 0 && m.Files[i-1].Name >= f.Name {
			return fmt.Errorf("%w: files %q and %q are out of order", ErrManifest, m.Files[i-1].Name, f.Name)
		}
		if f.Size < 0 || f.Size > math.MaxInt64-total {
			return fmt.Errorf("%w: file %q has %d bytes", ErrManifest, f.Name, f.Size)
		}
		total += f.Size
		if int64(len(f.Blocks)) != blocksOf(f.Size) {
			return fmt.Errorf("%w: file %q has %d bytes but %d blocks", ErrManifest, f.Name, f.Size, len(f.Blocks))
		}
	}
	return nil
}

// validName refuses every name that could lead out of the directory or onto
// this package's own files.
func validName(name string) error {
	bad := func(why string) error { return fmt.Errorf("%w: file name %q %s", ErrManifest, name, why) }
	switch {
	case name == "" || len(name) > maxName:
		return bad("is empty or too long")
	case !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\\:"):
		return bad("has characters that are not allowed")
	case path.Clean(name) != name || path.IsAbs(name) || name == "." || name == ".." || strings.HasPrefix(name, "../"):
		return bad("is not a plain path below the directory")
	case strings.Count(name, "/") >= maxDepth:
		return bad("is too deep")
	case ownName(name):
		return bad("is kept for the snapshot itself")
	}
	return nil
}

func ownName(name string) bool { return name == MarkName || strings.HasPrefix(name, MarkName+".") }

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }
