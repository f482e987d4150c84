package test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"chainfire/internal/witness"
)

var seenFlag = flag.Duration("seen", 0, "how long TestAllThatIsSeenFits breaks things; 0 is a few of them, and fewer with -short")

// seenRun is a cluster whose members die and are cut off, those who use it, and those
// who watch.
type seenRun struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	start   time.Time
	ways    *ways
	cluster *cluster
	// clients are of all members, or of one each.
	clients map[string]*clientv3.Client
	*record
	operations, unanswered, stale, events, sessions, marks, refusals int
	kills, cuts, freezes                                             int
}

// What may break in a round.
var seenKinds = []string{
	"the leader dies", "the leader is cut off", "a follower dies", "a way is cut", "the leader stands still", "a follower is cut off",
	"a member stops in good order", "two die", "all die", "a follower is cut off, and the leader dies",
}

// TestAllThatIsSeenFits kills, cuts off and stops the members of a cluster while
// clients read and write in every way, leases end, history is compacted, and watches of
// all kinds come and go. Package witness then holds everything that anyone saw to what
// one store could have shown. At length:
//
//	go test ./test -run 'TestAllThatIsSeenFits$' -v -seen=10m -timeout 0
func TestAllThatIsSeenFits(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; -seed %d chooses the same again", seed, seed)
	s := &seenRun{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 3)), start: time.Now(), ways: newWays(t),
		cluster: &cluster{t: t}, clients: map[string]*clientv3.Client{},
	}
	for _, name := range []string{"a", "b", "c"} {
		m := here.newMember(t, name, "--watch-progress-notify-interval", "300ms")
		s.ways.place(m)
		s.cluster.members = append(s.cluster.members, m)
	}
	s.cluster.grow()
	for _, m := range s.cluster.members {
		s.clients[m.name] = etcdClientOf(t, m.client)
	}
	all, err := newClient(s.cluster.endpoints()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = all.Close() }) // nothing is in flight on it
	s.clients[""] = all
	s.chapters()
	t.Logf("seed %d: %d operations, %d of them without an answer, %d serializable or of old revisions, %d acknowledged writes; %d events, %d marks in %d sessions of watches, %d refusals of compacted history; %d kills, %d cuts, %d freezes",
		seed, s.operations, s.unanswered, s.stale, s.acks.Load(), s.events, s.marks, s.sessions, s.refusals, s.kills, s.cuts, s.freezes)
}

// chapters lets one chapter follow on the other, each with a history of its own, so
// that nothing grows without bound.
func (s *seenRun) chapters() {
	s.t.Helper()
	s.record = &record{t: s.t, start: s.start, history: witness.History{Base: 1}}
	short := []string{seenKinds[0], seenKinds[1], seenKinds[2+s.rng.IntN(4)]}
	switch {
	case *seenFlag > 0:
		for n := 0; time.Since(s.start) < *seenFlag && !s.t.Failed(); n++ {
			s.chapter(n, 12)
			s.turnPage()
		}
	case testing.Short():
		s.chapter(0, len(short), short...)
	default:
		s.chapter(0, 5, append(short, seenKinds[6], seenKinds[9])...)
	}
}

// turnPage begins the next history where this one ended.
func (s *seenRun) turnPage() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	r, err := s.clients[""].Get(ctx, "\x00", clientv3.WithRange("\x00"))
	if err != nil {
		s.t.Fatal(err)
	}
	old := s.record
	s.record = &record{t: s.t, start: s.start, history: witness.History{
		Base: r.Header.Revision, Start: versionsOf(r.Kvs...), Ops: witness.Open(&old.history),
		Compactions: []witness.Compaction{{Revision: old.compacted.Load(), Acknowledged: true}},
	}}
	s.acks.Store(old.acks.Load())
	s.shown.Store(r.Header.Revision)
	s.compacted.Store(old.compacted.Load())
	lives := map[int64]bool{}
	for _, kv := range s.history.Start {
		lives[kv.Lease] = true
	}
	for _, o := range s.history.Ops {
		for _, step := range append(o.Then, o.Else...) {
			lives[step.Lease] = true
		}
	}
	for _, n := range old.history.Renewals {
		if lives[n.Lease] {
			s.history.Renewals = append(s.history.Renewals, n)
		}
	}
}

// chapter breaks one thing after the other while everyone is at work, and then holds
// all that was seen together.
func (s *seenRun) chapter(n, rounds int, kinds ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Duration(rounds)*time.Minute+3*patience)
	defer cancel()
	watching, watchers := make(chan error, 64), 0
	watch := func(run func(context.Context) error) {
		watchers++
		go func() { watching <- run(ctx) }()
	}
	s.openWatches(n, watch)
	asking, stop := context.WithCancel(ctx)
	defer stop()
	working, workers := make(chan struct{}, 64), 0
	work := func(run func(context.Context)) {
		workers++
		go func() { run(asking); working <- struct{}{} }()
	}
	s.openClients(n, work)
	for i := range rounds {
		kind := seenKinds[s.rng.IntN(len(seenKinds))]
		if len(kinds) > 0 {
			kind = kinds[i]
		}
		s.round(kind)
	}
	stop()
	for range workers {
		<-working
	}
	s.finish(ctx, n)
	for range watchers {
		if err := <-watching; err != nil {
			s.t.Error(err)
		}
	}
	s.judge(n)
}

// openWatches opens watches of all kinds at every member, and two of etcd's client.
func (s *seenRun) openWatches(n int, watch func(func(context.Context) error)) {
	next := s.history.Base + 1
	open := func(where string, w witness.Watch) *seenWatch {
		w.Name = fmt.Sprintf("watch %d", len(s.watches))
		o := &seenWatch{record: s.record, Watch: w, next: next, unmarked: next, first: next}
		s.watches = append(s.watches, o)
		return o
	}
	chance := func() *rand.Rand {
		return rand.New(rand.NewPCG(s.seed, uint64(n)<<32|uint64(len(s.watches))))
	}
	var runs []func(context.Context) error
	for i, m := range s.cluster.members {
		first := &rawStream{record: s.record, where: m.name, client: s.clients[m.name], rng: chance(), slow: i == 1, watches: []*seenWatch{
			open(m.name, witness.Watch{End: "\x00", PrevKV: true}), open(m.name, witness.Watch{Key: "a/", End: "a0", NoPut: true}),
			open(m.name, witness.Watch{Key: "b/0", PrevKV: true}),
		}}
		second := &rawStream{record: s.record, where: m.name, client: s.clients[m.name], rng: chance(), slow: i == 2, leader: true, watches: []*seenWatch{
			open(m.name, witness.Watch{Key: "a/", End: "b/2", NoDelete: true, PrevKV: true}), open(m.name, witness.Watch{Key: "b/", End: "\x00"}),
			open(m.name, witness.Watch{Key: "a/1"}), open(m.name, witness.Watch{Key: "c/0", End: "c/1", PrevKV: true}),
		}}
		fresh := &rawStream{record: s.record, where: m.name, client: s.clients[m.name], rng: chance(), watches: []*seenWatch{
			open(m.name, witness.Watch{End: "\x00", PrevKV: i == 0}),
		}}
		fresh.watches[0].fresh = true
		late := &rawStream{record: s.record, where: m.name, client: s.clients[m.name], rng: chance(), brief: true, watches: []*seenWatch{
			open(m.name, witness.Watch{End: "\x00", PrevKV: true}), open(m.name, witness.Watch{Key: "a/", End: "b/2", NoPut: true}),
		}}
		late.watches[0].late, late.watches[1].late = true, true
		runs = append(runs, first.run, second.run, fresh.run, late.run)
	}
	for i, w := range []witness.Watch{{End: "\x00"}, {Key: "a/", End: "a0", PrevKV: true}} {
		c := &clientWatch{seenWatch: open("", w), client: s.clients[""], rng: chance(), leader: i == 1}
		runs = append(runs, c.run)
	}
	for _, run := range runs {
		watch(run)
	}
}

// openClients lets clients of all members, and of one each, begin.
func (s *seenRun) openClients(n int, work func(func(context.Context))) {
	id := 0
	open := func(at string) *seenClient {
		id++
		return &seenClient{
			record: s.record, who: fmt.Sprintf("client %d.%d", n, id), client: s.clients[at], known: map[string]int64{},
			rng: rand.New(rand.NewPCG(s.seed, uint64(n)<<32|uint64(id)<<16)),
		}
	}
	for _, at := range []string{"", "", "", "a", "b", "c", "a", "b", "c"} {
		c := open(at)
		work(func(ctx context.Context) { c.run(ctx, 15*time.Millisecond) })
	}
	work(open("").leaseholder)
	work(open("").compactor)
}

// awaitAcks waits until so many more writes are acknowledged.
func (s *seenRun) awaitAcks(n int64) {
	s.t.Helper()
	from := s.acks.Load()
	await(s.t, fmt.Sprintf("%d more acknowledged writes", n), patience, func(context.Context) error {
		if have := s.acks.Load() - from; have < n {
			return fmt.Errorf("%d writes", have)
		}
		return nil
	})
}

// wait lets time pass; it is the random part of a round.
func (s *seenRun) wait(least, most time.Duration) {
	late := time.NewTimer(least + time.Duration(s.rng.Int64N(int64(most-least))))
	defer late.Stop()
	select {
	case <-late.C:
	case <-s.t.Context().Done():
	}
}

// round breaks something, and mends it.
func (s *seenRun) round(kind string) {
	s.t.Helper()
	s.awaitAcks(20 + s.rng.Int64N(60))
	leader := s.cluster.awaitLeader()
	var followers []*member
	for _, m := range s.cluster.members {
		if m != leader {
			followers = append(followers, m)
		}
	}
	s.rng.Shuffle(len(followers), func(i, j int) { followers[i], followers[j] = followers[j], followers[i] })
	began := time.Now()
	s.breakIt(kind, leader, followers)
	s.ways.mend()
	s.awaitAcks(20)
	for _, m := range s.cluster.members {
		m.awaitServing()
	}
	s.t.Logf("%s (leader %s): %v", kind, leader.name, time.Since(began).Round(time.Millisecond))
}

func (s *seenRun) breakIt(kind string, leader *member, followers []*member) {
	s.t.Helper()
	short, long := 50*time.Millisecond, time.Second
	switch kind {
	case "the leader dies":
		s.dies(true, leader)
	case "a member stops in good order":
		m := s.cluster.members[s.rng.IntN(3)]
		m.stop()
		s.awaitAcks(20)
		m.launch()
	case "a follower dies":
		s.dies(true, followers[0])
	case "two die":
		s.dies(false, leader, followers[0])
	case "all die":
		s.dies(false, leader, followers[0], followers[1])
	case "the leader is cut off":
		s.cuts++
		s.ways.isolate(leader)
		s.awaitAcks(30)
		s.wait(short, long)
	case "a follower is cut off":
		s.cuts++
		s.ways.isolate(followers[0])
		s.awaitAcks(30)
		s.wait(short, 2*long)
	case "a way is cut":
		s.cuts++
		ends := []*member{leader, followers[0]}
		s.rng.Shuffle(2, func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })
		s.ways.hold(ends[0], ends[1])
		s.awaitAcks(30)
		s.wait(short, 2*long)
	case "the leader stands still":
		s.freezes++
		if err := leader.proc.signal(syscall.SIGSTOP); err != nil {
			s.t.Fatal(err)
		}
		s.wait(long/2, 3*long)
		if err := leader.proc.signal(syscall.SIGCONT); err != nil {
			s.t.Fatal(err)
		}
	case "a follower is cut off, and the leader dies":
		s.cuts++
		s.ways.isolate(followers[0])
		s.awaitAcks(30)
		s.dies(false, leader)
	default:
		s.t.Fatalf("nobody knows how %q goes", kind)
	}
}

// dies kills members at once, and starts them again after a while.
func (s *seenRun) dies(majority bool, victims ...*member) {
	s.t.Helper()
	for _, m := range victims {
		s.kills++
		if err := m.proc.signal(syscall.SIGKILL); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, m := range victims {
		m.kill()
	}
	if majority {
		s.awaitAcks(30)
	}
	s.wait(20*time.Millisecond, 800*time.Millisecond)
	for _, m := range victims {
		m.launch()
	}
}

// finish reads everything at every member, and writes what all watches of a chapter wait
// for.
func (s *seenRun) finish(ctx context.Context, n int) {
	s.t.Helper()
	everything := witness.Step{End: "\x00"}
	for _, m := range s.cluster.members {
		c := &seenClient{
			record: s.record, who: fmt.Sprintf("the last of %s in chapter %d", m.name, n), client: s.clients[m.name], known: map[string]int64{}, rng: s.rng,
		}
		for _, ask := range []func() *witness.Op{
			func() *witness.Op { return &witness.Op{Then: []witness.Step{everything}} },
			func() *witness.Op { return &witness.Op{Then: []witness.Step{everything}, Serializable: true} },
			func() *witness.Op { return &witness.Op{Then: []witness.Step{everything}, At: s.shown.Load()} },
			func() *witness.Op {
				c.puts++ // one that got no answer may have happened: each has its own value
				return &witness.Op{Then: []witness.Step{{Kind: witness.Put, Key: "the end", Value: fmt.Sprintf("%s %d", c.who, c.puts)}}}
			},
		} {
			await(s.t, "an answer after everything was mended", patience, func(context.Context) error {
				o := ask()
				o.Who = c.who
				c.do(ctx, o)
				switch o.Outcome {
				case witness.Answered:
					return nil
				case witness.Ambiguous: // a machine with much to do took longer than a client waits
					return fmt.Errorf("none: %s", o)
				}
				return &hopeless{fmt.Errorf("it is refused: %s", o)}
			})
		}
	}
	s.goal.Store(s.shown.Load())
}

// maxSearch is how long porcupine may search in one chapter.
const maxSearch = time.Minute

// judge holds everything together.
func (s *seenRun) judge(n int) {
	s.t.Helper()
	h := &s.history
	for _, w := range s.watches {
		h.Watches = append(append(h.Watches, w.past...), w.Watch)
	}
	s.count(h)
	began := time.Now()
	wrong := witness.Check(h)
	for _, v := range wrong[:min(len(wrong), 3*maxProblems)] {
		s.t.Errorf("chapter %d: %v", n, v)
	}
	checked := time.Since(began)
	if len(wrong) == 0 {
		drawing := filepath.Join(s.t.ArtifactDir(), fmt.Sprintf("history-%d.html", n))
		if err := witness.Linearizable(h, drawing, maxSearch); err != nil {
			s.t.Errorf("chapter %d: %v", n, err)
		}
	}
	if s.t.Failed() {
		s.keep(n)
	}
	s.t.Logf("chapter %d: revisions %d to %d, %d operations, %d watches; checked in %v, ordered in %v", n, h.Base, s.goal.Load(), len(h.Ops),
		len(h.Watches), checked.Round(time.Millisecond), (time.Since(began) - checked).Round(time.Millisecond))
}

// keep writes down a history that does not fit.
func (s *seenRun) keep(n int) {
	s.t.Helper()
	b, err := json.Marshal(&s.history)
	file := filepath.Join(s.t.ArtifactDir(), fmt.Sprintf("history-%d.json", n))
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("chapter %d is kept in %s, with -artifacts; go test ./internal/witness -run WasKept -kept=FILE checks it once more", n, file)
}

// count sums up what a history is made of.
func (s *seenRun) count(h *witness.History) {
	for i := range h.Ops {
		o := &h.Ops[i]
		s.operations++
		switch {
		case o.Outcome == witness.Ambiguous:
			s.unanswered++
		case o.Outcome == witness.Compacted:
			s.refusals++
		case o.Serializable || o.At != 0:
			s.stale++
		}
	}
	for _, w := range h.Watches {
		for _, session := range w.Sessions {
			s.sessions++
			for _, a := range session.Answers {
				s.events += len(a.Events)
				if a.Progress {
					s.marks++
				}
				if a.CompactRevision > 0 {
					s.refusals++
				}
			}
		}
	}
}

// TestWaysKnowWhoComes cuts a leader off: what it sends to the others comes in where they
// hear each other too, and it alone is held back.
func TestWaysKnowWhoComes(t *testing.T) {
	t.Parallel()
	w := newWays(t)
	c := &cluster{t: t}
	for _, name := range []string{"a", "b", "c"} {
		m := here.newMember(t, name)
		w.place(m)
		c.members = append(c.members, m)
	}
	c.grow()
	leader := c.awaitLeader()
	w.isolate(leader)
	rest := &cluster{t: t}
	for _, m := range c.members {
		if m != leader {
			rest.members = append(rest.members, m)
		}
	}
	put(t, rest.awaitLeader(), "k", "of the others")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := leader.kv().Put(ctx, "k", "v"); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("a put at %s, which is cut off: %v", leader.name, err)
	}
	w.mend()
	c.awaitVoters(3, 3)
	leader.awaitServing()
}
