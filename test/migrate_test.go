package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// migrating starts a migration of an etcd into the directory of a member.
func (l *lab) migrating(t *testing.T, m *member, from string, flags ...string) *process {
	t.Helper()
	args := append([]string{"migrate", "--from", from, "--data-dir", m.dir, "--name", m.name, "--advertise-peer", m.peer, "--advertise-client", m.client, "-w", "json"}, flags...)
	p, err := startProcess(l.binary, args, m.stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// awaitReport waits until a migration has told of a step at a revision.
func awaitReport(t *testing.T, p *process, step string, revision int64) {
	t.Helper()
	await(t, fmt.Sprintf("the step %s at revision %d", step, revision), patience, func(context.Context) error {
		if !p.alive() {
			return &hopeless{fmt.Errorf("it ended: %s", p.log())}
		}
		if want := fmt.Sprintf(`{"step":%q,"revision":%d,`, step, revision); !strings.Contains(p.log(), want) {
			return fmt.Errorf("%s is not in %s", want, p.log())
		}
		return nil
	})
}

func mustEnd(t *testing.T, p *process) {
	t.Helper()
	if code, err := p.exit(patience); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, p.log())
	}
}

// TestEtcdIsFollowedUntilItIsCutOver writes to an etcd while it is followed, compacts it,
// lets leases end and grants others, and cuts over: what was made of it is the same.
func TestEtcdIsFollowedUntilItIsCutOver(t *testing.T) {
	t.Parallel()
	from := here.startEtcd(t)
	h := fill(t, 60, from.client)
	m := here.newMember(t, "a", calm()...)
	p := here.migrating(t, m, from.client)
	awaitReport(t, p, "follow", h.revision)
	for range 60 {
		h.step()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := h.clients[0]
	for _, id := range []int64{77, 78} {
		g, err := pb.NewLeaseClient(c.ActiveConnection()).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: 100_000})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(ctx, fmt.Sprintf("late/%d", g.ID), "v", clientv3.WithLease(clientv3.LeaseID(g.ID))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Revoke(ctx, 78); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Revoke(ctx, clientv3.LeaseID(leasesOfFill[0])); err != nil {
		t.Fatal(err)
	}
	r, err := c.Put(ctx, "last", "v")
	if err != nil {
		t.Fatal(err)
	}
	h.revision, h.compact = r.Header.Revision, r.Header.Revision-20
	if _, err := c.Compact(ctx, h.compact); err != nil {
		t.Fatal(err)
	}
	awaitReport(t, p, "follow", h.revision)
	if err := p.signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, p)
	m.start()
	m.awaitServing()
	mustBeSame(t, h, newSide(t, "etcd", from.client), newSide(t, "migrated", m.client))
	if _, err := os.Stat(m.dir + ".migrating"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder used meanwhile: %v", err)
	}
	// Both go on alike, and a migration may follow at once what is not written to.
	h.clients = append(h.clients, m.kv())
	for range 10 {
		h.step()
	}
	other := here.newMember(t, "b", calm()...)
	mustEnd(t, here.migrating(t, other, from.client, "--cut-over"))
	idle := here.newMember(t, "c", calm()...)
	mustEnd(t, here.migrating(t, idle, from.client, "--until-idle", "1s"))
	other.start()
	other.awaitServing()
	idle.start()
	idle.awaitServing()
	mustBeSame(t, h, newSide(t, "etcd", from.client), newSide(t, "migrated", m.client), newSide(t, "migrated at once", other.client), newSide(t, "migrated when idle", idle.client))
}

// TestMigrationThatIsCutShortLeavesNothingThatStarts, whoever dies.
func TestMigrationThatIsCutShortLeavesNothingThatStarts(t *testing.T) {
	t.Parallel()
	from := here.startEtcd(t)
	h := fill(t, 40, from.client)
	m := here.newMember(t, "a", calm()...)
	p := here.migrating(t, m, from.client)
	awaitReport(t, p, "follow", h.revision)
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	m.launch()
	m.mustFail(patience, "was cut short", "again", m.dir)
	// Done again it is whole; a second one is refused what is there.
	mustEnd(t, here.migrating(t, m, from.client, "--cut-over"))
	mustComplain(t, []string{"migrate", "--from", from.client, "--data-dir", m.dir, "--cut-over"}, "is not empty", m.dir)
	m.start()
	m.awaitServing()
	mustBeSame(t, h, newSide(t, "etcd", from.client), newSide(t, "migrated", m.client))
	// The etcd dies.
	lost := here.newMember(t, "b")
	p = here.migrating(t, lost, from.client)
	awaitReport(t, p, "follow", h.revision)
	if err := from.proc.kill(); err != nil {
		t.Fatal(err)
	}
	if code, err := p.exit(patience); code != 1 || err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, p.log())
	}
	if left, err := filepath.Glob(lost.dir + "*"); err != nil || len(left) != 1 || left[0] != lost.stderr {
		t.Errorf("%v is left, %v", left, err)
	}
	mustComplain(t, []string{"migrate", "--from", from.client, "--data-dir", lost.dir}, "reach the etcd at "+from.client)
}

// TestMigrationSaysWhyItCannotReachTheEtcd at once, and what to do: the address of nobody,
// TLS where there is none, none where there is, and certificates that are not trusted.
func TestMigrationSaysWhyItCannotReachTheEtcd(t *testing.T) {
	t.Parallel()
	port := newClientPort(t)
	plain, over := here.newEtcd(t), here.startEtcdOver(t, "https", port.as("alice"), port.flags()).client
	dir := filepath.Join(t.TempDir(), "data")
	nobody := here.port(t)
	authority := []string{"--cacert", port.file("ca.crt")}
	for _, c := range []struct {
		from  string
		flags []string
		words []string
	}{
		{nobody, nil, []string{nobody, "connection refused", "client address of a member that runs"}},
		{"https://" + nobody, nil, []string{nobody, "connection refused", "client address of a member that runs"}},
		{"https://" + plain, nil, []string{plain, "speak TLS to", "speaks no TLS: write http://"}},
		{"http://" + over, nil, []string{over, "no etcd without TLS", "write https:// before the address"}},
		{over, nil, []string{over, "no etcd without TLS", "write https:// before the address"}},
		{"https://" + over, nil, []string{over, "certificate", "--cacert"}},
		{"https://" + over, authority, []string{over, "certificate required", "--cert and --key"}},
	} {
		args := append([]string{"migrate", "--from", c.from, "--data-dir", dir, "--cut-over"}, c.flags...)
		mustComplain(t, args, append(c.words, "reach the etcd at")...)
		advice := c.words[len(c.words)-1]
		if _, err := offline(t, args...); err == nil || strings.Count(err.Error(), advice) != 1 {
			t.Errorf("%v does not say %q once: %v", args, advice, err)
		}
		if left, err := filepath.Glob(dir + "*"); err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
	}
}

// TestEtcdWithTLSAndUsersIsFollowed, and the users come along.
func TestEtcdWithTLSAndUsersIsFollowed(t *testing.T) {
	t.Parallel()
	port := newClientPort(t)
	from := here.startEtcdOver(t, "https", port.as("alice"), port.flags())
	c := etcdClientOver(t, port.as("alice"), from.client)
	withUsers(t, c)
	m := here.newMember(t, "a", calm()...)
	trust := []string{"--cacert", port.file("ca.crt"), "--cert", port.file("alice.crt"), "--key", port.file("alice.key"), "--cut-over"}
	if code, err := here.migrating(t, m, "https://"+from.client, trust...).exit(patience); err != nil || code == 0 {
		t.Errorf("as nobody: exit code %d, %v", code, err)
	}
	mustEnd(t, here.migrating(t, m, "https://"+from.client, append(trust, "--user", "root:root")...))
	m.launch()
	await(t, "ann is known", patience, func(ctx context.Context) error {
		_, err := clientAs(t, "ann", m.client).Put(ctx, "a1", "v")
		return err
	})
}
