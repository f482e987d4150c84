package disk

import (
	"hash/fnv"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tree holds the names in every directory.
type tree map[*inode]map[string]*inode

func (t tree) set(dir *inode, name string, n *inode) {
	if t[dir] == nil {
		t[dir] = map[string]*inode{}
	}
	t[dir][name] = n
}

// find returns what a clean path names, or nil.
func (t tree) find(root *inode, p string) *inode {
	n := root
	if p == "." {
		return n
	}
	for name := range strings.SplitSeq(p, "/") {
		if n = t[n][name]; n == nil {
			return nil
		}
	}
	return n
}

// walk calls fn for everything inside a directory at path p, at any depth, a
// directory before what is in it, names sorted.
func (t tree) walk(dir *inode, p string, fn func(p string, n *inode)) {
	for _, name := range slices.Sorted(maps.Keys(t[dir])) {
		n := t[dir][name]
		fn(path.Join(p, name), n)
		t.walk(n, path.Join(p, name), fn)
	}
}

func (t tree) clone() tree {
	c := make(tree, len(t))
	for dir, names := range t {
		c[dir] = maps.Clone(names)
	}
	return c
}

// nameOp is one change of directories: node gets a name (add), loses one
// (remove), or both (rename).
type nameOp struct {
	fromDir, toDir *inode
	from, to       string
	node           *inode
}

func (o nameOp) apply(t tree) {
	// The name may be gone, or be another file's, when only a part of the
	// journal is durable.
	if o.fromDir != nil && t[o.fromDir][o.from] == o.node {
		delete(t[o.fromDir], o.from)
	}
	if o.toDir != nil {
		t.set(o.toDir, o.to, o.node)
	}
}

// change does one change of names, to be made durable by a sync of its directory.
func (f *FaultFS) change(o nameOp) {
	o.apply(f.live)
	f.journal = append(f.journal, o)
}

func (f *FaultFS) syncDir(dir *inode) {
	rest := f.journal[:0]
	for _, o := range f.journal {
		if o.fromDir == dir || o.toDir == dir {
			o.apply(f.durable)
		} else {
			rest = append(rest, o)
		}
	}
	f.journal = rest
}

// find returns what a clean path names now, or nil.
func (f *FaultFS) find(p string) *inode { return f.live.find(f.root, p) }

// parent returns the directory of a path.
func (f *FaultFS) parent(op, p string) (*inode, error) {
	d := f.find(path.Dir(p))
	if d == nil || !d.dir {
		return nil, notExist(op, p)
	}
	return d, nil
}

// pathID is what the fate of a file in a crash is drawn with: its first name, and
// not how many files there were before it, so that it is the same whatever other
// goroutines do with theirs.
func pathID(p string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(p))
	return h.Sum64()
}

// create makes a new file at a clean path.
func (f *FaultFS) create(p string) (*inode, error) {
	dir, err := f.parent("create", p)
	if err != nil {
		return nil, err
	}
	if n := f.find(p); n != nil && n.dir {
		return nil, &os.PathError{Op: "create", Path: p, Err: syscall.EISDIR}
	}
	n := &inode{id: pathID(p)}
	f.change(nameOp{toDir: dir, to: path.Base(p), node: n})
	return n, nil
}

// Create implements FS.
func (f *FaultFS) Create(name string, _ vfs.DiskWriteCategory) (File, error) {
	if err := f.begin(OpCreate, name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.create(clean(name))
	if err != nil {
		return nil, err
	}
	return &faultFile{fs: f, name: clean(name), n: n, read: true, write: true}, nil
}

// Link implements FS.
func (f *FaultFS) Link(oldname, newname string) error {
	if err := f.begin(OpCreate, newname); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.find(clean(oldname))
	if n == nil || n.dir {
		return notExist("link", oldname)
	}
	to := clean(newname)
	dir, err := f.parent("link", to)
	if err != nil {
		return err
	}
	if f.find(to) != nil {
		return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: os.ErrExist}
	}
	f.change(nameOp{toDir: dir, to: path.Base(to), node: n})
	return nil
}

func (f *FaultFS) open(name string) (*faultFile, error) {
	n := f.find(clean(name))
	if n == nil {
		return nil, notExist("open", name)
	}
	return &faultFile{fs: f, name: clean(name), n: n, read: !n.dir}, nil
}

// Open implements FS.
func (f *FaultFS) Open(name string, opts ...vfs.OpenOption) (File, error) {
	f.mu.Lock()
	file, err := f.open(name)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, o := range opts {
		o.Apply(file)
	}
	return file, nil
}

// OpenReadWrite implements FS.
func (f *FaultFS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, opts ...vfs.OpenOption) (File, error) {
	f.mu.Lock()
	missing := f.find(clean(name)) == nil
	f.mu.Unlock()
	if missing {
		file, err := f.Create(name, Category)
		if err != nil {
			return nil, err
		}
		return file, nil
	}
	f.mu.Lock()
	file, err := f.open(name)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	file.write = file.read
	for _, o := range opts {
		o.Apply(file)
	}
	return file, nil
}

// OpenDir implements FS.
func (f *FaultFS) OpenDir(name string) (File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Remove implements FS.
func (f *FaultFS) Remove(name string) error {
	if err := f.begin(OpRemove, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := clean(name)
	n := f.find(p)
	if n == nil {
		return notExist("remove", name)
	}
	if n == f.root || len(f.live[n]) > 0 {
		return &os.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	f.drop(p)
	return nil
}

// drop takes the name at a clean path away; it must be there.
func (f *FaultFS) drop(p string) {
	f.change(nameOp{fromDir: f.find(path.Dir(p)), from: path.Base(p), node: f.find(p)})
}

// RemoveAll implements FS.
func (f *FaultFS) RemoveAll(name string) error {
	if err := f.begin(OpRemove, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := clean(name)
	n := f.find(p)
	if n == nil {
		return nil
	}
	var in []string
	if n != f.root {
		in = append(in, p)
	}
	f.live.walk(n, p, func(p string, _ *inode) { in = append(in, p) })
	for _, p := range slices.Backward(in) {
		f.drop(p)
	}
	return nil
}

// Rename implements FS.
func (f *FaultFS) Rename(oldname, newname string) error {
	if err := f.begin(OpRename, oldname); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to := clean(oldname), clean(newname)
	n := f.find(from)
	if n == nil || n == f.root {
		return notExist("rename", oldname)
	}
	dir, err := f.parent("rename", to)
	if err != nil {
		return err
	}
	if t := f.find(to); t != nil && (t.dir != n.dir || len(f.live[t]) > 0) {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: os.ErrExist}
	}
	if strings.HasPrefix(to, from+"/") {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: syscall.EINVAL}
	}
	if from != to {
		f.change(nameOp{
			fromDir: f.find(path.Dir(from)), from: path.Base(from),
			toDir: dir, to: path.Base(to), node: n,
		})
	}
	return nil
}

// ReuseForWrite implements FS.
func (f *FaultFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (File, error) {
	if err := f.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return f.OpenReadWrite(newname, c)
}

// MkdirAll implements FS.
func (f *FaultFS) MkdirAll(dir string, _ os.FileMode) error {
	if err := f.begin(OpMkdir, dir); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.root
	for name := range strings.SplitSeq(clean(dir), "/") {
		n := f.live[at][name]
		if name == "." {
			n = at
		}
		if n == nil {
			n = &inode{dir: true}
			f.change(nameOp{toDir: at, to: name, node: n})
		}
		if !n.dir {
			return &os.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		at = n
	}
	return nil
}

// Lock implements FS: it excludes other callers of this FaultFS, not of a crash
// image of it.
func (f *FaultFS) Lock(name string) (io.Closer, error) {
	p := clean(name)
	f.mu.Lock()
	held := f.locks[p]
	f.mu.Unlock()
	if held {
		return nil, syscall.EAGAIN
	}
	file, err := f.Create(name, Category)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.locks[p] = true
	f.mu.Unlock()
	return &faultLock{fs: f, name: p, file: file}, nil
}

type faultLock struct {
	fs   *FaultFS
	name string
	file File
}

// Close releases the lock.
func (l *faultLock) Close() error {
	l.fs.mu.Lock()
	delete(l.fs.locks, l.name)
	l.fs.mu.Unlock()
	return l.file.Close()
}

// List implements FS; the names are sorted.
func (f *FaultFS) List(dir string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.find(clean(dir))
	if n == nil || !n.dir {
		return nil, notExist("list", dir)
	}
	return slices.Sorted(maps.Keys(f.live[n])), nil
}

// Stat implements FS.
func (f *FaultFS) Stat(name string) (vfs.FileInfo, error) {
	f.mu.Lock()
	file, err := f.open(name)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return file.Stat()
}

// PathBase implements FS.
func (f *FaultFS) PathBase(p string) string { return path.Base(p) }

// PathJoin implements FS.
func (f *FaultFS) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir implements FS.
func (f *FaultFS) PathDir(p string) string { return path.Dir(p) }

// GetDiskUsage implements FS: it knows the space only under LimitSpace.
func (f *FaultFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.limited {
		return vfs.DiskUsage{}, vfs.ErrUnsupported
	}
	return vfs.DiskUsage{AvailBytes: uint64(f.room)}, nil
}

// Unwrap implements FS: there is nothing below.
func (f *FaultFS) Unwrap() FS { return nil }
