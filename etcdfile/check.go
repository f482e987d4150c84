package etcdfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// What is known of bbolt's pages (its internal/common), all of it little endian here:
// bbolt writes in the order of the machine, and etcd is made for such machines.
const (
	boltMagic   = 0xED0CDAED
	pageHeader  = 16 // id 8, flags 2, count 2, overflow 4
	pageElement = 16 // of a branch: pos 4, size of the key 4, page 8; of a leaf: flags 4, pos 4, sizes of key and value 4
	flagBranch  = 0x01
	flagLeaf    = 0x02
	flagFree    = 0x10
	// leafBucket marks an element that is a table: its value is the page of its root,
	// 0 for one that follows in place, and a sequence.
	leafBucket   = 0x01
	bucketHeader = 16
	noFreelist   = ^uint64(0)
	manyFree     = 0xFFFF
	minPage      = 512
	maxPage      = 64 << 10
)

// hasMagic reports whether one of the first two pages, whatever their size, describes a
// database.
func hasMagic(head []byte) bool {
	for at := 0; at <= maxPage; at = max(2*at, minPage) {
		if len(head) >= at+pageHeader+4 && binary.LittleEndian.Uint32(head[at+pageHeader:]) == boltMagic {
			return true
		}
	}
	return false
}

// check finds the file whole. bbolt maps the file into memory, so that a page number
// beyond its end would end the process: that is found here first.
func (f *File) check(ctx context.Context, skipHash bool) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return fmt.Errorf("open %s: %w", f.Path, err)
	}
	err = f.checkFile(ctx, file, skipHash)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	// All of them are to be taken, or the one who sends waits for ever.
	var first error
	for err := range f.tx.Check() {
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return f.damaged("%w", first)
	}
	return ctx.Err()
}

func (f *File) checkFile(ctx context.Context, file *os.File, skipHash bool) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", f.Path, err)
	}
	size := info.Size()
	// Whole sectors, and the checksum.
	if f.Hashed = size%minPage == sha256.Size; f.Hashed {
		size -= sha256.Size
	}
	if !f.Hashed && !skipHash {
		return fmt.Errorf("%s does not end in a checksum: either it was cut short, or it is a copy of member/snap/db, which has none; for such a copy add --skip-hash-check", f.Path)
	}
	if f.Hashed && !skipHash {
		if err := f.checkHash(ctx, file, size); err != nil {
			return err
		}
	}
	f.Hashed = f.Hashed && !skipHash
	if f.tx.Size() > size {
		return f.damaged("it has %d bytes and should have %d: it was cut short", size, f.tx.Size())
	}
	w := pageWalk{ctx: ctx, file: file, page: int64(f.db.Info().PageSize)}
	if err := w.begin(uint64(f.tx.ID()), uint64(f.tx.Size())); err != nil {
		return f.damagedPage(ctx, err)
	}
	return f.damagedPage(ctx, w.run())
}

// damagedPage is an error of a page walk, as that of a damaged file unless the reader gave
// up.
func (f *File) damagedPage(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return errors.Join(ctx.Err())
	}
	return f.damaged("%w", err)
}

func (f *File) checkHash(ctx context.Context, file io.ReaderAt, size int64) error {
	digest := sha256.New()
	if _, err := io.Copy(digest, &patient{ctx, io.NewSectionReader(file, 0, size)}); err != nil {
		return fmt.Errorf("read %s: %w", f.Path, err)
	}
	want := make([]byte, sha256.Size)
	if _, err := file.ReadAt(want, size); err != nil {
		return fmt.Errorf("read the checksum of %s: %w", f.Path, err)
	}
	if got := digest.Sum(nil); !bytes.Equal(got, want) {
		return f.damaged("its SHA-256 is %x, and it ends in %x: make it or copy it again", got, want)
	}
	return nil
}

// patient is a reader that ends with its context.
type patient struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

// pageWalk visits all pages that are in use, and finds whether what they point to is
// inside the file.
type pageWalk struct {
	ctx  context.Context
	file io.ReaderAt
	page int64
	// pages is how many there are; seen has a bit for each that was met.
	pages uint64
	seen  []uint64
	// waiting are pages to be visited.
	waiting []uint64
	visited int
	buf     []byte
}

// begin reads the description that is in force, that of a transaction.
func (w *pageWalk) begin(txid, size uint64) error {
	w.pages = size / uint64(w.page)
	w.seen = make([]uint64, w.pages/64+1)
	w.seen[0] = 3 // the two descriptions
	// magic 4, version 4, page size 4, flags 4, root 8, sequence 8, list of free pages 8,
	// pages 8, transaction 8
	var meta [56]byte
	for at := range int64(2) {
		if _, err := w.file.ReadAt(meta[:], at*w.page+pageHeader); err != nil {
			return fmt.Errorf("read the description: %w", err)
		}
		if binary.LittleEndian.Uint64(meta[40:]) == w.pages && binary.LittleEndian.Uint64(meta[48:]) == txid {
			break
		}
	}
	if free := binary.LittleEndian.Uint64(meta[32:]); free != noFreelist {
		if err := w.freelist(free); err != nil {
			return err
		}
	}
	w.waiting = append(w.waiting, binary.LittleEndian.Uint64(meta[16:]))
	return nil
}

func (w *pageWalk) run() error {
	for len(w.waiting) > 0 {
		id := w.waiting[len(w.waiting)-1]
		w.waiting = w.waiting[:len(w.waiting)-1]
		if w.visited++; w.visited%cancelEvery == 0 && w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		at, size, err := w.take(id)
		if err != nil {
			return err
		}
		if err := w.elements(at, size); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
	}
	return nil
}

// take marks a page, and those that go on from it, as met, and returns where it is.
func (w *pageWalk) take(id uint64) (at, size int64, err error) {
	if id >= w.pages {
		return 0, 0, fmt.Errorf("page %d is pointed to, and there are %d", id, w.pages)
	}
	var head [pageHeader]byte
	at = int64(id) * w.page
	if _, err := w.file.ReadAt(head[:], at); err != nil {
		return 0, 0, fmt.Errorf("read page %d: %w", id, err)
	}
	more := uint64(binary.LittleEndian.Uint32(head[12:]))
	if own := binary.LittleEndian.Uint64(head[:]); own != id {
		return 0, 0, fmt.Errorf("page %d says that it is page %d", id, own)
	}
	if more >= w.pages-id {
		return 0, 0, fmt.Errorf("page %d goes on for %d pages, beyond the end", id, more)
	}
	for p := id; p <= id+more; p++ {
		if w.seen[p/64]&(1<<(p%64)) != 0 {
			return 0, 0, fmt.Errorf("page %d is pointed to twice", p)
		}
		w.seen[p/64] |= 1 << (p % 64)
	}
	return at, int64(more+1) * w.page, nil
}

// freelist checks the list of free pages.
func (w *pageWalk) freelist(id uint64) error {
	at, size, err := w.take(id)
	if err != nil {
		return err
	}
	var head [pageHeader + 8]byte
	if _, err := w.file.ReadAt(head[:], at); err != nil {
		return fmt.Errorf("read page %d: %w", id, err)
	}
	count := uint64(binary.LittleEndian.Uint16(head[10:]))
	if count == manyFree {
		count = binary.LittleEndian.Uint64(head[pageHeader:]) + 1
	}
	if binary.LittleEndian.Uint16(head[8:]) != flagFree || count > uint64(size-pageHeader)/8 {
		return fmt.Errorf("page %d is no list of free pages, or longer than its page", id)
	}
	return nil
}

// elements checks a page of size bytes, a branch or a leaf, that is at an offset.
func (w *pageWalk) elements(at, size int64) error {
	var head [pageHeader]byte
	if _, err := w.file.ReadAt(head[:], at); err != nil {
		return err
	}
	flags, count := binary.LittleEndian.Uint16(head[8:]), int64(binary.LittleEndian.Uint16(head[10:]))
	if pageHeader+count*pageElement > size {
		return fmt.Errorf("%d elements do not fit into it", count)
	}
	// A table inside the page comes here again, with a buffer of its own.
	buf := w.buf
	w.buf = nil
	if int64(cap(buf)) < count*pageElement {
		buf = make([]byte, count*pageElement)
	}
	defer func() { w.buf = buf }()
	buf = buf[:count*pageElement]
	if _, err := w.file.ReadAt(buf, at+pageHeader); err != nil {
		return err
	}
	for i := range count {
		e := buf[i*pageElement:][:pageElement]
		var err error
		switch flags {
		case flagBranch:
			err = w.branch(e, size-pageHeader-i*pageElement)
		case flagLeaf:
			err = w.leaf(e, at+pageHeader+i*pageElement, size-pageHeader-i*pageElement)
		default:
			err = errors.New("it is neither a branch nor a leaf")
		}
		if err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

var errElement = errors.New("it goes beyond the end of its page")

// branch checks an element that has room bytes from its beginning to the end of the page.
func (w *pageWalk) branch(e []byte, room int64) error {
	pos, key := int64(binary.LittleEndian.Uint32(e)), int64(binary.LittleEndian.Uint32(e[4:]))
	if pos+key > room {
		return errElement
	}
	w.waiting = append(w.waiting, binary.LittleEndian.Uint64(e[8:]))
	return nil
}

func (w *pageWalk) leaf(e []byte, at, room int64) error {
	pos := int64(binary.LittleEndian.Uint32(e[4:]))
	key, value := int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
	if pos+key+value > room {
		return errElement
	}
	if binary.LittleEndian.Uint32(e)&leafBucket == 0 {
		return nil
	}
	var head [bucketHeader]byte
	if value < bucketHeader {
		return errors.New("a table without a root")
	}
	at += pos + key
	if _, err := w.file.ReadAt(head[:], at); err != nil {
		return err
	}
	if root := binary.LittleEndian.Uint64(head[:]); root != 0 {
		w.waiting = append(w.waiting, root)
		return nil
	}
	if value < bucketHeader+pageHeader {
		return errors.New("a table without a page")
	}
	return w.elements(at+bucketHeader, value-bucketHeader)
}
