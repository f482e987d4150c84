//go:build mutants

package rafttest_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The mutation check: it seeds known faults into the core, one at a time, and
// demands that the simulator finds each within a bound of schedules. The core's
// source stays as it is; each mutant is built through an overlay.

var (
	mutantBound  = flag.Uint64("mutants-bound", 20000, "seeds within which a mutant must be found")
	mutantSample = flag.Int("mutants-sample", 0, "hunt so many mutants drawn at random, from a random seed on; 0 is all of them from seed 1 on")
	mutantOnly   = flag.String("mutants-only", "", "hunt only mutants whose name matches this regular expression")
)

const foundPrefix = "found at seed "

// find is the outcome of one hunt.
type find struct {
	mutant mutant
	// seeds is how many schedules it took, reason what broke in the last.
	seeds  uint64
	reason string
	took   time.Duration
	err    error
}

func TestTheSimulatorFindsEveryMutant(t *testing.T) {
	list, err := readMutants(mutantsFile)
	if err != nil {
		t.Fatal(err)
	}
	from := uint64(1)
	if *mutantSample > 0 {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:min(*mutantSample, len(list))]
		from = rand.Uint64N(1 << 62)
		t.Logf("seeds from %d on", from)
	}
	if only := regexp.MustCompile(*mutantOnly); *mutantOnly != "" {
		list = slices.DeleteFunc(list, func(m mutant) bool { return !only.MatchString(m.name) })
	}
	finds := inParallel(list, func(m mutant) find {
		f := hunt(t.Context(), t.TempDir(), m, from, *mutantBound)
		t.Logf("%-42s %6d seeds %6.1fs  %s", m.name, f.seeds, f.took.Seconds(), f.outcome())
		return f
	})
	report(t, finds)
	control(t, finds, from)
}

// outcome is what a find's line in the table ends with.
func (f find) outcome() string {
	if f.err != nil {
		return "NOT FOUND: " + f.err.Error()
	}
	return f.reason
}

// inParallel hunts with one process per processor and keeps the order.
func inParallel[T, R any](in []T, do func(T) R) []R {
	out := make([]R, len(in))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				out[i] = do(in[i])
			}
		})
	}
	for i := range in {
		next <- i
	}
	close(next)
	wg.Wait()
	return out
}

func report(t *testing.T, finds []find) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "\n| mutant | rule | seeds | seconds | found by |\n|---|---|---:|---:|---|\n")
	seeds := make([]uint64, 0, len(finds))
	for _, f := range finds {
		fmt.Fprintf(&b, "| %s | %s | %d | %.1f | %s |\n", f.mutant.name, f.mutant.rule, f.seeds, f.took.Seconds(), f.outcome())
		if f.err != nil {
			t.Errorf("mutant %s: %v", f.mutant.name, f.err)
			continue
		}
		seeds = append(seeds, f.seeds)
	}
	t.Log(b.String())
	if len(seeds) > 0 {
		slices.Sort(seeds)
		t.Logf("%d of %d mutants found; seeds to find: median %d, worst %d", len(seeds), len(finds), seeds[len(seeds)/2], seeds[len(seeds)-1])
	}
}

// control demands that the core as it is survives all seeds that any mutant
// needed.
func control(t *testing.T, finds []find, from uint64) {
	t.Helper()
	var worst uint64
	for _, f := range finds {
		worst = max(worst, f.seeds)
	}
	n := uint64(runtime.GOMAXPROCS(0))
	share := (worst + n - 1) / n
	starts := make([]uint64, n)
	for i := range starts {
		starts[i] = from + uint64(i)*share
	}
	begin := time.Now()
	for _, f := range inParallel(starts, func(from uint64) find {
		return hunt(t.Context(), t.TempDir(), mutant{name: "none"}, from, share)
	}) {
		if !errors.Is(f.err, errNotFound) {
			t.Errorf("the core without a mutant: %s", f.outcome())
		}
	}
	t.Logf("none: survives %d seeds, %.1fs", share*n, time.Since(begin).Seconds())
}

var errNotFound = errors.New("no schedule within the bound fails")

// hunt builds a mutant in dir and runs schedules until one fails.
func hunt(ctx context.Context, dir string, m mutant, from, seeds uint64) find {
	begin := time.Now()
	f := find{mutant: m, seeds: seeds}
	f.seeds, f.reason, f.err = huntIn(ctx, dir, m, from, seeds)
	f.took = time.Since(begin)
	return f
}

func huntIn(ctx context.Context, dir string, m mutant, from, seeds uint64) (uint64, string, error) {
	binary, err := m.build(ctx, dir)
	if err != nil {
		return 0, "", err
	}
	cmd := exec.CommandContext(ctx, binary, "-test.run=^TestHunt$", "-test.timeout=0",
		"-hunt-from="+strconv.FormatUint(from, 10), "-hunt-seeds="+strconv.FormatUint(seeds, 10),
		"-hunt-steps="+strconv.Itoa(*huntSteps))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return seeds, "", fmt.Errorf("%w of %d seeds", errNotFound, seeds)
	}
	_, line, ok := strings.Cut(string(out), foundPrefix)
	if !ok {
		return 0, "", fmt.Errorf("hunt: %w\n%s", err, out)
	}
	line, _, _ = strings.Cut(line, "\n")
	number, reason, _ := strings.Cut(line, ": ")
	seed, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("hunt: %w", err)
	}
	return seed - from + 1, reason, nil
}

// exhaustible are mutants that show in the smallest clusters within a few events.
var exhaustible = []string{
	"vote-before-durable", "vote-request-before-durable", "own-vote-counted-before-durable", "term-persisted-late",
	"vote-not-persisted", "two-votes-in-a-term", "log-compared-by-length", "pre-vote-counted-as-vote", "own-entry-counted-before-durable",
	"learner-counted-in-commit", "learner-campaigns", "joint-commit-of-one-half", "joint-commit-of-either-half", "joint-vote-of-one-half", "commit-at-upper-median",
	"majority-of-even-is-half", "acknowledged-before-durable", "heartbeat-commit-beyond-match", "matched-goes-back", "applied-before-durable",
	"change-while-one-is-pending", "change-while-one-is-unapplied", "several-changed-at-once", "progress-lost-in-change", "removed-leader-leaves-at-once",
	"answer-of-older-term-taken", "commit-of-older-term", "append-without-check", "truncation-without-conflict", "older-leader-followed", "campaign-with-unapplied-change", "older-write-makes-newer-durable", "truncation-keeps-stable", "change-handed-out-before-commit-is-durable",
}

// The exhaustive search finds faults too.
func TestTheExhaustiveSearchFindsMutants(t *testing.T) {
	list, err := readMutants(mutantsFile)
	if err != nil {
		t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(m mutant) bool { return !slices.Contains(exhaustible, m.name) })
	if len(list) != len(exhaustible) {
		t.Fatalf("of %v only %d are listed in %s", exhaustible, len(list), mutantsFile)
	}
	inParallel(list, func(m mutant) find {
		begin := time.Now()
		binary, err := m.build(t.Context(), t.TempDir())
		if err != nil {
			t.Error(err)
			return find{}
		}
		out, err := exec.CommandContext(t.Context(), binary, "-test.run=^TestEveryInterleaving", "-test.failfast").CombinedOutput()
		if err == nil {
			t.Errorf("mutant %s: no interleaving fails", m.name)
			return find{}
		}
		t.Logf("%-42s %6.1fs  %s", m.name, time.Since(begin).Seconds(), complaint(string(out)))
		return find{}
	})
}

// complaint is what a failed search says first.
func complaint(out string) string {
	for line := range strings.Lines(out) {
		if _, text, ok := strings.Cut(line, "explore_test.go:"); ok || strings.HasPrefix(line, "panic:") {
			return strings.TrimSpace(cmp.Or(text, line))
		}
	}
	return out
}

// build compiles this package's tests with the mutant in the place of the file
// that it changes, and returns the binary.
func (m mutant) build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "hunt.test")
	args := []string{"test", "-c", "-tags=mutants", "-vet=off", "-ldflags=-s -w", "-o", binary}
	if m.file != "" {
		overlay, err := m.overlay(dir)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay="+overlay)
	}
	out, err := exec.CommandContext(ctx, "go", append(args, ".")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
}

// overlay writes the mutated file and the file that puts it in its place.
func (m mutant) overlay(dir string) (string, error) {
	original, err := filepath.Abs(filepath.Join(moduleRoot, m.file))
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	mutated, err := m.mutate(string(source))
	if err != nil {
		return "", err
	}
	replacement := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(replacement, []byte(mutated), 0o600); err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err != nil {
		return "", err
	}
	return overlay, os.WriteFile(overlay, text, 0o600)
}
