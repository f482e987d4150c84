package disk

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const holdVariable = "CHAINFIRE_TEST_HOLD"

// TestHoldDirectoryForAnotherProcess is what the process that inAnother starts
// does: it holds a directory as it is told and says so, until its input ends.
func TestHoldDirectoryForAnotherProcess(t *testing.T) {
	dir := os.Getenv(holdVariable)
	if dir == "" {
		t.Skip("run by other tests")
	}
	c, err := Lock(OS(), dir)
	answer := "held\n"
	if errors.Is(err, ErrInUse) {
		answer = "in use\n"
	} else {
		must(t, err)
		defer func() { must(t, c.Close()) }()
	}
	_, err = os.Stdout.WriteString(answer)
	must(t, err)
	_, err = io.Copy(io.Discard, os.Stdin)
	must(t, err)
}

// inAnother has another process take the directory, and returns what came of it
// and how to end that process.
func inAnother(t *testing.T, dir string) (answer string, end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHoldDirectoryForAnotherProcess$")
	cmd.Env = append(os.Environ(), holdVariable+"="+dir)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	answer, err = bufio.NewReader(out).ReadString('\n')
	must(t, err)
	return answer, func() {
		must(t, in.Close())
		_, err := io.Copy(io.Discard, out)
		must(t, errors.Join(err, cmd.Wait()))
	}
}

func TestSharedLockExcludesAProcessThatTakesTheDirectoryAndNoReader(t *testing.T) {
	dir := t.TempDir()
	c, err := LockShared(dir)
	must(t, err)
	must(t, c.Close())
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Fatalf("a lock on nothing made %v, %v", names, err)
	}

	answer, end := inAnother(t, dir)
	if _, err := LockShared(dir); answer != "held\n" || !errors.Is(err, ErrInUse) {
		t.Errorf("another process answers %q, and the shared lock is %v", answer, err)
	}
	end()

	path := filepath.Join(dir, LockName)
	old := time.Unix(1000, 0)
	must(t, os.Chtimes(path, old, old))
	must(t, os.Chmod(path, 0o400))
	a, err := LockShared(dir)
	must(t, err)
	b, err := LockShared(dir)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if !info.ModTime().Equal(old) || info.Size() != 0 {
		t.Errorf("the lock file was changed: %d bytes of %v", info.Size(), info.ModTime())
	}
	must(t, os.Chmod(path, 0o600))
	if answer, end = inAnother(t, dir); answer != "in use\n" {
		t.Errorf("under a shared lock another process answers %q", answer)
	}
	end()
	must(t, errors.Join(a.Close(), b.Close()))
	if answer, end = inAnother(t, dir); answer != "held\n" {
		t.Errorf("after the shared lock another process answers %q", answer)
	}
	end()
}

func TestReadOnlyFileSystemReadsAndRefusesEveryChange(t *testing.T) {
	d := NewFaultFS()
	must(t, MkdirAll(d, "dir"))
	must(t, WriteFileAtomic(d, "dir/f", []byte("content")))
	changes := 0
	d.Observe(func(e Event) {
		if e.Op != OpRead {
			changes++
		}
	})
	r := ReadOnly(d)
	if b, err := ReadFile(r, "dir/f", 100); err != nil || string(b) != "content" {
		t.Errorf("read %q, %v", b, err)
	}
	if names, err := r.List("dir"); err != nil || len(names) != 1 {
		t.Errorf("list %v, %v", names, err)
	}
	if r.Unwrap() != nil {
		t.Error("what is below can be reached")
	}
	lock, err := r.Lock("dir/LOCK")
	must(t, err)
	must(t, lock.Close())
	for name, change := range map[string]func() error{
		"create":         func() error { _, err := r.Create("dir/g", Category); return err },
		"link":           func() error { return r.Link("dir/f", "dir/g") },
		"open for write": func() error { _, err := r.OpenReadWrite("dir/f", Category); return err },
		"remove":         func() error { return r.Remove("dir/f") },
		"remove all":     func() error { return r.RemoveAll("dir") },
		"rename":         func() error { return r.Rename("dir/f", "dir/g") },
		"reuse":          func() error { _, err := r.ReuseForWrite("dir/f", "dir/g", Category); return err },
		"mkdir":          func() error { return r.MkdirAll("other", 0o700) },
	} {
		if err := change(); !errors.Is(err, ErrReadOnly) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if changes > 0 {
		t.Errorf("%d changes reached the disk", changes)
	}
}
