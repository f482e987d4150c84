package test

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/internal/disk"
	"chainfire/snapshot"
)

// pullWhole writes a stream of GetSnapshot into a folder, for at most so many
// chunks, and returns the offset that comes next, and whether that was the end.
func pullWhole(t *testing.T, m *member, dir string, q *api.GetSnapshotRequest, chunks int) (*api.SnapshotMeta, uint64, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := api.NewClusterClient(dial(t, m.client)).GetSnapshot(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetMeta() == nil {
		t.Fatalf("the stream begins with %v, %v", first, err)
	}
	at := q.GetOffset()
	for range chunks {
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r.GetDone() {
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
			return first.GetMeta(), at, true
		}
		k := r.GetChunk()
		if k.GetOffset() != at || crc32.Checksum(k.GetData(), crc32.MakeTable(crc32.Castagnoli)) != k.GetCrc32C() {
			t.Fatalf("at %d came a chunk of %s at %d", at, k.GetFile(), k.GetOffset())
		}
		path := filepath.Join(dir, filepath.FromSlash(k.GetFile()))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.Write(k.GetData())
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		at += uint64(len(k.GetData()))
	}
	return first.GetMeta(), at, false
}

// TestWholeStateIsPulledInOneCallAndGoesOnAfterACut ends with what the tools of the
// product take for a snapshot.
func TestWholeStateIsPulledInOneCallAndGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	a := oneMember(t).members[0]
	ballast(t, a.kv(), 3<<20)
	dir := filepath.Join(t.TempDir(), "pulled")
	meta, at, done := pullWhole(t, a, dir, &api.GetSnapshotRequest{MinIndex: 1}, 4)
	if done || at == 0 || at >= meta.GetTotalBytes() || meta.GetTotalBytes() < 3<<20 {
		t.Fatalf("%d of %d bytes before the cut", at, meta.GetTotalBytes())
	}
	again, at, done := pullWhole(t, a, dir, &api.GetSnapshotRequest{SnapshotId: meta.GetSnapshotId(), Offset: at}, 1<<20)
	if !done || at != meta.GetTotalBytes() || again.GetManifestCrc32C() != meta.GetManifestCrc32C() {
		t.Errorf("ended %v at %d of %d bytes", done, at, meta.GetTotalBytes())
	}
	m, err := snapshot.ManifestOf(meta)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files {
		if f.Size == 0 { // of which no chunk comes
			if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(f.Name)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := snapshot.Verify(t.Context(), disk.OS(), dir, m); err != nil {
		t.Error(err)
	}
	if err := snapshot.Mark(disk.OS(), dir, m); err != nil {
		t.Fatal(err)
	}
	runToEnd(t, dir, here.binary, "debug", "snapshot", dir).mustSay(t, 0, "sound: everything that is there is as the manifest says")
	if _, err := api.NewClusterClient(dial(t, a.client)).CloseSnapshot(t.Context(), &api.CloseSnapshotRequest{SnapshotId: meta.GetSnapshotId()}); err != nil {
		t.Error(err)
	}
	stream, err := api.NewClusterClient(dial(t, a.client)).GetSnapshot(t.Context(), &api.GetSnapshotRequest{SnapshotId: meta.GetSnapshotId()})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.NotFound {
		t.Errorf("after the end: %v", err)
	}
}
