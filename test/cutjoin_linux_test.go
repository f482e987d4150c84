package test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"chainfire"
)

var cutsFlag = flag.Int("cuts", 0, "joins of TestJoinCutAtAnyPointEndsWholeOrOut, which makes network namespaces; 0 leaves it out")

// cutJoins is a cluster of three, on a network of its own, that newcomers join
// while something breaks.
type cutJoins struct {
	t       *testing.T
	rng     *rand.Rand
	net     *network
	cluster *cluster
	hosts   []*netHost
	load    *load
	// ends counts how the joins ended.
	ends map[string]int
	// joined and pauses are how long the joins took that ended whole, and the
	// longest pause between acknowledged writes in each round.
	joined, pauses []time.Duration
}

// How a round breaks.
var cutKinds = []string{
	"newcomer dies", "newcomer dies for good", "leader dies", "source dies", "newcomer cut off", "leader cannot send to the newcomer",
	"newcomer cannot send to the leader", "newcomer's disk full",
}

// TestJoinCutAtAnyPointEndsWholeOrOut joins a fourth member again and again, and
// breaks something at a random moment of each join. The cluster serves throughout;
// every newcomer is a member in the end that has everything, or is out without a
// trace. For 200 joins:
//
//	go test ./test -run TestJoinCutAtAnyPoint -v -cuts 200 -timeout 2h
func TestJoinCutAtAnyPointEndsWholeOrOut(t *testing.T) {
	cuts, seed := *cutsFlag, *seedFlag
	if cuts == 0 {
		t.Skip("it needs root and the command ip: make cut-joins")
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d, %d joins", seed, cuts)
	j := &cutJoins{t: t, rng: rand.New(rand.NewPCG(seed, 1)), net: newNetwork(t), ends: map[string]int{}}
	j.begin()
	for n := range cuts {
		j.round(n+1, cutKinds[j.rng.IntN(len(cutKinds))])
	}
	operations := j.load.verify(j.cluster.members)
	t.Logf("seed %d: %d joins ended %v; those that ended whole took %s; longest pause of acknowledged writes in a round: %s; %d operations, %d acknowledged writes",
		seed, cuts, j.ends, quantiles(j.joined), quantiles(j.pauses), operations, j.load.acknowledged())
}

// joinArgs are a seed that takes a moment, reservations that do not last, and
// votes for the first three alone.
func joinArgs() []string {
	return []string{"--seed-rate", "2MiB", "--reserve-ttl", "4s", "--voters", "3"}
}

func (j *cutJoins) begin() {
	j.t.Helper()
	j.cluster = &cluster{t: j.t}
	for i, name := range []string{"a", "b", "c"} {
		h := j.net.newHost(name, joinArgs()...)
		j.hosts = append(j.hosts, h)
		j.cluster.members = append(j.cluster.members, h.member)
		if i == 0 {
			h.start()
		} else {
			h.start(j.hosts[0].peer)
		}
	}
	j.cluster.awaitVoters(3, 3)
	ballast(j.t, j.cluster.awaitLeader().kv(), 6<<20)
	j.load = startLoad(j.t, loadOptions{endpoints: j.cluster.endpoints(), seed: 1, patience: time.Second, pace: 20 * time.Millisecond, clients: 4})
	j.load.awaitWrites(50)
}

// of is the host of a member.
func (j *cutJoins) of(m *member) *netHost {
	return j.hosts[slices.IndexFunc(j.hosts, func(h *netHost) bool { return h.member == m })]
}

func (j *cutJoins) round(n int, kind string) {
	j.t.Helper()
	j.load.turn()
	from := j.load.now()
	d := j.net.newHost(fmt.Sprintf("d%d", n), joinArgs()...)
	if kind == "newcomer's disk full" {
		d.dir = filepath.Join(tmpfs(j.t, 2<<20+j.rng.IntN(6<<20)), "data")
	}
	began := time.Now()
	peers := []string{j.hosts[0].peer, j.hosts[1].peer, j.hosts[2].peer}
	d.launch(peers...)
	leader := j.of(j.cluster.awaitLeader())
	at := time.Duration(j.rng.Int64N(int64(4 * time.Second)))
	j.wait(at)
	heal := j.breakIt(kind, d, leader, peers)
	j.load.awaitWrites(20) // the cluster serves while it is broken
	j.wait(time.Duration(j.rng.Int64N(int64(3 * time.Second))))
	heal()
	end := j.await(d, peers, kind)
	if end == "whole" {
		j.joined = append(j.joined, time.Since(began))
	}
	j.load.awaitWrites(20)
	pause := j.load.longestPause(from, j.load.now())
	j.pauses = append(j.pauses, pause)
	j.ends[kind+": "+end]++
	j.t.Logf("join %d: %s after %v: %s after %v, longest pause %v", n, kind, at.Round(time.Millisecond), end,
		time.Since(began).Round(time.Millisecond), pause.Round(time.Millisecond))
	j.clear(d)
}

// wait lets time pass; it is the random part of a round.
func (j *cutJoins) wait(d time.Duration) {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-late.C:
	case <-j.t.Context().Done():
	}
}

// breakIt breaks something and returns what mends it.
func (j *cutJoins) breakIt(kind string, d, leader *netHost, peers []string) (heal func()) {
	j.t.Helper()
	nothing := func() {}
	restart := func(h *netHost) func() {
		h.kill()
		return func() {
			h.launch()
			h.awaitReady()
		}
	}
	switch kind {
	case "newcomer dies":
		d.kill()
		return func() { d.launch(peers...) }
	case "newcomer dies for good":
		d.kill()
		return nothing
	case "leader dies":
		return restart(leader)
	case "source dies":
		source := leader
		for _, h := range j.hosts {
			if d.proc.said(func(e event) bool { return e.Step == "seed" && e.Text != "" && containsAddress(e.Text, h.peer) }) {
				source = h
			}
		}
		return restart(source)
	case "newcomer cut off":
		d.cut()
		return d.mend
	case "leader cannot send to the newcomer":
		leader.deafen(d)
		return leader.mend
	case "newcomer cannot send to the leader":
		d.deafen(leader)
		return d.mend
	}
	return nothing
}

func containsAddress(text, addr string) bool {
	return len(text) >= len(addr) && text[len(text)-len(addr):] == addr
}

// await waits until the join has ended: whole, with everything at the newcomer, or
// out, with nothing left of it in the cluster.
func (j *cutJoins) await(d *netHost, peers []string, kind string) string {
	j.t.Helper()
	end := ""
	await(j.t, "the end of the join of "+d.name+" ("+kind+")", 2*patience, func(ctx context.Context) error {
		s, err := j.cluster.awaitLeader().status(ctx)
		if err != nil {
			return err
		}
		alive := d.proc.alive()
		switch phase := phaseOf(s, d.name); {
		case !alive && phase == "":
			end = "out"
			return nil
		case !alive && kind == "newcomer dies for good" && phase == chainfire.PhaseLearner:
			end = "whole, and dead afterwards"
			return nil
		case alive && (phase == chainfire.PhaseLearner || phase == chainfire.PhaseVoter):
			if err := exactly(s, 4, 3); err != nil {
				return err
			}
			end = "whole"
			return nil
		case !alive && kind == "newcomer dies" && phase != "":
			// Its second process ended as well: a person would start it once more.
			d.launch(peers...)
			return errors.New("the newcomer was started once more")
		default:
			return fmt.Errorf("the newcomer is %q, its process lives: %v", phase, alive)
		}
	})
	if end == "whole" {
		(&cluster{t: j.t, members: append(slices.Clone(j.cluster.members), d.member)}).mustHoldTheSame("ballast/")
	}
	return end
}

// clear takes the newcomer away again.
func (j *cutJoins) clear(d *netHost) {
	j.t.Helper()
	leader := j.cluster.awaitLeader()
	s, err := leader.status(j.t.Context())
	if err != nil {
		j.t.Fatal(err)
	}
	if phaseOf(s, d.name) != "" {
		remove(j.t, leader, d.id(leader))
	}
	if d.proc.alive() {
		if _, err := d.proc.exit(patience); err != nil {
			j.t.Fatal(err)
		}
	}
	j.cluster.awaitVoters(3, 3)
	if err := os.RemoveAll(d.dir); err != nil {
		j.t.Fatal(err)
	}
}
