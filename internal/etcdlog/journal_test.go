package etcdlog

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"
)

func TestLinesGoToTheJournalByTheirLevel(t *testing.T) {
	var lines []string
	var priorities []journal.Priority
	var fails error
	var stderr strings.Builder
	c := &journalCore{
		LevelEnabler: zapcore.InfoLevel, encoder: newEncoder(""), stderr: plain{&stderr},
		send: func(line string, p journal.Priority, vars map[string]string) error {
			if vars["PACKAGE"] != "etcdlog" || vars["SYSLOG_IDENTIFIER"] == "" {
				t.Errorf("%v", vars)
			}
			lines, priorities = append(lines, line), append(priorities, p)
			return fails
		},
	}
	log := slog.New(newHandler(c)).With("member", 1)
	log.Debug("not this one")
	log.Info("one", "n", 1)
	log.Warn("two")
	log.Error("three")
	if !slices.Equal(priorities, []journal.Priority{journal.PriInfo, journal.PriWarning, journal.PriErr}) {
		t.Errorf("priorities are %v", priorities)
	}
	if !strings.HasPrefix(lines[0], `{"level":"info","ts":"`) || !strings.HasSuffix(lines[0], `"msg":"one","member":1,"n":1}`) {
		t.Errorf("%q", lines[0])
	}
	fails = errors.New("the journal is gone")
	log.Info("four")
	if got := stderr.String(); !strings.Contains(got, `"msg":"four"`) || !strings.HasSuffix(got, "}\n") || strings.Contains(got, "three") {
		t.Errorf("the error output has %q", got)
	}
}

func TestWithoutAJournalThereIsAClearError(t *testing.T) {
	if journal.Enabled() {
		t.Skip("this machine has a journal")
	}
	_, _, err := New(Options{Level: "info", Outputs: []string{Journal}})
	if !errors.Is(err, errNoJournal) || !strings.Contains(err.Error(), "leave it away") {
		t.Errorf("%v", err)
	}
}
