package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// etcdctl is etcd's own command line, pointed at some members.
type etcdctl struct {
	t         *testing.T
	path      string
	endpoints string
	// flags come before those of a command.
	flags []string
}

func newEtcdctl(t *testing.T, endpoints ...string) *etcdctl {
	t.Helper()
	return &etcdctl{t: t, path: etcdTool(t, "etcdctl"), endpoints: strings.Join(endpoints, ",")}
}

func (e *etcdctl) command(ctx context.Context, stdin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.path, slices.Concat(e.flags, args)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "ETCDCTL_ENDPOINTS="+e.endpoints)
	cmd.SysProcAttr = dieWithParent()
	return cmd
}

// run runs one command and returns what it wrote.
func (e *etcdctl) run(stdin string, args ...string) (stdout, stderr string, code int) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	cmd := e.command(ctx, stdin, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		e.t.Fatalf("etcdctl %v: %v", args, err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// prints checks that a command succeeds and prints exactly this.
func (e *etcdctl) prints(want, stdin string, args ...string) {
	e.t.Helper()
	out, errOut, code := e.run(stdin, args...)
	if code != 0 || out != want {
		e.t.Errorf("etcdctl %s: exit code %d, printed\n%s\nwant\n%s\nerror output %s", strings.Join(args, " "), code, out, want, errOut)
	}
}

// refused checks that a command fails with this error.
func (e *etcdctl) refused(want string, args ...string) {
	e.t.Helper()
	out, errOut, code := e.run("", args...)
	if code != 1 || !strings.Contains(errOut, "Error: "+want+"\n") {
		e.t.Errorf("etcdctl %s: exit code %d, printed %q and %q, want the error %q", strings.Join(args, " "), code, out, errOut, want)
	}
}

func TestEtcdctlReadsAndWritesKeys(t *testing.T) {
	t.Parallel()
	a := here.newMember(t, "a")
	a.start()
	a.awaitServing()
	e := newEtcdctl(t, a.client)

	e.prints("OK\n", "", "put", "a", "1")
	e.prints("OK\na\n1\n", "", "put", "a", "2", "--prev-kv")
	e.prints("OK\n", "", "put", "b", "3")
	e.prints("OK\n", "", "put", "c", "4")
	e.prints("a\n2\n", "", "get", "a")
	e.prints("", "", "get", "nothing")
	e.prints("a\n2\nb\n3\nc\n4\n", "", "get", "", "--prefix")
	e.prints("b\n3\n", "", "get", "b", "c")
	e.prints("b\n\nc\n\n", "", "get", "b", "--from-key", "--keys-only")
	e.prints("a\n1\n", "", "get", "a", "--rev", "2")
	e.prints("4\n3\n", "", "get", "", "--prefix", "--limit", "2", "--order", "DESCEND", "--sort-by", "KEY", "--print-value-only")
	e.prints("a\n2\n", "", "get", "a", "--consistency", "s")
	if out, _, _ := e.run("", "get", "", "--prefix", "--count-only", "-w", "fields"); !strings.Contains(out, "\"Count\" : 3\n") {
		t.Errorf("count-only prints %q", out)
	}

	e.prints("SUCCESS\n\nOK\n\na\n2\n", "mod(\"a\") > \"0\"\nvalue(\"b\") = \"3\"\n\nput d 5\nget a\n\ndel d\n\n", "txn")
	e.prints("FAILURE\n\n1\n", "version(\"a\") = \"1\"\n\nput never 1\n\ndel d\n\n", "txn")
	e.prints("1\na\n2\n", "", "del", "a", "--prev-kv")
	e.prints("0\n", "", "del", "a")
	e.prints("2\n", "", "del", "", "--prefix")

	e.prints("compacted revision 4\n", "", "compaction", "4")
	e.refused("etcdserver: mvcc: required revision has been compacted", "get", "a", "--rev", "3")
	e.refused("etcdserver: mvcc: required revision is a future revision", "get", "a", "--rev", "99")
	e.refused("etcdserver: key is not provided", "put", "", "x")
}

// output collects what a process writes, for a look while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// watches runs a watch until it has printed exactly this, and ends it.
func (e *etcdctl) watches(want string, meanwhile func(), args ...string) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	var out output
	cmd := e.command(ctx, "", append([]string{"watch"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		cancel()
		e.t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}()
	meanwhile()
	await(e.t, "etcdctl watch "+strings.Join(args, " "), soon, func(context.Context) error {
		if got := out.String(); got != want {
			return fmt.Errorf("printed\n%s\nwant\n%s", got, want)
		}
		return nil
	})
}

func TestEtcdctlWatchesFromThePastAndGoesOn(t *testing.T) {
	t.Parallel()
	a := here.newMember(t, "a")
	a.start()
	a.awaitServing()
	e := newEtcdctl(t, a.client)
	e.prints("OK\n", "", "put", "w/a", "1")
	e.prints("OK\n", "", "put", "w/b", "2")
	e.prints("OK\n", "", "put", "w/a", "3")
	e.prints("OK\n", "", "put", "other", "4")
	e.prints("1\n", "", "del", "w/b")
	past := "PUT\nw/b\n2\nPUT\nw/a\n3\nDELETE\nw/b\n\n"
	e.watches(past, func() {}, "w/", "--prefix", "--rev", "3")
	e.watches(past+"PUT\nw/c\n5\n", func() { e.prints("OK\n", "", "put", "w/c", "5") }, "w/", "--prefix", "--rev", "3")
	e.watches("PUT\nw/a\n1\nPUT\nw/a\n1\nw/a\n3\n", func() {}, "w/a", "--rev", "2", "--prev-kv")
}

func TestEtcdctlManagesMembers(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	e := newEtcdctl(t, c.endpoints()...)
	leader, follower := c.awaitLeader(), c.followers()[0]

	out, _, code := e.run("", "member", "list")
	for _, m := range c.members {
		want := fmt.Sprintf("%x, started, %s, https://%s, http://%s, false\n", m.id(leader), m.name, m.peer, m.client)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("member list prints %q, without %q", out, want)
		}
	}
	out, errOut, code := e.run("", "endpoint", "status", "-w", "fields")
	if code != 0 || strings.Count(out, `"Version" : "3.7`) != 3 || strings.Count(out, fmt.Sprintf("\"Leader\" : %d\n", leader.id(leader))) != 3 {
		t.Errorf("endpoint status: exit code %d, printed %q and %q", code, out, errOut)
	}
	out, errOut, code = e.run("", "endpoint", "health")
	if code != 0 || strings.Count(out+errOut, "is healthy: successfully committed proposal") != 3 {
		t.Errorf("endpoint health: exit code %d, printed %q and %q", code, out, errOut)
	}

	target := fmt.Sprintf("%x", follower.id(leader))
	e.refused("etcdserver: can only promote a learner member", "member", "promote", target)
	e.refused("etcdserver: member not found", "member", "promote", "fade")
	e.refused("etcdserver: member not found", "member", "remove", "fade")
	e.refused("etcdserver: Peer URLs already exists", "member", "add", "x", "--peer-urls", "https://"+follower.peer)
	e.refused("etcdserver: bad leader transferee", "move-leader", "fade")

	e.prints(fmt.Sprintf("Leadership transferred from %x to %s\n", leader.id(leader), target), "", "move-leader", target)
	if now := c.awaitLeader(); now != follower {
		t.Errorf("after move-leader to %s, %s leads", follower.name, now.name)
	}
	e.prints("OK\n", "", "put", "after", "the move")
}
