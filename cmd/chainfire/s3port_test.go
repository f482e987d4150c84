package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chainfire/internal/disk"
	"chainfire/join"
	"chainfire/node"
	"chainfire/object"
	"chainfire/pki"
	"chainfire/s3admin"
	"chainfire/s3api/s3test"
	"chainfire/sigv4"
)

func TestServeRefusesFlagsOfS3ThatCannotBeMeant(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--s3=off", ""},
		{"--s3=on --listen-s3=127.0.0.1:0", ""},
		{"--s3", ""},
		{"--s3=maybe", "give on or off"},
		{"--s3=off --listen-s3=127.0.0.1:1", "--s3=off and --listen-s3"},
		{"--s3=off --s3-domain=s3.example.org", "--s3=off and --s3-domain"},
		{"--s3=off --s3-trust-forwarded", "--s3=off and --s3-trust-forwarded"},
		{"--listen-s3=9000", "give HOST:PORT"},
		{"--listen-s3=0.0.0.0:9000", "--insecure-listen-remote"},
		{"--listen-s3=0.0.0.0:9000 --insecure-listen-remote", ""},
		{"--listen-s3=0.0.0.0:9000 --auto-tls", ""},
		{"--listen-s3=127.0.0.1:2379", "--listen-s3 and --listen-client"},
		{"--listen-s3=127.0.0.1:2380", "--listen-s3 and --listen-peer"},
		{"--s3-region=US", "lower-case"},
		{"--s3-background-rate=1MiB", ""},
		{"--s3-background-rate=0", "--s3-background-rate 0: give at least 65536"},
		{"--s3-background-rate=fast", "give bytes"},
		{"--s3=off --s3-background-rate=1MiB", "--s3=off and --s3-background-rate"},
		{"--s3-region=", "lower-case"},
		{"--s3-domain=s3.example.org,S3.Example.Net.", ""},
		{"--s3-domain=https://s3.example.org", "without scheme and port"},
		{"--s3-domain=s3.example.org:9000", "without scheme and port"},
	} {
		o, err := parseServe(t, strings.Fields(c.args)...)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.args, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want it to say %q", c.args, err, c.want)
		case strings.Contains(c.args, "Example.Net") && o.s3.domains[1] != "s3.example.net":
			t.Errorf("domains %v", o.s3.domains)
		}
	}
}

func TestNextMemberServesS3AsThisOneDoes(t *testing.T) {
	for args, want := range map[string]string{
		"":         "",
		"--s3=off": "--s3=off",
		"--s3-region=eu --s3-domain=a.b --s3-domain=c --s3-trust-forwarded --seal-key-file=/k": "--s3-region eu --s3-domain a.b,c --s3-trust-forwarded --seal-key-file /k",
	} {
		o, err := parseServe(t, strings.Fields(args)...)
		if got := strings.Join(o.s3.args(), " "); err != nil || got != want {
			t.Errorf("%s: %q, %v", args, got, err)
		}
	}
	n := nextMember{
		program: "cf", client: "127.0.0.1:2379", peer: "127.0.0.1:2380", dataDir: "d", s3: "127.0.0.1:9000", s3URL: "http://127.0.0.1:9000", s3Key: "d/s3-root-key",
		free: func(string) bool { return true }, exists: func(string) bool { return false },
	}
	text := readyText("c", "m", n)
	for _, want := range []string{"S3 is served at     http://127.0.0.1:9000", "d/s3-root-key", "--listen-s3 127.0.0.1:9100 --data-dir d-2"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	n.free = func(addr string) bool { return !strings.HasPrefix(addr, "127.0.0.1:9") }
	if line := n.line(); !strings.Contains(line, "--s3=off") {
		t.Errorf("without a port for it: %s", line)
	}
}

func TestPortOfS3ThatIsTakenIsAnErrorWhereItWasNamed(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	first, err := listenS3(&s3Options{on: true, listen: givenText{"127.0.0.1:0", true}}, logger)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	taken := first.Addr().String()
	if _, err := listenS3(&s3Options{on: true, listen: givenText{taken, true}}, logger); err == nil || !strings.Contains(err.Error(), "--listen-s3, or none with --s3=off") {
		t.Errorf("named: %v", err)
	}
	if lis, err := listenS3(&s3Options{on: true, listen: givenText{taken, false}}, logger); err != nil || lis != nil || !strings.Contains(log.String(), "--listen-s3") {
		t.Errorf("by default: %v, %v; the log: %s", lis, err, &log)
	}
	if lis, err := listenS3(&s3Options{listen: givenText{taken, false}}, logger); err != nil || lis != nil {
		t.Errorf("off: %v, %v", lis, err)
	}
}

func TestFirstKeyComesFromTheEnvironmentOrItsFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	id, secret, none := file("id", "CFID\n"), file("secret", "s3cr3t-text\n"), file("none", "\n")
	for _, c := range []struct {
		env  map[string]string
		want string // of the error; empty is the key CFID
	}{
		{map[string]string{keyIDVariable: "CFID", keySecretVariable: "s3cr3t-text"}, ""},
		{map[string]string{keyIDVariable + fileSuffix: id, keySecretVariable + fileSuffix: secret}, ""},
		{map[string]string{keyIDVariable: "CFID", keySecretVariable + fileSuffix: secret}, ""},
		{map[string]string{keyIDVariable: "CFID"}, keySecretVariable + " is not"},
		{map[string]string{keySecretVariable: "s3cr3t-text"}, keyIDVariable + " is not"},
		{map[string]string{keyIDVariable: "CFID", keyIDVariable + fileSuffix: id}, "set one of them"},
		{map[string]string{keyIDVariable + fileSuffix: none}, "is empty"},
		{map[string]string{keyIDVariable + fileSuffix: filepath.Join(dir, "nowhere")}, "nowhere"},
		{map[string]string{keyIDVariable: "CFID", keySecretVariable: "short"}, "5 bytes"},
		{map[string]string{bucketVariable: "Not-A-Bucket"}, bucketVariable},
	} {
		f, err := firstS3(&s3Options{on: true}, filepath.Join(dir, "data"), false, func(k string) string { return c.env[k] })
		switch {
		case c.want == "" && (err != nil || *f.Key != s3admin.Credentials{ID: "CFID", Secret: "s3cr3t-text"}):
			t.Errorf("%v: %v", c.env, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cr3t-text")):
			t.Errorf("%v: %v, want %q", c.env, err, c.want)
		}
	}
}

func TestOnlyWhoOwesAFirstKeyLooksAtTheEnvironment(t *testing.T) {
	bad := func(k string) string { return map[string]string{keyIDVariable: "x"}[k] }
	dir := t.TempDir()
	if f, err := firstS3(&s3Options{}, dir, false, bad); f != nil || err != nil {
		t.Errorf("S3 is off: %v, %v", f, err)
	}
	if f, err := firstS3(&s3Options{on: true}, dir, true, bad); f != nil || err != nil {
		t.Errorf("a newcomer: %v, %v", f, err)
	}
	if _, err := firstS3(&s3Options{on: true}, dir, false, bad); err == nil {
		t.Error("a new cluster does not look")
	}
	if err := os.WriteFile(node.FirstKeyMark(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := firstS3(&s3Options{on: true}, dir, true, bad); err == nil {
		t.Error("a member that owes a key does not look")
	}
}

// s3Fixture is the port of S3 over buckets in memory, with one key.
type s3Fixture struct {
	*s3Member
	objects  *s3test.Service
	registry *prometheus.Registry
	log      *lockedBuilder
}

func newS3Fixture(t *testing.T, config *tls.Config) *s3Fixture {
	t.Helper()
	f := &s3Fixture{objects: s3test.New(), registry: prometheus.NewRegistry(), log: &lockedBuilder{}}
	if err := f.objects.AddKey(object.AccessKey{ID: "CFADMIN", Admin: true}, "the-secret"); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(f.log, nil))
	o := &s3Options{on: true, listen: givenText{"127.0.0.1:0", true}, region: defaultS3Region}
	lis, err := listenS3(o, log)
	if err != nil {
		t.Fatal(err)
	}
	f.s3Member = &s3Member{objects: f.objects, lis: lis, tls: config, log: log, opts: o, keyed: make(chan struct{})}
	failed := make(chan error, 1)
	if err := f.start(f.registry, "1", failed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		f.stop(ctx)
		select {
		case err := <-failed:
			t.Error(err)
		default:
		}
	})
	return f
}

// ask sends a request that is signed, and returns the status and the body of the answer.
func (f *s3Fixture) ask(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.url()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	signer := &sigv4.Signer{Credentials: sigv4.Credentials{AccessKeyID: "CFADMIN", SecretAccessKey: "the-secret"}, Region: defaultS3Region}
	if err := signer.Sign(r, sigv4.UnsignedPayload, time.Now()); err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPortOfS3CountsWhatItServes(t *testing.T) {
	f := newS3Fixture(t, nil)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPut, "/photos", "", 200},
		{http.MethodPut, "/photos/a", "12345", 200},
		{http.MethodGet, "/photos/a", "", 200},
		{http.MethodGet, "/photos/b", "", 404},
	} {
		if status, body := f.ask(t, c.method, c.path, c.body); status != c.status {
			t.Fatalf("%s %s: %d, %s", c.method, c.path, status, body)
		}
	}
	got := map[string]float64{}
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"chainfire_s3_requests_total CreateBucket 2xx": 1, "chainfire_s3_requests_total PutObject 2xx": 1,
		"chainfire_s3_requests_total GetObject 2xx": 1, "chainfire_s3_requests_total GetObject 4xx": 1,
		"chainfire_s3_received_bytes_total": 5,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v; all: %v", name, got[name], want, got)
		}
	}
	if sent := got["chainfire_s3_sent_bytes_total"]; sent < 5 {
		t.Errorf("%v bytes sent", sent)
	}
	if log := f.log.String(); !strings.Contains(log, "operation=PutObject") || strings.Contains(log, "the-secret") {
		t.Errorf("the access log: %s", log)
	}
}

func s3TestPort(t *testing.T) *pki.Port {
	t.Helper()
	files, _, err := pki.SelfSigned(disk.OS(), t.TempDir(), []string{"127.0.0.1"}, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	port, err := pki.LoadPort(pki.PortOptions{FS: disk.OS(), Files: files, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestPortOfS3SpeaksTLSAndSaysSo(t *testing.T) {
	f := newS3Fixture(t, s3TestPort(t).OpenTLS())
	if !strings.HasPrefix(f.url(), "https://") {
		t.Errorf("its address is %s", f.url())
	}
	if status, body := f.ask(t, http.MethodPut, "/photos", ""); status != 200 {
		t.Errorf("over TLS: %d, %s", status, body)
	}
	resp, err := http.Get("http://" + f.addr() + "/photos")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "https://") {
		t.Errorf("without TLS: %d, %s, %v", resp.StatusCode, b, err)
	}
}

func TestMemberThatJoinsTellsClientsOfS3ToComeBack(t *testing.T) {
	for scheme, port := range map[string]*pki.Port{"http": nil, "https": s3TestPort(t)} {
		lis, err := listenClient("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		early := earlyS3(lis, port)
		early.tell(join.Event{Step: join.StepSeed, Done: 1 << 20, Total: 2 << 20})
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		resp, err := c.Get(scheme + "://" + lis.Addr().String() + "/bucket/key")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(b), "<Code>ServiceUnavailable</Code>") || !strings.Contains(string(b), "1.0 MiB of 2.0 MiB") {
			t.Errorf("%s: %d, %s, %v", scheme, resp.StatusCode, b, err)
		}
		if err := errors.Join(early.handOn(), lis.Close()); err != nil {
			t.Error(err)
		}
	}
	if earlyS3(nil, nil) != nil {
		t.Error("there is an early port without a port")
	}
}
