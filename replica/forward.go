package replica

import (
	"errors"
	"slices"

	"chainfire"
	"chainfire/raft"
)

// A follower sends its clients' proposals to the leader in numbered batches,
// each tagged with the term it believes in. The leader of that very term takes
// each batch once, in order, and answers; an unanswered batch is sent again.
// So a proposal enters the log of a term at most once, whatever the network
// does. Only who led that term can say of a batch that it is in no log: a leader
// that has stepped down says what it said before, and one that may have forgotten,
// as after a restart, says nothing. What stays unanswered is proposed again once an
// entry of a later term is applied (Applied).

// Code is the leader's word on one forwarded proposal.
type Code uint8

// The codes.
const (
	// Taken: it is in the log.
	Taken Code = iota
	// NotLeader: the receiver does not lead the term; it is in no log.
	NotLeader
	// Busy: too much is uncommitted.
	Busy
	// ConfPending: another membership change is under way.
	ConfPending
	// Refused: the proposal does not fit.
	Refused
)

// Envelope is what replicas say to each other beside Raft's own messages.
// Batch numbers start at 1 in each term of each life (Nonce) of the sender.
type Envelope struct {
	To, From uint64
	Term     uint64
	Nonce    uint64
	Batch    uint64
	// Proposals are the batch; in an answer it is empty and Codes has one code
	// per proposal. An answer without codes asks for batches from Batch on.
	Proposals []Proposal
	Answer    bool
	Codes     []Code
}

// window bounds the batches that are sent and not answered; the leader keeps its
// word on twice as many, so that it can repeat any that the follower may ask for.
const window = 32

// forwarder is the follower's side.
type forwarder struct {
	nonce uint64
	term  uint64
	last  uint64
	sent  []sentBatch
	// resent says that batches were sent again since the last tick: however
	// many answers ask for it, once is enough.
	resent bool
}

type sentBatch struct {
	batch     uint64
	proposals []Proposal
	ticks     int
}

func (f *forwarder) restart(term uint64) {
	if term != f.term {
		f.term, f.last, f.sent, f.resent = term, 0, nil, false
	}
}

// acceptor is the leader's side, for one term.
type acceptor struct {
	from map[uint64]accepted
	// led says that this member led the term, and took batches in it.
	led bool
}

type accepted struct {
	nonce, batch uint64
	// words are the codes of the last batches, the newest last.
	words [][]Code
}

// word is what was said of a batch, nil when it is too long ago to be asked.
func (a *accepted) word(batch uint64) []Code {
	back := a.batch - batch
	if back >= uint64(len(a.words)) {
		return nil
	}
	return a.words[uint64(len(a.words))-1-back]
}

// maxBatch bounds the data of one forwarded batch, in bytes and proposals.
const (
	maxBatchBytes     = 4 << 20
	maxBatchProposals = 4096
)

// forward sends batches within the window; the rest stays held.
func (r *Replica) forward(held []Proposal) {
	for len(held) > 0 {
		if len(r.fwd.sent) >= window {
			r.held = append(r.held, held...)
			return
		}
		n, size := 0, 0
		for n < len(held) && n < maxBatchProposals && (n == 0 || size+len(held[n].Data) <= maxBatchBytes) {
			size += len(held[n].Data)
			n++
		}
		r.fwd.last++
		b := sentBatch{batch: r.fwd.last, proposals: held[:n:n]}
		for _, p := range b.proposals {
			r.opened(p)
		}
		r.fwd.sent = append(r.fwd.sent, b)
		r.sendBatch(b)
		held = held[n:]
	}
}

func (r *Replica) sendBatch(b sentBatch) {
	r.envelopes = append(r.envelopes, Envelope{
		To: r.lead, Term: r.fwd.term, Nonce: r.fwd.nonce, Batch: b.batch, Proposals: b.proposals,
	})
}

// tickForward sends again what stayed unanswered.
func (r *Replica) tickForward() {
	r.fwd.resent = false
	for i := range r.fwd.sent {
		if r.fwd.sent[i].ticks++; r.fwd.sent[i].ticks >= r.cfg.ResendTicks {
			r.Resend(r.lead)
			return
		}
	}
}

// Resend sends every unanswered batch again if id leads, as after a connection
// to it was lost and made again.
func (r *Replica) Resend(id uint64) {
	if id == raft.None || id != r.lead || r.lead == r.cfg.Raft.ID {
		return
	}
	if r.fwd.resent {
		return
	}
	r.fwd.resent = true
	for i := range r.fwd.sent {
		r.fwd.sent[i].ticks = 0
		r.sendBatch(r.fwd.sent[i])
	}
}

// Envelope takes in what another replica says.
func (r *Replica) Envelope(e Envelope) {
	r.follow()
	if e.Answer {
		r.answered(e)
		return
	}
	a := Envelope{To: e.From, Term: e.Term, Nonce: e.Nonce, Batch: e.Batch, Answer: true}
	seen := r.inbox.from[e.From]
	if seen.nonce != e.Nonce {
		seen = accepted{nonce: e.Nonce}
	}
	leads := r.core.Role() == raft.Leader
	switch {
	case e.Term != r.term, !leads && !r.inbox.led:
		return // of another term, or of one that this member cannot speak for
	case e.Batch <= seen.batch:
		if a.Codes = seen.word(e.Batch); a.Codes == nil {
			return // answered so long ago that the answer has arrived
		}
	case !leads:
		a.Codes = make([]Code, len(e.Proposals))
		for i := range a.Codes {
			a.Codes[i] = NotLeader
		}
	case e.Batch > seen.batch+1:
		a.Batch = seen.batch + 1
	default:
		a.Codes = r.accept(e.Proposals)
		r.inbox.led = true
		seen.batch = e.Batch
		seen.words = append(seen.words, a.Codes)
		if len(seen.words) > 2*window {
			seen.words = slices.Clone(seen.words[window:])
		}
		r.inbox.from[e.From] = seen
	}
	r.envelopes = append(r.envelopes, a)
}

func (r *Replica) accept(ps []Proposal) []Code {
	codes := make([]Code, len(ps))
	for i, p := range ps {
		switch err := r.enter(p); {
		case err == nil:
			codes[i] = Taken
		case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrTransferring):
			codes[i] = NotLeader
		case errors.Is(err, raft.ErrTooMuchUncommitted):
			codes[i] = Busy
		case errors.Is(err, raft.ErrConfPending):
			codes[i] = ConfPending
		default:
			codes[i] = Refused
		}
	}
	return codes
}

func (r *Replica) answered(e Envelope) {
	if e.Term != r.fwd.term || e.Nonce != r.fwd.nonce {
		return
	}
	if len(e.Codes) == 0 {
		r.Resend(e.From)
		return
	}
	i := 0
	for i < len(r.fwd.sent) && r.fwd.sent[i].batch != e.Batch {
		i++
	}
	if i == len(r.fwd.sent) || len(r.fwd.sent[i].proposals) != len(e.Codes) {
		return
	}
	ps := r.fwd.sent[i].proposals
	r.fwd.sent = append(r.fwd.sent[:i:i], r.fwd.sent[i+1:]...)
	for i, code := range e.Codes {
		r.judged(ps[i], code)
	}
}

// judged ends or renews one proposal by the leader's word.
func (r *Replica) judged(p Proposal, code Code) {
	if _, ok := r.open[p.ID]; !ok || code == Taken {
		return
	}
	delete(r.open, p.ID)
	switch code {
	case NotLeader:
		r.held = append(r.held, p)
	case Busy:
		r.done = append(r.done, Done{p.ID, chainfire.ErrTooManyRequests})
	case ConfPending:
		r.done = append(r.done, Done{p.ID, chainfire.ErrConfChangePending})
	default:
		r.done = append(r.done, Done{p.ID, raft.ErrBadChange})
	}
}
