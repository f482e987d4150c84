package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell starts a shell script as a server.
func shell(t *testing.T, script string) *process {
	t.Helper()
	p, err := startProcess("/bin/sh", []string{"-c", script}, filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestStoppedServerIsGone(t *testing.T) {
	p := shell(t, "exec sleep 60")
	if err := p.running(); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if !gone(p.pid()) {
		t.Errorf("process %d is still there", p.pid())
	}
	if err := p.stop(); err != nil {
		t.Errorf("stopping twice: %v", err)
	}
}

func TestKilledServerIsGone(t *testing.T) {
	p := shell(t, "trap '' TERM; exec sleep 60")
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	if !gone(p.pid()) {
		t.Errorf("process %d is still there", p.pid())
	}
}

func TestServerThatEndsIsReportedWithItsOutput(t *testing.T) {
	p := shell(t, "echo the disk is full; exit 3")
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		t.Fatal("the process does not end")
	}
	err := p.running()
	if err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("running reports %v, want the output and the exit status", err)
	}
}

func TestClusterThatCannotStartLeavesNothing(t *testing.T) {
	sys := system{
		name:   "broken",
		binary: "/bin/sh",
		args:   func([]seat, int) []string { return []string{"-c", "echo no such flag; exit 2"} },
	}
	c, err := startCluster(t.Context(), sys, 3, t.TempDir())
	if c != nil || err == nil || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("starting gives %v, %v; want the server's own words", c, err)
	}
}

func TestSeatsHaveFoldersAndPortsOfTheirOwn(t *testing.T) {
	seats, err := newSeats("x", 3, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range seats {
		all = append(all, s.client, s.peer, s.dir)
		if fi, err := os.Stat(s.dir); err != nil || !fi.IsDir() {
			t.Errorf("no folder %s: %v", s.dir, err)
		}
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != 9 {
		t.Errorf("seats share something: %+v", seats)
	}
}

func TestOnlyLaterMembersJoin(t *testing.T) {
	seats := []seat{{name: "a", dir: "/a", client: "h:1", peer: "h:2"}, {name: "b", dir: "/b", client: "h:3", peer: "h:4"}}
	sys := newChainFire("chainfire")
	first, second := strings.Join(sys.args(seats, 0), " "), strings.Join(sys.args(seats, 1), " ")
	if strings.Contains(first, "--join") || !strings.Contains(second, "--join h:2") {
		t.Errorf("members start with %q and %q; want the second alone to join the first's peer address", first, second)
	}
	if got := strings.Join(newEtcd("etcd").args(seats, 1), " "); !strings.Contains(got, "--initial-cluster a=http://h:2,b=http://h:4 ") {
		t.Errorf("etcd starts with %q; want both members in its initial cluster", got)
	}
}

func TestFolderInMemoryIsRefused(t *testing.T) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/dev/shm", &fs); err != nil || fs.Type != tmpfsMagic {
		t.Logf("/dev/shm is no tmpfs here (%v): only the accepted side is tested", err)
	} else if p, err := newPlace("/dev/shm"); err == nil {
		t.Errorf("%s is accepted: %v", p.dir, p.remove())
	}
}
