package test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcdTool is the path of a program of etcd: etcd, etcdctl or etcdutl.
func etcdTool(t *testing.T, name string) string {
	t.Helper()
	variable := "CHAINFIRE_" + strings.ToUpper(name)
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join("..", "bin", name)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("this test needs %s: %v; build it with 'make bin/%s', or name one with %s", name, err, name, variable)
	}
	return path
}

// newEtcd starts one member of etcd, to compare with, and returns its client address:
// with nothing, or with what etcdutl restores of a file, with flags. It is killed at the end of the
// test.
func (l *lab) newEtcd(t *testing.T, restore ...string) string {
	t.Helper()
	return l.startEtcd(t, restore...).client
}

// newEtcdWith is newEtcd with flags of the server.
func (l *lab) newEtcdWith(t *testing.T, flags []string, restore ...string) string {
	t.Helper()
	return l.newEtcdOver(t, "http", nil, flags, restore...)
}

// newEtcdOver is newEtcdWith, with a scheme for clients, and how tests then speak to it.
func (l *lab) newEtcdOver(t *testing.T, scheme string, cfg *tls.Config, flags []string, restore ...string) string {
	t.Helper()
	return l.startEtcdOver(t, scheme, cfg, flags, restore...).client
}

// etcdServer is a member of etcd that runs.
type etcdServer struct {
	// dir is its data directory.
	dir, client string
	proc        *process
}

// stop ends it in good order.
func (e *etcdServer) stop(t *testing.T) {
	t.Helper()
	if err := e.proc.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := e.proc.exit(patience); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) startEtcd(t *testing.T, restore ...string) *etcdServer {
	t.Helper()
	return l.startEtcdOver(t, "http", nil, nil, restore...)
}

func (l *lab) startEtcdOver(t *testing.T, scheme string, cfg *tls.Config, flags []string, restore ...string) *etcdServer {
	t.Helper()
	return l.startEtcdIn(t, t.TempDir(), scheme, cfg, flags, restore...)
}

// kill ends it as a crash does.
func (e *etcdServer) kill(t *testing.T) {
	t.Helper()
	if err := e.proc.kill(); err != nil {
		t.Fatal(err)
	}
}

// restartEtcd starts one that has ended, on its directory.
func (l *lab) restartEtcd(t *testing.T, e *etcdServer) *etcdServer {
	t.Helper()
	return l.startEtcdIn(t, filepath.Dir(e.dir), "http", nil, nil)
}

// startEtcdIn starts one in a folder, which may have been another's.
func (l *lab) startEtcdIn(t *testing.T, dir, scheme string, cfg *tls.Config, flags []string, restore ...string) *etcdServer {
	t.Helper()
	client, peer := l.port(t), l.port(t)
	log := filepath.Join(dir, "log")
	same := []string{
		"--name", "etcd", "--data-dir", filepath.Join(dir, "data"),
		"--initial-advertise-peer-urls", "http://" + peer, "--initial-cluster", "etcd=http://" + peer,
	}
	if len(restore) > 0 {
		args := append(append([]string{"snapshot", "restore"}, restore...), same...)
		if a := runToEnd(t, dir, etcdTool(t, "etcdutl"), args...); a.code != 0 {
			t.Fatalf("restore: exit code %d: %s%s", a.code, a.stdout, a.stderr)
		}
	}
	p, err := startProcess(etcdTool(t, "etcd"), append(append(same,
		"--listen-client-urls", scheme+"://"+client, "--advertise-client-urls", scheme+"://"+client, "--listen-peer-urls", "http://"+peer,
	), flags...), log)
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
	c := etcdClientOver(t, cfg, client)
	for end := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := c.Get(ctx, "up")
		cancel()
		if err == nil || errors.Is(err, rpctypes.ErrUserEmpty) { // of a file with users
			return &etcdServer{dir: filepath.Join(dir, "data"), client: client, proc: p}
		}
		if time.Now().After(end) || !p.alive() {
			t.Fatalf("etcd does not serve: %v", err)
		}
	}
}

// etcdClientOf is a client of one address, closed at the end of the test.
func etcdClientOf(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	return etcdClientOver(t, nil, endpoint)
}

func etcdClientOver(t *testing.T, cfg *tls.Config, endpoint string) *clientv3.Client {
	t.Helper()
	c, err := newTLSClient(cfg, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // nothing is in flight on it
	return c
}
