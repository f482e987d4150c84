package bodies

import (
	"testing"
	"testing/synctest"
	"time"

	"chainfire/object"
)

func TestABodyIsNotWantedForItsGraceBeforeItGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u Unwanted
		u.Looked() // the first look found nothing
		one, two := object.BodyID{Lease: 1}, object.BodyID{Lease: 2}
		look := func(id object.BodyID, want bool) {
			t.Helper()
			if got := u.Over(id, time.Minute); got != want {
				t.Errorf("body %d is over its grace: %v", id.Lease, got)
			}
		}
		look(one, false)
		u.Looked()
		time.Sleep(59 * time.Second)
		look(one, false)
		look(two, false)
		u.Looked()
		time.Sleep(time.Second)
		look(one, true)
		look(one, true) // another extent of it
		look(two, false)
		u.Looked()
		u.Looked() // nothing of either is left
		if len(u.since)+len(u.seen) > 0 {
			t.Errorf("%d bodies are remembered that are gone", len(u.since))
		}
		look(one, false)
	})
}

func TestOfUnwantedBodiesNoMoreAreRememberedThanABound(t *testing.T) {
	var u Unwanted
	for n := range uint32(maxWaiting + 10) {
		u.Over(object.BodyID{N: n}, 0)
	}
	if len(u.since) != maxWaiting || len(u.seen) != maxWaiting {
		t.Errorf("%d are remembered, %d as seen", len(u.since), len(u.seen))
	}
	if u.Over(object.BodyID{N: maxWaiting}, 0) {
		t.Error("one is over its grace that is not remembered")
	}
}
