package object

import (
	"encoding/binary"
	"fmt"

	"chainfire/internal/record"
)

// Body reads where the bytes of a body are. The zero id is that of no bytes. A body that is not
// there is an error of the store: whoever holds its id by the same view sees it.
func (v *View) Body(id BodyID) (*Body, error) {
	if id == (BodyID{}) {
		return &Body{}, nil
	}
	b, err := readBodyRow(v.rows, id)
	if err != nil {
		return nil, err
	}
	return &b.Body, nil
}

// FindBody is Body for who may hold an id that nothing refers to any more, or not yet: found is false
// then.
func (v *View) FindBody(id BodyID) (b *Body, found bool, err error) {
	value, found, err := v.rows.Get(bodyRowOf(id))
	if err != nil || !found {
		return nil, false, err
	}
	stored, err := decodeBody(id, value)
	if err != nil {
		return nil, false, err
	}
	return &stored.Body, true, nil
}

// Parts reads the parts of a version of many parts, in their order; a version of none has none.
func (v *View) Parts(ver *Version) ([]Part, error) {
	if ver.Parts == 0 {
		return nil, nil
	}
	return readManifest(v.rows, ver)
}

// Bodies calls f for every body of extents after one, in their order, until it returns false.
func (v *View) Bodies(after BodyID, f func(*Body) bool) error {
	// The row itself is not wanted, and the next one there can be has a zero at its end.
	from := append(bodyRow(rowBody, after), 0)
	return walk(v.rows, from, []byte{rowBody + 1}, func(row, value []byte) (bool, error) {
		if len(row) != 1+8+4 {
			return false, fmt.Errorf("%w: row %x of a body", record.ErrMalformed, row)
		}
		id := BodyID{Lease: binary.BigEndian.Uint64(row[1:]), N: binary.BigEndian.Uint32(row[9:])}
		b, err := decodeBody(id, value)
		if err != nil {
			return false, err
		}
		return f(&b.Body), nil
	})
}

// Wanted reports whether a member must keep what it has of a body: something refers to it, or
// its lease is open. The view must be of a state that has applied the index id.Lease.
func (v *View) Wanted(id BodyID) (bool, error) {
	for _, row := range [][]byte{bodyRowOf(id), leaseRow(id.Lease)} {
		_, found, err := v.rows.Get(row)
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// Garbage reports whether there is something that Reap would let go.
func (v *View) Garbage() (bool, error) {
	row, err := firstGarbage(v.rows)
	return row != nil, err
}

// Leases lists the open write leases, by id.
func (v *View) Leases() ([]Lease, error) { return readLeases(v.rows) }

// AccessKey reads an access key, or ErrNoSuchAccessKey.
func (v *View) AccessKey(id string) (*AccessKey, error) {
	k, err := readKey(v.rows, id)
	if err == nil && k == nil {
		err = fmt.Errorf("%w: %q", ErrNoSuchAccessKey, id)
	}
	return k, err
}

// AccessKeys lists all access keys, by id.
func (v *View) AccessKeys() ([]AccessKey, error) {
	var keys []AccessKey
	err := eachRow(v.rows, []byte{rowAccessKey}, func(row, value []byte) (bool, error) {
		k, err := decodeAccessKey(string(row[1:]), value)
		if err != nil {
			return false, err
		}
		keys = append(keys, *k)
		return true, nil
	})
	return keys, err
}
