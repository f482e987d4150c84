package sim

import (
	"fmt"
	"slices"
	"time"

	"chainfire/internal/disk"
	"chainfire/internal/witness"
	"chainfire/raft"
)

// cluster is one run: its hosts, its clients, and what is known of it.
type cluster struct {
	w     *world
	net   *network
	set   settings
	swarm swarm
	hosts []*host

	// The load.
	keys            int
	think, patience time.Duration
	ops             []*op
	moments         int64
	watcher         *watcher
	onlookers       []*onlooker
	compactions     []witness.Compaction
	objectOps       []*objectOp
	// quiet ends the load, healing the faults.
	quiet, healing bool

	// surgery says that a member is being replaced or removed for good: one at a
	// time, so that a majority of good copies remains.
	surgery bool
	// known is the configuration that was seen at the highest applied index.
	known struct {
		index uint64
		// voters and outgoing are both asked while the configuration is joint.
		voters, outgoing []string
	}
	// expelled are the names of hosts that were removed, or will be.
	expelled map[string]bool
	hashes   map[int64]sum
	finals   int
	counts   counts
}

// counts tell what a run was made of.
type counts struct {
	crashes, joins, removed, replaced, refused, rotten, renewals int
}

// newCluster prepares the run of a seed.
func newCluster(seed uint64, st *story) *cluster {
	w := newWorld(seed, st)
	c := &cluster{w: w, net: newNetwork(w), expelled: map[string]bool{}, hashes: map[int64]sum{}}
	c.draw()
	return c
}

// draw chooses everything that is chosen once in a run.
func (c *cluster) draw() {
	w := c.w
	ms := time.Millisecond
	c.net.fast, c.net.slow = 100*time.Microsecond, pick(w, ms, 5*ms, 30*ms)
	c.set = settings{
		tick: pick(w, 25*ms, 25*ms, 50*ms), heartbeat: pick(w, 1, 2), election: 10,
		segment: pick(w, int64(1<<10), 4<<10, 32<<10), keepLog: pick(w, int64(1), 1, 8<<10, 64<<10),
		maxLog: pick(w, int64(8<<10), 64<<10, 1<<20), logCache: pick(w, int64(-1), 4<<10, 1<<20),
		reserveTTL: 5 * time.Second, learnTTL: 6 * time.Second, requestTimeout: 3 * time.Second,
		compareEvery: 300 * ms,
		syncFast:     200 * time.Microsecond, syncSlow: pick(w, ms, 4*ms, 20*ms),
		tears: []disk.Tear{disk.TearNothing},
		raft: raft.Config{
			MaxMessageBytes: pick(w, uint64(200), 4<<10, 1<<20), MaxInflight: pick(w, 1, 4, 64),
			MaxInflightBytes: pick(w, uint64(500), 1<<20), MaxUncommittedBytes: pick(w, uint64(4<<10), 1<<20),
			MaxApplyingBytes: pick(w, uint64(1), 1<<20), DiskStallTicks: pick(w, 0, 0, 8), Checked: true,
		},
	}
	if w.chance(0.7) {
		c.set.tears = []disk.Tear{disk.TearNothing, disk.TearKeepAll, disk.TearPrefix, disk.TearSectors, disk.TearGarble}
	}
	w.shuffle = w.chance(0.5)
	if w.chance(0.3) {
		w.drift = pick(w, 0.01, 0.1, 0.25)
	}
	c.keys = pick(w, 1, 3, 8)
	c.think = pick(w, 20*ms, 60*ms, 200*ms)
	c.patience = pick(w, 500*ms, 2*time.Second, 6*time.Second)
	c.swarm.draw(w)
}

// addHost makes a machine with an empty disk.
func (c *cluster) addHost(d *disk.FaultFS, via ...string) *host {
	name := fmt.Sprintf("m%d", len(c.hosts)+1)
	h := &host{w: c.w, net: c.net, set: &c.set, name: name, addr: name + ":2380", disk: d, via: via, leaves: c.learnVoters}
	c.hosts = append(c.hosts, h)
	c.net.hosts[h.addr] = h
	return h
}

// join makes a new machine that joins at members that are there.
func (c *cluster) join() { c.joinFor("") }

// joinFor makes one that takes the place of another, if that is named.
func (c *cluster) joinFor(old string) {
	var via []string
	for _, h := range c.hosts {
		if !h.retired && (len(h.via) == 0 || h.node != nil) {
			via = append(via, h.addr)
		}
	}
	if len(via) == 0 {
		c.w.after(time.Second, func() { c.joinFor(old) }) // nobody to join at; alone it would found
		return
	}
	c.w.rng.Shuffle(len(via), func(i, j int) { via[i], via[j] = via[j], via[i] })
	h := c.addHost(disk.NewFaultFS(), via[:min(len(via), 2)]...)
	c.counts.joins++
	if h.replaces = old; old != "" {
		h.say("is to take the place of %s", old)
	}
	h.say("is to join at %v", h.via)
	h.start()
}

// some draws a host that fits, or nil.
func (c *cluster) some(fits func(*host) bool) *host {
	from := c.w.rng.IntN(len(c.hosts))
	for i := range c.hosts {
		if h := c.hosts[(from+i)%len(c.hosts)]; !h.retired && fits(h) {
			return h
		}
	}
	return nil
}

// anyHost draws a host that is not retired; there is always one.
func (c *cluster) anyHost() *host { return c.some(func(*host) bool { return true }) }

// furthest is the host whose store holds most, nil if none is open.
func (c *cluster) furthest() *host {
	var best *host
	var most uint64
	for _, h := range c.hosts {
		if h.up() && h.store != nil {
			if index, _ := h.store.Applied(); best == nil || index > most {
				best, most = h, index
			}
		}
	}
	return best
}

// voters are the names of the voters, as far as it is known; nil if nobody is up.
func (c *cluster) voters() []string {
	h := c.furthest()
	if h == nil {
		return nil
	}
	c.learnVoters(h)
	return c.known.voters
}

// learnVoters notes who votes, if the host knows it better than anyone before. Those
// who know a change may be down when it matters, and come back.
func (c *cluster) learnVoters(h *host) {
	index, _ := h.store.Applied()
	if index < c.known.index {
		return
	}
	conf := h.store.Conf()
	c.known.index, c.known.voters, c.known.outgoing = index, nil, nil
	for _, m := range h.store.Members() {
		if slices.Contains(conf.Voters, m.ID) {
			c.known.voters = append(c.known.voters, m.Name)
		}
		if slices.Contains(conf.Outgoing, m.ID) {
			c.known.outgoing = append(c.known.outgoing, m.Name)
		}
	}
}

// byName is the host of that name.
func (c *cluster) byName(name string) *host {
	i := slices.IndexFunc(c.hosts, func(h *host) bool { return h.name == name })
	if i < 0 {
		return nil
	}
	return c.hosts[i]
}

// spare reports whether a voter may be lost for good, or damaged: the others
// are a majority of good copies without it.
func (c *cluster) spare(h *host) bool {
	voters := c.voters()
	if c.surgery || len(voters) == 0 {
		return false
	}
	for _, o := range c.hosts {
		if o.rotten && o != h && !o.retired {
			return false
		}
	}
	return c.goodWithout(h, voters) && (len(c.known.outgoing) == 0 || c.goodWithout(h, c.known.outgoing))
}

// goodWithout reports whether a majority of some voters are good copies without one
// host.
func (c *cluster) goodWithout(h *host, voters []string) bool {
	good := 0
	for _, name := range voters {
		if o := c.byName(name); o != nil && o != h && !o.retired && !o.rotten {
			good++
		}
	}
	return good > len(voters)/2
}

// begin starts the first members: those of images, or one that founds.
func (c *cluster) begin(images []*disk.FaultFS) {
	if len(images) == 0 {
		images = []*disk.FaultFS{disk.NewFaultFS()}
	}
	for _, d := range images {
		c.addHost(d)
	}
	for _, h := range c.hosts {
		h.start()
	}
	c.startWatcher()
	c.startOnlookers()
	for id := range pick(c.w, 2, 4, 6) {
		c.startClient(id)
	}
	c.startLeaseholder()
	c.makeShelf()
	c.startObjectClients()
	c.startOperator()
}
