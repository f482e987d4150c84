package machine

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// appendUint appends a number, unless it is 0.
func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendUint(b, num, 1)
}

// appendBytes appends a byte string, unless it is empty.
func appendBytes[T string | []byte](b []byte, num protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

// appendStrings appends each string of a list, empty ones too.
func appendStrings(b []byte, num protowire.Number, l []string) []byte {
	for _, v := range l {
		b = protowire.AppendTag(b, num, protowire.BytesType)
		b = protowire.AppendString(b, v)
	}
	return b
}

// appendMessage appends what f appends as a message, empty or not.
func appendMessage(b []byte, num protowire.Number, f func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	at := len(b)
	b = f(append(b, 0))
	n := uint64(len(b) - at - 1)
	if extra := protowire.SizeVarint(n) - 1; extra > 0 {
		b = append(b, make([]byte, extra)...)
		copy(b[at+1+extra:], b[at+1:])
	}
	protowire.AppendVarint(b[at:at], n)
	return b
}

// form is what one field of a message may be.
type form uint8

const (
	absent   form = iota // no field has this number
	number               // a varint, at most once
	flag                 // a varint 0 or 1, at most once
	text                 // bytes, at most once
	repeated             // bytes, any number of times
)

// message describes a message: its name, and the form of each field by number.
type message struct {
	name  string
	forms []form
}

// field is one field of a message being read. Its bytes alias the input.
type field struct {
	num   protowire.Number
	n     uint64
	bytes []byte
}

// read calls f for every field of a message, in their order. A field that the
// message does not have makes it ErrNewer; any other flaw ErrMalformed.
func (m *message) read(b []byte, f func(field) error) error {
	var seen uint64
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %s: %w", ErrMalformed, m.name, protowire.ParseError(n))
		}
		b = b[n:]
		if int(num) >= len(m.forms) || m.forms[num] == absent {
			return fmt.Errorf("%w: %s has a field %d", ErrNewer, m.name, num)
		}
		want := m.forms[num]
		if want != repeated {
			if seen>>num&1 == 1 {
				return fmt.Errorf("%w: %s has field %d twice", ErrMalformed, m.name, num)
			}
			seen |= 1 << num
		}
		x := field{num: num}
		switch {
		case typ == protowire.VarintType && (want == number || want == flag):
			x.n, n = protowire.ConsumeVarint(b)
		case typ == protowire.BytesType && (want == text || want == repeated):
			x.bytes, n = protowire.ConsumeBytes(b)
		default:
			return fmt.Errorf("%w: field %d of %s is of wire type %d", ErrNewer, num, m.name, typ)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d of %s: %w", ErrMalformed, num, m.name, protowire.ParseError(n))
		}
		if want == flag && x.n > 1 {
			return fmt.Errorf("%w: field %d of %s is %d", ErrNewer, num, m.name, x.n)
		}
		b = b[n:]
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

// enum checks a number that stands for one of a few values.
func (m *message) enum(x field, last uint8) (uint8, error) {
	if x.n > uint64(last) {
		return 0, fmt.Errorf("%w: field %d of %s is %d", ErrNewer, x.num, m.name, x.n)
	}
	return uint8(x.n), nil
}
