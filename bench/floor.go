package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
)

const (
	// logBlock is the least that a log writes to disk.
	logBlock = 4 << 10
	// probeBlocks are the blocks of the file that is synced, again and again.
	probeBlocks = 1024
	methodEcho  = "/bench.Echo/Call"
)

// measureFloor measures what no put that one client waits for can undercut: a sync of one block
// of a log whose space is there already, and an empty round trip to a process on this machine.
func (t *table) measureFloor(ctx context.Context) (measured, error) {
	if err := pause(ctx, t.pause); err != nil {
		return nil, err
	}
	synced, err := t.place.syncInPlace(t.duration / 2)
	if err != nil {
		return nil, err
	}
	empty, err := t.emptyRoundTrips(ctx)
	if err != nil {
		return nil, fmt.Errorf("measure empty round trips: %w", err)
	}
	m := measured{syncMS: millis(synced.quantile(0.5)), emptyMS: empty.P50}
	m[p50] = m[syncMS] + m[emptyMS]
	return m, nil
}

// syncInPlace writes blocks of a file over and syncs each, for some time.
func (p place) syncInPlace(d time.Duration) (h *histogram, err error) {
	name := filepath.Join(p.dir, "floor-probe")
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("measure syncs: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	block := make([]byte, logBlock)
	for range probeBlocks {
		if _, err := f.Write(block); err != nil {
			return nil, fmt.Errorf("measure syncs: %w", err)
		}
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("measure syncs: %w", err)
	}
	h = &histogram{}
	start := time.Now()
	for i := 0; h.n == 0 || time.Since(start) < d; i++ {
		block[0] = byte(i)
		from := time.Now()
		if _, err := f.WriteAt(block, int64(i%probeBlocks)*logBlock); err != nil {
			return nil, fmt.Errorf("measure syncs: %w", err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return nil, fmt.Errorf("measure syncs: %w", err)
		}
		h.add(time.Since(from))
	}
	return h, nil
}

// emptyRoundTrips asks a process of this binary for nothing, by one client.
func (t *table) emptyRoundTrips(ctx context.Context) (_ loadResult, err error) {
	self, err := os.Executable()
	if err != nil {
		return loadResult{}, err
	}
	addrs, err := freePorts(1)
	if err != nil {
		return loadResult{}, err
	}
	p, err := startProcess(self, []string{"echo", "--listen", addrs[0]}, filepath.Join(t.place.dir, "echo.log"))
	if err != nil {
		return loadResult{}, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := awaitListens(ctx, p, addrs[0]); err != nil {
		return loadResult{}, err
	}
	conn, err := newLane(addrs[0])
	if err != nil {
		return loadResult{}, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	cr := newCrew(lanes{conn}, 1, func(int) step {
		return func(ctx context.Context, c *client) error { return c.call(ctx, methodEcho) }
	})
	if _, err := cr.run(ctx, limit{duration: t.warmUp}); err != nil {
		return loadResult{}, err
	}
	cr.forget()
	return cr.run(ctx, limit{duration: t.duration / 2})
}

// awaitListens waits until a process that was started listens.
func awaitListens(ctx context.Context, p *process, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(restartPoll)
	defer tick.Stop()
	for {
		err := listens(ctx, addr)
		if err == nil {
			return nil
		}
		if ended := p.running(); ended != nil {
			return ended
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nobody listens at %s: %w", addr, err)
		case <-tick.C:
		}
	}
}

// echoCommand is the other end of the empty round trips.
func echoCommand() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use:    "echo",
		Short:  "answer empty calls with nothing, as the table asks for",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return fmt.Errorf("listen: %w", err)
			}
			return serveEcho(cmd.Context(), l)
		},
	}
	cmd.Flags().StringVar(&addr, "listen", "127.0.0.1:0", "where to listen")
	return cmd
}

// serveEcho answers until the context ends.
func serveEcho(ctx context.Context, l net.Listener) error {
	srv := grpc.NewServer(grpc.ForceServerCodecV2(bareCodec{}))
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Call",
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var b []byte
				err := decode(&b)
				return &b, err
			},
		}},
	}, nil)
	defer context.AfterFunc(ctx, srv.Stop)()
	if err := srv.Serve(l); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
