package progress_test

import (
	"testing"

	"pgregory.net/rapid"

	"chainfire/raft/progress"
)

func at(t *testing.T, p *progress.Progress, want string) {
	t.Helper()
	if got := p.String(); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
}

func TestProbeWalksToTheMeetingPointAndReplicates(t *testing.T) {
	p := progress.New(1, 10, 4, 1000)
	at(t, p, "probe match=0 next=10")
	p.Sent(9, 0)
	if !p.Blocked() {
		t.Fatal("a second probe may go out before the first is answered")
	}
	if v := p.Reject(9, 5, 0); v != progress.Moved {
		t.Fatalf("verdict %d", v)
	}
	at(t, p, "probe match=0 next=6")
	if v := p.Reject(9, 5, 0); v != progress.Stale {
		t.Fatalf("verdict %d on the same answer twice", v)
	}
	if !p.Acknowledge(7, 0) {
		t.Fatal("no news")
	}
	p.BecomeReplicate()
	at(t, p, "replicate match=7 next=8")
	if p.Acknowledge(7, 0) || p.Acknowledge(3, 0) {
		t.Fatal("an old acknowledgement is news")
	}
	p.Sent(12, 100)
	at(t, p, "replicate match=7 next=13 inflight=1")
	if v := p.Reject(12, 10, 0); v != progress.Moved {
		t.Fatalf("verdict %d", v)
	}
	at(t, p, "probe match=7 next=8")
}

func TestWindowIsBoundedInMessagesAndBytes(t *testing.T) {
	p := progress.New(1, 1, 3, 100)
	p.BecomeReplicate()
	for i := uint64(1); i <= 3; i++ {
		if p.Blocked() {
			t.Fatalf("blocked before message %d", i)
		}
		p.Sent(i, 10)
	}
	if n, bytes := p.Inflight(); !p.Blocked() || n != 3 || bytes != 30 {
		t.Fatalf("%d messages of %d bytes, blocked %v", n, bytes, p.Blocked())
	}
	p.Acknowledge(2, 0)
	if n, bytes := p.Inflight(); p.Blocked() || n != 1 || bytes != 10 {
		t.Fatalf("%d messages of %d bytes", n, bytes)
	}
	p.Sent(4, 95)
	if !p.Blocked() {
		t.Fatal("more bytes than allowed are in flight")
	}
	p.BecomeProbe()
	if n, bytes := p.Inflight(); n != 0 || bytes != 0 {
		t.Fatalf("%d messages of %d bytes after a change of state", n, bytes)
	}
}

// Everything sent was lost, and so was the answer to the question about it: the
// next heartbeats ask again, also when the window had to be opened for it.
func TestLostEntriesAreAskedForUntilFound(t *testing.T) {
	p := progress.New(1, 1, 1, 100)
	p.BecomeReplicate()
	p.Sent(1, 10)
	asked := 0
	for range 6 {
		if p.Beat() {
			asked++
			if p.Blocked() {
				t.Fatal("asked, but nothing may go out")
			}
		}
	}
	if asked < 4 {
		t.Fatalf("asked %d times in 6 heartbeats", asked)
	}
	p.Acknowledge(1, 0)
	if p.Beat(); p.Beat() {
		t.Fatal("asked with nothing missing")
	}
}

func TestBeatRepeatsAProbe(t *testing.T) {
	p := progress.New(1, 5, 1, 100)
	p.Sent(4, 0)
	if !p.Beat() || p.Blocked() {
		t.Fatal("a lost probe is not repeated")
	}
	p.BecomeSnapshot()
	if p.Beat() || !p.Blocked() {
		t.Fatal("something is sent to a follower that waits for a snapshot")
	}
	at(t, p, "snapshot match=0 next=5")
}

func TestRejectionThatWasOvertakenIsNoLoss(t *testing.T) {
	p := progress.New(1, 1, 4, 1000)
	p.Acknowledge(10, 0)
	p.BecomeReplicate()
	// Late news of the time before: the follower must prove itself.
	if v := p.Reject(10, 4, 0); v != progress.Suspect {
		t.Fatalf("verdict %d", v)
	}
	p.Challenge(1)
	at(t, p, "probe match=10 next=11")
	for _, round := range []uint64{0, 0} {
		if v := p.Reject(10, 4, round); v != progress.Stale {
			t.Fatalf("verdict %d on an answer from before the challenge", v)
		}
	}
	p.Acknowledge(10, 1)
	if v := p.Reject(10, 4, 1); v != progress.Suspect {
		t.Fatalf("verdict %d after the proof", v)
	}
}

// Match grows while a challenge is open. An answer of the challenge's round that
// lacks what was acknowledged since proves nothing: it may have been overtaken by
// that acknowledgement.
func TestChallengeIsAboutWhatWasHeldThen(t *testing.T) {
	p := progress.New(1, 1, 4, 1000)
	p.Acknowledge(27, 0)
	p.Reject(27, 21, 0)
	p.Challenge(8)
	p.Acknowledge(30, 6)
	if v := p.Reject(30, 29, 8); v != progress.Suspect {
		t.Fatalf("verdict %d", v)
	}
	p.Challenge(9)
	if v := p.Reject(30, 30, 9); v != progress.Lost {
		t.Fatalf("verdict %d on a rejection of what was proven", v)
	}
	p.Quarantine()
	at(t, p, "quarantined match=0 next=1")
	if !p.Blocked() || p.Beat() || p.Reject(0, 0, 9) != progress.Stale {
		t.Fatal("a quarantined follower is served")
	}
}

func TestStaleRejectionsMoveNothing(t *testing.T) {
	p := progress.New(1, 1, 4, 1000)
	p.Acknowledge(10, 0)
	p.BecomeReplicate()
	if v := p.Reject(9, 3, 0); v != progress.Stale {
		t.Fatalf("verdict %d on a rejection below match", v)
	}
	p.BecomeSnapshot()
	if v := p.Reject(12, 3, 0); v != progress.Stale {
		t.Fatalf("verdict %d while a snapshot is under way", v)
	}
	at(t, p, "snapshot match=10 next=11")
}

// Whatever answers come, Match only grows and stays below Next, the window is
// never above its bounds by more than one message, and only a follower that was
// challenged is ever found to have lost entries.
func TestMatchOnlyGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := progress.New(1, rapid.Uint64Range(1, 20).Draw(t, "next"), 3, 50)
		match, round, challenged := uint64(0), uint64(0), false
		index := rapid.Uint64Range(0, 25)
		t.Repeat(map[string]func(*rapid.T){
			"acknowledge": func(t *rapid.T) {
				p.Acknowledge(index.Draw(t, "index"), rapid.Uint64Range(0, round).Draw(t, "round"))
				if p.State == progress.Probe {
					p.BecomeReplicate()
				}
			},
			"reject": func(t *rapid.T) {
				switch p.Reject(index.Draw(t, "rejected"), index.Draw(t, "hint"), rapid.Uint64Range(0, round).Draw(t, "round")) {
				case progress.Suspect:
					round++
					p.Challenge(round)
					challenged = true
				case progress.Lost:
					if !challenged {
						t.Fatal("lost without a challenge")
					}
				case progress.Stale, progress.Moved:
				}
			},
			"send": func(t *rapid.T) {
				if !p.Blocked() {
					p.Sent(p.Next-1+rapid.Uint64Range(0, 2).Draw(t, "entries"), rapid.Uint64Range(0, 40).Draw(t, "bytes"))
				}
			},
			"beat":     func(*rapid.T) { p.Heard(); p.Beat() },
			"probe":    func(*rapid.T) { p.BecomeProbe() },
			"snapshot": func(*rapid.T) { p.BecomeSnapshot() },
			"": func(t *rapid.T) {
				n, bytes := p.Inflight()
				if p.Match < match || p.Match >= p.Next || n > 3 || bytes >= 50+40 {
					t.Fatalf("%v: match was %d, %d bytes", p, match, bytes)
				}
				match = p.Match
			},
		})
	})
}

func TestStatesHaveNames(t *testing.T) {
	p := progress.New(1, 1, 1, 1)
	p.Sent(0, 0)
	at(t, p, "probe match=0 next=1 paused")
}
