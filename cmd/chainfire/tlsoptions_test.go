package main

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"chainfire/pki"
)

func TestServeRefusesFlagsOfTLSThatDoNotGoTogether(t *testing.T) {
	const files = "--cert-file=c --key-file=k "
	for _, c := range []struct{ args, want string }{
		{files, ""},
		{files + "--listen-client=https://0.0.0.0:2379 --advertise-client=https://h:1", ""},
		{files + "--listen-client=0.0.0.0:2379", ""}, // TLS protects it
		{files + "--listen-client=http://127.0.0.1:2379", "--listen-client http://127.0.0.1:2379 and --cert-file: without TLS there are no certificates"},
		{"--auto-tls --listen-client=http://127.0.0.1:2379", "and --auto-tls: without TLS"},
		{"--listen-client=http://127.0.0.1:2379/", ""},
		{"--listen-client=http://0.0.0.0:2379", "or speak TLS with --cert-file and --key-file, or, in a network that you trust, add --insecure-listen-remote"},
		{"--listen-client=https://127.0.0.1:2379", "give --cert-file and --key-file, or --auto-tls"},
		{"--listen-client=ftp://127.0.0.1:2379", "give HOST:PORT"},
		{"--listen-client=http://127.0.0.1:2380", "different ports"},
		{"--cert-file=c", "--key-file is missing"},
		{"--key-file=k", "--cert-file is missing"},
		{"--client-cert-auth", "--client-cert-auth is for clients that speak TLS: give --cert-file and --key-file as well"},
		{"--trusted-ca-file=a", "--trusted-ca-file is for clients that speak TLS"},
		{"--client-crl-file=a", "--client-crl-file is for clients that speak TLS"},
		{"--client-cert-allowed-hostname=h", "--client-cert-allowed-hostname is for clients that speak TLS"},
		{"--auto-tls --trusted-ca-file=a --client-crl-file=r", ""},
		{files + "--client-cert-auth", ""},
		{files + "--client-crl-file=r", "--client-crl-file is for certificates of clients, and they are asked for none"},
		{files + "--client-cert-allowed-hostname=h", "give --client-cert-auth and --trusted-ca-file"},
		{files + "--client-cert-auth --client-crl-file=r --client-cert-allowed-hostname=h,i", ""},
		{"--peer-crl-file=r", "give --peer-cert-file, --peer-key-file and --peer-trusted-ca-file as well"},
		{"--peer-cert-file=c --peer-key-file=k --peer-trusted-ca-file=a --peer-crl-file=r --peer-cert-allowed-cn=n1,n2", ""},
		{"--peer-cert-file=c --peer-key-file=k --peer-trusted-ca-file=a --peer-cert-allowed-cn=n1 --peer-cert-allowed-hostname=h", "give one of them"},
		{"--self-signed-cert-validity=0", "between 1 and 100 years"},
		{"--tls-min-version=TLS1.1", `--tls-min-version: unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)`},
		{"--tls-max-version=1.3", `--tls-max-version: unexpected TLS version "1.3"`},
		{"--tls-min-version=TLS1.3 --tls-max-version=TLS1.2", "min version (TLS1.3) is greater than max version (TLS1.2)"},
		{"--tls-min-version= --tls-max-version=TLS1.2", ""},
		{"--cipher-suites=TLS_NULL", `unexpected TLS cipher suite "TLS_NULL"`},
		{"--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 --tls-min-version=TLS1.3", "cipher suites cannot be configured when only TLS1.3 is enabled"},
	} {
		_, err := parseServe(t, strings.Fields(c.args)...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want it to say %q", c.args, err, c.want)
		}
	}
}

func TestCipherSuitesAreThoseThatEtcdKnows(t *testing.T) {
	o, err := parseServe(t, "--cipher-suites", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_RC4_128_SHA,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.tls.cipherSuites()
	want := []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("suites %x, %v, want %x", got, err, want)
	}
}

func TestClientURLsHaveTheSchemeThatIsSpokenThere(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "http://127.0.0.1:2379"},
		{[]string{"--listen-client", "http://127.0.0.1:2379"}, "http://127.0.0.1:2379"},
		{[]string{"--cert-file=c", "--key-file=k"}, "https://127.0.0.1:2379"},
		{[]string{"--auto-tls", "--advertise-client", "n1.example:1,https://n2.example:2"}, "https://n1.example:1 https://n2.example:2"},
		{[]string{"--auto-tls", "--advertise-client", "http://n1.example:1"}, "error: what is spoken there is https"},
		{[]string{"--advertise-client", "https://n1.example:1"}, "error: what is spoken there is http"},
	} {
		o, err := parseServe(t, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		out, err := o.nodeOptions("127.0.0.1:2379", func(string) string { return "" })
		if text, wrong := strings.CutPrefix(c.want, "error: "); wrong {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%v: %v, want it to say %q", c.args, err, text)
			}
			continue
		}
		if got := strings.Join(out.AdvertiseClient, " "); err != nil || got != c.want {
			t.Errorf("%v: %s, %v, want %s", c.args, got, err, c.want)
		}
	}
}

func TestLineOfTheNextMemberKeepsHowClientsSpeak(t *testing.T) {
	for _, c := range []struct{ args, next, token string }{
		{"--cert-file=n1.crt --key-file=n1.key", "--cert-file n1.crt --key-file n1.key", "--endpoints https://127.0.0.1:2379 --cacert n1.crt"},
		{
			"--cert-file=n1.crt --key-file=n1.key --client-cert-auth --trusted-ca-file=ca.crt --client-crl-file=r --client-cert-allowed-hostname=h,i --tls-min-version=TLS1.3",
			"--cert-file n1.crt --key-file n1.key --client-cert-auth --trusted-ca-file ca.crt --client-crl-file r --client-cert-allowed-hostname h,i --tls-min-version TLS1.3",
			"--endpoints https://127.0.0.1:2379 --cacert n1.crt --cert CLIENT.crt --key CLIENT.key",
		},
		{"--auto-tls --self-signed-cert-validity=3", "--auto-tls --self-signed-cert-validity 3", "--endpoints https://127.0.0.1:2379 --cacert made.crt"},
	} {
		o, err := parseServe(t, strings.Fields(c.args)...)
		if err != nil {
			t.Fatal(err)
		}
		if o.tls.auto {
			o.tls.files = pki.Files{Cert: "made.crt", Key: "made.key"} // as load does
		}
		n := nextMember{
			program: "chainfire", client: "127.0.0.1:2379", peer: "127.0.0.1:2380", dataDir: "d",
			serveArgs: o.tls.args(), secure: o.tls.on(), clientArgs: o.tls.clientArgs(),
			free: func(string) bool { return true }, exists: func(string) bool { return false },
		}
		want := `chainfire serve --join 127.0.0.1:2380 --token "$(chainfire token create ` + c.token + `)" ` + c.next +
			" --listen-client 127.0.0.1:2479 --listen-peer 127.0.0.1:2480 --data-dir d-2"
		if got := n.line(); got != want {
			t.Errorf("line\n%s\nwant\n%s", got, want)
		}
		if text := readyText("c", "m", n); !strings.Contains(text, "clients connect to  https://127.0.0.1:2379") || !strings.Contains(text, "chainfire put "+c.token+" greeting") {
			t.Errorf("it says\n%s", text)
		}
	}
}
