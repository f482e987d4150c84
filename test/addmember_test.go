package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"chainfire"
	"chainfire/api"
)

// added is what 'member add' prints.
type added struct {
	Member struct {
		ID, Name, Role string
		Peer           []string `json:"peer_urls"`
		Client         []string `json:"client_urls"`
	}
	Members []struct{ ID string }
	Command string
}

// addAsked keeps a place for a member by the command.
func (c *cluster) addAsked(asked, m *member, args ...string) added {
	c.t.Helper()
	out := here.chainfire(c.t, c.t.TempDir(), asked, append([]string{"member", "add", m.peer, "--name", m.name, "--client", m.client, "-w", "json"}, args...)...)
	out.mustSay(c.t, 0)
	var got added
	if err := json.Unmarshal([]byte(out.stdout), &got); err != nil {
		c.t.Fatal(err)
	}
	return got
}

// TestPlaceIsKeptForAMemberThatIsStartedLater adds a learner by a follower, starts it
// with the command that was printed, under the name that was kept, and promotes it.
func TestPlaceIsKeptForAMemberThatIsStartedLater(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, calm()...)
	d := here.newMember(t, "d", calm()...)
	got := c.addAsked(c.followers()[0], d)
	if got.Member.Name != "d" || got.Member.Role != "learner" || len(got.Members) != 4 ||
		len(got.Member.Peer) != 1 || got.Member.Peer[0] != "https://"+d.peer || len(got.Member.Client) != 1 {
		t.Errorf("added %+v", got)
	}
	c.awaitLeader().await("the place", soon, func(ctx context.Context) error {
		s, err := c.awaitLeader().status(ctx)
		if err == nil && phaseOf(s, "d") != chainfire.PhaseUnstarted {
			err = errors.New("it is " + string(phaseOf(s, "d")))
		}
		return err
	})
	for _, word := range []string{"chainfire serve --name d --listen-client " + d.client + " --listen-peer " + d.peer + " --join ", c.awaitLeader().peer, "token create"} {
		if !strings.Contains(got.Command, word) {
			t.Errorf("the command %s does not say %q", got.Command, word)
		}
	}
	// It runs in a folder of its own, and asks for its token by the program's name.
	page := newPage(t)
	page.hosts["alone"] = d
	line := strings.Replace(got.Command, "chainfire serve", "chainfire serve --data-dir "+d.dir+" "+strings.Join(calm(), " "), 1)
	proc, err := startProcess("/bin/sh", []string{"-c", "PATH=" + page.bin + ":$PATH; exec " + line + " --progress json"}, d.stderr)
	if err != nil {
		t.Fatal(err)
	}
	d.proc = proc
	d.awaitReady()
	if id := d.id(c.awaitLeader()); got.Member.ID != fmt.Sprint(id) {
		t.Errorf("it is member %d, the place was that of %s", id, got.Member.ID)
	}
	c.members = append(c.members, d)
	c.awaitVoters(4, 3)
	d.await("a promotion by hand", patience, func(context.Context) error {
		_, err := c.awaitLeader().chainfire("member", "promote", "d")
		return err
	})
	c.awaitVoters(4, 4)
	c.mustHoldTheSame("")
}

// TestPlaceThatCannotBeIsRefusedAtOnce asks for what would collide, or would take the
// cluster's majority away, and finds nothing changed.
func TestPlaceThatCannotBeIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	a := c.members[0]
	calls := api.NewClusterClient(dial(t, a.client))
	for name, x := range map[string]struct {
		q    *api.AddMemberRequest
		code codes.Code
		want string
	}{
		"the name of a member":    {&api.AddMemberRequest{Name: "a", PeerUrls: []string{"127.0.0.1:1"}}, codes.AlreadyExists, "the name is that of member 1 (a)"},
		"the address of a member": {&api.AddMemberRequest{Name: "b", PeerUrls: []string{a.peer}}, codes.AlreadyExists, "the peer URL is that of member 1 (a)"},
		"a second voter":          {&api.AddMemberRequest{Name: "b", PeerUrls: []string{"127.0.0.1:1"}, Voter: true}, codes.FailedPrecondition, "of 2 voters 2 must be up, and 1 would be"},
		"without TLS":             {&api.AddMemberRequest{PeerUrls: []string{"http://127.0.0.1:1"}}, codes.FailedPrecondition, "speak https"},
		"no address":              {&api.AddMemberRequest{}, codes.InvalidArgument, "give the one"},
		"two addresses":           {&api.AddMemberRequest{PeerUrls: []string{"127.0.0.1:1", "127.0.0.1:2"}}, codes.InvalidArgument, "give the one"},
		"no host":                 {&api.AddMemberRequest{PeerUrls: []string{":1"}}, codes.InvalidArgument, "no host"},
		"no port":                 {&api.AddMemberRequest{PeerUrls: []string{"127.0.0.1"}}, codes.InvalidArgument, "missing port"},
		"a bad client address":    {&api.AddMemberRequest{PeerUrls: []string{"127.0.0.1:1"}, ClientUrls: []string{"ftp://x:1"}}, codes.InvalidArgument, "client URL"},
		"a long name":             {&api.AddMemberRequest{Name: strings.Repeat("n", 257), PeerUrls: []string{"127.0.0.1:1"}}, codes.InvalidArgument, "add a member"},
	} {
		mustAnswer(t, name, x.code, x.want, func(ctx context.Context) error {
			_, err := calls.AddMember(ctx, x.q)
			return err
		})
	}
	c.mustBeWhole(soon)
}

// TestPlaceIsNotKeptWithoutAMajorityAndTheCallEnds also where the caller has an hour.
func TestPlaceIsNotKeptWithoutAMajorityAndTheCallEnds(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, brisk()...)
	leader := c.awaitLeader()
	others := c.followers()
	for _, m := range others {
		m.kill()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	began := time.Now()
	_, err := api.NewClusterClient(dial(t, leader.client)).AddMember(ctx, &api.AddMemberRequest{Name: "d", PeerUrls: []string{"127.0.0.1:1"}})
	if took := time.Since(began); err == nil || took > 20*time.Second {
		t.Errorf("answered %v after %v", err, took)
	}
	for _, m := range others {
		m.start()
	}
	c.awaitVoters(3, 3)
}
