package machine

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"

	"chainfire"
	"chainfire/mvcc"
)

// model is the key space as a list of whole copies, one for each revision.
type model struct {
	revisions []map[string]chainfire.KeyValue // by revision
	compacted int64
	leases    map[int64]Lease
}

func newModel() *model {
	return &model{revisions: []map[string]chainfire.KeyValue{{}, {}}, leases: map[int64]Lease{}, compacted: mvcc.NeverCompacted}
}

func (m *model) revision() int64 { return int64(len(m.revisions)) - 1 }

// modelTxn is a command at work on a copy of the newest revision.
type modelTxn struct {
	m     *model
	keys  map[string]chainfire.KeyValue
	wrote bool
}

// do performs a command, or returns why it is refused.
func (m *model) do(c *Command) (res Result) {
	if err := c.Validate(); err != nil {
		return Result{Err: err}
	}
	t := &modelTxn{m: m, keys: maps.Clone(m.revisions[m.revision()])}
	switch {
	case c.Put != nil:
		if res.Err = t.refusePut(c.Put); res.Err == nil {
			res.Put = t.put(c.Put)
		}
	case c.Delete != nil:
		res.Delete = t.delete(c.Delete)
	case c.Compact != nil:
		switch rev := c.Compact.Revision; {
		case rev <= m.compacted:
			res.Err = chainfire.ErrCompacted
		case rev > m.revision():
			res.Err = chainfire.ErrFutureRevision
		default:
			m.compacted = rev
			res.Compact = &chainfire.CompactResponse{Header: t.header()}
		}
	case c.Txn != nil:
		chosen := map[*chainfire.TxnRequest]bool{}
		t.choose(c.Txn, chosen)
		if res.Err = t.refuseTxn(c.Txn, chosen); res.Err == nil {
			res.Txn = t.txn(c.Txn, chosen)
		}
	default:
		t.lease(c, &res)
	}
	if t.wrote {
		m.revisions = append(m.revisions, t.keys)
	}
	return res
}

func (t *modelTxn) revision() int64 {
	if t.wrote {
		return t.m.revision() + 1
	}
	return t.m.revision()
}

func (t *modelTxn) header() chainfire.Header { return chainfire.Header{Revision: t.revision()} }

func (t *modelTxn) refusePut(r *chainfire.PutRequest) error {
	if _, ok := t.m.leases[r.Lease]; r.Lease != 0 && !ok {
		return chainfire.ErrLeaseNotFound
	}
	if _, ok := t.keys[string(r.Key)]; !ok && (r.IgnoreValue || r.IgnoreLease) {
		return chainfire.ErrKeyNotFound
	}
	return nil
}

func (t *modelTxn) put(r *chainfire.PutRequest) *chainfire.PutResponse {
	main := t.m.revision() + 1
	old, found := t.keys[string(r.Key)]
	kv := chainfire.KeyValue{
		Key: r.Key, Value: r.Value, Lease: r.Lease, CreateRevision: main, ModRevision: main, Version: 1,
	}
	if found {
		kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
	}
	if r.IgnoreValue {
		kv.Value = old.Value
	}
	if r.IgnoreLease {
		kv.Lease = old.Lease
	}
	t.keys[string(r.Key)] = kv
	t.wrote = true
	resp := &chainfire.PutResponse{Header: t.header()}
	if r.PrevKV && found {
		resp.PrevKV = &old
	}
	return resp
}

// lease performs a command of leases in term 1.
func (t *modelTxn) lease(c *Command, res *Result) {
	leases := t.m.leases
	switch {
	case c.GrantLease != nil:
		q := c.GrantLease
		res.Lease = q.ID
		if _, ok := leases[q.ID]; ok {
			res.Err = chainfire.ErrLeaseExists
			return
		}
		leases[q.ID] = Lease{ID: q.ID, TTL: q.TTL}
		res.GrantLease = &chainfire.LeaseGrantResponse{Header: t.header(), ID: q.ID, TTL: q.TTL}
	case c.RevokeLease != nil:
		id := c.RevokeLease.ID
		res.Lease = id
		if c.RevokeLease.Term > 1 {
			res.Err = ErrLeaseProposer
			return
		}
		if _, ok := leases[id]; !ok {
			res.Err = chainfire.ErrLeaseNotFound
			return
		}
		delete(leases, id)
		for _, kv := range within(t.keys, []byte{0}, []byte{0}) {
			if kv.Lease == id {
				delete(t.keys, string(kv.Key))
				t.wrote = true
			}
		}
		res.RevokeLease = &chainfire.LeaseRevokeResponse{Header: t.header()}
	case c.CheckpointLeases != nil:
		if c.CheckpointLeases.Term == 1 {
			res.Checkpoints = c.CheckpointLeases.Leases
		}
		if c.CheckpointLeases.Term != 1 {
			res.Err = ErrLeaseProposer
			return
		}
		for _, p := range c.CheckpointLeases.Leases {
			if l, ok := leases[p.ID]; ok {
				l.Remaining = min(p.Remaining, l.TTL)
				leases[p.ID] = l
			}
		}
	}
}

// attached lists the keys of every lease, in order.
func (m *model) attached() map[int64][]string {
	out := map[int64][]string{}
	for id := range m.leases {
		out[id] = nil
	}
	for _, kv := range within(m.revisions[m.revision()], []byte{0}, []byte{0}) {
		if kv.Lease != 0 {
			out[kv.Lease] = append(out[kv.Lease], string(kv.Key))
		}
	}
	return out
}

func within(keys map[string]chainfire.KeyValue, from, end []byte) []chainfire.KeyValue {
	var out []chainfire.KeyValue
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if k == string(from) && len(end) == 0 ||
			len(end) > 0 && k >= string(from) && (string(end) == "\x00" || k < string(end)) {
			out = append(out, keys[k])
		}
	}
	return out
}

func (t *modelTxn) delete(r *chainfire.DeleteRangeRequest) *chainfire.DeleteRangeResponse {
	resp := &chainfire.DeleteRangeResponse{}
	for _, kv := range within(t.keys, r.Key, r.RangeEnd) {
		delete(t.keys, string(kv.Key))
		t.wrote = true
		resp.Deleted++
		if r.PrevKV {
			resp.PrevKVs = append(resp.PrevKVs, kv)
		}
	}
	resp.Header = t.header()
	return resp
}

// rangeKV knows limits but no sorting; that is for the store's own test.
func (t *modelTxn) rangeKV(r *chainfire.RangeRequest) *chainfire.RangeResponse {
	keys := t.keys
	if r.Revision > 0 {
		keys = t.m.revisions[r.Revision]
	}
	resp := &chainfire.RangeResponse{Header: t.header(), KVs: within(keys, r.Key, r.RangeEnd)}
	resp.Count = int64(len(resp.KVs))
	if r.Limit > 0 && resp.Count > r.Limit {
		resp.More, resp.KVs = true, resp.KVs[:r.Limit]
	}
	return resp
}

func (t *modelTxn) holds(c *chainfire.Compare) bool {
	kvs := within(t.keys, c.Key, c.RangeEnd)
	if len(kvs) == 0 {
		if c.Target == chainfire.CompareValue {
			return false
		}
		kvs = append(kvs, chainfire.KeyValue{})
	}
	return !slices.ContainsFunc(kvs, func(kv chainfire.KeyValue) bool {
		o := 0
		switch c.Target {
		case chainfire.CompareVersion:
			o = cmp.Compare(kv.Version, c.Number)
		case chainfire.CompareCreate:
			o = cmp.Compare(kv.CreateRevision, c.Number)
		case chainfire.CompareMod:
			o = cmp.Compare(kv.ModRevision, c.Number)
		case chainfire.CompareLease:
			o = cmp.Compare(kv.Lease, c.Number)
		case chainfire.CompareValue:
			o = bytes.Compare(kv.Value, c.Value)
		}
		want := map[chainfire.CompareResult]bool{
			chainfire.CompareEqual: o == 0, chainfire.CompareGreater: o > 0,
			chainfire.CompareLess: o < 0, chainfire.CompareNotEqual: o != 0,
		}
		return !want[c.Result]
	})
}

func (t *modelTxn) choose(q *chainfire.TxnRequest, chosen map[*chainfire.TxnRequest]bool) {
	chosen[q] = true
	for i := range q.Compare {
		chosen[q] = chosen[q] && t.holds(&q.Compare[i])
	}
	for _, o := range branch(q, chosen) {
		if o.Txn != nil {
			t.choose(o.Txn, chosen)
		}
	}
}

func branch(q *chainfire.TxnRequest, chosen map[*chainfire.TxnRequest]bool) []chainfire.Op {
	if chosen[q] {
		return q.Success
	}
	return q.Failure
}

func (t *modelTxn) refuseTxn(q *chainfire.TxnRequest, chosen map[*chainfire.TxnRequest]bool) error {
	for _, o := range branch(q, chosen) {
		var err error
		switch {
		case o.Range != nil && o.Range.Revision > t.m.revision():
			err = chainfire.ErrFutureRevision
		case o.Range != nil && o.Range.Revision != 0 && o.Range.Revision < t.m.compacted:
			err = chainfire.ErrCompacted
		case o.Put != nil:
			err = t.refusePut(o.Put)
		case o.Txn != nil:
			err = t.refuseTxn(o.Txn, chosen)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *modelTxn) txn(q *chainfire.TxnRequest, chosen map[*chainfire.TxnRequest]bool) *chainfire.TxnResponse {
	resp := &chainfire.TxnResponse{Succeeded: chosen[q]}
	for _, o := range branch(q, chosen) {
		var out chainfire.OpResponse
		switch {
		case o.Range != nil:
			out.Range = t.rangeKV(o.Range)
		case o.Put != nil:
			out.Put = t.put(o.Put)
		case o.Delete != nil:
			out.Delete = t.delete(o.Delete)
		case o.Txn != nil:
			out.Txn = t.txn(o.Txn, chosen)
		}
		resp.Responses = append(resp.Responses, out)
	}
	resp.Header = t.header()
	return resp
}

// sameError compares what two results say, sentinel by sentinel.
func sameError(a, b error) bool {
	return errors.Is(a, b) || errors.Is(b, a) || a != nil && b != nil && a.Error() == b.Error()
}
