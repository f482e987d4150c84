// Package record is how a record of the replicated state, or of the log, is written: fields by
// number in the encoding of protocol buffers. What reads one refuses what it does not know in
// full, so that no program acts on a part of what a newer one wrote.
package record

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// AppendUint appends a number, unless it is 0.
func AppendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

// AppendBool appends a flag that is set.
func AppendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return AppendUint(b, num, 1)
}

// AppendBytes appends a byte string, unless it is empty.
func AppendBytes[T string | []byte](b []byte, num protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

// AppendStrings appends each string of a list, empty ones too.
func AppendStrings(b []byte, num protowire.Number, l []string) []byte {
	for _, v := range l {
		b = protowire.AppendTag(b, num, protowire.BytesType)
		b = protowire.AppendString(b, v)
	}
	return b
}

// AppendMessage appends what f appends as a message, empty or not.
func AppendMessage(b []byte, num protowire.Number, f func([]byte) []byte) []byte {
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

// Errors of reading.
var (
	// ErrMalformed says that bytes are no record of their kind.
	ErrMalformed = errors.New("malformed record")
	// ErrNewer says that a newer version of the program wrote a record, so that
	// this one must not act on a part of it.
	ErrNewer = errors.New("record is of a newer version of the program")
)

// Form is what one field of a message may be.
type Form uint8

// The forms. A field that is there must be of the form that its number has.
const (
	Absent   Form = iota // no field has this number
	Number               // a varint, at most once
	Flag                 // a varint 0 or 1, at most once
	Text                 // bytes, at most once
	Repeated             // bytes, any number of times
)

// Message describes a message: its name, and the form of each field by number.
type Message struct {
	name  string
	forms []Form
}

// New describes a message of at most 63 fields by their forms, the first of which is that
// of field 1.
func New(name string, forms ...Form) Message {
	return Message{name: name, forms: append([]Form{Absent}, forms...)}
}

// Field is one field of a message being read: N is set for a Number or a Flag, Bytes, which
// alias the input, for the others.
type Field struct {
	Num   protowire.Number
	N     uint64
	Bytes []byte
}

// Read calls f for every field of a message, in their order. A field that the
// message does not have makes it ErrNewer; any other flaw ErrMalformed.
func (m *Message) Read(b []byte, f func(Field) error) error {
	var seen uint64
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %s: %w", ErrMalformed, m.name, protowire.ParseError(n))
		}
		b = b[n:]
		if int(num) >= len(m.forms) || m.forms[num] == Absent {
			return fmt.Errorf("%w: %s has a field %d", ErrNewer, m.name, num)
		}
		want := m.forms[num]
		if want != Repeated {
			if seen>>num&1 == 1 {
				return fmt.Errorf("%w: %s has field %d twice", ErrMalformed, m.name, num)
			}
			seen |= 1 << num
		}
		x := Field{Num: num}
		switch {
		case typ == protowire.VarintType && (want == Number || want == Flag):
			x.N, n = protowire.ConsumeVarint(b)
		case typ == protowire.BytesType && (want == Text || want == Repeated):
			x.Bytes, n = protowire.ConsumeBytes(b)
		default:
			return fmt.Errorf("%w: field %d of %s is of wire type %d", ErrNewer, num, m.name, typ)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d of %s: %w", ErrMalformed, num, m.name, protowire.ParseError(n))
		}
		if want == Flag && x.N > 1 {
			return fmt.Errorf("%w: field %d of %s is %d", ErrNewer, num, m.name, x.N)
		}
		b = b[n:]
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

// Enum checks a number that stands for one of a few values.
func (m *Message) Enum(x Field, last uint8) (uint8, error) {
	if x.N > uint64(last) {
		return 0, fmt.Errorf("%w: field %d of %s is %d", ErrNewer, x.Num, m.name, x.N)
	}
	return uint8(x.N), nil
}
