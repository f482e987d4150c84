package sim

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"chainfire/internal/disk"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/node"
	"chainfire/raft"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// settings are what all members of a run have in common.
type settings struct {
	tick                     time.Duration
	heartbeat, election      int
	segment, keepLog, maxLog int64
	logCache                 int64
	raft                     raft.Config
	reserveTTL, learnTTL     time.Duration
	compareEvery             time.Duration
	requestTimeout           time.Duration
	syncFast, syncSlow       time.Duration
	tears                    []disk.Tear
}

// host is a machine that may run a member, in one life after the other.
type host struct {
	w    *world
	net  *network
	set  *settings
	name string
	addr string
	disk *disk.FaultFS
	// via are the addresses it joins at, if it has no data.
	via []string
	// replaces is the name of the host whose place it takes, if it has no data.
	replaces string

	// leaves is called while a life ends, before its store is closed.
	leaves func(*host)
	// life is the process that runs; nil is none.
	life *proc
	port *port
	// node is the member once its start has returned.
	node   *node.Node
	store  *machine.Machine
	opened []*machine.Machine
	lives  int
	// asked is closed when the process is asked to end in order.
	asked chan struct{}

	// dark says that there is no power; other than a dead process such a host
	// refuses no connection.
	dark bool
	// retired says that it never starts again; why is how the last life ended.
	retired bool
	why     error
	// rotten says that its disk was damaged in a way that it may not survive.
	rotten bool
	// full says that there is no space on the disk for now.
	full bool
	// slow is added to every sync.
	slow time.Duration
	// crashIn counts the operations on its disk until it loses power; 0 is off.
	crashIn int
	// armed lets the power go soon after the next operation on a seed.
	armed bool
	// between lets it go when the log is begun anew, with the store replaced.
	between bool
	// hashed is the revision at which its state was last compared; tries counts
	// the starts that damage ended.
	hashed int64
	tries  int
}

func (h *host) up() bool { return h.life != nil }

// say tells of the host in the story.
func (h *host) say(format string, args ...any) { h.w.story.tell(h.name, format, args...) }

func (h *host) options(p *proc) node.Options {
	s := h.set
	return node.Options{
		Dir: ".", Name: h.name, ListenPeer: h.addr, AdvertiseClient: []string{"http://" + h.name + ":2379"},
		Join: h.via, Replace: h.replaces, Version: "1.0.0", TickInterval: s.tick, HeartbeatTicks: s.heartbeat, ElectionTicks: s.election,
		RequestTimeout: s.requestTimeout, ReserveTTL: s.reserveTTL, Logger: h.w.story.logger(h.name),
		CompareEvery: s.compareEvery,
		FS:           h.disk, Network: &attachment{net: h.net, host: h, p: p}, Sched: p,
		Report: func(e join.Event) {
			if e.Total == 0 || e.Done == e.Total {
				h.say("join: %s: %s", e.Step, e.Text)
			}
		},
		Bounds: node.Bounds{
			SegmentBytes: s.segment, LogCacheBytes: s.logCache, KeepLogBytes: s.keepLog, MaxLogBytes: s.maxLog,
			LeaseCheckpoints: 700 * time.Millisecond, NoBodies: true, SealKey: bytes.Repeat([]byte{7}, 32),
			StoreCacheBytes: 64 << 10, WatchRingBytes: [...]int64{0, 600, 4 << 10}[h.w.seed%3], Still: true, Raft: s.raft, LearnTTL: s.learnTTL,
			Opened: func(m *machine.Machine) {
				h.opened = append(h.opened, m)
				h.store = m
			},
		},
	}
}

// start begins a life.
func (h *host) start() {
	if h.up() || h.retired {
		return
	}
	h.lives++
	p := h.w.newProc(h.name)
	p.rate = 1 + h.w.drift*(2*h.w.rng.Float64()-1)
	h.life, h.port, h.node, h.store, h.dark, h.why = p, nil, nil, nil, false, nil
	asked := make(chan struct{})
	h.asked = asked
	h.say("starts, life %d", h.lives)
	h.disk.Observe(func(e disk.Event) { h.observe(p, e) })
	p.Go(func() {
		n, err := node.Start(context.Background(), h.options(p))
		if err == nil {
			h.node = n
			p.Wait(n.Done(), asked)
			if cerr := n.Stop(context.Background()); cerr != nil {
				h.say("closing: %v", cerr)
			}
			err = n.Err()
		}
		h.w.after(0, func() { h.ended(p, err) })
	})
}

// ended is the end of a process by itself.
func (h *host) ended(p *proc, err error) {
	if h.life != p || p.void {
		return
	}
	h.say("ends: %v", err)
	h.why = err
	image := h.disk.Fork()
	h.finish(false)
	h.replace(image)
	if err == nil {
		h.w.after(h.w.between(0, time.Second), h.start)
	}
}

// finish clears away what is left of a life. The disk stays as it is.
func (h *host) finish(quietly bool) {
	p, at := h.life, h.port
	if h.store != nil {
		h.leaves(h)
	}
	h.life, h.port, h.node, h.store = nil, nil, nil, nil
	h.disk.Observe(nil)
	p.kill()
	for _, m := range h.opened {
		// A killed process leaves it open; on a disk that failed it fails too.
		_ = m.Close()
	}
	h.opened = nil
	if at != nil {
		h.net.hangUp(h, quietly)
		h.net.drop(at, quietly)
	}
}

// replace gives the host the disk as its process left it.
func (h *host) replace(image *disk.FaultFS) {
	h.disk.Heal()
	h.disk = image
	if h.full {
		h.disk.LimitSpace(0)
	}
}

// stop ends a life in order.
func (h *host) stop() {
	if h.node == nil || h.asked == nil {
		h.kill()
		return
	}
	h.say("is stopped")
	close(h.asked)
	h.asked = nil
	h.life.poll()
}

// kill ends the process; the system, and with it everything written, lives on.
func (h *host) kill() {
	if !h.up() || h.life.void {
		return
	}
	h.say("is killed")
	image := h.disk.Fork()
	h.life.void = true
	h.finish(false)
	h.replace(image)
}

// powerCut ends the process and loses what was not synced, as far as the seed
// wants it.
func (h *host) powerCut() {
	if !h.up() || h.life.void {
		return
	}
	h.crash(h.crashImage())
}

func (h *host) crashImage() *disk.FaultFS {
	o := disk.CrashOptions{
		Seed:  h.w.rng.Uint64(),
		Names: pick(h.w, disk.NamesSynced, disk.NamesAll, disk.NamesPrefix),
		Tear:  pick(h.w, h.set.tears...),
	}
	h.say("loses power (names %d, tear %d)", o.Names, o.Tear)
	return h.disk.Crash(o)
}

func (h *host) crash(image *disk.FaultFS) {
	h.life.void = true
	h.finish(true)
	h.replace(image)
	h.dark = true
}

// observe is told of every operation on the disk before it happens.
func (h *host) observe(p *proc, e disk.Event) {
	// The store works on threads of its own, and all of it at once.
	inLog := strings.HasPrefix(e.Path, walPrefix)
	if !inLog && (strings.HasPrefix(e.Path, "store") || strings.HasPrefix(e.Path, "snapshots") || strings.HasSuffix(e.Path, disk.LockName)) {
		return
	}
	if p.dead || p.void || e.Op == disk.OpRead {
		return
	}
	if h.armed && strings.HasPrefix(e.Path, "seed") {
		h.armed = false
		if h.between = h.w.chance(0.5); !h.between {
			h.crashIn = 1 + h.w.rng.IntN(40)
		}
	}
	if h.between && inLog && e.Op == disk.OpCreate {
		h.between, h.crashIn = false, 1
	}
	if h.crashIn > 0 {
		if h.crashIn--; h.crashIn == 0 {
			h.say("the power goes at %s of %s", e.Op, e.Path)
			image := h.crashImage()
			p.void = true
			h.w.after(0, func() {
				if h.life == p {
					h.crash(image)
				}
			})
			return
		}
	}
	if inLog && e.Op == disk.OpSync && h.w.cur != nil && h.w.cur.p == p {
		p.sleep(h.w.between(h.set.syncFast, h.set.syncSlow) + h.slow)
	}
}

const walPrefix = "wal/"

// flush makes the store durable as it is.
func (h *host) flush() {
	m := h.store
	if m == nil || h.life.void {
		return
	}
	h.life.Go(func() {
		if err := m.Flush(context.Background()); err != nil {
			h.say("flush: %v", err)
		}
	})
}
