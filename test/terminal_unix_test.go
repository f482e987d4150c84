//go:build unix

package test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// typed runs a command on a terminal and types an answer once it has asked. It
// returns what stood there at the end.
func typed(t *testing.T, question, answer string, args ...string) (screen string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, here.binary, args...)
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }() // the command has ended
	var b strings.Builder
	in := bufio.NewReader(io.TeeReader(terminal, &b))
	asked := false
	for {
		_, err := in.ReadByte()
		if err != nil {
			break // the system's word for the end of a terminal differs
		}
		if !asked && strings.Contains(b.String(), question) {
			asked = true
			if _, err := io.WriteString(terminal, answer+"\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b.String(), cmd.Wait()
}

// TestRecoverAsksAPersonForTheClusterItGivesUp changes nothing after a wrong answer;
// after the right one the member serves at the addresses that were given with it.
func TestRecoverAsksAPersonForTheClusterItGivesUp(t *testing.T) {
	t.Parallel()
	a := oneMember(t).members[0]
	ballast(t, a.kv(), 1<<10)
	a.stop()
	before := show(t, a.dir).Survivors[0]
	const question = "to go on: "
	screen, err := typed(t, question, "yes", "recover", "--data-dir", a.dir)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(screen, `"yes" is not the cluster's id: nothing was changed`) {
		t.Errorf("after a wrong answer: %v\n%s", err, screen)
	}
	if now := show(t, a.dir).Survivors[0]; now != before {
		t.Errorf("after a wrong answer it is %+v, was %+v", now, before)
	}
	moved := here.newMember(t, "moved")
	screen, err = typed(t, question, before.Cluster, "recover", "--data-dir", a.dir,
		"--advertise-peer", moved.peer, "--advertise-client", moved.client)
	if err != nil || !strings.Contains(screen, "which was "+before.Cluster) {
		t.Fatalf("after the right answer: %v\n%s", err, screen)
	}
	moved.dir = a.dir
	moved.start()
	moved.awaitServing()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := moved.status(ctx)
	if err != nil || len(s.Members) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	m := s.Members[0]
	if m.PeerURLs[0] != "https://"+moved.peer || m.ClientURLs[0] != "http://"+moved.client {
		t.Errorf("it is at %v and %v", m.PeerURLs, m.ClientURLs)
	}
}
