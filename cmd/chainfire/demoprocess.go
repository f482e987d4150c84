package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// demoGrace is how long a member may take to end when it is asked to.
const demoGrace = 15 * time.Second

// demoProcess is one member as a process of its own.
type demoProcess struct {
	cmd     *exec.Cmd
	logPath string
	// exited is closed once the process is gone, and err is set.
	exited chan struct{}
	err    error
}

// startDemoProcess starts this very binary in a folder, with other arguments. What
// it says of its steps is handed to report, on a goroutine of its own; its log is
// appended to a file there. It is in a process group of its own, so that an interrupt at the
// terminal reaches it only through stop, and on Linux it dies with the thread
// that calls this.
func startDemoProcess(dir string, args []string, logName string, report func(progressEvent)) (*demoProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this binary: %w", err)
	}
	logPath := filepath.Join(dir, logName)
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of a member: %w", err)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir, cmd.Stderr = dir, log
	cmd.SysProcAttr = ownGroup()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	// The process has a handle of its own.
	if cerr := log.Close(); err == nil && cerr != nil {
		err = errors.Join(cerr, cmd.Process.Kill(), cmd.Wait())
	}
	if err != nil {
		return nil, fmt.Errorf("start a member: %w", err)
	}
	p := &demoProcess{cmd: cmd, logPath: logPath, exited: make(chan struct{})}
	go func() {
		readErr := readEvents(out, report)
		p.err = errors.Join(cmd.Wait(), readErr)
		close(p.exited)
	}()
	return p, nil
}

// readEvents reads lines of --progress json until the process ends.
func readEvents(out io.Reader, report func(progressEvent)) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e progressEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("read what a member says, %q: %w", lines.Text(), err)
		}
		report(e)
	}
	return lines.Err()
}

func (p *demoProcess) pid() int { return p.cmd.Process.Pid }

// died returns an error once the process has ended.
func (p *demoProcess) died() error {
	select {
	case <-p.exited:
	default:
		return nil
	}
	return fmt.Errorf("the process ended by itself (%s); its log %s ends:\n%s", p.end(), p.logPath, p.logTail())
}

// end says how a process that is gone ended.
func (p *demoProcess) end() string {
	if p.err != nil {
		return p.err.Error()
	}
	return p.cmd.ProcessState.String()
}

// logTail is the end of what the process logged.
func (p *demoProcess) logTail() []byte {
	const most = 2 << 10
	b, err := os.ReadFile(p.logPath)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(b[max(len(b)-most, 0):])
}

// kill ends the process as a power cut would, and waits until it is gone.
func (p *demoProcess) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// stop asks the process to end, and kills it when it does not in time. Its exit
// code counts only if it was in service: a start that is cut short is no success.
func (p *demoProcess) stop(inService bool) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.NewTimer(demoGrace)
	defer late.Stop()
	select {
	case <-p.exited:
		if p.cmd.ProcessState.Success() || !inService {
			return nil
		}
		return fmt.Errorf("process %d did not stop in good order (%s); its log ends:\n%s", p.pid(), p.end(), p.logTail())
	case <-late.C:
		return errors.Join(fmt.Errorf("process %d did not stop within %v and was killed; its log ends:\n%s", p.pid(), demoGrace, p.logTail()), p.kill())
	}
}

func (p *demoProcess) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.pid(), err)
	}
	return nil
}
