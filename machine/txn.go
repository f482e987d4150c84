package machine

import (
	"bytes"
	"cmp"
	"errors"

	"chainfire"
)

// reader is the key space that a transaction looks at: pinned, or inside a
// round of writes.
type reader interface {
	Range(r *chainfire.RangeRequest) (*chainfire.RangeResponse, error)
	Revision() int64
	CompactRevision() int64
}

// refusal marks an error that is the same on every member: the command changes
// nothing and its result says why. Any other error stops the member.
type refusal struct{ err error }

func (r refusal) Error() string { return r.err.Error() }
func (r refusal) Unwrap() error { return r.err }

func refuse(err error) error { return refusal{err} }

// refused takes a refusal apart; ok is false for any other error.
func refused(err error) (reason error, ok bool) {
	var r refusal
	if errors.As(err, &r) {
		return r.err, true
	}
	return nil, false
}

// txnPath is the way that comparisons choose through a transaction and those
// nested in it. All of them look at the state before the first operation.
type txnPath struct {
	ops       []chainfire.Op
	succeeded bool
	// nested is the way through each operation that is a transaction.
	nested []*txnPath
}

func choose(r reader, t *chainfire.TxnRequest) (*txnPath, error) {
	p := &txnPath{ops: t.Failure}
	ok, err := holdAll(r, t.Compare)
	if err != nil {
		return nil, err
	}
	if ok {
		p.ops, p.succeeded = t.Success, true
	}
	for i := range p.ops {
		if p.ops[i].Txn == nil {
			continue
		}
		n, err := choose(r, p.ops[i].Txn)
		if err != nil {
			return nil, err
		}
		p.nested = append(p.nested, n)
	}
	return p, nil
}

func holdAll(r reader, l []chainfire.Compare) (bool, error) {
	for i := range l {
		ok, err := holds(r, &l[i])
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// holds evaluates a comparison over all keys of its interval. When there are
// none it looks at a key that never was, whose value compares to nothing.
func holds(r reader, c *chainfire.Compare) (bool, error) {
	resp, err := r.Range(&chainfire.RangeRequest{
		Key: c.Key, RangeEnd: c.RangeEnd, KeysOnly: c.Target != chainfire.CompareValue && c.Target != chainfire.CompareLease,
	})
	if err != nil {
		return false, err
	}
	if len(resp.KVs) == 0 {
		return c.Target != chainfire.CompareValue && holdsFor(c, &chainfire.KeyValue{}), nil
	}
	for i := range resp.KVs {
		if !holdsFor(c, &resp.KVs[i]) {
			return false, nil
		}
	}
	return true, nil
}

func holdsFor(c *chainfire.Compare, kv *chainfire.KeyValue) bool {
	var order int
	switch c.Target {
	case chainfire.CompareVersion:
		order = cmp.Compare(kv.Version, c.Number)
	case chainfire.CompareCreate:
		order = cmp.Compare(kv.CreateRevision, c.Number)
	case chainfire.CompareMod:
		order = cmp.Compare(kv.ModRevision, c.Number)
	case chainfire.CompareLease:
		order = cmp.Compare(kv.Lease, c.Number)
	case chainfire.CompareValue:
		order = bytes.Compare(kv.Value, c.Value)
	}
	switch c.Result {
	case chainfire.CompareEqual:
		return order == 0
	case chainfire.CompareGreater:
		return order > 0
	case chainfire.CompareLess:
		return order < 0
	default:
		return order != 0
	}
}

// check refuses, before anything is written, what would fail on the way.
func (p *txnPath) check(r reader, put func(*chainfire.PutRequest) error) error {
	nested := p.nested
	for i := range p.ops {
		var err error
		switch o := &p.ops[i]; {
		case o.Range != nil && o.Range.Revision > r.Revision():
			err = refuse(chainfire.ErrFutureRevision)
		case o.Range != nil && o.Range.Revision != 0 && o.Range.Revision < r.CompactRevision():
			err = refuse(chainfire.ErrCompacted)
		case o.Put != nil:
			err = put(o.Put)
		case o.Txn != nil:
			err = nested[0].check(r, put)
			nested = nested[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writes performs the writes of a transaction.
type writes interface {
	put(*chainfire.PutRequest) (*chainfire.PutResponse, error)
	delete(*chainfire.DeleteRangeRequest) (*chainfire.DeleteRangeResponse, error)
}

// run performs the operations on the way, in order; w is nil for a transaction
// that has no writes.
func (p *txnPath) run(r reader, w writes) (*chainfire.TxnResponse, error) {
	resp := &chainfire.TxnResponse{Succeeded: p.succeeded, Responses: make([]chainfire.OpResponse, len(p.ops))}
	nested := p.nested
	for i := range p.ops {
		var err error
		out := &resp.Responses[i]
		switch o := &p.ops[i]; {
		case o.Range != nil:
			out.Range, err = r.Range(o.Range)
		case o.Put != nil:
			out.Put, err = w.put(o.Put)
		case o.Delete != nil:
			out.Delete, err = w.delete(o.Delete)
		case o.Txn != nil:
			out.Txn, err = nested[0].run(r, w)
			nested = nested[1:]
		}
		if err != nil {
			return nil, err
		}
	}
	resp.Header.Revision = r.Revision()
	return resp, nil
}
