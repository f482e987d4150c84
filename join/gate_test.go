package join

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/sched"
)

// place is a leader that has a place for everybody.
type place struct {
	Host     // what no test asks for
	reserved int
	level    uint64
}

func (p *place) ClusterID() uint64          { return 7 }
func (p *place) FeatureLevel() uint64       { return max(p.level, 1) }
func (p *place) Identity() (uint64, uint64) { return 1, 11 }
func (p *place) Leader() uint64             { return 1 }
func (p *place) Records() []Record {
	return []Record{{MemberInfo: chainfire.MemberInfo{ID: 1}, Phase: chainfire.PhaseVoter}}
}
func (p *place) Linearize(context.Context) error { return nil }
func (p *place) Sources() []uint64               { return nil }
func (p *place) Contact(uint64, uint64, uint64)  {}
func (p *place) Reserve(context.Context, *Reservation) (id, index uint64, err error) {
	p.reserved++
	return 9, 9, nil
}

// watch is a clock that a test sets.
type watch struct {
	sched.Scheduler
	now time.Time
}

func (w *watch) Now() time.Time { return w.now }

// between is a connection from one side of a join to the other, without a network.
type between struct {
	identify *api.IdentifyResponse
	gate     *Gate
}

func (b *between) Close() error { return nil }

func (b *between) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no streams here")
}

func (b *between) Invoke(ctx context.Context, method string, q, a any, _ ...grpc.CallOption) error {
	switch method {
	case api.Peer_Identify_FullMethodName:
		out := a.(*api.IdentifyResponse)
		out.Incarnation, out.ClockUnixMillis = b.identify.GetIncarnation(), b.identify.GetClockUnixMillis()
		return nil
	case api.Peer_Join_FullMethodName:
		r, err := b.gate.Join(ctx, q.(*api.JoinRequest))
		if err != nil {
			return err
		}
		out := a.(*api.JoinResponse)
		out.ClusterId, out.MemberId, out.ClockUnixMillis = r.GetClusterId(), r.GetMemberId(), r.GetClockUnixMillis()
		return nil
	case api.Peer_Abandon_FullMethodName:
		return nil
	}
	return status.Error(codes.Unimplemented, method)
}

// meeting is a newcomer that asks a leader, with a clock at each.
type meeting struct {
	host                   *place
	gate                   *Gate
	leader, newcomer       *watch
	leaderLog, newcomerLog bytes.Buffer
	version                string
	level                  uint64
}

func newMeeting(tolerance time.Duration) *meeting {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := &meeting{host: &place{}, leader: &watch{sched.Go{}, at}, newcomer: &watch{sched.Go{}, at}, version: "1.2.3"}
	m.gate = NewGate(GateOptions{
		Host: m.host, Version: "1.2.0", Logger: slog.New(slog.NewTextHandler(&m.leaderLog, nil)), Sched: m.leader,
		ClockTolerance: tolerance,
		Dial: func(string) (Conn, error) {
			return &between{identify: &api.IdentifyResponse{Incarnation: 22, ClockUnixMillis: m.newcomer.now.UnixMilli()}}, nil
		},
	})
	return m
}

// join asks, and returns the refusal. Without one the newcomer ends as it finds
// nobody to seed from.
func (m *meeting) join(t *testing.T) *RefusedError {
	t.Helper()
	c, err := NewNewcomer(NewcomerOptions{
		Targets: []string{"10.0.0.1:2380"}, PeerURLs: []string{"http://10.0.0.2:2380"}, Incarnation: 22, Version: m.version, Level: m.level,
		Sched: m.newcomer, Logger: slog.New(slog.NewTextHandler(&m.newcomerLog, nil)),
		Dial: func(string) (Conn, error) { return &between{gate: m.gate}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Seed(t.Context())
	var refused *RefusedError
	if !errors.As(err, &refused) && !strings.Contains(err.Error(), "no member to seed from") {
		t.Fatal(err)
	}
	return refused
}

func TestClocksThatDifferAreToldAtBothEndsAndBeyondTheToleranceRefused(t *testing.T) {
	const tolerance = 10 * time.Minute
	for _, x := range []struct {
		ahead                         time.Duration
		atLeader, atNewcomer, refusal string
	}{
		{ahead: 0},
		{ahead: ClockWarning},
		{ahead: -ClockWarning},
		{
			ahead:      7200 * time.Millisecond,
			atLeader:   "the clock of the newcomer at http://10.0.0.2:2380 is 7.2s ahead of that of this member, the leader",
			atNewcomer: "the clock of the leader of the cluster is 7.2s behind that of this newcomer",
		},
		{
			ahead:      -tolerance,
			atLeader:   "the clock of the newcomer at http://10.0.0.2:2380 is 10m0s behind that of this member, the leader",
			atNewcomer: "the clock of the leader of the cluster is 10m0s ahead of that of this newcomer",
		},
		{ahead: tolerance + time.Second, refusal: "the clock of the newcomer at http://10.0.0.2:2380 is 10m1s ahead of that of the leader (member 1); certificates and join tokens begin and end by the clock, so no more than 10m0s is let in: set the clocks"},
		{ahead: -time.Hour, refusal: "is 1h0m0s behind that of the leader (member 1)"},
	} {
		m := newMeeting(tolerance)
		m.newcomer.now = m.leader.now.Add(x.ahead)
		refused := m.join(t)
		if (refused != nil) != (x.refusal != "") || refused != nil && !strings.Contains(refused.Reason, x.refusal) {
			t.Errorf("%v: refused with %v, want %q", x.ahead, refused, x.refusal)
		}
		if x.refusal != "" && m.host.reserved > 0 {
			t.Errorf("%v: refused, and a place is reserved", x.ahead)
		}
		for log, want := range map[string]string{m.leaderLog.String(): x.atLeader, m.newcomerLog.String(): x.atNewcomer} {
			if want == "" && strings.Contains(log, "clocks differ") || !strings.Contains(log, want) {
				t.Errorf("%v: the log is %q, want %q", x.ahead, log, want)
			}
		}
	}
	// Where nothing ends by the clock it is only told.
	m := newMeeting(0)
	m.newcomer.now = m.leader.now.Add(time.Hour)
	if refused := m.join(t); refused != nil || !strings.Contains(m.leaderLog.String(), "1h0m0s ahead") {
		t.Errorf("without a tolerance: %v, %s", refused, m.leaderLog.String())
	}
}

func TestTheTimeOfACallIsNoDifferenceOfClocks(t *testing.T) {
	at := time.Unix(1000, 0)
	for _, x := range []struct{ theirs, before, after, want time.Duration }{
		{theirs: 3, before: 0, after: 10, want: 0},
		{theirs: 12, before: 0, after: 10, want: 2},
		{theirs: -4, before: 0, after: 10, want: -4},
	} {
		if got := ahead(at.Add(x.theirs), at.Add(x.before), at.Add(x.after)); got != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

func TestNewcomerThatDoesNotKnowTheClustersFeatureLevelIsToldWhatToInstall(t *testing.T) {
	const want = "the cluster is at feature level 2 and the newcomer at http://10.0.0.2:2380 knows 1: install version 1.2.0 or newer at the newcomer"
	for _, x := range []struct {
		cluster, newcomer uint64
		want              string
	}{
		{cluster: 1, newcomer: 0},
		{cluster: 1, newcomer: 3},
		{cluster: 2, newcomer: 2},
		{cluster: 2, newcomer: 1, want: want},
		{cluster: 2, newcomer: 0, want: want},
	} {
		m := newMeeting(0)
		m.host.level, m.level = x.cluster, x.newcomer
		refused := m.join(t)
		if (refused != nil) != (x.want != "") || refused != nil && !strings.Contains(refused.Reason, x.want) {
			t.Errorf("%+v: refused with %v", x, refused)
		}
		if x.want != "" && m.host.reserved > 0 {
			t.Errorf("%+v: refused, and a place is reserved", x)
		}
	}
}

func TestNewcomerOfAnotherVersionIsToldWhatToInstall(t *testing.T) {
	for version, want := range map[string]string{
		"1.2.0": "", "1.2.99+build": "", "v1.2.3": "",
		"0.9.1": "install version 1.2 at the newcomer and start it again (it is older",
		"1.1.7": `the newcomer at http://10.0.0.2:2380 is version "1.1.7" and the leader (member 1) is version "1.2.0": install version 1.2`,
		"1.3.0": "or update the members first",
		"2.0.0": "it is newer",
		"":      "it is not known whether the two fit",
		"one":   "it is not known whether the two fit",
	} {
		m := newMeeting(0)
		m.version = version
		refused := m.join(t)
		if (refused != nil) != (want != "") || refused != nil && !strings.Contains(refused.Reason, want) {
			t.Errorf("%q: refused with %v, want %q", version, refused, want)
		}
		if want != "" && m.host.reserved > 0 {
			t.Errorf("%q: refused, and a place is reserved", version)
		}
	}
}
