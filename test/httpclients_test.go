package test

import (
	"encoding/json"
	"strings"
	"testing"
)

// answered makes a call that has to succeed and decodes the answer.
func answered[T any](t *testing.T, addr string, c httpCall) T {
	t.Helper()
	var v T
	a := c.mustAt(t, addr)
	if a.code != 200 {
		t.Fatalf("%s %s: %d %s", c.path, c.body, a.code, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%s: %v in %s", c.path, err, a.body)
	}
	return v
}

// pairs is the answer to a range.
type pairs struct {
	Header struct{ Revision string }
	KVs    []struct {
		Key, Value  string
		ModRevision string `json:"mod_revision"`
	}
	Count string
}

// branch is the answer to a transaction.
type branch struct{ Succeeded bool }

// The calls of Patroni's etcd3 client: it finds the version and the members, loads all
// of its tree, watches it, takes and gives back its keys by transactions, and keeps what
// it holds by a lease.
func TestPatroniFindsItsWayOverHTTP(t *testing.T) {
	t.Parallel()
	m := oneMember(t).members[0]
	addr := m.client
	v := answered[struct{ Etcdserver, Etcdcluster string }](t, addr, get("/version"))
	if !strings.HasPrefix(v.Etcdserver, "3.") || !strings.HasPrefix(v.Etcdcluster, "3.") {
		t.Fatalf("version %+v", v)
	}
	list := answered[struct {
		Header struct {
			Cluster string `json:"cluster_id"`
		}
		Members []struct{ ClientURLs []string }
	}](t, addr, post("cluster/member/list", `{}`))
	if list.Header.Cluster == "" || len(list.Members) != 1 || len(list.Members[0].ClientURLs) != 1 || list.Members[0].ClientURLs[0] != "http://"+addr {
		t.Fatalf("members %+v", list)
	}
	// /service/x/ to /service/x0
	const whole = `"key":"L3NlcnZpY2UveC8=","range_end":"L3NlcnZpY2UveDA="`
	empty := answered[pairs](t, addr, post("kv/range", `{`+whole+`}`))
	if len(empty.KVs) != 0 || empty.Header.Revision == "" {
		t.Fatalf("an empty tree is %+v", empty)
	}
	s := openStream(t, addr, post("watch", `{"create_request":{`+whole+`,"start_revision":"`+nextRevision(t, empty.Header.Revision)+`","progress_notify":true}}`))
	if line := s.next(); !strings.Contains(line, `"created":true`) {
		t.Fatalf("the watch begins with %s", line)
	}
	// The leader key is taken by whoever finds it missing, once.
	lease := answered[struct{ ID, TTL string }](t, addr, post("lease/grant", `{"TTL":30}`))
	if lease.ID == "" || lease.TTL != "30" {
		t.Fatalf("lease %+v", lease)
	}
	take := post("kv/txn", `{"compare":[{"key":"L3NlcnZpY2UveC9sZWFkZXI=","target":"CREATE","create_revision":"0"}],"success":[{"request_put":{"key":"L3NlcnZpY2UveC9sZWFkZXI=","value":"YQ==","lease":"`+lease.ID+`"}}]}`)
	if !answered[branch](t, addr, take).Succeeded || answered[branch](t, addr, take).Succeeded {
		t.Error("the leader key was not taken exactly once")
	}
	if line := s.next(); !strings.Contains(line, `"key":"L3NlcnZpY2UveC9sZWFkZXI="`) {
		t.Errorf("the watch tells %s", line)
	}
	answered[struct{}](t, addr, post("kv/put", `{"key":"L3NlcnZpY2UveC9jb25maWc=","value":"e30="}`))
	s.next()
	tree := answered[pairs](t, addr, post("kv/range", `{`+whole+`,"serializable":false}`))
	if len(tree.KVs) != 2 || tree.Count != "2" {
		t.Fatalf("the tree is %+v", tree)
	}
	kept := answered[struct{ Result struct{ ID, TTL string } }](t, addr, post("lease/keepalive", `{"ID":"`+lease.ID+`"}`))
	if kept.Result.ID != lease.ID || kept.Result.TTL != "30" {
		t.Errorf("kept alive: %+v", kept)
	}
	gone := answered[struct{ Result struct{ ID, TTL string } }](t, addr, post("lease/keepalive", `{"ID":"7"}`))
	if gone.Result.ID != "7" || gone.Result.TTL != "" {
		t.Errorf("a lease that is gone: %+v", gone)
	}
	give := post("kv/txn", `{"compare":[{"key":"L3NlcnZpY2UveC9sZWFkZXI=","target":"MOD","mod_revision":"`+tree.KVs[1].ModRevision+`"}],"success":[{"request_delete_range":{"key":"L3NlcnZpY2UveC9sZWFkZXI="}}]}`)
	if !answered[branch](t, addr, give).Succeeded {
		t.Error("the leader key could not be given back")
	}
	if line := s.next(); !strings.Contains(line, `"type":"DELETE"`) {
		t.Errorf("the watch tells %s", line)
	}
	if n := answered[struct{ Deleted string }](t, addr, post("kv/deleterange", `{`+whole+`}`)); n.Deleted != "1" {
		t.Errorf("deleted %+v", n)
	}
}

// nextRevision is the revision after one that was answered, by its text.
func nextRevision(t *testing.T, text string) string {
	t.Helper()
	var n json.Number
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	i, err := n.Int64()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(i + 1)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The calls of lua-resty-etcd: numbers where etcd writes text, and a watch that is
// asked for with every field.
func TestLuaRestyEtcdFindsItsWayOverHTTP(t *testing.T) {
	t.Parallel()
	addr := oneMember(t).members[0].client
	answered[struct{ Etcdserver string }](t, addr, get("/version"))
	s := openStream(t, addr, post("watch", `{"create_request":{"key":"L2FwaXNpeC8=","range_end":"L2FwaXNpeDA=","start_revision":2,"progress_notify":false,"filters":[],"prev_kv":true,"watch_id":0,"fragment":false}}`))
	if line := s.next(); !strings.Contains(line, `"created":true`) {
		t.Fatalf("the watch begins with %s", line)
	}
	answered[struct{}](t, addr, post("kv/put", `{"key":"L2FwaXNpeC9yb3V0ZXM=","value":"eyJhIjoxfQ==","lease":0,"prev_kv":false,"ignore_value":false,"ignore_lease":false}`))
	if line := s.next(); !strings.Contains(line, `"value":"eyJhIjoxfQ=="`) {
		t.Errorf("the watch tells %s", line)
	}
	got := answered[pairs](t, addr, post("kv/range", `{"key":"L2FwaXNpeC8=","range_end":"L2FwaXNpeDA=","limit":0,"revision":0,"sort_order":0,"sort_target":0,"serializable":false,"keys_only":false,"count_only":false}`))
	if len(got.KVs) != 1 || got.KVs[0].Value != "eyJhIjoxfQ==" {
		t.Errorf("read %+v", got)
	}
	if n := answered[struct{ Deleted string }](t, addr, post("kv/deleterange", `{"key":"L2FwaXNpeC9yb3V0ZXM=","prev_kv":false}`)); n.Deleted != "1" {
		t.Errorf("deleted %+v", n)
	}
	if line := s.next(); !strings.Contains(line, `"type":"DELETE"`) {
		t.Errorf("the watch tells %s", line)
	}
}
