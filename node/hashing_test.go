package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"chainfire"
	"chainfire/internal/sched"
	"chainfire/machine"
	"chainfire/mvcc"
	"chainfire/object"
	"chainfire/raft"
)

// hashing is a member with a store and nothing else, which has applied these keys from
// index 2 on.
func hashing(t *testing.T, keys ...string) *Node {
	t.Helper()
	o := machine.Options{Dir: t.TempDir() + "/store"}
	conf := raft.ConfState{Voters: []uint64{1}}
	err := machine.Bootstrap(o, machine.Init{ClusterID: 1, Conf: conf, Index: firstIndex, Term: firstTerm, Members: []machine.MemberRecord{{ID: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := machine.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &Node{
		opts: Options{TickInterval: time.Millisecond, RequestTimeout: 20 * time.Millisecond}, log: slog.New(slog.DiscardHandler),
		sched: sched.Go{}, machine: m, hasher: newHasher(), stop: make(chan struct{}),
	}
	for _, k := range keys {
		n.applyPut(t, k)
	}
	return n
}

func (n *Node) applyPut(t *testing.T, key string) {
	t.Helper()
	index, term := n.machine.Applied()
	c := machine.Command{ID: machine.RequestID{Member: 1, Seq: index}, Put: &chainfire.PutRequest{Key: []byte(key), Value: []byte("v")}}
	if _, err := n.machine.Apply([]raft.Entry{{Index: index + 1, Term: term, Data: c.AppendTo(nil)}}); err != nil {
		t.Fatal(err)
	}
}

func mustHash(t *testing.T, n *Node, p point, anew bool) hashed {
	t.Helper()
	h, err := n.hashAt(t.Context(), p, anew)
	if err != nil || !h.ok {
		t.Fatalf("hash at %+v: %+v, %v", p, h, err)
	}
	return h
}

func TestHashOfARevisionIsTheSameWhateverWasAppliedSince(t *testing.T) {
	n, other := hashing(t, "a", "b"), hashing(t, "a", "b", "c")
	p := pointOf(n.machine.State())
	own, theirs := mustHash(t, n, p, false), mustHash(t, other, p, false)
	if own.sum != theirs.sum {
		t.Errorf("%x here, %x there", own.sum, theirs.sum)
	}
	if theirs.at.rev != p.rev+1 || theirs.at.index != p.index+1 {
		t.Errorf("it says that it is at %+v", theirs.at)
	}
	if x := mustHash(t, hashing(t, "a", "x"), p, false); x.sum == own.sum {
		t.Error("other keys have the same hash")
	}
}

// TestTheSumOfObjectsIsThatOfTheIndexAskedFor asks members of which one has applied more.
func TestTheSumOfObjectsIsThatOfTheIndexAskedFor(t *testing.T) {
	n, other := hashing(t), hashing(t)
	apply := func(n *Node, c *object.Change) {
		t.Helper()
		index, term := n.machine.Applied()
		cmd := machine.Command{Object: c}
		r, err := n.machine.Apply([]raft.Entry{{Index: index + 1, Term: term, Data: cmd.AppendTo(nil)}})
		if err != nil || r[0].Err != nil {
			t.Fatal(r, err)
		}
	}
	bucket := func(name string) *object.Change {
		return &object.Change{CreateBucket: &object.CreateBucket{Name: name}}
	}
	apply(n, bucket("one"))
	apply(other, bucket("one"))
	p := pointOf(n.machine.State())
	own := mustHash(t, n, p, false)
	if !own.objectsKnown || own.objects == 0 {
		t.Errorf("%+v", own)
	}
	apply(other, bucket("two"))
	if theirs := mustHash(t, other, p, false); theirs.objects != own.objects || !theirs.objectsKnown {
		t.Errorf("%x here, %+v there", own.objects, theirs)
	}
	if later := mustHash(t, other, pointOf(other.machine.State()), false); later.objects == own.objects {
		t.Error("one more bucket has the same sum")
	}
	if h := mustHash(t, n, point{index: firstIndex - 1, rev: p.rev, compacted: p.compacted}, false); h.objectsKnown {
		t.Errorf("before it began: %+v", h)
	}
}

func TestKeySpaceIsReadAgainOnlyWhereItMayHaveChanged(t *testing.T) {
	n := hashing(t, "a", "b")
	p := pointOf(n.machine.State())
	first := mustHash(t, n, p, false)
	for _, c := range []struct {
		what string
		do   func()
		anew bool
		read bool
	}{
		{"nothing was written", func() {}, false, false},
		{"it is asked for", func() {}, true, true},
		{"the state was replaced", n.hasher.replaced, false, true},
		{"a long time has passed", func() { n.hasher.when = n.hasher.when.Add(-hashKept) }, false, true},
		{"another key was written", func() { n.applyPut(t, "c"); p = pointOf(n.machine.State()) }, false, true},
	} {
		c.do()
		h := mustHash(t, n, p, c.anew)
		if read := h.cost > 0; read != c.read {
			t.Errorf("%s: it was read: %v", c.what, read)
		}
		if same := h.sum == first.sum; same != (p.rev == first.at.rev) {
			t.Errorf("%s: the hash is the same: %v", c.what, same)
		}
	}
}

func TestHashOfAReplacedStateIsNotKept(t *testing.T) {
	h := newHasher()
	changes := h.begin()
	h.replaced()
	h.done(mvcc.Hash{Sum: 7, Revision: 5}, changes, time.Unix(1, 0), time.Unix(2, 0), time.Second)
	if sum, ok := h.known(5, 0, time.Unix(2, 0)); ok {
		t.Errorf("it is %x", sum)
	}
	if at := h.restedAt(); at != time.Unix(2+costTimes, 0) {
		t.Errorf("the next begins at %v", at)
	}
}

func TestMemberThatIsNotAtThePointHasNoHash(t *testing.T) {
	n := hashing(t, "a", "b")
	at := pointOf(n.machine.State())
	for what, p := range map[string]point{
		"it lacks a revision":       {at.index, at.rev + 1, at.compacted},
		"another was compacted":     {at.index, at.rev, 2},
		"it has applied more as it": {at.index - 1, at.rev + 7, at.compacted},
	} {
		if h, err := n.hashAt(t.Context(), p, false); err != nil || h.ok || h.at != at {
			t.Errorf("%s: %+v, %v", what, h, err)
		}
	}
	if _, err := n.hashAt(t.Context(), point{at.index + 1, at.rev, at.compacted}, false); !errors.Is(err, errBehind) {
		t.Errorf("it has not applied that much: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.hashAt(ctx, at, false); err == nil {
		t.Error("nobody waits for it any more, and it was hashed")
	}
}

// TestWhoHashesLeavesMostOfTheTimeToOthers works in steps of 4 ms.
func TestWhoHashesLeavesMostOfTheTimeToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{sched: sched.Go{}, stop: make(chan struct{})}
		began := time.Now()
		g := &gait{n: n, ctx: t.Context(), since: began}
		const work = 1200 * time.Millisecond
		for range work / (4 * time.Millisecond) {
			time.Sleep(4 * time.Millisecond)
			if err := g.rest(); err != nil {
				t.Fatal(err)
			}
		}
		if g.worked != work || time.Since(began) != (1+restTimes)*work {
			t.Errorf("it worked for %v of %v", g.worked, time.Since(began))
		}
		close(n.stop)
		if err := g.rest(); !errors.Is(err, chainfire.ErrStopped) {
			t.Errorf("the member stops: %v", err)
		}
	})
}
