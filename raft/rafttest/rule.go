package rafttest

import "fmt"

// Rule is a promise that the checks hold a cluster to, and where it stands. The
// paper is Ongaro and Ousterhout's, the thesis Ongaro's, the decisions are
// docs/design/decisions.md.
type Rule struct{ Name, Source string }

// The rules.
var (
	electionSafety   = Rule{"election safety", "paper §5.2"}
	oneVote          = Rule{"one vote in a term, over crashes too", "paper §5.2, figure 2"}
	electionQuorum   = Rule{"a quorum of durable votes behind every election", "paper §5.2, thesis §4.3"}
	follows          = Rule{"who hears from the leader of its term follows it", "paper §5.2"}
	hearsQuorum      = Rule{"a leader that hears from no quorum gives up", "thesis §6.2"}
	diskStall        = Rule{"a leader whose disk stands still gives up", "raft.Config, DiskStallTicks"}
	takeOver         = Rule{"leadership goes to who has the whole log", "thesis §3.10"}
	onlyForward      = Rule{"terms and commit indexes only grow", "paper §5.1, figure 2"}
	leaderAppendOnly = Rule{"leader append-only", "paper §5.3"}
	logMatching      = Rule{"log matching", "paper §5.3"}
	complete         = Rule{"leader completeness", "paper §5.4"}
	stateSafety      = Rule{"state machine safety", "paper §5.4.3"}
	commitQuorum     = Rule{"a quorum of disks behind every commit", "paper §5.3, thesis §4.3"}
	commitInTerm     = Rule{"entries of older terms are committed through one of the leader's own", "paper §5.4.2"}
	committedStays   = Rule{"what is committed stays", "paper §5.4"}
	acknowledged     = Rule{"nothing acknowledged is lost", "paper §8"}
	matchGrows       = Rule{"within a session match only grows", "paper, figure 2"}
	matchTrue        = Rule{"what a leader believes of a disk is there", "paper, figure 2"}
	honestDisk       = Rule{"a whole disk is never taken for a lost one", "decisions: answers are ordered by read rounds"}
	readFloor        = Rule{"a read sees every write completed before it", "paper §8, thesis §6.4"}
	readOnce         = Rule{"a read is answered once, where it was asked", "thesis §6.4"}
	confSequence     = Rule{"every configuration is one change after the one before", "thesis §4.1, §4.3"}
	oneChange        = Rule{"one membership change at a time, after an entry of the leader's own term", "thesis §4.1 and Ongaro's note of 2015"}
	promotion        = Rule{"only a member that has caught up in this session becomes a voter", "thesis §4.2.1"}
	freshIdentity    = Rule{"an identity is never used again", "decisions: member ids are log indexes"}
	durableFirst     = Rule{"what a message promises is durable before it leaves", "paper, figure 2"}
	appliedDurable   = Rule{"an entry is applied only where it is durable", "decisions"}
	appliedInOrder   = Rule{"entries are applied one after the other", "paper §5.3"}
	soundWrites      = Rule{"writes fit the log", "paper §5.3"}
	soundMessages    = Rule{"messages are well formed", "paper, figure 2"}
	coreRuns         = Rule{"a core does not stop", "the contract of package raft"}
	progresses       = Rule{"a healed majority makes progress in bounded time", "paper §5.6"}
	stableLeader     = Rule{"without a fault the leader stays", "thesis §4.2.3, §9.6"}
	simulation       = Rule{"the simulation itself is sound", "package rafttest"}
)

// Violation is a broken rule: the error of a cluster, by which its run ends.
type Violation struct {
	Rule Rule
	// Event is the number of the event that broke it.
	Event  int
	Detail error
}

// Error names the rule, its source and what happened.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s (%s): %v", v.Rule.Name, v.Rule.Source, v.Detail)
}

// Unwrap is what happened.
func (v *Violation) Unwrap() error { return v.Detail }

// breaks ends the run: a rule is broken.
func (c *Cluster) breaks(r Rule, format string, args ...any) {
	if c.err == nil {
		c.err = &Violation{Rule: r, Event: c.events, Detail: fmt.Errorf(format, args...)}
		c.note(Event{Kind: EventFailed, Err: c.err})
	}
}

// Err is the first broken promise, a *Violation, or nil.
func (c *Cluster) Err() error { return c.err }
