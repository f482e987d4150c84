// Package kubernetes runs Kubernetes' own tests of its storage layer against members
// of ChainFire: the packages that kube-apiserver keeps its objects with, as they are in
// the module k8s.io/apiserver, unchanged but for the server that they start.
package kubernetes

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "k8s.io/apiserver/pkg/registry/generic/registry" // the packages whose tests are run
	_ "k8s.io/apiserver/pkg/storage/cacher"
	_ "k8s.io/apiserver/pkg/storage/etcd3/testing"
	_ "k8s.io/apiserver/pkg/storage/storagebackend/factory"

	"chainfire/test/kubernetes/testserver"
)

var (
	serverFlag  = flag.String("server", testserver.KindChainFire, "what to run the tests on: chainfire, or etcd, to see what fails there as well")
	engineFlag  = flag.String("engine", "chainfire", "consensus engine of ChainFire's members: chainfire or etcd")
	membersFlag = flag.Int("members", 1, "how many members of ChainFire a cluster has, an odd number")
	onlyFlag    = flag.String("only", "", "run only Kubernetes' tests that match, as go test -run has it")
)

// suite is a package of Kubernetes whose tests run on a server.
type suite struct {
	pkg string
	// passed and servers are how many tests passed, and how many servers were started
	// for them, at least: a suite that ran nothing is no good news.
	passed, servers int
}

const apiserver = "k8s.io/apiserver/pkg/"

func suites() map[string]suite {
	return map[string]suite{
		"etcd3":    {pkg: apiserver + "storage/etcd3", passed: 450, servers: 90},
		"cacher":   {pkg: apiserver + "storage/cacher", passed: 600, servers: 55},
		"factory":  {pkg: apiserver + "storage/storagebackend/factory", passed: 15, servers: 4},
		"registry": {pkg: apiserver + "registry/generic/registry", passed: 90, servers: 60},
	}
}

// TestSuitesOfKubernetesPass compiles each package's tests with the testserver of this
// module in the place of Kubernetes' own, and runs them.
func TestSuitesOfKubernetesPass(t *testing.T) {
	modfile, env := modified(t), environment(t)
	all := suites()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			s := all[name]
			started := filepath.Join(t.TempDir(), "started")
			args := []string{"test", "-json", "-count=1", "-timeout=20m", "-trimpath", "-modfile", modfile, s.pkg}
			if run := *onlyFlag; run != "" {
				args = append(args, "-run", run)
			}
			cmd := exec.Command("go", args...)
			cmd.Env = append(env, testserver.StartedVariable+"="+started)
			r, err := runSuite(cmd)
			if err != nil {
				t.Error(err)
			}
			servers, err := os.ReadFile(started)
			if err != nil {
				t.Errorf("no server was started: %v", err)
			}
			t.Logf("%d tests passed, %d were skipped, %d failed; %d servers", r.passed, len(r.skipped), len(r.failed), len(servers))
			for _, skipped := range r.skipped {
				t.Logf("skipped: %s", skipped)
			}
			for _, failed := range r.failed {
				t.Errorf("failed: %s", failed)
			}
			if *onlyFlag == "" && (r.passed < s.passed || len(servers) < s.servers) {
				t.Errorf("%d tests passed on %d servers, at least %d on %d should have run", r.passed, len(servers), s.passed, s.servers)
			}
		})
	}
}

// modified writes a go.mod beside this module's that takes k8s.io/apiserver from a
// copy, in which our testserver stands for Kubernetes'. The go command lets nobody
// replace files of the module cache itself.
func modified(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	copied := filepath.Join(dir, "apiserver")
	theirs := strings.TrimSpace(tool(t, "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/apiserver"))
	server := filepath.Join(copied, "pkg", "storage", "etcd3", "testserver")
	err := os.CopyFS(copied, os.DirFS(theirs))
	if err == nil {
		err = writable(copied)
	}
	if err == nil {
		err = os.RemoveAll(server)
	}
	if err == nil {
		err = os.CopyFS(server, os.DirFS("testserver"))
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		var b []byte
		if err == nil {
			b, err = os.ReadFile(name)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "go.mod")
	tool(t, "go", "mod", "edit", "-replace", "k8s.io/apiserver="+copied, file)
	return file
}

// writable makes folders so that files in them can be written and removed.
func writable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o700)
	})
}

// environment is that of the tests: it names the server's program, which is built here
// if it is ours.
func environment(t *testing.T) []string {
	t.Helper()
	var binary string
	switch *serverFlag {
	case testserver.KindChainFire:
		binary = filepath.Join(t.TempDir(), "chainfire")
		build := exec.Command("go", "build", "-o", binary, "./cmd/chainfire")
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the binary: %v\n%s", err, out)
		}
	case testserver.KindEtcd:
		path, err := filepath.Abs(filepath.Join("..", "..", "bin", "etcd"))
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			t.Fatalf("-server=etcd needs etcd: %v; build it with 'make bin/etcd'", err)
		}
		binary = path
	default:
		t.Fatalf("-server %q: give %s or %s", *serverFlag, testserver.KindChainFire, testserver.KindEtcd)
	}
	return append(os.Environ(),
		testserver.BinaryVariable+"="+binary, testserver.KindVariable+"="+*serverFlag,
		testserver.EngineVariable+"="+*engineFlag, testserver.MembersVariable+"="+strconv.Itoa(*membersFlag))
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, errs.String())
	}
	return string(out)
}

// results are what became of the tests of a suite, subtests counted like others.
type results struct {
	passed int
	// skipped and failed have the name of each, and what it said.
	skipped, failed []string
}

// maxSaid is how much of what a test said is kept, from its end.
const maxSaid = 8 << 10

// runSuite runs go test -json. That tests failed is no error.
func runSuite(cmd *exec.Cmd) (results, error) {
	var r results
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return r, fmt.Errorf("run %v: %w", cmd.Args, err)
	}
	read := r.read(out)
	err = cmd.Wait()
	if err != nil && len(r.failed) > 0 {
		err = nil // that is what it says
	}
	if err = errors.Join(read, err); err != nil {
		return r, fmt.Errorf("%v: %w\n%s", cmd.Args, err, errs.String())
	}
	return r, nil
}

func (r *results) read(out io.Reader) error {
	said := map[string]string{}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e struct{ Action, Test, Output string }
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("go test -json prints %q: %w", line, err)
		}
		switch name := e.Test; {
		case e.Action == "output" || e.Action == "build-output":
			all := said[name] + e.Output
			said[name] = all[max(0, len(all)-maxSaid):]
		case e.Action == "pass" && name != "":
			r.passed++
		case e.Action == "skip" && name != "":
			r.skipped = append(r.skipped, name+"\n"+said[name])
		case e.Action == "fail" || e.Action == "build-fail":
			r.failed = append(r.failed, name+"\n"+said[name])
		}
	}
}
