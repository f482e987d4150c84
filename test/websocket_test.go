package test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/gorilla/websocket"
)

// openSocket opens a WebSocket for a method, or returns what was answered in place of it.
func openSocket(t *testing.T, addr, method string, header http.Header, protocols ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d := websocket.Dialer{Subprotocols: protocols}
	c, resp, err := d.DialContext(ctx, "ws://"+addr+"/v3/"+method, header)
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, resp, err
}

// said is one message of a socket, without what differs by its nature.
func said(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	kind, b, err := c.ReadMessage()
	if err != nil {
		return "ended: " + err.Error()
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil || kind != websocket.TextMessage {
		return "no JSON: " + string(b)
	}
	b, err = json.Marshal(blank(v))
	if err != nil {
		t.Fatal(err)
	}
	return common(string(b))
}

// TestStreamsOverWebSocketsAreEtcds says the same over a socket to etcd and to a member.
func TestStreamsOverWebSocketsAreEtcds(t *testing.T) {
	t.Parallel()
	addrs := []string{here.newEtcd(t), oneMember(t).members[0].client}
	for name, tc := range map[string]struct {
		method string
		say    []string
		hear   int
	}{
		"a watch": {"watch", []string{
			`{"create_request":{"key":"YQ=="}}`, `{"progress_request":{}}`, `{"create_request":{"key":"Yg==","watch_id":"7"}}`, `{"cancel_request":{"watch_id":"7"}}`,
		}, 4},
		"what is no JSON": {"watch", []string{`{`}, 0},
		"no such path":    {"kv/nothing", []string{`{}`}, 0},
	} {
		var heard []string
		for _, addr := range addrs {
			c, _, err := openSocket(t, addr, tc.method, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var lines []string
			for i, m := range tc.say {
				if err := c.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if i < tc.hear {
					lines = append(lines, said(t, c))
				}
			}
			heard = append(heard, strings.Join(lines, "\n"))
		}
		if heard[0] != heard[1] || tc.hear > 0 && heard[0] == "" {
			t.Errorf("%s: heard\n%s\netcd:\n%s", name, heard[1], heard[0])
		}
	}
}

// TestSocketHearsEventsUntilItsClientLeaves, and a page of another origin opens none where
// origins are named.
func TestSocketHearsEventsUntilItsClientLeaves(t *testing.T) {
	t.Parallel()
	m := oneMember(t, "--cors", "https://a.example", "--bcrypt-cost", "4").members[0]
	c, _, err := openSocket(t, m.client, "watch", http.Header{"Origin": {"https://a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WriteMessage(websocket.BinaryMessage, []byte(`{"create_request":{"key":"YQ=="}}`)); err != nil {
		t.Fatal(err)
	}
	if got := said(t, c); !strings.Contains(got, "created") {
		t.Fatal(got)
	}
	for range 3 {
		if _, err := m.kv().Put(t.Context(), "a", "v"); err != nil {
			t.Fatal(err)
		}
		if got := said(t, c); !strings.Contains(got, `"events"`) {
			t.Fatal(got)
		}
	}
	_, resp, err := openSocket(t, m.client, "watch", http.Header{"Origin": {"https://evil.example"}})
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page: %v, %+v", err, resp)
	}
	withUsers(t, m.kv())
	token, err := pb.NewAuthClient(dial(t, m.client)).Authenticate(t.Context(), &pb.AuthenticateRequest{Name: "ann", Password: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{token.Token: "created", "never.1": "invalid auth token"} {
		as, _, err := openSocket(t, m.client, "watch", nil, "Bearer", token)
		if err != nil || as.Subprotocol() != "Bearer" {
			t.Fatalf("%v, %q", err, as.Subprotocol())
		}
		if err := as.WriteMessage(websocket.TextMessage, []byte(`{"create_request":{"key":"YQ=="}}`)); err != nil {
			t.Fatal(err)
		}
		if got := said(t, as); !strings.Contains(got, want) {
			t.Errorf("with a token: %s, want %s", got, want)
		}
	}
	// A stop does not wait for an open socket.
	m.stop()
	if got := said(t, c); !strings.HasPrefix(got, "ended") && !strings.Contains(got, "error") {
		t.Errorf("after the end of the member: %s", got)
	}
}
