package test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"testing"
)

// answer is what one run of a command left.
type answer struct {
	stdout, stderr string
	code           int
}

// chainfire runs a command of the binary to its end, in a folder, against a member.
func (l *lab) chainfire(t *testing.T, dir string, asked *member, args ...string) answer {
	t.Helper()
	return runToEnd(t, dir, l.binary, append(args, "--endpoints", asked.client)...)
}

func runToEnd(t *testing.T, dir, program string, args ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errOut bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, &out, &errOut, dieWithParent()
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	return answer{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}
