package node

import (
	"testing"

	"chainfire/internal/disk"
)

func TestLookingAtADataDirectoryChangesNothingAndFindsItsParts(t *testing.T) {
	fs := disk.NewFaultFS()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(disk.MkdirAll(fs, "data/other"))
	if _, found, err := LookAt(fs, "data"); found || err != nil {
		t.Fatalf("a folder of something else: %v, %v", found, err)
	}
	if _, _, err := LookAt(fs, "none"); err == nil {
		t.Fatal("a folder that is not there was looked at")
	}
	for _, dir := range []string{walDir, storeDir, blobDir, seedDir, snapshotDir + "/cut-2", snapshotDir + "/cut-1"} {
		check(disk.MkdirAll(fs, "data/"+dir))
	}
	check(saveIdentity(fs, "data", identity{Cluster: 7, Member: 3, Incarnation: 9, Name: "c"}))
	check(writeSealed(fs, "data/"+peersFile, []peerAddress{{ID: 1, URLs: []string{"http://one"}}}))
	check(writeSealed(fs, "data/"+damageFile, damage{Reason: "rot"}))
	fs.Observe(func(e disk.Event) {
		if e.Op != disk.OpRead {
			t.Errorf("the look changes the disk: %v", e)
		}
	})
	d, found, err := LookAt(fs, "data")
	fs.Observe(nil)
	if err != nil || !found || d.Cluster != 7 || d.Member != 3 || d.Name != "c" || d.Identity != nil || !d.Peers || d.Damage != "rot" ||
		d.Log != "data/wal" || d.Blob != "data/blob" || d.Store != "data/store" || len(d.Snapshots) != 3 || d.Snapshots[1] != "data/snapshots/cut-1" {
		t.Errorf("%+v, %v, %v", d, found, err)
	}
	check(fs.FlipBit("data/"+identityFile, 20, 1))
	if d, found, err = LookAt(fs, "data"); err != nil || !found || d.Identity == nil {
		t.Errorf("with a damaged %s: %+v, %v", identityFile, d, err)
	}
}
