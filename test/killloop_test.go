package test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	roundsFlag = flag.Int("rounds", 0, "rounds of TestKillLoop; 0 is 3, or 1 with -short")
	seedFlag   = flag.Uint64("seed", 0, "let TestKillLoop choose as it did with this seed; 0 draws one")
)

// killLoop is a cluster of three under load whose members are killed at random.
type killLoop struct {
	t       *testing.T
	rng     *rand.Rand
	cluster *cluster
	load    *load
	// What each kind of round cost: the longest pause between two acknowledged
	// writes.
	leader, follower, several []time.Duration
}

// TestKillLoop kills random members of a cluster under load, round after round,
// and starts them again: one, two at once, or all; sometimes again while they
// start. No acknowledged write may be lost, and all that the clients saw must be
// linearizable. For 50 rounds:
//
//	go test ./test -run TestKillLoop -v -rounds 50
func TestKillLoop(t *testing.T) {
	rounds, seed := *roundsFlag, *seedFlag
	switch {
	case rounds == 0 && testing.Short():
		rounds = 1
	case rounds == 0:
		rounds = 3
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d, %d rounds; -seed %d chooses the same victims again", seed, rounds, seed)
	c := here.newCluster(t)
	k := &killLoop{t: t, rng: rand.New(rand.NewPCG(seed, 0)), cluster: c}
	k.load = startLoad(t, loadOptions{endpoints: c.endpoints(), seed: seed, patience: time.Second})
	for n := range rounds {
		k.round(n + 1)
	}
	operations := k.load.verify(c.members)
	unknown, _ := k.load.unknown()
	t.Logf("seed %d: %d rounds, %d operations, %d acknowledged writes, %d operations without an answer",
		seed, rounds, operations, k.load.acknowledged(), unknown)
	t.Logf("longest pause of acknowledged writes when the leader died: %s; a follower: %s; more than one: %s",
		quantiles(k.leader), quantiles(k.follower), quantiles(k.several))
}

// victims chooses who dies: mostly one, sometimes two, sometimes all.
func (k *killLoop) victims() []*member {
	chosen := slices.Clone(k.cluster.members)
	k.rng.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	switch p := k.rng.IntN(100); {
	case p < 65:
		return chosen[:1]
	case p < 85:
		return chosen[:2]
	}
	return chosen
}

func (k *killLoop) round(n int) {
	k.t.Helper()
	k.load.turn()
	k.load.awaitWrites(20 + k.rng.IntN(100))
	victims, work, twice := k.victims(), 20+k.rng.IntN(150), k.rng.IntN(5) == 0
	leader := k.cluster.awaitLeader()
	led := slices.Contains(victims, leader)
	from := k.load.now()
	k.kill(victims)
	if len(victims) == 1 {
		k.load.awaitWrites(work)
	} else {
		// There is no majority: what is asked now waits as long as its client does.
		k.awaitOperations(work % 8)
	}
	for _, m := range victims {
		m.launch()
	}
	if twice {
		k.kill(victims[:1])
		victims[0].launch()
	}
	k.load.awaitWrites(20)
	pause := k.load.longestPause(from, k.load.now())
	for _, m := range victims {
		m.awaitServing()
	}
	k.cluster.awaitVoters(3, 3)
	switch {
	case len(victims) > 1:
		k.several = append(k.several, pause)
	case led:
		k.leader = append(k.leader, pause)
	default:
		k.follower = append(k.follower, pause)
	}
	var names []string
	for _, m := range victims {
		names = append(names, m.name)
	}
	k.t.Logf("round %d: killed %s (leader %s, killed twice: %v), longest pause %v",
		n, strings.Join(names, ", "), leader.name, twice, pause.Round(time.Millisecond))
}

// kill kills members at the same moment.
func (k *killLoop) kill(victims []*member) {
	k.t.Helper()
	errs := make(chan error, len(victims))
	for _, m := range victims {
		go func() { errs <- m.proc.kill() }()
	}
	var failed error
	for range victims {
		failed = errors.Join(failed, <-errs)
	}
	if failed != nil {
		k.t.Fatal(failed)
	}
}

// awaitOperations waits until so many more operations have ended, somehow.
func (k *killLoop) awaitOperations(n int) {
	k.t.Helper()
	from := len(k.load.record())
	await(k.t, fmt.Sprintf("%d more operations", n), patience, func(context.Context) error {
		if have := len(k.load.record()) - from; have < n {
			return fmt.Errorf("%d operations", have)
		}
		return nil
	})
}

// quantiles says the median and the maximum.
func quantiles(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	slices.Sort(d)
	return fmt.Sprintf("%d times, median %v, at most %v", len(d),
		d[len(d)/2].Round(time.Millisecond), d[len(d)-1].Round(time.Millisecond))
}
