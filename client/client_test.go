package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"chainfire"
	"chainfire/api"
)

type clusterServer struct {
	api.UnimplementedClusterServer
	status *chainfire.ClusterStatus
}

func (s clusterServer) ClusterStatus(context.Context, *api.ClusterStatusRequest) (*api.ClusterStatusResponse, error) {
	return api.NewClusterStatusResponse(s.status), nil
}

// serve runs a Cluster service that gives one answer, or, with nil, a server
// without that service.
func serve(t *testing.T, status *chainfire.ClusterStatus) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	if status != nil {
		api.RegisterClusterServer(s, clusterServer{status: status})
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// closedPort is an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func ask(t *testing.T, endpoints ...string) (*chainfire.ClusterStatus, error) {
	t.Helper()
	c, err := New(endpoints...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return c.Status(ctx)
}

func TestStatusIsThatOfTheFirstMemberWithALeader(t *testing.T) {
	want := &chainfire.ClusterStatus{
		Header: chainfire.Header{ClusterID: 7, MemberID: 2, Revision: 9, RaftTerm: 3},
		Leader: 2, Healthy: true, FailureTolerance: 1, LastIndex: 12, CommitIndex: 11,
		Members: []chainfire.MemberStatus{{
			MemberInfo: chainfire.MemberInfo{ID: 2, Name: "a", PeerURLs: []string{"http://127.0.0.1:1"}},
			Phase:      chainfire.PhaseVoter, Leader: true, MatchIndex: 12, Active: true, Reason: "none",
		}},
	}
	lost := &chainfire.ClusterStatus{Header: chainfire.Header{ClusterID: 7, MemberID: 1}}
	got, err := ask(t, closedPort(t), serve(t, lost), "http://"+serve(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status differs (-want +got):\n%s", diff)
	}
}

func TestStatusWithoutALeaderIsBetterThanNone(t *testing.T) {
	lost := &chainfire.ClusterStatus{Header: chainfire.Header{ClusterID: 7, MemberID: 1}}
	got, err := ask(t, serve(t, lost), closedPort(t))
	if err != nil || got.Header.MemberID != 1 {
		t.Errorf("status %+v, error %v", got, err)
	}
}

func TestStatusErrorNamesEveryMemberThatWasAsked(t *testing.T) {
	closed, other := closedPort(t), serve(t, nil)
	_, err := ask(t, closed, other)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{closed, "refused", other, "not the client port"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestNewRefusesWhatIsNoAddress(t *testing.T) {
	if _, err := New(); !errors.Is(err, ErrNoEndpoints) {
		t.Errorf("without endpoints: %v", err)
	}
	for _, e := range []string{"", "http://", "127.0.0.1:1/path"} {
		if _, err := New("127.0.0.1:1", e); err == nil {
			t.Errorf("endpoint %q is taken", e)
		}
	}
}

func TestAddressesHaveTheSchemeThatTheClientSpeaks(t *testing.T) {
	for _, x := range []struct {
		cfg      *tls.Config
		endpoint string
		ok       bool
	}{
		{nil, "127.0.0.1:1", true},
		{nil, "http://127.0.0.1:1/", true},
		{nil, "https://127.0.0.1:1", false},
		{&tls.Config{}, "127.0.0.1:1", true},
		{&tls.Config{}, "https://127.0.0.1:1/", true},
		{&tls.Config{}, "http://127.0.0.1:1", false},
	} {
		c, err := NewWith(Options{TLS: x.cfg}, x.endpoint)
		if x.ok != (err == nil) {
			t.Errorf("%s, TLS %v: %v", x.endpoint, x.cfg != nil, err)
		}
		if err == nil {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
