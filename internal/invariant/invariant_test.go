package invariant_test

import (
	"testing"

	"chainfire/internal/invariant"
)

func TestCheckPanicsExactlyWhenEnabledAndFalse(t *testing.T) {
	for _, cond := range []bool{true, false} {
		msg := recovered(func() { invariant.Check(cond, "match index %d above last index %d", 7, 5) })
		want := any(nil)
		if invariant.Enabled && !cond {
			want = "invariant violated: match index 7 above last index 5"
		}
		if msg != want {
			t.Errorf("Check(%v) panicked with %v, want %v", cond, msg, want)
		}
	}
}

func TestPassedCheckAllocatesNothingWhenDisabled(t *testing.T) {
	index := uint64(1 << 40)
	allocs := testing.AllocsPerRun(100, func() {
		index++
		invariant.Check(index > 0, "index is %d", index)
	})
	if !invariant.Enabled && allocs != 0 {
		t.Errorf("a disabled check allocates %v times", allocs)
	}
}

// recovered runs f and returns what it panicked with, nil if it did not.
func recovered(f func()) (msg any) {
	defer func() { msg = recover() }()
	f()
	return nil
}
