package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// offline runs a command of the binary that speaks to no member. It returns what
// was printed, and what was complained about as the error.
func offline(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, here.binary, args...)
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("exit code %d: %s", failed.ExitCode(), failed.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// mustComplain runs a command that must fail, with every one of the words.
func mustComplain(t *testing.T, args []string, words ...string) {
	t.Helper()
	out, err := offline(t, args...)
	if err == nil {
		t.Fatalf("%v succeeded and printed %s", args, out)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v does not say %q; it says\n%v", args, w, err)
		}
	}
}

// decode reads the JSON that a command printed.
func decode[V any](t *testing.T, out string, err error) (v V) {
	t.Helper()
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	if err != nil {
		t.Fatalf("%v; printed %s", err, out)
	}
	return v
}

// survivor is what recover --show prints of a directory.
type survivor struct {
	Dir      string `json:"data_dir"`
	Cluster  string `json:"cluster_id"`
	Member   string `json:"member_id"`
	Name     string `json:"name"`
	Role     string `json:"role"`
	Last     uint64 `json:"last_index"`
	LastTerm uint64 `json:"last_term"`
	Applied  uint64 `json:"applied"`
	Revision int64  `json:"revision"`
}

type shown struct {
	Survivors []survivor `json:"survivors"`
	Newest    string     `json:"newest"`
	Even      []string   `json:"even"`
}

func show(t *testing.T, dirs ...string) shown {
	t.Helper()
	out, err := offline(t, "recover", "--show", "-w", "json", "--data-dir", strings.Join(dirs, ","))
	return decode[shown](t, out, err)
}

// recovered is what recover prints.
type recovered struct {
	Cluster     string `json:"cluster_id"`
	Member      string `json:"member_id"`
	OldCluster  string `json:"old_cluster_id"`
	OldRevision int64  `json:"old_revision"`
	Revision    int64  `json:"revision"`
	TokenFile   string `json:"token_file"`
	Kept        string `json:"kept"`
}

// recover makes a new cluster of a member that is stopped, and lets newcomers of
// the lab find its token.
func (m *member) recover(args ...string) recovered {
	m.t.Helper()
	cluster := show(m.t, m.dir).Survivors[0].Cluster
	out, err := offline(m.t, append([]string{"recover", "--data-dir", m.dir, "--confirm", cluster, "-w", "json"}, args...)...)
	r := decode[recovered](m.t, out, err)
	if r.OldCluster != cluster || r.Cluster == cluster || r.Revision <= r.OldRevision {
		m.t.Errorf("recovered %+v", r)
	}
	m.lab.founders.Store(m.peer, m.dir)
	return r
}

// writer puts keys of its own, told apart by its marks, each once, until it is ended, and knows which were
// acknowledged.
type writer struct {
	stop context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	keys []string
	last int64
}

func startWriter(t *testing.T, endpoints []string, marks ...string) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{stop: cancel}
	for i := range 4 {
		c, err := newClient(endpoints...)
		if err != nil {
			t.Fatal(err)
		}
		w.wg.Go(func() {
			defer func() { _ = c.Close() }() // nothing is in flight on it
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("w/%s%d/%06d", strings.Join(marks, ""), i, n)
				try, done := context.WithTimeout(ctx, 2*time.Second)
				r, err := c.Put(try, key, "v")
				done()
				if err == nil {
					w.mu.Lock()
					w.keys, w.last = append(w.keys, key), max(w.last, r.Header.GetRevision())
					w.mu.Unlock()
				}
			}
		})
	}
	t.Cleanup(w.end)
	return w
}

func (w *writer) end() { w.stop(); w.wg.Wait() }

// await waits until so many more writes were acknowledged.
func (w *writer) await(t *testing.T, more int) {
	t.Helper()
	count := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.keys) }
	from := count()
	await(t, "acknowledged writes", patience, func(context.Context) error {
		if have := count() - from; have < more {
			return fmt.Errorf("%d of %d", have, more)
		}
		return nil
	})
}

// mustBeAt checks that a member serves every key that was acknowledged.
func (w *writer) mustBeAt(t *testing.T, m *member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := m.kv().Get(ctx, "w/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, kv := range r.Kvs {
		have[string(kv.GetKey())] = true
	}
	lost := 0
	for _, k := range w.keys {
		if !have[k] {
			if lost++; lost <= maxProblems {
				t.Errorf("LOST: %s", k)
			}
		}
	}
	t.Logf("%s serves %d keys, of which %d were acknowledged", m.name, len(have), len(w.keys))
}

// mustBeTold checks what a watch is told that goes on from a revision which the new
// cluster does not know.
func (m *member) mustBeTold(from, compacted int64) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), soon)
	defer cancel()
	r, open := <-m.kv().Watch(ctx, "w/", clientv3.WithPrefix(), clientv3.WithRev(from))
	if err := r.Err(); !open || !errors.Is(err, rpctypes.ErrCompacted) || r.CompactRevision != compacted {
		m.t.Errorf("a watch from revision %d: %v (%v), compacted at %d, want %d", from, err, open, r.CompactRevision, compacted)
	}
}

func TestSurvivorOfALostMajorityIsRecoveredAndGrowsAgain(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	w := startWriter(t, c.endpoints())
	w.await(t, 100)
	follow := c.followers()
	lost, last := follow[0], c.members[0]
	if lost == last {
		last = follow[1]
	}
	// From here on every acknowledgement is the survivor's, too.
	lost.kill()
	w.await(t, 100)
	var s *member
	for _, m := range c.running() {
		if m != last {
			s = m
		}
	}
	mustComplain(t, []string{"recover", "--data-dir", s.dir, "--show"}, "in use by a running member")
	mustComplain(t, []string{"recover", "--data-dir", s.dir, "--confirm", "1"}, "in use by a running member")
	last.kill()
	w.end()
	removeAll(t, lost.dir)
	removeAll(t, last.dir)
	s.kill()
	before := digest(t, s.dir)
	held := show(t, s.dir).Survivors[0]
	mustComplain(t, []string{"recover", "--data-dir", s.dir}, "nobody is there to be asked", "--confirm")
	mustComplain(t, []string{"recover", "--data-dir", s.dir, "--confirm", "1234"}, "is of cluster "+held.Cluster)
	if held.Role != "voter" || held.Name != s.name || held.Revision > w.last {
		t.Errorf("the survivor holds %+v, and revision %d was acknowledged", held, w.last)
	}
	if after := digest(t, s.dir); after != before {
		t.Errorf("looking changed the directory from\n%s\nto\n%s", before, after)
	}

	r := s.recover()
	again, err := offline(t, "recover", "--data-dir", s.dir, "--confirm", held.Cluster, "-w", "json")
	if same := decode[recovered](t, again, err); same.Cluster != r.Cluster || same.Member != r.Member {
		t.Errorf("recovered once more: %+v, was %+v", same, r)
	}
	s.start()
	s.awaitServing()
	w.mustBeAt(t, s)
	s.mustBeTold(w.last+1, r.Revision)
	s.mustBeTold(w.last+1_000_000, r.Revision)
	watch := s.kv().Watch(t.Context(), "after", clientv3.WithRev(r.Revision+1))
	put, err := s.kv().Put(t.Context(), "after", "v")
	if err != nil || put.Header.GetRevision() != r.Revision+1 || put.Header.GetRevision() <= w.last {
		t.Fatalf("the first write: %v, %v, after revision %d", put, err, r.Revision)
	}
	if e := <-watch; e.Err() != nil || len(e.Events) != 1 || e.Events[0].Kv.GetModRevision() != r.Revision+1 {
		t.Errorf("a watch from the new revision: %+v", e)
	}

	grown := &cluster{t: t, members: []*member{s}}
	for _, name := range []string{"d", "e"} {
		m := here.newMember(t, name)
		m.launch(s.peer)
		grown.members = append(grown.members, m)
	}
	grown.awaitVoters(3, 3)
	for _, m := range grown.members {
		m.awaitServing()
		w.mustBeAt(t, m)
	}
	grown.mustHoldTheSame("")
	old, err := offline(t, "recover", "--show", "--data-dir", r.Kept)
	if err != nil || !strings.Contains(old, held.Cluster) {
		t.Errorf("what the directory was is not kept whole: %s, %v", old, err)
	}
	if _, err := os.Stat(filepath.Join(r.Kept, "member.json")); err != nil {
		t.Errorf("what the directory was is not kept: %v", err)
	}
}

// TestOldMajorityThatComesBackStaysApart starts the members again that were taken
// for lost, on their addresses, beside the recovered one: where certificates keep
// them apart, and where only the cluster's id does.
func TestOldMajorityThatComesBackStaysApart(t *testing.T) {
	t.Parallel()
	for name, scheme := range map[string]string{"tls": "", "plain": "http://"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := grow(t, scheme)
			a, b, s := c.members[0], c.members[1], c.members[2]
			if _, err := a.kv().Put(t.Context(), "both", "v"); err != nil {
				t.Fatal(err)
			}
			for _, m := range c.members {
				m.kill()
			}
			mustFindTheNewest(t, show(t, a.dir, b.dir, s.dir))
			s.recover()
			for _, m := range c.members {
				m.launch()
			}
			mustStayApart(t, a, b, s)

			// The old token is void, and the old directory stays what it is.
			if scheme == "" {
				n := here.newMember(t, "n")
				n.launchWith(here.token(t, n.peer, a.peer), s.peer)
				n.mustFail(patience, "the join token is for another cluster")
			}
			b.stop()
			b.launch(strings.TrimPrefix(s.peer, scheme))
			b.awaitServing()
			mustBeAlone(t, s)
			met := map[string]string{"": "not a certificate of a member of this cluster", "http://": "this member belongs to cluster"}[scheme]
			// It dials again and again, ever more seldom.
			a.await("a word of the old member that it met a stranger", patience, func(context.Context) error {
				if a.log(met) == 0 {
					return fmt.Errorf("the log of it:\n%s", tail(a.stderr, 20))
				}
				return nil
			})
		})
	}
}

// grow makes a cluster of three voters that speak as the scheme says.
func grow(t *testing.T, scheme string) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for _, name := range []string{"a", "b", "c"} {
		m := here.newMember(t, name)
		m.peer = scheme + m.peer
		c.members = append(c.members, m)
	}
	a := c.members[0]
	a.start()
	a.awaitServing()
	for _, m := range c.members[1:] {
		m.launch(strings.TrimPrefix(a.peer, scheme))
		here.founders.Store(m.peer, a.dir)
	}
	c.awaitVoters(3, 3)
	for _, m := range c.members[1:] {
		m.awaitStep("voter")
	}
	return c
}

// mustFindTheNewest checks what recover says of several directories.
func mustFindTheNewest(t *testing.T, all shown) {
	t.Helper()
	var newest survivor
	for _, x := range all.Survivors {
		if x.Role != "voter" {
			t.Errorf("%+v is no voter", x)
		}
		if x.LastTerm > newest.LastTerm || x.LastTerm == newest.LastTerm && x.Last > newest.Last {
			newest = x
		}
	}
	if len(all.Survivors) != 3 || all.Newest != newest.Dir {
		t.Errorf("compared: %+v", all)
	}
}

// mustStayApart checks that two members of the old cluster and the recovered one
// have nothing to do with each other.
func mustStayApart(t *testing.T, a, b, s *member) {
	t.Helper()
	old := &cluster{t: t, members: []*member{a, b}}
	for _, m := range []*member{a, b, s} {
		m.awaitServing()
	}
	for _, m := range []*member{a, s} {
		if _, err := m.kv().Put(t.Context(), "of", m.name); err != nil {
			t.Fatal(err)
		}
	}
	old.awaitLeader()
	a.await("silence of the recovered member", patience, func(ctx context.Context) error {
		st, err := a.status(ctx)
		if err != nil || len(st.Members) != 3 {
			return fmt.Errorf("%+v, %w", st, err)
		}
		for _, i := range st.Members {
			if i.Name == s.name && i.Active {
				return errors.New("the old cluster counts it as active")
			}
		}
		return nil
	})
	mustBeAlone(t, s)
	for m, want := range map[*member]string{a: "a", b: "a", s: s.name} {
		r, err := m.kv().Get(t.Context(), "of")
		if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != want {
			t.Errorf("%s reads %v, %v; want %s", m.name, r, err, want)
		}
	}
}

// mustBeAlone checks that a member is the whole of its cluster.
func mustBeAlone(t *testing.T, m *member) {
	t.Helper()
	st, err := m.status(t.Context())
	if err != nil || len(st.Members) != 1 || !st.Healthy || st.Members[0].Name != m.name {
		t.Fatalf("%s: %+v, %v", m.name, st, err)
	}
}

// log counts the lines of a member's log that hold a text.
func (m *member) log(text string) int { return strings.Count(m.proc.log(), text) }
