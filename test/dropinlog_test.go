package test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// logFields are the lines with a message, as objects.
func logFields(t *testing.T, text, msg string) (out []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err == nil && l["msg"] == msg {
			out = append(out, l)
		}
	}
	return out
}

// TestLinesThatToolsLookForHaveTheFieldsOfEtcds makes everything slow, a nanosecond being
// exceeded by any request, and holds the lines against those of an etcd.
func TestLinesThatToolsLookForHaveTheFieldsOfEtcds(t *testing.T) {
	t.Parallel()
	logs := map[string]string{}
	for who, program := range map[string]string{"etcd": etcdTool(t, "etcd"), "member": ""} {
		d := newDropIn(t, "m1")
		if program != "" {
			d.program = program
		}
		d.start("--initial-cluster", d.listed(), "--warning-unary-request-duration=1ns", "--warning-apply-duration=1ns")
		ctl := d.ctl()
		ctl.prints("OK\n", "", "put", "a", "the-secret")
		ctl.prints("OK\n", "", "put", "a", "the-secret")
		ctl.prints("a\nthe-secret\n", "", "get", "a")
		ctl.prints("compacted revision 3\n", "", "compact", "3")
		await(t, who+" has told of the compaction", patience, func(context.Context) error {
			logs[who] = d.proc.log()
			if len(logFields(t, logs[who], "finished scheduled compaction")) == 0 {
				return fmt.Errorf("no line yet")
			}
			return nil
		})
	}
	if strings.Contains(logs["member"], "the-secret") {
		t.Error("the log has a value")
	}
	for _, want := range []struct {
		msg string
		// of and is pick the line; without is what a member does not say.
		of, is, without string
	}{
		{msg: "request stats", of: "response type", is: "/etcdserverpb.KV/Put"},
		{msg: "request stats", of: "response type", is: "/etcdserverpb.KV/Range"},
		{msg: "apply request took too long", of: "prefix", is: "read-only range "},
		{msg: "apply request took too long", of: "prefix", is: ""},
		// The hash is one of what etcd walks while it compacts.
		{msg: "finished scheduled compaction", of: "level", is: "info", without: "hash"},
	} {
		pick := func(who string) map[string]any {
			for _, l := range logFields(t, logs[who], want.msg) {
				if l[want.of] == want.is && l["left_out"] == nil {
					return l
				}
			}
			t.Fatalf("%s has no line %q with %s %q:\n%s", who, want.msg, want.of, want.is, logs[who])
			return nil
		}
		etcd, ours := pick("etcd"), pick("member")
		for key, value := range etcd {
			if key == want.without {
				continue
			}
			if got, ok := ours[key]; !ok || fmt.Sprintf("%T", got) != fmt.Sprintf("%T", value) {
				t.Errorf("%s: %q is %v here, %v with etcd; there are %v", want.msg, key, got, value, slices.Sorted(maps.Keys(ours)))
			}
		}
	}
	put := logFields(t, logs["member"], "request stats")[0]
	if put["request content"] != `key:"a" value_size:10 ` && !strings.Contains(logs["member"], `"request content":"key:\"a\" value_size:10 "`) {
		t.Errorf("the put is told of as %v", put)
	}
}

func TestMoreLearnersThanMayBeAreRefusedInEtcdsWords(t *testing.T) {
	t.Parallel()
	for who, program := range map[string]string{"etcd": etcdTool(t, "etcd"), "member": ""} {
		d := newDropIn(t, "m1")
		if program != "" {
			d.program = program
		}
		d.start("--initial-cluster", d.listed())
		if _, errOut, code := d.ctl().run("", "member", "add", "m2", "--learner", "--peer-urls=http://127.0.0.1:1"); code != 0 {
			t.Fatalf("%s: %s", who, errOut)
		}
		_, errOut, code := d.ctl().run("", "member", "add", "m3", "--learner", "--peer-urls=http://127.0.0.1:2")
		if code == 0 || !strings.Contains(errOut, "etcdserver: too many learner members in cluster") {
			t.Errorf("%s: exit code %d: %s", who, code, errOut)
		}
	}
}

func TestConnectionsThatAreRejectedAreToldOfAsByEtcd(t *testing.T) {
	t.Parallel()
	p := newClientPort(t)
	said := map[string]map[string]any{}
	for who, program := range map[string]string{"etcd": etcdTool(t, "etcd"), "member": ""} {
		d := newDropIn(t, "m1")
		if program != "" {
			d.program = program
		}
		d.clientScheme = "https"
		d.start(append(p.flags(), "--initial-cluster", d.listed())...)
		stranger := p.as()
		await(t, who+" has told of a client without a certificate", patience, func(ctx context.Context) error {
			conn, err := (&tls.Dialer{Config: stranger}).DialContext(ctx, "tcp", d.client)
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Fatalf("%s lets anybody in", who)
			}
			for _, l := range logFields(t, d.proc.log(), "rejected connection on client endpoint") {
				if strings.Contains(fmt.Sprint(l["error"]), "didn't provide a certificate") {
					said[who] = l
					return nil
				}
			}
			return fmt.Errorf("no line yet")
		})
	}
	for _, key := range []string{"level", "remote-addr", "server-name", "error"} {
		if said["member"][key] == nil || said["etcd"][key] == nil {
			t.Errorf("%q is %v here, %v with etcd", key, said["member"][key], said["etcd"][key])
		}
	}
	if m := said["member"]; m["server-name"] != said["etcd"]["server-name"] || m["level"] != "warn" || !strings.HasPrefix(m["remote-addr"].(string), "127.0.0.1:") {
		t.Errorf("%v; with etcd %v", m, said["etcd"])
	}
}
