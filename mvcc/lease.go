package mvcc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Lease is what the store keeps of one lease; which keys are attached to it is in
// rows of their own.
type Lease struct {
	// ID is not 0.
	ID int64
	// TTL is what was granted, in seconds. Remaining is what was left of it at the
	// last checkpoint, 0 when there was none since it was granted.
	TTL, Remaining int64
}

// leaseVersion is the first byte of a lease's row.
const leaseVersion = 1

func leaseRow(id int64) []byte { return binary.BigEndian.AppendUint64([]byte{tagLease}, uint64(id)) }

// appendAttachRow appends the row that says that a key is attached to a lease. With
// no key it is where the rows of that lease begin.
func appendAttachRow(dst []byte, id int64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(append(dst, tagAttach), uint64(id)), key...)
}

// attachRowLen is the length of an attachment's row without the key.
const attachRowLen = 9

func (l *Lease) encode() []byte {
	b := binary.AppendUvarint([]byte{leaseVersion}, uint64(l.TTL))
	return binary.AppendUvarint(b, uint64(l.Remaining))
}

func parseLease(row, content []byte) (l Lease, err error) {
	bad := fmt.Errorf("%w: lease row %x", errCorruptRow, row)
	if len(row) != 9 || len(content) == 0 || content[0] != leaseVersion {
		return l, bad
	}
	l.ID = int64(binary.BigEndian.Uint64(row[1:]))
	rest := content[1:]
	for _, field := range [2]*int64{&l.TTL, &l.Remaining} {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			return Lease{}, bad
		}
		*field, rest = int64(v), rest[n:]
	}
	if len(rest) != 0 || l.ID == 0 || l.TTL <= 0 || l.Remaining < 0 {
		return Lease{}, bad
	}
	return l, nil
}

// parseAttachRow takes the row of an attachment apart. The key aliases the row.
func parseAttachRow(row, content []byte) (id int64, key []byte, err error) {
	if len(row) <= attachRowLen || len(content) != 0 {
		return 0, nil, fmt.Errorf("%w: row of a key and its lease %x", errCorruptRow, row)
	}
	return int64(binary.BigEndian.Uint64(row[1:])), row[attachRowLen:], nil
}

func getLease(r pebble.Reader, id int64) (l Lease, found bool, err error) {
	row := leaseRow(id)
	b, ok, err := getRow(r, row)
	if err != nil || !ok {
		return l, false, err
	}
	l, err = parseLease(row, b)
	return l, err == nil, err
}

// eachRow calls f for the rows from lower up to, and not with, upper, in order. What
// f is given is valid until it returns.
func eachRow(r pebble.Reader, lower, upper []byte, f func(row, content []byte) error) (err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read rows from %x: %w", lower, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		b, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read row %x: %w", it.Key(), err)
		}
		if err := f(it.Key(), b); err != nil {
			return err
		}
	}
	return it.Error()
}

// attachBounds are where the rows of the keys of a lease begin and end.
func attachBounds(id int64) (lower, upper []byte) {
	if uint64(id)+1 == 0 {
		return appendAttachRow(nil, id, nil), []byte{tagAttach + 1}
	}
	return appendAttachRow(nil, id, nil), appendAttachRow(nil, id+1, nil)
}

// attachedKeys copies the keys that are attached to a lease, in order.
func attachedKeys(r pebble.Reader, id int64) (keys [][]byte, err error) {
	lower, upper := attachBounds(id)
	return keys, eachRow(r, lower, upper, func(row, content []byte) error {
		_, key, err := parseAttachRow(row, content)
		keys = append(keys, slices.Clone(key))
		return err
	})
}

// Leases reads all leases, in the order of their rows. Any goroutine.
func (s *Store) Leases() ([]Lease, error) {
	e, _, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release(e)
	return allLeases(e.db)
}

// Leases reads all leases, in the order of their rows. They are of the revision of the
// view if it is exact.
func (v *View) Leases() ([]Lease, error) { return allLeases(v.snap) }

func allLeases(r pebble.Reader) (leases []Lease, err error) {
	return leases, eachRow(r, []byte{tagLease}, []byte{tagLease + 1}, func(row, content []byte) error {
		l, err := parseLease(row, content)
		leases = append(leases, l)
		return err
	})
}

// LeaseKeys reads which keys are attached to a lease, in order. Any goroutine.
func (s *Store) LeaseKeys(id int64) ([][]byte, error) {
	e, _, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release(e)
	return attachedKeys(e.db, id)
}

// leaseOverlay holds what a round has changed of leases and the engine does not have
// yet.
type leaseOverlay struct {
	// leases holds nil for one that is gone.
	leases map[int64]*Lease
	// keys says, by lease, of every key whose attachment changed whether it is attached.
	keys map[int64]map[string]bool
}

// Lease reads one lease as the round has left it.
func (w *Writer) Lease(id int64) (l Lease, found bool, err error) {
	if o, ok := w.leases.leases[id]; ok {
		if o == nil {
			return l, false, nil
		}
		return *o, true, nil
	}
	return getLease(w.eng.db, id)
}

// SetLease writes a lease, new or changed. Its id is not 0, its TTL positive.
func (w *Writer) SetLease(l Lease) error {
	if err := w.batch.Set(leaseRow(l.ID), l.encode(), nil); err != nil {
		return fmt.Errorf("write lease %x: %w", uint64(l.ID), err)
	}
	w.leases.set(l.ID, &l)
	return nil
}

// RevokeLease removes a lease and, in the transaction under way, deletes the keys
// that are attached to it, in their order.
func (w *Writer) RevokeLease(id int64) error {
	keys, err := w.LeaseKeys(id)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if _, _, err := w.DeleteRange(key, nil, false); err != nil {
			return err
		}
	}
	if err := w.batch.Delete(leaseRow(id), nil); err != nil {
		return fmt.Errorf("delete lease %x: %w", uint64(id), err)
	}
	w.leases.set(id, nil)
	return nil
}

func (o *leaseOverlay) set(id int64, l *Lease) {
	if o.leases == nil {
		o.leases = map[int64]*Lease{}
	}
	o.leases[id] = l
}

// LeaseKeys lists the keys of a lease as the round has left them, in order.
func (w *Writer) LeaseKeys(id int64) ([][]byte, error) {
	keys, err := attachedKeys(w.eng.db, id)
	if err != nil {
		return nil, err
	}
	changed := w.leases.keys[id]
	if len(changed) == 0 {
		return keys, nil
	}
	attached := make(map[string]bool, len(keys)+len(changed))
	for _, key := range keys {
		attached[string(key)] = true
	}
	maps.Copy(attached, changed)
	keys = keys[:0]
	for _, key := range slices.Sorted(maps.Keys(attached)) {
		if attached[key] {
			keys = append(keys, []byte(key))
		}
	}
	return keys, nil
}

// WalkLease visits keys of a lease as the round has left them. visit returns the first key
// that it wants to see after the one that it is shown, nil being none: those between are
// passed over, so that the work is in what is visited. Keys that the round attached come
// last, all of them and in any order. An error of visit ends the walk. The key is valid until
// visit returns.
func (w *Writer) WalkLease(id int64, visit func(key []byte) (next []byte, err error)) (err error) {
	lower, upper := attachBounds(id)
	it, err := w.eng.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read the keys of lease %x: %w", uint64(id), err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	changed := w.leases.keys[id]
	for ok := it.First(); ok; {
		content, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read row %x: %w", it.Key(), err)
		}
		_, key, err := parseAttachRow(it.Key(), content)
		if err != nil {
			return err
		}
		if attached, known := changed[string(key)]; known && !attached {
			ok = it.Next()
			continue
		}
		next, err := visit(key)
		if err != nil {
			return err
		}
		switch {
		case next == nil:
			ok = false
		case bytes.Compare(next, key) <= 0:
			ok = it.Next()
		default:
			w.row = appendAttachRow(w.row[:0], id, next)
			ok = it.SeekGE(w.row)
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("read the keys of lease %x: %w", uint64(id), err)
	}
	for key, attached := range changed {
		if !attached {
			continue
		}
		if _, err := visit([]byte(key)); err != nil {
			return err
		}
	}
	return nil
}

// attach moves a key from one lease to another; 0 is none.
func (w *Writer) attach(key []byte, from, to int64) error {
	if from == to {
		return nil
	}
	if from != 0 {
		w.row = appendAttachRow(w.row[:0], from, key)
		if err := w.batch.Delete(w.row, nil); err != nil {
			return fmt.Errorf("detach key from lease %x: %w", uint64(from), err)
		}
		w.leases.note(from, key, false)
	}
	if to == 0 {
		return nil
	}
	w.row = appendAttachRow(w.row[:0], to, key)
	if err := w.batch.Set(w.row, nil, nil); err != nil {
		return fmt.Errorf("attach key to lease %x: %w", uint64(to), err)
	}
	w.leases.note(to, key, true)
	return nil
}

func (o *leaseOverlay) note(id int64, key []byte, attached bool) {
	if o.keys == nil {
		o.keys = map[int64]map[string]bool{}
	}
	if o.keys[id] == nil {
		o.keys[id] = map[string]bool{}
	}
	o.keys[id][string(key)] = attached
}
