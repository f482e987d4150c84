package main

import (
	"slices"
	"strings"
	"testing"

	"chainfire/pki"
)

func TestNextMemberGetsPortsAndAFolderThatAreFree(t *testing.T) {
	taken := []string{"127.0.0.1:2480", "d-2", "127.0.0.1:2679"}
	n := nextMember{
		program: "./chainfire", client: "127.0.0.1:2379", peer: "127.0.0.1:2380", dataDir: "d/",
		free:   func(a string) bool { return !slices.Contains(taken, a) },
		exists: func(p string) bool { return slices.Contains(taken, p) }, tokenFile: "d/join-token",
	}
	want := `./chainfire serve --join 127.0.0.1:2380 --token "$(./chainfire token create)" --listen-client 127.0.0.1:2579 --listen-peer 127.0.0.1:2580 --data-dir d-3`
	if got := n.line(); got != want {
		t.Errorf("line\n%s\nwant\n%s", got, want)
	}
	taken = append(taken, "d/join-token")
	want = "./chainfire serve --join 127.0.0.1:2380 --token-file d/join-token --listen-client 127.0.0.1:2579 --listen-peer 127.0.0.1:2580 --data-dir d-3"
	if got := n.line(); got != want {
		t.Errorf("line\n%s\nwant\n%s", got, want)
	}
	n.peerFiles = pki.Files{Cert: "/etc/cf/n1.crt", Key: "/etc/cf/n1.key", Authorities: "/etc/cf/ca.crt"}
	want = "./chainfire serve --join 127.0.0.1:2380 --peer-cert-file /etc/cf/n1.crt --peer-key-file /etc/cf/n1.key --peer-trusted-ca-file /etc/cf/ca.crt --listen-client 127.0.0.1:2579 --listen-peer 127.0.0.1:2580 --data-dir d-3"
	if got := n.line(); got != want {
		t.Errorf("line\n%s\nwant\n%s", got, want)
	}
	n.plain = true
	want = "./chainfire serve --join 127.0.0.1:2380 --listen-client 127.0.0.1:2579 --listen-peer http://127.0.0.1:2580 --data-dir d-3"
	if got := n.line(); got != want {
		t.Errorf("line\n%s\nwant\n%s", got, want)
	}
	n.remote, n.dataDir = true, "it's here"
	if got := n.line(); !strings.HasSuffix(got, `--data-dir 'it'\''s here-2' --insecure-listen-remote`) &&
		!strings.HasSuffix(got, `--data-dir 'it'\''s here-3' --insecure-listen-remote`) {
		t.Errorf("line %s", got)
	}
	n.client = "127.0.0.1:65530"
	if got := n.line(); strings.Contains(got, "--listen-client") {
		t.Errorf("a port above 65535: %s", got)
	}
}

func TestLineThatReplacesAMemberNamesItAndTheMembersToJoinAt(t *testing.T) {
	n := nextMember{
		program: "chainfire", client: "10.0.0.1:2379", peer: "10.0.0.1:2380", join: "10.0.0.1:2380,10.0.0.2:2380",
		replace: "n 3", elsewhere: true, dataDir: "d",
		free: func(string) bool { return true }, exists: func(string) bool { return false },
	}
	want := `chainfire serve --join 10.0.0.1:2380,10.0.0.2:2380 --replace 'n 3' --token "$(chainfire token create --endpoints 10.0.0.1:2379)" --listen-peer HOST:2380`
	if got := n.line(); got != want {
		t.Errorf("line\n%s\nwant\n%s", got, want)
	}
	n.plain, n.replace = true, "n3"
	want = `chainfire serve --join 10.0.0.1:2380,10.0.0.2:2380 --replace n3 --listen-peer http://HOST:2380 --insecure-listen-remote`
	if got := n.line(); got != want {
		t.Errorf("line\n%s\nwant\n%s", got, want)
	}
}

func TestLinesToCopyNameTheBinaryAsItWasCalled(t *testing.T) {
	for arg0, want := range map[string]string{
		"./bin/chainfire":                   "./bin/chainfire",
		"chainfire":                         "chainfire",
		"/x/go-build123/b001/exe/chainfire": "go run ./cmd/chainfire",
	} {
		if got := programName(arg0); got != want {
			t.Errorf("%s is called %q, want %q", arg0, got, want)
		}
	}
}
