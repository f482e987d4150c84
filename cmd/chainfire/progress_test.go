package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func joinSteps() []progressEvent {
	steps := []progressEvent{
		{Step: "check", Text: "asking h:1"},
		{Step: "reserve", Text: "a place", Cluster: "ab", Member: "3"},
	}
	for done := int64(0); done <= 100<<10; done += 1 << 10 {
		steps = append(steps, progressEvent{Step: "seed", Text: "from 1", Done: done, Total: 100 << 10})
	}
	return append(steps,
		progressEvent{Step: "learn", Text: "asking"},
		progressEvent{Step: "promote", Text: ""},
		progressEvent{Step: "promote", Text: "catches up: 9 entries behind, round 1", Match: 1, Commit: 10},
		progressEvent{Step: "promote", Text: "catches up: 8 entries behind, round 1", Match: 2, Commit: 10},
		progressEvent{Step: "promote", Text: "caught up; stays a learner", Match: 10, Commit: 10},
		progressEvent{Step: "promote", Text: "caught up; stays a learner", Match: 11, Commit: 11},
		progressEvent{Step: "voter", Text: "this member votes"},
	)
}

// showAll shows steps that are 50 ms apart.
func showAll(t *testing.T, mode string) string {
	t.Helper()
	var out strings.Builder
	p, err := newProgress(mode, &out)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1, 0)
	p.now = func() time.Time { return now }
	for _, e := range joinSteps() {
		p.show(e)
		now = now.Add(50 * time.Millisecond)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPlainProgressIsALineAStepAndOneASecondInTheSeed(t *testing.T) {
	want := `check: asking h:1
reserve: a place
seed: from 1, 0 B of 100.0 KiB (0%)
seed: from 1, 20.0 KiB of 100.0 KiB (20%)
seed: from 1, 40.0 KiB of 100.0 KiB (40%)
seed: from 1, 60.0 KiB of 100.0 KiB (60%)
seed: from 1, 80.0 KiB of 100.0 KiB (80%)
seed: from 1, 100.0 KiB of 100.0 KiB (100%)
learn: asking
learner: catches up: 9 entries behind, round 1
standby learner: caught up; stays a learner
voter: this member votes
`
	// Where nobody looks, auto is plain.
	for _, mode := range []string{progressPlain, progressAuto} {
		if diff := cmp.Diff(want, showAll(t, mode)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", mode, diff)
		}
	}
}

func TestJSONProgressIsOneObjectALine(t *testing.T) {
	var steps []string
	var last progressEvent
	for line := range strings.Lines(showAll(t, progressJSON)) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if len(steps) == 0 || steps[len(steps)-1] != last.Step {
			steps = append(steps, last.Step)
		}
	}
	if got := strings.Join(steps, " "); got != "check reserve seed learn promote voter" {
		t.Errorf("steps %s", got)
	}
}

func TestBarShowsBytesAndEndsItsLine(t *testing.T) {
	out := showAll(t, progressBar)
	for _, want := range []string{"check: asking h:1\n", "100/100 KiB", "/s)", "\nlearn: asking\n", "voter: this member votes\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%q", want, out)
		}
	}
}

func TestBytesArePrintedForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 24 << 20: "24.0 MiB", 3 << 40: "3.0 TiB", 1 << 60: "1048576.0 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
