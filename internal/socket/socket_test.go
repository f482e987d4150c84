package socket

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

func TestOnlyASocketThatWasLeftIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	left, err := net.ListenUnix(Unix, &net.UnixAddr{Name: path, Net: Unix})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(Unix, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket of a port that was closed: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Unix, file, Options{}); err == nil {
		t.Error("a file that is no socket was replaced")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := Listen(Unix, "", Options{}); err == nil {
		t.Error("a socket without a path")
	}
}

func TestASocketAtWhichAProcessListensIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen(Unix, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if l, err := Listen(Unix, path, Options{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("a second one got %v, %v", l, err)
	}
	c, err := net.Dial(Unix, path)
	if err != nil {
		t.Fatalf("the first is not reached any more: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestAPortIsSharedBySuchAsAskForIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a port is shared for differs from system to system")
	}
	shared := Options{ReusePort: true, ReuseAddress: true}
	first, err := Listen(TCP, "127.0.0.1:0", shared)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := Listen(TCP, first.Addr().String(), shared)
	if err != nil {
		t.Fatalf("with one that shares it: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if l, err := Listen(TCP, first.Addr().String(), Options{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("one that does not ask for it got %v, %v", l, err)
	}
}
