package chainfire

// KeyValue is one version of one key.
type KeyValue struct {
	Key   []byte
	Value []byte
	// CreateRevision is the revision in which this life of the key began.
	CreateRevision int64
	// ModRevision is the revision of this version.
	ModRevision int64
	// Version counts the writes of this life of the key, from 1.
	Version int64
	// Lease is the lease the key is attached to, or 0.
	Lease int64
}

// SortOrder orders the answer of a range.
type SortOrder uint8

// The sort orders; SortNone is the order of the key space.
const (
	SortNone SortOrder = iota
	SortAscend
	SortDescend
)

// SortTarget is the field that a range is sorted by.
type SortTarget uint8

// The sort targets.
const (
	SortByKey SortTarget = iota
	SortByVersion
	SortByCreate
	SortByMod
	SortByValue
)

// An interval of keys is written as Key and RangeEnd, as in etcd: an empty
// RangeEnd is the key alone; RangeEnd "\x00" is every key from Key on; anything
// else is the half-open interval [Key, RangeEnd). An empty Key with RangeEnd
// "\x00", or Key "\x00" with RangeEnd "\x00", is the whole key space.

// RangeRequest reads one key or an interval.
type RangeRequest struct {
	Key, RangeEnd []byte
	// Limit bounds the number of keys returned; 0 is no bound.
	Limit int64
	// Revision reads the key space as it was then; 0 or less is now.
	Revision   int64
	SortOrder  SortOrder
	SortTarget SortTarget
	// Serializable reads this member's applied state without a quorum round.
	Serializable bool
	// KeysOnly leaves out the values and, unless the keys are sorted by them, the
	// leases.
	KeysOnly  bool
	CountOnly bool
	// The revision filters drop keys outside the bounds; 0 is no bound. They
	// act after Count is taken, as in etcd.
	MinModRevision, MaxModRevision       int64
	MinCreateRevision, MaxCreateRevision int64
}

// RangeResponse is the answer to a range.
type RangeResponse struct {
	Header Header
	KVs    []KeyValue
	// More says that the limit cut the answer.
	More bool
	// Count is the number of keys in the interval, whatever the limit.
	Count int64
}

// PutRequest writes one key.
type PutRequest struct {
	Key, Value []byte
	Lease      int64
	// PrevKV asks for the version that the put replaced.
	PrevKV bool
	// IgnoreValue keeps the current value, IgnoreLease the current lease; both
	// need the key to exist.
	IgnoreValue, IgnoreLease bool
}

// PutResponse is the answer to a put.
type PutResponse struct {
	Header Header
	PrevKV *KeyValue
}

// DeleteRangeRequest removes one key or an interval.
type DeleteRangeRequest struct {
	Key, RangeEnd []byte
	PrevKV        bool
}

// DeleteRangeResponse is the answer to a delete.
type DeleteRangeResponse struct {
	Header  Header
	Deleted int64
	PrevKVs []KeyValue
}

// CompareResult is the relation a comparison asks for.
type CompareResult uint8

// The relations.
const (
	CompareEqual CompareResult = iota
	CompareGreater
	CompareLess
	CompareNotEqual
)

// CompareTarget is the field a comparison looks at.
type CompareTarget uint8

// The fields.
const (
	CompareVersion CompareTarget = iota
	CompareCreate
	CompareMod
	CompareValue
	CompareLease
)

// Compare is one condition of a transaction. With a RangeEnd it must hold for
// every key of the interval. A missing key compares as version 0, create and
// mod revision 0 and lease 0; a comparison of its value fails.
type Compare struct {
	Key, RangeEnd []byte
	Target        CompareTarget
	Result        CompareResult
	// Number is the right-hand side for every target but CompareValue.
	Number int64
	Value  []byte
}

// Op is one operation of a transaction: exactly one field is set.
type Op struct {
	Range  *RangeRequest
	Put    *PutRequest
	Delete *DeleteRangeRequest
	Txn    *TxnRequest
}

// TxnRequest performs Success when every comparison holds, else Failure.
type TxnRequest struct {
	Compare          []Compare
	Success, Failure []Op
}

// OpResponse answers one Op: exactly the field of the operation is set.
type OpResponse struct {
	Range  *RangeResponse
	Put    *PutResponse
	Delete *DeleteRangeResponse
	Txn    *TxnResponse
}

// TxnResponse is the answer to a transaction.
type TxnResponse struct {
	Header    Header
	Succeeded bool
	Responses []OpResponse
}

// CompactRequest drops what was superseded at or before Revision.
type CompactRequest struct {
	Revision int64
	// Physical waits until the space is given back on this member.
	Physical bool
}

// CompactResponse is the answer to a compaction.
type CompactResponse struct {
	Header Header
}

// IsReadOnly reports whether the transaction can write nothing in any branch.
func (t *TxnRequest) IsReadOnly() bool {
	for _, ops := range [2][]Op{t.Success, t.Failure} {
		for i := range ops {
			switch o := &ops[i]; {
			case o.Put != nil, o.Delete != nil:
				return false
			case o.Txn != nil && !o.Txn.IsReadOnly():
				return false
			}
		}
	}
	return true
}

// IsSerializable reports whether every read of a read-only transaction may be
// answered from this member's applied state.
func (t *TxnRequest) IsSerializable() bool {
	for _, ops := range [2][]Op{t.Success, t.Failure} {
		for i := range ops {
			switch o := &ops[i]; {
			case o.Range != nil && !o.Range.Serializable:
				return false
			case o.Txn != nil && !o.Txn.IsSerializable():
				return false
			}
		}
	}
	return true
}
