package main

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// bareCodec takes requests that are encoded already and leaves answers as they come, as
// the generator of load shares processors with the servers: an answer is only looked
// at as far as it is checked. Messages are *[]byte.
type bareCodec struct{}

func (bareCodec) Name() string { return "proto" }

func (bareCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("a bare message is a *[]byte, not a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

// Unmarshal uses the memory that v has.
func (bareCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a bare message is a *[]byte, not a %T", v)
	}
	n := data.Len()
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	data.CopyTo(*b)
	return nil
}

// field is one field of an encoded message: a number, or bytes.
type field struct {
	number protowire.Number
	value  uint64
	bytes  []byte
}

var errMalformed = errors.New("malformed answer")

// eachField calls f for every field of a message, until f fails.
func eachField(b []byte, f func(field) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		one := field{number: number}
		switch kind {
		case protowire.VarintType:
			one.value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			one.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		if err := f(one); err != nil {
			return err
		}
	}
	return nil
}

// rangeAnswer is what is looked at of a RangeResponse.
type rangeAnswer struct {
	kvs   int
	count uint64
	more  bool
	// last is the last key with its versions and value, encoded.
	last []byte
}

func readRange(b []byte) (rangeAnswer, error) {
	var a rangeAnswer
	err := eachField(b, func(f field) error {
		switch f.number {
		case 2:
			a.kvs++
			a.last = f.bytes
		case 3:
			a.more = f.value != 0
		case 4:
			a.count = f.value
		}
		return nil
	})
	return a, err
}

// keyValue is what is looked at of a KeyValue.
type keyValue struct {
	key, value  []byte
	modRevision uint64
}

func readKeyValue(b []byte) (keyValue, error) {
	var kv keyValue
	err := eachField(b, func(f field) error {
		switch f.number {
		case 1:
			kv.key = f.bytes
		case 3:
			kv.modRevision = f.value
		case 5:
			kv.value = f.bytes
		}
		return nil
	})
	return kv, err
}

// txnAnswer is what is looked at of a TxnResponse. answers are those of its
// operations, encoded.
type txnAnswer struct {
	revision  uint64
	succeeded bool
	answers   [][]byte
}

func readTxn(b []byte) (txnAnswer, error) {
	var a txnAnswer
	err := eachField(b, func(f field) (err error) {
		switch f.number {
		case 1:
			a.revision, err = readRevision(f.bytes)
		case 2:
			a.succeeded = f.value != 0
		case 3:
			a.answers = append(a.answers, f.bytes)
		}
		return err
	})
	return a, err
}

// readRevision is the revision of a ResponseHeader.
func readRevision(header []byte) (revision uint64, err error) {
	err = eachField(header, func(f field) error {
		if f.number == 3 {
			revision = f.value
		}
		return nil
	})
	return revision, err
}

// watchAnswer is what is looked at of a WatchResponse. Each of events is a KeyValue,
// encoded.
type watchAnswer struct {
	created, canceled bool
	reason            string
	events            [][]byte
}

// readWatch appends events to those of a, whose memory it uses.
func (a *watchAnswer) readWatch(b []byte) error {
	*a = watchAnswer{events: a.events[:0]}
	return eachField(b, func(f field) error {
		switch f.number {
		case 3:
			a.created = f.value != 0
		case 4:
			a.canceled = f.value != 0
		case 6:
			a.reason = string(f.bytes)
		case 11:
			return eachField(f.bytes, func(e field) error {
				if e.number == 2 {
					a.events = append(a.events, e.bytes)
				}
				return nil
			})
		}
		return nil
	})
}
