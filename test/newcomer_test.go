package test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"chainfire/api"
)

// atOnce is how long an answer may take that waits for nothing.
const atOnce = 2 * time.Second

// TestNewcomerIsAskedBeforeItHasAnything asks it at both ports for all there is,
// while its seed is under way: it answers, with the reason. Another newcomer that
// names it as the member to join comes in later.
func TestNewcomerIsAskedBeforeItHasAnything(t *testing.T) {
	t.Parallel()
	c := oneMember(t, "--seed-rate", "512KiB")
	a := c.members[0]
	ballast(t, a.kv(), seedSize)
	b := here.newMember(t, "b")
	b.launch(a.peer)
	b.awaitSeeding(512 << 10)

	askClientPort(t, b)
	askPeerPort(t, b)

	d := here.newMember(t, "d")
	d.launch(b.peer)
	d.await("a word on why it waits", patience, func(context.Context) error {
		if !d.proc.said(func(e event) bool { return strings.Contains(e.Text, "not ready yet; ask another") }) {
			return fmt.Errorf("it has not said so")
		}
		return nil
	})
	b.awaitReady()
	d.awaitReady()
	c.members = append(c.members, b, d)
	c.awaitVoters(3, 3)
	c.mustHoldTheSame("ballast/")
}

// mustAnswer demands an error of that code and text, at once.
func mustAnswer(t *testing.T, what string, code codes.Code, text string, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	began := time.Now()
	err := call(ctx)
	if took := time.Since(began); took > atOnce {
		t.Errorf("%s: answered after %v", what, took)
	}
	if err == nil || status.Code(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: answered %v, want %v with %q", what, err, code, text)
	}
}

// askClientPort asks a newcomer what clients ask.
func askClientPort(t *testing.T, m *member) {
	t.Helper()
	conn := dial(t, m.client)
	kv, watch := pb.NewKVClient(conn), pb.NewWatchClient(conn)
	cluster, maintenance := pb.NewClusterClient(conn), pb.NewMaintenanceClient(conn)
	const notYet = "this member is joining the cluster and does not serve yet (seed, "
	for what, call := range map[string]func(context.Context) error{
		"put": func(ctx context.Context) error { _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("k")}); return err },
		"range": func(ctx context.Context) error {
			_, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("k")})
			return err
		},
		"member list": func(ctx context.Context) error {
			_, err := cluster.MemberList(ctx, &pb.MemberListRequest{})
			return err
		},
		"member add": func(ctx context.Context) error { _, err := cluster.MemberAdd(ctx, &pb.MemberAddRequest{}); return err },
		"move leader": func(ctx context.Context) error {
			_, err := maintenance.MoveLeader(ctx, &pb.MoveLeaderRequest{})
			return err
		},
		"watch": func(ctx context.Context) error {
			w, err := watch.Watch(ctx)
			if err != nil {
				return err
			}
			_, err = w.Recv()
			return err
		},
	} {
		mustAnswer(t, what, codes.Unavailable, notYet, call)
	}
	mustAnswer(t, "status", codes.Unavailable, notYet, func(ctx context.Context) error { _, err := m.status(ctx); return err })
	mustAnswer(t, "health", codes.Unknown, notYet, func(ctx context.Context) error { return healthOf(ctx, m) })
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	return dialWith(t, addr, insecure.NewCredentials())
}

func dialWith(t *testing.T, addr string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // nothing is in flight on it
	return conn
}

// healthOf is an error unless the member says that it is healthy.
func healthOf(ctx context.Context, m *member) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.client+"/health", nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	var said struct{ Health, Reason string }
	err = json.NewDecoder(r.Body).Decode(&said)
	_ = r.Body.Close() // it was read
	switch {
	case err != nil:
		return err
	case r.StatusCode != http.StatusServiceUnavailable || said.Health != "false":
		return fmt.Errorf("status %d, health %s", r.StatusCode, said.Health)
	}
	return fmt.Errorf("unhealthy: %s", said.Reason)
}

// askPeerPort asks a newcomer what only members answer, and who it is.
func askPeerPort(t *testing.T, m *member) {
	t.Helper()
	// A stranger that believes whoever answers.
	p := api.NewPeerClient(dialWith(t, m.peer, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})))
	mustAnswer(t, "join", codes.Unavailable, "this member is not ready yet; ask another", func(ctx context.Context) error {
		_, err := p.Join(ctx, &api.JoinRequest{})
		return err
	})
	for what, call := range map[string]func(context.Context) error{
		"learn":         func(ctx context.Context) error { _, err := p.Learn(ctx, &api.LearnRequest{}); return err },
		"join status":   func(ctx context.Context) error { _, err := p.JoinStatus(ctx, &api.JoinStatusRequest{}); return err },
		"abandon":       func(ctx context.Context) error { _, err := p.Abandon(ctx, &api.AbandonRequest{}); return err },
		"open snapshot": func(ctx context.Context) error { _, err := p.OpenSnapshot(ctx, &api.OpenSnapshotRequest{}); return err },
		"hash":          func(ctx context.Context) error { _, err := p.HashKeySpace(ctx, &api.HashKeySpaceRequest{}); return err },
	} {
		mustAnswer(t, what, codes.Unauthenticated, "this call is for members of the cluster", call)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	who, err := p.Identify(ctx, &api.IdentifyRequest{})
	if err != nil || !who.GetJoining() || who.GetMemberId() != 0 || who.GetIncarnation() == 0 {
		t.Errorf("identify: %v, %v", who, err)
	}
}

// TestNewcomerWithoutTLSIsAskedWhatOnlyMembersKnow asks the peer port of a newcomer,
// where anyone is heard, for all that the cluster's own service has.
func TestNewcomerWithoutTLSIsAskedWhatOnlyMembersKnow(t *testing.T) {
	t.Parallel()
	a, b := here.newMember(t, "a", "--seed-rate", "512KiB"), here.newMember(t, "b")
	for _, m := range []*member{a, b} {
		m.peer = "http://" + m.peer
	}
	a.start()
	a.awaitServing()
	ballast(t, a.kv(), seedSize)
	b.launch(strings.TrimPrefix(a.peer, "http://"))
	b.awaitSeeding(512 << 10)
	q := api.NewClusterClient(dial(t, strings.TrimPrefix(b.peer, "http://")))
	for what, call := range map[string]func(context.Context) error{
		"cluster status": func(ctx context.Context) error {
			_, err := q.ClusterStatus(ctx, &api.ClusterStatusRequest{})
			return err
		},
		"create token":  func(ctx context.Context) error { _, err := q.CreateToken(ctx, &api.CreateTokenRequest{}); return err },
		"list tokens":   func(ctx context.Context) error { _, err := q.ListTokens(ctx, &api.ListTokensRequest{}); return err },
		"revoke token":  func(ctx context.Context) error { _, err := q.RevokeToken(ctx, &api.RevokeTokenRequest{}); return err },
		"add member":    func(ctx context.Context) error { _, err := q.AddMember(ctx, &api.AddMemberRequest{}); return err },
		"remove member": func(ctx context.Context) error { _, err := q.RemoveMember(ctx, &api.RemoveMemberRequest{}); return err },
		"replace member": func(ctx context.Context) error {
			_, err := q.ReplaceMember(ctx, &api.ReplaceMemberRequest{})
			return err
		},
		"open snapshot": func(ctx context.Context) error { _, err := q.OpenSnapshot(ctx, &api.OpenSnapshotRequest{}); return err },
		"close snapshot": func(ctx context.Context) error {
			_, err := q.CloseSnapshot(ctx, &api.CloseSnapshotRequest{})
			return err
		},
		"get snapshot": func(ctx context.Context) error {
			s, err := q.GetSnapshot(ctx, &api.GetSnapshotRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
	} {
		mustAnswer(t, what, codes.Unavailable, "this member is not ready yet; ask another", call)
	}
	b.awaitReady()
}
