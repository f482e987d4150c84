package join

// Step is where a join stands.
type Step string

// The steps, in order.
const (
	StepCheck   Step = "check"
	StepReserve Step = "reserve"
	StepSeed    Step = "seed"
	StepLearn   Step = "learn"
	StepPromote Step = "promote"
	StepVoter   Step = "voter"
)

// Event is what a newcomer tells the person who started it.
type Event struct {
	Step Step
	// Text says what happens, for people.
	Text            string
	Cluster, Member uint64
	// Done of Total bytes of the seed are here.
	Done, Total int64
	// Match and Commit are log indexes while it catches up.
	Match, Commit uint64
}
