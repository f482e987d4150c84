package etcdflags

import (
	"errors"
	"flag"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"
)

func parse(args ...string) (*Config, []Note, error) {
	c, _, notes, err := Parse(Input{Args: args, ReadFile: os.ReadFile})
	return c, notes, err
}

func mustParse(t *testing.T, args ...string) *Config {
	t.Helper()
	c, _, err := parse(args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return c
}

func TestFlagsAreReadAsByGo(t *testing.T) {
	for _, args := range [][]string{
		{"--name", "m1", "--force-new-cluster"},
		{"-name", "m1", "-force-new-cluster=true"},
		{"--name=m0", "-name=m1", "--force-new-cluster=1"},
	} {
		c := mustParse(t, args...)
		if c.Name != "m1" || !c.ForceNewCluster {
			t.Errorf("%v: name %q, force-new-cluster %t", args, c.Name, c.ForceNewCluster)
		}
	}
}

func TestWhatIsNoFlagIsToldApartFromWhatContradictsItself(t *testing.T) {
	for _, c := range []struct {
		args  []string
		usage bool
		says  string
	}{
		{[]string{"--nope"}, true, "nope"},
		{[]string{"--heartbeat-interval=x"}, true, "heartbeat-interval"},
		{[]string{"--initial-cluster-state=old"}, true, "initial-cluster-state"},
		{[]string{"--listen-client-urls=http://127.0.0.1:2379/x"}, true, "path"},
		{[]string{"--listen-client-urls=127.0.0.1:2379"}, true, "listen-client-urls"},
		{[]string{"--feature-gates=Nope=true"}, true, "Nope"},
		{[]string{"--v2-deprecation=not-yet"}, true, "v2-deprecation"},
		{[]string{"--discovery=https://x"}, true, "discovery"},
		{[]string{"gibberish"}, false, "gibberish"},
		{[]string{"--listen-client-urls=http://127.0.0.1:2379"}, false, "--advertise-client-urls"},
		{[]string{"--listen-peer-urls=http://example.org:2380"}, false, "--listen-peer-urls"},
		{[]string{"--election-timeout=100"}, false, "--election-timeout"},
		{[]string{"--election-timeout=60000"}, false, "--election-timeout"},
		{[]string{"--heartbeat-interval=0"}, false, "--heartbeat-interval"},
		{[]string{"--auto-compaction-mode=both"}, false, "--auto-compaction-mode"},
		{[]string{"--discovery-srv=x", "--initial-cluster=a=http://h:1"}, false, "--discovery-srv"},
		{[]string{"--discovery-token=x"}, false, "--discovery-token"},
		{[]string{"--discovery-srv=x"}, false, "--discovery-srv"},
		{[]string{"--discovery-endpoints=x", "--discovery-token=y"}, false, "--discovery-endpoints"},
		{[]string{"--discovery-fallback=proxy"}, false, "--discovery-fallback"},
		{[]string{"--logger=capnslog"}, false, "--logger"},
		{[]string{"--log-format=xml"}, false, "--log-format"},
		{[]string{"--log-outputs=default,stdout"}, false, "--log-outputs"},
		{[]string{"--log-outputs=systemd/journal,stderr"}, false, "--log-outputs"},
		{[]string{"--enable-log-rotation"}, false, "--log-outputs"},
		{[]string{"--enable-log-rotation", "--log-outputs=/tmp/x", "--log-rotation-config-json={"}, false, "--log-rotation-config-json"},
		{[]string{"--tls-min-version=TLS1.1"}, false, "--tls-min-version"},
		{[]string{"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"}, false, "--tls-max-version"},
		{[]string{"--feature-gates=LeaseCheckpointPersist=true"}, false, "LeaseCheckpoint"},
		{[]string{"--config-file=/nowhere"}, false, "/nowhere"},
	} {
		_, _, err := parse(c.args...)
		var usage *UsageError
		if err == nil || errors.As(err, &usage) != c.usage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v (usage %t)", c.args, err, errors.As(err, &usage))
		}
	}
}

// TestWhatEtcdTakesIsTakenAndWhatItRefusesIsRefused holds our checks to etcd's own.
func TestWhatEtcdTakesIsTakenAndWhatItRefusesIsRefused(t *testing.T) {
	lines := []string{
		"", "--name=a", "--heartbeat-interval=10 --election-timeout=50", "--heartbeat-interval=10 --election-timeout=49",
		"--election-timeout=50000", "--election-timeout=50001", "--heartbeat-interval=4611686018427387904",
		"--listen-client-urls=http://0.0.0.0:1,unix://x --advertise-client-urls=http://h:1",
		"--advertise-client-urls=http://:1", "--initial-advertise-peer-urls=http://:1", "--listen-peer-urls=http://:1",
		"--listen-peer-urls=http://[::1]:1", "--listen-metrics-urls=http://h:1", "--listen-client-http-urls=http://h:1",
		"--initial-cluster=", "--initial-cluster=x", "--auto-compaction-mode=", "--auto-compaction-mode=revision",
		"--tls-min-version=", "--tls-max-version=TLS1.3", "--tls-min-version=TLS1.3 --cipher-suites=x", "--cipher-suites=x",
		"--log-outputs=stdout,stderr", "--log-outputs=stdout,default", "--log-format=console", "--log-format=",
		"--enable-log-rotation --log-outputs=stdout", "--compact-hash-check-time=0", "--cors=http://a:1,http://b:1",
		"--feature-gates=AllAlpha=true", "--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true",
		"--feature-gates=LeaseCheckpointPersist=true", "--feature-gates=AllAlpha=true,LeaseCheckpoint=false",
		"--enable-distributed-tracing --distributed-tracing-sampling-rate=-1", "--host-whitelist=", "--logger=",
	}
	for _, line := range lines {
		args := strings.Fields(line)
		_, _, ours := parse(args...)
		if theirs := etcdTakes(args); (ours == nil) != (theirs == nil) {
			t.Errorf("%s: here %v, with etcd %v", line, ours, theirs)
		}
	}
}

// etcdTakes is what etcd says to flags, but for those that only its program adds.
func etcdTakes(args []string) error {
	cfg := embed.NewConfig()
	cfg.LogOutputs = []string{"/dev/null"}
	fs := flag.NewFlagSet("etcd", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	cfg.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	given := map[string]string{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = f.Value.String() })
	// What etcd's program does between the two.
	for name, to := range map[string]*[]string{"log-outputs": &cfg.LogOutputs, "cipher-suites": &cfg.CipherSuites} {
		if v, ok := given[name]; ok {
			*to = strings.Split(v, ",")
		}
	}
	for name, to := range etcdURLs(cfg) {
		if v, ok := given[name]; ok {
			*to = mustURLs(v)
		}
	}
	return cfg.Validate()
}

func TestTheEnvironmentSetsWhatNoFlagDoes(t *testing.T) {
	c, _, notes, err := Parse(Input{
		Args:    []string{"--name=m1"},
		Environ: []string{"ETCD_DATA_DIR=/d", "ETCD_HEARTBEAT_INTERVAL=50", "ETCD_PORT_2379_TCP=x", "ETCD_WAL_DIR=", "HOME=/"},
	})
	if err != nil || c.Name != "m1" || c.DataDir != "/d" || c.Heartbeat != 50 {
		t.Fatalf("%+v, %v", c, err)
	}
	var warned []string
	for _, n := range notes {
		if n.Warn {
			warned = append(warned, n.Flag)
		}
	}
	if !slices.Equal(warned, []string{"ETCD_PORT_2379_TCP"}) {
		t.Errorf("warned of %v", warned)
	}
}

func TestAVariableBesideItsFlagAndABadOneAreErrorsAsWithEtcd(t *testing.T) {
	for _, c := range []struct{ env, says string }{
		{"ETCD_NAME=x", "--name"}, {"ETCD_NAME=", "ETCD_NAME"}, {"ETCD_HEARTBEAT_INTERVAL=x", "ETCD_HEARTBEAT_INTERVAL"},
	} {
		_, _, _, err := Parse(Input{Args: []string{"--name=m1"}, Environ: []string{c.env}})
		var usage *UsageError
		if err == nil || errors.As(err, &usage) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.env, err)
		}
	}
}

func TestWhatHasNoEffectIsToldOnce(t *testing.T) {
	_, notes, err := parse("--snapshot-count=5", "--max-wals=5", "-vv")
	var told []string
	for _, n := range notes {
		told = append(told, n.Flag)
	}
	if err != nil || !slices.Equal(told, []string{"--snapshot-count", "--vv"}) {
		t.Errorf("%v, %v", told, err)
	}
}

const exampleFile = `
name: m1
data-dir: /d
heartbeat-interval: 50
election-timeout: 500
snapshot-count: 7
watch-progress-notify-interval: 1000000000
listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:0
advertise-client-urls: http://h:1
initial-cluster: m1=http://h:2
initial-advertise-peer-urls: http://h:2
listen-metrics-urls: http://0.0.0.0:3
log-outputs: [stdout]
cipher-suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
cors: http://a:1
host-whitelist: b,a
unknown-field: {x: 1}
max-concurrent-streams: 9
client-transport-security: {cert-file: c, key-file: k, client-cert-auth: true, trusted-ca-file: t, allowed-hostname: [x]}
peer-transport-security: {cert-file: pc, key-file: pk, trusted-ca-file: pt, allowed-cn: [node]}
`

func TestAFileSaysEverythingByItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd.yaml")
	if err := os.WriteFile(path, []byte(exampleFile), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, notes, err := Parse(Input{
		Args: []string{"--name=other", "--listen-client-urls=http://127.0.0.1:9"}, ReadFile: os.ReadFile,
		Environ: []string{"ETCD_NAME=third", "ETCD_CONFIG_FILE=" + path, "ETCD_HEARTBEAT_INTERVAL=x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Name, want.DataDir, want.Heartbeat, want.Election, want.SnapshotCount, want.ProgressNotify = "m1", "/d", 50, 500, 7, 1e9
	want.ListenClient, want.AdvertiseClient = mustURLs("http://127.0.0.1:0,http://127.0.0.1:1"), mustURLs("http://h:1")
	want.InitialCluster, want.AdvertisePeer, want.ListenMetrics = "m1=http://h:2", mustURLs("http://h:2"), mustURLs("http://0.0.0.0:3")
	want.LogOutputs, want.CipherSuites = []string{"stdout"}, []string{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}
	want.CORS, want.HostWhitelist, want.MaxStreams = mustURLs("http://a:1"), []string{"a", "b"}, 9
	want.ClientTLS = TLS{CertFile: "c", KeyFile: "k", ClientCertAuth: true, TrustedCAFile: "t", AllowedHostnames: []string{"x"}}
	want.PeerTLS = TLS{CertFile: "pc", KeyFile: "pk", TrustedCAFile: "pt", AllowedCNs: []string{"node"}}
	if d := cmp.Diff(want, c, cmp.AllowUnexported(Config{})); d != "" {
		t.Error(d)
	}
	if len(notes) != 2 || notes[1].Flag != "--snapshot-count" {
		t.Errorf("told %v", notes)
	}
}

// TestFilesAreReadAsByEtcd holds what is taken of a file, and refused, to etcd's own.
func TestFilesAreReadAsByEtcd(t *testing.T) {
	dir := t.TempDir()
	for i, text := range []string{
		exampleFile, "", "name: x", "name: [x]", "heartbeat-interval: x", "heartbeat-interval: -1", "election-timeout: 100",
		"log-outputs: stdout", "initial-cluster-state: old", "feature-gates: Nope=true", "feature-gates: CompactHashCheck=true",
		"listen-peer-urls: http://h:1", "auto-compaction-mode: x", "peer-transport-security: {cert-file: x}", ": :", "watch-progress-notify-interval: 10m",
		"initial-cluster: a=http://h:1\ninitial-cluster-state: existing", "enable-pprof: yes", "cors: '*'", "host-whitelist: ''", "tls-min-version: x",
		"socket-options: {reuse-port: true}", "NAME: y",
	} {
		path := filepath.Join(dir, string(rune('a'+i)))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ours, _, err := parse("--config-file", path)
		theirs, terr := embed.ConfigFromFile(path)
		if (err == nil) != (terr == nil) {
			t.Errorf("%s: here %v, with etcd %v", text, err, terr)
		}
		if err != nil || terr != nil {
			continue
		}
		if ours.Name != theirs.Name || ours.Heartbeat != theirs.TickMs || ours.InitialCluster != theirs.InitialCluster || ours.InitialClusterState != theirs.ClusterState {
			t.Errorf("%s: %+v is not %+v", text, ours, theirs)
		}
		for name, u := range etcdURLs(theirs) {
			f, ok := lookup(name)
			if got, want := f.valueIn(ours), URLs(*u).String(); !ok || got != want {
				t.Errorf("%s: %s is %q, with etcd %q", text, name, got, want)
			}
		}
	}
}

func TestNamesOfHostsAreComparedByTheirAddresses(t *testing.T) {
	resolve := func(host string) (string, error) {
		if host == "one" || host == "uno" {
			return "10.0.0.1", nil
		}
		return "", errors.New("no such host")
	}
	for _, c := range []struct {
		list, advertised string
		others           int
		says             string
	}{
		{"a=http://one:1", "http://one:1", 0, ""},
		{"a=http://uno:1,b=http://two:1", "http://one:1", 1, ""},
		{"a=http://10.0.0.1:1", "http://uno:1", 0, ""},
		{"a=http://10.0.0.1:2", "http://one:1", 0, "--initial-advertise-peer-urls"},
		{"a=http://nobody:1", "http://one:1", 0, "--initial-advertise-peer-urls"},
		{"b=http://one:1", "http://one:1", 0, `"a"`},
		{"a=http://one:1,b=http://one:1", "http://one:1", 0, "http://one:1"},
		{"a=one:1", "http://one:1", 0, "--initial-cluster"},
	} {
		cfg := mustParse(t, "--name=a", "--initial-cluster="+c.list, "--initial-advertise-peer-urls="+c.advertised)
		_, others, err := cfg.Members(resolve)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || len(others) != c.others {
			t.Errorf("%s, %s: %v, %v", c.list, c.advertised, others, err)
		}
	}
}

func TestWhatIsLeftOutFollowsFromTheRest(t *testing.T) {
	c := mustParse(t, "--name=a", "--listen-peer-urls=http://0.0.0.0:2390")
	if !c.Settle("10.0.0.7") || c.AdvertisePeer.String() != "http://10.0.0.7:2390" || c.AdvertiseClient.String() != "http://localhost:2379" ||
		c.InitialCluster != "a=http://10.0.0.7:2390" || c.DataDir != "a.etcd" {
		t.Errorf("%+v", c)
	}
	c = mustParse(t, "--data-dir=/d")
	if c.Settle("10.0.0.7") || c.InitialCluster != "default=http://localhost:2380" || c.DataDir != "/d" {
		t.Errorf("%+v", c)
	}
}

// etcdURLs are the lists of URLs of etcd's configuration, by their flags.
func etcdURLs(c *embed.Config) map[string]*[]url.URL {
	return map[string]*[]url.URL{
		"listen-peer-urls": &c.ListenPeerUrls, "listen-client-urls": &c.ListenClientUrls,
		"listen-client-http-urls": &c.ListenClientHttpUrls, "listen-metrics-urls": &c.ListenMetricsUrls,
		"initial-advertise-peer-urls": &c.AdvertisePeerUrls, "advertise-client-urls": &c.AdvertiseClientUrls,
	}
}

// lookup finds a flag of the table.
func lookup(name string) (Flag, bool) {
	all := Flags()
	i := slices.IndexFunc(all, func(f Flag) bool { return f.Name == name })
	if i < 0 {
		return Flag{}, false
	}
	return all[i], true
}
