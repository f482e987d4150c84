package main

import (
	"context"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chainfire/blob"
	"chainfire/internal/disk"
	"chainfire/object"
)

// blobRecord is how large the record of an extent is in blobDir's segments.
const blobRecord = 64 + 4 + 3000

// blobDir makes a data directory with three segments of object bodies as a member leaves them, of
// which one extent was deleted.
func blobDir(t *testing.T) string {
	t.Helper()
	dir := debugDir(t)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := blob.Open(blob.Options{Dir: filepath.Join(dir, "blob"), SegmentBytes: 16 << 10, FloorBytes: -1})
	check(err)
	id := func(n int) object.ExtentID { return object.ExtentID{Body: object.BodyID{Lease: 4711}, N: uint32(n)} }
	for i := range 12 {
		data := []byte(strings.Repeat(string(rune('a'+i)), 3000))
		check(s.Put(context.Background(), id(i), data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))))
	}
	check(s.Sync(context.Background()))
	check(s.Delete(context.Background(), id(0)))
	check(s.Close())
	return dir
}

func segmentFile(dir, id string) string { return filepath.Join(dir, "blob", "SEG-0000000"+id) }

func TestDebugBlobSaysWhatIsInSoundSegments(t *testing.T) {
	dir := blobDir(t)
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"data directory": {[]string{dir}, []string{
			"sound: object bodies in " + filepath.Join(dir, "blob"), "3, 36.", "12, of which 11 are live", "every row checks",
			"SEGMENT       BYTES  LIVE BYTES  RECORDS  LIVE  END     STATE",
			"SEG-00000001  15468  12272       5        4     sealed  sound", "SEG-00000003  6264   6136        2        2     closed  sound",
			"\nsound: every head and every piece checks\n",
		}},
		"folder":  {[]string{filepath.Join(dir, "blob")}, []string{"sound: object bodies in " + filepath.Join(dir, "blob"), "SEG-00000002"}},
		"segment": {[]string{segmentFile(dir, "2")}, []string{"1, 15.1 KiB", "5, of which 5 are live", "SEG-00000002"}},
		"JSON": {[]string{dir, "-w", "json"}, []string{
			`{"kind":"segment","file":"` + segmentFile(dir, "1") + `","segment":1,"bytes":15468,"end_offset":15468,"records":5,"live_records":4,"live_bytes":12272,"end":"sealed","faults":0}`,
			`{"kind":"summary","verdict":"sound","faults":0,"path":"` + filepath.Join(dir, "blob") + `","segments":3,"bytes":37200,"records":12,"live_records":11,"live_bytes":33748,"index":true,"noted":0}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := debugRun(t, dir, append([]string{"blob"}, c.args...)...)
			if code != 0 || errOut != "" {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			mustContain(t, name, out, c.want...)
		})
	}
}

func TestDebugBlobNamesDamageAndEndsWithTwo(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, dir string)
		code int
		want func(dir string) []string
	}{
		"rotten byte": {func(t *testing.T, dir string) { flipAt(t, segmentFile(dir, "1"), 64+blobRecord+500) }, 2, func(dir string) []string {
			return []string{
				"rotten: " + segmentFile(dir, "1") + " at offset 3200 (3000 bytes): a piece of an extent fails its checksum, extent 1 of body 0 of lease 4711\n",
				"SEG-00000001  15468  12272       5        4     sealed  1 fault", "no other member is known", "\ndamaged: 1 fault\n",
			}
		}},
		"rotten head": {func(t *testing.T, dir string) { flipAt(t, segmentFile(dir, "2"), 64+20) }, 2, func(dir string) []string {
			return []string{"rotten: " + segmentFile(dir, "2") + " at offset 64 (3068 bytes): there is no valid record header\n"}
		}},
		"torn tail": {func(t *testing.T, dir string) {
			f, err := os.OpenFile(segmentFile(dir, "3"), os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("half a record")
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}, 0, func(dir string) []string {
			return []string{"torn: " + segmentFile(dir, "3") + " at offset 6264 (13 bytes): a write that was cut short\n", "never acknowledged", "\nsound: "}
		}},
		"lost segment": {func(t *testing.T, dir string) {
			if err := os.Remove(segmentFile(dir, "2")); err != nil {
				t.Fatal(err)
			}
		}, 2, func(dir string) []string {
			return []string{"missing: " + segmentFile(dir, "2") + ": the index has 5 extents"}
		}},
		"damaged index": {func(t *testing.T, dir string) {
			if err := disk.WriteFileAtomic(disk.OS(), filepath.Join(dir, "blob", "index.damaged"), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}, 2, func(dir string) []string {
			return []string{"index: " + filepath.Join(dir, "blob", "index") + ": ", "makes it anew", "cannot be used; see below", "SEG-00000001  15468  -           5        -     sealed  sound"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := blobDir(t)
			c.do(t, dir)
			code, out, errOut := debugRun(t, dir, "blob", dir)
			if code != c.code || errOut != "" {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errOut)
			}
			mustContain(t, name, out, append(c.want(dir), "WHAT IT MEANS")...)
			code, out, _ = debugRun(t, dir, "blob", dir, "-w", "json")
			by := lines(t, out)
			if code != c.code || len(by["fault"]) == 0 || by["fault"][0]["meaning"] == "" ||
				by["summary"][0]["verdict"] != map[int]string{0: "sound", 2: "damaged"}[c.code] {
				t.Errorf("as JSON: exit code %d\n%s", code, out)
			}
		})
	}
}

func TestDebugBlobRefusesWhatItCannotRead(t *testing.T) {
	dir, bare := blobDir(t), debugDir(t)
	for name, c := range map[string]struct{ path, want string }{
		"nothing there":       {filepath.Join(dir, "none"), "does not exist; give the blob folder"},
		"another folder":      {filepath.Join(dir, "wal"), "holds no object bodies; give the blob folder"},
		"no bodies":           {bare, "has no blob folder: the member served no S3; give"},
		"a file that is none": {filepath.Join(dir, "blob", "LOCK"), "is no segment of object bodies; give"},
	} {
		code, out, errOut := debugRun(t, dir, "blob", c.path)
		if code != 1 || out != "" || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: exit code %d, %q, %q", name, code, out, errOut)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, _, errOut := runCommandIn(ctx, nil, strings.NewReader(""), "debug", "blob", dir)
	if code != 1 || !strings.Contains(errOut, "interrupted") {
		t.Errorf("interrupted: exit code %d, %q", code, errOut)
	}
}
