package chainfire

import (
	"errors"
	"slices"
	"strings"
)

// ErrInvalidCompare refuses a comparison of no known target or relation.
var ErrInvalidCompare = errors.New("invalid compare in txn request")

// Bounds of one transaction, over all its branches. They are far above what the
// protocols let through; every member refuses the same requests by them.
const (
	// MaxTxnDepth is how deep transactions may nest, the outermost counted.
	MaxTxnDepth = 32
	// MaxTxnParts is how many comparisons and operations there may be in all.
	MaxTxnParts = 1 << 14
)

// Validate checks what a range request must fulfil whatever the key space
// holds.
func (r *RangeRequest) Validate() error {
	if len(r.Key) == 0 && len(r.RangeEnd) == 0 {
		return ErrEmptyKey
	}
	if r.SortOrder > SortDescend || r.SortTarget > SortByValue {
		return ErrInvalidSortOption
	}
	return nil
}

// Validate checks what a put must fulfil whatever the key space holds.
func (r *PutRequest) Validate() error {
	switch {
	case len(r.Key) == 0:
		return ErrEmptyKey
	case r.IgnoreValue && len(r.Value) > 0:
		return ErrValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return ErrLeaseProvided
	}
	return nil
}

// Validate checks what a delete must fulfil whatever the key space holds.
func (r *DeleteRangeRequest) Validate() error {
	if len(r.Key) == 0 && len(r.RangeEnd) == 0 {
		return ErrEmptyKey
	}
	return nil
}

// Validate checks what a transaction must fulfil whatever the key space holds:
// each of its parts is valid, it is not too large, and no way through it writes
// one key twice. It returns the first sentinel that applies; an operation of no
// kind is ErrKeyNotFound, as in etcd.
func (t *TxnRequest) Validate() error {
	parts := 0
	if err := t.validate(1, &parts); err != nil {
		return err
	}
	if t.IsReadOnly() {
		return nil
	}
	for _, ops := range [2][]Op{t.Success, t.Failure} {
		if _, _, err := writesOf(ops); err != nil {
			return err
		}
	}
	return nil
}

func (t *TxnRequest) validate(depth int, parts *int) error {
	*parts += len(t.Compare) + len(t.Success) + len(t.Failure)
	if depth > MaxTxnDepth || *parts > MaxTxnParts {
		return ErrTooManyOps
	}
	for i := range t.Compare {
		c := &t.Compare[i]
		if len(c.Key) == 0 && len(c.RangeEnd) == 0 {
			return ErrEmptyKey
		}
		if c.Target > CompareLease || c.Result > CompareNotEqual {
			return ErrInvalidCompare
		}
	}
	for _, ops := range [2][]Op{t.Success, t.Failure} {
		for i := range ops {
			if err := ops[i].validate(depth, parts); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Op) validate(depth int, parts *int) error {
	switch {
	case o.Range != nil:
		return o.Range.Validate()
	case o.Put != nil:
		return o.Put.Validate()
	case o.Delete != nil:
		return o.Delete.Validate()
	case o.Txn != nil:
		return o.Txn.validate(depth+1, parts)
	}
	return ErrKeyNotFound
}

// span is an interval of keys [from, to).
type span struct{ from, to string }

// spanSet is a set of keys as spans in order, none of which touch.
type spanSet []span

// span is what a deletion counts for when a transaction is checked. The end "\x00",
// which stands for all keys from the first on, is taken for a key, as by etcd, so that
// the span is empty: such a deletion may meet a put of the same transaction.
func (r *DeleteRangeRequest) span() span {
	if len(r.RangeEnd) == 0 {
		return span{from: string(r.Key), to: string(r.Key) + "\x00"}
	}
	return span{from: string(r.Key), to: string(r.RangeEnd)}
}

func (s spanSet) contains(key string) bool {
	// The first span that ends after the key is the only one to look at.
	i, _ := slices.BinarySearchFunc(s, key, func(x span, key string) int {
		if x.to <= key {
			return -1
		}
		return 1
	})
	return i < len(s) && s[i].from <= key
}

// grow appends a span that begins no earlier than the last one.
func (s spanSet) grow(x span) spanSet {
	if n := len(s); n > 0 && x.from <= s[n-1].to {
		s[n-1].to = max(s[n-1].to, x.to)
		return s
	}
	return append(s, x)
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
		next := &s
		if len(s) == 0 || len(t) > 0 && t[0].from < s[0].from {
			next = &t
		}
		out = out.grow((*next)[0])
		*next = (*next)[1:]
	}
	return out
}

// deletedBy is what the deletions among the operations of one level name.
func deletedBy(ops []Op) spanSet {
	var spans []span
	for i := range ops {
		if ops[i].Delete == nil {
			continue
		}
		if x := ops[i].Delete.span(); x.from < x.to {
			spans = append(spans, x)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return strings.Compare(a.from, b.from) })
	var out spanSet
	for _, x := range spans {
		out = out.grow(x)
	}
	return out
}

// writesOf lists the keys that a list of operations puts and the intervals that
// it deletes, or returns ErrDuplicateKey for a key written twice. The two
// branches of a nested transaction may put the same key. The order of the checks
// is etcd's: a nested delete counts against what comes after it.
func writesOf(ops []Op) (puts map[string]struct{}, dels spanSet, err error) {
	dels = deletedBy(ops)
	puts = map[string]struct{}{}
	for i := range ops {
		if ops[i].Txn == nil {
			continue
		}
		if dels, err = nestedWrites(ops[i].Txn, puts, dels); err != nil {
			return nil, nil, err
		}
	}
	for i := range ops {
		if ops[i].Put == nil {
			continue
		}
		key := string(ops[i].Put.Key)
		if _, twice := puts[key]; twice || dels.contains(key) {
			return nil, nil, ErrDuplicateKey
		}
		puts[key] = struct{}{}
	}
	return puts, dels, nil
}

// nestedWrites adds what a nested transaction may write.
func nestedWrites(t *TxnRequest, puts map[string]struct{}, dels spanSet) (spanSet, error) {
	thenPuts, thenDels, err := writesOf(t.Success)
	if err != nil {
		return nil, err
	}
	elsePuts, elseDels, err := writesOf(t.Failure)
	if err != nil {
		return nil, err
	}
	for _, branch := range [2]map[string]struct{}{thenPuts, elsePuts} {
		for key := range branch {
			if _, twice := puts[key]; twice || dels.contains(key) {
				return nil, ErrDuplicateKey
			}
		}
	}
	for _, branch := range [2]map[string]struct{}{thenPuts, elsePuts} {
		for key := range branch {
			puts[key] = struct{}{}
		}
	}
	return dels.union(thenDels).union(elseDels), nil
}
