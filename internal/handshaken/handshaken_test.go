package handshaken

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"google.golang.org/grpc/credentials"
)

// wrapped is a connection that was looked at and passed on.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestWhoIsAtTheOtherSideIsToldOfConnectionsOverTLSAlone(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	secure := wrapped{wrapped{tls.Server(a, &tls.Config{})}}
	for _, c := range []Credentials{{}, {Plain: true}} {
		conn, info, err := c.ServerHandshake(secure)
		got, ok := info.(credentials.TLSInfo)
		if err != nil || conn != net.Conn(secure) || !ok || got.SecurityLevel != credentials.PrivacyAndIntegrity {
			t.Errorf("%+v: %v, %v, %v", c, conn, info, err)
		}
		conn, info, err = c.ServerHandshake(wrapped{b})
		if c.Plain && (err != nil || conn != net.Conn(wrapped{b}) || info != nil) || !c.Plain && (err == nil || conn != nil) {
			t.Errorf("%+v without TLS: %v, %v, %v", c, conn, info, err)
		}
		if _, _, err := c.ClientHandshake(context.Background(), "", b); err == nil {
			t.Errorf("%+v are taken for those of a client", c)
		}
	}
}
