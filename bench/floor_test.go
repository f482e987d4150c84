package main

import (
	"context"
	"net"
	"os"
	"testing"
	"time"
)

func TestAnEmptyCallIsAnsweredWithNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serveEcho(ctx, l) }()
	conn, err := newLane(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var request []byte
	reply := []byte("what was there")
	if err := conn.Invoke(t.Context(), methodEcho, &request, &reply); err != nil || len(reply) != 0 {
		t.Errorf("the answer is %q, %v", reply, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestSyncsInPlaceLeaveNothing(t *testing.T) {
	p := place{dir: t.TempDir()}
	h, err := p.syncInPlace(time.Millisecond)
	if err != nil || h.n == 0 || h.quantile(0.5) <= 0 {
		t.Fatalf("%d syncs, %v", h.n, err)
	}
	if left, err := os.ReadDir(p.dir); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}
