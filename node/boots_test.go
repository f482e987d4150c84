package node

import (
	"testing"

	"chainfire/internal/disk"
)

func TestLowerOrDoubleCountOfStartsIsOutdatedAndTheNextOneIsNot(t *testing.T) {
	b := &boots{own: 1, nonce: 1}
	b.note(boot{Member: 5, Boots: 3, Nonce: 30})
	for x, want := range map[boot]bool{
		{5, 2, 20}: true, {5, 3, 31}: true, {5, 3, 30}: false, {5, 4, 40}: false,
		{5, 0, 99}: false, // of a version that did not count
		{6, 1, 10}: false, // never heard of
	} {
		if got := b.outdated(x); got != want {
			t.Errorf("%+v: outdated %v", x, got)
		}
	}
	b.note(boot{Member: 5, Boots: 2, Nonce: 20})
	if !b.knows(boot{Member: 5, Boots: 3, Nonce: 30}) {
		t.Error("a lower count took the place of a higher one")
	}
}

func TestStartCountsWhenItBeginsAndNotWhenItIsRefused(t *testing.T) {
	f := disk.NewFaultFS()
	if err := disk.MkdirAll(f, "d"); err != nil {
		t.Fatal(err)
	}
	open := func(want uint64) *boots {
		t.Helper()
		b, err := openBoots(f.Crash(disk.CrashOptions{}), "d/"+bootsFile, 7)
		if err != nil || b.own != want {
			t.Fatalf("start %+v, %v; want %d", b, err, want)
		}
		return b
	}
	begin := func(want uint64) *boots {
		t.Helper()
		b := open(want)
		if err := b.begin(f, "d/"+bootsFile); err != nil {
			t.Fatal(err)
		}
		return b
	}
	begin(1)
	open(2) // refused: nothing was written
	b := begin(2)
	b.note(boot{Member: 5, Boots: 3, Nonce: 30})
	b.forfeit()
	if err := b.save(f, "d/"+bootsFile); err != nil {
		t.Fatal(err)
	}
	if again := open(2); !again.knows(boot{Member: 5, Boots: 3, Nonce: 30}) {
		t.Error("what was heard of others is forgotten")
	}
	if err := f.FlipBit("d/"+bootsFile, 15, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := openBoots(f, "d/"+bootsFile, 7); err == nil {
		t.Error("a damaged count is taken")
	}
}
