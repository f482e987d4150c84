package mvcc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// The store's own rows of the meta key space. Rows of the machine above are
// under userMeta.
const (
	formatName    = "format"
	stateName     = "state"
	compactedName = "compacted"
	countedName   = "counted"
	sideName      = "side"
	userMeta      = "u/"
)

// formatVersion is the version of the rows. A store of another version is not
// opened.
const formatVersion = 1

// firstRevision is the revision of an empty store.
const firstRevision = 1

// NeverCompacted is the compacted revision of a store that was never compacted. As in
// etcd it is below 0, which a first compaction may name.
const NeverCompacted = -1

var errNoState = fmt.Errorf("%w: no state row", errCorruptRow)

// State is where a store stands. It is written with the data it describes.
type State struct {
	// Applied is the index of the last entry applied, which was of Term.
	Applied, Term uint64
	// Revision is the current revision, Compacted the compacted one: reads
	// below it are refused. Compacted is NeverCompacted until the first compaction.
	Revision, Compacted int64
}

func (s State) encode() []byte {
	b := make([]byte, 0, 32)
	b = binary.BigEndian.AppendUint64(b, s.Applied)
	b = binary.BigEndian.AppendUint64(b, s.Term)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Revision))
	return binary.BigEndian.AppendUint64(b, uint64(s.Compacted))
}

func parseState(b []byte) (State, error) {
	if len(b) != 32 {
		return State{}, fmt.Errorf("%w: state row of %d bytes", errCorruptRow, len(b))
	}
	return State{
		Applied:   binary.BigEndian.Uint64(b),
		Term:      binary.BigEndian.Uint64(b[8:]),
		Revision:  int64(binary.BigEndian.Uint64(b[16:])),
		Compacted: int64(binary.BigEndian.Uint64(b[24:])),
	}, nil
}

// getRow copies the content of one row; ok is false when there is none.
func getRow(r pebble.Reader, row []byte) (value []byte, ok bool, err error) {
	b, closer, err := r.Get(row)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read row %q: %w", row, err)
	}
	value = append([]byte{}, b...)
	return value, true, closeRow(closer, row)
}

func closeRow(c io.Closer, row []byte) error {
	if err := c.Close(); err != nil {
		return fmt.Errorf("read row %q: %w", row, err)
	}
	return nil
}

// checkFormat refuses a store that another version wrote.
func checkFormat(r pebble.Reader) error {
	b, ok, err := getRow(r, metaRow(formatName))
	if err != nil {
		return err
	}
	if !ok || len(b) != 1 {
		return fmt.Errorf("%w: no format row", errCorruptRow)
	}
	if b[0] != formatVersion {
		return fmt.Errorf("store has format %d, this program reads format %d", b[0], formatVersion)
	}
	return nil
}

// Meta reads a row that Writer.SetMeta wrote; ok is false when there is none.
// Any goroutine.
func (s *Store) Meta(name string) (value []byte, ok bool, err error) {
	e, _, err := s.acquire()
	if err != nil {
		return nil, false, err
	}
	defer s.release(e)
	return getRow(e.db, metaRow(userMeta+name))
}

// MetaRow is one row that Writer.SetMeta wrote.
type MetaRow struct {
	Name  string
	Value []byte
}

// MetaPrefix reads every row whose name starts with prefix, in order of their
// names. Any goroutine.
func (s *Store) MetaPrefix(prefix string) ([]MetaRow, error) {
	e, _, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release(e)
	return metaPrefix(e.db, prefix)
}

// MetaPrefix is that of the store, as an exact view pins it.
func (v *View) MetaPrefix(prefix string) ([]MetaRow, error) { return metaPrefix(v.snap, prefix) }

func metaPrefix(r pebble.Reader, prefix string) (rows []MetaRow, err error) {
	low := metaRow(userMeta + prefix)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: []byte{tagMeta + 1}})
	if err != nil {
		return nil, fmt.Errorf("read rows %q: %w", low, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok && len(it.Key()) >= len(low) && string(it.Key()[:len(low)]) == string(low); ok = it.Next() {
		b, err := it.ValueAndErr()
		if err != nil {
			return nil, fmt.Errorf("read row %q: %w", it.Key(), err)
		}
		rows = append(rows, MetaRow{
			Name:  string(it.Key()[1+len(userMeta):]),
			Value: append([]byte{}, b...),
		})
	}
	return rows, it.Error()
}

// readCompacted reads how far the physical compaction of a store has come.
func readCompacted(r pebble.Reader) (int64, error) {
	b, ok, err := getRow(r, metaRow(compactedName))
	if err != nil || !ok {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: compaction row of %d bytes", errCorruptRow, len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}
