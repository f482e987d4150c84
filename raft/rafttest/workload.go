package rafttest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// Plan is a workload and the faults that accompany it, all of it decided by a
// seed before anything runs, so that clusters of different engines can be put
// through the same. The workload is one client's commands, each given until it is
// seen applied before the next, and beside them an operator's membership changes,
// likewise. How messages and writes interleave in between is drawn from the same
// seed by each run.
type Plan struct {
	seed      uint64
	options   Options
	voters    []uint64
	compacted bool
	commands  int
	changes   []confchange.Change
	faults    []fault
	// loss, double and idle are how many of a hundred messages are lost, doubled,
	// or left for later, and slow of a hundred chances to write passed over.
	loss, double, idle, slow int
	// conf is where the changes lead.
	conf raft.ConfState
}

// fault is something that happens at a tick to a member, the n-th that came,
// where there is such a member.
type fault struct {
	tick, member, other int
	kind                faultKind
	// amount is the writes that a crash leaves, or the entries that stay when
	// the log is compacted.
	amount int
}

type faultKind int

const (
	faultCrash faultKind = iota
	// faultBehead crashes whoever leads.
	faultBehead
	faultStart
	faultIsolate
	faultCut
	faultMend
	faultPause
	faultResume
	faultTransfer
	faultCompact
	faultRead
)

// faultMix is how often each kind comes: what ends faults more often than what
// begins them, so that most of the time there is a majority.
var faultMix = []faultKind{
	faultCrash, faultBehead, faultStart, faultStart, faultStart, faultIsolate, faultCut, faultMend, faultMend,
	faultPause, faultResume, faultResume, faultTransfer, faultCompact, faultRead, faultRead,
}

// The size of a plan. Commands and changes are spread over faultTicks, after which
// everything is healed; patienceTicks bounds what is left to do then.
const (
	planCommands  = 40
	planChanges   = 6
	planFaults    = 150
	faultTicks    = 300
	patienceTicks = 3000
	// roundsPerTick is how often members and network get a turn between ticks.
	roundsPerTick = 5
)

// NewPlan makes the plan of a seed.
func NewPlan(seed uint64) *Plan {
	r := rand.New(rand.NewPCG(seed, 0xa0761d6478bd642f))
	pick := func(v ...int) int { return v[r.IntN(len(v))] }
	p := &Plan{
		seed: seed, compacted: r.IntN(2) == 0, commands: planCommands,
		loss: pick(0, 2, 20), double: pick(0, 5), idle: pick(0, 20, 60), slow: pick(0, 30, 70),
		options: Options{
			Config: raft.Config{
				ElectionTicks: pick(5, 10), HeartbeatTicks: pick(1, 2),
				MaxMessageBytes: uint64(pick(1, 200, 1<<20)), MaxInflight: pick(1, 4, 64),
				MaxInflightBytes: uint64(pick(100, 1<<20)), MaxApplyingBytes: uint64(pick(1, 100, 1<<20)),
			},
			EarlyReads: r.IntN(2) == 0,
		},
	}
	for id := range pick(1, 2, 3, 3, 5) {
		p.voters = append(p.voters, uint64(id+1))
	}
	p.planChanges(r)
	members := len(p.voters) + 2
	for range planFaults {
		p.faults = append(p.faults, fault{
			tick: r.IntN(faultTicks), member: r.IntN(members), other: r.IntN(members),
			kind: faultMix[r.IntN(len(faultMix))], amount: r.IntN(4),
		})
	}
	slices.SortStableFunc(p.faults, func(a, b fault) int { return a.tick - b.tick })
	return p
}

// planChanges plans membership changes, each of which fits where those before it
// lead to. Ids are never used again. Each is named in its context.
func (p *Plan) planChanges(r *rand.Rand) {
	conf := raft.ConfState{Voters: slices.Clone(p.voters)}
	next := uint64(len(p.voters)) + 1
	for len(p.changes) < planChanges {
		change := confchange.Change{Joint: r.IntN(4) == 0}
		ids, fresh := conf.IDs(), next
		for range 1 + r.IntN(3)*r.IntN(2) {
			step := confchange.Step{Kind: confchange.Kind(r.IntN(3)), ID: ids[r.IntN(len(ids))]}
			if step.Kind != confchange.Remove && (r.IntN(2) == 0 || len(ids) < 3) {
				step.ID = fresh
				fresh++
			}
			change.Steps = append(change.Steps, step)
		}
		after, err := confchange.Apply(conf, change)
		if err != nil || len(after.IDs()) > 7 {
			continue
		}
		change.Context = fmt.Appendf(nil, "m%d", len(p.changes))
		if r.IntN(6) == 0 {
			change.Context = []byte(refusal)
			after = conf
		}
		if after.Joint() {
			if after, err = confchange.Apply(after, confchange.Change{}); err != nil {
				continue
			}
		}
		conf, next = after, fresh
		p.changes = append(p.changes, change)
	}
	p.conf = conf
}

// Outcome is what a run of a plan came to.
type Outcome struct {
	// Commands are those committed, in order, each where it came first.
	Commands []string
	Conf     raft.ConfState
	// Doubles counts the commands that were committed again, Terms the terms
	// that had a leader, Ticks the time it took.
	Doubles, Terms, Ticks int
}

// Expected is the outcome that every run of the plan must come to, but for the
// counts.
func (p *Plan) Expected() Outcome {
	o := Outcome{Conf: p.conf}
	for i := range p.commands {
		o.Commands = append(o.Commands, command(i))
	}
	return o
}

func command(i int) string { return fmt.Sprintf("c%d", i) }

// Run puts a cluster with the engines of Options.Engine through the plan. The
// error is a broken promise, or says that the healed cluster made no progress.
func (p *Plan) Run(engine func(id uint64) raft.NewEngine, trace func(string, ...any)) (Outcome, error) {
	r := rand.New(rand.NewPCG(p.seed, 0xe7037ed1a0b428db))
	o := p.options
	o.Engine = engine
	var told *story
	if trace != nil {
		told = &story{tell: trace}
		o.Watch = told.event
	}
	o.Jitter = func(_ uint64, n int) int { return r.IntN(n) }
	x := &execution{Cluster: New(o), plan: p, rand: r}
	if told != nil {
		told.c = x.Cluster
	}
	x.Bootstrap(p.voters, p.compacted)
	for x.ticks < faultTicks+patienceTicks && x.err == nil {
		x.tick()
		if x.ticks > faultTicks && x.done() {
			return x.outcome(), x.err
		}
	}
	if x.err == nil {
		x.breaks(progresses, "%d commands and %d changes done %d ticks after healing: %s",
			x.command, x.change, patienceTicks, x.Describe())
	}
	return x.outcome(), x.err
}
