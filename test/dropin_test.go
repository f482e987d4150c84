package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestABinaryCalledEtcdRunsByEtcdsCommandLine(t *testing.T) {
	t.Parallel()
	d := newDropIn(t, "m1")
	metrics, socket := here.port(t), filepath.Join(t.TempDir(), "s")
	line := []string{
		"--initial-cluster", d.listed(), "--listen-metrics-urls=http://" + metrics,
		"--listen-client-urls=http://" + d.client + ",unix://" + socket, "--snapshot-count=1000", "--quota-backend-bytes", "8589934592",
		"--auto-compaction-retention=1", "--heartbeat-interval=100", "--election-timeout=1000", "--max-request-bytes=33554", "--logger=zap", "--log-level=info",
	}
	d.start(line...)
	d.ctl().prints("OK\n", "", "put", "a", "b")
	newEtcdctl(t, "unix://"+socket).prints("a\nb\n", "", "get", "a")
	d.ctl().refused("etcdserver: request is too large", "put", "big", strings.Repeat("x", 40_000))
	for path, want := range map[string]int{"/health": http.StatusOK, "/metrics": http.StatusOK, "/v3/kv/range": http.StatusNotFound} {
		if a := get(path).mustAt(t, metrics); a.code != want {
			t.Errorf("%s where metrics are: %d %s", path, a.code, a.body)
		}
	}

	lines, err := logLines(d.proc.log())
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, l := range lines {
		said = append(said, l.Msg)
		if !slices.Contains([]string{"debug", "info", "warn"}, l.Level) {
			t.Errorf("a line of level %s in normal operation: %s: %s", l.Level, l.Msg, l.Error)
		}
	}
	for _, want := range []string{
		"ready to serve client requests", "serving client traffic insecurely; this is strongly discouraged!", "serving metrics", "a flag has no effect here",
	} {
		if !slices.Contains(said, want) {
			t.Errorf("the log has no line %q", want)
		}
	}

	d.end(syscall.SIGTERM)
	d.start(line...)
	d.ctl().prints("a\nb\n", "", "get", "a")
	d.end(syscall.SIGINT)
	if lines, err = logLines(d.proc.log()); err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if l.Level == "error" {
			t.Errorf("a stop in good order says %s: %s", l.Msg, l.Error)
		}
	}
}

func TestAMemberIsGoneInTimeWhateverItsClientsDo(t *testing.T) {
	t.Parallel()
	d := newDropIn(t, "m1")
	d.start("--initial-cluster", d.listed())
	c, err := newClient(d.client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	changes := c.Watch(ctx, "a", clientv3.WithCreatedNotify())
	if r := <-changes; !r.Created {
		t.Fatalf("%+v", r)
	}
	// A request whose body never ends.
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	d.end(syscall.SIGTERM)
}

// mistakes are command lines that etcd refuses before it opens a port, each with what the
// error is to name.
var mistakes = []struct {
	env  []string
	args []string
	says string
}{
	{nil, []string{"--no-such-flag"}, "no-such-flag"},
	{nil, []string{"--heartbeat-interval=abc"}, "heartbeat-interval"},
	{nil, []string{"gibberish"}, "gibberish"},
	{nil, []string{"--listen-client-urls=http://127.0.0.1:1"}, "--advertise-client-urls"},
	{nil, []string{"--listen-client-urls=http://127.0.0.1:1/x"}, "listen-client-urls"},
	{nil, []string{"--listen-peer-urls=http://example.org:1"}, "http://example.org:1"},
	{nil, []string{"--election-timeout=100"}, "--election-timeout"},
	{nil, []string{"--initial-cluster-state=old"}, "initial-cluster-state"},
	{nil, []string{"--auto-compaction-mode=zz"}, "auto-compaction-mode"},
	{nil, []string{"--discovery-srv=x", "--initial-cluster=a=http://127.0.0.1:1"}, "discovery-srv"},
	{nil, []string{"--discovery-token=x"}, "--discovery-token"},
	{nil, []string{"--discovery-fallback=proxy"}, "--discovery-fallback"},
	{nil, []string{"--logger=foo"}, "logger"},
	{nil, []string{"--log-format=foo"}, "log"},
	{nil, []string{"--enable-log-rotation"}, "--log-outputs"},
	{nil, []string{"--feature-gates=Nope=true"}, "Nope"},
	{nil, []string{"--discovery=http://x"}, "discovery"},
	{nil, []string{"--config-file=/no/such/file"}, "/no/such/file"},
	{[]string{"ETCD_HEARTBEAT_INTERVAL=x"}, nil, "ETCD_HEARTBEAT_INTERVAL"},
	{[]string{"ETCD_NAME=x"}, []string{"--name", "y"}, "ETCD_NAME"},
	{nil, []string{"--version"}, "etcd Version: 3.7.3\n"},
	{nil, []string{"-h"}, "--initial-advertise-peer-urls"},
}

func TestMistakesEndAsWithEtcdAndNameTheFlag(t *testing.T) {
	t.Parallel()
	ours, theirs := asEtcd(t), etcdTool(t, "etcd")
	for _, m := range mistakes {
		var answers []answer
		for _, program := range []string{ours, theirs} {
			a := runToEnd(t, t.TempDir(), "env", slices.Concat(m.env, []string{program}, m.args)...)
			if !strings.Contains(a.stdout+a.stderr, m.says) {
				t.Errorf("%s %v %v does not name %q:\n%s%s", program, m.env, m.args, m.says, a.stdout, a.stderr)
			}
			answers = append(answers, a)
		}
		if answers[0].code != answers[1].code {
			t.Errorf("%v %v: exit code %d, with etcd %d\n%s", m.env, m.args, answers[0].code, answers[1].code, answers[0].stderr)
		}
	}
}

func TestACommandOfTheNameDoesTheSame(t *testing.T) {
	t.Parallel()
	a := runToEnd(t, t.TempDir(), here.binary, "etcd", "--version")
	if b := runToEnd(t, t.TempDir(), asEtcd(t), "--version"); a.code != 0 || a != b || !strings.HasPrefix(a.stdout, "etcd Version: 3.7.3\nGit SHA: ") {
		t.Errorf("%+v, %+v", a, b)
	}
	if a := runToEnd(t, t.TempDir(), here.binary, "etcd", "gateway", "start"); a.code != 1 || !strings.Contains(a.stderr, "gateway") {
		t.Errorf("%+v", a)
	}
}

// refusals are what etcd takes, and this program cannot do as etcd does.
func TestWhatCannotBeDoneIsRefusedBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	used := filepath.Join(t.TempDir(), "used")
	if err := os.MkdirAll(filepath.Join(used, "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"snapshot", []string{"--data-dir=" + used}},
		{"--peer-cert-file", []string{"--listen-peer-urls=https://127.0.0.1:1", "--initial-advertise-peer-urls=https://127.0.0.1:1"}},
		{"--peer-client-key-file", []string{"--listen-peer-urls=https://127.0.0.1:1", "--peer-cert-file=x", "--peer-key-file=x", "--peer-trusted-ca-file=x", "--peer-client-cert-file=x"}},
		{"--cert-file", []string{"--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"}},
		{"--discovery-srv", []string{"--discovery-srv=example.org"}},
		{"--peer-cert-file", []string{"--peer-auto-tls", "--peer-cert-allowed-cn=x"}},
		{"--heartbeat-interval", []string{"--heartbeat-interval=5"}},
		{"--max-request-bytes", []string{"--max-request-bytes=1000000000"}},
		{"--auth-token", []string{"--auth-token=jwt"}},
		{"--auto-compaction-retention", []string{"--auto-compaction-retention=soon"}},
		{"--initial-cluster", []string{"--name=a", "--initial-cluster=b=http://localhost:2380"}},
		{"--initial-advertise-peer-urls", []string{"--name=a", "--initial-cluster=a=http://localhost:2390"}},
		{"--initial-cluster", []string{"--initial-cluster-state=existing"}},
	} {
		dir := t.TempDir()
		args := append([]string{"--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:1", "--data-dir=" + filepath.Join(dir, "d")}, c.args...)
		a := runToEnd(t, dir, asEtcd(t), args...)
		if a.code != 1 || !strings.Contains(a.stderr, c.says) {
			t.Errorf("%v: exit code %d, says\n%s", c.args, a.code, a.stderr)
		}
		if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
			t.Errorf("%v: left %v, %v", c.args, names, err)
		}
	}
}

func TestTheEnvironmentAndAFileSayTheSameAsFlags(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"environment", "file"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			d := newDropIn(t, "m1")
			client, peer := "http://"+d.client, "http://"+d.peer
			if how == "environment" {
				d.launch([]string{
					"ETCD_NAME=m1", "ETCD_DATA_DIR=" + d.dir, "ETCD_LISTEN_CLIENT_URLS=" + client, "ETCD_ADVERTISE_CLIENT_URLS=" + client,
					"ETCD_LISTEN_PEER_URLS=" + peer, "ETCD_INITIAL_ADVERTISE_PEER_URLS=" + peer, "ETCD_INITIAL_CLUSTER=m1=" + peer, "ETCD_SERVICE_HOST=x",
				})
			} else {
				path := filepath.Join(t.TempDir(), "etcd.yaml")
				text := fmt.Sprintf("name: m1\ndata-dir: %s\nlisten-client-urls: %s\nadvertise-client-urls: %s\nlisten-peer-urls: %s\ninitial-advertise-peer-urls: %s\ninitial-cluster: m1=%s\nlog-outputs: [stderr]\n",
					d.dir, client, client, peer, peer, peer)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				d.launch([]string{"ETCD_NAME=other"}, "--config-file", path, "--data-dir", "/nowhere")
			}
			d.awaitReady()
			if out, _, code := d.ctl().run("", "member", "list"); code != 0 || !strings.Contains(out, "started, m1, "+peer+", "+client) {
				t.Errorf("%d %s", code, out)
			}
			if warned := strings.Contains(d.proc.log(), "ETCD_SERVICE_HOST"); warned != (how == "environment") {
				t.Errorf("a variable that means nothing is told of: %t", warned)
			}
		})
	}
}

func TestSystemdIsToldWhenTheMemberServes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := newDropIn(t, "m1")
	d.launch([]string{"NOTIFY_SOCKET=" + path}, d.line("--initial-cluster", d.listed())...)
	if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	d.ctl().prints("OK\n", "", "put", "a", "b")
}

func TestTheLogGoesWhereItIsSentTo(t *testing.T) {
	t.Parallel()
	d := newDropIn(t, "m1")
	file := filepath.Join(t.TempDir(), "log")
	d.launch(nil, d.line("--initial-cluster", d.listed(), "--log-outputs="+file, "--log-level=warn", "--log-format=console", "--max-wals=7")...)
	await(t, "a line in the file", patience, func(context.Context) error {
		if err := d.proc.died(); err != nil {
			return &hopeless{err}
		}
		b, err := os.ReadFile(file)
		if err == nil && !strings.Contains(string(b), "\twarn\tchainfire/etcd.go:") {
			err = errors.New("it is not there")
		}
		return err
	})
	if d.proc.log() != "" {
		t.Errorf("the error output has %s", d.proc.log())
	}
}

func TestHTTPAndCallsHavePortsOfTheirOwnIfToldTo(t *testing.T) {
	t.Parallel()
	d := newDropIn(t, "m1")
	pages := here.port(t)
	d.start("--initial-cluster", d.listed(), "--listen-client-http-urls=http://"+pages, "--enable-grpc-gateway=false")
	d.ctl().prints("OK\n", "", "put", "a", "b")
	if a := get("/version").mustAt(t, pages); a.code != http.StatusOK {
		t.Errorf("%+v", a)
	}
	if a := post("kv/range", `{"key":"YQ=="}`).mustAt(t, pages); a.code != http.StatusNotFound {
		t.Errorf("JSON without the gateway: %+v", a)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if a, err := get("/version").at(ctx, d.client); err == nil {
		t.Errorf("HTTP where calls are: %+v", a)
	}
}

func TestClientsSpeakTLSWhereTheURLSaysSo(t *testing.T) {
	t.Parallel()
	p := newClientPort(t)
	d := newDropIn(t, "m1")
	plain, metrics := here.port(t), here.port(t)
	d.clientScheme = "https"
	d.start(append(p.flags(), "--initial-cluster", d.listed(), "--listen-metrics-urls=http://"+metrics,
		"--listen-client-urls=https://"+d.client+",http://"+plain)...)
	secure := newEtcdctl(t, "https://"+d.client)
	secure.flags = p.ctlFlags("alice")
	secure.prints("OK\n", "", "put", "a", "b")
	newEtcdctl(t, plain).prints("a\nb\n", "", "get", "a")
	if a := get("/health").mustAt(t, metrics); a.code != http.StatusOK {
		t.Errorf("%+v", a)
	}
	if _, errOut, code := newEtcdctl(t, "http://"+d.client).run("", "get", "a"); code == 0 {
		t.Errorf("without TLS where TLS is spoken: %s", errOut)
	}
	if !strings.Contains(d.proc.log(), "serving client traffic securely") {
		t.Error("the log does not say that clients speak TLS")
	}
}
