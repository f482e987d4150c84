package rafttest

import "chainfire/raft"

// action is one kind of event of a schedule.
type action int

// What members and their clients do, and what goes wrong.
const (
	actTick action = iota
	actTickOne
	actReady
	actSend
	actDeliver
	actPersist
	actReport
	actApply
	actSettled
	actFlush
	actCompact
	actPropose
	actRead
	actConf
	actKeep
	actTransfer
	actCampaign
	actStart
	actResume
	firstFault

	actDrop action = iota - 1
	actDouble
	actFailSnapshot
	actHold
	actRelease
	actCut
	actMend
	actCrash
	actPower
	actPause
	actClock
	actWipe
	actUnreachable
	actLeaderGone
	actions
)

// plan is what a seed chose: the cluster, and which kinds of events there are in
// its run, and how often (swarm testing: what is left out matters as much as
// what is in).
type plan struct {
	seed      uint64
	config    raft.Config
	voters    int
	compacted bool
	// early lets cores read their queued writes.
	early bool
	// elected begins with an election; else the first one takes its time.
	elected bool
	// outboxes makes messages wait at their sender; late makes the completions
	// of writes and of applying reach the core later than they happen.
	outboxes, late bool
	// reorder lets messages on the same way overtake each other.
	reorder bool
	// half lets a crash come between a snapshot's installation and the rest of
	// its write, torn in the middle of a batch of writes.
	half, torn bool
	// drift makes clocks run at different rates.
	drift bool
	// keeper has learners promoted by the rule of the real keeper only.
	keeper bool
	// retire switches members off once their removal is known to a majority;
	// doom leaves up to a minority of the voters down for good.
	retire, doom bool

	weights [actions]int
	total   int
}

// draw makes the plan of a seed.
func (s *Schedule) draw(seed uint64) plan {
	pick, coin := s.pick, s.coin
	p := plan{
		seed: seed,
		config: raft.Config{
			ElectionTicks: pick(3, 5, 5, 10), HeartbeatTicks: pick(1, 1, 2),
			MaxMessageBytes: uint64(pick(1, 60, 200, 1<<20)), MaxInflight: pick(1, 2, 4, 64),
			MaxInflightBytes: uint64(pick(1, 100, 1<<20)), MaxUncommittedBytes: uint64(pick(200, 1<<20)),
			MaxApplyingBytes: uint64(pick(1, 100, 1<<20)), DiskStallTicks: pick(0, 0, 6),
		},
		voters: pick(1, 1, 2, 3, 3, 3, 4, 5), compacted: coin(), early: coin(), elected: pick(0, 1, 1) == 1,
		outboxes: pick(0, 0, 1) == 1, late: coin(), reorder: coin(), half: coin(), torn: coin(),
		drift: coin(), keeper: coin(), retire: pick(0, 1, 1) == 1, doom: coin(),
	}
	s.weigh(&p)
	for _, n := range p.weights {
		p.total += n
	}
	return p
}

func (s *Schedule) pick(v ...int) int { return v[s.rand.IntN(len(v))] }

func (s *Schedule) coin() bool { return s.rand.IntN(2) == 0 }

// weigh chooses which kinds of events there are, and how often.
func (s *Schedule) weigh(p *plan) {
	w, pick := &p.weights, s.pick
	w[actTick], w[actTickOne] = pick(10, 25, 60), pick(0, 10, 60)
	w[actReady], w[actDeliver], w[actPersist] = pick(300, 600), pick(200, 500, 800), pick(100, 300)
	w[actApply], w[actPropose], w[actFlush] = pick(100, 300), pick(10, 40, 100), pick(2, 20)
	if p.outboxes {
		w[actSend] = pick(300, 800)
	}
	if p.late {
		w[actReport], w[actSettled] = pick(30, 100, 300), pick(30, 200)
	}
	w[actStart], w[actMend], w[actResume] = pick(10, 40), pick(15, 50), pick(10, 40)
	maybe := func(a action, weights ...int) {
		if s.coin() {
			w[a] = pick(weights...)
		}
	}
	maybe(actDrop, 5, 50, 100)
	maybe(actDouble, 5, 50, 150)
	maybe(actFailSnapshot, 10, 40)
	if p.reorder && s.coin() {
		w[actHold], w[actRelease] = pick(5, 30), pick(1, 5)
	}
	maybe(actCut, 2, 8, 20)
	maybe(actCrash, 1, 5, 12)
	maybe(actPower, 1, 3)
	maybe(actPause, 2, 8)
	w[actConf] = pick(0, 20, 60, 120)
	maybe(actTransfer, 2, 8)
	maybe(actRead, 5, 40)
	maybe(actCompact, 5, 20)
	maybe(actUnreachable, 2, 10)
	maybe(actLeaderGone, 1, 4)
	maybe(actCampaign, 1, 4)
	maybe(actWipe, 1, 3)
	if p.drift {
		w[actClock] = pick(0, 3)
	}
	if p.keeper && w[actConf] > 0 {
		w[actKeep] = pick(20, 60)
	}
}
