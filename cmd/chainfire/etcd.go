package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"gopkg.in/natefinch/lumberjack.v2"

	"chainfire/etcdapi"
	"chainfire/etcdflags"
	"chainfire/internal/disk"
	"chainfire/internal/etcdlog"
)

// etcdName is how the binary is called, or which command, for etcd's command line.
const etcdName = "etcd"

// etcdVersion is the version of etcd whose command line is taken.
const etcdVersion = etcdapi.EtcdVersion

// maxConfigFile bounds the file of --config-file.
const maxConfigFile = 1 << 20

// etcdArgs are the arguments of a process that was started as etcd.
func etcdArgs(argv []string) (args []string, ok bool) {
	if len(argv) == 0 {
		return nil, false
	}
	if strings.TrimSuffix(filepath.Base(argv[0]), ".exe") == etcdName {
		return argv[1:], true
	}
	if len(argv) > 1 && argv[1] == etcdName {
		return argv[2:], true
	}
	return nil, false
}

// newEtcd lists the command; runMain takes it before cobra sees a flag of it.
func newEtcd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "etcd",
		Short: "Run a member with etcd's command line, environment and file",
		Long: `Run a member with the flags, the environment variables and the file in YAML of
etcd ` + etcdVersion + `. So does a link to this binary that is called etcd.
'chainfire etcd --help' lists the flags, and how each differs.`,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if code := a.etcd(cmd.Context(), args); code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
}

// signalled is the end of a context by a signal.
type signalled struct{ syscall.Signal }

// Error implements error.
func (s signalled) Error() string { return s.String() }

// runEtcd runs the process as etcd: the first signal ends the member in good order, and
// then the process by that same signal, as etcd's does; the second ends it at once.
func runEtcd(args []string, a *app) int {
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			signal.Stop(signals)
			end(signalled{s})
		}
	}()
	code := a.etcd(ctx, args)
	var s signalled
	if code == 0 && errors.As(context.Cause(ctx), &s) {
		dieOf(s.Signal)
	}
	return code
}

// etcd runs one process of the name etcd and returns its exit code.
func (a *app) etcd(ctx context.Context, args []string) int {
	tuneMemory(a.getenv)
	if len(args) > 0 && (args[0] == "gateway" || args[0] == "grpc-proxy") {
		a.complain("etcd: '%s' is not part of this program: run that of etcd, which works with any member\n", args[0])
		return exitFailure
	}
	cfg, action, notes, err := etcdflags.Parse(etcdflags.Input{Args: args, Environ: a.environ(), ReadFile: readConfig})
	var usage *etcdflags.UsageError
	switch {
	case errors.As(err, &usage):
		a.complain("%v\n\n%s", err, etcdUsage)
		return exitUsage
	case action == etcdflags.ShowHelp:
		return a.told(a.printf("%s", etcdflags.Help()))
	case action == etcdflags.ShowVersion:
		return a.told(a.printf("etcd Version: %s\nGit SHA: %s\nGo Version: %s\nGo OS/Arch: %s/%s\nChainFire Version: %s\n",
			etcdVersion, buildName(), runtime.Version(), runtime.GOOS, runtime.GOARCH, productVersion()))
	}
	log, closeLog, lerr := a.etcdLog(cfg, err != nil)
	if lerr != nil {
		a.complain("etcd: %v\n", errors.Join(err, lerr))
		return exitFailure
	}
	code := a.etcdLogged(ctx, cfg, notes, err, log)
	if err := closeLog(); err != nil {
		a.complain("etcd: close the log: %v\n", err)
	}
	return code
}

// etcdLogged is what comes once there is a log.
func (a *app) etcdLogged(ctx context.Context, cfg *etcdflags.Config, notes []etcdflags.Note, bad error, log *slog.Logger) int {
	for _, n := range notes {
		level := slog.LevelInfo
		if n.Warn {
			level = slog.LevelWarn
		}
		var more []any
		if n.Flag != "" {
			more = append(more, "name", n.Flag)
		}
		if n.Why != "" {
			more = append(more, "why", n.Why)
		}
		log.Log(ctx, level, n.Text, more...)
	}
	if bad != nil {
		log.Error("failed to verify flags", "err", bad)
		return exitFailure
	}
	if host := defaultHost(); cfg.Settle(host) {
		log.Info("detected default host for advertise", "host", host)
	}
	if err := a.etcdServe(ctx, cfg, log); err != nil {
		log.Error("the member ended", "err", advise(err))
		return exitFailure
	}
	return 0
}

const etcdUsage = "Usage: etcd [flags]; 'etcd --help' lists them.\n"

// exitUsage is the exit code for a command line that cannot be read.
const exitUsage = 2

func (a *app) told(err error) int {
	if err != nil {
		a.complain("etcd: %v\n", err)
		return exitFailure
	}
	return 0
}

// buildName is what the source was built from.
func buildName() string {
	if version == "" {
		return "unknown"
	}
	return version
}

func readConfig(path string) ([]byte, error) {
	b, err := disk.ReadFile(disk.OS(), path, maxConfigFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// etcdLog makes the log. A configuration that is wrong may be so about the log, so it is
// told of in a log of the defaults.
func (a *app) etcdLog(cfg *etcdflags.Config, wrong bool) (*slog.Logger, func() error, error) {
	o := etcdlog.Options{Level: "info", Stdout: a.out, Stderr: a.errOut}
	if wrong {
		return etcdlog.New(o)
	}
	o.Level, o.Format, o.Outputs = cfg.LogLevel, cfg.LogFormat, cfg.LogOutputs
	if cfg.LogRotation {
		r, err := cfg.Rotation()
		if err != nil {
			return nil, nil, err
		}
		o.Rotate = &lumberjack.Logger{
			Filename: cfg.LogOutputs[0], MaxSize: r.MaxSize, MaxAge: r.MaxAge, MaxBackups: r.MaxBackups,
			LocalTime: r.LocalTime, Compress: r.Compress,
		}
	}
	return etcdlog.New(o)
}

// defaultHost is the address that this machine has for the rest of the world; empty is not
// known. Nothing is sent: the system is asked for a route only.
func defaultHost() string {
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }() // nothing was sent on it
	if at, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return at.IP.String()
	}
	return ""
}
