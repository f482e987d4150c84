package confchange_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"chainfire/raft/confchange"
)

func steps(kind confchange.Kind, ids ...uint64) []confchange.Step {
	var out []confchange.Step
	for _, id := range ids {
		out = append(out, confchange.Step{Kind: kind, ID: id})
	}
	return out
}

func TestChangesLeadWhereTheySay(t *testing.T) {
	one := confchange.State{Voters: []uint64{1}}
	three := confchange.State{Voters: []uint64{1, 2, 3}}
	withLearners := confchange.State{Voters: []uint64{1}, Learners: []uint64{2, 3}}
	joint := confchange.State{Voters: []uint64{1, 2}, Outgoing: []uint64{1, 2, 3}, LearnersNext: []uint64{3}, AutoLeave: true}
	for name, c := range map[string]struct {
		from   confchange.State
		change confchange.Change
		want   string
		err    error
	}{
		"first voter":          {confchange.State{}, confchange.Change{Steps: steps(confchange.AddVoter, 1)}, "(1)", nil},
		"first voters":         {confchange.State{}, confchange.Change{Steps: steps(confchange.AddVoter, 1, 2, 3)}, "(1 2 3)", nil},
		"add voter":            {one, confchange.Change{Steps: steps(confchange.AddVoter, 2)}, "(1 2)", nil},
		"add learner":          {one, confchange.Change{Steps: steps(confchange.AddLearner, 2)}, "(1) learners=(2)", nil},
		"add learner twice":    {withLearners, confchange.Change{Steps: steps(confchange.AddLearner, 2)}, "(1) learners=(2 3)", nil},
		"promote":              {withLearners, confchange.Change{Steps: steps(confchange.AddVoter, 2)}, "(1 2) learners=(3)", nil},
		"promote two":          {withLearners, confchange.Change{Steps: steps(confchange.AddVoter, 2, 3)}, "(1 2 3)&&(1) auto-leave", nil},
		"add two learners":     {one, confchange.Change{Steps: steps(confchange.AddLearner, 2, 3)}, "(1) learners=(2 3)", nil},
		"demote":               {three, confchange.Change{Steps: steps(confchange.AddLearner, 3)}, "(1 2) learners=(3)", nil},
		"demote jointly":       {three, confchange.Change{Steps: steps(confchange.AddLearner, 3), Joint: true}, "(1 2)&&(1 2 3) learners-next=(3) auto-leave", nil},
		"remove":               {three, confchange.Change{Steps: steps(confchange.Remove, 1)}, "(2 3)", nil},
		"remove learner":       {withLearners, confchange.Change{Steps: steps(confchange.Remove, 3)}, "(1) learners=(2)", nil},
		"remove stranger":      {three, confchange.Change{Steps: steps(confchange.Remove, 9)}, "(1 2 3)", nil},
		"replace":              {three, confchange.Change{Steps: append(steps(confchange.AddVoter, 4), steps(confchange.Remove, 1)...)}, "(2 3 4)&&(1 2 3) auto-leave", nil},
		"leave":                {joint, confchange.Change{}, "(1 2) learners=(3)", nil},
		"change while joint":   {joint, confchange.Change{Steps: steps(confchange.AddVoter, 4)}, joint.String(), confchange.ErrJoint},
		"leave what is single": {one, confchange.Change{}, "(1)", confchange.ErrNotJoint},
		"remove the last":      {one, confchange.Change{Steps: steps(confchange.Remove, 1)}, "(1)", confchange.ErrNoVoters},
		"named twice":          {one, confchange.Change{Steps: steps(confchange.AddVoter, 2, 2)}, "(1)", confchange.ErrInvalid},
		"id 0":                 {one, confchange.Change{Steps: steps(confchange.AddVoter, 0)}, "(1)", confchange.ErrInvalid},
		"unknown kind":         {one, confchange.Change{Steps: steps(confchange.Kind(9), 2)}, "(1)", confchange.ErrInvalid},
	} {
		got, err := confchange.Apply(c.from, c.change)
		if got.String() != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v; want %s, %v", name, got, err, c.want, c.err)
		}
	}
}

func TestInvalidConfigurationsAreFound(t *testing.T) {
	for name, s := range map[string]confchange.State{
		"id 0":                 {Voters: []uint64{0}},
		"unsorted":             {Voters: []uint64{2, 1}},
		"twice":                {Learners: []uint64{2, 2}},
		"learner that votes":   {Voters: []uint64{1}, Learners: []uint64{1}},
		"learner in outgoing":  {Voters: []uint64{1}, Outgoing: []uint64{2}, Learners: []uint64{2}},
		"next is no outgoing":  {Voters: []uint64{1}, Outgoing: []uint64{2}, LearnersNext: []uint64{3}},
		"next is voter":        {Voters: []uint64{1, 2}, Outgoing: []uint64{2}, LearnersNext: []uint64{2}},
		"auto-leave of single": {Voters: []uint64{1}, AutoLeave: true},
	} {
		if err := s.Validate(); !errors.Is(err, confchange.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	for kind, want := range map[confchange.Kind]string{
		confchange.AddVoter: "add-voter", confchange.AddLearner: "add-learner", confchange.Remove: "remove", 7: "kind(7)",
	} {
		if kind.String() != want {
			t.Errorf("%v", kind)
		}
	}
}

func drawChange(t *rapid.T) confchange.Change {
	c := confchange.Change{Joint: rapid.Bool().Draw(t, "joint")}
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		c.Steps = append(c.Steps, confchange.Step{
			Kind: confchange.Kind(rapid.IntRange(0, 2).Draw(t, "kind")), ID: rapid.Uint64Range(1, 7).Draw(t, "id"),
		})
	}
	return c
}

// moved counts the voters in one list and not in the other.
func moved(a, b []uint64) int {
	in := map[uint64]int{}
	for _, id := range a {
		in[id]++
	}
	for _, id := range b {
		in[id]--
	}
	n := 0
	for _, v := range in {
		if v != 0 {
			n++
		}
	}
	return n
}

// Any sequence of changes keeps the configuration valid; a simple change moves
// at most one voter, so that majorities before and after intersect; entering a
// joint configuration keeps the old voters as its outgoing half, and leaving it
// keeps the new ones. A refused change changes nothing, an accepted one does not
// touch its input.
func TestEveryPathIsSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := confchange.State{Voters: []uint64{1}}
		for range 30 {
			c := drawChange(t)
			before := s.Clone()
			next, err := confchange.Apply(s, c)
			if !s.Equal(before) {
				t.Fatalf("%v became %v under %v", before, s, c)
			}
			if err != nil {
				if !next.Equal(s) {
					t.Fatalf("refused %v led from %v to %v", c, s, next)
				}
				continue
			}
			if err := next.Validate(); err != nil {
				t.Fatalf("%v led from %v to %v: %v", c, s, next, err)
			}
			if len(next.Voters) == 0 {
				t.Fatalf("%v led from %v to no voter", c, s)
			}
			switch {
			case c.Leave():
				if next.Joint() || moved(s.Voters, next.Voters) != 0 || moved(append(s.Learners, s.LearnersNext...), next.Learners) != 0 {
					t.Fatalf("leaving %v led to %v", s, next)
				}
			case next.Joint():
				if moved(next.Outgoing, s.Voters) != 0 || !next.AutoLeave {
					t.Fatalf("%v led from %v to %v", c, s, next)
				}
			case moved(s.Voters, next.Voters) > 1:
				t.Fatalf("simple %v moved several voters from %v to %v", c, s, next)
			}
			if !c.Leave() && !next.Joint() {
				again, err := confchange.Apply(next, c)
				if err != nil || !again.Equal(next) {
					t.Fatalf("%v twice: %v then %v, %v", c, next, again, err)
				}
			}
			s = next
		}
	})
}

// Entering and leaving a joint configuration leads where the same steps lead one
// at a time.
func TestJointChangeIsTheUnionOfItsSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := confchange.State{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}}
		c := drawChange(t)
		if len(c.Steps) == 0 {
			return
		}
		c.Joint = true
		joint, err := confchange.Apply(s, c)
		if err != nil {
			return
		}
		if joint.Joint() {
			if joint, err = confchange.Apply(joint, confchange.Change{}); err != nil {
				t.Fatal(err)
			}
		}
		single := s
		for _, st := range c.Steps {
			next, err := confchange.Apply(single, confchange.Change{Steps: []confchange.Step{st}})
			if errors.Is(err, confchange.ErrNoVoters) {
				// One step after the other passes through nobody.
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			single = next
		}
		if !joint.Equal(single) {
			t.Fatalf("%v leads to %v jointly, to %v step by step", c, joint, single)
		}
	})
}
