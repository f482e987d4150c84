package s3api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"chainfire/object"
	"chainfire/s3api/s3test"
	"chainfire/sigv4"
)

func TestNoCallerHoldsMoreThanThreeQuartersOfWhatOthersLeave(t *testing.T) {
	s := newSlots(1024)
	var got []int
	for _, caller := range []string{"a", "b", "c", "d", "e", "f"} {
		n := 0
		for s.all < 1024 && s.hold(caller) {
			n++
		}
		got = append(got, n)
	}
	if want := []int{768, 192, 48, 12, 3, 1}; !slices.Equal(got, want) {
		t.Errorf("callers that want all, one after the other, hold %v, want %v", got, want)
	}
}

func TestCallersThatWantAllComeToHoldAsMany(t *testing.T) {
	s := newSlots(1024)
	callers := []string{"a", "b", "c"}
	for _, c := range callers {
		for s.hold(c) {
		}
	}
	for range 2000 {
		for _, c := range callers {
			s.leave(c)
			for s.hold(c) {
			}
		}
	}
	for _, c := range callers { // 3/10 of all each: three of four that the others leave
		if n := s.held[c]; n < 300 || n > 312 {
			t.Errorf("%s holds %d of 1024, want three tenths; all: %v", c, n, s.held)
		}
	}
	for _, c := range callers {
		for range s.held[c] {
			s.leave(c)
		}
	}
	if len(s.held) != 0 || s.all != 0 {
		t.Errorf("%v and %d are held when all have left", s.held, s.all)
	}
}

// busy is a server of eight slots whose one operation ends when it is told to.
type busy struct {
	t       *testing.T
	s       *Server
	entered chan string
	end     chan error
	slowed  chan string
}

func (b *busy) Began()                          {}
func (b *busy) SlowedDown(reason string)        { b.slowed <- reason }
func (b *busy) Ended(string, int, int64, int64) {}

func startBusy(t *testing.T) *busy {
	t.Helper()
	service := s3test.New()
	for _, id := range []string{"AKGREEDY", "AKOTHER"} {
		if err := service.AddKey(object.AccessKey{ID: id}, "secret-"+id); err != nil {
			t.Fatal(err)
		}
	}
	b := &busy{t: t, entered: make(chan string), end: make(chan error), slowed: make(chan string, 100)}
	b.s = New(Options{Service: service, Logger: slog.New(slog.DiscardHandler), Limits: Limits{Requests: 8}, Stats: b})
	b.s.table = []operation{{name: "Wait", method: http.MethodGet, level: serviceLevel, access: accessListed, handle: b.wait}}
	return b
}

func (b *busy) wait(rq *request) error {
	b.entered <- rq.who.id()
	select {
	case err := <-b.end:
		if err != nil {
			return err
		}
		return rq.empty(http.StatusOK)
	case <-rq.ctx().Done():
		return rq.ctx().Err()
	}
}

// request is one that a key has signed, with the secret given.
func (b *busy) request(ctx context.Context, id, secret string) *http.Request {
	b.t.Helper()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	signer := sigv4.Signer{Credentials: sigv4.Credentials{AccessKeyID: id, SecretAccessKey: secret}, Region: "us-east-1"}
	if err := signer.Sign(r, sigv4.UnsignedPayload, time.Now()); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// serve serves a request beside others. What came of it is in the channel: nil if it was cut.
func (b *busy) serve(r *http.Request) <-chan *httptest.ResponseRecorder {
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		defer func() {
			if recover() != nil {
				w = nil
			}
			done <- w
		}()
		b.s.ServeHTTP(w, r)
	}()
	return done
}

// enter has a key ask, and returns the answer if there is one at once, else where it will be.
func (b *busy) enter(ctx context.Context, id string) (*httptest.ResponseRecorder, <-chan *httptest.ResponseRecorder) {
	b.t.Helper()
	done := b.serve(b.request(ctx, id, "secret-"+id))
	select {
	case <-b.entered:
		return nil, done
	case w := <-done:
		return w, nil
	}
}

// want holds the server to how many callers hold slots, and how many are taken.
func (b *busy) want(held map[string]int, taken int) {
	b.t.Helper()
	b.s.slots.mu.Lock()
	defer b.s.slots.mu.Unlock()
	all := 0
	for id, n := range b.s.slots.held {
		all += n
		if held[id] != n {
			b.t.Errorf("%q holds %d, want %d", id, n, held[id])
		}
	}
	if len(b.s.slots.held) != len(held) || b.s.slots.all != all || len(b.s.slots.taken) != taken {
		b.t.Errorf("%v are held, %d in all, and %d taken; want %v and %d", b.s.slots.held, b.s.slots.all, len(b.s.slots.taken), held, taken)
	}
}

func TestAGreedyKeyLeavesSlotsToOthers(t *testing.T) {
	b := startBusy(t)
	var waiting []<-chan *httptest.ResponseRecorder
	for i := range 20 {
		w, later := b.enter(t.Context(), "AKGREEDY")
		if later != nil {
			waiting = append(waiting, later)
			continue
		}
		if i < 6 || w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "<Code>SlowDown</Code>") || !strings.Contains(w.Body.String(), "AKGREEDY has as many") ||
			w.Header().Get("Retry-After") != "1" || w.Header().Get("Connection") != "close" {
			t.Fatalf("request %d: %d %v %s", i, w.Code, w.Header(), w.Body)
		}
		if why := <-b.slowed; why != SlowShare {
			t.Errorf("request %d was counted as %q", i, why)
		}
	}
	b.want(map[string]int{"AKGREEDY": 6}, 6)
	w, later := b.enter(t.Context(), "AKOTHER")
	if later == nil {
		t.Fatalf("another key is locked out: %d %s", w.Code, w.Body)
	}
	waiting = append(waiting, later)
	b.want(map[string]int{"AKGREEDY": 6, "AKOTHER": 1}, 7)
	for range waiting {
		b.end <- nil
	}
	for _, later := range waiting {
		if w := <-later; w == nil || w.Code != http.StatusOK {
			t.Errorf("one that was let in: %v", w)
		}
	}
	b.want(nil, 0)
}

func TestASlotIsGivenBackHoweverARequestEnds(t *testing.T) {
	b := startBusy(t)
	for name, end := range map[string]func(context.CancelFunc){
		"done":      func(context.CancelFunc) { b.end <- nil },
		"refused":   func(context.CancelFunc) { b.end <- refuse(codeAccessDenied) },
		"failed":    func(context.CancelFunc) { b.end <- io.ErrUnexpectedEOF },
		"cancelled": func(cancel context.CancelFunc) { cancel() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		w, later := b.enter(ctx, "AKGREEDY")
		if later == nil {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
		end(cancel)
		<-later
		cancel()
		b.want(nil, 0)
	}
	for name, handle := range map[string]func(*request) error{
		"a panic":                   func(*request) error { panic("it broke") },
		"a cut":                     func(*request) error { panic(http.ErrAbortHandler) },
		"an answer cut in its half": half,
	} {
		b.s.table[0].handle = handle
		<-b.serve(b.request(t.Context(), "AKGREEDY", "secret-AKGREEDY"))
		b.want(nil, 0)
		if t.Failed() {
			t.Fatalf("after %s", name)
		}
	}
}

// slowly is a body that says when it is read, and does not come before it is told to.
type slowly struct{ read, end chan struct{} }

func (s *slowly) Read([]byte) (int, error) {
	s.read <- struct{}{}
	<-s.end
	return 0, io.EOF
}

func (*slowly) Close() error { return nil }

func TestAStrangerWithTheNameOfAKeyUsesUpNothingOfItsShare(t *testing.T) {
	b := startBusy(t)
	body := &slowly{make(chan struct{}), make(chan struct{})}
	var waiting []<-chan *httptest.ResponseRecorder
	for i := range 12 { // each is refused, but not before its body was waited for
		r := b.request(t.Context(), "AKOTHER", "guessed")
		r.Body, r.ContentLength = body, 10
		done := b.serve(r)
		select {
		case <-body.read:
			waiting = append(waiting, done)
		case w := <-done:
			if i < 6 || w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "those who do not sign have") || w.Header().Get("Connection") != "close" {
				t.Fatalf("stranger %d: %d %s", i, w.Code, w.Body)
			}
		}
	}
	b.want(map[string]int{strangers: 6}, 6)
	w, later := b.enter(t.Context(), "AKOTHER")
	if later == nil {
		t.Fatalf("the key whose name they use is locked out: %d %s", w.Code, w.Body)
	}
	b.want(map[string]int{strangers: 6, "AKOTHER": 1}, 7)
	b.end <- nil
	<-later
	close(body.end)
	for _, done := range waiting {
		if w := <-done; w == nil || w.Code != http.StatusForbidden {
			t.Errorf("a stranger who was read: %v", w)
		}
	}
	b.want(nil, 0)
}

func TestPreflightsCountAsThoseOfStrangers(t *testing.T) {
	b := startBusy(t)
	for range 6 {
		b.s.slots.hold(strangers)
	}
	w := httptest.NewRecorder()
	b.s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "/bucket/key", nil))
	if w.Code != http.StatusServiceUnavailable || <-b.slowed != SlowShare {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	b.want(map[string]int{strangers: 6}, 0)
}
