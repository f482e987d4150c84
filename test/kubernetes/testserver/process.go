package testserver

import (
	"fmt"
	"os"
	"os/exec"
)

// process is a server that runs. Its methods may be called from any goroutine.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// startProcess runs a program that writes to a log, which is closed here. It dies with
// this process, where the system can do that.
func startProcess(binary string, args []string, log *os.File) (*process, error) {
	defer func() { _ = log.Close() }() // the process has a handle of its own
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s %v: %w", binary, args, err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(p.exited)
	}()
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// kill ends the process, and returns when it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if it is gone
	<-p.exited
}
