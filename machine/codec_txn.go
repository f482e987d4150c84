package machine

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"chainfire"
)

// maxDecodeDepth bounds the recursion of the decoder. It lies above
// chainfire.MaxTxnDepth, so that what is too deep is refused as a request, and
// only what no member can have proposed is malformed.
const maxDecodeDepth = 512

func messageTxn() message { return message{"txn", []form{absent, repeated, repeated, repeated}} }

func messageCompare() message {
	return message{"compare", []form{absent, text, text, number, number, number, text}}
}

func messageOp() message { return message{"operation", []form{absent, text, text, text, text}} }

func messageRange() message {
	return message{"range", []form{
		absent, text, text, number, number, number, number,
		flag, flag, flag, number, number, number, number,
	}}
}

func appendTxn(b []byte, t *chainfire.TxnRequest) []byte {
	for i := range t.Compare {
		b = appendMessage(b, 1, func(b []byte) []byte { return appendCompare(b, &t.Compare[i]) })
	}
	for num, ops := range [2][]chainfire.Op{t.Success, t.Failure} {
		for i := range ops {
			b = appendMessage(b, protowire.Number(2+num), func(b []byte) []byte { return appendOp(b, &ops[i]) })
		}
	}
	return b
}

func appendCompare(b []byte, c *chainfire.Compare) []byte {
	b = appendBytes(b, 1, c.Key)
	b = appendBytes(b, 2, c.RangeEnd)
	b = appendUint(b, 3, uint64(c.Target))
	b = appendUint(b, 4, uint64(c.Result))
	b = appendUint(b, 5, uint64(c.Number))
	return appendBytes(b, 6, c.Value)
}

func appendOp(b []byte, o *chainfire.Op) []byte {
	switch {
	case o.Range != nil:
		return appendMessage(b, 1, func(b []byte) []byte { return appendRange(b, o.Range) })
	case o.Put != nil:
		return appendMessage(b, 2, func(b []byte) []byte { return appendPut(b, o.Put) })
	case o.Delete != nil:
		return appendMessage(b, 3, func(b []byte) []byte { return appendDelete(b, o.Delete) })
	case o.Txn != nil:
		return appendMessage(b, 4, func(b []byte) []byte { return appendTxn(b, o.Txn) })
	}
	return b
}

func appendRange(b []byte, r *chainfire.RangeRequest) []byte {
	b = appendBytes(b, 1, r.Key)
	b = appendBytes(b, 2, r.RangeEnd)
	b = appendUint(b, 3, uint64(r.Limit))
	b = appendUint(b, 4, uint64(r.Revision))
	b = appendUint(b, 5, uint64(r.SortOrder))
	b = appendUint(b, 6, uint64(r.SortTarget))
	b = appendBool(b, 7, r.Serializable)
	b = appendBool(b, 8, r.KeysOnly)
	b = appendBool(b, 9, r.CountOnly)
	b = appendUint(b, 10, uint64(r.MinModRevision))
	b = appendUint(b, 11, uint64(r.MaxModRevision))
	b = appendUint(b, 12, uint64(r.MinCreateRevision))
	return appendUint(b, 13, uint64(r.MaxCreateRevision))
}

func decodeTxn(b []byte, depth int) (*chainfire.TxnRequest, error) {
	t := &chainfire.TxnRequest{}
	if depth > maxDecodeDepth {
		return nil, fmt.Errorf("%w: transactions nest deeper than %d", ErrMalformed, maxDecodeDepth)
	}
	m := messageTxn()
	return t, m.read(b, func(x field) error {
		if x.num == 1 {
			c, err := decodeCompare(x.bytes)
			t.Compare = append(t.Compare, c)
			return err
		}
		o, err := decodeOp(x.bytes, depth)
		if x.num == 2 {
			t.Success = append(t.Success, o)
		} else {
			t.Failure = append(t.Failure, o)
		}
		return err
	})
}

func decodeCompare(b []byte) (chainfire.Compare, error) {
	var c chainfire.Compare
	m := messageCompare()
	err := m.read(b, func(x field) (err error) {
		var e uint8
		switch x.num {
		case 1:
			c.Key = x.bytes
		case 2:
			c.RangeEnd = x.bytes
		case 3:
			e, err = m.enum(x, uint8(chainfire.CompareLease))
			c.Target = chainfire.CompareTarget(e)
		case 4:
			e, err = m.enum(x, uint8(chainfire.CompareNotEqual))
			c.Result = chainfire.CompareResult(e)
		case 5:
			c.Number = int64(x.n)
		case 6:
			c.Value = x.bytes
		}
		return err
	})
	return c, err
}

func decodeOp(b []byte, depth int) (chainfire.Op, error) {
	var o chainfire.Op
	m := messageOp()
	kinds := 0
	err := m.read(b, func(x field) error {
		var err error
		kinds++
		switch x.num {
		case 1:
			o.Range, err = decodeRange(x.bytes)
		case 2:
			o.Put, err = decodePut(x.bytes)
		case 3:
			o.Delete, err = decodeDelete(x.bytes)
		case 4:
			o.Txn, err = decodeTxn(x.bytes, depth+1)
		}
		return err
	})
	if err == nil && kinds != 1 {
		err = fmt.Errorf("%w: operation of %d kinds", ErrMalformed, kinds)
	}
	return o, err
}

func decodeRange(b []byte) (*chainfire.RangeRequest, error) {
	r := &chainfire.RangeRequest{}
	m := messageRange()
	return r, m.read(b, func(x field) error {
		var err error
		var e uint8
		switch x.num {
		case 1:
			r.Key = x.bytes
		case 2:
			r.RangeEnd = x.bytes
		case 3:
			r.Limit = int64(x.n)
		case 4:
			r.Revision = int64(x.n)
		case 5:
			e, err = m.enum(x, uint8(chainfire.SortDescend))
			r.SortOrder = chainfire.SortOrder(e)
		case 6:
			e, err = m.enum(x, uint8(chainfire.SortByValue))
			r.SortTarget = chainfire.SortTarget(e)
		case 7:
			r.Serializable = x.n == 1
		case 8:
			r.KeysOnly = x.n == 1
		case 9:
			r.CountOnly = x.n == 1
		case 10:
			r.MinModRevision = int64(x.n)
		case 11:
			r.MaxModRevision = int64(x.n)
		case 12:
			r.MinCreateRevision = int64(x.n)
		case 13:
			r.MaxCreateRevision = int64(x.n)
		}
		return err
	})
}
