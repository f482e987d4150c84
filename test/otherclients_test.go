package test

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// python is a Python that has a module, or else the test is skipped. CHAINFIRE_PYTHON
// names one; Debian's is tried too, where packages install for that one alone.
func python(t *testing.T, module, debian string) string {
	t.Helper()
	for _, p := range []string{cmp.Or(os.Getenv("CHAINFIRE_PYTHON"), "python3"), "/usr/bin/python3"} {
		if exec.Command(p, "-c", "import "+module).Run() == nil {
			return p
		}
	}
	t.Skipf("no Python here has the module %s: install it (on Debian, the package %s), or name one that has it with CHAINFIRE_PYTHON", module, debian)
	return ""
}

// mustPass runs a script, as by python, against a server; it says that all passed, or what
// did not.
func mustPass(t *testing.T, program, script, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, script, addr).CombinedOutput()
	if err != nil || string(out) != "all passed\n" {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
}

// mustPassBoth runs a script against etcd and against a member here.
func mustPassBoth(t *testing.T, program, script string) {
	t.Helper()
	t.Run("etcd", func(t *testing.T) { mustPass(t, program, script, here.newEtcd(t)) })
	t.Run("chainfire", func(t *testing.T) { mustPass(t, program, script, oneMember(t).members[0].client) })
}

// TestClientInPython runs python-etcd3, whose messages were made from etcd 3.3's
// definitions, by another generator, over another gRPC.
func TestClientInPython(t *testing.T) {
	t.Parallel()
	mustPassBoth(t, python(t, "etcd3", "python3-etcd3"), filepath.Join("testdata", "client_etcd3.py"))
}

// TestPatroniHandsItsLeaderKeyOn runs Patroni's own code, over JSON.
func TestPatroniHandsItsLeaderKeyOn(t *testing.T) {
	t.Parallel()
	mustPassBoth(t, python(t, "patroni.dcs.etcd3", "patroni"), filepath.Join("testdata", "client_patroni.py"))
}

// TestClientInJavaScript runs the npm package etcd3, with Node's own gRPC.
func TestClientInJavaScript(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs(filepath.Join("testdata", "node"))
	if err != nil {
		t.Fatal(err)
	}
	check := exec.Command("node", "--input-type=module", "-e", "import 'etcd3'")
	check.Dir = dir
	if err := check.Run(); err != nil {
		t.Skipf("no Node.js here has the package etcd3 (%v): install it with make clients", err)
	}
	mustPassBoth(t, "node", filepath.Join(dir, "client_etcd3.js"))
}
