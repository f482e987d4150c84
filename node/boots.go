package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/machine"
	"chainfire/transport"
)

// Two processes on copies of one data directory have one identity and one vote
// between them, and could give it twice. So each start is counted in the directory
// before the process takes part, members remember the count that they heard of each
// other, and the lower one is refused: it is an old copy, or the original of a copy
// that went on. A member asks for that before it counts its start, so that a refused
// start does not count, and asks, too, whether another process answers at its own
// address. A restart is never taken for a copy: its count is higher, and while it
// runs nobody else can hold the directory.

// ErrCopied says that another process has this member's identity.
var ErrCopied = errors.New("another process has the identity of this data directory, which is a copy, or has been copied; " +
	"both together could vote twice, so this one stays out: leave the identity to the other one, and make a newcomer of this directory " +
	"with 'chainfire seed prepare' and --join, or wipe it")

// bootsFile counts the starts of the directory, and has the last start that was
// heard of of each other member.
const bootsFile = "boots.json"

// boot is one start of a data directory.
type boot struct {
	Member uint64 `json:"member_id"`
	Boots  uint64 `json:"boots"`
	Nonce  uint64 `json:"nonce"`
}

// bootRecord is the content of the boots file.
type bootRecord struct {
	Own   uint64 `json:"own"`
	Peers []boot `json:"peers,omitempty"`
}

// boots is what is known of starts. Its methods may be called from any goroutine.
type boots struct {
	own, nonce uint64
	mu         sync.Mutex
	peers      []boot
	dirty      bool
	// lost says that another process has this start's count.
	lost bool
}

// openBoots reads what is known. The start that is under way has the next count, and
// counts from begin on.
func openBoots(f disk.FS, path string, nonce uint64) (*boots, error) {
	var r bootRecord
	if _, err := readSealed(f, path, &r); err != nil {
		return nil, err
	}
	return &boots{own: r.Own + 1, nonce: nonce, peers: r.Peers}, nil
}

// begin counts this start, durably. Only after that may other members hear of it.
func (b *boots) begin(f disk.FS, path string) error {
	b.mu.Lock()
	b.dirty = true
	b.mu.Unlock()
	return b.save(f, path)
}

// forfeit takes this start's count back, which another process has: the next start
// is refused, too, in place of having the next count. The next save writes it.
func (b *boots) forfeit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost, b.dirty = true, true
}

// save writes what is known, if that is new. One call at a time.
func (b *boots) save(f disk.FS, path string) error {
	b.mu.Lock()
	r := bootRecord{Own: b.own, Peers: slices.Clone(b.peers)}
	if b.lost {
		r.Own--
	}
	dirty := b.dirty
	b.dirty = false
	b.mu.Unlock()
	if !dirty {
		return nil
	}
	err := writeSealed(f, path, r)
	if err != nil {
		b.mu.Lock()
		b.dirty = true
		b.mu.Unlock()
	}
	return err
}

// place is where a member's last start is kept. mu is held.
func (b *boots) place(member uint64) int {
	return slices.IndexFunc(b.peers, func(x boot) bool { return x.Member == member })
}

// outdated reports whether a start is known that is another than x and not before
// it. A count of 0 is of a version that did not count.
func (b *boots) outdated(x boot) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.place(x.Member)
	return x.Boots != 0 && i >= 0 && (x.Boots < b.peers[i].Boots || x.Boots == b.peers[i].Boots && x.Nonce != b.peers[i].Nonce)
}

// knows reports whether x is the last start known of a member.
func (b *boots) knows(x boot) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.peers, x)
}

// note remembers a start, unless a later one is known.
func (b *boots) note(x boot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.place(x.Member)
	switch {
	case x.Boots == 0 || i >= 0 && b.peers[i].Boots >= x.Boots:
		return
	case i >= 0:
		b.peers[i] = x
	default:
		b.peers = append(b.peers, x)
	}
	b.dirty = true
}

// saveBoots is help for a later start of this member and not asked for to be
// durable at once, so a failure is only logged.
func (n *Node) saveBoots() {
	if err := n.boots.save(n.opts.FS, n.path(bootsFile)); err != nil {
		n.log.Warn("what was heard of other members' starts was not written down", "err", err)
	}
}

// overtaken stops a member whose place another process took.
func (n *Node) overtaken(reason string) {
	n.boots.forfeit()
	n.fatal("another process took this member's place", fmt.Errorf("%w (%s)", ErrCopied, reason))
}

// vouchTimeout bounds the search for a process with this member's identity. Where
// all members are up, or refuse connections, it takes no time.
const vouchTimeout = time.Second

// vouch looks for another process with this member's identity before this one takes
// part: at its own address, and by asking the other members. That nobody answers is
// no reason to stay out.
func (n *Node) vouch(ctx context.Context) error {
	ctx, cancel := sched.WithTimeout(ctx, n.sched, vouchTimeout, nil)
	defer cancel()
	var mu sync.Mutex
	reason := ""
	found := func(why string) {
		mu.Lock()
		defer mu.Unlock()
		if reason == "" && why != "" {
			reason = why
			cancel()
		}
	}
	asking := sched.NewGroup(n.sched)
	own := boot{n.id, n.boots.own, n.boots.nonce}
	for _, m := range n.machine.Members() {
		switch {
		case m.Reserved || len(m.PeerURLs) == 0:
		case m.ID == n.id:
			asking.Go(func() { found(n.double(ctx, m, own)) })
		default:
			asking.Go(func() { found(n.askToVouch(ctx, m, own)) })
		}
	}
	asking.Wait()
	if reason != "" {
		return fmt.Errorf("%w (%s)", ErrCopied, reason)
	}
	return nil
}

// double says where another process answers than the one of a start, under that
// member's identity; empty is nowhere.
func (n *Node) double(ctx context.Context, m machine.MemberRecord, x boot) string {
	for _, u := range m.PeerURLs {
		var who *api.IdentifyResponse
		err := n.withPeer(u, func(p api.PeerClient) (err error) {
			who, err = p.Identify(ctx, &api.IdentifyRequest{})
			return err
		})
		if err == nil && who.GetMemberId() == m.ID && who.GetIncarnation() == m.Incarnation && m.Incarnation != 0 &&
			who.GetBootNonce() != 0 && who.GetBootNonce() != x.Nonce {
			return fmt.Sprintf("it answers at %s, the address of member %d", u, m.ID)
		}
	}
	return ""
}

// withPeer makes a connection for one call: one that exists may be waiting after a
// failure.
func (n *Node) withPeer(peerURL string, call func(api.PeerClient) error) error {
	addr, err := n.opts.schemes().Address(peerURL)
	if err != nil {
		return err
	}
	conn, err := n.opts.Network.Dial(addr)
	if err != nil {
		return err
	}
	err = call(api.NewPeerClient(conn))
	return errors.Join(err, conn.Close())
}

func (n *Node) askToVouch(ctx context.Context, m machine.MemberRecord, own boot) string {
	for _, u := range m.PeerURLs {
		var answer *api.VouchResponse
		err := n.withPeer(u, func(p api.PeerClient) (err error) {
			answer, err = p.Vouch(ctx, &api.VouchRequest{
				ClusterId: n.cluster, MemberId: n.id, Incarnation: n.incarnation, Boots: own.Boots, BootNonce: own.Nonce,
			})
			return err
		})
		if err == nil {
			return answer.GetCopied()
		}
		n.log.Debug("a member could not vouch for this one", "member", m.ID, "addr", u, "err", err)
	}
	return ""
}

// Vouch implements api.PeerServer.
func (p *peerService) Vouch(ctx context.Context, q *api.VouchRequest) (*api.VouchResponse, error) {
	if _, err := p.gate(); err != nil {
		return nil, err
	}
	n := p.n
	if q.GetClusterId() != n.cluster {
		return nil, status.Errorf(codes.FailedPrecondition, "this is cluster %x, not cluster %x", n.cluster, q.GetClusterId())
	}
	if id, ok := n.caller(ctx); ok && id != q.GetMemberId() {
		return nil, status.Errorf(codes.PermissionDenied, "member %d asks for member %d", id, q.GetMemberId())
	}
	for _, m := range n.machine.Members() {
		switch {
		case m.ID != q.GetMemberId():
		case m.Incarnation != 0 && m.Incarnation != q.GetIncarnation() && q.GetBoots() == 1:
			// It begins a cluster that there is. Others the streams tell what is wrong.
			return &api.VouchResponse{Copied: fmt.Sprintf("member %d knows member %d with another data directory", n.id, m.ID)}, nil
		case m.Incarnation == 0 || m.Incarnation == q.GetIncarnation():
			return &api.VouchResponse{Copied: n.judgeBoot(ctx, m, boot{m.ID, q.GetBoots(), q.GetBootNonce()}, true)}, nil // it does not count yet
		}
	}
	return &api.VouchResponse{}, nil // the streams tell it what is wrong
}

// caller is the member that a call comes from, as its certificate says; ok is false
// where members speak without TLS.
func (n *Node) caller(ctx context.Context) (id uint64, ok bool) {
	p, found := peer.FromContext(ctx)
	if !found || n.creds == nil {
		return 0, false
	}
	info, isTLS := p.AuthInfo.(credentials.TLSInfo)
	if !isTLS {
		return 0, false
	}
	id, err := n.creds.PeerID(info.State)
	return id, err == nil
}

// judgeBoot says why a process must not speak for a member. look is whether its address may be called, which takes a while.
func (n *Node) judgeBoot(ctx context.Context, m machine.MemberRecord, x boot, look bool) string {
	switch {
	case x.Boots == 0 || n.boots.knows(x):
		return ""
	case n.boots.outdated(x):
		return fmt.Sprintf("member %d knows of a later start of member %d", n.id, m.ID)
	}
	if look {
		if where := n.double(ctx, m, x); where != "" {
			return fmt.Sprintf("member %d says: %s", n.id, where)
		}
	}
	return ""
}

// admitBoot judges the process behind a stream.
func (n *Node) admitBoot(m machine.MemberRecord, h transport.Hello) error {
	ctx, cancel := sched.WithTimeout(context.Background(), n.sched, vouchTimeout, nil)
	defer cancel()
	// Simulated streams are admitted in no time.
	_, real := n.opts.Network.(*tcp)
	x := boot{m.ID, h.Boots, h.BootNonce}
	if why := n.judgeBoot(ctx, m, x, real); why != "" {
		return &transport.RefusedError{Code: transport.CodeCopied, Text: why}
	}
	n.boots.note(x)
	return nil
}
