package test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestMembersOfWhichOneAddressIsDeadFormAClusterAndServe by the other of each, also
// through a restart, and their list has both.
func TestMembersOfWhichOneAddressIsDeadFormAClusterAndServe(t *testing.T) {
	t.Parallel()
	all := []*dropIn{newDropIn(t, "m1"), newDropIn(t, "m2"), newDropIn(t, "m3")}
	var list []string
	urls := map[*dropIn]string{}
	for i, d := range all {
		// Nobody listens at a port that low.
		dead, live := fmt.Sprintf("http://127.0.0.1:%d", i+1), "http://"+d.peer
		both := []string{dead, live}
		slices.Sort(both) // as etcd has them
		urls[d] = strings.Join(both, ",")
		list = append(list, d.name+"="+dead, d.name+"="+live)
	}
	line := func(d *dropIn) []string {
		return d.line("--initial-advertise-peer-urls", urls[d], "--initial-cluster", strings.Join(list, ","),
			"--listen-peer-urls", "http://"+d.peer+",http://"+here.port(t))
	}
	for _, d := range all {
		d.launch(nil, line(d)...)
	}
	for _, d := range all {
		d.awaitReady()
	}
	all[0].ctl(all[1:]...).prints("OK\n", "", "put", "a", "b")
	all[1].end(syscall.SIGTERM)
	all[2].ctl().prints("OK\n", "", "put", "a", "c")
	all[1].launch(nil, line(all[1])...)
	all[1].awaitReady()
	all[1].ctl().prints("a\nc\n", "", "get", "a")
	out, errOut, code := all[1].ctl().run("", "member", "list")
	for _, d := range all {
		if want := ", started, " + d.name + ", " + urls[d] + ", "; code != 0 || !strings.Contains(out, want) {
			t.Errorf("the list has no %q:\n%s%s", want, out, errOut)
		}
	}
}

// TestMembersSpeakTLSThatProvesNothing with certificates of their own making, which stay
// when a member is started again, in the version and with the suite that they are told.
func TestMembersSpeakTLSThatProvesNothing(t *testing.T) {
	t.Parallel()
	all := []*dropIn{newDropIn(t, "m1"), newDropIn(t, "m2"), newDropIn(t, "m3")}
	for _, d := range all {
		d.peerScheme = "https"
	}
	const suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
	line := func(d *dropIn) []string {
		return d.line("--peer-auto-tls", "--tls-max-version=TLS1.2", "--cipher-suites="+suite, "--initial-cluster", listOf(all...))
	}
	for _, d := range all {
		d.launch(nil, line(d)...)
	}
	for _, d := range all {
		d.awaitReady()
	}
	all[2].ctl().prints("OK\n", "", "put", "a", "b")
	first := peerTLS(t, all[0].peer)
	if first.Version != tls.VersionTLS12 || tls.CipherSuiteName(first.CipherSuite) != suite {
		t.Errorf("version %x, suite %s", first.Version, tls.CipherSuiteName(first.CipherSuite))
	}
	if !strings.Contains(all[0].proc.log(), "TLS that proves nothing") {
		t.Error("the log does not say what it does not protect against")
	}
	all[0].end(syscall.SIGTERM)
	all[0].launch(nil, line(all[0])...)
	all[0].awaitReady()
	all[0].ctl().prints("a\nb\n", "", "get", "a")
	if again := peerTLS(t, all[0].peer); !again.PeerCertificates[0].Equal(first.PeerCertificates[0]) {
		t.Error("another certificate was made")
	}
}

// TestAMemberIsTakenFromTheAddressesOfItsCertificate, as by etcd, unless that is left out.
func TestAMemberIsTakenFromTheAddressesOfItsCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	dir := t.TempDir()
	ca.trust(dir)
	ca.issue(dir, "peer")
	key := newKey(t)
	elsewhere := ca.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "elsewhere"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(10, 9, 9, 9)},
	}, ca.cert, &key.PublicKey)
	d := newDropIn(t, "m1")
	d.peerScheme = "https"
	for _, more := range [][]string{nil, {"--peer-skip-client-san-verification"}} {
		d.start(slices.Concat(ownFlags(dir), more, []string{"--initial-cluster", listOf(d)})...)
		c, err := tls.Dial("tcp", d.peer, &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{"h2"},
			Certificates: []tls.Certificate{{Certificate: [][]byte{elsewhere.Raw}, PrivateKey: key}},
		})
		if err != nil {
			t.Fatal(err)
		}
		// The server's word comes after the handshake: HTTP/2's settings, or what is wrong.
		_, err = c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		if (err == nil) != (more != nil) {
			t.Errorf("%q: %v", more, err)
		}
		_ = c.Close()
		d.end(syscall.SIGTERM)
	}
}

// peerTLS is what somebody agrees on with a peer port.
func peerTLS(t *testing.T, addr string) tls.ConnectionState {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState()
}

// TestClientsReachAMemberAtASocket, and at one port with TLS and without, as clients and
// as members have their sockets: nothing of it is on the network.
func TestClientsReachAMemberAtASocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "cf") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := newClientPort(t)
	all := []*dropIn{newDropIn(t, "m1"), newDropIn(t, "m2"), newDropIn(t, "m3")}
	at := func(d *dropIn, what string) string { return "unix://" + filepath.Join(dir, d.name+what) }
	var list []string
	for _, d := range all {
		list = append(list, d.name+"="+at(d, "p"))
	}
	for _, d := range all {
		d.launch(nil, d.line(append(p.flags(), "--listen-client-urls", at(d, "c")+",http://"+d.client+",https://"+d.client, "--advertise-client-urls", at(d, "c"),
			"--listen-peer-urls", at(d, "p"), "--initial-advertise-peer-urls", at(d, "p"), "--initial-cluster", strings.Join(list, ","))...)...)
	}
	for _, d := range all {
		d.awaitReady()
	}
	socket := newEtcdctl(t, at(all[0], "c"))
	socket.prints("OK\n", "", "put", "a", "b")
	newEtcdctl(t, "http://"+all[1].client).prints("a\nb\n", "", "get", "a")
	secure := newEtcdctl(t, "https://"+all[2].client)
	secure.flags = p.ctlFlags("alice")
	secure.prints("a\nb\n", "", "get", "a")
	out, errOut, code := socket.run("", "endpoint", "status", "--cluster")
	if code != 0 || strings.Count(out, "unix://"+dir) != len(all) {
		t.Errorf("%s%s", out, errOut)
	}
	all[0].end(syscall.SIGTERM)
	if left, err := filepath.Glob(filepath.Join(dir, "m1*")); err != nil || len(left) > 0 {
		t.Errorf("it left %q, %v", left, err)
	}
}
