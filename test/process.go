// Package test holds the whole system to its promises from outside: it runs real
// processes of the chainfire binary, drives them with etcd's own client and
// etcdctl, and kills, stops and damages them. The harness starts members and
// records what clients saw; the rules are in the tests.
package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// event is one line that a member prints under --progress json.
type event struct {
	Step  string `json:"step"`
	Text  string `json:"text"`
	Done  int64  `json:"done_bytes"`
	Total int64  `json:"total_bytes"`
	// ClientURL is where a ready member serves clients.
	ClientURL string `json:"client_url"`
	// S3 is the address of S3 of a ready member, S3URL the same as a URL.
	S3    string `json:"s3"`
	S3URL string `json:"s3_url"`
}

// process is one run of the binary. Its methods may be called from any goroutine.
type process struct {
	cmd    *exec.Cmd
	stderr string
	// logFrom is where this run's part of the log begins.
	logFrom int64
	// exited is closed once the process is gone; readErr is set then.
	exited  chan struct{}
	readErr error

	mu     sync.Mutex
	events []event
}

// startProcess runs the binary. Its error output is appended to a file, its
// standard output is read as events. It dies with this process, however that
// ends, where the system can do that. env is what it finds in its environment besides
// what this process has.
func startProcess(binary string, args []string, stderr string, env ...string) (*process, error) {
	log, err := os.OpenFile(stderr, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has a handle of its own
	info, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("read size of log: %w", err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Stderr, cmd.Env = log, append(os.Environ(), env...)
	cmd.SysProcAttr = dieWithParent()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s %v: %w", binary, args, err)
	}
	p := &process{cmd: cmd, stderr: stderr, logFrom: info.Size(), exited: make(chan struct{})}
	go func() {
		p.readErr = p.read(out)
		// How it ended is in cmd.ProcessState.
		_ = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) read(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("standard output has %q among its events: %w", lines.Text(), err)
		}
		p.mu.Lock()
		p.events = append(p.events, e)
		p.mu.Unlock()
	}
	return lines.Err()
}

// said reports whether an event has come that satisfies ok.
func (p *process) said(ok func(event) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.events, ok)
}

// seeding returns the last that was said of the seed.
func (p *process) seeding() (done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.events) - 1; i >= 0; i-- {
		if e := p.events[i]; e.Step == "seed" && e.Total > 0 {
			return e.Done, e.Total
		}
	}
	return 0, 0
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// died returns an error once the process has ended.
func (p *process) died() error {
	if p.alive() {
		return nil
	}
	return fmt.Errorf("the process has ended: %v", p.cmd.ProcessState)
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

// kill ends the process as a power cut would, and waits until it is gone.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// exit waits until the process has ended by itself and returns its exit code. It
// kills a process that takes longer.
func (p *process) exit(within time.Duration) (int, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), p.readErr
	case <-late.C:
		return -1, errors.Join(fmt.Errorf("the process still runs after %v", within), p.kill())
	}
}

// log is what this run wrote to its error output.
func (p *process) log() string {
	b, err := os.ReadFile(p.stderr)
	if err != nil {
		return err.Error()
	}
	return string(b[min(p.logFrom, int64(len(b))):])
}

// tail is the end of the error output of all runs.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// calm lets a leader keep its place on a machine where nothing runs in time.
func calm() []string { return []string{"--heartbeat-interval", "200ms", "--election-timeout", "3s"} }
