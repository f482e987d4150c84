package main

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chainfire/snapshot"
)

// runningMember is a serve command in this process.
type runningMember struct {
	client, peer string
	cancel       context.CancelFunc
	done         chan int
	errOut       *lockedBuilder
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServe runs serve on free ports and waits until it is ready.
func startServe(t *testing.T, args ...string) *runningMember {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	m := &runningMember{cancel: cancel, done: make(chan int, 1), errOut: &lockedBuilder{}}
	a := newApp(strings.NewReader(""), w, m.errOut)
	a.getenv = func(name string) string {
		if name == "GOGC" || name == "GOMEMLIMIT" {
			return "off" // the collector stays as the tests have it
		}
		return ""
	}
	if !strings.Contains(strings.Join(args, " "), "-s3") {
		args = append(args, "--s3=off")
	}
	args = append([]string{"serve", "--listen-client=127.0.0.1:0", "--listen-peer=127.0.0.1:0", "--progress=json", "--endpoints=127.0.0.1:1"}, args...)
	go func() {
		code := run(ctx, args, a)
		_ = w.Close() // never fails
		m.done <- code
	}()
	t.Cleanup(m.stop)
	lines := bufio.NewScanner(r)
	for m.client == "" && lines.Scan() {
		var e progressEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		m.client, m.peer = e.Client, e.Peer
	}
	if m.client == "" {
		t.Fatalf("serve ended: %s", m.errOut)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // until the pipe ends
	return m
}

func (m *runningMember) stop() {
	m.cancel()
	code := <-m.done
	m.done <- code
}

// call runs a command against the member, which must succeed.
func (m *runningMember) call(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := runCommand(t, nil, strings.NewReader(""), append(args, "--endpoints", m.client)...)
	if code != 0 {
		t.Fatalf("%v: code %d: %s", args, code, errOut)
	}
	return out
}

func TestMemberServesStopsInGoodOrderAndGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	m := startServe(t, "--data-dir", dir)
	m.call(t, "put", "a", "1")
	if out := m.call(t, "status"); !strings.Contains(out, "healthy") {
		t.Errorf("status: %s", out)
	}
	m.stop()
	if code := <-m.done; code != 0 {
		t.Fatalf("stop: code %d: %s", code, m.errOut)
	} else {
		m.done <- code
	}
	m = startServe(t, "--data-dir", dir)
	if out := m.call(t, "get", "a", "--print-value-only"); out != "1\n" {
		t.Errorf("after the restart: %q", out)
	}
}

func TestAFolderInUseIsRefusedByName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	startServe(t, "--data-dir", dir)
	code, _, errOut := runCommand(t, map[string]string{"GOGC": "off"}, nil,
		"serve", "--listen-client=127.0.0.1:0", "--listen-peer=127.0.0.1:0", "--s3=off", "--data-dir", dir)
	if code != 1 || !strings.Contains(errOut, dir) || !strings.Contains(errOut, "in use") {
		t.Errorf("code %d, %s", code, errOut)
	}
}

func TestWatchShowsChangesUntilItIsInterrupted(t *testing.T) {
	m := startServe(t, "--data-dir", filepath.Join(t.TempDir(), "data"))
	m.call(t, "put", "a", "1")
	m.call(t, "put", "a", "2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() {
		a := newApp(nil, w, io.Discard)
		done <- run(ctx, []string{"watch", "a", "--rev", "2", "--prev-kv", "--endpoints", m.client}, a)
	}()
	lines := bufio.NewScanner(r)
	for _, want := range []string{"2 put a 1", "3 put a 2 (before: 1)"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("watch shows %q, want %q", lines.Text(), want)
		}
	}
	cancel()
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Error("the watch goes on after the interrupt")
	}
}

func TestSavedSnapshotHoldsWhatItsManifestSays(t *testing.T) {
	dir := t.TempDir()
	m := startServe(t, "--data-dir", filepath.Join(dir, "data"))
	m.call(t, "put", "a", strings.Repeat("x", 1<<20))
	file := filepath.Join(dir, "saved")
	if out := m.call(t, "snapshot", "save", file); !strings.Contains(out, "checked") {
		t.Errorf("save: %s", out)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	archive := tar.NewReader(f)
	head, err := archive.Next()
	if err != nil || head.Name != snapshot.MarkName {
		t.Fatalf("first file %v, %v", head, err)
	}
	mark, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := snapshot.DecodeManifest(mark)
	if err != nil || manifest.Meta.Index < 3 {
		t.Fatalf("manifest %+v, %v", manifest, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := checkArchive(t.Context(), f, manifest); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file + ".tmp"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder used meanwhile is left: %v", err)
	}
	code, _, errOut := runCommand(t, nil, nil, "snapshot", "save", file, "--endpoints", m.client)
	if code != 1 || !strings.Contains(errOut, "--force") {
		t.Errorf("over a file: code %d, %s", code, errOut)
	}
	m.call(t, "snapshot", "save", file, "--force")
}

func TestAnArchiveThatRottedIsFound(t *testing.T) {
	dir := t.TempDir()
	m := startServe(t, "--data-dir", filepath.Join(dir, "data"))
	file := filepath.Join(dir, "saved")
	m.call(t, "snapshot", "save", file)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(strings.NewReader(string(b)))
	if _, err := archive.Next(); err != nil {
		t.Fatal(err)
	}
	mark, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := snapshot.DecodeManifest(mark)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(b), "[Version]") // in the store's options
	if at < 0 {
		t.Fatal("no file of options in the archive")
	}
	b[at] ^= 1
	if err := checkArchive(t.Context(), strings.NewReader(string(b)), manifest); err == nil {
		t.Error("a flipped bit is not found")
	}
	if err := checkArchive(t.Context(), strings.NewReader(string(b[:len(b)/2])), manifest); err == nil {
		t.Error("a missing half is not found")
	}
}

func TestAFolderInTheWayOfASaveIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkSaveFolder(dir); err == nil {
		t.Error("a folder with another's file is taken")
	}
	for _, own := range []string{"SNAPSHOT", "SNAPSHOT.partial"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, own), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkSaveFolder(dir); err != nil {
			t.Errorf("with %s: %v", own, err)
		}
	}
	if err := checkSaveFolder(filepath.Join(dir, "none")); err != nil {
		t.Errorf("no folder: %v", err)
	}
}
