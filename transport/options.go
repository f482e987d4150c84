package transport

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Options configure a Transport. The zero value of a field means its default.
type Options struct {
	// ClusterID, LocalID and Incarnation say who this member is. None may be 0.
	ClusterID, LocalID, Incarnation uint64
	// Addrs are where this member is reached, HOST:PORT; peers that do not know
	// it yet answer there.
	Addrs []string
	// Boots counts the starts of this member's data directory, BootNonce is random
	// per start. 0 says nothing of the first, and draws the second.
	Boots, BootNonce uint64
	// Handler is required.
	Handler Handler
	// Admit decides whether a dialer may send to this member, after the
	// cluster, the ids, the expected incarnation and the version were checked.
	// It returns nil or a *RefusedError; any other error refuses with CodeOther.
	// nil admits everyone who passed those checks. Called from any goroutine.
	Admit func(Hello) error
	// Logger is where connections that come and go are told; nil discards.
	Logger *slog.Logger
	// Dial makes a connection; the default is plain TCP. It is where TLS goes.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Identify says which member has proved to be at the other side of a
	// connection, dialed or accepted; an error is a stranger, who gets no answer.
	// nil believes what members say of themselves. Called after the other side has
	// sent something.
	Identify func(c net.Conn, dialed bool) (id uint64, err error)

	// MaxFrame bounds the payload of a frame, both ways; default 64 MiB, at
	// most 1 GiB.
	MaxFrame int
	// BatchBytes is about how much of each lane goes into one write; default
	// 256 KiB, at most 4 MiB. A larger single message goes alone.
	BatchBytes int
	// QueueMessages and QueueBytes bound what waits for one peer, per lane;
	// defaults 4096 (at most 65536) and 64 MiB (at most 1 GiB).
	QueueMessages, QueueBytes int
	// MaxHandshakes bounds the accepted connections that have not introduced
	// themselves yet; default 64.
	MaxHandshakes int

	// DialTimeout bounds one attempt to connect, with its handshake, and the
	// handshake of an accepted connection; default 2 s.
	DialTimeout time.Duration
	// WriteTimeout closes a connection that takes no bytes for so long; default 5 s.
	WriteTimeout time.Duration
	// PingInterval is how often a dialer asks for a sign of life; default 1 s.
	PingInterval time.Duration
	// IdleTimeout closes a connection on which nothing arrives for so long;
	// default 5 s. It must be longer than the peers' PingInterval.
	IdleTimeout time.Duration
	// BackoffMin and BackoffMax bound the wait between two attempts to connect;
	// defaults 50 ms and 1 s. Half of each wait is chance.
	BackoffMin, BackoffMax time.Duration
	// Seed makes that chance repeatable; 0 takes a random one.
	Seed uint64
}

// urgentBytes bounds the urgent lane and so what precedes an append in a write.
const urgentBytes = 1 << 20

func (o *Options) setDefaults() error {
	if o.ClusterID == 0 || o.LocalID == 0 || o.Incarnation == 0 {
		return errors.New("cluster id, local id and incarnation are required")
	}
	if o.Handler == nil {
		return errors.New("a handler is required")
	}
	if o.Admit == nil {
		o.Admit = func(Hello) error { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		d := &net.Dialer{KeepAliveConfig: keepAlive()}
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	defaultTo(&o.MaxFrame, 64<<20)
	defaultTo(&o.BatchBytes, 256<<10)
	defaultTo(&o.QueueMessages, 4096)
	defaultTo(&o.QueueBytes, 64<<20)
	defaultTo(&o.MaxHandshakes, 64)
	defaultTo(&o.DialTimeout, 2*time.Second)
	defaultTo(&o.WriteTimeout, 5*time.Second)
	defaultTo(&o.PingInterval, time.Second)
	defaultTo(&o.IdleTimeout, 5*time.Second)
	defaultTo(&o.BackoffMin, 50*time.Millisecond)
	defaultTo(&o.BackoffMax, time.Second)
	if o.Seed == 0 {
		seed, err := randomNumber()
		if err != nil {
			return err
		}
		o.Seed = seed
	}
	return o.checkBounds()
}

func (o *Options) checkBounds() error {
	for _, c := range []struct {
		name        string
		value, most int
	}{
		{"MaxFrame", o.MaxFrame, 1 << 30},
		{"BatchBytes", o.BatchBytes, 4 << 20},
		{"QueueMessages", o.QueueMessages, maxFrameMessages},
		{"QueueBytes", o.QueueBytes, 1 << 30},
		{"MaxHandshakes", o.MaxHandshakes, 1 << 16},
	} {
		if c.value < 1 || c.value > c.most {
			return fmt.Errorf("%s is %d, must be between 1 and %d", c.name, c.value, c.most)
		}
	}
	for _, d := range []time.Duration{o.DialTimeout, o.WriteTimeout, o.PingInterval, o.IdleTimeout, o.BackoffMin} {
		if d <= 0 {
			return fmt.Errorf("a duration is %s, must be positive", d)
		}
	}
	if o.IdleTimeout <= o.PingInterval {
		return fmt.Errorf("IdleTimeout %s must be longer than PingInterval %s", o.IdleTimeout, o.PingInterval)
	}
	if o.BackoffMax < o.BackoffMin {
		return fmt.Errorf("BackoffMax %s is below BackoffMin %s", o.BackoffMax, o.BackoffMin)
	}
	return nil
}

func defaultTo[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}
}

func randomNumber() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw a random number: %w", err)
	}
	return binary.LittleEndian.Uint64(b[:]) | 1, nil
}
