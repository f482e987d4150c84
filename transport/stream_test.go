package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chainfire/raft"
)

// dialRaw connects to addr as member 1 and gets through the handshake.
func dialRaw(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(c) })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	h := Hello{Version: Version, MinVersion: MinVersion, ClusterID: testCluster, From: 1, To: 2, Incarnation: 101}
	if _, err := c.Write(appendFrame([]byte(Magic), kindHello, encodeHello(h))); err != nil {
		t.Fatal(err)
	}
	k, _, err := readFrame(c, smallFrame)
	if err != nil || k != kindWelcome {
		t.Fatalf("kind %d, %v", k, err)
	}
	return c
}

func messagesFrame(msgs ...raft.Message) []byte {
	return appendFrame(nil, kindMessages, appendMessages(nil, msgs))
}

func TestBadStreamIsClosedAndTheReasonNamed(t *testing.T) {
	good := messagesFrame(heartbeat(1, 2, 1))
	flipped := messagesFrame(heartbeat(1, 2, 2))
	flipped[len(flipped)-1] ^= 0x10
	for name, c := range map[string]struct {
		frame []byte
		want  string
	}{
		"flipped bit":    {flipped, "checksum"},
		"foreign sender": {messagesFrame(heartbeat(3, 2, 1)), "from 3 to 2"},
		"foreign target": {messagesFrame(heartbeat(1, 3, 1)), "from 1 to 3"},
		"length":         {[]byte{0xff, 0xff, 0xff, 0xff, byte(kindMessages), 0, 0, 0, 0, 0, 0, 0}, "the limit is"},
		"small too long": {[]byte{0, 0x20, 0, 0, byte(kindPing), 0, 0, 0, 0, 0, 0, 0}, "the limit is"},
		"kind":           {appendFrame(nil, 77, nil), "kind 77"},
		"direction":      {appendFrame(nil, kindWelcome, nil), "from a dialer"},
		"reserved bytes": {[]byte{0, 0, 0, 0, byte(kindPing), 0, 1, 0, 0, 0, 0, 0}, "reserved"},
		"payload":        {appendFrame(nil, kindMessages, []byte{200}), "malformed payload"},
		"envelope":       {appendFrame(nil, kindEnvelope, nil), "empty envelope"},
	} {
		t.Run(name, func(t *testing.T) {
			rb := newRecorder()
			b := start(t, options(2, rb))
			b.SetPeer(1, nil, 0)
			conn := dialRaw(t, serve(t, b, "127.0.0.1:0"))
			if _, err := conn.Write(append(append([]byte{}, good...), c.frame...)); err != nil {
				t.Fatal(err)
			}
			k, payload, err := readFrame(conn, smallFrame)
			if err != nil || k != kindRefuse {
				t.Fatalf("kind %d, %v", k, err)
			}
			if r := decodeRefusal(payload); r.Code != CodeBadStream || !strings.Contains(r.Text, c.want) {
				t.Fatalf("reason is %v", r)
			}
			if _, _, err := readFrame(conn, smallFrame); !errors.Is(err, io.EOF) {
				t.Fatalf("connection is open: %v", err)
			}
			rb.await(t, "what came before", func() bool { return len(rb.messages) == 1 })
			if s := b.Peers()[0]; s.ReceiveFailures != 1 {
				t.Errorf("%d failures are counted", s.ReceiveFailures)
			}
		})
	}
}

func TestStrangersAtThePortAreHungUpOn(t *testing.T) {
	o := options(2, newRecorder())
	o.DialTimeout = 50 * time.Millisecond
	addr := serve(t, start(t, o), "127.0.0.1:0")
	for name, sent := range map[string]string{
		"other protocol": "PRI * HTTP/2.0\r\n\r\n", "silence": "", "half a hello": Magic + "\x38\x00",
		"no hello": string(appendFrame([]byte(Magic), kindPing, nil)),
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read %d bytes, %v", name, n, err)
		}
		closeConn(c)
	}
}

func TestUnknownVersionIsRefused(t *testing.T) {
	conn, far := net.Pipe()
	b := start(t, options(2, newRecorder()))
	go b.ServeConn(far)
	h := Hello{Version: 9, MinVersion: 8, ClusterID: testCluster, From: 1, To: 2}
	if _, err := conn.Write(appendFrame([]byte(Magic), kindHello, append(encodeHello(h), "more"...))); err != nil {
		t.Fatal(err)
	}
	k, payload, err := readFrame(conn, smallFrame)
	if err != nil || k != kindRefuse || decodeRefusal(payload).Code != CodeUnknownVersion {
		t.Fatalf("kind %d %q, %v", k, payload, err)
	}
	closeConn(conn)
}

func TestFullQueueDropsAndReportsOnceAndNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		o := options(1, r)
		var far chan net.Conn
		o.Dial, far = pipeDialer()
		o.QueueBytes = 4 << 20
		a := start(t, o)
		a.SetPeer(2, []string{"b"}, 0)
		conn := <-far
		welcomeBy(t, conn, 2, 102)
		r.await(t, "connected", func() bool { return len(r.connected) == 1 })
		began := time.Now()
		for i := uint64(1); i <= 50; i++ {
			a.Send([]raft.Message{appendOf(1, 2, i, 1<<20)})
		}
		if time.Since(began) != 0 {
			t.Fatal("Send waited")
		}
		synctest.Wait()
		if len(r.unreachable) != 1 || !errors.Is(r.unreachable[0], ErrQueueFull) {
			t.Fatalf("reported %v", r.unreachable)
		}
		if s := a.Peers()[0]; s.QueuedBytes > 5<<20 || s.DroppedMessages < 44 {
			t.Fatalf("state is %+v", s)
		}
		// Nobody reads: the connection is given up after the write timeout.
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if len(r.unreachable) < 2 || !errors.Is(r.unreachable[1], os.ErrDeadlineExceeded) {
			t.Fatalf("reported %v", r.unreachable)
		}
		if s := a.Peers()[0]; s.Connected || s.QueuedMessages != 0 {
			t.Fatalf("state is %+v", s)
		}
		a.Close()
		closeConn(conn)
		for len(far) > 0 {
			closeConn(<-far)
		}
	})
}

func TestHeartbeatsOvertakeABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		o := options(1, r)
		var far chan net.Conn
		o.Dial, far = pipeDialer()
		a := start(t, o)
		a.SetPeer(2, []string{"b"}, 0)
		conn := <-far
		welcomeBy(t, conn, 2, 102)
		for i := uint64(1); i <= 40; i++ {
			a.Send([]raft.Message{appendOf(1, 2, i, 300<<10)})
		}
		synctest.Wait()
		vote := raft.Message{Type: raft.MsgVote, From: 1, To: 2, Term: 8}
		a.Send([]raft.Message{heartbeat(1, 2, 5), vote})
		before, appends := -1, 0
		for appends < 40 {
			k, payload, err := readFrame(conn, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if k != kindMessages {
				continue
			}
			msgs, err := decodeMessages(payload)
			if err != nil {
				t.Fatal(err)
			}
			for i := range msgs {
				switch msgs[i].Type {
				case raft.MsgHeartbeat:
					before = appends
				case raft.MsgAppend:
					appends++
					if msgs[i].Index != uint64(appends-1) {
						t.Fatalf("append %d came as number %d", msgs[i].Index, appends)
					}
				}
			}
		}
		if before < 0 || before > 1 {
			t.Fatalf("%d of 40 appends came before the heartbeat", before)
		}
		a.Close()
		closeConn(conn)
	})
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		o := options(1, r)
		var far chan net.Conn
		o.Dial, far = pipeDialer()
		a := start(t, o)
		a.SetPeer(2, []string{"b"}, 0)
		conn := <-far
		welcomeBy(t, conn, 2, 102)
		go func() { _, _ = io.Copy(io.Discard, conn) }() // takes everything, says nothing
		time.Sleep(o.IdleTimeout + 5500*time.Millisecond)
		synctest.Wait()
		if len(r.unreachable) == 0 || !strings.Contains(r.unreachable[0].Error(), "nothing arrived for 5s") {
			t.Fatalf("reported %v", r.unreachable)
		}
		a.Close()
		for len(far) > 0 {
			closeConn(<-far)
		}
	})
}

// slowConn lets bytes through at a rate.
type slowConn struct {
	net.Conn
	perSecond int
}

func (c *slowConn) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, err := c.Conn.Write(p[done:min(len(p), done+c.perSecond/10)])
		done += n
		if err != nil {
			return done, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return len(p), nil
}

func TestLargeMessageGetsThroughASlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ra, rb := newRecorder(), newRecorder()
		b := start(t, options(2, rb))
		o := options(1, ra)
		o.Dial = func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			go b.ServeConn(far)
			return &slowConn{Conn: near, perSecond: 100 << 10}, nil
		}
		a := start(t, o)
		a.SetPeer(2, []string{"b"}, 0)
		ra.await(t, "connected", func() bool { return len(ra.connected) == 1 })
		// Half a minute on the way, with idle and write timeouts of five seconds.
		a.Send([]raft.Message{appendOf(1, 2, 1, 3<<20)})
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if len(rb.messages) != 1 || len(ra.unreachable) != 0 {
			t.Fatalf("%d messages arrived, unreachable %v", len(rb.messages), ra.unreachable)
		}
		a.Close()
		b.Close()
	})
}

func TestIdleConnectionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ra, rb := newRecorder(), newRecorder()
		b := start(t, options(2, rb))
		o := options(1, ra)
		o.Dial = func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			go b.ServeConn(far)
			return near, nil
		}
		a := start(t, o)
		a.SetPeer(2, []string{"b"}, 0)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(ra.connected) != 1 || len(ra.unreachable) != 0 {
			t.Fatalf("connected %d times, unreachable %v", len(ra.connected), ra.unreachable)
		}
		a.Close()
		b.Close()
	})
}

func TestRetriesStayWithinTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		o := options(1, r)
		var times []time.Time
		o.Dial = func(context.Context, string) (net.Conn, error) {
			times = append(times, time.Now())
			return nil, errors.New("no route")
		}
		a := start(t, o)
		a.SetPeer(2, []string{"b"}, 0)
		time.Sleep(time.Minute)
		a.Close()
		for i := 1; i < len(times); i++ {
			gap := times[i].Sub(times[i-1])
			if gap < 25*time.Millisecond || gap > time.Second {
				t.Fatalf("retry %d after %s", i, gap)
			}
		}
		if len(times) < 60 || len(times) > 130 {
			t.Fatalf("%d attempts in a minute", len(times))
		}
		if len(r.unreachable) != len(times) {
			t.Fatalf("%d reports of %d attempts", len(r.unreachable), len(times))
		}
	})
}

func TestNewestConnectionOfAPeerReplacesTheOlder(t *testing.T) {
	rb := newRecorder()
	addr := serve(t, start(t, options(2, rb)), "127.0.0.1:0")
	first := dialRaw(t, addr)
	second := dialRaw(t, addr)
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the older connection is open: %v", err)
	}
	if _, err := second.Write(messagesFrame(heartbeat(1, 2, 1))); err != nil {
		t.Fatal(err)
	}
	rb.await(t, "a message", func() bool { return len(rb.messages) == 1 })
}

func TestWhatHasArrivedIsHandedOverAsOneBatch(t *testing.T) {
	rb := newRecorder()
	conn := dialRaw(t, serve(t, start(t, options(2, rb)), "127.0.0.1:0"))
	var frames []byte
	for i := range uint64(100) {
		frames = append(frames, messagesFrame(heartbeat(1, 2, i))...)
	}
	if _, err := conn.Write(frames); err != nil {
		t.Fatal(err)
	}
	rb.await(t, "100 messages", func() bool { return len(rb.messages) == 100 })
	if rb.batches > 10 {
		t.Fatalf("100 frames of one write came as %d batches", rb.batches)
	}
}
