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

// mustPass runs a script against a server; it says that all passed, or what did not.
func mustPass(t *testing.T, python, script, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, filepath.Join("testdata", script), addr).CombinedOutput()
	if err != nil || string(out) != "all passed\n" {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
}

// TestClientInPython runs python-etcd3, whose messages were made from etcd 3.3's
// definitions, by another generator, over another gRPC.
func TestClientInPython(t *testing.T) {
	t.Parallel()
	p := python(t, "etcd3", "python3-etcd3")
	t.Run("etcd", func(t *testing.T) { mustPass(t, p, "client_etcd3.py", here.newEtcd(t)) })
	t.Run("chainfire", func(t *testing.T) { mustPass(t, p, "client_etcd3.py", oneMember(t).members[0].client) })
}

// TestPatroniHandsItsLeaderKeyOn runs Patroni's own code, over JSON.
func TestPatroniHandsItsLeaderKeyOn(t *testing.T) {
	t.Parallel()
	p := python(t, "patroni.dcs.etcd3", "patroni")
	t.Run("etcd", func(t *testing.T) { mustPass(t, p, "client_patroni.py", here.newEtcd(t)) })
	t.Run("chainfire", func(t *testing.T) { mustPass(t, p, "client_patroni.py", oneMember(t).members[0].client) })
}
