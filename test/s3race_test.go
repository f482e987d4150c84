package test

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	s3RoundsFlag = flag.Int("s3-rounds", 0, "rounds of TestS3ConditionalWritesHaveOneWinner; 0 is 40, or 10 with -short")
	s3KillsFlag  = flag.Int("s3-kill-every", 8, "kill members in one of so many rounds, by chance")
)

const (
	s3Writers = 64
	// raceTime is when a writer takes its request for lost.
	raceTime = 10 * time.Second
)

// s3Race is writers that race to write one object, round after round, while members are
// killed: in even rounds it does not exist yet, in odd rounds all of them have seen the
// same ETag of it.
type s3Race struct {
	t      *testing.T
	s      *s3Service
	client *leanS3
	rng    *rand.Rand
	// Of all rounds: requests that were answered, and that were not; rounds in which the
	// winner was not told so, and members that were killed.
	answered, lost atomic.Int64
	untold, killed int
}

// observation is what one request saw of the object: who had written it, "" for nobody in
// this round.
type observation struct {
	from, to time.Time
	seen     string
	what     string
}

// raceRound is one round: what was seen, by whom.
type raceRound struct {
	*s3Race
	key string
	// before is the content that the writers replace, "" if there is no object.
	before string
	mu     sync.Mutex
	seen   []observation
	won    []string
	lost   map[string]bool
	ops    chan struct{}
}

// TestS3ConditionalWritesHaveOneWinner lets 64 writers put the same object under a
// condition that holds for one of them, at all members, which are killed meanwhile. One of
// them wins; whoever was told so has; and from the first moment that anybody has seen the
// winner's bytes, nobody sees anything else, in the object or in a listing. For 10,000
// rounds:
//
//	go test ./test -run TestS3ConditionalWritesHaveOneWinner -v -s3 -s3-rounds 10000 -timeout 0
func TestS3ConditionalWritesHaveOneWinner(t *testing.T) {
	t.Parallel()
	rounds, seed := *s3RoundsFlag, cmp.Or(*seedFlag, rand.Uint64())
	switch {
	case rounds == 0 && testing.Short():
		rounds = 10
	case rounds == 0:
		rounds = 40
	}
	t.Logf("seed %d, %d rounds", seed, rounds)
	r := &s3Race{t: t, s: newS3(t), client: newLeanS3(), rng: rand.New(rand.NewPCG(seed, 0))}
	if _, err := r.client.must(t.Context(), r.s.endpoints[0], http.MethodPut, "/race"); err != nil {
		t.Fatal(err)
	}
	before := ""
	for n := range rounds {
		if n%2 == 0 {
			before = ""
		}
		before = r.round(n, before)
		if n%500 == 499 {
			t.Logf("%d rounds, %d members killed", n+1, r.killed)
		}
	}
	t.Logf("%d rounds of %d writers: %d requests answered, %d without an answer; %d members killed; %d winners were not told",
		rounds, s3Writers, r.answered.Load(), r.lost.Load(), r.killed, r.untold)
}

// round is one round, and returns who won.
func (r *s3Race) round(n int, before string) string {
	r.t.Helper()
	one := &raceRound{
		s3Race: r, key: fmt.Sprintf("%06d", n/2), before: before, lost: map[string]bool{},
		ops: make(chan struct{}, 3*s3Writers),
	}
	killed := r.victims()
	after := r.rng.IntN(s3Writers) + 1
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range s3Writers {
		wg.Go(func() {
			<-start
			one.write(fmt.Sprintf("round %d writer %d", n, i), r.s.endpoint(i))
			one.look(r.s.endpoint(i + 1))
			one.ops <- struct{}{}
		})
	}
	close(start)
	if len(killed) > 0 {
		for range after {
			<-one.ops
		}
		for _, m := range killed {
			m.kill()
		}
		if len(killed) > 1 {
			launch(killed) // nobody is answered until then
		}
	}
	wg.Wait()
	if len(killed) == 1 {
		launch(killed)
	}
	r.killed += len(killed)
	return one.settle()
}

func launch(members []*member) {
	for _, m := range members {
		m.launch()
	}
}

// victims chooses who dies in a round: mostly nobody, or one; sometimes two.
func (r *s3Race) victims() []*member {
	if r.s.cluster == nil || r.rng.IntN(*s3KillsFlag) > 0 {
		return nil
	}
	all := slices.Clone(r.s.cluster.members)
	r.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if r.rng.IntN(5) == 0 {
		return all[:2]
	}
	return all[:1]
}

// write is one writer's request.
func (r *raceRound) write(who, endpoint string) {
	ctx, cancel := context.WithTimeout(r.t.Context(), raceTime)
	defer cancel()
	condition := []string{"If-None-Match", "*"}
	if r.before != "" {
		sum := md5.Sum([]byte(r.before))
		condition = []string{"If-Match", `"` + hex.EncodeToString(sum[:]) + `"`}
	}
	from := time.Now()
	a, err := r.client.do(ctx, endpoint, http.MethodPut, "/race/"+r.key, []byte(who), condition...)
	switch {
	case err != nil || a.status >= 500 || a.status == http.StatusConflict:
		// It may have been carried out.
		r.s3Race.lost.Add(1)
	case a.status == http.StatusOK:
		r.answered.Add(1)
		r.saw(observation{from, time.Now(), who, "its writer, who won"})
		r.mu.Lock()
		r.won = append(r.won, who)
		r.mu.Unlock()
	case a.status == http.StatusPreconditionFailed:
		r.answered.Add(1)
		r.mu.Lock()
		r.lost[who] = true
		r.mu.Unlock()
		r.saw(observation{from, time.Now(), "*", "a writer who lost"})
	default:
		r.t.Errorf("%s at %s: %s", who, endpoint, a.refusal())
	}
}

func (r *raceRound) saw(o observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, o)
}

// look reads the object and the listing at a member; what is not answered is nothing seen.
func (r *raceRound) look(endpoint string) {
	ctx, cancel := context.WithTimeout(r.t.Context(), raceTime)
	defer cancel()
	from := time.Now()
	a, err := r.client.do(ctx, endpoint, http.MethodGet, "/race/"+r.key, nil)
	switch {
	case err != nil || a.status >= 500:
		r.s3Race.lost.Add(1)
		return
	case a.status == http.StatusOK:
		r.saw(observation{from, time.Now(), r.winner(string(a.body)), "a reader at " + endpoint})
	case a.status == http.StatusNotFound && r.before == "":
		r.saw(observation{from, time.Now(), "", "a reader at " + endpoint})
	default:
		r.t.Errorf("GET %s at %s: %s", r.key, endpoint, a.refusal())
	}
	r.answered.Add(1)
	from = time.Now()
	a, err = r.client.do(ctx, endpoint, http.MethodGet, "/race?list-type=2&prefix="+r.key, nil)
	if err != nil || a.status >= 500 {
		r.s3Race.lost.Add(1)
		return
	}
	r.answered.Add(1)
	var p s3Page
	if err := errors.Join(a.ok(), xml.Unmarshal(a.body, &p)); err != nil {
		r.t.Errorf("listing at %s: %v", endpoint, err)
	}
	seen := ""
	if len(p.Contents) == 1 && (r.before == "" || p.Contents[0].ETag != quotedMD5(r.before)) {
		seen = p.Contents[0].ETag
	}
	r.saw(observation{from, time.Now(), seen, "a listing at " + endpoint})
}

// winner is who wrote some content: "" if that was in the round before.
func (r *raceRound) winner(content string) string {
	if content == r.before {
		return ""
	}
	return content
}

func quotedMD5(content string) string {
	sum := md5.Sum([]byte(content))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// settle finds out who has won, lets somebody win if nobody has, and holds all that was
// seen against it.
func (r *raceRound) settle() string {
	t := r.t
	t.Helper()
	content := ""
	for tries := 0; content == ""; tries++ {
		content = r.everywhere()
		if content != "" {
			break
		}
		if len(r.won) > 0 {
			t.Fatalf("%s was told that it won, and %s is not there", r.won[0], r.key)
		}
		r.write(fmt.Sprintf("late writer %d of %s", tries, r.key), r.s.endpoint(tries))
	}
	switch {
	case len(r.won) > 1 || len(r.won) == 1 && r.won[0] != content:
		t.Fatalf("%s: told that they won were %q; it has been written by %q", r.key, r.won, content)
	case r.lost[content]:
		t.Fatalf("%s: %q was told that it lost, and has written it", r.key, content)
	case len(r.won) == 0:
		r.untold++
	}
	// From the first answer that had seen the winner on, every question must see it too.
	var first observation
	for _, o := range r.seen {
		if o.seen != "" && (first.seen == "" || o.to.Before(first.to)) {
			first = o
		}
	}
	for _, o := range r.seen {
		known := o.seen == "" || o.seen == "*" || o.seen == content || o.seen == quotedMD5(content)
		if !known {
			t.Fatalf("%s: %s saw %q, and it was written by %q", r.key, o.what, o.seen, content)
		}
		if o.seen == "" && first.seen != "" && o.from.After(first.to) {
			t.Fatalf("%s: %s saw nothing of %q, %v after %s had seen it", r.key, o.what, content, o.from.Sub(first.to), first.what)
		}
	}
	return content
}

// everywhere is the content of the object, the same at every member, once all of them
// answer; "" if nobody has written it in this round.
func (r *raceRound) everywhere() string {
	r.t.Helper()
	var contents []string
	for _, e := range r.s.endpoints {
		await(r.t, "an answer of "+e, patience, func(ctx context.Context) error {
			a, err := r.client.do(ctx, e, http.MethodGet, "/race/"+r.key, nil)
			if err == nil && a.status != http.StatusNotFound {
				err = a.ok()
			}
			if err != nil {
				return err
			}
			if a.status == http.StatusNotFound {
				a.body = []byte(r.before)
			}
			contents = append(contents, r.winner(string(a.body)))
			return nil
		})
	}
	if slices.ContainsFunc(contents, func(c string) bool { return c != contents[0] }) {
		r.t.Fatalf("%s differs between members, one asked after the other: %s", r.key, strings.Join(contents, " | "))
	}
	return contents[0]
}
