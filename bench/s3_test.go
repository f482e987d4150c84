package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// objects is a server that keeps objects in memory and takes every signature.
type objects struct {
	mu   sync.Mutex
	kept map[string][]byte
	// spoil changes what is got.
	spoil bool
	puts  int
}

func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch r.Method {
	case http.MethodPut:
		o.puts++
		o.kept[r.URL.Path] = b
	case http.MethodDelete:
		delete(o.kept, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	default:
		b, ok := o.kept[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if o.spoil {
			b = bytes.Repeat([]byte("x"), len(b))
		}
		_, _ = w.Write(b) // a client that left is its own affair
	}
}

func newLoader(t *testing.T, o *objects, size int) *objectLoader {
	t.Helper()
	o.kept = map[string][]byte{}
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	return &objectLoader{client: newObjectClient([]string{srv.Listener.Addr().String()}, true), bodies: map[int][]body{size: newBodies(size)}}
}

func TestObjectLoadCountsWhatItPutsAndRemovesIt(t *testing.T) {
	const size = 64 << 10
	o := &objects{}
	loader := newLoader(t, o, size)
	// 2 MiB are 32 objects; the time is never reached.
	res, cleanUp, err := loader.run(t.Context(), objectLoad{Op: opPut, Clients: 4, Size: size}, time.Hour, 2<<20)
	if err != nil {
		t.Fatal(err)
	}
	if res.Operations != 32 || o.puts != 32 || len(o.kept) != 32 {
		t.Errorf("%d operations, %d puts, %d objects; want 32 of each", res.Operations, o.puts, len(o.kept))
	}
	if want := res.PerSecond / 16; res.MiBPerSecond != want {
		t.Errorf("%v MiB/s, want %v", res.MiBPerSecond, want)
	}
	if err := cleanUp(t.Context()); err != nil || len(o.kept) != 0 {
		t.Errorf("%d objects are left: %v", len(o.kept), err)
	}
}

func TestObjectLoadGetsWhatWasFilled(t *testing.T) {
	const size = 16 << 20
	o := &objects{}
	loader := newLoader(t, o, size)
	if err := loader.fill(t.Context(), size); err != nil {
		t.Fatal(err)
	}
	if len(o.kept) != filled(size) {
		t.Errorf("%d objects, want %d", len(o.kept), filled(size))
	}
	res, _, err := loader.run(t.Context(), objectLoad{Op: opGet, Clients: 2, Size: size}, time.Hour, 64<<20)
	if err != nil || res.Operations != 4 {
		t.Errorf("%d operations, want 4: %v", res.Operations, err)
	}
}

func TestServerThatKeepsOtherBytesIsNotMeasured(t *testing.T) {
	o := &objects{spoil: true}
	loader := newLoader(t, o, 1<<20)
	if err := loader.fill(t.Context(), 1<<20); err == nil || !strings.Contains(err.Error(), "not those that were put") {
		t.Errorf("other bytes came back, and the error is %v", err)
	}
}

func TestObjectLoadEndsWithTheFirstRefusal(t *testing.T) {
	loader := newLoader(t, &objects{}, 1<<20)
	_, _, err := loader.run(t.Context(), objectLoad{Op: opGet, Clients: 2, Size: 1 << 20}, time.Hour, 1<<30)
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("nothing is there, and the error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := loader.run(ctx, objectLoad{Op: opPut, Clients: 2, Size: 1 << 20}, time.Hour, 1<<30); err == nil {
		t.Error("a load whose context has ended has figures")
	}
}

func TestObjectRatiosAreOfMedians(t *testing.T) {
	l := objectLoad{Op: opPut, Clients: 8, Size: 4 << 10}
	take := func(name string, perSecond, cpu float64) objectTurn {
		return objectTurn{System: name, Load: l, objectResult: objectResult{loadResult: loadResult{PerSecond: perSecond, P99: 2}}, CPUPerGiB: cpu}
	}
	turns := []objectTurn{
		take("minio", 100, 4), take("chainfire", 900, 1), take("minio", 300, 4), take("chainfire", 400, 1), take("minio", 200, 4), take("chainfire", 600, 1),
	}
	got := objectContests(turns, []objectLoad{l}, []system{newMinio(""), newChainFireS3("")})
	if len(got) != 1 || got[0].Ratios == nil || got[0].Ratios.PerSecond != 3 || got[0].Ratios.CPUPerGiB != 0.25 {
		t.Fatalf("contests: %+v", got)
	}
	var out bytes.Buffer
	if err := printObjectContests(&out, got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"put 4 KiB, 8 clients", "minio", "chainfire", "ratio", "3.00", "0.25"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
