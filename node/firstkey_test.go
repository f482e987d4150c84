package node_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"chainfire/node"
)

// owes reports whether the member of a directory owes its cluster the first access key.
func owes(t *testing.T, o node.Options) bool {
	t.Helper()
	_, err := os.Stat(node.FirstKeyMark(o.Dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestWhoBeginsAClusterOwesItTheFirstKey(t *testing.T) {
	a := options(t, "a")
	a.OweFirstKey = true
	first := start(t, a)
	if !owes(t, a) {
		t.Fatal("the founder owes nothing")
	}
	b := options(t, "b", strings.TrimPrefix(first.AdvertisePeer(), "https://"))
	b.OweFirstKey = true
	// A cluster was begun here once, and not for long enough to be one.
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(node.FirstKeyMark(b.Dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, b)
	if owes(t, b) {
		t.Error("a newcomer owes a key")
	}
	stop(t, first)
	start(t, a)
	if !owes(t, a) {
		t.Error("a restart pays what is owed")
	}
	c := options(t, "c")
	start(t, c)
	if owes(t, c) {
		t.Error("a founder without S3 owes a key")
	}
}

func TestOfSeveralWhoBeginAClusterTheFirstByNameOwesTheKey(t *testing.T) {
	l := listed(t, "t", "b", "a", "c")
	for i := range l {
		l[i].OweFirstKey = true
	}
	members := startAll(t, l)
	for i, n := range members {
		if got, want := owes(t, l[i]), l[i].Name == "a"; got != want {
			t.Errorf("%s owes a key: %v", l[i].Name, got)
		}
		stop(t, n)
	}
}
