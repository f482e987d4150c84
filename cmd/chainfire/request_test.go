package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"chainfire/api"
)

func TestFlagsBecomeRequests(t *testing.T) {
	f, addr := startFake(t, nil)
	every := []byte{0}
	for _, c := range []struct {
		args []string
		in   string
		want proto.Message
	}{
		{args: []string{"get", "a"}, want: &etcdserverpb.RangeRequest{Key: []byte("a")}},
		{args: []string{"get", "a", "c"}, want: &etcdserverpb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("c")}},
		{args: []string{"get", "", "--prefix"}, want: &etcdserverpb.RangeRequest{Key: every, RangeEnd: every}},
		{args: []string{"get", "a", "--from-key"}, want: &etcdserverpb.RangeRequest{Key: []byte("a"), RangeEnd: every}},
		{
			args: []string{"get", "a", "--prefix", "--limit=3", "--rev=9", "--keys-only", "--order=descend", "--sort-by=modify", "--consistency=s"},
			want: &etcdserverpb.RangeRequest{
				Key: []byte("a"), RangeEnd: []byte("b"), Limit: 3, Revision: 9, KeysOnly: true, Serializable: true,
				SortOrder: etcdserverpb.RangeRequest_DESCEND, SortTarget: etcdserverpb.RangeRequest_MOD,
			},
		},
		{args: []string{"get", "a", "--count-only"}, want: &etcdserverpb.RangeRequest{Key: []byte("a"), CountOnly: true}},
		{args: []string{"put", "a", "b", "--prev-kv"}, want: &etcdserverpb.PutRequest{Key: []byte("a"), Value: []byte("b"), PrevKv: true}},
		{args: []string{"put", "a", ""}, want: &etcdserverpb.PutRequest{Key: []byte("a")}},
		{args: []string{"put", "a"}, in: "from\nhere", want: &etcdserverpb.PutRequest{Key: []byte("a"), Value: []byte("from\nhere")}},
		{args: []string{"put", "a", "--ignore-value"}, want: &etcdserverpb.PutRequest{Key: []byte("a"), IgnoreValue: true}},
		{args: []string{"put", "a", "b", "--lease=ffffffffffffffff"}, want: &etcdserverpb.PutRequest{Key: []byte("a"), Value: []byte("b"), Lease: -1}},
		{args: []string{"put", "a", "b", "--ignore-lease"}, want: &etcdserverpb.PutRequest{Key: []byte("a"), Value: []byte("b"), IgnoreLease: true}},
		{args: []string{"lease", "grant", "90s", "--id", "1f"}, want: &etcdserverpb.LeaseGrantRequest{ID: 31, TTL: 90}},
		{args: []string{"lease", "grant", "5"}, want: &etcdserverpb.LeaseGrantRequest{TTL: 5}},
		{args: []string{"lease", "ttl", "1F", "--keys"}, want: &etcdserverpb.LeaseTimeToLiveRequest{ID: 31, Keys: true}},
		{args: []string{"lease", "list"}, want: &etcdserverpb.LeaseLeasesRequest{}},
		{args: []string{"lease", "revoke", "1f"}, want: &etcdserverpb.LeaseRevokeRequest{ID: 31}},
		{args: []string{"lease", "keep-alive", "1f", "--once"}, want: &etcdserverpb.LeaseKeepAliveRequest{ID: 31}},
		{args: []string{"put", "--", "-a", "-b"}, want: &etcdserverpb.PutRequest{Key: []byte("-a"), Value: []byte("-b")}},
		{args: []string{"del", "a", "--prefix", "--prev-kv"}, want: &etcdserverpb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b"), PrevKv: true}},
		{args: []string{"member", "remove", "b"}, want: &api.RemoveMemberRequest{Member: "b"}},
		{args: []string{"member", "remove", "0x4d", "--force"}, want: &api.RemoveMemberRequest{Member: "0x4d", Force: true}},
		{args: []string{"member", "replace", "b", "--by", "d"}, want: &api.ReplaceMemberRequest{Member: "b", By: "d"}},
	} {
		args := append([]string{"--endpoints", addr}, c.args...)
		code, _, errOut := runCommand(t, nil, strings.NewReader(c.in), args...)
		if code != 0 {
			t.Errorf("%v: code %d: %s", c.args, code, errOut)
			continue
		}
		if diff := cmp.Diff(c.want, f.taken(), protocmp.Transform()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.args, diff)
		}
	}
}

// wantTxn is what both forms of the transaction below stand for.
func wantTxn() *etcdserverpb.TxnRequest {
	put := func(p *etcdserverpb.PutRequest) *etcdserverpb.RequestOp {
		return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{RequestPut: p}}
	}
	get := func(r *etcdserverpb.RangeRequest) *etcdserverpb.RequestOp {
		return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestRange{RequestRange: r}}
	}
	del := func(r *etcdserverpb.DeleteRangeRequest) *etcdserverpb.RequestOp {
		return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
	}
	return &etcdserverpb.TxnRequest{
		Compare: []*etcdserverpb.Compare{
			{
				Key: []byte("k (1)"), Target: etcdserverpb.Compare_VALUE, Result: etcdserverpb.Compare_EQUAL,
				TargetUnion: &etcdserverpb.Compare_Value{Value: []byte("a \"b\"\n")},
			},
			{
				Key: []byte("n"), Target: etcdserverpb.Compare_VERSION, Result: etcdserverpb.Compare_GREATER,
				TargetUnion: &etcdserverpb.Compare_Version{Version: 3},
			},
			{
				Key: []byte("m"), Target: etcdserverpb.Compare_MOD, Result: etcdserverpb.Compare_NOT_EQUAL,
				TargetUnion: &etcdserverpb.Compare_ModRevision{ModRevision: 4},
			},
			{
				Key: []byte("c"), Target: etcdserverpb.Compare_CREATE, Result: etcdserverpb.Compare_LESS,
				TargetUnion: &etcdserverpb.Compare_CreateRevision{CreateRevision: 5},
			},
		},
		Success: []*etcdserverpb.RequestOp{
			put(&etcdserverpb.PutRequest{Key: []byte("k (1)"), Value: []byte("two words"), PrevKv: true}),
			get(&etcdserverpb.RangeRequest{Key: []byte("x"), RangeEnd: []byte("y"), Limit: 2}),
		},
		Failure: []*etcdserverpb.RequestOp{del(&etcdserverpb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b")})},
	}
}

const txnText = `value("k (1)") = "a \"b\"\n"
version(n) > 3
mod('m') != "4"
create("c") < 5

put "k (1)" 'two words' --prev-kv
get x --prefix --limit 2

del a b
`

const txnFile = `{
 "compare": [
  {"target": "value", "key_base64": "ayAoMSk=", "op": "=", "value": "a \"b\"\n"},
  {"target": "version", "key": "n", "op": ">", "number": 3},
  {"target": "mod", "key": "m", "op": "!=", "number": 4},
  {"target": "create", "key": "c", "op": "<", "number": 5}
 ],
 "success": [
  {"put": {"key": "k (1)", "value_base64": "dHdvIHdvcmRz", "prev_kv": true}},
  {"get": {"key": "x", "prefix": true, "limit": 2}}
 ],
 "failure": [{"del": {"key": "a", "range_end": "b"}}]
}`

func TestBothFormsOfATransactionAreRead(t *testing.T) {
	f, addr := startFake(t, nil)
	file := filepath.Join(t.TempDir(), "txn.json")
	if err := os.WriteFile(file, []byte(txnFile), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   string
		args []string
	}{
		{txnText, []string{"txn"}},
		{txnText, []string{"txn", "-i"}},
		{txnFile, []string{"txn", "--file", "-"}},
		{"", []string{"txn", "--file", file}},
	} {
		code, _, errOut := runCommand(t, nil, strings.NewReader(c.in), append(c.args, "--endpoints", addr)...)
		if code != 0 {
			t.Errorf("%v: code %d: %s", c.args, code, errOut)
		}
		if diff := cmp.Diff(wantTxn(), f.taken(), protocmp.Transform(), protocmp.IgnoreEmptyMessages()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.args, diff)
		}
	}
}

func TestATransactionThatCannotBeReadNamesThePlace(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"value(a) = b c", "line 1: the right-hand side"},
		{"value(a) ~ b", "line 1: "},
		{"size(a) = 1", "size"},
		{"version(a) = x", "a number"},
		{"value(\"a) = b", "has no end"},
		{"\nput a b\nput a", "line 3: give KEY and VALUE"},
		{"\nput a b c", "line 2: put takes KEY and VALUE"},
		{"\nget a --bogus", "line 2: get: unknown flag"},
		{"\nincr a", "use get, put or del"},
		{"\nput 'a b", "has no end"},
		{"\nput \"a\\z\" b", "unknown \\"},
	} {
		code, _, errOut := runCommand(t, nil, strings.NewReader(c.in), "txn")
		if code != 1 || !strings.Contains(errOut, c.want) {
			t.Errorf("%q: code %d, %s", c.in, code, errOut)
		}
	}
	for _, c := range []struct{ in, want string }{
		{`{"compares":[]}`, "unknown field"},
		{`{} {}`, "more than one"},
		{`{"success":[{}]}`, "success 1: give one of"},
		{`{"failure":[{"get":{"key":"a"},"put":{"key":"a"}}]}`, "failure 1: give one of"},
		{`{"success":[{"get":{"key":"a","key_base64":"YQ=="}}]}`, "one of key and key_base64"},
		{`{"compare":[{"target":"value","key":"a","number":1}]}`, "comparison 1: a value"},
		{`{"compare":[{"target":"version","key":"a","value":"1"}]}`, "with a number"},
		{`{"compare":[{"target":"size","key":"a","number":1}]}`, "the target"},
		{`{"compare":[{"target":"mod","key":"a","op":"~","number":1}]}`, "is not one of"},
		{strings.Repeat(`{"success":[{"txn":`, 17) + `{}` + strings.Repeat(`}]}`, 17), "deeper than"},
	} {
		code, _, errOut := runCommand(t, nil, strings.NewReader(c.in), "txn", "--file", "-")
		if code != 1 || !strings.Contains(errOut, c.want) {
			t.Errorf("%q: code %d, %s", c.in, code, errOut)
		}
	}
}

func FuzzTransactionTextNeverPanics(f *testing.F) {
	f.Add(txnText)
	f.Add(txnFile)
	f.Add("value(\"a\") = \"\\x\n\nget '")
	f.Fuzz(func(_ *testing.T, s string) {
		// Whether it can be read does not matter here.
		_, _ = (&txnParser{}).parse(strings.NewReader(s))
		_, _ = parseTxnJSON(strings.NewReader(s))
	})
}
