package etcdlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap/zapcore"
)

// Journal is the output that is systemd's journal.
const Journal = "systemd/journal"

// errNoJournal is why there is no log where the journal was asked for.
var errNoJournal = errors.New(Journal + ": the socket of systemd's journal is not there: leave it away; what a service writes to its error output is in the journal")

// sender hands a line to the journal.
type sender func(message string, priority journal.Priority, vars map[string]string) error

// journalCore writes to the journal, each line with the priority of its level, and where
// that fails to the error output.
type journalCore struct {
	zapcore.LevelEnabler
	encoder zapcore.Encoder
	send    sender
	stderr  zapcore.WriteSyncer
}

// newJournal makes a core, if there is a journal.
func newJournal(level zapcore.LevelEnabler, encoder zapcore.Encoder, stderr io.Writer) (*journalCore, error) {
	if !journal.Enabled() {
		return nil, errNoJournal
	}
	return &journalCore{level, encoder, journal.Send, zapcore.Lock(plain{stderr})}, nil
}

// With implements zapcore.Core.
func (c *journalCore) With(fields []zapcore.Field) zapcore.Core {
	out := *c
	out.encoder = c.encoder.Clone()
	for _, f := range fields {
		f.AddTo(out.encoder)
	}
	return &out
}

// Check implements zapcore.Core.
func (c *journalCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements zapcore.Core.
func (c *journalCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	line, err := c.encoder.EncodeEntry(e, fields)
	if err != nil {
		return fmt.Errorf("encode a line of the log: %w", err)
	}
	defer line.Free()
	err = c.send(strings.TrimSuffix(line.String(), "\n"), priority(e.Level), map[string]string{
		"PACKAGE": path.Dir(e.Caller.TrimmedPath()), "SYSLOG_IDENTIFIER": filepath.Base(os.Args[0]),
	})
	if err != nil {
		_, err = c.stderr.Write(line.Bytes())
	}
	return err
}

// Sync implements zapcore.Core.
func (c *journalCore) Sync() error { return nil }

func priority(l zapcore.Level) journal.Priority {
	switch {
	case l <= zapcore.DebugLevel:
		return journal.PriDebug
	case l == zapcore.InfoLevel:
		return journal.PriInfo
	case l == zapcore.WarnLevel:
		return journal.PriWarning
	case l == zapcore.ErrorLevel:
		return journal.PriErr
	}
	return journal.PriCrit
}
