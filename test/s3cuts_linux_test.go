package test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// cutWorkTime is when a worker takes its request for lost where it may have asked a member that
// reaches nobody.
const cutWorkTime = 3 * time.Second

// TestS3WhatIsAcknowledgedOutlivesCutsOfTheNetwork puts, uploads in parts, copies, replaces and deletes
// objects at all of three members while the network between them is cut: one is off it, reached by
// clients alone, or two do not hear each other, or one does not hear the other. After the cuts every
// object is whole at every member, as it was acknowledged, and the listings are the same.
func TestS3WhatIsAcknowledgedOutlivesCutsOfTheNetwork(t *testing.T) {
	if !*s3Flag || *s3ServerFlag != "chainfire" {
		t.Skip("it cuts members of a cluster off: 'make test' runs it, with -s3")
	}
	net := networkIfAllowed(t)
	seed := cmp.Or(*seedFlag, rand.Uint64())
	t.Logf("seed %d", seed)
	c := &cluster{t: t}
	s := &s3Service{cluster: c}
	var hosts []*netHost
	for _, name := range []string{"a", "b", "c"} {
		h := net.newHost(name)
		h.s3 = h.addr + ":9000"
		h.env = []string{"AWS_ACCESS_KEY_ID=" + s3AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3Secret}
		hosts, c.members, s.endpoints = append(hosts, h), append(c.members, h.member), append(s.endpoints, h.s3)
	}
	c.grow()
	s.awaitServing(t)
	w, end := startS3Work(t, s, seed, cutWorkTime)
	rng := rand.New(rand.NewPCG(seed, 5))
	for n, cut := range []func(x, y, z *netHost) string{offTheNetwork, reachedByClientsAlone, deafToEachOther, deafToOne} {
		w.awaitWrites(20)
		rng.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
		t.Logf("cut %d: %s", n, cut(hosts[0], hosts[1], hosts[2]))
		w.awaitWrites(20)
		for _, h := range hosts {
			h.mend()
		}
		s.awaitServing(t)
	}
	w.awaitWrites(20)
	end()
	w.verify()
	t.Logf("%d objects, %d writes acknowledged, %d without an answer, %d uploads cut", len(w.objects), w.acked.Load(), w.unknown.Load(), w.cut.Load())
}

func offTheNetwork(x, _, _ *netHost) string {
	x.cut()
	return x.name + " is off the network"
}

func reachedByClientsAlone(x, y, z *netHost) string {
	for _, o := range []*netHost{y, z} {
		x.deafen(o)
		o.deafen(x)
	}
	return x.name + " is reached by clients alone"
}

func deafToEachOther(x, y, _ *netHost) string {
	x.deafen(y)
	y.deafen(x)
	return fmt.Sprintf("%s and %s do not hear each other", x.name, y.name)
}

func deafToOne(x, y, _ *netHost) string {
	x.deafen(y)
	return fmt.Sprintf("%s does not hear %s", y.name, x.name)
}

// networkIfAllowed is newNetwork, and leaves the test out where network namespaces cannot be made.
func networkIfAllowed(t *testing.T) *network {
	t.Helper()
	probe := fmt.Sprintf("cfprobe%d", os.Getpid())
	for _, args := range [][]string{
		{"netns", "add", probe},
		{"netns", "del", probe},
		{"link", "add", probe, "type", "bridge"},
		{"link", "del", probe},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("it makes network namespaces, for which it must run as root with the command ip: ip %v: %v: %s", args, err, out)
		}
	}
	return newNetwork(t)
}
