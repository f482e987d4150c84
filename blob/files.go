package blob

import (
	"errors"
	"fmt"
	"sync"

	"chainfire/internal/disk"
)

// maxOpenFiles is how many segments are kept open that nobody reads at the moment.
const maxOpenFiles = 64

// files are the open segment files. Each may be read by many at once.
type files struct {
	open func(id uint64) (disk.File, error)

	mu sync.Mutex
	// idle is how many files have no user; clock numbers the uses.
	idle  int
	clock uint64
	byID  map[uint64]*openFile
	// forgotten counts the calls of forget.
	forgotten uint64
}

// openFile is an open file and how many use it. It may be gone from the table: then the last
// user closes it.
type openFile struct {
	disk.File
	id    uint64
	users int
	used  uint64
	gone  bool
}

func newFiles(open func(id uint64) (disk.File, error)) *files {
	return &files{open: open, byID: map[uint64]*openFile{}}
}

// get returns the file of a segment, which the caller gives back with put.
func (f *files) get(id uint64) (*openFile, error) {
	f.mu.Lock()
	if o := f.byID[id]; o != nil {
		f.use(o)
		f.mu.Unlock()
		return o, nil
	}
	forgotten := f.forgotten
	f.mu.Unlock()
	file, err := f.open(id)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.byID[id]; o != nil {
		f.use(o)
		return o, file.Close()
	}
	o := &openFile{File: file, id: id, users: 1}
	if o.gone = f.forgotten != forgotten; !o.gone { // else it may be this one that was forgotten
		f.byID[id] = o
	}
	return o, nil
}

func (f *files) use(o *openFile) {
	if o.users == 0 {
		f.idle--
	}
	o.users++
}

// put gives a file back.
func (f *files) put(o *openFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o.users--
	f.clock++
	o.used = f.clock
	if o.users > 0 {
		return
	}
	if o.gone {
		_ = o.Close() // nothing was written through it
		return
	}
	f.idle++
	for f.idle > maxOpenFiles {
		var oldest *openFile
		for _, c := range f.byID {
			if c.users == 0 && (oldest == nil || c.used < oldest.used) {
				oldest = c
			}
		}
		delete(f.byID, oldest.id)
		f.idle--
		_ = oldest.Close() // nothing was written through it
	}
}

// pin puts in an open file, which stays so until unpin.
func (f *files) pin(id uint64, file disk.File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byID[id] = &openFile{File: file, id: id, users: 1}
}

// unpin takes the use back that pin is.
func (f *files) unpin(id uint64) {
	f.mu.Lock()
	o := f.byID[id]
	f.mu.Unlock()
	f.put(o)
}

// forget closes a file once nobody uses it. It is to be called when the file cannot be opened any more.
func (f *files) forget(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgotten++
	o := f.byID[id]
	if o == nil {
		return
	}
	delete(f.byID, id)
	if o.gone = true; o.users == 0 {
		f.idle--
		_ = o.Close() // nothing was written through it
	}
}

// close closes all files.
func (f *files) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for id, o := range f.byID {
		if err := o.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close segment %d: %w", id, err))
		}
	}
	clear(f.byID)
	return errors.Join(errs...)
}
