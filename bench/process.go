package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopGrace is how long a server may take to end when asked to.
const stopGrace = 10 * time.Second

// process is one running server.
type process struct {
	cmd     *exec.Cmd
	logPath string
	// exited is closed when the process has ended and err is set.
	exited chan struct{}
	err    error
}

// startProcess starts a server, its output going to a file. The server is in a
// process group of its own, so that an interrupt reaches it only through stop,
// and dies with the thread that calls this: call it on the main goroutine. env is what
// it finds in its environment besides what this process has.
func startProcess(binary string, args []string, logPath string, env ...string) (*process, error) {
	out, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of server: %w", err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	closeErr := out.Close() // the server has its own handle
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	p := &process{cmd: cmd, logPath: logPath, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	if closeErr != nil {
		return nil, errors.Join(fmt.Errorf("close log of server: %w", closeErr), p.kill())
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// running returns an error with the end of the server's output once it has
// ended by itself.
func (p *process) running() error {
	select {
	case <-p.exited:
		return fmt.Errorf("server %s ended (%s); its output ends:\n%s", p.cmd.Path, p.cmd.ProcessState, p.logTail())
	default:
		return nil
	}
}

// logTail is the end of what the server printed.
func (p *process) logTail() []byte {
	const most = 4 << 10
	b, err := os.ReadFile(p.logPath)
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(b[max(len(b)-most, 0):])
}

// stop asks the server to end and kills it when it does not in time.
func (p *process) stop() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopGrace):
		return p.kill()
	}
}

// kill ends the server as a power cut would, and waits until it is gone.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal server %d: %w", p.pid(), err)
	}
	return nil
}
