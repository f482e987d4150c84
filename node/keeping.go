package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/replica"
)

// keeping is the keeper of the leader with what it is told from outside.
type keeping struct {
	sched sched.Scheduler
	start time.Time
	mu    sync.Mutex
	// keeper exists while this member leads.
	keeper *join.Keeper
	seeds  map[uint64]seedBytes
	// busy are the members for which an action is under way.
	busy map[uint64]bool
	// raising says that the feature level is being raised.
	raising bool
}

type seedBytes struct{ done, total uint64 }

func newKeeping(s sched.Scheduler) *keeping {
	return &keeping{sched: s, start: s.Now(), seeds: map[uint64]seedBytes{}, busy: map[uint64]bool{}}
}

// now is the keeper's clock.
func (k *keeping) now() time.Duration { return k.sched.Now().Sub(k.start) }

func (k *keeping) heard(id, done, total uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keeper != nil {
		k.keeper.Contact(id, k.now())
	}
	if total > 0 {
		k.seeds[id] = seedBytes{done, total}
	}
}

func (k *keeping) reason(id uint64, learner bool) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keeper == nil {
		return ""
	}
	return k.keeper.Reason(id, learner)
}

// fit reports whether a learner had caught up when the keeper last looked.
func (k *keeping) fit(id uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keeper != nil && k.keeper.Fit(id)
}

func (k *keeping) seed(id uint64) (done, total uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.seeds[id]
	return s.done, s.total
}

// step lets the keeper look, and returns what is to be done and not under way.
func (k *keeping) step(opts join.KeeperOptions, leads bool, v func() join.View) []join.Action {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case !leads:
		k.keeper = nil
		return nil
	case k.keeper == nil:
		k.keeper = join.NewKeeper(opts)
	}
	var out []join.Action
	for _, a := range k.keeper.Step(k.now(), v()) {
		free := true
		for _, id := range a.IDs {
			free = free && !k.busy[id]
		}
		if !free {
			continue
		}
		for _, id := range a.IDs {
			k.busy[id] = true
		}
		out = append(out, a)
	}
	return out
}

func (k *keeping) done(a join.Action) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range a.IDs {
		delete(k.busy, id)
		if a.Kind == join.Release || a.Kind == join.Remove {
			delete(k.seeds, id)
		}
	}
}

// soleAgain is how long an exchange waits after it was found to lose bytes of objects: to look is
// to go through all of them.
const soleAgain = 15 * time.Second

// keepInterval is how often the keeper looks, in ticks.
const keepInterval = 4

// progressInterval is how often idle watches that asked for it are told how far
// they are, as etcd does.
const progressInterval = 10 * time.Minute

// keep runs until the node stops. It looks after learners while this member
// leads, and after the length of the log always.
func (n *Node) keep() {
	ticks, stop := sched.Tick(n.sched, keepInterval*n.opts.TickInterval)
	defer stop()
	progress, stop := sched.Tick(n.sched, n.opts.ProgressInterval)
	defer stop()
	opts := join.KeeperOptions{
		Round: n.opts.election(), ReserveTTL: n.opts.ReserveTTL,
		Voters: n.opts.Voters, ReplaceAfter: n.opts.ReplaceAfter, LearnTTL: n.opts.Bounds.LearnTTL,
	}
	for {
		switch n.sched.Wait(n.stop, progress, ticks) {
		case 0:
			return
		case 1:
			n.machine.NotifyProgress()
			continue
		}
		st := n.status()
		n.trim(st)
		n.saveBoots()
		leads := st.Role == raft.Leader && st.CommittedInTerm
		for _, a := range n.watch.step(opts, leads, func() join.View { return n.view(st) }) {
			n.tasks.Go(func() {
				defer n.watch.done(a)
				n.act(a)
			})
		}
		if leads {
			n.raiseLevel()
		}
	}
}

// status is the core as it stands now, or nothing once the node stops.
func (n *Node) status() raft.Status {
	st := &raft.Status{}
	if !n.inLoop(func(r *replica.Replica) { *st = r.Core().Status() }) {
		return raft.Status{} // the loop may be writing it still
	}
	return *st
}

func (n *Node) view(st raft.Status) join.View {
	v := join.View{Self: st.ID, Conf: st.Conf, Busy: st.ConfPending, Last: st.Last, Commit: st.Commit}
	peers := map[uint64]raft.PeerStatus{}
	for _, p := range st.Peers {
		peers[p.ID] = p
	}
	for _, m := range n.machine.Members() {
		p := peers[m.ID]
		v.Members = append(v.Members, join.MemberView{
			ID: m.ID, Reserved: m.Reserved, Joining: m.ReservedIndex != 0,
			// One that differs from the others gets no vote by itself.
			Manual: n.opts.NoPromote || m.Manual || n.alarmed([]uint64{m.ID}), Replaces: m.Replaces, ReadReplica: m.ReadReplica,
			Match: p.Match, Applied: p.Applied, Acked: p.Acked, Active: p.Active,
			Silent: time.Duration(p.SilentTicks) * n.opts.TickInterval,
		})
	}
	return v
}

func (n *Node) act(a join.Action) {
	ctx, cancel := sched.WithTimeout(context.Background(), n.sched, n.opts.RequestTimeout, nil)
	defer cancel()
	var err error
	switch a.Kind {
	case join.Promote:
		var c confchange.Change
		for _, id := range a.IDs {
			c.Steps = append(c.Steps, confchange.Step{Kind: confchange.AddVoter, ID: id})
		}
		err = n.changeFor(ctx, a.Voters, c)
	case join.Replace:
		err = n.changeFor(ctx, a.Voters, confchange.Change{Joint: true, Steps: []confchange.Step{
			{Kind: confchange.AddVoter, ID: a.IDs[0]}, {Kind: confchange.AddLearner, ID: a.IDs[1]},
		}})
	case join.Exchange:
		long, done := n.untilStop(context.Background()) // it looks through all bodies
		err = n.succeed(long, a.Voters, a.IDs[0], a.IDs[1])
		done()
	case join.Settle:
		_, err = n.do(ctx, &machine.Command{UpdateMember: &machine.UpdateMember{ID: a.IDs[0], Settled: true}})
	case join.Release:
		err = n.release(ctx, a.IDs[0])
	case join.Remove:
		err = host{n}.RemoveLearner(ctx, a.IDs[0])
	}
	if err != nil {
		n.log.Warn("membership step failed and is tried again", "step", a.Kind.String(), "members", a.IDs, "err", err)
		if errors.Is(err, errSole) {
			_ = n.pause(context.Background(), soleAgain) // ends early with the node
		}
		return
	}
	n.log.Info("membership step done", "step", a.Kind.String(), "members", a.IDs)
}

// The defaults of Bounds.
const (
	keepLogBytes  = 64 << 20
	maxLogBytes   = 512 << 20
	flushLogBytes = 64 << 20
)

// trim lets the log drop what is durable in the store and needed by nobody: not
// by a newcomer with a reservation, not by a reader of a snapshot, and not by a
// follower that lags within reason.
func (n *Node) trim(st raft.Status) {
	_, size := n.wal.Size()
	if size <= n.opts.Bounds.KeepLogBytes {
		return
	}
	keep := min(n.machine.FlushedIndex(), st.Applied)
	for _, m := range n.machine.Members() {
		if m.ReservedIndex != 0 {
			keep = min(keep, m.ReservedIndex-1)
		}
	}
	if low, ok := n.snapshots.LowestIndex(); ok {
		keep = min(keep, low)
	}
	for _, p := range st.Peers {
		if p.Active && p.Acked && size < n.opts.Bounds.MaxLogBytes {
			keep = min(keep, p.Match)
		}
	}
	if keep >= st.First {
		n.writer.releaseTo(keep)
	}
}
