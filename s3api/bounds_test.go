package s3api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chainfire"
	"chainfire/object"
	"chainfire/s3api/s3test"
)

// sentinels are the errors that a file of Go declares.
func sentinels(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for name := range f.Scope.Objects {
		if strings.HasPrefix(name, "Err") {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s declares no errors", file)
	}
	return out
}

func TestEveryErrorOfObjectsHasACode(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "object" {
				has[s.Sel.Name] = true
			}
		}
		return true
	})
	for _, name := range sentinels(t, "../object/error.go") {
		if !has[name] {
			t.Errorf("object.%s has no code in the table", name)
		}
	}
}

func TestErrorsAreToldByTheirCodes(t *testing.T) {
	for _, m := range mapped {
		e := errorOf(errors.Join(errors.New("around it"), m.from))
		if e.name != m.to.name || e.status != m.to.status {
			t.Errorf("%v: %s %d, want %s %d", m.from, e.name, e.status, m.to.name, m.to.status)
		}
		if m.to.status < 400 || m.to.status > 599 || m.to.message == "" {
			t.Errorf("%v: the code %+v is none of an error", m.from, m.to)
		}
	}
	for _, err := range []error{object.ErrHolders, object.ErrLeaseGone, chainfire.ErrNoLeader} {
		if e := errorOf(err); len(e.headers) != 1 || e.headers[0] != [2]string{"Retry-After", "1"} {
			t.Errorf("%v: headers %v, want when to come again", err, e.headers)
		}
	}
	full := fmt.Errorf("write a body: %w: %w", object.ErrUnavailable, errors.Join(fmt.Errorf("member 2: %w", chainfire.ErrNoRoom)))
	if e := errorOf(full); e.name != "InsufficientStorage" || e.status != http.StatusInsufficientStorage || len(e.headers) != 0 {
		t.Errorf("a body that disks are too full for: %s %d %v", e.name, e.status, e.headers)
	}
	if e := errorOf(fmt.Errorf("change: %w", chainfire.ErrNoSpace)); e.name != "InsufficientStorage" || !strings.Contains(e.text(), "alarm NOSPACE") {
		t.Errorf("an alarm that stands until it is taken back: %s %q", e.name, e.text())
	}
	if e := errorOf(fmt.Errorf("change: %w", chainfire.ErrNoLeader)); e.name != "ServiceUnavailable" || !strings.Contains(e.text(), "no leader") || len(e.headers) != 1 {
		t.Errorf("a cluster without a leader: %s %q %v", e.name, e.text(), e.headers)
	}
	outside := fmt.Errorf("read: %w: %w: %w", object.ErrUnavailable, object.ErrExternalStore, errors.New("a secret of the inside"))
	if e := errorOf(outside); e.name != "ServiceUnavailable" || !strings.Contains(e.text(), "external store") || strings.Contains(e.text(), "secret") || len(e.headers) != 1 {
		t.Errorf("an external store that cannot be used: %s %q %v", e.name, e.text(), e.headers)
	}
	e := errorOf(errors.New("a secret of the inside"))
	if e.name != "InternalError" || strings.Contains(e.text(), "secret") {
		t.Errorf("an unknown error: %s %q", e.name, e.text())
	}
}

// readerFunc is a reader as a function.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestABodyBelowTheLeastRateIsCutOff(t *testing.T) {
	for tick, cut := range map[time.Duration]bool{time.Second: true, 10 * time.Millisecond: true, 500 * time.Microsecond: false} {
		synctest.Test(t, func(t *testing.T) {
			limits := Limits{}.withDefaults()
			byByte := readerFunc(func(p []byte) (int, error) {
				time.Sleep(tick)
				p[0] = 'x'
				return 1, nil
			})
			b := &guardedBody{from: io.NopCloser(byByte), control: http.NewResponseController(httptest.NewRecorder()), idle: limits.Idle}
			begin := time.Now()
			_, err := io.CopyN(io.Discard, b, 200_000)
			if (err != nil) != cut {
				t.Errorf("a byte every %v: %v after %v", tick, err, time.Since(begin))
			}
			if cut && (errorOf(err).name != "RequestTimeout" || time.Since(begin) > rateWindow+time.Second) {
				t.Errorf("a byte every %v: %v after %v, want RequestTimeout after %v", tick, err, time.Since(begin), rateWindow)
			}
		})
	}
}

func TestAByteRateIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Service: s3test.New(), Logger: slog.New(slog.DiscardHandler)})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/b/k", nil)
		rq := s.newRequest(httptest.NewRecorder(), r)
		rq.who = identity{key: &object.AccessKey{ID: "k", Bytes: 1 << 20}}
		if err := rq.limit(); err != nil {
			t.Fatal(err)
		}
		rq.body.from = io.NopCloser(&fast{left: 11 << 20})
		begin := time.Now()
		n, err := io.Copy(io.Discard, rq.body)
		took := time.Since(begin)
		if err != nil || n != 11<<20 || took < 9*time.Second || took > 11*time.Second {
			t.Errorf("11 MiB at 1 MiB/s, the first at once: %d bytes, %v, in %v", n, err, took)
		}
	})
}

type fast struct{ left int }

func (f *fast) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), f.left)
	f.left -= n
	return n, nil
}

func TestMoreRequestsThanMayBeAreToldToSlowDown(t *testing.T) {
	s := New(Options{Service: s3test.New(), Logger: slog.New(slog.DiscardHandler), Limits: Limits{Requests: 1}})
	s.slots.take()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "<Code>SlowDown</Code>") || w.Header().Get("Connection") != "close" || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	s.slots.free()
	w = httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if w.Code != http.StatusForbidden || len(s.slots.taken) != 0 {
		t.Errorf("with room: %d, and %d are held", w.Code, len(s.slots.taken))
	}
}

func TestAHandlerThatPanicsAnswersAndIsLogged(t *testing.T) {
	var log bytes.Buffer
	s := New(Options{Service: s3test.New(), Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	s.table = []operation{{name: "Broken", method: http.MethodGet, level: serviceLevel, access: accessOpen, handle: func(*request) error { panic("why it broke") }}}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "<Code>InternalError</Code>") || strings.Contains(w.Body.String(), "why it broke") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, want := range []string{"why it broke", `"operation":"Broken"`, w.Header().Get("X-Amz-Request-Id"), `"status":500`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s: %s", want, log.String())
		}
	}
}

// half is a handler's answer that fails in its middle.
func half(rq *request) error {
	return rq.send(http.StatusOK, io.MultiReader(&fast{left: 1 << 20}, failing{}))
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, object.ErrUnavailable }

func TestAnAnswerThatFailsInItsMiddleIsCut(t *testing.T) {
	s := New(Options{Service: s3test.New(), Logger: slog.New(slog.DiscardHandler)})
	s.table = []operation{{name: "Half", method: http.MethodGet, level: serviceLevel, access: accessOpen, handle: half}}
	server := httptest.NewServer(s)
	defer server.Close()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("%d bytes came, and the answer looks whole", n)
	}
}
