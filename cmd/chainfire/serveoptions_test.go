package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"chainfire/pki"
)

// parseServe reads the flags of serve as the command does.
func parseServe(t *testing.T, args ...string) (*serveOptions, error) {
	t.Helper()
	var o serveOptions
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	o.flags(f)
	if err := f.Parse(args); err != nil {
		return &o, err
	}
	return &o, o.check()
}

func TestServeRefusesFlagsThatCannotBeMeant(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--election-timeout=249ms", "give at least 250ms"},
		{"--heartbeat-interval=100ms", "give at least 500ms"},
		{"--heartbeat-interval=1ms", "give at least 10ms"},
		{"--election-timeout=59s", ""},
		{"--election-timeout=2m", "give at most 1m0s"},
		{"--listen-client=0.0.0.0:2379", "--insecure-listen-remote"},
		{"--listen-client=:2379", "nothing protects it"},
		{"--listen-peer=http://10.0.0.1:2380", "nothing protects it"},
		{"--listen-peer=http://example.com:2380", "--insecure-listen-remote"},
		{"--listen-peer=http://[::]:2380", "--insecure-listen-remote"},
		{"--listen-peer=2380", "give HOST:PORT"},
		{"--listen-peer=ftp://127.0.0.1:2380", "give HOST:PORT"},
		{"--voters=4", "odd number"},
		{"--voters=11", "odd number"},
		{"--replace-after=100ms", "--election-timeout"},
		{"--bootstrap-from=n2", "with --join"},
		{"--listen-client=2379", "give HOST:PORT"},
		{"--listen-client=127.0.0.1:2380", "different ports"},
		{"--join=a/b", "HOST or HOST:PORT"},
		{"--join=", ""},
		{"--max-request-bytes=10", "between 1024 and"},
		{"--max-txn-ops=0", "--max-txn-ops 0: give between 1 and"},
		{"--max-txn-ops=1000000", "give between 1 and"},
		{"--max-concurrent-streams=0", "give at least 1"},
		{"--grpc-keepalive-interval=-1s", "give no time below 0"},
		{"--watch-progress-notify-interval=99ms", "give at least 100ms"},
		{"--max-request-bytes=1GiB", "between 1024 and"},
		{"--seed-rate=1KiB", "at least 65536"},
		{"--seed-rate=fast", "give bytes"},
		{"--progress=loud", "auto, bar, plain or json"},
		{"--data-dir=", "name a folder"},
		{"--peer-cert-file=c", "--peer-key-file, --peer-trusted-ca-file is missing"},
		{"--peer-cert-file=c --peer-trusted-ca-file=a", "--peer-key-file is missing"},
		{"--peer-cert-file=c --peer-key-file=k --peer-trusted-ca-file=a", ""},
		{"--peer-cert-file=c --peer-key-file=k --peer-trusted-ca-file=a --token=x", "leave the token away"},
		{"--peer-cert-file=c --peer-key-file=k --peer-trusted-ca-file=a --listen-peer=http://127.0.0.1:2380", "leave one of the two away"},
		{"--raft-engine=paxos", "give chainfire or etcd"},
		{"--raft-engine=", "give chainfire or etcd"},
		{"--corrupt-check-time=10ms", "--corrupt-check-time 10ms: give a time from 1s"},
		{"--corrupt-check-time=-1s", "0 for never"},
		{"--compact-hash-check-time=9999999h", "--compact-hash-check-time"},
		{"--corrupt-check-time=0 --compact-hash-check-time=0", ""},
	} {
		_, err := parseServe(t, strings.Fields(c.args)...)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.args, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want it to say %q", c.args, err, c.want)
		}
	}
}

func TestServeTakesLoopbackAndWhatIsAllowedByName(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"--listen-client=localhost:1", "--listen-peer=[::1]:1"},
		{"--listen-client=127.8.0.1:0", "--listen-peer=127.8.0.1:0"},
		{"--listen-client=0.0.0.0:1", "--listen-peer=10.0.0.1:2", "--insecure-listen-remote"},
		{"--join=10.0.0.1,[::1]:2380,http://h:1,https://h:1"},
		{"--listen-peer=0.0.0.0:2"}, // TLS protects it
		{"--listen-peer=https://0.0.0.0:2"},
		{"--listen-peer=http://127.0.0.1:2"},
		{"--listen-peer=http://0.0.0.0:2", "--insecure-listen-remote"},
		{"--voters=3", "--replace-after=5m", "--manage-voters=false"},
		{"--raft-engine=etcd"},
		{"--raft-engine=chainfire"},
	} {
		if _, err := parseServe(t, args...); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestTimesBecomeTicks(t *testing.T) {
	for _, c := range []struct {
		heartbeat, election, tick time.Duration
		ticks                     int
	}{
		{50 * time.Millisecond, 250 * time.Millisecond, 25 * time.Millisecond, 10},
		{100 * time.Millisecond, time.Second, 50 * time.Millisecond, 20},
		{30 * time.Millisecond, 160 * time.Millisecond, 15 * time.Millisecond, 11},
	} {
		o := serveOptions{heartbeat: c.heartbeat, election: c.election}
		tick, hb, el, err := o.ticks()
		if err != nil || tick != c.tick || hb != ticksPerHeartbeat || el != c.ticks {
			t.Errorf("%v and %v: ticks of %v, %d and %d, error %v", c.heartbeat, c.election, tick, hb, el, err)
		}
		if time.Duration(el)*tick < c.election {
			t.Errorf("%v became %v", c.election, time.Duration(el)*tick)
		}
	}
}

func TestMemberOptionsCarryTheFlags(t *testing.T) {
	o, err := parseServe(t, "--name=a", "--data-dir=d", "--listen-peer=127.0.0.1:7", "--seed-rate=10MiB", "--s3-background-rate=2MiB",
		"--join=h1,h2:9", "--advertise-client=c1:1,http://c2:2", "--voters=3", "--replace-after=2m", "--manage-voters=false",
		"--corrupt-check-time=3m", "--initial-corrupt-check")
	if err != nil {
		t.Fatal(err)
	}
	n, err := o.nodeOptions("127.0.0.1:5", noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	if n.Name != "a" || n.Dir != "d" || n.ListenPeer != "127.0.0.1:7" || n.SeedRate != 10<<20 || n.BodyRate != 2<<20 ||
		n.AdvertisePeer != "https://127.0.0.1:7" || n.Plain || len(n.Join) != 2 || n.Version == "" || n.Token != nil ||
		n.Voters != 3 || n.ReplaceAfter != 2*time.Minute || !n.NoPromote ||
		n.CompareEvery != 3*time.Minute || n.CompareCompactedEvery != time.Minute || !n.CompareAtStart {
		t.Errorf("options %+v", n)
	}
	if got := strings.Join(n.AdvertiseClient, " "); got != "http://c1:1 http://c2:2" {
		t.Errorf("client addresses %s", got)
	}
}

func noEnvironment(string) string { return "" }

func TestMembersSpeakPlainlyOnlyWhereItIsWritten(t *testing.T) {
	o, err := parseServe(t, "--listen-peer=http://127.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	n, err := o.nodeOptions("127.0.0.1:5", noEnvironment)
	if err != nil || !n.Plain || n.ListenPeer != "127.0.0.1:7" || n.AdvertisePeer != "http://127.0.0.1:7" {
		t.Errorf("options %+v, %v", n, err)
	}
}

func TestTokenComesFromTheFlagTheFileOrTheEnvironment(t *testing.T) {
	authority, err := pki.NewAuthority(7, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	token, err := pki.NewToken(authority.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.Text()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := func(name string) string {
		if name == tokenVariable {
			return token.Text()
		}
		return ""
	}
	for _, c := range []struct {
		args   []string
		getenv func(string) string
	}{
		{[]string{"--token=" + token.Text()}, noEnvironment},
		{[]string{"--token-file=" + file}, noEnvironment},
		{nil, environment},
	} {
		o, err := parseServe(t, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		n, err := o.nodeOptions("127.0.0.1:5", c.getenv)
		if err != nil || n.Token == nil || *n.Token != token {
			t.Errorf("%v: token %v, %v", c.args, n.Token, err)
		}
	}
	for _, args := range [][]string{{"--token=cf1.secret"}, {"--token-file=" + file + "x"}} {
		o, err := parseServe(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.nodeOptions("127.0.0.1:5", noEnvironment); err == nil || strings.Contains(err.Error(), "secret") && !strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestAddressForOthersMustBeOneTheyCanDial(t *testing.T) {
	for _, c := range []struct{ given, listen, want, err string }{
		{"", "127.0.0.1:1", "http://127.0.0.1:1", ""},
		{"h:1", "0.0.0.0:1", "http://h:1", ""},
		{"http://h:1/", "0.0.0.0:1", "http://h:1", ""},
		{"", "0.0.0.0:1", "", "every address"},
		{"", "[::]:1", "", "every address"},
		{"", ":1", "", "every address"},
		{"https://h:1", "", "", "spoken there is http"},
		{"h", "", "", "no port"},
		{"http://h:1/x", "", "", "HOST:PORT"},
		{"http://:1", "", "", "HOST:PORT"},
	} {
		got, err := advertised("--advertise-peer", "http", c.given, c.listen)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q on %q: %q, %v", c.given, c.listen, got, err)
		}
	}
}

func TestSizesAreReadAndPrinted(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int64
		back string
	}{
		{"0", 0, "0"},
		{"1048576", 1 << 20, "1MiB"},
		{"1.5MiB", 1536 << 10, "1536KiB"},
		{"10 MB", 10_000_000, "10000000"},
		{"3KiB", 3 << 10, "3KiB"},
		{"2GiB", 2 << 30, "2GiB"},
		{"7B", 7, "7"},
	} {
		var s size
		if err := s.Set(c.text); err != nil || int64(s) != c.n || s.String() != c.back {
			t.Errorf("%q is %d (%s), %v", c.text, s, s.String(), err)
		}
	}
	for _, bad := range []string{"", "-1", "MiB", "1TiB", "NaN", "1e30GiB", "1 2"} {
		var s size
		if err := s.Set(bad); err == nil {
			t.Errorf("%q is taken, as %d", bad, s)
		}
	}
}

// runCommand runs one command as the process would.
func runCommand(t *testing.T, env map[string]string, in io.Reader, args ...string) (code int, out, errOut string) {
	t.Helper()
	return runCommandIn(t.Context(), env, in, args...)
}

func runCommandIn(ctx context.Context, env map[string]string, in io.Reader, args ...string) (code int, out, errOut string) {
	var o, e strings.Builder
	a := newApp(in, &o, &e)
	a.getenv = func(k string) string { return env[k] }
	code = run(ctx, args, a)
	return code, o.String(), e.String()
}

func TestWrongCallsEndWithOneLineAndNoUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"serve --bogus", "'chainfire serve --help' lists the flags"},
		{"serve --listen-client 0.0.0.0:1", "--insecure-listen-remote"},
		{"serve --cert n1.crt --key n1.key", "--cert is for commands that ask a member; what a member takes is --cert-file"},
		{"bogus", "unknown command"},
		{"get", "usage: chainfire get KEY"},
		{"get --prefix --from-key a", "choose one of"},
		{"get a -w yaml", "choose table or json"},
		{"get a --log-level loud", "debug, info"},
		{"get a --endpoints nowhere", "give HOST:PORT"},
		{"get a --endpoints ftp://h:1", "or https://HOST:PORT"},
		{"get a --timeout 0s", "above 0"},
		{"demo --duration 1s", "at least 2s"},
		{"member remove", "usage: chainfire member remove"},
	} {
		code, out, errOut := runCommand(t, nil, strings.NewReader(""), strings.Fields(c.args)...)
		if code != 1 || out != "" || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: code %d, out %q, err %q", c.args, code, out, errOut)
		}
	}
}

func TestEndpointsComeFromTheEnvironmentBelowTheFlag(t *testing.T) {
	env := map[string]string{endpointsVariable: "127.0.0.1:1,127.0.0.1:2"}
	_, _, errOut := runCommand(t, env, nil, "get", "a")
	if !strings.Contains(errOut, "127.0.0.1:1") || !strings.Contains(errOut, "127.0.0.1:2") || !strings.Contains(errOut, "chainfire serve") {
		t.Errorf("from the environment: %s", errOut)
	}
	_, _, errOut = runCommand(t, env, nil, "get", "a", "--endpoints", "127.0.0.1:3")
	if strings.Contains(errOut, "127.0.0.1:1") || !strings.Contains(errOut, "127.0.0.1:3") {
		t.Errorf("from the flag: %s", errOut)
	}
}
