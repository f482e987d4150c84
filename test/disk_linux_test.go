package test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// tmpfs makes a file system of so many bytes and returns a path to it. It is
// taken off the tree of files again at once and lives as long as this process
// holds it open, so that it goes away however the test ends.
func tmpfs(t *testing.T, bytes int) string {
	t.Helper()
	at := t.TempDir()
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Fatalf("this test mounts a small tmpfs, for which it must run as root (or in 'unshare --user --map-root-user --mount'): %v", err)
	}
	root, err := os.Open(at)
	if err == nil {
		t.Cleanup(func() { _ = root.Close() }) // it was only read
	}
	if uerr := syscall.Unmount(at, syscall.MNT_DETACH); uerr != nil || err != nil {
		t.Fatalf("hold the tmpfs open, detached: %v, %v", err, uerr)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), root.Fd())
}

func TestFullDiskEndsTheMemberWithTheReasonAndTheClusterServesOn(t *testing.T) {
	t.Parallel()
	// Room for one segment of the log and a little of the store; with the reserve,
	// for everything.
	const size, reserved, data = 64 << 20, 36 << 20, 20 << 20
	c := oneMember(t)
	a := c.members[0]
	disk := tmpfs(t, size)
	// What an operator takes away to make room again.
	reserve := filepath.Join(disk, "reserve")
	if err := os.WriteFile(reserve, make([]byte, reserved), 0o600); err != nil {
		t.Fatal(err)
	}
	b, full := here.newMember(t, "b"), here.newMember(t, "full")
	full.dir = filepath.Join(disk, "data")
	full.args = append(full.args, "--disk-reserve", "0") // nobody looks after it
	for _, m := range []*member{b, full} {
		m.launch(a.peer)
		c.members = append(c.members, m)
	}
	c.awaitVoters(3, 3)
	l := startLoad(t, loadOptions{endpoints: []string{a.client, b.client}, pace: 20 * time.Millisecond})
	ballast(t, a.kv(), data)
	full.mustFail(patience, "no space left on device", full.dir)
	l.awaitWrites(50)

	if err := os.Remove(reserve); err != nil {
		t.Fatal(err)
	}
	full.start()
	c.awaitVoters(3, 3)
	full.awaitServing()
	c.mustHoldTheSame("ballast/")
	l.verify(c.members)
}

// TestNewcomerWithoutRoomForTheStateIsRefusedBeforeAnythingIsSent has room for the
// state, but not for the log beside it.
func TestNewcomerWithoutRoomForTheStateIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	a := c.members[0]
	ballast(t, a.kv(), 8<<20)
	b := here.newMember(t, "b")
	b.dir = filepath.Join(tmpfs(t, 20<<20), "data")
	b.launch(a.peer)
	b.mustFail(patience, "MiB of the state are to come into "+b.dir, "16.0 MiB to stay free beside it", "MiB are free there", "give another --data-dir")
	if done, total := b.proc.seeding(); done > 0 {
		t.Errorf("%d of %d bytes were sent", done, total)
	}
	c.awaitVoters(1, 1)
}

// TestDiskThatIsAboutToBeFullStopsKeysAndNotTheMember: the disk of a follower is smaller
// than those of the others. Once it has room again and the alarm is taken back all is as
// before.
func TestDiskThatIsAboutToBeFullStopsKeysAndNotTheMember(t *testing.T) {
	t.Parallel()
	const size, filler = 400 << 20, 250 << 20
	c := oneMember(t)
	a := c.members[0]
	disk := tmpfs(t, size)
	reserve := filepath.Join(disk, "reserve")
	if err := os.WriteFile(reserve, make([]byte, filler), 0o600); err != nil {
		t.Fatal(err)
	}
	b, small := here.newMember(t, "b"), here.newMember(t, "small")
	small.dir = filepath.Join(disk, "data")
	for _, m := range []*member{b, small} {
		m.launch(a.peer)
		c.members = append(c.members, m)
	}
	c.awaitVoters(3, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	put := func(i int) error {
		value := make([]byte, 256<<10)
		_, _ = rand.Read(value) // never fails
		_, err := a.kv().Put(ctx, fmt.Sprintf("k%d", i), string(value))
		return err
	}
	var err error
	written := 0
	for ; err == nil && written < 2000; written++ {
		err = put(written)
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) || written < 10 {
		t.Fatalf("put %d: %v", written, err)
	}
	if out, _, _ := newEtcdctl(t, b.client).run("", "alarm", "list"); !strings.Contains(out, fmt.Sprint("memberID:", small.id(small))) {
		t.Errorf("alarms: %s", out)
	}
	if _, err := small.kv().Get(ctx, "k1"); err != nil {
		t.Errorf("a read: %v", err)
	}
	if _, err := b.kv().Delete(ctx, "k1"); err != nil {
		t.Errorf("a deletion: %v", err)
	}
	if err := os.Remove(reserve); err != nil {
		t.Fatal(err)
	}
	await(t, "keys are taken again", patience, func(ctx context.Context) error {
		if out, errOut, code := newEtcdctl(t, b.client).run("", "alarm", "disarm"); code != 0 {
			return fmt.Errorf("disarm: %s%s", out, errOut)
		}
		return put(1)
	})
	c.awaitVoters(3, 3)
	c.mustHoldTheSame("k")
}
