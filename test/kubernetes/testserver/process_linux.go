package testserver

import "syscall"

// dieWithParent lets a process end with the thread that started it. Threads of
// the Go runtime last as long as the process, so nothing stays when a test
// panics, runs out of time or is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
