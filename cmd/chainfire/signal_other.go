//go:build !unix

package main

import "syscall"

// dieOf has nothing to do where processes do not end by signals.
func dieOf(syscall.Signal) {}
