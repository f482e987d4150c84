package etcdapi

import (
	"fmt"
	"math/rand/v2"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

func TestKeyIsWrittenOnceInATransaction(t *testing.T) {
	nested := func(then ...*pb.RequestOp) *pb.RequestOp { return opTxn(then, nil) }
	for _, tc := range []struct {
		name string
		ops  []*pb.RequestOp
		dup  bool
	}{
		{"two keys", ops(opPut("a"), opPut("b")), false},
		{"one key twice", ops(opPut("a"), opPut("a")), true},
		{"key and its delete", ops(opPut("a"), opDelete("a", "")), true},
		{"key and a delete of the next key", ops(opPut("a"), opDelete("a\x00", "")), false},
		{"key inside a deleted interval", ops(opDelete("a", "c"), opPut("b")), true},
		{"key at the begin of a deleted interval", ops(opDelete("a", "c"), opPut("a")), true},
		{"key at the end of a deleted interval", ops(opDelete("a", "c"), opPut("c")), false},
		{"key before a deleted interval", ops(opDelete("b", "c"), opPut("a")), false},
		{"key between deleted intervals", ops(opDelete("a", "b"), opDelete("c", "d"), opPut("b")), false},
		{"key in one of two overlapping intervals", ops(opDelete("a", "m"), opDelete("b", "c"), opPut("k")), true},
		{"deletes may overlap", ops(opDelete("a", "m"), opDelete("b", "z")), false},
		{"etcd does not see a delete from a key on", ops(opDelete("a", "\x00"), opPut("b")), false},
		{"interval that is upside down", ops(opDelete("c", "a"), opPut("b")), false},
		{"nested write of the same key", ops(nested(opPut("a")), opPut("a")), true},
		{"two nested writes of the same key", ops(nested(opPut("a")), nested(opPut("a"))), true},
		{"both branches write the key", ops(opTxn(ops(opPut("a")), ops(opPut("a")))), false},
		{"both branches and this level", ops(opTxn(ops(opPut("a")), ops(opPut("a"))), opPut("a")), true},
		{"second branch writes an earlier key", ops(nested(opPut("a")), opTxn(nil, ops(opPut("a")))), true},
		{"nested write below a delete", ops(opDelete("a", "c"), nested(opPut("b"))), true},
		{"second branch below a delete", ops(opDelete("a", "c"), opTxn(nil, ops(opPut("b")))), true},
		{"nested delete of a key of this level", ops(nested(opDelete("a", "")), opPut("a")), true},
		{"nested delete before a nested write", ops(nested(opDelete("a", "")), nested(opPut("a"))), true},
		{"nested delete after a nested write", ops(nested(opPut("a")), nested(opDelete("a", ""))), false},
		{"deletes of both branches", ops(opTxn(ops(opDelete("a", "")), ops(opDelete("b", ""))), opPut("b")), true},
		{"one branch deletes what the other writes", ops(opTxn(ops(opPut("a")), ops(opDelete("a", "")))), false},
		{"two levels down", ops(nested(nested(opPut("a"))), opPut("a")), true},
		{"duplicate inside a nested branch", ops(opTxn(nil, ops(opPut("a"), opPut("a")))), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for branch, r := range map[string]*pb.TxnRequest{"success": {Success: tc.ops}, "failure": {Failure: tc.ops}} {
				err := checkOverlap(r)
				if tc.dup {
					wantStatus(t, err, rpctypes.ErrGRPCDuplicateKey)
				} else if err != nil {
					t.Errorf("%s: %v", branch, err)
				}
			}
		})
	}
}

func TestSpanSetHoldsWhatItsIntervalsHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	key := func() string { return fmt.Sprintf("%02d", rng.IntN(30)) }
	for range 500 {
		var all []*pb.RequestOp
		var sets [2]spanSet
		for i := range sets {
			var level []*pb.RequestOp
			for range rng.IntN(6) {
				end := key()
				if rng.IntN(3) == 0 {
					end = ""
				}
				level = append(level, opDelete(key(), end))
			}
			sets[i] = deletedBy(level)
			all = append(all, level...)
		}
		union := sets[0].union(sets[1])
		for i := range 30 {
			k := fmt.Sprintf("%02d", i)
			want := false
			for _, op := range all {
				d := op.GetRequestDeleteRange()
				want = want || within(k, d.Key, d.RangeEnd)
			}
			if got := union.has(k); got != want {
				t.Fatalf("has(%s) = %v of %v and %v", k, got, sets[0], sets[1])
			}
		}
	}
}
