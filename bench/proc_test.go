package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStatIsReadPastAnyProcessName(t *testing.T) {
	rest := " S 1 42 42 0 -1 4194560 900 0 0 0 %U 250 0 0 20 0 9 0 12345 1000 200"
	for _, name := range []string{"(etcd)", "(a b)", "(x) 1 2 3 (y))", "()"} {
		got, err := parseStat([]byte("42 " + name + strings.Replace(rest, "%U", "1000", 1)))
		if err != nil || got != 12500*time.Millisecond {
			t.Errorf("stat of %s gives %v, %v; want 12.5s", name, got, err)
		}
	}
}

func TestMalformedStatIsAnError(t *testing.T) {
	for _, stat := range []string{"", "42 (etcd", "42 (etcd) S 1 2", "1 (x) S 1 42 42 0 -1 4194560 900 0 0 0 -5 250 0", "1 (x) S 1 42 42 0 -1 4194560 900 0 0 0 abc 250 0"} {
		if got, err := parseStat([]byte(stat)); err == nil {
			t.Errorf("stat %q gives %v, want an error", stat, got)
		}
	}
}

func TestStatusSizesAreInBytes(t *testing.T) {
	status := []byte("Name:\tetcd\nVmHWM:\t  204800 kB\nVmRSS:\t    1024 kB\nVmData:\tmuch\nVmSwap:\t1 MB\n")
	for name, want := range map[string]uint64{"VmHWM": 200 << 20, "VmRSS": 1 << 20} {
		if got, err := parseStatus(status, name); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"VmData", "VmSwap", "VmPeak", "Vm"} {
		if got, err := parseStatus(status, name); err == nil {
			t.Errorf("%s is %d, want an error", name, got)
		}
	}
}

func TestUsageOfThisProcessGrowsAsItWorks(t *testing.T) {
	before, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for after := before; after.CPU < before.CPU+2*clockTick; {
		if time.Now().After(deadline) {
			t.Fatalf("processor time stays at %v while this test spins", after.CPU)
		}
		if after, err = usageOf(os.Getpid()); err != nil {
			t.Fatal(err)
		}
		if after.RSS == 0 || after.PeakRSS < after.RSS/2 {
			t.Fatalf("resident %d bytes, at most %d", after.RSS, after.PeakRSS)
		}
	}
}

func TestOnlyWhatReachesTheDiskIsWritten(t *testing.T) {
	io := []byte("rchar: 5\nwchar: 700\nsyscr: 1\nread_bytes: 8192\nwrite_bytes: 4096\ncancelled_write_bytes: 12\n")
	if got, err := parseIO(io, "write_bytes"); err != nil || got != 4096 {
		t.Errorf("written: %d, %v; want 4096", got, err)
	}
	for _, io := range []string{"", "cancelled_write_bytes: 12\n", "write_bytes: -1\n", "write_bytes:\n"} {
		if got, err := parseIO([]byte(io), "write_bytes"); err == nil {
			t.Errorf("io %q gives %d, want an error", io, got)
		}
	}
}

func TestAForgottenPeakIsWhatTheProcessHasNow(t *testing.T) {
	const much = 64 << 20
	m, err := syscall.Mmap(-1, 0, much, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < much; i += 4096 {
		m[i] = 1
	}
	if err := syscall.Munmap(m); err != nil {
		t.Fatal(err)
	}
	before, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := forgetPeak(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	after, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.PeakRSS > before.PeakRSS-much/2 {
		t.Errorf("the peak is %d bytes, and was %d before it was forgotten", after.PeakRSS, before.PeakRSS)
	}
}
