package etcdlog

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func logger(t *testing.T, o Options) (*slog.Logger, func()) {
	t.Helper()
	log, closeFiles, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return log, func() {
		if err := closeFiles(); err != nil {
			t.Error(err)
		}
	}
}

func TestALineHasTheShapeOfEtcds(t *testing.T) {
	var out strings.Builder
	log, _ := logger(t, Options{Level: "info", Stderr: &out})
	log.With("err", errors.New("of before")).Info("it is so", "err", errors.New("now"), "took", 1500*time.Millisecond, "n", 3)
	log.Debug("not this one")
	log.Error("badly")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	shape := regexp.MustCompile(`^{"level":"info","ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})","caller":"etcdlog/etcdlog_test\.go:\d+","msg":"it is so",.*"took":"1.5s","n":3}$`)
	if len(lines) != 2 || !shape.MatchString(lines[0]) || strings.Contains(lines[0], `"err"`) || strings.Contains(lines[1], "stacktrace") {
		t.Fatalf("%s", out.String())
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &fields); err != nil || fields["error"] != "now" {
		t.Errorf("%v, %v", fields, err)
	}
}

func TestConsoleLinesHaveTabs(t *testing.T) {
	var out strings.Builder
	log, _ := logger(t, Options{Level: "debug", Format: "console", Outputs: []string{"stdout"}, Stdout: &out})
	log.Debug("it is so", "n", 3)
	if !regexp.MustCompile(`^\S+\tdebug\tetcdlog/\S+\tit is so\t{"n": 3}\n$`).MatchString(out.String()) {
		t.Errorf("%q", out.String())
	}
}

func TestEveryOutputGetsEveryLineOnce(t *testing.T) {
	var out strings.Builder
	path := filepath.Join(t.TempDir(), "log")
	log, closeFiles := logger(t, Options{Level: "warn", Outputs: []string{path, "stdout", path}, Stdout: &out})
	log.Info("not this one")
	log.Warn("this one")
	closeFiles()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != out.String() || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%q, %q, %v", b, out.String(), err)
	}
}

func TestWhatCannotBeLoggedToIsAnError(t *testing.T) {
	for _, o := range []Options{{Level: "loud"}, {Level: "info", Outputs: []string{filepath.Join(t.TempDir(), "no", "such")}}} {
		if _, _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
