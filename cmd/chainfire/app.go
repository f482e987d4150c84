package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/term"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// app is what every command shares: where it reads and writes, and the global
// flags.
type app struct {
	in          io.Reader
	out, errOut io.Writer
	// program is how the user called this binary, for lines to copy.
	program string
	getenv  func(string) string
	environ func() []string

	endpoints []string
	trust     trust
	user      user
	format    string
	timeout   time.Duration
	logLevel  string
	logFormat string
}

func newApp(in io.Reader, out, errOut io.Writer) *app {
	return &app{in: in, out: out, errOut: errOut, program: programName(os.Args[0]), getenv: os.Getenv, environ: os.Environ}
}

// programName is how to call this binary again: as it was called, or through
// go run, which keeps it in a folder that does not last.
func programName(arg0 string) string {
	if strings.Contains(filepath.ToSlash(arg0), "/go-build") {
		return "go run ./cmd/chainfire"
	}
	return arg0
}

const (
	defaultClientAddr = "127.0.0.1:2379"
	defaultPeerAddr   = "127.0.0.1:2380"
	endpointsVariable = "CHAINFIRE_ENDPOINTS"
)

// The output formats.
const (
	formatTable = "table"
	formatJSON  = "json"
)

func (a *app) addGlobalFlags(root *cobra.Command) {
	endpoints := []string{defaultClientAddr}
	if v := a.getenv(endpointsVariable); v != "" {
		endpoints = strings.Split(v, ",")
	}
	f := root.PersistentFlags()
	f.StringSliceVar(&a.endpoints, "endpoints", endpoints, "client addresses of members, HOST:PORT,..., over TLS https://HOST:PORT,...; also from "+endpointsVariable)
	a.trust.flags(f, a.getenv)
	a.user.flags(f, a.getenv)
	f.StringVarP(&a.format, "write-out", "w", formatTable, "what to print: table or json")
	f.DurationVar(&a.timeout, "timeout", 5*time.Second, "how long one request may take")
	f.StringVar(&a.logLevel, "log-level", "info", "least level to log: debug, info, warn or error")
	f.StringVar(&a.logFormat, "log-format", "text", "how to log: text or json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.checkGlobalFlags() }
}

func (a *app) checkGlobalFlags() error {
	if a.format != formatTable && a.format != formatJSON {
		return fmt.Errorf("--write-out %q: choose table or json", a.format)
	}
	if a.timeout <= 0 {
		return fmt.Errorf("--timeout %v: give a time above 0, as 5s", a.timeout)
	}
	if len(a.endpoints) == 0 {
		return errors.New("--endpoints is empty: name the client address of a member, as " + defaultClientAddr)
	}
	if err := a.trust.settle(a.endpoints); err != nil {
		return err
	}
	if err := a.user.settle(); err != nil {
		return err
	}
	_, err := a.logger(io.Discard)
	return err
}

// logger makes a logger that writes to w as the flags say.
func (a *app) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: choose debug, info, warn or error", a.logLevel)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch a.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case formatJSON:
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: choose text or json", a.logFormat)
}

// isTerminal reports whether a person looks at w.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// etcdClient makes an etcd client for members of a cluster, as the flags say.
func (a *app) etcdClient(ctx context.Context, endpoints []string) (*clientv3.Client, error) {
	cfg, err := a.trust.config()
	if err != nil {
		return nil, err
	}
	return etcdClient(ctx, endpoints, cfg, a.user)
}

// etcdClient makes an etcd client for members of a cluster; without cfg it speaks no
// TLS. What it would log is in the errors of its calls.
func etcdClient(ctx context.Context, endpoints []string, cfg *tls.Config, as user) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Context:            ctx,
		Endpoints:          endpoints,
		TLS:                cfg,
		Username:           as.name,
		Password:           as.password,
		DialTimeout:        2 * time.Second,
		MaxCallSendMsgSize: 1 << 30, // what is too large, the member says
		Logger:             zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(endpoints, ","), err)
	}
	return c, nil
}

// withClient runs one request on an etcd client, within the timeout.
func (a *app) withClient(ctx context.Context, do func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if err := a.reachable(ctx); err != nil {
		return err
	}
	c, err := a.etcdClient(ctx, a.endpoints)
	if err != nil {
		return err
	}
	err = do(ctx, c)
	if cerr := c.Close(); err == nil && cerr != nil && !errors.Is(cerr, context.Canceled) {
		err = fmt.Errorf("close the connection: %w", cerr)
	}
	if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("no answer from %s within %v; see 'chainfire status', or give it longer with --timeout (%w)",
			strings.Join(a.endpoints, ","), a.timeout, err)
	}
	return err
}

// unreachableError says that no endpoint accepts connections.
type unreachableError struct{ errs []error }

// Error implements error.
func (e *unreachableError) Error() string {
	var reasons []string
	for _, err := range e.errs {
		reasons = append(reasons, err.Error())
	}
	var secure *tlsError
	if errors.As(errors.Join(e.errs...), &secure) {
		return fmt.Sprintf("no member can be spoken to (%s)", strings.Join(reasons, "; "))
	}
	return fmt.Sprintf("no member can be reached (%s); start one with 'chainfire serve', or name others with --endpoints",
		strings.Join(reasons, "; "))
}

// Unwrap gives the reasons.
func (e *unreachableError) Unwrap() []error { return e.errs }

// advise adds to a member's error what to do about it.
func advise(err error) error {
	next := adviseTLS(err)
	known := err
	// Calls of ChainFire's own services come with the status alone.
	if s, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		known = rpctypes.Error(s)
	}
	is := func(target error) bool { return errors.Is(err, target) || errors.Is(known, target) }
	switch {
	case next != "":
	case is(rpctypes.ErrCompacted):
		next = "that revision is gone; ask for a newer one with --rev, or leave it out"
	case is(rpctypes.ErrFutureRev):
		next = "the cluster has not come to that revision; leave --rev out for the newest"
	case is(rpctypes.ErrNoSpace):
		next = "delete keys or compact the history, or give the members a larger --quota-backend-bytes, then 'etcdctl alarm disarm'"
	case is(rpctypes.ErrLeaseNotFound):
		next = "it has ended, or never was; 'chainfire lease list' shows those that there are"
	case is(rpctypes.ErrLeaseExist):
		next = "leave --id out, or revoke that one"
	case is(rpctypes.ErrLeaseTTLTooLarge):
		next = "give at most 9000000000 seconds"
	case is(rpctypes.ErrRequestTooLarge), status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max"):
		next = "split it, or start the members with a larger --max-request-bytes"
	case is(rpctypes.ErrUserEmpty), is(rpctypes.ErrAuthFailed):
		next = "say who asks with --user NAME:PASSWORD"
	case is(rpctypes.ErrPermissionDenied):
		next = "the user has no role for it; 'etcdctl user get NAME --detail' shows what it may do"
	case is(rpctypes.ErrNoLeader), is(rpctypes.ErrLeaderChanged):
		next = "try again in a second; 'chainfire status' shows who is missing"
	case is(rpctypes.ErrMemberNotFound):
		next = "'chainfire member list' has the ids"
	case is(rpctypes.ErrMemberLearnerNotReady):
		next = "'chainfire status' shows how far it is behind; try again when it has caught up"
	case is(rpctypes.ErrUnhealthy), is(rpctypes.ErrMemberNotEnoughStarted):
		next = "too few members are up for this; 'chainfire status' shows who is missing"
	case status.Code(err) == codes.Unimplemented && !strings.Contains(err.Error(), "what answers there"):
		next = "what answers there does not know this call; check --endpoints"
	case isLearnerError(err):
		next = "the member asked is a learner; ask a voter with --endpoints, or read with --consistency s"
	}
	if next == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, next)
}

func isLearnerError(err error) bool {
	return errors.Is(err, rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner))
}
