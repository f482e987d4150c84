package test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPeerPortTellsVersionAndMembers as etcd's does: to everyone where members speak
// without TLS, else to members.
func TestPeerPortTellsVersionAndMembers(t *testing.T) {
	t.Parallel()
	plain := here.newMember(t, "plain")
	plain.peer = "http://" + plain.peer
	plain.args = append(plain.args, "--insecure-listen-remote")
	plain.start()
	plain.awaitServing()
	peer := strings.TrimPrefix(plain.peer, "http://")
	if r := get("/version").mustAt(t, peer); r.code != 200 || r.body != `{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0"}` {
		t.Errorf("/version: %+v", r)
	}
	r := get("/members").mustAt(t, peer)
	var members []struct {
		ID                   uint64
		Name                 string
		PeerURLs, ClientURLs []string
	}
	if err := json.Unmarshal([]byte(r.body), &members); err != nil || r.code != 200 || len(members) != 1 ||
		members[0].ID == 0 || members[0].Name != "plain" || members[0].PeerURLs[0] != plain.peer || members[0].ClientURLs[0] != "http://"+plain.client {
		t.Errorf("/members: %+v, %v", r, err)
	}
	if r := get("/members/x").mustAt(t, peer); r.code != 404 {
		t.Errorf("/members/x: %+v", r)
	}
	if r := (httpCall{method: http.MethodPut, path: "/members"}).mustAt(t, peer); r.code != 405 {
		t.Errorf("PUT /members: %+v", r)
	}
	secure := oneMember(t).members[0]
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("https://" + secure.peer + "/members")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != 401 || !strings.Contains(string(body), "for members of the cluster") || err != nil {
		t.Errorf("a stranger: %d %s, %v", resp.StatusCode, body, err)
	}
	if r := get("/debug/vars").mustAt(t, secure.client); r.code != 200 || strings.Contains(r.body, "cmdline") || !strings.Contains(r.body, `"raftState":"StateLeader"`) {
		t.Errorf("/debug/vars: %.300s", r.body)
	}
}
