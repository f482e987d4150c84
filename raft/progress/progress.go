// Package progress is what a leader knows of one follower, in one session: how
// far their logs match, what is in flight, and in which way entries are sent.
//
//	        append acknowledged
//	Probe ────────────────────────▶ Replicate
//	  ▲ ▲        reject, unreachable   │ │
//	  │ └──────────────────────────────┘ │
//	  │ snapshot done or failed          │ log compacted
//	  └───────────── Snapshot ◀──────────┘ (from Probe too)
//
//	any ── acknowledged data is gone ──▶ Quarantined (until a new session)
//
// A session begins with each Progress. Inside it Match only grows.
package progress

import "fmt"

// State is the way in which entries are sent.
type State uint8

// The states.
const (
	// Probe sends one append at a time until the logs' meeting point is found.
	Probe State = iota
	// Replicate sends ahead, within the in-flight limits.
	Replicate
	// Snapshot sends nothing: the follower needs state older than the log.
	Snapshot
	// Quarantined sends nothing: the follower lost entries that it had
	// acknowledged. It counts for nothing until a new session begins.
	Quarantined
)

// String names the state for logs, scripts and metrics.
func (s State) String() string {
	return [...]string{"probe", "replicate", "snapshot", "quarantined"}[s]
}

// Progress is owned by the leader's core; it is not safe for concurrent use.
type Progress struct {
	// Session names this life of the progress. Replies of others are dropped.
	Session uint64
	State   State
	// Match is the highest index known durable on the follower. Next is the
	// first index not yet sent. Match < Next always.
	Match, Next uint64
	// Applied is the highest index the follower said it has applied.
	Applied uint64
	// Round is the highest read round the follower answered.
	Round uint64
	// Active says that the follower was heard of since the last check.
	Active bool
	// Acked says that the follower acknowledged an append in this session.
	Acked bool
	// SilentTicks counts the ticks since the follower was last heard of.
	SilentTicks int
	// Paused says that a probe is out and unanswered.
	Paused bool
	// SnapshotTicks counts the ticks since the snapshot was asked for.
	SnapshotTicks int

	// CommitSent is the commit index the follower was last told.
	CommitSent uint64

	// challenge is the read round since which the follower is to prove that it
	// holds proven, which was Match then; 0 when it is trusted.
	challenge uint64
	proven    uint64
	// beatMatch is Match at the last heartbeat answer.
	beatMatch uint64
	inflight  Inflight
}

// New starts a session in Probe. Next is the index to probe at, above 0.
func New(session, next uint64, maxMessages int, maxBytes uint64) *Progress {
	return &Progress{
		Session: session, Next: next,
		inflight: Inflight{maxMessages: maxMessages, maxBytes: maxBytes},
	}
}

func (p *Progress) reset(s State) {
	p.State, p.Paused, p.SnapshotTicks = s, false, 0
	p.inflight.reset()
}

// BecomeProbe looks for the meeting point again, just above Match.
func (p *Progress) BecomeProbe() {
	p.reset(Probe)
	p.Next = p.Match + 1
}

// BecomeReplicate sends ahead from just above Match.
func (p *Progress) BecomeReplicate() {
	p.reset(Replicate)
	p.Next = p.Match + 1
}

// BecomeSnapshot stops appends until a snapshot is through.
func (p *Progress) BecomeSnapshot() { p.reset(Snapshot) }

// Quarantine stops everything to a follower that lost acknowledged entries.
func (p *Progress) Quarantine() {
	p.reset(Quarantined)
	p.Match, p.Acked, p.challenge, p.proven = 0, false, 0, 0
	p.Next = 1
}

// Blocked reports whether nothing may be sent now, not even an empty append.
func (p *Progress) Blocked() bool {
	switch p.State {
	case Probe:
		return p.Paused
	case Replicate:
		return p.inflight.full()
	}
	return true
}

// Sent records that entries up to last, of the given size, were sent; last is
// Next-1 for an append without entries.
func (p *Progress) Sent(last, bytes uint64) {
	if p.State == Probe {
		p.Paused = true
		return
	}
	if last >= p.Next {
		p.inflight.add(last, bytes)
		p.Next = last + 1
	}
}

// Acknowledge records that the follower holds everything up to index durably,
// in an answer of the given read round, and reports whether that was news.
func (p *Progress) Acknowledge(index, round uint64) bool {
	p.Acked = true
	if round >= p.challenge && index >= p.proven {
		p.challenge = 0
	}
	p.inflight.freeUpTo(index)
	if index <= p.Match {
		return false
	}
	p.Match = index
	p.Next = max(p.Next, index+1)
	return true
}

// Verdict is what a rejected append tells the leader.
type Verdict uint8

// The verdicts.
const (
	// Stale: the answer is to an append that no longer matters.
	Stale Verdict = iota
	// Moved: Next moved to where the logs may meet; append again.
	Moved
	// Suspect: the follower seems to lack what it acknowledged, but the answer
	// may have been overtaken by that very acknowledgement. The leader opens a
	// read round, passes it to Challenge and appends again.
	Suspect
	// Lost: a rejection of an append made after the suspicion arose proves
	// that acknowledged entries are gone.
	Lost
)

// Reject handles the answer, of the given read round, that the append after
// rejected did not fit, with the follower's hint of where its log may meet the
// leader's.
//
// A follower that holds everything up to Match never hints below it: its entry
// at Match has the leader's term, and hints only step down over greater terms.
func (p *Progress) Reject(rejected, hint, round uint64) Verdict {
	if p.State == Snapshot || p.State == Quarantined || rejected < p.Match {
		return Stale
	}
	if p.Match > 0 && (rejected == p.Match || hint < p.Match) {
		switch {
		case p.challenge == 0:
			return Suspect
		case round < p.challenge:
			return Stale
		case rejected == p.proven || hint < p.proven:
			return Lost
		}
		// Match has grown since the challenge, which says nothing of that.
		return Suspect
	}
	if p.State == Replicate {
		p.BecomeProbe()
		return Moved
	}
	if rejected != p.Next-1 {
		return Stale
	}
	p.Next = max(min(rejected, hint+1), p.Match+1)
	p.Paused = false
	return Moved
}

// Challenge makes the follower prove that it still holds Match: an answer of
// this read round or a later one decides.
func (p *Progress) Challenge(round uint64) {
	p.BecomeProbe()
	p.challenge, p.proven = round, p.Match
}

// Heard records any sign of life in this session.
func (p *Progress) Heard() { p.Active, p.SilentTicks = true, 0 }

// Beat records a heartbeat answer and reports whether one append, empty or
// not, should go out to find out if others were lost: a probe is unanswered, or
// entries were sent and none was acknowledged since the last beat.
func (p *Progress) Beat() bool {
	switch p.State {
	case Probe:
		p.Paused = false
		return true
	case Replicate:
		stuck := p.Match+1 < p.Next && p.Match == p.beatMatch
		p.beatMatch = p.Match
		if stuck && p.inflight.full() {
			p.inflight.freeFirst()
		}
		return stuck
	}
	return false
}

// Inflight is the number of unacknowledged appends and their bytes.
func (p *Progress) Inflight() (messages int, bytes uint64) {
	return len(p.inflight.sent) - p.inflight.head, p.inflight.bytes
}

// String prints the progress for scripts.
func (p *Progress) String() string {
	s := fmt.Sprintf("%s match=%d next=%d", p.State, p.Match, p.Next)
	if p.Paused {
		s += " paused"
	}
	if n, _ := p.Inflight(); n > 0 {
		s += fmt.Sprintf(" inflight=%d", n)
	}
	return s
}

// Inflight is the window of appends sent and not yet acknowledged.
type Inflight struct {
	sent        []flight
	head        int
	bytes       uint64
	maxMessages int
	maxBytes    uint64
}

type flight struct{ last, bytes uint64 }

func (f *Inflight) full() bool {
	n := len(f.sent) - f.head
	return n >= f.maxMessages || n > 0 && f.bytes >= f.maxBytes
}

func (f *Inflight) add(last, bytes uint64) {
	if f.head > 0 && len(f.sent) == cap(f.sent) {
		f.sent = f.sent[:copy(f.sent, f.sent[f.head:])]
		f.head = 0
	}
	f.sent = append(f.sent, flight{last, bytes})
	f.bytes += bytes
}

func (f *Inflight) freeUpTo(index uint64) {
	for f.head < len(f.sent) && f.sent[f.head].last <= index {
		f.freeFirst()
	}
}

func (f *Inflight) freeFirst() {
	f.bytes -= f.sent[f.head].bytes
	f.head++
	if f.head == len(f.sent) {
		f.reset()
	}
}

func (f *Inflight) reset() { f.sent, f.head, f.bytes = f.sent[:0], 0, 0 }
