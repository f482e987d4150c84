// Command chainfire runs a member of a ChainFire cluster, and speaks to one:
// chainfire serve starts a member, chainfire --help lists the rest. Each command
// is a file of its own, which holds its flags and its wiring; what the commands
// do is in the packages below.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(runMain())
}

// runMain lets the first signal end the command by its context, and the second
// end the process.
func runMain() int {
	if args, ok := etcdArgs(os.Args); ok {
		keepPrivate()
		return runEtcd(args, newApp(os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	keepPrivate()
	return run(ctx, os.Args[1:], newApp(os.Stdin, os.Stdout, os.Stderr))
}

// run runs one command and returns the exit code of the process.
func run(ctx context.Context, args []string, a *app) int {
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if isInterrupt(ctx, err) {
		err = errors.New("interrupted")
	}
	var coded *exitError
	if !errors.As(err, &coded) {
		coded = &exitError{code: exitFailure, err: err}
	}
	if coded.err != nil {
		a.complain("chainfire: %v\n", advise(coded.err))
	}
	return coded.code
}

// isInterrupt reports whether an error comes of the end of the context and of
// nothing else that went wrong.
func isInterrupt(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx)))
}

// The exit codes.
const (
	exitFailure   = 1
	exitUnhealthy = 2
)

// exitError ends the process with a code of its own. Without an error in it,
// everything was said already.
type exitError struct {
	code int
	err  error
}

// Error implements error.
func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap gives the reason.
func (e *exitError) Unwrap() error { return e.err }

// newRoot builds the tree of commands.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "chainfire",
		Short: "A replicated key-value store that speaks etcd v3",
		Long: `ChainFire is a replicated key-value store that speaks etcd v3.

'chainfire serve' starts a member and prints the line that adds the next one.
'chainfire demo' shows a whole cluster grow, lose its leader and lose nothing.

The commands that speak to a cluster end with exit code 0, or 1 and an error.
With -w json they print one JSON object; ids are strings in it, and a key or a
value that is not valid UTF-8 is in a field with _base64 after its name instead.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		// Without a command, help is the answer.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; '%s --help' lists the flags", err, cmd.CommandPath())
	})
	a.addGlobalFlags(root)
	root.AddCommand(
		newServe(a), newEtcd(a), newDemo(a), newStatus(a), newMember(a), newToken(a),
		newGet(a), newPut(a), newDel(a), newTxn(a), newWatch(a), newLease(a),
		newSnapshot(a), newMigrate(a), newSeed(a), newRecover(a), newS3(a), newDebug(a), newVersion(a),
	)
	return root
}

// complain writes to the error output. There is nowhere to report a failure of
// that.
func (a *app) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(a.errOut, format, args...)
}

// needArgs is a check of a command's arguments whose error shows how it is used.
func needArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		return fmt.Errorf("%s: %d arguments given; usage: %s", cmd.CommandPath(), len(args), cmd.UseLine())
	}
}
