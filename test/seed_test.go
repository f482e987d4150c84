package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seedFacts is what the seed commands print.
type seedFacts struct {
	Dir     string `json:"data_dir"`
	Cluster string `json:"cluster_id"`
	Index   uint64 `json:"index"`
	Term    uint64 `json:"term"`
	Bytes   int64  `json:"bytes"`
}

func makeSeed(t *testing.T, args ...string) seedFacts {
	t.Helper()
	out, err := offline(t, append([]string{"seed", "-w", "json"}, args...)...)
	return decode[seedFacts](t, out, err)
}

const nothingPulled = "nothing is pulled: the seed that is here ends with entry"

// mustComeInWithoutAPull starts a newcomer on a seed.
func (m *member) mustComeInWithoutAPull(at *member) {
	m.t.Helper()
	m.launch(at.peer)
	m.awaitReady()
	if !m.proc.said(func(e event) bool { return e.Step == "seed" && strings.Contains(e.Text, nothingPulled) }) {
		m.t.Errorf("%s does not say that it starts from the seed that it has; its log:\n%s", m.name, tail(m.stderr, 20))
	}
	if done, total := m.proc.seeding(); total > 0 {
		m.t.Errorf("%s pulled %d of %d bytes", m.name, done, total)
	}
}

func TestNewcomersStartFromSeedsOfAStoppedMemberOfARunningOneAndOfACopy(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	a := c.members[0]
	ballast(t, a.kv(), 2<<20)
	a.stop()
	stopped, running, copied := here.newMember(t, "stopped"), here.newMember(t, "running"), here.newMember(t, "copied")
	before := digest(t, a.dir)
	facts := makeSeed(t, "export", stopped.dir, "--data-dir", a.dir)
	if after := digest(t, a.dir); after != before || facts.Bytes < 2<<20 {
		t.Errorf("exported %+v; the directory was\n%s\nand is\n%s", facts, before, after)
	}
	if err := os.CopyFS(copied.dir, os.DirFS(a.dir)); err != nil {
		t.Fatal(err)
	}
	makeSeed(t, "prepare", copied.dir)
	a.start()
	a.awaitServing()
	mustComplain(t, []string{"seed", "prepare", a.dir}, "in use by a running member")
	mustComplain(t, []string{"seed", "export", filepath.Join(t.TempDir(), "x"), "--data-dir", a.dir}, "in use by a running member")
	if _, err := a.kv().Put(t.Context(), "between", "v"); err != nil {
		t.Fatal(err)
	}
	now := makeSeed(t, "export", running.dir, "--endpoints", a.client)
	if now.Index <= facts.Index || now.Cluster != facts.Cluster {
		t.Errorf("exported %+v, then %+v", facts, now)
	}
	if _, err := a.kv().Put(t.Context(), "after", "v"); err != nil {
		t.Fatal(err)
	}
	copied.launch()
	copied.mustFail(patience, "is a seed for a newcomer: start it with --join")
	for _, m := range []*member{stopped, running} {
		m.mustComeInWithoutAPull(a)
		c.members = append(c.members, m)
	}
	c.awaitVoters(3, 3)
	copied.mustComeInWithoutAPull(a)
	c.members = append(c.members, copied)
	c.awaitVoters(4, 3)
	c.mustHoldTheSame("")
	ids := map[uint64]bool{}
	for _, m := range c.members {
		ids[m.id(a)] = true
	}
	if len(ids) != 4 {
		t.Errorf("the members have the ids %v", ids)
	}
	// A start again is that of any member.
	running.stop()
	running.start()
	running.awaitServing()
}

func TestSeedThatDoesNotFitTheClusterIsRefused(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	a := c.members[0]
	ballast(t, a.kv(), 256<<10)
	a.stop()
	// One to go on with, and one for the seed that is spoiled: a seed shares the files of
	// the store that it is made of.
	early, spoiled := filepath.Join(t.TempDir(), "early"), filepath.Join(t.TempDir(), "spoiled")
	for _, dir := range []string{early, spoiled} {
		if err := os.CopyFS(dir, os.DirFS(a.dir)); err != nil {
			t.Fatal(err)
		}
	}
	a.start()
	a.awaitServing()
	ballast(t, a.kv(), 256<<10)
	a.stop()
	ahead, rotten, foreign := here.newMember(t, "ahead"), here.newMember(t, "rotten"), here.newMember(t, "foreign")
	makeSeed(t, "export", ahead.dir, "--data-dir", a.dir)
	makeSeed(t, "export", rotten.dir, "--data-dir", spoiled)
	spoil(t, rotten.largest("seed/*.sst"), flip)
	other := oneMember(t).members[0]
	makeSeed(t, "export", foreign.dir, "--endpoints", other.client)
	mustComplain(t, []string{"seed", "export", foreign.dir, "--endpoints", other.client}, "is not empty")

	// The cluster goes on from an earlier copy of itself: what the seed has never
	// happened in it.
	removeAll(t, a.dir)
	if err := os.Rename(early, a.dir); err != nil {
		t.Fatal(err)
	}
	a.start()
	a.awaitServing()
	for m, words := range map[*member][]string{
		ahead:   {"the seed that the newcomer brings ends with entry", "not committed", "clear the newcomer's data directory"},
		rotten:  {"the seed in", "is damaged", "export it again"},
		foreign: {"the seed that the newcomer brings is of cluster"},
	} {
		m.launch(a.peer)
		m.mustFail(patience, words...)
	}
	c.mustBeWhole(soon)
}
