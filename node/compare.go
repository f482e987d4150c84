package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/internal/sched"
	"chainfire/machine"
)

const (
	// lookEvery is how often it is looked whether it is time to compare members.
	lookEvery = time.Second
	// costTimes is how many times as long as the last hash took the next one waits.
	costTimes = 50
	// maxLooks is how often one comparison looks: again where the history was compacted
	// meanwhile, and where members differ.
	maxLooks = 4
)

// rounds decides when members are compared. It belongs to one goroutine.
type rounds struct {
	// every is how often, and compactEvery how soon after a compaction; 0 is never.
	every, compactEvery time.Duration
	// due and compactDue are when it is time for either.
	due, compactDue time.Time
	// compacted is the compacted revision at the last comparison.
	compacted int64
	// rested is when what the last one cost is made up for.
	rested time.Time
}

// look reports whether it is time, at a compacted revision.
func (r *rounds) look(now time.Time, compacted int64) bool {
	if now.Before(r.rested) {
		return false
	}
	if r.every > 0 && !now.Before(r.due) {
		return true
	}
	if r.compactEvery <= 0 || now.Before(r.compactDue) {
		return false
	}
	r.compactDue = now.Add(r.compactEvery)
	return compacted != r.compacted
}

// begin takes in that members are being compared.
func (r *rounds) begin(now time.Time, compacted int64) {
	r.due, r.compactDue, r.compacted = now.Add(r.every), now.Add(r.compactEvery), compacted
}

// compareMembers runs until the node stops. While this member leads, it holds what the
// members have in their key spaces against each other.
func (n *Node) compareMembers() {
	r := &rounds{every: n.opts.CompareEvery, compactEvery: n.opts.CompareCompactedEvery}
	r.begin(n.sched.Now(), n.machine.CompactRevision())
	step := lookEvery
	for _, d := range []time.Duration{r.every, r.compactEvery} {
		if d > 0 {
			step = min(step, d)
		}
	}
	ticks, stop := sched.Tick(n.sched, step)
	defer stop()
	c := newComparison(n)
	for n.sched.Wait(n.stop, ticks) == 1 {
		now, compacted := n.sched.Now(), n.machine.CompactRevision()
		if n.leadingTerm() == 0 || now.Before(n.hasher.restedAt()) || !r.look(now, compacted) {
			continue
		}
		r.begin(now, compacted)
		cost, err := c.run()
		r.rested = n.sched.Now().Add(costTimes * cost)
		if err != nil && !errors.Is(err, chainfire.ErrStopped) {
			n.log.Debug("members were not compared; it is tried again", "err", err)
		}
	}
}

// comparison compares members. It belongs to one goroutine.
type comparison struct {
	n *Node
	// told is why members were left out, as far as the log was told.
	told map[uint64]string
}

func newComparison(n *Node) *comparison { return &comparison{n: n, told: map[uint64]string{}} }

// run compares all members that answer, and raises the alarm if it finds a difference
// twice. cost is how long the slowest members worked.
func (c *comparison) run() (cost time.Duration, err error) {
	n := c.n
	others := n.others()
	if len(others) == 0 {
		return 0, nil
	}
	if n.machine.Level() < machine.AlarmLevel {
		return 0, chainfire.ErrFeatureLevel
	}
	var before verdict
	for look := range maxLooks {
		v, took, err := c.look(others, len(before.wrong) > 0)
		cost += took
		if err != nil {
			return cost, err
		}
		complete := len(v.opinions) == len(others)+1
		switch {
		case len(v.wrong) == 0 && len(v.moved) == 0, n.alarmed(v.wrong):
			return cost, nil
		case len(v.wrong) == 0:
		case look == 0 || !v.equal(&before):
			n.log.Info("members differ in the key space; they are compared once more", "members", v.wrong, "revision", v.asked.rev, "hashes", v.sums())
		case complete || !v.unclear() || look == maxLooks-1:
			c.raise(&v)
			return cost, nil
		}
		before = v
	}
	return cost, errUnsettled
}

var errUnsettled = errors.New("no two looks at the members came to the same, or the history is compacted all the time")

// others are the members to compare with: all that have a state to follow the log with.
func (n *Node) others() (ids []uint64) {
	for _, m := range n.machine.Members() {
		if m.ID != n.id && !m.Reserved && m.Incarnation != 0 {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// alarmed reports whether all that is to be said of these members was said. Where any
// member is named, nothing is to be said of the whole cluster.
func (n *Node) alarmed(wrong []uint64) bool {
	alarms := n.machine.Alarms()
	for _, id := range wrong {
		if !slices.ContainsFunc(alarms, func(a chainfire.Alarm) bool {
			return a.Type == chainfire.AlarmCorrupt && (a.MemberID == id || id == nobody)
		}) {
			return false
		}
	}
	return len(wrong) > 0
}

// look has the members hash once, at where this one is, and judges what they say.
func (c *comparison) look(others []uint64, anew bool) (v verdict, cost time.Duration, err error) {
	n := c.n
	ctx, cancel := sched.WithTimeout(context.Background(), n.sched, hashLimit, nil)
	defer cancel()
	term := n.leadingTerm()
	if err := n.confirm(ctx, term); err != nil {
		return v, 0, err
	}
	asked := pointOf(n.machine.State())
	own, answers, err := c.gather(ctx, others, asked, anew)
	cost = own.cost
	for _, a := range answers {
		cost = max(cost, a.cost)
	}
	if err != nil {
		return v, cost, err
	}
	if err := n.confirm(ctx, term); err != nil {
		return v, cost, err
	}
	conf := n.machine.Conf()
	v = judge(asked, pointOf(n.machine.State()), conf.IsVoter, append(answers, answer{n.id, own}))
	n.log.Debug("members compared", "revision", asked.rev, "compacted", asked.compacted, "members", v.members(),
		"hashes", v.sums(), "moved", v.moved, "took", cost)
	return v, cost, nil
}

// confirm makes sure that this member leads in a term, within the time of a request.
func (n *Node) confirm(ctx context.Context, term uint64) error {
	ctx, cancel := sched.WithTimeout(ctx, n.sched, n.opts.RequestTimeout, errRequestTimeout)
	defer cancel()
	if term == 0 {
		return errLeadsNoMore
	}
	return n.leads(ctx, term)
}

// patienceTimes is how many times as long as this member another may take to hash the
// same, beside the time of a request.
const patienceTimes = 4

// gather asks all others at once, hashes here meanwhile, and leaves out who is much
// slower.
func (c *comparison) gather(ctx context.Context, others []uint64, p point, anew bool) (own hashed, answers []answer, err error) {
	n := c.n
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := &gathering{waits: len(others), done: make(chan struct{}), failed: map[uint64]error{}}
	for _, id := range others {
		n.tasks.Go(func() {
			h, err := n.askHash(ctx, id, p, anew)
			g.take(id, h, err)
		})
	}
	if own, err = n.hashAt(ctx, p, anew); err != nil {
		return own, nil, err
	}
	wait, end := sched.WithTimeout(ctx, n.sched, n.opts.RequestTimeout+patienceTimes*n.hasher.lasted(), nil)
	defer end()
	if n.sched.Wait(g.done, n.stop, wait.Done()) == 1 {
		return own, nil, chainfire.ErrStopped
	}
	answers, failed := g.all()
	for _, id := range others {
		answered := slices.ContainsFunc(answers, func(a answer) bool { return a.member == id })
		c.tell(id, answered, failed[id])
	}
	return own, answers, nil
}

// gathering is the answers as they come in.
type gathering struct {
	mu      sync.Mutex
	waits   int
	done    chan struct{}
	answers []answer
	failed  map[uint64]error
}

func (g *gathering) take(member uint64, h hashed, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.failed[member] = err
	} else {
		g.answers = append(g.answers, answer{member, h})
	}
	if g.waits--; g.waits == 0 {
		close(g.done)
	}
}

// all is what came in until now.
func (g *gathering) all() ([]answer, map[uint64]error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.answers), maps.Clone(g.failed)
}

// tell says once why a member is left out.
func (c *comparison) tell(member uint64, answered bool, err error) {
	why := ""
	switch {
	case answered:
	case err == nil:
		why = "does not answer in time"
	case status.Code(err) == codes.Unimplemented:
		why = "runs a version that cannot be compared"
	default:
		why = "cannot be compared now"
	}
	if why != "" && why != c.told[member] {
		c.n.log.Info("a member is left out where members are compared", "member", member, "reason", why, "err", err)
	}
	c.told[member] = why
}

// raise raises the alarm for the members that are wrong.
func (c *comparison) raise(v *verdict) {
	n := c.n
	what := "members differ from the majority in the key space"
	if v.unclear() {
		what = "members differ in the key space, and no majority says which of them are wrong"
	}
	n.log.Error(what+"; the cluster takes no more writes until the alarm is taken back, see docs/operate/corrupt.md",
		"members", v.wrong, "revision", v.asked.rev, "compacted", v.asked.compacted, "hashes", v.sums())
	for _, id := range v.wrong {
		if n.alarmed([]uint64{id}) {
			continue
		}
		a := chainfire.Alarm{MemberID: id, Type: chainfire.AlarmCorrupt}
		_, err := n.Alarm(context.Background(), &chainfire.AlarmRequest{Action: chainfire.AlarmActivate, Alarm: a})
		if err != nil {
			n.log.Warn("the alarm was not raised; the next comparison tries again", "alarm", a.Type.String(), "member", id, "err", err)
		}
	}
}
