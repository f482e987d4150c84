package object

import (
	"bytes"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"chainfire/internal/record"
)

// recordVersion is the first byte of every row's content.
const recordVersion = 1

// The messages that are part of records of more than one kind, and of changes.
var (
	messagePair       = record.New("pair", record.Text, record.Text)
	messageAttributes = record.New("attributes", record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Repeated, record.Repeated)
	messageChecksum   = record.New("checksum", record.Number, record.Number, record.Text)
	messageRetention  = record.New("retention", record.Number, record.Number)
	messageBodyID     = record.New("body id", record.Number, record.Number)
)

// readRecord reads a row's content: its version, and a message.
func readRecord(m *record.Message, what string, b []byte, f func(record.Field) error) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: an empty %s", record.ErrMalformed, what)
	}
	if b[0] != recordVersion {
		return fmt.Errorf("%w: %s of version %d", record.ErrNewer, what, b[0])
	}
	return m.Read(b[1:], f)
}

// readUint32 checks a number that has at most 32 bits.
func readUint32(x record.Field) (uint32, error) {
	if x.N > math.MaxUint32 {
		return 0, fmt.Errorf("%w: field %d is %d, beyond 32 bits", record.ErrMalformed, x.Num, x.N)
	}
	return uint32(x.N), nil
}

// readUpTo checks a number that has a bound.
func readUpTo(x record.Field, bound uint64) (int, error) {
	if x.N > bound {
		return 0, fmt.Errorf("%w: field %d is %d, beyond %d", record.ErrMalformed, x.Num, x.N, bound)
	}
	return int(x.N), nil
}

// appendPairs appends each pair of a list as a field.
func appendPairs(b []byte, num protowire.Number, l []Pair) []byte {
	for _, p := range l {
		b = record.AppendMessage(b, num, func(b []byte) []byte {
			return record.AppendBytes(record.AppendBytes(b, 1, p.Name), 2, p.Value)
		})
	}
	return b
}

func readPair(b []byte) (p Pair, err error) {
	err = messagePair.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			p.Name = string(x.Bytes)
		case 2:
			p.Value = string(x.Bytes)
		}
		return nil
	})
	return p, err
}

// headers are the attributes that are one header each, in the order of their fields.
func (a *Attributes) headers() [8]*string {
	return [8]*string{
		&a.ContentType, &a.CacheControl, &a.ContentDisposition, &a.ContentEncoding,
		&a.ContentLanguage, &a.Expires, &a.WebsiteRedirect, &a.StorageClass,
	}
}

// appendAttributes appends attributes as a field, unless there are none.
func appendAttributes(b []byte, num protowire.Number, a *Attributes) []byte {
	return appendNonEmpty(b, num, func(b []byte) []byte {
		for i, h := range a.headers() {
			b = record.AppendBytes(b, protowire.Number(1+i), *h)
		}
		return appendPairs(appendPairs(b, 9, a.Meta), 10, a.Tags)
	})
}

func readAttributes(b []byte, a *Attributes) error {
	headers := a.headers()
	return messageAttributes.Read(b, func(x record.Field) error {
		if x.Num <= 8 {
			*headers[x.Num-1] = string(x.Bytes)
			return nil
		}
		p, err := readPair(x.Bytes)
		if err != nil {
			return err
		}
		if x.Num == 9 {
			a.Meta = append(a.Meta, p)
		} else {
			a.Tags = append(a.Tags, p)
		}
		return nil
	})
}

// appendChecksum appends a checksum as a field, unless it is none.
func appendChecksum(b []byte, num protowire.Number, c *Checksum) []byte {
	return appendNonEmpty(b, num, func(b []byte) []byte {
		b = record.AppendUint(b, 1, uint64(c.Algorithm))
		b = record.AppendUint(b, 2, uint64(c.Type))
		return record.AppendBytes(b, 3, c.Value)
	})
}

// readChecksum copies the value out of b.
func readChecksum(b []byte, c *Checksum) error {
	return messageChecksum.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			n, err := messageChecksum.Enum(x, uint8(ChecksumSHA256))
			c.Algorithm = ChecksumAlgorithm(n)
			return err
		case 2:
			n, err := messageChecksum.Enum(x, uint8(ChecksumComposite))
			c.Type = ChecksumType(n)
			return err
		case 3:
			c.Value = bytes.Clone(x.Bytes)
		}
		return nil
	})
}

// appendRetention appends a retention as a field, unless it is none.
func appendRetention(b []byte, num protowire.Number, r *Retention) []byte {
	return appendNonEmpty(b, num, func(b []byte) []byte { return appendRetentionFields(b, r) })
}

func appendRetentionFields(b []byte, r *Retention) []byte {
	return record.AppendUint(record.AppendUint(b, 1, uint64(r.Mode)), 2, uint64(r.Until))
}

func readRetention(b []byte, r *Retention) error {
	return messageRetention.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			n, err := messageRetention.Enum(x, uint8(LockCompliance))
			r.Mode = LockMode(n)
			return err
		case 2:
			r.Until = int64(x.N)
		}
		return nil
	})
}

// appendBodyID appends the name of a body as a field, unless it is that of no body.
func appendBodyID(b []byte, num protowire.Number, id BodyID) []byte {
	return appendNonEmpty(b, num, func(b []byte) []byte {
		return record.AppendUint(record.AppendUint(b, 1, id.Lease), 2, uint64(id.N))
	})
}

func readBodyID(b []byte, id *BodyID) error {
	return messageBodyID.Read(b, func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			id.Lease = x.N
		case 2:
			id.N, err = readUint32(x)
		}
		return err
	})
}

// appendNonEmpty appends what f appends as a message, unless that is empty.
func appendNonEmpty(b []byte, num protowire.Number, f func([]byte) []byte) []byte {
	at := len(b)
	b = record.AppendMessage(b, num, f)
	if _, n := protowire.ConsumeBytes(b[at+protowire.SizeTag(num):]); n == 1 {
		return b[:at]
	}
	return b
}
