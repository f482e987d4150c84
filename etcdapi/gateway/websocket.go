package gateway

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// writeTimeout is how long a client may take for one message.
const writeTimeout = time.Minute

// webSockets serves streams to clients that ask for a WebSocket (RFC 6455), as etcd does:
// each of their messages is one of the stream, and each line of the answer one of theirs.
// Whose pages may ask is decided before. A message may have limit bytes.
type webSockets struct {
	next     http.Handler
	limit    int64
	upgrader websocket.Upgrader
}

func newWebSockets(next http.Handler, limit int64) *webSockets {
	return &webSockets{next: next, limit: limit, upgrader: websocket.Upgrader{
		HandshakeTimeout: writeTimeout, CheckOrigin: func(*http.Request) bool { return true },
	}}
}

// IsWebSocket reports whether a request asks for one.
func IsWebSocket(r *http.Request) bool { return websocket.IsWebSocketUpgrade(r) }

// protocolBearer is the subprotocol behind which a page may give a token, since it cannot
// set headers.
const protocolBearer = "Bearer"

// ServeHTTP implements http.Handler.
func (s *webSockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !IsWebSocket(r) {
		s.next.ServeHTTP(w, r)
		return
	}
	var answered http.Header
	token, hasToken := bearerOf(r)
	if hasToken {
		answered = http.Header{"Sec-Websocket-Protocol": {protocolBearer}}
	}
	conn, err := s.upgrader.Upgrade(w, r, answered)
	if err != nil {
		return // the client was told
	}
	conn.SetReadLimit(s.limit)
	// The connection is no longer the HTTP server's, which would end the context with it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	body, in := io.Pipe()
	call := r.Clone(ctx)
	call.Method, call.Body, call.ContentLength = http.MethodPost, body, -1
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions"} {
		call.Header.Del(name)
	}
	if hasToken {
		call.Header.Set("Authorization", protocolBearer+" "+token)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer cancel() // without the client there is nobody to answer
		receive(conn, in)
		_ = in.Close() // it never fails
	}()
	out := &messages{conn: conn, header: http.Header{}}
	s.next.ServeHTTP(out, call)
	out.end()
	// It ends the reader, whether the client got the word or not.
	_ = conn.Close()
	_ = body.Close()
	<-read
}

// bearerOf is the token among the subprotocols of a request.
func bearerOf(r *http.Request) (token string, ok bool) {
	list := websocket.Subprotocols(r)
	if len(list) == 2 && strings.EqualFold(list[0], protocolBearer) {
		return list[1], true
	}
	return "", false
}

// receive hands messages on until the client has no more, or nobody takes them.
func receive(conn *websocket.Conn, in io.Writer) {
	for {
		_, m, err := conn.ReadMessage()
		if err == nil {
			_, err = in.Write(append(m, '\n'))
		}
		if err != nil {
			return
		}
	}
}

// messages is an answer that goes out line by line. It belongs to one goroutine.
type messages struct {
	conn   *websocket.Conn
	header http.Header
	rest   []byte
	err    error
}

// Header implements http.ResponseWriter: there is none after the handshake.
func (m *messages) Header() http.Header { return m.header }

// WriteHeader implements http.ResponseWriter: an error is told in what is written.
func (m *messages) WriteHeader(int) {}

// Flush implements http.Flusher: whole lines are sent as they come.
func (m *messages) Flush() {}

// Write implements http.ResponseWriter.
func (m *messages) Write(b []byte) (int, error) {
	m.rest = append(m.rest, b...)
	for m.err == nil {
		line, rest, ok := bytes.Cut(m.rest, []byte{'\n'})
		if !ok {
			break
		}
		if len(line) > 0 {
			m.send(line)
		}
		m.rest = append(m.rest[:0], rest...)
	}
	if m.err != nil {
		return 0, m.err
	}
	return len(b), nil
}

func (m *messages) send(line []byte) {
	if m.err = m.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); m.err == nil {
		m.err = m.conn.WriteMessage(websocket.TextMessage, line)
	}
}

// end sends what is left, and says that it was all.
func (m *messages) end() {
	if m.err == nil && len(m.rest) > 0 {
		m.send(m.rest)
	}
	if m.err == nil {
		// Who has gone needs no farewell.
		_ = m.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(writeTimeout))
	}
}
