package test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"chainfire"
	"chainfire/api"
	"chainfire/machine"
	"chainfire/pki"
)

// mustBeWhole waits until a cluster counts its real members and nobody else,
// neither in etcd's list nor among the reservations, and checks that it serves.
func (c *cluster) mustBeWhole(within time.Duration) {
	c.t.Helper()
	n := len(c.running())
	asked := c.running()[0]
	asked.await("only the real members", within, func(ctx context.Context) error {
		s, err := asked.status(ctx)
		if err != nil {
			return err
		}
		r, err := asked.kv().MemberList(ctx)
		if err != nil {
			return err
		}
		if len(r.Members) != n {
			return fmt.Errorf("the list has %v", r.Members)
		}
		return exactly(s, n, n)
	})
	ctx, cancel := context.WithTimeout(c.t.Context(), callTime)
	defer cancel()
	if _, err := asked.kv().Put(ctx, "still", "serving"); err != nil {
		c.t.Errorf("after the failed join: %v", err)
	}
}

// oneMember is a cluster of one.
func oneMember(t *testing.T, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, members: []*member{here.newMember(t, "a", args...)}}
	c.members[0].start()
	c.members[0].awaitServing()
	return c
}

func TestJoinThatCannotBeCalledBackIsRefused(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	closed := here.port(t)
	b := here.newMember(t, "b", "--advertise-peer", closed)
	b.launch(c.members[0].peer)
	b.mustFail(patience, "the leader (member 1) called the newcomer back at https://"+closed, "got no answer", "connection refused", "--advertise-peer")
	c.mustBeWhole(soon)
}

func TestJoinThatAdvertisesAnotherProcessIsRefused(t *testing.T) {
	t.Parallel()
	c, other := oneMember(t), oneMember(t)
	b := here.newMember(t, "b", "--advertise-peer", other.members[0].peer)
	b.launch(c.members[0].peer)
	b.mustFail(patience, "called the newcomer back at https://"+other.members[0].peer, "found another process there")
	c.mustBeWhole(soon)
	other.mustBeWhole(soon)
}

func TestJoinWithAUsedAddressIsRefused(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	used := c.members[0].peer
	b := here.newMember(t, "b", "--advertise-peer", used)
	b.launch(used)
	b.mustFail(patience, "the peer URL https://"+used+" is that of member 1 (a, voter)", "remove that member first")
	c.mustBeWhole(soon)
}

func TestJoinWithAUsedNameIsRefused(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	b := here.newMember(t, "a")
	b.launch(c.members[0].peer)
	b.mustFail(patience, `the name "a" is that of member 1`, "choose another --name", "--replace a")
	c.mustBeWhole(soon)
}

func TestJoinAtAClientPortIsRefused(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	b := here.newMember(t, "b")
	b.launch(c.members[0].client)
	b.mustFail(patience, c.members[0].client, "does not speak TLS: it is a client port")
	c.mustBeWhole(soon)
}

// TestJoinOfAnotherClusterIsRefused takes a directory whose join was cut short
// after its seed was in place, and so belongs to a cluster, to another cluster.
func TestJoinOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	b := here.newMember(t, "b")
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"incarnation":77,"cluster_id":51966,"member_id":9,"seed_index":9,"seed_term":2,"targets":["127.0.0.1:1"]}`)
	sealed, err := json.Marshal(map[string]any{
		"body": json.RawMessage(body), "crc32c": crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "joining.json"), sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	b.launch(c.members[0].peer)
	b.mustFail(patience, "this is cluster ", "not cluster cafe", "check the address given to --join")
	c.mustBeWhole(soon)
}

// awaitSeeding waits until the newcomer has a part of its seed, and not all.
func (m *member) awaitSeeding(least int64) {
	m.t.Helper()
	m.await("a part of the seed", patience, func(context.Context) error {
		done, total := m.proc.seeding()
		switch {
		case total > 0 && done == total:
			return &hopeless{errors.New("the seed is complete already; it was to be caught in the middle")}
		case done < least:
			return fmt.Errorf("%d of %d bytes", done, total)
		}
		return nil
	})
}

// phaseOf is where a member stands, by name.
func phaseOf(s *chainfire.ClusterStatus, name string) chainfire.MemberPhase {
	for _, m := range s.Members {
		if m.Name == name {
			return m.Phase
		}
	}
	return ""
}

// A seed that takes a few seconds, and reservations that do not last.
const seedSize = 4 << 20

func slowSeed() []string { return []string{"--seed-rate", "1MiB", "--reserve-ttl", "3s"} }

func TestNewcomerThatDiesInItsSeedLeavesNothingAndCanJoinAgain(t *testing.T) {
	for name, wipe := range shortened(map[string]bool{"with its directory": false, "with an empty directory": true}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := oneMember(t, slowSeed()...)
			a := c.members[0]
			ballast(t, a.kv(), seedSize)
			b := here.newMember(t, "b", slowSeed()...)
			b.launch(a.peer)
			b.awaitSeeding(512 << 10)
			a.await("the newcomer among the members", soon, func(ctx context.Context) error {
				s, err := a.status(ctx)
				if err == nil && phaseOf(s, "b") != chainfire.PhaseSeeding {
					err = fmt.Errorf("the newcomer is %q", phaseOf(s, "b"))
				}
				return err
			})
			b.kill()
			c.mustBeWhole(3*time.Second + soon)
			if wipe {
				if err := os.RemoveAll(b.dir); err != nil {
					t.Fatal(err)
				}
			}
			b.start(a.peer)
			c.members = append(c.members, b)
			c.awaitVoters(2, 1)
			c.mustHoldTheSame("ballast/")
		})
	}
}

// TestNewcomerThatComesBackInTimeGoesOn restarts it before its place is given up.
func TestNewcomerThatComesBackInTimeGoesOn(t *testing.T) {
	t.Parallel()
	c := oneMember(t, "--seed-rate", "1MiB")
	a := c.members[0]
	ballast(t, a.kv(), seedSize)
	b := here.newMember(t, "b")
	b.launch(a.peer)
	b.awaitSeeding(512 << 10)
	b.kill()
	b.start(a.peer)
	c.members = append(c.members, b)
	c.awaitVoters(2, 1)
	c.mustHoldTheSame("ballast/")
}

// TestSeedSurvivesTheDeathOf kills the follower that seeds a newcomer,
// and in another cluster the leader: the newcomer goes on with another member.
func TestSeedSurvivesTheDeathOf(t *testing.T) {
	for name, victim := range shortened(map[string]func(*cluster, *member) *member{
		"its source": func(c *cluster, b *member) *member { return c.sourceOf(b) },
		"the leader": func(c *cluster, _ *member) *member { return c.awaitLeader() },
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := here.newCluster(t, "--seed-rate", "1MiB")
			ballast(t, c.awaitLeader().kv(), seedSize)
			l := startLoad(t, loadOptions{endpoints: c.endpoints(), pace: 20 * time.Millisecond})
			d := here.newMember(t, "d")
			d.launch(c.members[0].peer, c.members[1].peer, c.members[2].peer)
			d.awaitSeeding(512 << 10)
			dead := victim(c, d)
			dead.kill()
			l.awaitWrites(50)
			d.awaitReady()
			dead.start()
			c.members = append(c.members, d)
			c.awaitVoters(4, 3)
			c.mustHoldTheSame("ballast/")
			l.verify(c.members[:3])
		})
	}
}

func TestSeedSurvivesARestartOfItsOnlySource(t *testing.T) {
	t.Parallel()
	c := oneMember(t, "--seed-rate", "1MiB")
	a := c.members[0]
	ballast(t, a.kv(), seedSize/2)
	b := here.newMember(t, "b")
	b.launch(a.peer)
	b.awaitSeeding(512 << 10)
	a.kill()
	a.start()
	b.awaitReady()
	c.members = append(c.members, b)
	c.awaitVoters(2, 1)
	c.mustHoldTheSame("ballast/")
}

// sourceOf is the member that a newcomer says it is seeded from.
func (c *cluster) sourceOf(newcomer *member) *member {
	c.t.Helper()
	for _, m := range c.members {
		if newcomer.proc.said(func(e event) bool { return e.Step == "seed" && strings.HasSuffix(e.Text, " at "+m.peer) }) {
			return m
		}
	}
	c.t.Fatal("the newcomer does not say from whom it is seeded")
	return nil
}

func TestWipedVoterIsRefusedUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	a, b := c.members[0], c.members[2]
	l := startLoad(t, loadOptions{endpoints: []string{a.client, c.members[1].client}, pace: 20 * time.Millisecond})
	l.awaitWrites(20)
	b.kill()
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	b.launch(a.peer)
	b.mustFail(patience, "is that of member", "(c, voter)", "remove that member first")
	remove(t, a, b.id(a))
	b.start(a.peer)
	c.awaitVoters(3, 3)
	b.awaitServing()
	l.verify(c.members)
}

// remove takes a member out of the cluster.
func remove(t *testing.T, asked *member, id uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, err := asked.kv().MemberRemove(ctx, id); err != nil {
		t.Fatalf("remove member %d: %v", id, err)
	}
}

func TestRemovedMemberEndsAndSaysSoAlsoWhenItIsStartedAgain(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	gone := c.followers()[0]
	asked := c.awaitLeader()
	remove(t, asked, gone.id(asked))
	gone.mustFail(soon, "was removed from the cluster", "wipe the data directory and join again")
	gone.launch(asked.peer)
	gone.mustFail(patience, "was removed from the cluster", "wipe the data directory and join again")
	if err := os.RemoveAll(gone.dir); err != nil {
		t.Fatal(err)
	}
	gone.start(asked.peer)
	c.awaitVoters(3, 3)
}

// TestMemberThatWasDownWhenItWasRemovedIsToldSo is one that heard nothing of it.
func TestMemberThatWasDownWhenItWasRemovedIsToldSo(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	gone := c.followers()[0]
	asked := c.awaitLeader()
	id := gone.id(asked)
	gone.kill()
	remove(t, asked, id)
	gone.launch()
	gone.mustFail(patience, "was removed from the cluster", "wipe the data directory and join again")
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	if _, err := asked.kv().Put(ctx, "still", "serving", clientv3.WithPrevKV()); err != nil {
		t.Errorf("after the removal: %v", err)
	}
}

// TestNewcomerOfAnotherVersionOrTimeIsRefusedByARealMember asks as a newcomer does
// whose version, or clock, is not that of the members.
func TestNewcomerOfAnotherVersionOrTimeIsRefusedByARealMember(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	a := c.members[0]
	_, text := a.newToken()
	token, err := pki.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	p := api.NewPeerClient(dialWith(t, a.peer, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})))
	who, err := p.Identify(t.Context(), &api.IdentifyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		version, want string
		clock         time.Duration
	}{
		"a newer major version": {"9.0.0", "install version", 0},
		"a newer minor version": {"0.99.0", "or update the members first", 0},
		"an older version":      {"0.0.1", "it is older", 0},
		"a clock ahead":         {who.GetVersion(), "ahead of that of the leader (member 1); certificates and join tokens", time.Hour},
		"a clock behind":        {who.GetVersion(), "behind that of the leader (member 1); certificates and join tokens", -time.Hour},
		// What is asked next: whether it is there.
		"neither": {who.GetVersion(), "called the newcomer back", 0},
	} {
		mustAnswer(t, name, codes.FailedPrecondition, x.want, func(ctx context.Context) error {
			_, err := p.Join(ctx, &api.JoinRequest{
				Incarnation: 1, PeerUrls: []string{"https://127.0.0.1:1"}, TokenSecret: token.Secret[:],
				Version: x.version, FeatureLevel: machine.FeatureLevel, ClockUnixMillis: time.Now().Add(x.clock).UnixMilli(),
			})
			return err
		})
	}
	c.awaitVoters(1, 1)
}
