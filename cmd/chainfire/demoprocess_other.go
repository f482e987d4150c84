//go:build !linux

package main

import "syscall"

// ownGroup makes a process the first of its group.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
