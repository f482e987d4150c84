package object

import (
	"bytes"
	"fmt"

	"chainfire/internal/record"
)

// versionAt reads the version of a key that was written at seq, nil where it is not there.
func versionAt(r Reader, bucket uint64, key string, seq uint64) (*Version, error) {
	value, found, err := r.Get(versionRow(bucket, key, seq))
	if err != nil || !found {
		return nil, err
	}
	return decodeVersion(key, seq, value)
}

// nullVersion reads the null version of a key, nil where it has none.
func nullVersion(r Reader, bucket uint64, key string) (*Version, error) {
	value, found, err := r.Get(nullRow(bucket, key))
	if err != nil || !found {
		return nil, err
	}
	seq, err := decodeSeq(value)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", key, err)
	}
	v, err := versionAt(r, bucket, key, seq)
	if err == nil && (v == nil || v.ID != Null) {
		err = fmt.Errorf("%w: the null version of key %q should be at %d, and is not", record.ErrMalformed, key, seq)
	}
	return v, err
}

// versionOf reads the version of a key that has an id, nil where there is none.
func versionOf(r Reader, bucket uint64, key string, id VersionID) (*Version, error) {
	if id == Null {
		return nullVersion(r, bucket, key)
	}
	v, err := versionAt(r, bucket, key, uint64(id))
	if v != nil && v.ID == Null {
		v = nil // its id is Null, not its Seq
	}
	return v, err
}

// newestVersion reads the newest version of a key, delete marker or not; nil where it has none.
func newestVersion(r Reader, bucket uint64, key string) (*Version, error) {
	var v *Version
	err := eachRow(r, versionsRow(bucket, key), func(row, value []byte) (more bool, err error) {
		_, seq, err := splitVersionRow(row)
		if err == nil {
			v, err = decodeVersion(key, seq, value)
		}
		return false, err
	})
	return v, err
}

// readVersion reads the newest version of a key, or that of an id.
func readVersion(r Reader, bucket uint64, key string, id *VersionID) (*Version, error) {
	if id == nil {
		v, err := newestVersion(r, bucket, key)
		if err == nil && v == nil {
			err = fmt.Errorf("%w: %q", ErrNoSuchKey, key)
		}
		return v, err
	}
	v, err := versionOf(r, bucket, key, *id)
	if err == nil && v == nil {
		err = fmt.Errorf("%w: %d of key %q", ErrNoSuchVersion, *id, key)
	}
	return v, err
}

// live is the version, or nil for a delete marker.
func (v *Version) live() *Version {
	if v == nil || v.DeleteMarker {
		return nil
	}
	return v
}

// eachRow calls f for the rows that begin with a prefix, in their order, as long as it wants
// more. What f is given is valid until it returns.
func eachRow(r Reader, prefix []byte, f func(row, value []byte) (more bool, err error)) error {
	return walk(r, prefix, afterPrefix(prefix), f)
}

// walk is eachRow for the rows of [from, to).
func walk(r Reader, from, to []byte, f func(row, value []byte) (more bool, err error)) (err error) {
	c, err := r.Cursor(from, to)
	if err != nil {
		return err
	}
	defer closeCursor(c, &err)
	for c.Next() {
		more, err := f(c.Row(), c.Value())
		if err != nil || !more {
			return err
		}
	}
	return c.Err()
}

// closeCursor is deferred: a failure to close is the error where there is no other.
func closeCursor(c Cursor, err *error) {
	if cerr := c.Close(); *err == nil {
		*err = cerr
	}
}

// afterPrefix is the first row after all those that begin with a prefix. A row begins with a
// kind, which is below 0xff, so that there is one.
func afterPrefix(prefix []byte) []byte {
	to := bytes.Clone(bytes.TrimRight(prefix, "\xff"))
	to[len(to)-1]++
	return to
}
