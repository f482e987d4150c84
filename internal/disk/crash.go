package disk

import (
	"path"
	"slices"
)

// Names says what a crash does to changes of names that were not synced.
type Names uint8

// What a crash does to names: lose all changes since the syncs, keep all of
// them, or keep the first ones up to a point that the seed chooses, as a
// file system with a journal does.
const (
	NamesSynced Names = iota
	NamesAll
	NamesPrefix
)

// Tear says what a crash does to content that was not synced.
type Tear uint8

// What a crash does to content, in each file: lose all of it; keep all of it;
// keep the bytes written first, up to a point that the seed chooses; keep some
// sectors; or keep some sectors and leave noise in others. Bytes that were
// synced and not written again are never touched.
const (
	TearNothing Tear = iota
	TearKeepAll
	TearPrefix
	TearSectors
	TearGarble
)

// SectorBytes is the unit in which TearSectors and TearGarble decide.
const SectorBytes = 512

// CrashOptions describes a crash. The zero value keeps only what was synced.
type CrashOptions struct {
	Seed  uint64
	Names Names
	Tear  Tear
	// File limits the tearing to the file of this name; the others then keep
	// what was synced. Empty is every file.
	File string
}

// Crash returns the disk as it may be found after a power cut at this moment.
// The file system it is called on goes on unharmed, and the two share nothing.
func (f *FaultFS) Crash(o CrashOptions) *FaultFS {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := f.durable.clone()
	keep := 0
	switch o.Names {
	case NamesAll:
		keep = len(f.journal)
	case NamesPrefix:
		keep = f.prefix(o.Seed)
	}
	for _, op := range f.journal[:keep] {
		op.apply(names)
	}
	image := NewFaultFS()
	copies := map[*inode]*inode{f.root: image.root}
	names.walk(f.root, ".", func(p string, n *inode) {
		c := copies[n]
		if c == nil {
			c = &inode{id: n.id, dir: n.dir}
			if o.File == "" || clean(o.File) == p {
				c.data = n.torn(o)
			} else {
				c.data = slices.Clone(n.synced)
			}
			c.synced = slices.Clone(c.data)
			copies[n] = c
		}
		dir := copies[names.find(f.root, path.Dir(p))]
		image.live.set(dir, path.Base(p), c)
		image.durable.set(dir, path.Base(p), c)
	})
	return image
}

// prefix chooses how much of the journal a crash keeps. It counts names given
// alone: names are taken away by threads of the storage engine too, of which
// nobody knows how far they are.
func (f *FaultFS) prefix(seed uint64) int {
	given := 0
	for _, op := range f.journal {
		if op.toDir != nil {
			given++
		}
	}
	left := int(mix(seed, 0, 0) % uint64(given+1))
	for i, op := range f.journal {
		if op.toDir == nil {
			continue
		}
		if left == 0 {
			return i
		}
		left--
	}
	return len(f.journal)
}

// torn is the content of a file after a crash.
func (n *inode) torn(o CrashOptions) []byte {
	data := slices.Clone(n.synced)
	switch o.Tear {
	case TearKeepAll:
		for _, e := range n.dirty {
			data = put(data, n.data[e.off:e.end], e.off)
		}
	case TearPrefix:
		var total int64
		for _, e := range n.dirty {
			total += e.end - e.off
		}
		left := int64(mix(o.Seed, n.id, 1) % uint64(total+1))
		for _, e := range n.dirty {
			k := min(left, e.end-e.off)
			data = put(data, n.data[e.off:e.off+k], e.off)
			left -= k
		}
	case TearSectors, TearGarble:
		for _, e := range n.dirty {
			data = n.tornSectors(data, e, o)
		}
	}
	return data
}

func (n *inode) tornSectors(data []byte, e extent, o CrashOptions) []byte {
	for off := e.off; off < e.end; {
		sector := off / SectorBytes
		end := min(e.end, (sector+1)*SectorBytes)
		fate := mix(o.Seed, n.id, uint64(sector)+2)
		switch {
		case o.Tear == TearGarble && fate%4 == 1:
			noise := make([]byte, end-off)
			for i := range noise {
				noise[i] = byte(mix(fate, uint64(i), 3))
			}
			data = put(data, noise, off)
		case fate%2 == 0:
			data = put(data, n.data[off:end], off)
		}
		off = end
	}
	return data
}

// mix hashes three numbers (the finisher of splitmix64, twice).
func mix(a, b, c uint64) uint64 {
	z := a*0x9e3779b97f4a7c15 + b*0xbf58476d1ce4e5b9 + c*0x94d049bb133111eb
	for range 2 {
		z ^= z >> 30
		z *= 0xbf58476d1ce4e5b9
		z ^= z >> 27
		z *= 0x94d049bb133111eb
		z ^= z >> 31
	}
	return z
}

// Fork returns the disk as the next process finds it when the present one is
// killed: nothing is lost, what was not durable is not durable, and no lock is
// held. Rules and limits are not taken over. The file system it is called on goes
// on unharmed, and the two share nothing.
func (f *FaultFS) Fork() *FaultFS {
	f.mu.Lock()
	defer f.mu.Unlock()
	image := NewFaultFS()
	copies := map[*inode]*inode{nil: nil, f.root: image.root}
	copied := func(n *inode) *inode {
		c, ok := copies[n]
		if !ok {
			c = &inode{
				id: n.id, dir: n.dir,
				data: slices.Clone(n.data), synced: slices.Clone(n.synced), dirty: slices.Clone(n.dirty),
			}
			copies[n] = c
		}
		return c
	}
	for _, t := range []struct{ from, to tree }{{f.live, image.live}, {f.durable, image.durable}} {
		for dir, names := range t.from {
			for name, n := range names {
				t.to.set(copied(dir), name, copied(n))
			}
		}
	}
	for _, o := range f.journal {
		o.fromDir, o.toDir, o.node = copied(o.fromDir), copied(o.toDir), copied(o.node)
		image.journal = append(image.journal, o)
	}
	return image
}
