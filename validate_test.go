package chainfire_test

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"chainfire"
)

func put(key string) chainfire.Op {
	return chainfire.Op{Put: &chainfire.PutRequest{Key: []byte(key)}}
}

func del(key, end string) chainfire.Op {
	return chainfire.Op{Delete: &chainfire.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)}}
}

func nested(success, failure []chainfire.Op) chainfire.Op {
	return chainfire.Op{Txn: &chainfire.TxnRequest{Success: success, Failure: failure}}
}

func TestTxnThatWritesAKeyTwiceIsRefused(t *testing.T) {
	type ops = []chainfire.Op
	for name, c := range map[string]struct {
		success ops
		want    error
	}{
		"two puts":                              {ops{put("a"), put("a")}, chainfire.ErrDuplicateKey},
		"two keys":                              {ops{put("a"), put("b")}, nil},
		"put and delete":                        {ops{put("a"), del("a", "")}, chainfire.ErrDuplicateKey},
		"put in deleted interval":               {ops{del("a", "c"), put("b")}, chainfire.ErrDuplicateKey},
		"put at the end of an interval":         {ops{del("a", "c"), put("c")}, nil},
		"put after an open interval":            {ops{del("a", "\x00"), put("zz")}, nil},
		"two deletes":                           {ops{del("a", "c"), del("b", "d")}, nil},
		"both branches of one nested":           {ops{nested(ops{put("a")}, ops{put("a")})}, nil},
		"two nested":                            {ops{nested(ops{put("a")}, nil), nested(nil, ops{put("a")})}, chainfire.ErrDuplicateKey},
		"nested put, outer put":                 {ops{nested(ops{put("a")}, nil), put("a")}, chainfire.ErrDuplicateKey},
		"nested delete, outer put":              {ops{nested(nil, ops{del("a", "b")}), put("a")}, chainfire.ErrDuplicateKey},
		"outer delete, nested put":              {ops{del("a", "b"), nested(ops{put("a")}, nil)}, chainfire.ErrDuplicateKey},
		"nested delete, then nested put":        {ops{nested(ops{del("a", "")}, nil), nested(ops{put("a")}, nil)}, chainfire.ErrDuplicateKey},
		"nested put, then nested delete":        {ops{nested(ops{put("a")}, nil), nested(ops{del("a", "")}, nil)}, nil},
		"key between deleted intervals":         {ops{del("a", "b"), del("c", "d"), put("b")}, nil},
		"one of two overlapping intervals":      {ops{del("a", "m"), del("b", "c"), put("k")}, chainfire.ErrDuplicateKey},
		"interval that is upside down":          {ops{del("c", "a"), put("b")}, nil},
		"both branches and this level":          {ops{nested(ops{put("a")}, ops{put("a")}), put("a")}, chainfire.ErrDuplicateKey},
		"deletes of both branches":              {ops{nested(ops{del("a", "")}, ops{del("b", "")}), put("b")}, chainfire.ErrDuplicateKey},
		"a branch deletes what the other puts":  {ops{nested(ops{put("a")}, ops{del("a", "")})}, nil},
		"two levels down":                       {ops{nested(ops{nested(ops{put("a")}, nil)}, nil), put("a")}, chainfire.ErrDuplicateKey},
		"twice inside the second nested branch": {ops{nested(nil, ops{put("a"), put("a")})}, chainfire.ErrDuplicateKey},
		"operation of no kind":                  {ops{{}}, chainfire.ErrKeyNotFound},
		"empty key":                             {ops{put("")}, chainfire.ErrEmptyKey},
	} {
		for _, txn := range []chainfire.TxnRequest{{Success: c.success}, {Failure: c.success}} {
			if err := txn.Validate(); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
	}
}

func TestTxnOutOfBoundsIsRefused(t *testing.T) {
	deep := chainfire.TxnRequest{}
	for range chainfire.MaxTxnDepth {
		inner := deep
		deep = chainfire.TxnRequest{Success: []chainfire.Op{{Txn: &inner}}}
	}
	if err := deep.Validate(); !errors.Is(err, chainfire.ErrTooManyOps) {
		t.Errorf("too deep: %v", err)
	}
	wide := chainfire.TxnRequest{Compare: make([]chainfire.Compare, chainfire.MaxTxnParts+1)}
	if err := wide.Validate(); !errors.Is(err, chainfire.ErrTooManyOps) {
		t.Errorf("too wide: %v", err)
	}
}

func TestOverlapOfPutsAndDeletesIsFoundWhereverItIs(t *testing.T) {
	keys := []string{"a", "a\x00", "b", "bb", "c", "d"}
	rapid.Check(t, func(t *rapid.T) {
		var ops []chainfire.Op
		var covered []string
		for range rapid.IntRange(0, 5).Draw(t, "deletes") {
			from := rapid.SampledFrom(keys).Draw(t, "from")
			end := rapid.SampledFrom(append([]string{"", "\x00"}, keys...)).Draw(t, "end")
			if inner, second := del(from, end), rapid.Bool().Draw(t, "second branch"); rapid.Bool().Draw(t, "nested") {
				ops = append(ops, nested(nil, []chainfire.Op{inner}))
				if !second {
					ops[len(ops)-1] = nested([]chainfire.Op{inner}, nil)
				}
			} else {
				ops = append(ops, inner)
			}
			for _, k := range keys {
				if k == from && end == "" || k >= from && k < end {
					covered = append(covered, k)
				}
			}
		}
		key := rapid.SampledFrom(keys).Draw(t, "put")
		txn := chainfire.TxnRequest{Success: append(ops, put(key))}
		var want error
		if slices.Contains(covered, key) {
			want = chainfire.ErrDuplicateKey
		}
		if err := txn.Validate(); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	})
}
