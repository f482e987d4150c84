package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"chainfire"
	"chainfire/join"
)

// demoOptions are the flags of demo.
type demoOptions struct {
	duration   time.Duration
	exit, keep bool
	dir        string
	data, rate size
}

const minDemo = 2 * time.Second

func newDemo(a *app) *cobra.Command {
	o := demoOptions{data: 24 << 20, rate: 12 << 20}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a cluster grow on this machine, and lose its leader",
		Long: `Show what a cluster does, on this machine: one member starts, two more join while
eight clients write, the leader is killed and started again. Then the history of
everything that the clients did and saw is checked: there must be one order of it,
as if there were one copy of the data and one operation at a time.

The members are processes of this binary, with free ports and a folder of their
own. They run on until Ctrl-C, or end after the check with --exit.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.duration < minDemo {
				return fmt.Errorf("--duration %v: give at least %v", o.duration, minDemo)
			}
			if o.rate != 0 && o.rate < minSeedRate {
				return fmt.Errorf("--seed-rate %s: give at least %d bytes a second, or 0 for no bound", o.rate.String(), minSeedRate)
			}
			if o.data < 0 || o.data > 4<<30 {
				return fmt.Errorf("--data %s: give at most 4GiB", o.data.String())
			}
			// A terminal that is closed ends the demo in good order, too.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
			defer stop()
			return a.demo(ctx, &o)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.duration, "duration", 20*time.Second, "how long the clients write once there are three members")
	f.BoolVar(&o.exit, "exit", false, "end after the check")
	f.StringVar(&o.dir, "dir", "", "folder to make the demo's folder in (default: that for temporary files)")
	f.BoolVar(&o.keep, "keep", false, "keep the demo's folder")
	f.Var(&o.data, "data", "how much data the first member holds before the others join")
	f.Var(&o.rate, "seed-rate", "bytes a second at which a member is seeded, so that there is something to see; 0 is no bound")
	return cmd
}

// demo tells the story, and leaves nothing running or lying about.
func (a *app) demo(ctx context.Context, o *demoOptions) (err error) {
	// The members die with the thread that starts them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if o.dir != "" {
		if err := os.MkdirAll(o.dir, 0o700); err != nil {
			return fmt.Errorf("make the folder of --dir: %w", err)
		}
	}
	dir, err := os.MkdirTemp(o.dir, "chainfire-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	d := &demo{app: a, opts: o, dir: dir, start: time.Now()}
	if d.view, err = newProgress(progressAuto, a.out); err != nil {
		return err
	}
	defer func() { err = d.clean(ctx, err, recover()) }()
	if d.cluster, err = newDemoCluster(dir, o.rate, d.note); err != nil {
		return err
	}
	return d.story(ctx)
}

// demo is one run of the story.
type demo struct {
	app     *app
	opts    *demoOptions
	dir     string
	start   time.Time
	view    *progress
	cluster *demoCluster
	load    *demoLoad
	// joining is the number of the member that joins now.
	joining atomic.Int64
	// joins are when the joins began and ended, on the clock of the load.
	joins [2]time.Duration
}

// clean ends the clients and the members, whatever happened, and removes the
// folder unless it is of use.
func (d *demo) clean(ctx context.Context, err error, panicked any) error {
	if d.cluster != nil && panicked != nil {
		d.cluster.kill()
	}
	if panicked != nil {
		panic(panicked)
	}
	interrupted := ctx.Err() != nil && (err == nil || isInterrupt(ctx, err))
	if interrupted {
		err = nil
	}
	if d.load != nil {
		err = errors.Join(err, d.load.stop())
	}
	if d.cluster != nil {
		if interrupted {
			err = errors.Join(err, d.say("stopping the members"))
		}
		err = errors.Join(err, d.cluster.stop())
	}
	err = errors.Join(err, d.view.Close())
	switch {
	case d.opts.keep:
		return errors.Join(err, d.say("the demo's folder is %s", d.dir))
	case err != nil:
		return fmt.Errorf("%w\nwhat the members logged is in %s", err, d.dir)
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("remove the demo's folder: %w", err)
	}
	return nil
}

// say prints a line of the story with the time since its beginning.
func (d *demo) say(format string, args ...any) error {
	d.view.mu.Lock()
	defer d.view.mu.Unlock()
	d.view.endBar()
	return d.app.printf("%6.1fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// note shows what a member says of its join: the one that joins now, and of the
// others that they vote.
func (d *demo) note(m *demoMember, e progressEvent) {
	if int64(m.number) != d.joining.Load() && e.Step != string(join.StepVoter) {
		return
	}
	e.who = fmt.Sprintf("         member %d, ", m.number)
	d.view.show(e)
}

func (d *demo) story(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{d.begin, d.grow, d.lose, d.check} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	if d.opts.exit {
		return nil
	}
	if err := d.leave(ctx); err != nil {
		return err
	}
	return d.untilInterrupted(ctx)
}

// begin starts the first member, gives it some data, and starts the clients.
func (d *demo) begin(ctx context.Context) error {
	m := d.cluster.members[0]
	if err := d.say("a cluster on this machine, in %s", d.dir); err != nil {
		return err
	}
	if err := d.say("member 1 starts: chainfire %s", strings.Join(d.cluster.args(m), " ")); err != nil {
		return err
	}
	if err := d.cluster.start(m); err != nil {
		return err
	}
	if err := d.cluster.await(ctx, "start member 1", time.Minute, m.steps.isReady); err != nil {
		return err
	}
	if d.opts.data > 0 {
		if err := ballast(ctx, m.client, int(d.opts.data)); err != nil {
			return err
		}
		if err := d.say("%s of data written, so that a seed is something to see", bytesText(int64(d.opts.data))); err != nil {
			return err
		}
	}
	var err error
	if d.load, err = startLoad(ctx, []string{m.client}); err != nil {
		return err
	}
	wrote := func() bool { return d.load.lastWrite() > 0 }
	if err := d.cluster.await(ctx, "take the first write", 30*time.Second, wrote); err != nil {
		return err
	}
	return d.say("%d clients put, get and swap on %d keys from now on", demoClients, demoKeys)
}

// joinTimeout bounds one join, far above what the data of the demo takes.
const joinTimeout = 5 * time.Minute

// grow lets two members join by the real join.
func (d *demo) grow(ctx context.Context) error {
	d.joins[0] = d.load.now()
	for _, m := range d.cluster.members[1:] {
		if err := d.say("member %d joins: chainfire %s", m.number, strings.Join(d.cluster.args(m), " ")); err != nil {
			return err
		}
		d.joining.Store(int64(m.number))
		if err := d.cluster.start(m); err != nil {
			return err
		}
		if err := d.cluster.await(ctx, fmt.Sprintf("let member %d join", m.number), joinTimeout, m.steps.joined); err != nil {
			return err
		}
	}
	for _, m := range d.cluster.members[1:] {
		if err := d.cluster.await(ctx, fmt.Sprintf("make member %d a voter", m.number), time.Minute, m.steps.isVoter); err != nil {
			return err
		}
	}
	d.joins[1] = d.load.now()
	d.joining.Store(0)
	d.load.setEndpoints(d.cluster.endpoints())
	pause := longestPause(d.load.history(), d.joins[0], d.joins[1])
	return d.say("three voters; while they joined, the longest time without a write acknowledged was %s", millis(pause))
}

// lose kills the leader and starts it again, while the clients work on.
func (d *demo) lose(ctx context.Context) error {
	end := time.Now().Add(d.opts.duration)
	if err := d.cluster.pass(ctx, d.opts.duration*3/10); err != nil {
		return err
	}
	var victim *demoMember
	err := d.cluster.await(ctx, "find the leader", 10*time.Second, func() bool {
		// Whoever does not answer is asked again; the wait has an end.
		victim, _ = d.cluster.leader(ctx)
		return victim != nil
	})
	if err != nil {
		return err
	}
	if err := d.killed(ctx, victim); err != nil {
		return err
	}
	if err := d.cluster.pass(ctx, d.opts.duration*2/10); err != nil {
		return err
	}
	if err := d.restarted(ctx, victim); err != nil {
		return err
	}
	return d.cluster.pass(ctx, max(0, time.Until(end)))
}

func (d *demo) killed(ctx context.Context, victim *demoMember) error {
	at := d.load.now()
	if err := d.say("member %d leads; it is killed: kill -9 %d", victim.number, victim.process.pid()); err != nil {
		return err
	}
	if err := victim.process.kill(); err != nil {
		return err
	}
	victim.process = nil
	var next *demoMember
	err := d.cluster.await(ctx, "elect another leader and write again", 30*time.Second, func() bool {
		// Whoever does not answer is asked again; the wait has an end.
		next, _ = d.cluster.leader(ctx)
		return next != nil
	})
	if err != nil {
		return err
	}
	elected := d.load.now()
	err = d.cluster.await(ctx, "write again", 30*time.Second, func() bool { return d.load.lastWrite() > elected })
	if err != nil {
		return err
	}
	pause := longestPause(d.load.history(), at, d.load.now())
	return d.say("member %d leads now; writes paused for %s", next.number, millis(pause))
}

func (d *demo) restarted(ctx context.Context, m *demoMember) error {
	from := time.Now()
	if err := d.say("member %d is started again", m.number); err != nil {
		return err
	}
	if err := d.cluster.start(m); err != nil {
		return err
	}
	target := uint64(0)
	err := d.cluster.await(ctx, fmt.Sprintf("bring member %d back", m.number), time.Minute, func() bool {
		_, s := d.cluster.leader(ctx)
		if s == nil {
			return false
		}
		if target == 0 {
			target = s.CommitIndex
		}
		return caughtUp(s, m.name, target)
	})
	if err != nil {
		return err
	}
	return d.say("member %d is back and has caught up, %s after its start", m.number, millis(time.Since(from)))
}

func caughtUp(s *chainfire.ClusterStatus, name string, target uint64) bool {
	for _, m := range s.Members {
		if m.Name == name {
			return m.Active && m.AppliedIndex >= target
		}
	}
	return false
}

// check ends the clients and looks at what they saw.
func (d *demo) check(ctx context.Context) error {
	if err := d.load.stop(); err != nil {
		return err
	}
	for _, m := range d.cluster.members {
		if err := d.load.readAll(ctx, m.client); err != nil {
			return err
		}
	}
	ops := d.load.history()
	count := map[demoKind]int{}
	unknown := 0
	for i := range ops {
		count[ops[i].in.kind]++
		if ops[i].out.unknown {
			unknown++
		}
	}
	err := d.say("checking %d operations: %d puts, %d gets, %d swaps; %d got no answer and may count or not",
		len(ops), count[demoPut], count[demoGet], count[demoSwap], unknown)
	if err != nil {
		return err
	}
	if err := checkHistory(ops, d.dir); err != nil {
		d.opts.keep = true
		return err
	}
	return d.say("the history is linearizable: nothing acknowledged was lost, nothing stale was read")
}

// leave says what can be done with the cluster.
func (d *demo) leave(ctx context.Context) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nthree members run until Ctrl-C:\n")
	lead, _ := d.cluster.leader(ctx)
	for _, m := range d.cluster.members {
		note := ""
		if m == lead {
			note = ", the leader"
		}
		fmt.Fprintf(&b, "  %s  clients %s  peers %s  process %d%s\n", m.name, m.client, m.peer, m.process.pid(), note)
	}
	fmt.Fprintf(&b, "  their logs are %s\n", filepath.Join(d.dir, "member-*.log"))
	p := d.app.program
	fmt.Fprintf(&b, "\ntry, in another terminal:\n")
	fmt.Fprintf(&b, "  export %s=%s\n", endpointsVariable, strings.Join(d.cluster.endpoints(), ","))
	fmt.Fprintf(&b, "  %s status\n  %s put greeting hello\n  %s get --prefix demo/\n  %s watch --prefix demo/\n", p, p, p, p)
	fmt.Fprintf(&b, "  %s serve --join %s --listen-client 127.0.0.1:0 --listen-peer 127.0.0.1:0 --data-dir %s\n\n",
		p, d.cluster.members[0].peer, join.ShellQuote(filepath.Join(d.dir, "member-4")))
	return d.app.printf("%s", b.String())
}

// untilInterrupted lets the members run. One that ends is told of, and is no
// reason to end the others.
func (d *demo) untilInterrupted(ctx context.Context) error {
	gone := make(chan *demoMember)
	for _, m := range d.cluster.members {
		p := m.process
		go func() {
			<-p.exited
			select {
			case gone <- m:
			case <-ctx.Done():
			}
		}()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-gone:
			if err := d.say("member %d ended (%v); the cluster goes on while a majority runs", m.number, m.process.cmd.ProcessState); err != nil {
				return err
			}
			m.process = nil
		}
	}
}

// millis is a time in milliseconds, for people.
func millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
