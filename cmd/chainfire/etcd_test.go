package main

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chainfire/etcdflags"
	"chainfire/internal/etcdlog"
	"chainfire/node"
)

func TestTheNameOfTheProgramOrTheFirstWordSaysWhoseCommandLineItIs(t *testing.T) {
	for _, c := range []struct {
		argv, args []string
		ok         bool
	}{
		{[]string{"etcd"}, []string{}, true},
		{[]string{"/usr/bin/etcd", "--name", "x"}, []string{"--name", "x"}, true},
		{[]string{"etcd.exe", "-h"}, []string{"-h"}, true},
		{[]string{"chainfire", "etcd", "--name=x"}, []string{"--name=x"}, true},
		{[]string{"chainfire", "serve", "etcd"}, nil, false},
		{[]string{"/opt/etcd/chainfire"}, nil, false},
		{[]string{"etcdctl"}, nil, false},
		{nil, nil, false},
	} {
		if args, ok := etcdArgs(c.argv); ok != c.ok || !slices.Equal(args, c.args) {
			t.Errorf("%q: %q, %t", c.argv, args, ok)
		}
	}
}

// etcdOptionsOf reads a command line up to what a member is started with.
func etcdOptionsOf(t *testing.T, args ...string) (*etcdOptions, string, error) {
	t.Helper()
	cfg, _, _, err := etcdflags.Parse(etcdflags.Input{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	log, _, err := etcdlog.New(etcdlog.Options{Level: "info", Stdout: io.Discard, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DataDir == "" {
		cfg.DataDir = filepath.Join(t.TempDir(), "d")
	}
	cfg.Settle("")
	o, err := newEtcdOptions(cfg, log)
	if err == nil {
		err = o.form(cfg, log)
	}
	return o, out.String(), err
}

func TestAQuotaOfEtcdMeansWhatItMeansToEtcd(t *testing.T) {
	for flag, want := range map[string]int64{"0": 2 << 30, "-1": 0, "8589934592": 8 << 30} {
		o, _, err := etcdOptionsOf(t, "--quota-backend-bytes="+flag)
		if err != nil || o.node.QuotaBytes != want {
			t.Errorf("%s: %+v, %v", flag, o, err)
		}
	}
}

func TestTheListAndItsStateSayHowAMemberBegins(t *testing.T) {
	own := []string{"--name=a", "--initial-advertise-peer-urls=http://127.0.0.1:1", "--listen-peer-urls=http://127.0.0.1:1", "--initial-cluster-token=t"}
	alone, _, err := etcdOptionsOf(t, append(own, "--initial-cluster=a=http://127.0.0.1:1")...)
	if err != nil || alone.node.Static != nil || alone.node.Join != nil || !alone.node.Plain || !alone.node.NoPromote {
		t.Errorf("alone: %+v, %v", alone, err)
	}
	list := "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2,b=http://127.0.0.1:3"
	together, _, err := etcdOptionsOf(t, append(own, list)...)
	if err != nil {
		t.Fatal(err)
	}
	want := []node.StaticMember{{Name: "b", PeerURLs: []string{"http://127.0.0.1:2", "http://127.0.0.1:3"}}, {Name: "a", PeerURLs: []string{"http://127.0.0.1:1"}}}
	if s := together.node.Static; s == nil || s.Token != "t" || !slices.EqualFunc(s.Members, want, func(a, b node.StaticMember) bool {
		return a.Name == b.Name && slices.Equal(a.PeerURLs, b.PeerURLs)
	}) {
		t.Errorf("together: %+v", s)
	}
	joins, _, err := etcdOptionsOf(t, append(own, list, "--initial-cluster-state=existing")...)
	if err != nil || joins.node.Static != nil || !slices.Equal(joins.node.Join, []string{"http://127.0.0.1:2", "http://127.0.0.1:3"}) {
		t.Errorf("joins: %+v, %v", joins.node.Join, err)
	}
}

func TestTLSThatNoURLAsksForIsLeftOutWithAWarning(t *testing.T) {
	o, said, err := etcdOptionsOf(t, "--cert-file=/none", "--key-file=/none", "--client-cert-auth", "--peer-cert-file=/none")
	if err != nil || o.tls.on() || o.node.PeerFiles.Given() || strings.Count(said, `"level":"warn"`) != 2 {
		t.Errorf("%+v, %v\n%s", o, err, said)
	}
}

func TestTLSBetweenMembersIsNotSaidToBeWhereNoURLAsksForIt(t *testing.T) {
	for _, c := range []struct {
		url  string
		told bool
	}{{"http://127.0.0.1:1", true}, {"https://127.0.0.1:1", false}} {
		_, said, err := etcdOptionsOf(t, "--peer-auto-tls", "--listen-peer-urls="+c.url, "--initial-advertise-peer-urls="+c.url, "--initial-cluster=default="+c.url)
		if err != nil || strings.Contains(said, `"peer-url":"`+c.url) != c.told {
			t.Errorf("%s: %v, %s", c.url, err, said)
		}
	}
}

// TestAMemberIsTakenFromItsAddressesUnlessThatIsLeftOut, as by etcd.
func TestAMemberIsTakenFromItsAddressesUnlessThatIsLeftOut(t *testing.T) {
	line := []string{
		"--listen-peer-urls=https://127.0.0.1:1", "--initial-advertise-peer-urls=https://127.0.0.1:1", "--initial-cluster=default=https://127.0.0.1:1",
		"--peer-cert-file=c", "--peer-key-file=k", "--peer-trusted-ca-file=a",
	}
	for _, c := range []struct {
		more  []string
		looks bool
	}{{nil, true}, {[]string{"--peer-skip-client-san-verification"}, false}} {
		if o, _, err := etcdOptionsOf(t, slices.Concat(line, c.more)...); err != nil || o.node.Peers.Sources != c.looks {
			t.Errorf("%q: %+v, %v", c.more, o, err)
		}
	}
}

func TestAMemberHasAsManyPeerURLsAsAreGiven(t *testing.T) {
	o, said, err := etcdOptionsOf(t, "--name=a", "--listen-peer-urls=http://127.0.0.1:2,http://127.0.0.1:1,unix:///run/a",
		"--initial-advertise-peer-urls=http://127.0.0.1:1,https://127.0.0.1:3", "--initial-cluster=a=https://127.0.0.1:3,a=http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	p := o.node.Peers
	if !slices.Equal(p.Listen, []string{"http://127.0.0.1:1", "http://127.0.0.1:2", "unix:///run/a"}) ||
		!slices.Equal(p.Advertise, []string{"http://127.0.0.1:1", "https://127.0.0.1:3"}) || !o.node.Plain {
		t.Errorf("%+v, plain %t", p, o.node.Plain)
	}
	if !strings.Contains(said, "with TLS and without it") || !strings.Contains(said, "taken for a member") {
		t.Errorf("nothing is said of the mixture: %s", said)
	}
}

func TestAnAddressWithAndWithoutTLSIsOnePort(t *testing.T) {
	cfg, _, _, err := etcdflags.Parse(etcdflags.Input{Args: []string{
		"--listen-client-urls=http://127.0.0.1:0,https://127.0.0.1:0", "--listen-metrics-urls=http://127.0.0.2:0", "--advertise-client-urls=http://x:1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	ports, err := openPorts(cfg)
	if err != nil || len(ports) != 2 || !ports[0].plain || !ports[0].secure || !ports[1].plain || ports[1].secure {
		t.Errorf("%+v, %v", ports, err)
	}
	for _, p := range ports {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	cfg.ListenMetrics = cfg.ListenClient
	if _, err := openPorts(cfg); err == nil || !strings.Contains(err.Error(), "--listen-metrics-urls") {
		t.Errorf("two flags with one address: %v", err)
	}
}

func TestEtcdsCommandLineHasS3WhereItIsAskedFor(t *testing.T) {
	o, _, err := etcdOptionsOf(t, "--name=a")
	if err != nil || o.s3.on || o.node.OweFirstKey {
		t.Errorf("by default: %+v, %v", o.s3, err)
	}
	o, _, err = etcdOptionsOf(t, "--name=a", "--listen-s3=0.0.0.0:9000", "--s3-domain=s3.example.org", "--s3-trust-forwarded", "--s3-region=eu", "--seal-key-file=/k", "--s3-background-rate=3MiB")
	if err != nil {
		t.Fatal(err)
	}
	if !o.s3.on || !o.s3.listen.given || !o.node.OweFirstKey || o.node.SealKeyFile != "/k" || o.s3.region != "eu" || o.node.BodyRate != 3<<20 || !o.s3.trustForwarded || !slices.Equal(o.s3.domains, []string{"s3.example.org"}) {
		t.Errorf("asked for: %+v", o.s3)
	}
	for args, want := range map[string]string{
		"--s3-domain=s3.example.org": "give that as well", "--s3-trust-forwarded": "give that as well", "--listen-s3=9000": "give HOST:PORT",
		"--s3-background-rate=1MiB": "give that as well", "--s3-background-rate=1GB/s": "--s3-background-rate: size",
	} {
		if _, _, err := etcdOptionsOf(t, "--name=a", args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
