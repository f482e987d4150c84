package test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/transport"
)

// chainfire runs a command of the binary against a member.
func (m *member) chainfire(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), soon)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.lab.binary, append(args, "--endpoints", m.client)...)
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = errors.New(string(failed.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

// newToken makes a join token and returns its id and text.
func (m *member) newToken(args ...string) (id, text string) {
	m.t.Helper()
	out, err := m.chainfire(append([]string{"token", "create", "-w", "json"}, args...)...)
	var made struct{ ID, Token string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &made)
	}
	if err != nil || made.ID == "" || made.Token == "" {
		m.t.Fatalf("token create printed %s, %v", out, err)
	}
	return made.ID, made.Token
}

// launchWith starts a newcomer with a token of its own.
func (m *member) launchWith(token string, join string) {
	m.t.Helper()
	args := []string{"--join", join}
	if token != "" {
		args = append(args, "--token", token)
	}
	m.args = append(m.args, args...)
	m.launch()
}

func TestNewcomerWithoutAGoodTokenIsRefusedAndToldWhy(t *testing.T) {
	t.Parallel()
	c, other := oneMember(t), oneMember(t)
	a := c.members[0]
	revokedID, revoked := a.newToken()
	endedID, ended := a.newToken("--ttl", "1s")
	_, used := a.newToken("--uses", "1")
	_, foreign := other.members[0].newToken()
	if list, err := a.chainfire("token", "list", "-w", "json"); err != nil || !strings.Contains(list, `"id":"`+revokedID+`"`) {
		t.Fatalf("tokens %s, %v", list, err)
	}
	if _, err := a.chainfire("token", "revoke", revokedID); err != nil {
		t.Fatal(err)
	}
	first := here.newMember(t, "first")
	first.launchWith(used, a.peer)
	first.awaitReady()
	c.members = append(c.members, first)
	a.await("the end of a token", soon, func(context.Context) error {
		list, err := a.chainfire("token", "list", "-w", "json")
		if err == nil && strings.Contains(list, `"id":"`+endedID+`"`) {
			err = errors.New(list)
		}
		return err
	})
	for _, x := range []struct {
		name, token string
		words       []string
	}{
		{"none", "", []string{"takes a join token", "chainfire token create", "--token-file"}},
		{"revoked", revoked, []string{"not known here", "revoked or used up", "chainfire token create"}},
		{"used", used, []string{"not known here", "revoked or used up"}},
		{"ended", ended, []string{"the join token ended at", "chainfire token create"}},
		{"damaged", revoked[:len(revoked)-3], []string{"not a join token", "was it copied whole?"}},
		{"of another cluster", foreign, []string{"the join token is for another cluster"}},
	} {
		b := here.newMember(t, "newcomer")
		b.launchWith(x.token, a.peer)
		b.mustFail(patience, x.words...)
		if secret := x.token[strings.LastIndexByte(x.token, '.')+1:]; secret != "" && strings.Contains(b.proc.log(), secret) {
			t.Errorf("%s: the secret is in what the newcomer wrote", x.name)
		}
	}
	c.awaitVoters(2, 1)
}

func TestNewcomerThatSpeaksPlainlyIsToldThatTheMembersDoNot(t *testing.T) {
	t.Parallel()
	secure := oneMember(t).members[0]
	b := here.newMember(t, "b", "--join", secure.peer)
	b.peer = "http://" + b.peer
	b.launch()
	b.mustFail(patience, "do the members of that cluster speak TLS?", "give a join token")

	plain := here.newMember(t, "a")
	plain.peer = "http://" + plain.peer
	plain.start()
	plain.awaitServing()
	d := here.newMember(t, "d")
	d.launchWith(tokenOfNobody, strings.TrimPrefix(plain.peer, "http://"))
	d.mustFail(patience, "does not speak TLS", "http:// in --listen-peer")
	e := here.newMember(t, "e", "--join", strings.TrimPrefix(plain.peer, "http://"))
	e.peer = "http://" + e.peer
	e.start()
	if _, err := plain.chainfire("token", "create"); err == nil || !strings.Contains(err.Error(), "newcomers need no token") {
		t.Errorf("a token of a plain cluster: %v", err)
	}
}

// TestStrangerOnThePeerPortGetsNothing is one with no certificate, and one with
// that of another cluster's member.
func TestStrangerOnThePeerPortGetsNothing(t *testing.T) {
	t.Parallel()
	c, other := oneMember(t), oneMember(t)
	a := c.members[0]
	foreign, err := tls.LoadX509KeyPair(filepath.Join(other.members[0].dir, "pki", "member.crt"), filepath.Join(other.members[0].dir, "pki", "member.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, certs := range map[string][]tls.Certificate{"no certificate": nil, "another cluster's": {foreign}} {
		// The stranger believes whoever answers.
		cfg := &tls.Config{InsecureSkipVerify: true, Certificates: certs}
		conn, err := grpc.NewClient("passthrough:///"+a.peer, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		peer, cluster := api.NewPeerClient(conn), api.NewClusterClient(conn)
		read := func() error {
			s, err := peer.ReadSnapshot(ctx, &api.ReadSnapshotRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}
		whole := func() error {
			s, err := cluster.GetSnapshot(ctx, &api.GetSnapshotRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}
		calls := map[string]error{
			"GetSnapshot":   whole(),
			"AddMember":     second(cluster.AddMember(ctx, &api.AddMemberRequest{PeerUrls: []string{"127.0.0.1:1"}})),
			"OpenSnapshot":  second(peer.OpenSnapshot(ctx, &api.OpenSnapshotRequest{})),
			"ReadSnapshot":  read(),
			"Learn":         second(peer.Learn(ctx, &api.LearnRequest{})),
			"JoinStatus":    second(peer.JoinStatus(ctx, &api.JoinStatusRequest{})),
			"Abandon":       second(peer.Abandon(ctx, &api.AbandonRequest{})),
			"ClusterStatus": second(cluster.ClusterStatus(ctx, &api.ClusterStatusRequest{})),
			"CreateToken":   second(cluster.CreateToken(ctx, &api.CreateTokenRequest{})),
			"ListTokens":    second(cluster.ListTokens(ctx, &api.ListTokensRequest{})),
		}
		for call, err := range calls {
			if code := status.Code(err); code != codes.Unauthenticated && code != codes.Unavailable {
				t.Errorf("%s: %s answers %v", name, call, err)
			}
		}
		if certs == nil {
			if err := second(peer.Join(ctx, &api.JoinRequest{Incarnation: 1})); status.Code(err) != codes.PermissionDenied {
				t.Errorf("a join without a token: %v", err)
			}
		}
		stream, err := tls.Dial("tcp", a.peer, cfg)
		if err != nil {
			continue // refused in the handshake
		}
		defer stream.Close()
		if err := stream.SetDeadline(time.Now().Add(soon)); err != nil {
			t.Fatal(err)
		}
		// A whole, well-formed beginning of a Raft stream would be answered.
		_, werr := stream.Write(append([]byte(transport.Magic), make([]byte, 256)...))
		if b, err := io.ReadAll(stream); len(b) > 0 {
			t.Errorf("%s: the stream answers %x (%v, %v)", name, b, werr, err)
		}
	}
	c.mustBeWhole(soon)
}

func second[T any](_ T, err error) error { return err }

func TestSecretsAreTheirOwnersAloneAndNeverInALog(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, "--log-level", "debug")
	a := c.members[0]
	var secrets []string
	err := filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"join-token", "pki/ca.key", "pki/member.key"} {
		b, err := os.ReadFile(filepath.Join(a.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n") {
			if i := strings.LastIndexByte(line, '.'); i >= 0 {
				line = line[i+1:]
			}
			if len(line) > 30 && !strings.Contains(line, "-----") {
				secrets = append(secrets, line)
			}
		}
	}
	if len(secrets) < 5 {
		t.Fatalf("only %d secrets found", len(secrets))
	}
	for _, m := range c.members {
		for _, s := range secrets {
			if strings.Contains(m.proc.log(), s) {
				t.Errorf("a secret is in the log of %s", m.name)
			}
		}
	}
}

// TestPeerPortEndsHandshakesThatDoNotGoOn opens a connection that says nothing.
func TestPeerPortEndsHandshakesThatDoNotGoOn(t *testing.T) {
	t.Parallel()
	a := oneMember(t).members[0]
	conn, err := net.Dial("tcp", a.peer)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a connection that says nothing: %d, %v", n, err)
	}
}
