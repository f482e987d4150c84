// Package confchange computes simple and joint membership changes as pure
// functions from one configuration to the next. Nothing here knows of terms,
// logs or messages. Source: Ongaro's thesis, chapter 4 (§4.1 single-server
// changes, §4.3 joint consensus), with learners as in §4.2.1.
package confchange

import (
	"errors"
	"fmt"
	"slices"
)

// State is a configuration. Every list is sorted and free of duplicates.
//
// While Outgoing is not empty the configuration is joint: a decision needs a
// majority of Voters and a majority of Outgoing.
type State struct {
	Voters   []uint64
	Outgoing []uint64
	Learners []uint64
	// LearnersNext are voters of Outgoing that become learners when the joint
	// configuration is left; until then they still vote in Outgoing.
	LearnersNext []uint64
	// AutoLeave makes the leader leave the joint configuration by itself once
	// it is applied.
	AutoLeave bool
}

// Kind is what a step does to one member.
type Kind uint8

// The kinds.
const (
	AddVoter Kind = iota
	AddLearner
	Remove
)

// String names the kind for logs and scripts.
func (k Kind) String() string {
	switch k {
	case AddVoter:
		return "add-voter"
	case AddLearner:
		return "add-learner"
	case Remove:
		return "remove"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Step is one member's part of a change.
type Step struct {
	Kind Kind
	ID   uint64
}

// Change is one membership change as it stands in the log. One step makes a
// simple change, several a joint one that is left automatically. No step at all
// leaves a joint configuration.
type Change struct {
	Steps []Step
	// Joint forces a joint change even for one step.
	Joint bool
	// Context is the application's, carried unseen.
	Context []byte
}

// Leave reports whether the change leaves a joint configuration.
func (c Change) Leave() bool { return len(c.Steps) == 0 && !c.Joint }

// Reasons for which a change does not apply to a configuration.
var (
	ErrJoint    = errors.New("configuration is joint; it must be left first")
	ErrNotJoint = errors.New("configuration is not joint")
	ErrNoVoters = errors.New("change would leave no voter")
	ErrInvalid  = errors.New("invalid membership change")
)

// Joint reports whether the configuration is joint.
func (s State) Joint() bool { return len(s.Outgoing) > 0 }

// IsVoter reports whether id votes, in either half.
func (s State) IsVoter(id uint64) bool {
	return has(s.Voters, id) || has(s.Outgoing, id)
}

// IsLearner reports whether id is a learner now (not only once a joint
// configuration is left).
func (s State) IsLearner(id uint64) bool { return has(s.Learners, id) }

// Contains reports whether id is a member in any way.
func (s State) Contains(id uint64) bool { return s.IsVoter(id) || s.IsLearner(id) }

// IDs lists every member once, sorted.
func (s State) IDs() []uint64 {
	ids := slices.Concat(s.Voters, s.Outgoing, s.Learners)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Clone copies the configuration with all its lists.
func (s State) Clone() State {
	s.Voters = slices.Clone(s.Voters)
	s.Outgoing = slices.Clone(s.Outgoing)
	s.Learners = slices.Clone(s.Learners)
	s.LearnersNext = slices.Clone(s.LearnersNext)
	return s
}

// Equal reports whether two configurations are the same.
func (s State) Equal(o State) bool {
	return slices.Equal(s.Voters, o.Voters) && slices.Equal(s.Outgoing, o.Outgoing) &&
		slices.Equal(s.Learners, o.Learners) && slices.Equal(s.LearnersNext, o.LearnersNext) &&
		s.AutoLeave == o.AutoLeave
}

// String prints the configuration as it stands in logs and scripts, for
// example "(1 2 3)&&(1) learners=(4) auto-leave".
func (s State) String() string {
	out := list(s.Voters)
	if s.Joint() {
		out += "&&" + list(s.Outgoing)
	}
	if len(s.Learners) > 0 {
		out += " learners=" + list(s.Learners)
	}
	if len(s.LearnersNext) > 0 {
		out += " learners-next=" + list(s.LearnersNext)
	}
	if s.AutoLeave {
		out += " auto-leave"
	}
	return out
}

func list(ids []uint64) string {
	s := fmt.Sprint(ids)
	return "(" + s[1:len(s)-1] + ")"
}

// Validate checks what must hold of every configuration: sorted lists, a member
// in one role only, LearnersNext within Outgoing and outside Voters.
func (s State) Validate() error {
	for _, l := range [][]uint64{s.Voters, s.Outgoing, s.Learners, s.LearnersNext} {
		for i, id := range l {
			if id == 0 {
				return fmt.Errorf("%w: member id 0", ErrInvalid)
			}
			if i > 0 && l[i-1] >= id {
				return fmt.Errorf("%w: list %v is not sorted and unique", ErrInvalid, l)
			}
		}
	}
	for _, id := range s.Learners {
		if s.IsVoter(id) {
			return fmt.Errorf("%w: %d is both learner and voter", ErrInvalid, id)
		}
	}
	for _, id := range s.LearnersNext {
		if !has(s.Outgoing, id) || has(s.Voters, id) {
			return fmt.Errorf("%w: %d waits to be a learner but is not an outgoing voter", ErrInvalid, id)
		}
	}
	if !s.Joint() && (len(s.LearnersNext) > 0 || s.AutoLeave) {
		return fmt.Errorf("%w: joint fields set in %v", ErrInvalid, s)
	}
	return nil
}

// Apply returns the configuration that a change leads to. The input is not
// modified. It fails, with the configuration unchanged, where a change does not
// fit: a change other than leaving in a joint configuration (ErrJoint), leaving
// one that is not joint (ErrNotJoint), an id of 0 or one named twice
// (ErrInvalid), or no voter left (ErrNoVoters).
//
// A step that finds its work done (adding a voter that votes, removing a
// stranger) changes nothing, so that applying a change twice is harmless.
func Apply(s State, c Change) (State, error) {
	if c.Leave() {
		return leave(s)
	}
	if s.Joint() {
		return s, ErrJoint
	}
	seen := map[uint64]bool{}
	for _, st := range c.Steps {
		if st.ID == 0 {
			return s, fmt.Errorf("%w: member id 0", ErrInvalid)
		}
		if seen[st.ID] {
			return s, fmt.Errorf("%w: member %d named twice", ErrInvalid, st.ID)
		}
		seen[st.ID] = true
	}
	n := s.Clone()
	joint := c.Joint || len(c.Steps) > 1
	if joint {
		n.Outgoing = slices.Clone(s.Voters)
		n.AutoLeave = true
	}
	for _, st := range c.Steps {
		if err := step(&n, st); err != nil {
			return s, err
		}
	}
	if len(n.Voters) == 0 {
		return s, ErrNoVoters
	}
	if joint && (len(s.Voters) == 0 || slices.Equal(n.Voters, s.Voters) && len(n.LearnersNext) == 0) {
		// Only learners changed, or nobody voted before: one majority decides.
		n.Outgoing, n.AutoLeave = nil, false
	}
	return n, n.Validate()
}

func step(n *State, st Step) error {
	switch st.Kind {
	case AddVoter:
		n.Learners = without(n.Learners, st.ID)
		n.Voters = with(n.Voters, st.ID)
	case AddLearner:
		if n.Contains(st.ID) && n.IsLearner(st.ID) {
			return nil
		}
		n.Voters = without(n.Voters, st.ID)
		if has(n.Outgoing, st.ID) {
			n.LearnersNext = with(n.LearnersNext, st.ID)
			return nil
		}
		n.Learners = with(n.Learners, st.ID)
	case Remove:
		n.Voters = without(n.Voters, st.ID)
		n.Learners = without(n.Learners, st.ID)
	default:
		return fmt.Errorf("%w: unknown kind %d", ErrInvalid, st.Kind)
	}
	return nil
}

func leave(s State) (State, error) {
	if !s.Joint() {
		return s, ErrNotJoint
	}
	n := s.Clone()
	for _, id := range n.LearnersNext {
		n.Learners = with(n.Learners, id)
	}
	n.Outgoing, n.LearnersNext, n.AutoLeave = nil, nil, false
	return n, n.Validate()
}

func has(l []uint64, id uint64) bool {
	_, ok := slices.BinarySearch(l, id)
	return ok
}

func with(l []uint64, id uint64) []uint64 {
	i, ok := slices.BinarySearch(l, id)
	if ok {
		return l
	}
	return slices.Insert(slices.Clone(l), i, id)
}

func without(l []uint64, id uint64) []uint64 {
	i, ok := slices.BinarySearch(l, id)
	if !ok {
		return l
	}
	return slices.Delete(slices.Clone(l), i, i+1)
}
