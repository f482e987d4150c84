package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDebugReadsTheObjectBodiesThatAKilledMemberLeft holds that a member killed after it took
// objects leaves no damage, and that a bit that turns then is named.
func TestDebugReadsTheObjectBodiesThatAKilledMemberLeft(t *testing.T) {
	t.Parallel()
	k := s3Key{"operator", "a-secret-of-the-operator"}
	a := here.newMember(t, "a")
	a.within = []string{"env", "AWS_ACCESS_KEY_ID=" + k.ID, "AWS_SECRET_ACCESS_KEY=" + k.Secret, "CHAINFIRE_BUCKET=files"}
	client := s3Client(a.startS3(), k)
	const objects, size = 5, 300 << 10
	for i := range objects {
		if err := s3Put(t, client, "files", fmt.Sprint(i), bytesOf(size)); err != nil {
			t.Fatal(err)
		}
	}
	bodies := filepath.Join(a.dir, "blob")
	segment := filepath.Join(bodies, "SEG-00000001")
	for _, path := range []string{a.dir, bodies, segment} {
		if code, _, stderr := a.lab.debug(t, t.TempDir(), "blob", path); code != 1 || !strings.Contains(stderr, "in use by a running member") {
			t.Errorf("debug blob %s of a running member: exit code %d, %s", path, code, stderr)
		}
	}
	a.kill()

	code, lines, stderr := a.lab.debug(t, a.dir, "blob", a.dir)
	if code != 0 || len(lines["summary"]) != 1 || lines["summary"][0]["verdict"] != "sound" || lines["summary"][0]["member_name"] != a.name {
		t.Fatalf("debug blob: exit code %d, %s %v", code, stderr, lines)
	}
	if live, _ := lines["summary"][0]["live_bytes"].(float64); live < objects*size || len(lines["segment"]) != 1 {
		t.Errorf("%v bytes are live in %v, stored were %d", live, lines["segment"], objects*size)
	}
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	const at = 100 << 10
	b[at] ^= 4
	if err := os.WriteFile(segment, b, 0o600); err != nil {
		t.Fatal(err)
	}
	code, lines, _ = a.lab.debug(t, a.dir, "blob", a.dir)
	if code != 2 || len(lines["fault"]) != 1 {
		t.Fatalf("debug blob of a damaged segment: exit code %d, %v", code, lines)
	}
	f := lines["fault"][0]
	from, _ := f["offset"].(float64)
	n, _ := f["bytes"].(float64)
	if f["fault"] != "rotten" || f["file"] != segment || at < from || at >= from+n {
		t.Errorf("the byte at %d is told of as %v", at, f)
	}
}
