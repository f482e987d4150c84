package snapshot

import (
	"testing"

	"chainfire/internal/disk"
)

// An older snapshot is there, whole: what is the same in the newer one is not pulled
// again, and what differs is not mended where it is, as it may be linked elsewhere.
func TestFetchPullsOnlyTheFilesThatDifferFromACompleteSnapshot(t *testing.T) {
	s, st, _ := server(t, nil)
	fsys := disk.NewFaultFS()
	src := &direct{s: s}
	o := fetchOptions(fsys, src)
	if _, err := Fetch(within(t), o); err != nil {
		t.Fatal(err)
	}
	const changed = "000001.sst"
	old := append([]byte(nil), st.files[changed]...)
	if err := fsys.Link(o.Dir+"/"+changed, "elsewhere"); err != nil {
		t.Fatal(err)
	}
	now := state()
	now[changed] = append(append([]byte(nil), old[:BlockSize]...), noise(9, 2*BlockSize+17)...)
	now["000009.sst"] = noise(10, BlockSize)
	delete(now, "OPTIONS-7")
	st.mu.Lock()
	st.files, st.index = now, 160
	st.mu.Unlock()
	o.MinIndex, src.bytes = 150, 0
	if meta, err := Fetch(within(t), o); err != nil || meta.Index != 160 {
		t.Fatalf("index %d, %v", meta.Index, err)
	}
	holds(t, fsys, o.Dir, now)
	if want := len(now[changed]) + len(now["000009.sst"]); src.bytes != want {
		t.Errorf("%d bytes were pulled, %d differ", src.bytes, want)
	}
	linked, err := disk.ReadFile(fsys, "elsewhere", 1<<20)
	if err != nil || string(linked) != string(old) {
		t.Errorf("what the old file was linked to was changed: %v", err)
	}
}
