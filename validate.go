package chainfire

import (
	"errors"
	"slices"
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

// reach is the place of the first span that ends at or after key.
func (s spanSet) reach(key string) int {
	i, _ := slices.BinarySearchFunc(s, key, func(x span, key string) int {
		if x.to < key {
			return -1
		}
		return 1
	})
	return i
}

func (s spanSet) contains(key string) bool {
	i := s.reach(key)
	if i < len(s) && s[i].to == key {
		i++ // it ends right before the key
	}
	return i < len(s) && s[i].from <= key
}

// with is the set together with one more span.
func (s spanSet) with(x span) spanSet {
	if x.from >= x.to {
		return s
	}
	i := s.reach(x.from)
	j := i
	for ; j < len(s) && s[j].from <= x.to; j++ {
		x.from = min(x.from, s[j].from)
		x.to = max(x.to, s[j].to)
	}
	return slices.Replace(s, i, j, x)
}

// writesOf lists the keys that a list of operations puts and the intervals that
// it deletes, or returns ErrDuplicateKey for a key written twice. The two
// branches of a nested transaction may put the same key. The order of the checks
// is etcd's: a nested delete counts against what comes after it.
func writesOf(ops []Op) (puts map[string]struct{}, dels spanSet, err error) {
	for i := range ops {
		if ops[i].Delete != nil {
			dels = dels.with(ops[i].Delete.span())
		}
	}
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
	for _, branch := range [2]spanSet{thenDels, elseDels} {
		for _, x := range branch {
			dels = dels.with(x)
		}
	}
	return dels, nil
}
