package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dropIn is a member whose binary is called etcd and has etcd's command line.
type dropIn struct {
	t                        *testing.T
	program                  string
	name, dir                string
	client, peer, peerScheme string
	clientScheme             string
	stderr                   string
	proc                     *process
}

// asEtcd is the binary under the name etcd.
func asEtcd(t *testing.T) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), "etcd")
	path, err := filepath.Abs(here.binary)
	if err == nil {
		err = os.Symlink(path, link)
	}
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// newDropIn makes a member that does not run yet. It is killed at the end of the test.
func newDropIn(t *testing.T, name string) *dropIn {
	t.Helper()
	dir := t.TempDir()
	d := &dropIn{
		t: t, program: asEtcd(t), name: name, dir: filepath.Join(dir, name), stderr: filepath.Join(dir, name+".log"),
		client: here.port(t), peer: here.port(t), peerScheme: "http", clientScheme: "http",
	}
	t.Cleanup(func() {
		if d.proc == nil {
			return
		}
		if err := d.proc.kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the log of %s ends:\n%s", name, tail(d.stderr, 40))
		}
	})
	return d
}

// listed is the member as it is written in --initial-cluster.
func (d *dropIn) listed() string { return d.name + "=" + d.peerScheme + "://" + d.peer }

// line is the command line that an operator writes for it.
func (d *dropIn) line(more ...string) []string {
	at := d.clientScheme + "://" + d.client
	return append([]string{
		"--name", d.name, "--data-dir=" + d.dir, "-listen-client-urls", at, "--advertise-client-urls=" + at,
		"--listen-peer-urls", d.peerScheme + "://" + d.peer, "--initial-advertise-peer-urls", d.peerScheme + "://" + d.peer,
		"--initial-cluster-token", "drop-in",
	}, more...)
}

// launch starts a process with arguments, in an environment with these variables more.
func (d *dropIn) launch(env []string, args ...string) {
	d.t.Helper()
	p, err := startProcess("env", append(append(env, d.program), args...), d.stderr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.proc = p
}

// start starts it with its line and waits for the words that tools wait for.
func (d *dropIn) start(more ...string) {
	d.t.Helper()
	d.launch(nil, d.line(more...)...)
	d.awaitReady()
}

func (d *dropIn) awaitReady() {
	d.t.Helper()
	await(d.t, d.name+" is ready", patience, func(context.Context) error {
		if err := d.proc.died(); err != nil {
			return &hopeless{err}
		}
		if !strings.Contains(d.proc.log(), `"msg":"ready to serve client requests"`) {
			return errors.New("it has not said so")
		}
		return nil
	})
}

// stopTime is how long a member under etcd's command line may take to be gone.
const stopTime = 1500 * time.Millisecond

// end sends a signal, by which the process is to end in time.
func (d *dropIn) end(s syscall.Signal) {
	d.t.Helper()
	begin := time.Now()
	if err := d.proc.signal(s); err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.proc.exit(patience); err != nil {
		d.t.Fatal(err)
	}
	took := time.Since(begin)
	how, ok := d.proc.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !how.Signaled() || how.Signal() != s {
		d.t.Errorf("%s ended by %v, not by %v", d.name, d.proc.cmd.ProcessState, s)
	}
	if took > stopTime {
		d.t.Errorf("%s took %v to end", d.name, took)
	}
}

// ctl is etcdctl for some members.
func (d *dropIn) ctl(others ...*dropIn) *etcdctl {
	endpoints := []string{d.client}
	for _, o := range others {
		endpoints = append(endpoints, o.client)
	}
	return newEtcdctl(d.t, endpoints...)
}

// logLine is a line of a log in etcd's shape.
type logLine struct {
	Level  string `json:"level"`
	Time   string `json:"ts"`
	Caller string `json:"caller"`
	Msg    string `json:"msg"`
	Error  string `json:"error"`
}

// logLines reads a log whose every line has etcd's shape.
func logLines(text string) ([]logLine, error) {
	var out []logLine
	for line := range strings.Lines(text) {
		var l logLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return nil, fmt.Errorf("the log has the line %q: %w", line, err)
		}
		if _, err := time.Parse("2006-01-02T15:04:05.000000Z0700", l.Time); err != nil {
			return nil, fmt.Errorf("the log has the line %q: %w", line, err)
		}
		if !strings.HasPrefix(line, `{"level":"`) || l.Caller == "" || l.Msg == "" {
			return nil, fmt.Errorf("the log has the line %q", line)
		}
		out = append(out, l)
	}
	return out, nil
}
