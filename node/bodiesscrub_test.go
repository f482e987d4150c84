package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chainfire/blob"
	"chainfire/bodies"
	"chainfire/object"
)

// TestAScrubFindsRottenBytesThatNobodyReadsAndTheyAreHealed flips bytes on the disk of a member, one
// while it runs and one while it is stopped, and has nobody read them: its scrub tells file and offset,
// and then that member has everything on its own disk, which it serves with all others stopped.
func TestAScrubFindsRottenBytesThatNobodyReadsAndTheyAreHealed(t *testing.T) {
	first := options(t, "a")
	quickBodies(&first)
	a := start(t, first)
	second := options(t, "b", peerAddr(t, a))
	quickBodies(&second)
	b := start(t, second)
	var log journal
	third := options(t, "c", peerAddr(t, a))
	third.ListenPeer = freeAddr(t)
	third.Logger = slog.New(slog.NewTextHandler(&log, nil))
	quickBodies(&third)
	quick := third.Bounds.Bodies
	third.Bounds.Bodies = func(o *bodies.Options) {
		quick(o)
		o.ScrubEvery = 100 * time.Millisecond
	}
	c := start(t, third)
	voters(t, 3, a, c)
	makeBucket(t, a, "bucket")
	data := noise(1, 3<<20+4567)
	must(t, putBytes(t.Context(), a, "key", data))
	hasAllExtents(t, c, 4)

	healed := func(where string) {
		t.Helper()
		eventually(t, "the damage at "+where+" is told and healed", func() error {
			if n := c.Bodies(); n.Corrupt != 1 || n.Repaired < 1 || !strings.Contains(log.String(), where) {
				return fmt.Errorf("%d extents were found damaged, %d were fetched; the log is\n%s", n.Corrupt, n.Repaired, log.String())
			}
			return nil
		})
		hasAllExtents(t, c, 4)
		if n := c.Bodies(); n.Remote > 0 {
			t.Errorf("%d extents were read from other members, and nobody was to read any", n.Remote)
		}
	}
	healed(rot(t, third.Dir, data[object.MaxExtent:2*object.MaxExtent], 2*blob.PieceBytes+1))
	stop(t, c)
	where := rot(t, third.Dir, data[3*object.MaxExtent:], 4566)
	c = start(t, third)
	healed(where)

	stop(t, a)
	stop(t, b)
	v, err := c.Objects().Local(t.Context())
	must(t, err)
	got, err := readObject(t, c, v, "bucket", "key")
	if err != nil || got != string(data) {
		t.Errorf("the member alone reads %d bytes, %v; or other ones", len(got), err)
	}
}

// rot turns a bit of an extent in the segments below a data directory, and returns how the log tells
// where: by the piece that the byte is in.
func rot(t *testing.T, dir string, extent []byte, off int64) string {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "blob", "SEG-*"))
	must(t, err)
	for _, name := range segments {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		must(t, err)
		b, err := os.ReadFile(name)
		must(t, err)
		at := int64(bytes.Index(b, extent))
		if at >= 0 {
			_, err = f.WriteAt([]byte{extent[off] ^ 0x10}, at+off)
		}
		must(t, errors.Join(err, f.Close()))
		if at >= 0 {
			return fmt.Sprintf("file=%s offset=%d ", name, at+off/blob.PieceBytes*blob.PieceBytes)
		}
	}
	t.Fatal("the extent is not on the disk")
	return ""
}
