package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"chainfire"
)

func TestStatusWaitsForVotersThatAreUp(t *testing.T) {
	up := chainfire.MemberStatus{Phase: chainfire.PhaseVoter, Active: true}
	down := chainfire.MemberStatus{Phase: chainfire.PhaseVoter}
	learner := chainfire.MemberStatus{Phase: chainfire.PhaseLearner}
	for name, c := range map[string]struct {
		members []chainfire.MemberStatus
		voters  string
		code    int
	}{
		"as many as wanted":          {[]chainfire.MemberStatus{up, up, up, learner}, "3", 0},
		"one of them down":           {[]chainfire.MemberStatus{up, up, down}, "3", exitUnhealthy},
		"one too many":               {[]chainfire.MemberStatus{up, up, up, up}, "3", exitUnhealthy},
		"one down, waiting for none": {[]chainfire.MemberStatus{up, up, down}, "0", 0},
	} {
		_, addr := startFake(t, &chainfire.ClusterStatus{Leader: 1, Healthy: true, Members: c.members})
		code, _, errOut := runCommand(t, nil, nil, "status", "--await-voters", c.voters, "--wait-timeout", "500ms", "--endpoints", addr)
		if code != c.code || (code != 0) != strings.Contains(errOut, "one of 3 voters that are up") {
			t.Errorf("%s: code %d, %s", name, code, errOut)
		}
	}
}

func TestReplacementWithoutAStandbyPrintsTheLineOfANewMachine(t *testing.T) {
	_, addr := startFake(t, &chainfire.ClusterStatus{Leader: 1, Healthy: true, Members: []chainfire.MemberStatus{
		{MemberInfo: chainfire.MemberInfo{ID: 1, Name: "a", PeerURLs: []string{"https://10.0.0.1:2380"}}, Active: true},
		{MemberInfo: chainfire.MemberInfo{ID: 77, Name: "b", PeerURLs: []string{"https://10.0.0.3:2380"}}},
	}})
	want := `serve --join 10.0.0.1:2380 --replace b --token "$(`
	for _, format := range []string{formatTable, formatJSON} {
		code, out, errOut := runCommand(t, nil, nil, "member", "replace", "b", "-w", format, "--endpoints", addr)
		if format == formatJSON {
			var answer struct{ Command, Reason string }
			if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Reason != "no member stands by" {
				t.Errorf("%v, %s", err, out)
			}
			out = answer.Command
		}
		if code != exitFailure || !strings.Contains(out, want) || !strings.Contains(out, "--listen-peer HOST:2380") || !strings.Contains(errOut, "77 (b) was not replaced") {
			t.Errorf("code %d\n%s\n%s", code, out, errOut)
		}
	}
}

func TestForcedRemovalShowsItsWarning(t *testing.T) {
	_, addr := startFake(t, nil)
	for args, want := range map[string]bool{"": false, "--force": true} {
		words := append([]string{"member", "remove", "b", "--endpoints", addr}, strings.Fields(args)...)
		code, out, errOut := runCommand(t, nil, nil, words...)
		if code != 0 || !strings.Contains(out, "member 77 (b) removed") || strings.Contains(out, "warning: without it") != want {
			t.Errorf("%s: code %d, %s, %s", args, code, out, errOut)
		}
	}
}

func testKVs() []*mvccpb.KeyValue {
	return []*mvccpb.KeyValue{
		{Key: []byte("name"), Value: []byte("été <1>"), CreateRevision: 3, ModRevision: 5, Version: 2},
		{Key: []byte{0xff, 'a'}, Value: []byte("two\nlines"), CreateRevision: 6, ModRevision: 6, Version: 1, Lease: 9},
	}
}

func testTxn() *etcdserverpb.TxnResponse {
	get := &etcdserverpb.RangeResponse{Kvs: testKVs()[:1], Count: 1}
	return &etcdserverpb.TxnResponse{Header: testHeader(), Succeeded: true, Responses: []*etcdserverpb.ResponseOp{
		{Response: &etcdserverpb.ResponseOp_ResponsePut{ResponsePut: &etcdserverpb.PutResponse{PrevKv: testKVs()[0]}}},
		{Response: &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: get}},
		{Response: &etcdserverpb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &etcdserverpb.DeleteRangeResponse{Deleted: 2}}},
		{Response: &etcdserverpb.ResponseOp_ResponseTxn{ResponseTxn: &etcdserverpb.TxnResponse{
			Responses: []*etcdserverpb.ResponseOp{{Response: &etcdserverpb.ResponseOp_ResponseRange{ResponseRange: get}}},
		}}},
	}}
}

func testWatch() *clientv3.WatchResponse {
	return &clientv3.WatchResponse{Header: testHeader(), Events: []*clientv3.Event{
		{Type: mvccpb.Event_PUT, Kv: testKVs()[0], PrevKv: testKVs()[1]},
		{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("gone"), ModRevision: 34}},
	}}
}

func testStatus() *chainfire.ClusterStatus {
	return &chainfire.ClusterStatus{
		Header: chainfire.Header{ClusterID: 0xabcdef, MemberID: 1, Revision: 34, RaftTerm: 5},
		Leader: 1, Healthy: true, FailureTolerance: 1, LastIndex: 50, CommitIndex: 49, FeatureLevel: 2,
		Members: []chainfire.MemberStatus{
			{
				MemberInfo: chainfire.MemberInfo{ID: 1, Name: "a", PeerURLs: []string{"http://h:1"}, ClientURLs: []string{"http://h:2"}},
				Phase:      chainfire.PhaseVoter, Leader: true, MatchIndex: 50, AppliedIndex: 49, Active: true, Version: "1.2.0",
			},
			{
				MemberInfo: chainfire.MemberInfo{ID: 8, PeerURLs: []string{"http://h:3"}, Learner: true},
				Phase:      chainfire.PhaseLearner, MatchIndex: 40, Active: true, LastContactMillis: 25, Reason: "catches up",
			},
			{MemberInfo: chainfire.MemberInfo{ID: 9, Name: "c"}, Phase: chainfire.PhaseReserved, LastContactMillis: -1},
		},
	}
}

func TestOutputIsStable(t *testing.T) {
	const header = `"header":{"cluster_id":"abcdef","member_id":"12","revision":34,"raft_term":5}`
	const name = `{"key":"name","value":"été <1>","create_revision":3,"mod_revision":5,"version":2}`
	const other = `{"key_base64":"/2E=","value":"two\nlines","create_revision":6,"mod_revision":6,"version":1,"lease":"9"}`
	rangeAnswer := &etcdserverpb.RangeResponse{Header: testHeader(), Kvs: testKVs(), Count: 2}
	for _, c := range []struct {
		name        string
		print       func(*app) error
		table, json string
	}{
		{
			"get", func(a *app) error { return a.printGet(rangeAnswer, &getOptions{}, false) },
			"KEY      VALUE         REVISION  VERSION\nname     été <1>       5         2\n" + `"\xffa"  "two\nlines"  6         1` + "\n",
			`{` + header + `,"kvs":[` + name + `,` + other + `],"more":false,"count":2}`,
		},
		{
			"get --keys-only", func(a *app) error { return a.printGet(rangeAnswer, &getOptions{keysOnly: true}, false) },
			"KEY      REVISION  VERSION\nname     5         2\n" + `"\xffa"  6         1` + "\n",
			`{` + header + `,"kvs":[{"key":"name","create_revision":3,"mod_revision":5,"version":2},` +
				`{"key_base64":"/2E=","create_revision":6,"mod_revision":6,"version":1,"lease":"9"}],"more":false,"count":2}`,
		},
		{
			"get --count-only", func(a *app) error {
				return a.printGet(&etcdserverpb.RangeResponse{Header: testHeader(), Count: 7}, &getOptions{countOnly: true}, false)
			},
			"7\n", `{` + header + `,"kvs":[],"more":false,"count":7}`,
		},
		{
			"put", func(a *app) error {
				return a.printPut(&etcdserverpb.PutResponse{Header: testHeader(), PrevKv: testKVs()[0]})
			},
			"ok, revision 34\nbefore: été <1> (revision 5)\n", `{` + header + `,"prev_kv":` + name + `}`,
		},
		{
			"del", func(a *app) error {
				return a.printDel(&etcdserverpb.DeleteRangeResponse{Header: testHeader(), Deleted: 1, PrevKvs: testKVs()[:1]})
			},
			"1 deleted, revision 34\nKEY   VALUE    REVISION  VERSION\nname  été <1>  5         2\n",
			`{` + header + `,"deleted":1,"prev_kvs":[` + name + `]}`,
		},
		{
			"txn", func(a *app) error { return a.printTxn(testTxn()) },
			`success, revision 34
1. put: ok, before: été <1> (revision 5)
2. get: 1 found
   KEY   VALUE    REVISION  VERSION
   name  été <1>  5         2
3. del: 2 deleted
4. txn: succeeded false
   1. get: 1 found
      KEY   VALUE    REVISION  VERSION
      name  été <1>  5         2
`,
			`{` + header + `,"succeeded":true,"responses":[{"put":{"prev_kv":` + name + `}},{"get":{"kvs":[` + name +
				`],"more":false,"count":1}},{"del":{"deleted":2}},{"txn":{"succeeded":false,"responses":[{"get":{"kvs":[` + name +
				`],"more":false,"count":1}}]}}]}`,
		},
		{
			"watch", func(a *app) error { return a.printWatch(testWatch()) },
			"5 put name été <1> (before: \"two\\nlines\")\n34 delete gone\n",
			`{"revision":34,"events":[{"type":"put","kv":` + name + `,"prev_kv":` + other +
				`},{"type":"delete","kv":{"key":"gone","create_revision":0,"mod_revision":34,"version":0}}]}`,
		},
		{
			"watch --progress-notify", func(a *app) error { return a.printWatch(&clientv3.WatchResponse{Header: testHeader()}) },
			"progress: everything up to revision 34 was shown\n", `{"revision":34,"progress":true,"events":[]}`,
		},
		{
			"member list with a read replica", func(a *app) error { return a.printMembers(testHeader(), testMembers()[1:], map[uint64]bool{77: true}) },
			"ID  NAME  ROLE          PEER ADDRESS  CLIENT ADDRESS\n77  b     read-replica  http://h:3    -\n",
			`{` + header + `,"members":[{"id":"77","name":"b","role":"read-replica","peer_urls":["http://h:3"],"client_urls":[]}]}`,
		},
		{
			"member list", func(a *app) error { return a.printMembers(testHeader(), testMembers(), nil) },
			"ID  NAME  ROLE     PEER ADDRESS  CLIENT ADDRESS\n1   a     voter    http://h:1    http://h:2\n77  b     learner  http://h:3    -\n",
			`{` + header + `,"members":[{"id":"1","name":"a","role":"voter","peer_urls":["http://h:1"],"client_urls":["http://h:2"]},` +
				`{"id":"77","name":"b","role":"learner","peer_urls":["http://h:3"],"client_urls":[]}]}`,
		},
		{
			"status", func(a *app) error { return a.printStatus(testStatus()) },
			`cluster abcdef: healthy, leader 1, term 5, revision 34, feature level 2, 1 more voter may fail

ID  NAME  ROLE      VERSION  UP   LAG  CONTACT  CLIENT ADDRESS  PEER ADDRESS  NOTE
1   a     leader    1.2.0    yes  0    0s       http://h:2      http://h:1    -
8   -     learner   -        yes  10   25ms     -               http://h:3    catches up
9   c     reserved  -        -    -    -        -               -             -
`,
			`{"header":{"cluster_id":"abcdef","member_id":"1","revision":34,"raft_term":5},"healthy":true,"leader":"1","failure_tolerance":1,` +
				`"last_index":50,"commit_index":49,"feature_level":2,"members":[` +
				`{"id":"1","name":"a","phase":"voter","leader":true,"active":true,"peer_urls":["http://h:1"],"client_urls":["http://h:2"],` +
				`"match_index":50,"applied_index":49,"last_contact_ms":0,"reason":"","read_replica":false,"version":"1.2.0"},` +
				`{"id":"8","name":"","phase":"learner","leader":false,"active":true,"peer_urls":["http://h:3"],"client_urls":[],` +
				`"match_index":40,"applied_index":0,"last_contact_ms":25,"reason":"catches up","read_replica":false,"version":""},` +
				`{"id":"9","name":"c","phase":"reserved","leader":false,"active":false,"peer_urls":[],"client_urls":[],` +
				`"match_index":0,"applied_index":0,"last_contact_ms":-1,"reason":"","read_replica":false,"version":""}]}`,
		},
	} {
		for format, want := range map[string]string{formatTable: c.table, formatJSON: c.json + "\n"} {
			var out strings.Builder
			a := &app{out: &out, errOut: &out, format: format}
			if err := c.print(a); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Errorf("%s as %s (-want +got):\n%s", c.name, format, diff)
			}
		}
	}
}

func TestStatusTellsHealthByItsExitCode(t *testing.T) {
	ill := testStatus()
	ill.Healthy = false
	lost := testStatus()
	lost.Leader, lost.Healthy = 0, false
	apart := testStatus()
	apart.Header.MemberID, apart.Healthy = 8, false
	for _, c := range []struct {
		status *chainfire.ClusterStatus
		code   int
		want   string
	}{
		{testStatus(), 0, "healthy, leader 1"},
		{ill, 2, "does not hear a majority"},
		{lost, 2, "no leader; this is what member 1 knows"},
		{apart, 2, "member 8 cannot reach the leader 1"},
	} {
		_, addr := startFake(t, c.status)
		code, out, errOut := runCommand(t, nil, nil, "status", "--endpoints", addr)
		if code != c.code || !strings.Contains(out, c.want) || errOut != "" {
			t.Errorf("code %d, want %d; %s%s", code, c.code, out, errOut)
		}
	}
	code, _, errOut := runCommand(t, nil, nil, "status", "--endpoints", "127.0.0.1:1")
	if code != exitFailure || !strings.Contains(errOut, "chainfire serve") {
		t.Errorf("nobody there: code %d, %s", code, errOut)
	}
}
