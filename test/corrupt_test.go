package test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"chainfire"
	"chainfire/machine"
	"chainfire/wal"
)

// compared are members that are compared every second, calm ones, which say so.
func compared(args ...string) []string {
	return append(append(calm(), "--corrupt-check-time", "1s", "--log-level", "debug"), args...)
}

// bend kills a member after it was given a key, and lets its store apply another value
// of it than the log says. Nothing in the store or the log fails a checksum.
func (m *member) bend(key string) {
	m.t.Helper()
	m.kill() // what it applied since it was started is in the log alone
	if err := bend(m.dir, key); err != nil {
		m.t.Fatalf("bend the store of %s: %v", m.name, err)
	}
}

func bend(dir, key string) (err error) {
	log, _, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "wal")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	store, err := machine.Open(machine.Options{Dir: filepath.Join(dir, "store")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	applied, _ := store.Applied()
	entries, err := log.Entries(applied+1, log.LastIndex()+1, math.MaxInt64)
	if err != nil {
		return err
	}
	for i := range entries {
		d, err := machine.DecodeEntry(&entries[i])
		if err != nil {
			return err
		}
		found := d.Command != nil && d.Command.Put != nil && string(d.Command.Put.Key) == key
		if found {
			d.Command.Put.Value = []byte("bent")
			entries[i].Data = d.Command.AppendTo(nil)
		}
		if _, err := store.Apply(entries[i : i+1]); found || err != nil {
			return err
		}
	}
	return fmt.Errorf("of %s nothing is in the log after index %d", key, applied)
}

// alarms lists the alarms as a member has them.
func (m *member) alarms(ctx context.Context) (string, error) {
	r, err := m.kv().AlarmList(ctx)
	if err != nil {
		return "", err
	}
	var out []string
	for _, a := range r.Alarms {
		out = append(out, fmt.Sprintf("%s of %d", a.Alarm, a.MemberID))
	}
	return strings.Join(out, ", "), nil
}

// awaitAlarms waits until all running members have these alarms, and no other.
func (c *cluster) awaitAlarms(want string) {
	c.t.Helper()
	for _, m := range c.running() {
		m.await("the alarms "+want, patience, func(ctx context.Context) error {
			got, err := m.alarms(ctx)
			if err == nil && got != want {
				err = fmt.Errorf("they are %q", got)
			}
			return err
		})
	}
}

// comparisons are the lines of the log in which this member says that it has compared
// so many members.
func (m *member) comparisons(members int) (out []string) {
	for line := range strings.Lines(m.proc.log()) {
		_, rest, ok := strings.Cut(line, `msg="members compared"`)
		if ids, _, cut := strings.Cut(rest, "]"); ok && cut {
			if _, ids, _ = strings.Cut(ids, `members="[`); len(strings.Fields(ids)) == members {
				out = append(out, line)
			}
		}
	}
	return out
}

// awaitComparisons waits until the members that run have compared so many members so
// many times more.
func (c *cluster) awaitComparisons(members, times int) {
	c.t.Helper()
	count := func() (n int) {
		for _, m := range c.running() {
			n += len(m.comparisons(members))
		}
		return n
	}
	before := count()
	await(c.t, fmt.Sprintf("%d comparisons of %d members", times, members), patience, func(context.Context) error {
		if n := count() - before; n < times {
			return fmt.Errorf("there were %d", n)
		}
		return nil
	})
}

// TestMemberThatDiffersIsNamedByTheAlarmAndRepairedByAnotherStore also does what
// docs/operate/corrupt.md says.
func TestMemberThatDiffersIsNamedByTheAlarmAndRepairedByAnotherStore(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, compared()...)
	leader, m := c.awaitLeader(), c.followers()[1]
	id := m.id(leader)
	c.put("color", "blue")
	c.awaitComparisons(3, 2)
	c.awaitAlarms("")
	m.bend("color")
	usual := m.args
	m.args = append(compared(), "--initial-corrupt-check")
	m.launch()
	m.mustFail(patience, "the key space of this member differs from that of the others", filepath.Join(m.dir, "store"), "docs/operate/corrupt.md")
	m.args = usual
	m.start()
	c.awaitAlarms(fmt.Sprintf("CORRUPT of %d", id))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := leader.kv().Put(ctx, "color", "red"); !errors.Is(err, rpctypes.ErrCorrupt) {
		t.Errorf("a put under the alarm: %v", err)
	}
	if r := get("/readyz?verbose").mustAt(t, leader.client); r.code != 503 || !strings.Contains(r.body, "data_corruption failed") {
		t.Errorf("/readyz: %+v", r)
	}
	c.mustNote(m.name, "the alarm CORRUPT stands for it: the cluster takes no writes")
	if log := leader.proc.log(); !strings.Contains(log, "members differ from the majority in the key space") || !strings.Contains(log, fmt.Sprintf("members=[%d]", id)) {
		t.Errorf("the leader does not say who differs:\n%s", log)
	}
	m.stop()
	if err := os.Rename(filepath.Join(m.dir, "store"), m.dir+"-wrong"); err != nil {
		t.Fatal(err)
	}
	m.mustRebuild("a store that differed")
	m.awaitServing()
	c.disarm()
	c.put("color", "green")
	c.awaitComparisons(3, 2)
	c.awaitAlarms("")
	c.mustHoldTheSame("")
}

// put puts a key at the first member, and waits until the others have it too.
func (c *cluster) put(key, value string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	r, err := c.awaitLeader().kv().Put(ctx, key, value)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range c.running() {
		m.await("revision "+fmt.Sprint(r.Header.Revision), patience, func(ctx context.Context) error {
			_, err := m.kv().Get(ctx, key, clientv3.WithSerializable(), clientv3.WithRev(r.Header.Revision))
			return err
		})
	}
}

// disarm takes back what alarms there are.
func (c *cluster) disarm() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if _, err := c.awaitLeader().kv().AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		c.t.Fatal(err)
	}
}

// TestDifferenceWithoutAMajorityIsTheClustersAlarm leaves two voters that differ, while
// the third is down.
func TestDifferenceWithoutAMajorityIsTheClustersAlarm(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, compared()...)
	m, down := c.followers()[0], c.followers()[1]
	c.put("color", "blue")
	down.kill()
	m.bend("color")
	m.start()
	c.awaitAlarms(fmt.Sprintf("%s of 0", pb.AlarmType_CORRUPT))
	c.mustNote(c.awaitLeader().name, "the alarm CORRUPT stands for the whole cluster")
}

// mustNote demands that the status of the cluster says something of a member.
func (c *cluster) mustNote(name, want string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	s, err := c.awaitLeader().status(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	i := slices.IndexFunc(s.Members, func(m chainfire.MemberStatus) bool { return m.Name == name })
	if i < 0 || !strings.Contains(s.Members[i].Reason, want) {
		c.t.Errorf("the status does not say %q of %s: %+v", want, name, *s)
	}
}

// TestComparisonFindsNothingWhereNothingIsWrong compares while clients write, history is
// compacted, leaders change, members die, stand still and come back, and another joins.
func TestComparisonFindsNothingWhereNothingIsWrong(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t, compared()...)
	l := startLoad(t, loadOptions{endpoints: c.endpoints(), pace: 20 * time.Millisecond, patience: 10 * time.Second})
	stop := c.compactAlways()
	c.awaitComparisons(3, 2)
	learner := here.newMember(t, "learner", compared("--read-replica")...)
	learner.start(c.members[0].peer)
	c.members = append(c.members, learner)
	c.awaitComparisons(4, 2)
	c.awaitLeader().stop()
	c.awaitComparisons(3, 2)
	for _, m := range c.members {
		if !m.proc.alive() {
			m.start()
		}
	}
	c.awaitComparisons(4, 2)
	m := c.followers()[0]
	m.kill()
	m.start()
	c.awaitComparisons(4, 2)
	c.signal(learner, syscall.SIGSTOP)
	c.awaitComparisons(3, 1) // it keeps nobody from being compared
	c.signal(learner, syscall.SIGCONT)
	c.awaitComparisons(4, 1)
	stop()
	l.end()
	voters := &cluster{t: t, members: c.members[:3]} // a replica lists no alarms
	voters.awaitAlarms("")
	for _, m := range c.members {
		if log := tail(m.stderr, math.MaxInt32); strings.Contains(log, "members differ") {
			t.Errorf("%s found a difference:\n%s", m.name, log)
		}
	}
	c.mustHoldTheSame("")
}

func (c *cluster) signal(m *member, s syscall.Signal) {
	c.t.Helper()
	if err := m.proc.signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// compactAlways compacts most of the history again and again until it is stopped.
func (c *cluster) compactAlways() (stop func()) {
	c.t.Helper()
	client, err := newClient(c.endpoints()...) // its own: members come and go meanwhile
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		every(ctx, 150*time.Millisecond, func() {
			try, end := context.WithTimeout(ctx, callTime)
			if r, err := client.Get(try, "rev"); err == nil && r.Header.Revision > 10 {
				_, _ = client.Compact(try, r.Header.Revision-10) // another may have been faster
			}
			end()
		})
	}()
	return func() {
		cancel()
		<-done
		_ = client.Close() // nothing is in flight on it
	}
}
