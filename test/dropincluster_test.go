package test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// listOf is --initial-cluster of some members.
func listOf(members ...*dropIn) string {
	var out []string
	for _, d := range members {
		out = append(out, d.listed())
	}
	return strings.Join(out, ",")
}

// idOf is a member's id as etcdctl prints it.
func (d *dropIn) idOf(name string) string {
	d.t.Helper()
	out, errOut, code := d.ctl().run("", "member", "list")
	if code != 0 {
		d.t.Fatalf("member list: %s", errOut)
	}
	for line := range strings.Lines(out) {
		if f := strings.Split(line, ", "); len(f) > 2 && f[2] == name {
			return f[0]
		}
	}
	d.t.Fatalf("no member is called %s:\n%s", name, out)
	return ""
}

func TestAMemberThatWasAddedComesInByTheStateExisting(t *testing.T) {
	t.Parallel()
	m1, m2, m3 := newDropIn(t, "m1"), newDropIn(t, "m2"), newDropIn(t, "m3")
	m1.start("--initial-cluster", listOf(m1))
	m1.ctl().prints("OK\n", "", "put", "a", "b")

	if _, errOut, code := m1.ctl().run("", "member", "add", "m2", "--learner", "--peer-urls=http://"+m2.peer); code != 0 {
		t.Fatal(errOut)
	}
	m2.start("--initial-cluster", listOf(m1, m2), "--initial-cluster-state", "existing")
	// Where it is probed as in a pod it must not be ended for being a learner.
	for path, want := range map[string]string{
		"/health":                     `{"health":"true","reason":""}`,
		"/livez":                      "ok\n",
		"/readyz/linearizable_read":   "ok\n",
		"/readyz/non_learner":         "[-]non_learner failed: not supported for learner\n\n",
		"/readyz?exclude=non_learner": "ok\n",
	} {
		if a := get(path).mustAt(t, m2.client); a.body != want {
			t.Errorf("%s of a learner: %d %q", path, a.code, a.body)
		}
	}
	id := m1.idOf("m2")
	await(t, "m2 is promoted", patience, func(context.Context) error {
		if _, errOut, code := m1.ctl().run("", "member", "promote", id); code != 0 {
			return fmt.Errorf("%s", errOut)
		}
		return nil
	})
	if _, errOut, code := m1.ctl().run("", "member", "add", "m3", "--peer-urls=http://"+m3.peer); code != 0 {
		t.Fatal(errOut)
	}
	m3.start("--initial-cluster", listOf(m1, m2, m3), "--initial-cluster-state", "existing")
	m3.ctl().prints("a\nb\n", "", "get", "a")
	await(t, "all of them vote", patience, func(context.Context) error {
		out, errOut, _ := m3.ctl().run("", "member", "list")
		if strings.Count(out, ", started, ") != 3 || strings.Contains(out, "true") {
			return fmt.Errorf("the members are\n%s%s", out, errOut)
		}
		return nil
	})
	// A restart has the same line, or one that says something else by now.
	m2.end(syscall.SIGTERM)
	m2.start("--initial-cluster", listOf(m2), "--initial-cluster-state", "new")
	m2.ctl().prints("a\nb\n", "", "get", "a")
	// One that is removed ends, which is no failure, and does not start again.
	if _, errOut, code := m1.ctl().run("", "member", "remove", m1.idOf("m3")); code != 0 {
		t.Fatal(errOut)
	}
	if code, err := m3.proc.exit(patience); err != nil || code != 0 {
		t.Errorf("removed: exit code %d, %v", code, err)
	}
	lines, err := logLines(m3.proc.log())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if l.Level == "error" {
			t.Errorf("one that is removed says at level error: %s: %s", l.Msg, l.Error)
		}
	}
	m3.launch(nil, m3.line("--initial-cluster", listOf(m1, m2, m3), "--initial-cluster-state", "existing")...)
	if code, err := m3.proc.exit(patience); err != nil || code != 1 {
		t.Errorf("started after that: exit code %d, %v", code, err)
	}
}

// leads is what a member says of itself.
func (d *dropIn) leads() (bool, error) {
	out, errOut, code := d.ctl().run("", "endpoint", "status", "-w", "fields")
	if code != 0 {
		return false, errors.New(errOut)
	}
	var member, lead string
	for line := range strings.Lines(out) {
		if v, ok := strings.CutPrefix(line, `"MemberID" : `); ok {
			member = v
		}
		if v, ok := strings.CutPrefix(line, `"Leader" : `); ok {
			lead = v
		}
	}
	return member == lead, nil
}

func TestMembersOfAListBeginTogetherAndALeaderThatEndsHandsOver(t *testing.T) {
	t.Parallel()
	all := []*dropIn{newDropIn(t, "m1"), newDropIn(t, "m2"), newDropIn(t, "m3")}
	for _, d := range all {
		d.launch(nil, d.line("--initial-cluster", listOf(all...), "--initial-cluster-state", "new")...)
	}
	for _, d := range all {
		d.awaitReady()
	}
	all[0].ctl(all[1:]...).prints("OK\n", "", "put", "a", "b")
	var leader, other *dropIn
	await(t, "one of them leads", patience, func(context.Context) error {
		leader, other = nil, nil
		for _, d := range all {
			leads, err := d.leads()
			switch {
			case err != nil:
				return err
			case leads:
				leader = d
			default:
				other = d
			}
		}
		if leader == nil || other == nil {
			return errors.New("nobody does, or each says so")
		}
		return nil
	})
	leader.end(syscall.SIGTERM)
	if !strings.Contains(leader.proc.log(), "received signal; shutting down") {
		t.Error("the log does not say why it ended")
	}
	other.ctl().prints("OK\n", "", "put", "a", "c")
	leader.start("--initial-cluster", listOf(all...), "--initial-cluster-state", "new")
	leader.ctl().prints("a\nc\n", "", "get", "a")
}

func TestANewClusterIsForcedOnceOfWhatAMemberHolds(t *testing.T) {
	t.Parallel()
	all := []*dropIn{newDropIn(t, "m1"), newDropIn(t, "m2"), newDropIn(t, "m3")}
	for _, d := range all {
		d.launch(nil, d.line("--initial-cluster", listOf(all...))...)
	}
	for _, d := range all {
		d.awaitReady()
	}
	all[0].ctl().prints("OK\n", "", "put", "a", "b")
	all[0].ctl().prints("a\nb\n", "", "get", "a")
	for _, d := range all {
		d.end(syscall.SIGTERM)
	}
	m := all[0]
	m.start("--force-new-cluster")
	m.ctl().prints("a\nb\n", "", "get", "a")
	m.ctl().prints("OK\n", "", "put", "a", "c")
	out, _, _ := m.ctl().run("", "member", "list")
	if strings.Count(out, "started") != 1 {
		t.Errorf("it is not alone:\n%s", out)
	}
	m.end(syscall.SIGTERM)
	m.start("--force-new-cluster")
	m.ctl().prints("a\nc\n", "", "get", "a")
	if again, _, _ := m.ctl().run("", "member", "list"); again != out {
		t.Errorf("it was forced again:\n%s%s", out, again)
	}
}

func TestMembersOfAListSpeakTLSToEachOther(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	dir := t.TempDir()
	ca.trust(dir)
	ca.issue(dir, "peer")
	ca.issueAs(dir, "connecting", "connecting")
	all := []*dropIn{newDropIn(t, "m1"), newDropIn(t, "m2"), newDropIn(t, "m3")}
	for _, d := range all {
		d.peerScheme = "https"
	}
	for _, d := range all {
		d.launch(nil, d.line(append(ownFlags(dir), "--peer-client-cert-auth", "--initial-cluster", listOf(all...), "--socket-reuse-port", "--socket-reuse-address",
			"--peer-client-cert-file", filepath.Join(dir, "connecting.crt"), "--peer-client-key-file", filepath.Join(dir, "connecting.key"))...)...)
	}
	for _, d := range all {
		d.awaitReady()
	}
	all[2].ctl().prints("OK\n", "", "put", "a", "b")
}

// TestALineOfKubernetesStartsAMember has the flags that kubeadm gives.
func TestALineOfKubernetesStartsAMember(t *testing.T) {
	t.Parallel()
	p := newClientPort(t)
	p.ca.issue(p.dir, "peer")
	d := newDropIn(t, "control-plane")
	d.peerScheme, d.clientScheme = "https", "https"
	also, metrics := here.port(t), here.port(t)
	line := append(append(p.flags(), ownFlags(p.dir)...), "--client-cert-auth=true", "--peer-client-cert-auth=true", "--initial-cluster="+d.listed(),
		"--listen-client-urls=https://"+d.client+",https://"+also, "--listen-metrics-urls=http://"+metrics,
		"--feature-gates=InitialCorruptCheck=true", "--watch-progress-notify-interval=5s", "--snapshot-count=10000")
	for _, want := range []string{"OK\n", "a\nb\n"} {
		d.start(line...)
		for _, at := range []string{d.client, also} {
			ctl := newEtcdctl(t, "https://"+at)
			ctl.flags = p.ctlFlags("alice")
			if want == "OK\n" {
				ctl.prints(want, "", "put", "a", "b")
			} else {
				ctl.prints(want, "", "get", "a")
			}
		}
		for _, path := range []string{"/livez", "/readyz?exclude=non_learner", "/health?serializable=true"} {
			if a := get(path).mustAt(t, metrics); a.code != 200 {
				t.Errorf("%s: %+v", path, a)
			}
		}
		d.end(syscall.SIGTERM)
	}
}
