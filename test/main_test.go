package test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"chainfire/internal/invariant"
)

var engineFlag = flag.String("engine", string(engineOwn),
	"consensus engine of all members: chainfire, etcd, or mixed, where they differ and change at each start")

// here is set once, before any test runs.
var here *lab

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

// parallel is how many tests run at once: more than there are processors, because
// those that may run beside others mostly wait. -parallel says otherwise.
const parallel = 6

func setParallel() error {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(parallel))
}

func runTests(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "chainfire-test-")
	err = errors.Join(err, setParallel())
	if err == nil {
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				code = max(code, 1)
			}
		}()
		here, err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare the tests:", err)
		return 1
	}
	return m.Run()
}

// build makes the binary that all tests run. It checks its invariants when the
// tests are built to do so.
func build(dir string) (*lab, error) {
	l := &lab{binary: filepath.Join(dir, "chainfire"), engine: engine(*engineFlag)}
	if err := l.engine.check(); err != nil {
		return nil, err
	}
	args := []string{"build", "-o", l.binary}
	if invariant.Enabled {
		args = append(args, "-tags", "invariants")
	}
	out, err := exec.Command("go", append(args, "chainfire/cmd/chainfire")...).CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("build the binary: %w", err), errors.New(string(out)))
	}
	return l, nil
}

// shortened is every variant of a test, or with -short the first by name.
func shortened[V any](variants map[string]V) map[string]V {
	if !testing.Short() {
		return variants
	}
	out := map[string]V{}
	names := slices.Sorted(maps.Keys(variants))
	for _, n := range names[:min(1, len(names))] {
		out[n] = variants[n]
	}
	return out
}
