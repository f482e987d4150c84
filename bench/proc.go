package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of processor time in /proc: Linux gives it to user space
// as 100 per second on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// usage is what a process has used.
type usage struct {
	// CPU is user and system time since the process started.
	CPU time.Duration
	// RSS is resident memory now, PeakRSS the most there ever was, in bytes.
	RSS, PeakRSS uint64
	// Written is what the process had the disk write since it started, in bytes.
	Written uint64
}

// usageOf reads what the process of an id has used.
func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("read processor time: %w", err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, fmt.Errorf("read memory: %w", err)
	}
	var u usage
	if u.CPU, err = parseStat(stat); err != nil {
		return usage{}, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	if u.RSS, err = parseStatus(status, "VmRSS"); err != nil {
		return usage{}, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	if u.PeakRSS, err = parseStatus(status, "VmHWM"); err != nil {
		return usage{}, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return usage{}, fmt.Errorf("read bytes written: %w", err)
	}
	if u.Written, err = parseIO(io, "write_bytes"); err != nil {
		return usage{}, fmt.Errorf("bytes written by process %d: %w", pid, err)
	}
	return u, nil
}

// forgetPeak makes the peak of a process's memory what it has now.
func forgetPeak(pid int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("reset the peak of memory: %w", err)
	}
	return nil
}

// parseIO reads one number of /proc/PID/io.
func parseIO(io []byte, name string) (uint64, error) {
	for line := range strings.Lines(string(io)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 63)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", name, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("io has no %s", name)
}

// parseStat adds utime and stime, fields 14 and 15 of /proc/PID/stat. The name
// in field 2 may hold blanks and parentheses; the last parenthesis ends it.
func parseStat(stat []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, errors.New("stat holds no process name")
	}
	fields := strings.Fields(string(stat[end+1:])) // from field 3 on
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat has %d fields after the name, not 13 or more", len(fields))
	}
	var ticks uint64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(f, 10, 63)
		if err != nil {
			return 0, fmt.Errorf("read ticks: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// parseStatus reads one size of /proc/PID/status, in bytes.
func parseStatus(status []byte, name string) (uint64, error) {
	for line := range strings.Lines(string(status)) {
		value, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		kib, ok := strings.CutSuffix(strings.TrimSpace(value), " kB")
		if !ok {
			return 0, fmt.Errorf("%s is not in kB: %q", name, strings.TrimSpace(value))
		}
		n, err := strconv.ParseUint(strings.TrimSpace(kib), 10, 54)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("status has no %s; has the process ended?", name)
}
