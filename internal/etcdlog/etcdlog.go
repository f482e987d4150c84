// Package etcdlog writes a log as etcd does, for the programs that read etcd's: one JSON
// object a line, with level, ts, caller and msg before everything else.
package etcdlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
	"gopkg.in/natefinch/lumberjack.v2"
)

// Options say how to log, in the words of etcd's flags.
type Options struct {
	// Level is the least that is logged: debug, info, warn, error, dpanic, panic or fatal.
	Level string
	// Format is json, which is the default, or console.
	Format string
	// Outputs are default or stderr, stdout, and paths of files; or Journal alone. None is
	// stderr.
	Outputs []string
	// Rotate, if it is set, begins the file anew that is the only output.
	Rotate *lumberjack.Logger
	// Stdout and Stderr are where those two go.
	Stdout, Stderr io.Writer
}

// New makes a logger. Close closes the files that it writes to.
func New(o Options) (log *slog.Logger, closeFiles func() error, err error) {
	var level zapcore.Level
	if err := level.UnmarshalText([]byte(o.Level)); err != nil {
		return nil, nil, fmt.Errorf("level of the log: %w", err)
	}
	encoder := newEncoder(o.Format)
	if slices.Contains(o.Outputs, Journal) {
		core, err := newJournal(level, encoder, o.Stderr)
		if err != nil {
			return nil, nil, err
		}
		return slog.New(newHandler(core)), func() error { return nil }, nil
	}
	to, closeFiles, err := o.open()
	if err != nil {
		return nil, nil, err
	}
	return slog.New(newHandler(zapcore.NewCore(encoder, to, level))), closeFiles, nil
}

func newHandler(core zapcore.Core) slog.Handler {
	return renamed{zapslog.NewHandler(core, zapslog.WithCaller(true), zapslog.AddStacktraceAt(math.MaxInt))}
}

func newEncoder(format string) zapcore.Encoder {
	enc := zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", NameKey: "logger", CallerKey: "caller", MessageKey: "msg",
		LineEnding: zapcore.DefaultLineEnding, EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeTime:     func(t time.Time, to zapcore.PrimitiveArrayEncoder) { to.AppendString(t.Format(timeLayout)) },
		EncodeDuration: zapcore.StringDurationEncoder, EncodeCaller: zapcore.ShortCallerEncoder,
	}
	if format == "console" {
		return zapcore.NewConsoleEncoder(enc)
	}
	return zapcore.NewJSONEncoder(enc)
}

// timeLayout has microseconds, always six figures of them.
const timeLayout = "2006-01-02T15:04:05.000000Z0700"

// open opens what is written to.
func (o *Options) open() (zapcore.WriteSyncer, func() error, error) {
	if o.Rotate != nil {
		return zapcore.AddSync(o.Rotate), o.Rotate.Close, nil
	}
	outputs := o.Outputs
	if len(outputs) == 0 {
		outputs = []string{"default"}
	}
	var all []zapcore.WriteSyncer
	var paths []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(outputs))) {
		switch name {
		case "default", "stderr":
			all = append(all, plain{o.Stderr})
		case "stdout":
			all = append(all, plain{o.Stdout})
		default:
			paths = append(paths, name)
		}
	}
	done := func() error { return nil }
	if len(paths) > 0 {
		files, closeAll, err := zap.Open(paths...)
		if err != nil {
			return nil, nil, fmt.Errorf("open the log: %w", err)
		}
		all = append(all, files)
		done = func() error {
			err := files.Sync()
			closeAll()
			if errors.Is(err, errors.ErrUnsupported) {
				err = nil
			}
			return err
		}
	}
	return zapcore.Lock(zapcore.NewMultiWriteSyncer(all...)), done, nil
}

// plain is a writer without a disk behind it that could be waited for.
type plain struct{ io.Writer }

// Sync implements zapcore.WriteSyncer.
func (plain) Sync() error { return nil }

// renamed is a handler whose records are in etcd's words, where etcd has the same.
type renamed struct{ slog.Handler }

// Handle implements slog.Handler.
func (h renamed) Handle(ctx context.Context, r slog.Record) error {
	words, ok := etcdWords[r.Message]
	if !ok {
		words.msg = r.Message
	}
	out := slog.NewRecord(r.Time, r.Level, words.msg, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(words.rename(a))
		return true
	})
	return h.Handler.Handle(ctx, out)
}

// WithAttrs implements slog.Handler.
func (h renamed) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		out = append(out, told{}.rename(a))
	}
	return renamed{h.Handler.WithAttrs(out)}
}

// WithGroup implements slog.Handler.
func (h renamed) WithGroup(name string) slog.Handler { return renamed{h.Handler.WithGroup(name)} }
