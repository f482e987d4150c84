package witness

import "fmt"

// KV is one version of one key.
type KV struct {
	Key, Value string
	// Create, Mod and Version are as in etcd; Lease is 0 without one.
	Create, Mod, Version, Lease int64
}

// Event is one change, as a watch shows it.
type Event struct {
	Delete bool
	// KV is the new version; of a delete, the key and the revision alone.
	KV KV
	// Prev is the version before, if the watch asked for it and there was one.
	Prev *KV
}

// StepKind says what a step of an operation does.
type StepKind uint8

// The kinds.
const (
	Get StepKind = iota
	Put
	Delete
)

// String is the kind's name.
func (k StepKind) String() string { return [...]string{"get", "put", "delete"}[k] }

// Step is one part of an operation, on a key or an interval.
type Step struct {
	Kind StepKind
	// Key and End are an interval as in etcd: an empty End is Key alone, "\x00"
	// everything from Key on.
	Key, End string
	// Value is what is put. No other put of the history has it.
	Value string
	// Lease is what a put attaches its key to, or 0.
	Lease int64
	// Limit bounds what a get returns; 0 is no bound.
	Limit int64
}

// Found is the answer to a step.
type Found struct {
	// KVs is what a get found, or what was there before a put or a delete.
	KVs []KV
	// Count is how many keys there are in the interval of a get, and how many a
	// delete removed.
	Count int64
}

// Target is what a comparison looks at.
type Target uint8

// The targets.
const (
	TargetValue Target = iota
	TargetMod
	TargetCreate
	TargetVersion
	TargetLease
)

// Relation is what a comparison asks for.
type Relation uint8

// The relations.
const (
	Equal Relation = iota
	NotEqual
	Less
	Greater
)

// Compare is a condition on one key. A key that is not there has 0 for every
// number, and no value: a comparison of that fails.
type Compare struct {
	Key      string
	Target   Target
	Relation Relation
	Number   int64
	Value    string
}

// Outcome is how an operation ended for its client.
type Outcome uint8

// The outcomes. Nobody knows of an Ambiguous operation whether it happened, or
// is still to happen. One that was Refused did not, and one of a revision that
// was Compacted was refused for that reason.
const (
	Answered Outcome = iota
	Ambiguous
	Refused
	Compacted
)

// Op is one operation of a client: a transaction, of which a single get, put or
// delete is the simplest, or the revocation of a lease.
type Op struct {
	// Who names the client and, if it matters, the member asked.
	Who string
	// Call and Return are moments on the clock of the history, in nanoseconds.
	Call, Return int64

	If         []Compare
	Then, Else []Step
	// Revoke is the lease to revoke; such an operation has no steps.
	Revoke int64
	// Serializable lets one member answer a read from what it has applied.
	Serializable bool
	// At is the revision that a single get asks for; 0 is now.
	At int64

	Outcome Outcome
	// Revision is that of the answer's header, and the rest is the answer.
	Revision  int64
	Succeeded bool
	Found     []Found
}

// steps are those of the branch that the answer says was taken.
func (o *Op) steps() []Step {
	if o.Succeeded {
		return o.Then
	}
	return o.Else
}

// mayWrite reports whether the operation can change anything.
func (o *Op) mayWrite() bool {
	if o.Revoke != 0 {
		return true
	}
	for _, branch := range [...][]Step{o.Then, o.Else} {
		for i := range branch {
			if branch[i].Kind != Get {
				return true
			}
		}
	}
	return false
}

// changed reports whether the answer says that the operation changed something.
// That to a revocation does not say it.
func (o *Op) changed() bool {
	for i, s := range o.steps() {
		if s.Kind == Put || s.Kind == Delete && i < len(o.Found) && o.Found[i].Count > 0 {
			return true
		}
	}
	return false
}

// key is the first key that the operation is about.
func (o *Op) key() string {
	for _, branch := range [...][]Step{o.Then, o.Else} {
		if len(branch) > 0 {
			return branch[0].Key
		}
	}
	return ""
}

// String tells the operation in one line.
func (o *Op) String() string {
	out := o.Who + ":"
	if o.Revoke != 0 {
		out += fmt.Sprintf(" revoke lease %x", o.Revoke)
	}
	for _, c := range o.If {
		out += fmt.Sprintf(" if %s.%d %d %d%q", c.Key, c.Target, c.Relation, c.Number, c.Value)
	}
	for i, branch := range [...][]Step{o.Then, o.Else} {
		if i == 1 && len(branch) > 0 {
			out += " else"
		}
		for _, s := range branch {
			out += fmt.Sprintf(" %s %q", s.Kind, s.Key)
			if s.End != "" {
				out += fmt.Sprintf("-%q", s.End)
			}
			if s.Kind == Put {
				out += fmt.Sprintf("=%q", s.Value)
			}
		}
	}
	if o.At != 0 {
		out += fmt.Sprintf(" at %d", o.At)
	}
	if o.Serializable {
		out += " serializable"
	}
	switch o.Outcome {
	case Ambiguous:
		return out + " -> no answer"
	case Refused:
		return out + " -> refused"
	case Compacted:
		return out + " -> compacted"
	}
	return out + fmt.Sprintf(" -> revision %d, succeeded %v, %+v", o.Revision, o.Succeeded, o.Found)
}

// Watch is one watch through any number of disconnects, after each of which it
// was opened again one revision behind the last it had seen.
type Watch struct {
	Name string
	// Key and End are an interval as in Step.
	Key, End string
	// NoPut and NoDelete drop those events.
	NoPut, NoDelete bool
	PrevKV          bool
	Sessions        []Session
}

// Session is a watch between two disconnects.
type Session struct {
	// Where names the member.
	Where string
	// From is the revision asked for; 0 is the next one.
	From int64
	// Created is the header's revision of the answer that it is open; 0 is that
	// there was none.
	Created int64
	Answers []Answer
}

// Answer is what a watch hands out at once.
type Answer struct {
	// When is the moment at which it came, Revision that of its header.
	When, Revision int64
	Events         []Event
	// More says that this is a part, and that the next answer goes on with it.
	More bool
	// Progress says that there is nothing up to Revision that was not handed out.
	Progress bool
	// CompactRevision ends the session: what it needs is gone, up to there.
	CompactRevision int64
}

// Compaction was asked for by a client.
type Compaction struct {
	Revision     int64
	Call, Return int64
	// Acknowledged says that it was answered.
	Acknowledged bool
}

// Renewal is the answer that a lease lives: to a grant, or to a renewal.
type Renewal struct {
	Lease int64
	// TTL is for how long it lives, counted from some moment after Call, in
	// nanoseconds.
	TTL, Call int64
}

// History is everything that was seen of a store.
type History struct {
	// Base is a revision that was reached before all this began, and Start is all
	// keys there were at it.
	Base  int64
	Start []KV

	Ops         []Op
	Watches     []Watch
	Compactions []Compaction
	Renewals    []Renewal
}

// Violation is one thing that no store which keeps its promises could have shown.
type Violation struct {
	// Rule is its name; see the constants.
	Rule string
	// Revision and Key are where it shows.
	Revision int64
	Key      string
	Text     string
}

// Error implements error.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s: at revision %d of %q: %s", v.Rule, v.Revision, v.Key, v.Text)
}
