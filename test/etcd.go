package test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcdVariable names another etcd than the one that make builds.
const etcdVariable = "CHAINFIRE_ETCD"

// newEtcd starts one member of etcd, to compare with, and returns its client address.
// It is killed at the end of the test.
func (l *lab) newEtcd(t *testing.T, args ...string) string {
	t.Helper()
	path := os.Getenv(etcdVariable)
	if path == "" {
		path = filepath.Join("..", "bin", "etcd")
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("this test needs etcd: %v; build it with 'make bin/etcd', or name one with %s", err, etcdVariable)
	}
	dir, client, peer := t.TempDir(), l.port(t), l.port(t)
	log := filepath.Join(dir, "log")
	p, err := startProcess(path, append([]string{
		"--name", "etcd", "--data-dir", filepath.Join(dir, "data"),
		"--listen-client-urls", "http://" + client, "--advertise-client-urls", "http://" + client,
		"--listen-peer-urls", "http://" + peer, "--initial-advertise-peer-urls", "http://" + peer,
		"--initial-cluster", "etcd=http://" + peer,
	}, args...), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the log of etcd ends:\n%s", tail(log, 20))
		}
	})
	c := etcdClientOf(t, client)
	for end := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := c.Get(ctx, "up")
		cancel()
		if err == nil {
			return client
		}
		if time.Now().After(end) || !p.alive() {
			t.Fatalf("etcd does not serve: %v", err)
		}
	}
}

// etcdClientOf is a client of one address, closed at the end of the test.
func etcdClientOf(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	c, err := newClient(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // nothing is in flight on it
	return c
}
