package machine

import (
	"slices"

	"chainfire"
	"chainfire/auth"
)

// permit refuses what the caller of a command may not do, by the state that the command
// finds. What a member does by itself, as the end of a lease, is nobody's wish and passes.
func (r *round) permit(c *Command) error {
	s := r.cluster.auth
	if !s.Enabled() {
		return nil
	}
	p := permitter{s: s, id: c.Caller, walkLease: r.w.WalkLease}
	switch {
	case c.Auth != nil:
		return refuseNil(s.PermitAdmin(c.Caller))
	case c.Put != nil:
		return p.put(c.Put)
	case c.Delete != nil:
		return refuseNil(p.delete(c.Delete))
	case c.Txn != nil:
		return p.txn(c.Txn)
	case c.RevokeLease != nil && c.RevokeLease.Term == 0:
		return p.lease(c.RevokeLease.ID)
	}
	return nil
}

func refuseNil(err error) error {
	if err == nil {
		return nil
	}
	return refuse(err)
}

// permitter looks at requests for one caller. Its errors are refusals, or the store's.
type permitter struct {
	s         *auth.State
	id        auth.Identity
	walkLease func(id int64, visit func(key []byte) (next []byte, err error)) error
	// passed are the leases that were found to be the caller's: one command finds the same
	// of each, however often it names it.
	passed []int64
}

// put needs the key, its lease, whose other keys end with this one, and for the previous
// version to read it.
func (p *permitter) put(q *chainfire.PutRequest) error {
	if err := p.s.PermitWrite(p.id, q.Key, nil); err != nil {
		return refuse(err)
	}
	if q.Lease != 0 {
		if err := p.lease(q.Lease); err != nil {
			return err
		}
	}
	if q.PrevKV {
		return refuseNil(p.s.PermitRead(p.id, q.Key, nil))
	}
	return nil
}

func (p *permitter) delete(q *chainfire.DeleteRangeRequest) error {
	if err := p.s.PermitWrite(p.id, q.Key, q.RangeEnd); err != nil || !q.PrevKV {
		return err
	}
	return p.s.PermitRead(p.id, q.Key, q.RangeEnd)
}

// lease needs to write every key that is attached to it.
func (p *permitter) lease(id int64) error {
	if p.s.PermitAdmin(p.id) == nil {
		return nil
	}
	if slices.Contains(p.passed, id) {
		return nil
	}
	// The reason is the same for every key, so that it does not matter which one it is.
	err := p.walkLease(id, func(key []byte) ([]byte, error) {
		end, err := p.s.WritableFrom(p.id, key)
		return end, refuseNil(err)
	})
	if err != nil {
		return err
	}
	p.passed = append(p.passed, id)
	return nil
}

// txn needs everything that any way through the transaction does: which one is taken must
// not tell what the comparisons found.
func (p *permitter) txn(q *chainfire.TxnRequest) error {
	for i := range q.Compare {
		if err := p.s.PermitRead(p.id, q.Compare[i].Key, q.Compare[i].RangeEnd); err != nil {
			return refuse(err)
		}
	}
	for _, ops := range [2][]chainfire.Op{q.Success, q.Failure} {
		for i := range ops {
			var err error
			switch o := &ops[i]; {
			case o.Range != nil:
				err = refuseNil(p.s.PermitRead(p.id, o.Range.Key, o.Range.RangeEnd))
			case o.Put != nil:
				err = p.put(o.Put)
			case o.Delete != nil:
				err = refuseNil(p.delete(o.Delete))
			case o.Txn != nil:
				err = p.txn(o.Txn)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// PermitTxn returns nil if a caller may perform a transaction that only reads; else what
// auth.State.PermitRead returns. Any goroutine.
func PermitTxn(s *auth.State, id auth.Identity, q *chainfire.TxnRequest) error {
	if !s.Enabled() {
		return nil
	}
	p := permitter{s: s, id: id}
	if reason, ok := refused(p.txn(q)); ok {
		return reason
	}
	return nil
}
