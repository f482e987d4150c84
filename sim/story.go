package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// story is what a person reads of a run: faults, what members log, what clients
// see. Without a writer it costs nothing.
type story struct {
	// mu: the engine logs from threads of its own.
	mu  sync.Mutex
	out io.Writer
	// messages tells of every message too.
	messages bool
	now      func() time.Duration
}

func (s *story) on() bool { return s.out != nil }

func (s *story) tell(who, format string, args ...any) {
	if s.out == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Nothing is done about a story that cannot be told.
	_, _ = fmt.Fprintf(s.out, "%11.6f  %-9s  %s\n", s.now().Seconds(), who, fmt.Sprintf(format, args...))
}

// logger tells what a member logs.
func (s *story) logger(who string) *slog.Logger { return slog.New(storyHandler{s: s, who: who}) }

type storyHandler struct {
	s     *story
	who   string
	attrs string
}

// Enabled implements slog.Handler.
func (h storyHandler) Enabled(_ context.Context, l slog.Level) bool {
	return h.s.out != nil && l >= slog.LevelInfo
}

// Handle implements slog.Handler.
func (h storyHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if r.Level > slog.LevelInfo {
		b.WriteString(r.Level.String() + " ")
	}
	b.WriteString(r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, "  %s=%v", a.Key, a.Value)
		return true
	})
	h.s.tell(h.who, "%s", b.String())
	return nil
}

// WithAttrs implements slog.Handler.
func (h storyHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += fmt.Sprintf("  %s=%v", a.Key, a.Value)
	}
	return h
}

// WithGroup implements slog.Handler.
func (h storyHandler) WithGroup(string) slog.Handler { return h }
