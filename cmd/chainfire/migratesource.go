package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// sourcePatience bounds the first word of an etcd that is followed.
const sourcePatience = 5 * time.Second

// errNoSettings says that what answered is no server of HTTP/2 without TLS.
var errNoSettings = errors.New("what answers there is no etcd without TLS")

// greetSource fails at once, with the reason, where an etcd cannot be spoken to at an
// endpoint: its client would try until its time is over, and not say why.
func greetSource(ctx context.Context, endpoint string, cfg *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, sourcePatience)
	defer cancel()
	err := greet(ctx, hostPort(endpoint), cfg)
	if err == nil && cfg == nil {
		err = greetPlain(ctx, hostPort(endpoint))
	}
	var op *net.OpError
	advice := ""
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("nothing answered within %v: %w", sourcePatience, err)
	case errors.Is(err, errNoSettings):
		advice = "if it speaks TLS write https:// before the address, with --cacert, --cert and --key as needed"
	case cfg == nil || errors.As(err, &op) && op.Op == "dial":
		advice = "give the client address of a member that runs, HOST:PORT"
	case adviseTLS(err) == "" && greetPlain(ctx, hostPort(endpoint)) == nil:
		advice = "what answers there speaks no TLS: write http://, without --cacert, --cert and --key"
	} // Other errors of TLS are told with their advice, as those of all commands.
	if advice != "" {
		return fmt.Errorf("reach the etcd at %s: %w; %s", endpoint, err, advice)
	}
	return fmt.Errorf("reach the etcd at %s: %w", endpoint, err)
}

// greetPlain connects to an address without TLS and waits for a server's first word in
// HTTP/2, which is its settings.
func greetPlain(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is in flight on it
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var head [9]byte // of a frame: length 3, type 1, flags 1, stream 4
	if _, err = io.Copy(conn, bytes.NewReader(http2Hello)); err == nil {
		_, err = io.ReadFull(conn, head[:])
	}
	const settings = 4
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%w: %w", errNoSettings, err)
	case head[0] != 0 || head[3] != settings:
		return fmt.Errorf("%w: it begins with %q", errNoSettings, head[:])
	}
	return nil
}
