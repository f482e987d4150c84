package etcdapi

import (
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestClientsAreToldHowManyCallsTheyMayHave looks at what the server says first on a
// connection: a client that is told so holds its further calls back.
func TestClientsAreToldHowManyCallsTheyMayHave(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxConcurrentStreams = 7 })
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	first, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := first.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %v", first)
	}
	if n, ok := settings.Value(http2.SettingMaxConcurrentStreams); !ok || n != 7 {
		t.Errorf("clients are told %d, %t", n, ok)
	}
}
