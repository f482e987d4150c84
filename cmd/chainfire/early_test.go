package main

import (
	"context"
	"crypto/tls"
	"io"
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

	"chainfire/internal/disk"
	"chainfire/join"
	"chainfire/pki"
)

func TestMemberThatJoinsAnswersClientsWithTLSAndWithout(t *testing.T) {
	files, _, err := pki.SelfSigned(disk.OS(), t.TempDir(), []string{"127.0.0.1"}, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secure, err := pki.LoadPort(pki.PortOptions{FS: disk.OS(), Files: files, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	anyServer := &tls.Config{InsecureSkipVerify: true}
	plainly, securely := insecure.NewCredentials(), credentials.NewTLS(anyServer)
	for _, x := range []struct {
		scheme string
		port   *pki.Port
		either bool
		creds  credentials.TransportCredentials
	}{
		{"http", nil, false, plainly},
		{"https", secure, false, securely},
		{"http", secure, true, plainly},
		{"https", secure, true, securely},
	} {
		scheme := x.scheme
		lis, err := listenClient("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		early := newEarlyPort(lis, x.port)
		early.plain = early.plain || x.either
		early.tell(join.Event{Step: join.StepSeed, Done: 1 << 20, Total: 2 << 20})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+lis.Addr().String()+"/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Transport{TLSClientConfig: anyServer.Clone(), ForceAttemptHTTP2: true, DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "1.0 MiB of 2.0 MiB") {
			t.Errorf("%s: %s %s, %v", scheme, resp.Status, body, err)
		}
		conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(x.creds))
		if err != nil {
			t.Fatal(err)
		}
		_, err = pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("a")})
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "is joining the cluster and does not serve yet") {
			t.Errorf("%s: a call: %v", scheme, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := early.handOn(); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		if err := lis.Close(); err != nil {
			t.Error(err)
		}
	}
}
