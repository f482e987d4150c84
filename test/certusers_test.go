package test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestUserByCertificateIsEtcds lets clients with certificates, and without, do the same
// at a member and at etcd: with --client-cert-auth the common name is the user, for gRPC
// and not for JSON; where clients are asked by --trusted-ca-file alone it is nobody.
func TestUserByCertificateIsEtcds(t *testing.T) {
	t.Parallel()
	p := newClientPort(t)
	p.ca.issueAs(p.dir, "nobody", "nobody we know")
	asks := p.flags()
	withoutUsers := slices.DeleteFunc(slices.Clone(asks), func(f string) bool { return f == "--client-cert-auth" })
	for name, flags := range map[string][]string{"common names are users": asks, "common names are nobody": withoutUsers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours := here.newMember(t, "a", flags...)
			ours.tls = p.as("alice")
			ours.start()
			ours.awaitServing()
			etcd := here.newEtcdOver(t, "https", p.as("alice"), flags)
			var told [2][]string
			for i, addr := range []string{etcd, ours.client} {
				told[i] = p.askAsUsers(t, addr)
			}
			for i := range told[0] {
				if told[0][i] != told[1][i] {
					t.Errorf("etcd\n%s\nhere\n%s", told[0][i], told[1][i])
				}
			}
			if all := strings.Join(told[1], "\n"); strings.Contains(all, "alice puts a/1: 0 OK") != (len(flags) == len(asks)) {
				t.Errorf("what alice may do:\n%s", all)
			}
		})
	}
}

var storageVersion = regexp.MustCompile(`,\s*"storage":\s*"[^"]*"`)

// askAsUsers makes users and lets them ask; it returns what came of each request.
func (p *clientPort) askAsUsers(t *testing.T, addr string) []string {
	t.Helper()
	e := newEtcdctl(t, "https://"+addr)
	e.flags = p.ctlFlags("alice")
	for _, args := range [][]string{
		{"role", "add", "r"},
		{"role", "grant-permission", "r", "readwrite", "a/", "--prefix"},
		{"user", "add", "root:secret"},
		{"user", "grant-role", "root", "root"},
		{"user", "add", "alice", "--no-password"},
		{"user", "grant-role", "alice", "r"},
		{"auth", "enable"},
	} {
		if out, errOut, code := e.run("", args...); code != 0 {
			t.Fatalf("etcdctl %v: exit code %d, %s%s", args, code, out, errOut)
		}
	}
	var told []string
	for _, x := range []struct {
		what string
		as   string
		args []string
	}{
		{"alice puts a/1", "alice", []string{"put", "a/1", "1"}},
		{"alice gets a/1", "alice", []string{"get", "a/1"}},
		{"alice puts b/1", "alice", []string{"put", "b/1", "1"}},
		{"alice lists users", "alice", []string{"user", "list"}},
		{"alice is root by password", "alice", []string{"--user", "root:secret", "put", "b/1", "1"}},
		{"nobody puts a/1", "nobody", []string{"put", "a/1", "1"}},
		{"nobody is root by password", "nobody", []string{"--user", "root:secret", "get", "b/1"}},
	} {
		e.flags = p.ctlFlags(x.as)
		out, errOut, code := e.run("", x.args...)
		// The rest of what goes to the error output is etcdctl's log.
		reason := errOut[max(0, strings.LastIndex(errOut, "Error: ")):]
		told = append(told, fmt.Sprintf("%s: %d %s%s", x.what, code, out, reason))
	}
	resp, body, err := p.ask(p.as("alice"), true, "POST", "https://"+addr+"/v3/kv/put", `{"key":"YS8x","value":"MQ=="}`)
	if err != nil {
		t.Fatal(err)
	}
	told = append(told, fmt.Sprintf("alice puts a/1 as JSON: %s %s", resp.Status, common(body)))
	for _, path := range []string{"/health", "/health?serializable=true", "/readyz?verbose", "/livez?verbose", "/version"} {
		resp, body, err = p.ask(p.as("alice"), true, "GET", "https://"+addr+path, "")
		if err != nil {
			t.Fatal(err)
		}
		// etcd writes its storage version down a while after it has begun to serve.
		body = storageVersion.ReplaceAllString(body, "")
		told = append(told, fmt.Sprintf("alice asks for %s: %s %s", path, resp.Status, common(body)))
	}
	return told
}
