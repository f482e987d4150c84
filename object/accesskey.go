package object

import (
	"bytes"
	"fmt"
	"math"

	"chainfire/internal/record"
)

// Bounds of access keys, in bytes.
const (
	minKeyID       = 3
	maxKeyID       = 128
	maxSealed      = 1 << 10
	maxDescription = 256
	maxGrants      = 100
)

var (
	messageAccessKey = record.New("access key", record.Text, record.Number, record.Text, record.Flag, record.Flag, record.Repeated, record.Number, record.Number, record.Number)
	messageGrant     = record.New("grant", record.Text, record.Flag, record.Flag)
)

func accessKeyRow(id string) []byte { return append([]byte{rowAccessKey}, id...) }

// encode is what an access key's row holds; ID is in the row's key.
func (k *AccessKey) encode() []byte { return appendAccessKey([]byte{recordVersion}, k) }

func appendAccessKey(r []byte, k *AccessKey) []byte {
	r = record.AppendBytes(r, 1, k.Sealed)
	r = record.AppendUint(r, 2, uint64(k.Created))
	r = record.AppendBytes(r, 3, k.Description)
	r = record.AppendBool(r, 4, k.Disabled)
	r = record.AppendBool(r, 5, k.Admin)
	for _, g := range k.Grants {
		r = record.AppendMessage(r, 6, func(r []byte) []byte {
			r = record.AppendBytes(r, 1, g.Bucket)
			r = record.AppendBool(r, 2, g.Read)
			return record.AppendBool(r, 3, g.Write)
		})
	}
	r = record.AppendUint(r, 7, uint64(k.Requests))
	r = record.AppendUint(r, 8, uint64(k.Bytes))
	return record.AppendUint(r, 9, uint64(k.MaxObject))
}

// readAccessKey reads all of an access key but its id, as one field of it.
func readAccessKey(x record.Field, k *AccessKey) (err error) {
	n := 0
	switch x.Num {
	case 1:
		k.Sealed = bytes.Clone(x.Bytes)
	case 2:
		k.Created = int64(x.N)
	case 3:
		k.Description = string(x.Bytes)
	case 4:
		k.Disabled = x.N == 1
	case 5:
		k.Admin = x.N == 1
	case 6:
		var g Grant
		g, err = readGrant(x.Bytes)
		k.Grants = append(k.Grants, g)
	case 7:
		n, err = readUpTo(x, math.MaxInt64)
		k.Requests = int64(n)
	case 8:
		n, err = readUpTo(x, math.MaxInt64)
		k.Bytes = int64(n)
	case 9:
		n, err = readUpTo(x, math.MaxInt64)
		k.MaxObject = int64(n)
	}
	return err
}

func readGrant(b []byte) (g Grant, err error) {
	err = messageGrant.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			g.Bucket = string(x.Bytes)
		case 2:
			g.Read = x.N == 1
		case 3:
			g.Write = x.N == 1
		}
		return nil
	})
	return g, err
}

func decodeAccessKey(id string, value []byte) (*AccessKey, error) {
	k := &AccessKey{ID: id}
	err := readRecord(&messageAccessKey, "access key", value, func(x record.Field) error { return readAccessKey(x, k) })
	if err != nil {
		return nil, fmt.Errorf("row of access key %q: %w", id, err)
	}
	return k, nil
}

// readKey reads an access key, or nil.
func readKey(rows Reader, id string) (*AccessKey, error) {
	value, found, err := rows.Get(accessKeyRow(id))
	if err != nil {
		return nil, fmt.Errorf("read access key %q: %w", id, err)
	}
	if !found {
		return nil, nil
	}
	return decodeAccessKey(id, value)
}

func (t *tx) setKey(q *SetKey) (*Result, error) {
	k := q.Key
	old, err := readKey(t.rows, k.ID)
	switch {
	case err != nil:
		return nil, err
	case q.New && old != nil:
		return nil, fmt.Errorf("%w: %q", ErrKeyExists, k.ID)
	case !q.New && old == nil:
		return nil, fmt.Errorf("%w: %q", ErrNoSuchAccessKey, k.ID)
	case q.Was != nil && (old == nil || !bytes.Equal(q.Was.encode(), old.encode())):
		return nil, fmt.Errorf("%w: access key %q has changed", ErrPreconditionFailed, k.ID)
	case q.New:
		k.Created = t.time
		if err := t.checkMoreKeys(); err != nil {
			return nil, err
		}
	default:
		k.Created = old.Created
	}
	if err := t.rows.Set(accessKeyRow(k.ID), k.encode()); err != nil {
		return nil, fmt.Errorf("write access key: %w", err)
	}
	return &Result{}, nil
}

// checkMoreKeys refuses one more access key than there may be.
func (t *tx) checkMoreKeys() error {
	n := 0
	err := eachRow(t.rows, []byte{rowAccessKey}, func(_, _ []byte) (bool, error) {
		n++
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("count access keys: %w", err)
	}
	if n >= MaxKeys {
		return fmt.Errorf("%w: %d", ErrTooManyKeys, n)
	}
	return nil
}

func (t *tx) deleteKey(q *DeleteKey) (*Result, error) {
	old, err := readKey(t.rows, q.ID)
	if err != nil {
		return nil, err
	}
	if old == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoSuchAccessKey, q.ID)
	}
	if err := t.rows.Delete(accessKeyRow(q.ID)); err != nil {
		return nil, fmt.Errorf("delete access key: %w", err)
	}
	return &Result{}, nil
}
