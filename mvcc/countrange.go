package mvcc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// rest counts the keys that the walk has not come to yet: a few by walking on, many by the
// counts of the buckets between. It ends the walk.
func (c *cursor) rest() (int64, error) {
	var n int64
	for c.next() {
		if n++; n != walkFirst {
			continue
		}
		more, ok, err := c.restByBuckets()
		if err != nil {
			return 0, err
		}
		if ok {
			return n + more, nil
		}
	}
	return n, c.err()
}

// restByBuckets counts the keys behind the one that the walk is at, as its own iterator sees
// them. It is not ok, and the walk is where it was, if there is no whole bucket, or if the
// revision of the walk is too far behind.
func (c *cursor) restByBuckets() (n int64, ok bool, err error) {
	it, err := c.it.Clone(pebble.CloneOptions{
		IterOptions: &pebble.IterOptions{LowerBound: []byte{tagMeta}, UpperBound: []byte{tagRevision + 1}},
	})
	if err != nil {
		return 0, false, fmt.Errorf("open iterator over counts: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	row := c.it.Key()
	s := bucketSum{it: it, rev: c.rev}
	if ok, err = s.sum(bucketPlace(nextPrefix(nil, row[:splitRow(row)])), c.upper); !ok || err != nil {
		return 0, false, err
	}
	if ok, err = s.correct(); !ok || err != nil {
		return 0, false, err
	}
	n = s.keys
	for c.next() {
		if bytes.Compare(c.it.Key()[1:], s.first[1:]) >= 0 {
			break
		}
		n++
	}
	if s.last != nil && c.fail == nil {
		for ok := c.settleFrom(c.it.SeekGE(append([]byte{tagKey}, s.last[1:]...))); ok; ok = c.next() {
			n++
		}
	}
	return n, true, c.err()
}

// bucketSum adds the counts of the whole buckets between two places up.
type bucketSum struct {
	it  *pebble.Iterator
	rev int64
	// first is where the first whole bucket begins, last where the one begins that is not
	// whole any more; nil if all up to the end of the key space are.
	first, last []byte
	keys        int64
}

// sum adds up the buckets from a place to an end among the rows of versions. It is not ok where
// there is none.
func (s *bucketSum) sum(from, upper []byte) (bool, error) {
	end := []byte{tagBucket + 1}
	if upper[0] == tagKey {
		end = bucketPlace(upper)
	}
	var before int64
	for ok := s.it.SeekGE(from); ok && s.it.Key()[0] == tagBucket && bytes.Compare(s.it.Key(), end) <= 0; ok = s.it.Next() {
		content, err := s.it.ValueAndErr()
		if err != nil {
			return false, fmt.Errorf("read counts: %w", err)
		}
		if s.first == nil {
			s.first = bytes.Clone(s.it.Key())
		}
		s.keys += before
		if before, err = parseBucketCount(s.it.Key(), content); err != nil {
			return false, err
		}
		s.last = append(s.last[:0], s.it.Key()...)
	}
	if err := s.it.Error(); err != nil {
		return false, fmt.Errorf("read counts: %w", err)
	}
	if s.first == nil {
		return false, nil
	}
	if upper[0] != tagKey {
		s.keys += before
		s.last = nil
	}
	return true, nil
}

// correct takes back what was changed after the revision that is read: the counts are those of
// the newest that the iterator sees. It is not ok where that are too many changes.
func (s *bucketSum) correct() (bool, error) {
	row := metaRow(stateName)
	if !s.it.SeekGE(row) || !bytes.Equal(s.it.Key(), row) {
		return false, errors.Join(errNoState, s.it.Error())
	}
	content, err := s.it.ValueAndErr()
	if err != nil {
		return false, fmt.Errorf("read state row: %w", err)
	}
	st, err := parseState(content)
	if err != nil || s.rev >= st.Revision {
		return err == nil, err
	}
	if st.Revision-s.rev > maxCorrection {
		return false, nil
	}
	from := binary.BigEndian.AppendUint64([]byte{tagRevision}, uint64(s.rev)+1)
	seen := 0
	for ok := s.it.SeekGE(from); ok; ok = s.it.Next() {
		if seen++; seen > maxCorrection {
			return false, nil
		}
		content, err := s.it.ValueAndErr()
		if err != nil {
			return false, fmt.Errorf("read revision row: %w", err)
		}
		c, err := parseChange(content)
		if err != nil {
			return false, err
		}
		place := bucketRow(c.key)
		if bytes.Compare(place, s.first) < 0 || s.last != nil && bytes.Compare(place, s.last) >= 0 {
			continue
		}
		if c.kind == kindPut {
			s.keys--
		}
		if c.prev != (Revision{}) {
			s.keys++
		}
	}
	if err := s.it.Error(); err != nil {
		return false, fmt.Errorf("read revision rows: %w", err)
	}
	return true, nil
}

// rest counts the one key, unless the walk has come to it.
func (s *single) rest() (int64, error) {
	if s.next() {
		return 1, s.fail
	}
	return 0, s.fail
}

// rest counts the keys of the engine that the walk has not come to, and what the round has made
// of them.
func (m *merged) rest() (int64, error) {
	n, err := m.under.rest()
	if err != nil {
		return 0, err
	}
	if m.loaded {
		n++
	}
	for _, k := range m.over {
		v := k.at(m.rev)
		if v == nil {
			continue
		}
		if k.wasLive {
			n--
		}
		if !v.tombstone {
			n++
		}
	}
	m.over, m.loaded, m.done = nil, false, true
	return n, nil
}
