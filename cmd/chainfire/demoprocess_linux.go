package main

import "syscall"

// ownGroup makes a process the first of its group, and lets it die with the
// thread that started it, so that nothing stays when the demo itself is killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
