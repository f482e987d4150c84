package test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// etcdVariable names another etcd than the one that make builds.
const etcdVariable = "CHAINFIRE_ETCD"

// startEtcd runs etcd itself as a cluster of one, and returns where its clients
// connect. It ends with the test.
func startEtcd(t *testing.T) string {
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
	dir, client, peer := t.TempDir(), here.port(t), "http://"+here.port(t)
	log, err := os.Create(filepath.Join(dir, "etcd.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--data-dir", filepath.Join(dir, "data"),
		"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, dieWithParent()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // how it ended is not asked
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	await(t, "etcd: be healthy", patience, func(ctx context.Context) error {
		a, err := httpCall{method: http.MethodGet, path: "/health"}.at(ctx, client)
		if err == nil && a.code != http.StatusOK {
			err = fmt.Errorf("%d %s", a.code, a.body)
		}
		return err
	})
	return client
}
