package machine

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"chainfire"
	"chainfire/internal/record"
)

// maxDecodeDepth bounds the recursion of the decoder. It lies above
// chainfire.MaxTxnDepth, so that what is too deep is refused as a request, and
// only what no member can have proposed is malformed.
const maxDecodeDepth = 512

func messageTxn() record.Message {
	return record.New("txn", record.Repeated, record.Repeated, record.Repeated)
}

func messageCompare() record.Message {
	return record.New("compare", record.Text, record.Text, record.Number, record.Number, record.Number, record.Text)
}

func messageOp() record.Message {
	return record.New("operation", record.Text, record.Text, record.Text, record.Text)
}

func messageRange() record.Message {
	return record.New("range", record.Text, record.Text, record.Number, record.Number, record.Number, record.Number, record.Flag, record.Flag, record.Flag, record.Number, record.Number, record.Number, record.Number)
}

func appendTxn(b []byte, t *chainfire.TxnRequest) []byte {
	for i := range t.Compare {
		b = record.AppendMessage(b, 1, func(b []byte) []byte { return appendCompare(b, &t.Compare[i]) })
	}
	for num, ops := range [2][]chainfire.Op{t.Success, t.Failure} {
		for i := range ops {
			b = record.AppendMessage(b, protowire.Number(2+num), func(b []byte) []byte { return appendOp(b, &ops[i]) })
		}
	}
	return b
}

func appendCompare(b []byte, c *chainfire.Compare) []byte {
	b = record.AppendBytes(b, 1, c.Key)
	b = record.AppendBytes(b, 2, c.RangeEnd)
	b = record.AppendUint(b, 3, uint64(c.Target))
	b = record.AppendUint(b, 4, uint64(c.Result))
	b = record.AppendUint(b, 5, uint64(c.Number))
	return record.AppendBytes(b, 6, c.Value)
}

func appendOp(b []byte, o *chainfire.Op) []byte {
	switch {
	case o.Range != nil:
		return record.AppendMessage(b, 1, func(b []byte) []byte { return appendRange(b, o.Range) })
	case o.Put != nil:
		return record.AppendMessage(b, 2, func(b []byte) []byte { return appendPut(b, o.Put) })
	case o.Delete != nil:
		return record.AppendMessage(b, 3, func(b []byte) []byte { return appendDelete(b, o.Delete) })
	case o.Txn != nil:
		return record.AppendMessage(b, 4, func(b []byte) []byte { return appendTxn(b, o.Txn) })
	}
	return b
}

func appendRange(b []byte, r *chainfire.RangeRequest) []byte {
	b = record.AppendBytes(b, 1, r.Key)
	b = record.AppendBytes(b, 2, r.RangeEnd)
	b = record.AppendUint(b, 3, uint64(r.Limit))
	b = record.AppendUint(b, 4, uint64(r.Revision))
	b = record.AppendUint(b, 5, uint64(r.SortOrder))
	b = record.AppendUint(b, 6, uint64(r.SortTarget))
	b = record.AppendBool(b, 7, r.Serializable)
	b = record.AppendBool(b, 8, r.KeysOnly)
	b = record.AppendBool(b, 9, r.CountOnly)
	b = record.AppendUint(b, 10, uint64(r.MinModRevision))
	b = record.AppendUint(b, 11, uint64(r.MaxModRevision))
	b = record.AppendUint(b, 12, uint64(r.MinCreateRevision))
	return record.AppendUint(b, 13, uint64(r.MaxCreateRevision))
}

func decodeTxn(b []byte, depth int) (*chainfire.TxnRequest, error) {
	t := &chainfire.TxnRequest{}
	if depth > maxDecodeDepth {
		return nil, fmt.Errorf("%w: transactions nest deeper than %d", ErrMalformed, maxDecodeDepth)
	}
	m := messageTxn()
	return t, m.Read(b, func(x record.Field) error {
		if x.Num == 1 {
			c, err := decodeCompare(x.Bytes)
			t.Compare = append(t.Compare, c)
			return err
		}
		o, err := decodeOp(x.Bytes, depth)
		if x.Num == 2 {
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
	err := m.Read(b, func(x record.Field) (err error) {
		var e uint8
		switch x.Num {
		case 1:
			c.Key = x.Bytes
		case 2:
			c.RangeEnd = x.Bytes
		case 3:
			e, err = m.Enum(x, uint8(chainfire.CompareLease))
			c.Target = chainfire.CompareTarget(e)
		case 4:
			e, err = m.Enum(x, uint8(chainfire.CompareNotEqual))
			c.Result = chainfire.CompareResult(e)
		case 5:
			c.Number = int64(x.N)
		case 6:
			c.Value = x.Bytes
		}
		return err
	})
	return c, err
}

func decodeOp(b []byte, depth int) (chainfire.Op, error) {
	var o chainfire.Op
	m := messageOp()
	kinds := 0
	err := m.Read(b, func(x record.Field) error {
		var err error
		kinds++
		switch x.Num {
		case 1:
			o.Range, err = decodeRange(x.Bytes)
		case 2:
			o.Put, err = decodePut(x.Bytes)
		case 3:
			o.Delete, err = decodeDelete(x.Bytes)
		case 4:
			o.Txn, err = decodeTxn(x.Bytes, depth+1)
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
	return r, m.Read(b, func(x record.Field) error {
		var err error
		var e uint8
		switch x.Num {
		case 1:
			r.Key = x.Bytes
		case 2:
			r.RangeEnd = x.Bytes
		case 3:
			r.Limit = int64(x.N)
		case 4:
			r.Revision = int64(x.N)
		case 5:
			e, err = m.Enum(x, uint8(chainfire.SortDescend))
			r.SortOrder = chainfire.SortOrder(e)
		case 6:
			e, err = m.Enum(x, uint8(chainfire.SortByValue))
			r.SortTarget = chainfire.SortTarget(e)
		case 7:
			r.Serializable = x.N == 1
		case 8:
			r.KeysOnly = x.N == 1
		case 9:
			r.CountOnly = x.N == 1
		case 10:
			r.MinModRevision = int64(x.N)
		case 11:
			r.MaxModRevision = int64(x.N)
		case 12:
			r.MinCreateRevision = int64(x.N)
		case 13:
			r.MaxCreateRevision = int64(x.N)
		}
		return err
	})
}
