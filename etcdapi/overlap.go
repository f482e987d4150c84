package etcdapi

import (
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// keySpan is an interval of keys that a delete names: [begin, end).
type keySpan struct{ begin, end string }

// spanSet is a set of keys as sorted, disjoint intervals.
type spanSet []keySpan

// has reports whether the set holds the key.
func (s spanSet) has(key string) bool {
	// The first interval that ends after the key is the only one to look at.
	i, _ := slices.BinarySearchFunc(s, key, func(v keySpan, k string) int {
		if v.end <= k {
			return -1
		}
		return 1
	})
	return i < len(s) && s[i].begin <= key
}

// union returns the keys of both sets, in time linear in their sizes.
func (s spanSet) union(t spanSet) spanSet {
	if len(s) == 0 {
		return t
	}
	if len(t) == 0 {
		return s
	}
	out := make(spanSet, 0, len(s)+len(t))
	for len(s) > 0 || len(t) > 0 {
		from := &s
		if len(s) == 0 || len(t) > 0 && t[0].begin < s[0].begin {
			from = &t
		}
		out = out.grow((*from)[0])
		*from = (*from)[1:]
	}
	return out
}

// grow appends an interval that begins no earlier than the last one.
func (s spanSet) grow(v keySpan) spanSet {
	if n := len(s); n > 0 && v.begin <= s[n-1].end {
		s[n-1].end = max(s[n-1].end, v.end)
		return s
	}
	return append(s, v)
}

// deletedBy collects what the deletes of one level name. An interval whose end
// does not come after its begin holds nothing; etcd counts the end "\x00", which
// stands for all keys from the begin on, as such, and so accepts a transaction
// that deletes from a key on and writes one of the keys.
func deletedBy(ops []*pb.RequestOp) spanSet {
	var spans []keySpan
	for _, op := range ops {
		d := op.GetRequestDeleteRange()
		if d == nil {
			continue
		}
		v := keySpan{begin: string(d.Key), end: string(d.RangeEnd)}
		if len(d.RangeEnd) == 0 {
			v.end = v.begin + "\x00"
		}
		if v.begin < v.end {
			spans = append(spans, v)
		}
	}
	slices.SortFunc(spans, func(a, b keySpan) int { return strings.Compare(a.begin, b.begin) })
	var out spanSet
	for _, v := range spans {
		out = out.grow(v)
	}
	return out
}

// touched is what a list of operations writes and deletes.
type touched struct {
	puts map[string]struct{}
	dels spanSet
}

func (t *touched) put(key string) error {
	if _, dup := t.puts[key]; dup || t.dels.has(key) {
		return rpctypes.ErrGRPCDuplicateKey
	}
	if t.puts == nil {
		t.puts = make(map[string]struct{})
	}
	t.puts[key] = struct{}{}
	return nil
}

// checkOverlap refuses a transaction that may write a key twice or write a key
// that it also deletes. It is called after checkTxn, which bounds the work.
func checkOverlap(r *pb.TxnRequest) error {
	if _, err := touchedBy(r.GetSuccess()); err != nil {
		return err
	}
	_, err := touchedBy(r.GetFailure())
	return err
}

// touchedBy follows the order of etcd's check: the deletes of this level, then
// the nested transactions one after the other, then the writes of this level. A
// nested delete is therefore held against the writes that come after it in this
// order, not against those of a nested transaction before it.
func touchedBy(ops []*pb.RequestOp) (touched, error) {
	t := touched{dels: deletedBy(ops)}
	for _, op := range ops {
		nested := op.GetRequestTxn()
		if nested == nil {
			continue
		}
		if err := t.nest(nested); err != nil {
			return touched{}, err
		}
	}
	for _, op := range ops {
		if p := op.GetRequestPut(); p != nil {
			if err := t.put(string(p.Key)); err != nil {
				return touched{}, err
			}
		}
	}
	return t, nil
}

// nest adds a nested transaction, of which only one branch will run: the same
// key may be written in both.
func (t *touched) nest(r *pb.TxnRequest) error {
	then, err := touchedBy(r.GetSuccess())
	if err != nil {
		return err
	}
	otherwise, err := touchedBy(r.GetFailure())
	if err != nil {
		return err
	}
	for k := range then.puts {
		if err := t.put(k); err != nil {
			return err
		}
	}
	for k := range otherwise.puts {
		if _, both := then.puts[k]; both {
			continue
		}
		if err := t.put(k); err != nil {
			return err
		}
	}
	t.dels = t.dels.union(then.dels).union(otherwise.dels)
	return nil
}
