//go:build unix

package main

import "syscall"

// keepPrivate makes every file of the process its owner's alone: data, logs and,
// above all, keys.
func keepPrivate() { syscall.Umask(0o077) }
