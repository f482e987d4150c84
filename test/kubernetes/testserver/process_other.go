//go:build !linux

package testserver

import "syscall"

// dieWithParent puts a process into a group of its own; tests end it themselves.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
