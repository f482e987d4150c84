package disk

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
)

// Op is a kind of operation on a FaultFS.
type Op string

// The operations that can fail and that an observer sees.
const (
	OpCreate  Op = "create"
	OpWrite   Op = "write"
	OpSync    Op = "sync"
	OpSyncDir Op = "syncdir"
	OpRename  Op = "rename"
	OpRemove  Op = "remove"
	OpMkdir   Op = "mkdir"
	OpRead    Op = "read"
)

// ErrInjected is the error of a Rule that names none.
var ErrInjected = errors.New("injected disk error")

// Rule makes operations fail.
type Rule struct {
	Op Op
	// Path is a part of the name of the files meant; empty is every file.
	Path string
	// After is how many operations that match still succeed.
	After int
	// Times is how many then fail; 0 is all of them.
	Times int
	// Err is what they return; nil is ErrInjected.
	Err error
}

// Event is one operation, told before it happens.
type Event struct {
	Op   Op
	Path string
}

// FaultFS is a file system in memory, for tests and simulation, that can fail,
// crash and rot. It keeps apart what a running process sees and what is
// durable: file content since the file's last sync and names since their
// directory's last sync are not. Everything that it does follows from the calls
// made and the seeds given, never from chance or map order.
//
// A failed sync loses what it should have made durable, as on real systems: a
// second sync does not bring it back. A failed write leaves half of its bytes.
//
// All methods may be called from any goroutine.
type FaultFS struct {
	mu   sync.Mutex
	root *inode
	// live is what a process sees, durable what a crash leaves.
	live, durable tree
	// journal holds the changes of names that are not durable, in order.
	journal  []nameOp
	rules    []Rule
	limited  bool
	room     int64
	observer func(Event)
	locks    map[string]bool
}

var _ FS = (*FaultFS)(nil)

// NewFaultFS returns an empty file system without faults.
func NewFaultFS() *FaultFS {
	return &FaultFS{
		root:    &inode{dir: true},
		live:    tree{},
		durable: tree{},
		locks:   map[string]bool{},
	}
}

// Fail adds a rule. Rules are tried in the order in which they were added.
func (f *FaultFS) Fail(r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Err == nil {
		r.Err = ErrInjected
	}
	f.rules = append(f.rules, r)
}

// Heal removes all rules and the space limit.
func (f *FaultFS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.limited = nil, false
}

// LimitSpace lets n more bytes be written to where no byte was before; what goes
// past that fails with ENOSPC, after the part that fits.
func (f *FaultFS) LimitSpace(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limited, f.room = true, n
}

// Observe has fn called before every operation, in the goroutine that does it.
// fn may use the file system, and so be called again. A nil fn ends it.
func (f *FaultFS) Observe(fn func(Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observer = fn
}

// FlipBit changes one bit of a file, as rot does: in what is seen and in what is
// durable.
func (f *FaultFS) FlipBit(name string, offset int64, bit uint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.find(clean(name))
	if n == nil || n.dir {
		return notExist("flip", name)
	}
	if offset < 0 || offset >= int64(len(n.data)) {
		return fmt.Errorf("flip a bit of %s: no byte at %d of %d", name, offset, len(n.data))
	}
	n.data[offset] ^= 1 << (bit % 8)
	if offset < int64(len(n.synced)) {
		n.synced[offset] ^= 1 << (bit % 8)
	}
	return nil
}

// Files lists the paths of all files in the order of a walk, names sorted.
func (f *FaultFS) Files() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	f.live.walk(f.root, ".", func(p string, n *inode) {
		if !n.dir {
			names = append(names, p)
		}
	})
	return names
}

// begin tells the observer of an operation and applies the rules. It is called
// without the lock.
func (f *FaultFS) begin(op Op, name string) error {
	f.mu.Lock()
	fn := f.observer
	f.mu.Unlock()
	if fn != nil {
		fn(Event{Op: op, Path: clean(name)})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rules {
		r := &f.rules[i]
		if r.Op != op || r.Times < 0 || !strings.Contains(clean(name), r.Path) {
			continue
		}
		if r.After > 0 {
			r.After--
			continue
		}
		if r.Times > 0 {
			if r.Times--; r.Times == 0 {
				r.Times = -1 // spent
			}
		}
		return &os.PathError{Op: string(op), Path: name, Err: r.Err}
	}
	return nil
}

// take reserves space for n new bytes and returns how many fit.
func (f *FaultFS) take(n int64) int64 {
	if !f.limited || n <= 0 {
		return n
	}
	n = min(n, f.room)
	f.room -= n
	return n
}

// inode is a file or a directory, whatever names it has.
type inode struct {
	id  uint64
	dir bool
	// data is what a process reads; synced what a crash leaves; dirty where
	// they differ, in the order of the writes.
	data, synced []byte
	dirty        []extent
}

type extent struct{ off, end int64 }

func (n *inode) write(p []byte, off int64) {
	n.data = put(n.data, p, off)
	end := off + int64(len(p))
	if k := len(n.dirty); k > 0 && n.dirty[k-1].end == off {
		n.dirty[k-1].end = end
		return
	}
	n.dirty = append(n.dirty, extent{off, end})
}

func (n *inode) sync() {
	for _, e := range n.dirty {
		n.synced = put(n.synced, n.data[e.off:e.end], e.off)
	}
	n.dirty = n.dirty[:0]
}

// put writes p into b at off, with zeros in a gap before it.
func put(b, p []byte, off int64) []byte {
	if grow := off + int64(len(p)) - int64(len(b)); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	copy(b[off:], p)
	return b
}

func clean(name string) string {
	name = path.Clean(strings.TrimLeft(name, "/"))
	if name == "" {
		return "."
	}
	return name
}

func notExist(op, name string) error {
	return &os.PathError{Op: op, Path: name, Err: os.ErrNotExist}
}

func noSpace(name string) error {
	return &os.PathError{Op: string(OpWrite), Path: name, Err: syscall.ENOSPC}
}
