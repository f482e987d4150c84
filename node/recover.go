package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/pki"
	"chainfire/raft"
	"chainfire/wal"
)

const (
	// recoveringDir is where a recovery builds the new data directory; what is in
	// it counts for nothing. recoveredDir is the same once it is whole: from then on
	// the directory is the new one, and what is left to do is to move it in place.
	recoveringDir = "recovering"
	recoveredDir  = "recovered"
	// keptPrefix begins the name of the folder that keeps what the directory was.
	keptPrefix = "before-recovery-"
	// idGap is how many member ids a recovery leaves out: the old cluster may have
	// given some after the last one that the survivor heard of.
	idGap = 1_000_000
)

// DefaultBumpRevision is by how much a recovery moves the revision on: more than a
// cluster writes in a week at 1,500 writes a second.
const DefaultBumpRevision = 1_000_000_000

// MaxBumpRevision bounds Recovery.BumpRevision.
const MaxBumpRevision = 1_000_000_000_000_000

// Recovery makes the data directory of one stopped survivor that of a new cluster.
type Recovery struct {
	// Dir is the directory, which the caller holds with disk.Lock.
	Dir string
	// BumpRevision is by how much the revision moves on, so that none is used again
	// that the lost members may have shown; 0 leaves it. At most MaxBumpRevision.
	BumpRevision int64
	// AdvertisePeer and AdvertiseClient are the URLs of the new cluster's member.
	// Empty are those that it had. PeerURLs are in place of the first where each says for
	// itself what is spoken there (PeerPorts).
	AdvertisePeer   string
	PeerURLs        []string
	AdvertiseClient []string
	Logger          *slog.Logger
	// FS is the file system, Sched where time and chance come from. Defaults are the
	// real ones.
	FS    disk.FS
	Sched sched.Scheduler
	// Bounds are those of a member; only what concerns log and store counts.
	Bounds Bounds
}

// Recovered is what a recovery came to.
type Recovered struct {
	// OldCluster and OldMember are whose directory it was, Cluster and Member whose
	// it is, under the same Name.
	OldCluster, OldMember uint64
	Cluster, Member       uint64
	Name                  string
	PeerURLs              []string
	// Applied is the last entry of the old log, Unsure how many of them were not
	// known to be committed. All of them are in the new state.
	Applied, Unsure uint64
	// OldRevision is where the keys stood after them, Revision where they stand.
	OldRevision, Revision int64
	// TokenFile has the new join token; empty where members speak without TLS.
	TokenFile string
	// Kept is the folder that keeps what the directory was.
	Kept string
}

// Recover makes the data directory of a survivor that of a new cluster, of which it
// is the only voter, with everything in its log applied: also what is not known to
// be committed, since nobody is left to ask. Cluster id, member id, incarnation,
// authority, certificate and join token are new, so that members of the old cluster
// are strangers to it. A crash at any point leaves the old directory as it was, or
// one that Recover, and the next Start, complete. A damaged directory is refused.
func Recover(ctx context.Context, r Recovery) (*Recovered, error) {
	if r.FS == nil {
		r.FS = disk.OS()
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	r.Sched = sched.Or(r.Sched)
	if r.BumpRevision < 0 || r.BumpRevision > MaxBumpRevision {
		return nil, fmt.Errorf("move the revision on by %d: give between 0 and %d", r.BumpRevision, int64(MaxBumpRevision))
	}
	if err := settleRecovery(r.FS, r.Dir); err != nil {
		return nil, err
	}
	s, err := Survey(ctx, r.FS, r.Dir)
	if err != nil {
		return nil, err
	}
	if err := s.Damage(); err != nil {
		return nil, err
	}
	b := &rebirth{
		old: s, r: r,
		from: r.directory(r.Dir, s.Plain), to: r.directory(r.FS.PathJoin(r.Dir, recoveringDir), s.Plain),
	}
	if err := b.build(ctx); err != nil {
		return nil, fmt.Errorf("%s is as it was: %w", r.Dir, err)
	}
	return b.out, completeRecovery(r.FS, r.Dir)
}

// directory is a node that never runs, for its paths and options.
func (r Recovery) directory(dir string, plain bool) *Node {
	return &Node{
		opts: Options{Dir: dir, FS: r.FS, Bounds: r.Bounds, Plain: plain, Logger: r.Logger},
		log:  r.Logger, sched: r.Sched, stop: make(chan struct{}),
	}
}

// rebirth is one run of Recover. from is the old directory, to the new one.
type rebirth struct {
	r        Recovery
	old      *Survivor
	from, to *Node
	id       identity
	out      *Recovered
}

// build makes the new directory beside the old one, and ends by giving it the name
// that makes it count.
func (b *rebirth) build(ctx context.Context) error {
	f := b.r.FS
	b.id = identity{
		Cluster: b.to.random(), Incarnation: b.to.random(), Name: b.old.Name, RecoveredFrom: b.old.Cluster,
	}
	b.out = &Recovered{
		OldCluster: b.old.Cluster, OldMember: b.old.Member, Cluster: b.id.Cluster, Name: b.id.Name,
		Kept: f.PathJoin(b.r.Dir, keptName(b.old.Cluster)),
	}
	if err := b.from.wipe(recoveringDir); err != nil {
		return err
	}
	if err := disk.MkdirAll(f, b.to.opts.Dir); err != nil {
		return err
	}
	seed := b.to.path(seedDir)
	if err := machine.CopyStopped(f, b.from.path(storeDir), seed, nil); err != nil {
		return err
	}
	if err := b.to.adopt(seed); err != nil {
		return err
	}
	m, err := machine.Open(b.to.machineOptions())
	if err != nil {
		return fmt.Errorf("open the copy of the store: %w", err)
	}
	at, term, err := b.replay(ctx, m)
	if err == nil {
		err = b.refound(m, at, term)
	}
	if err := errors.Join(err, m.Err(), m.Close()); err != nil {
		return err
	}
	if err := b.keepSealKey(); err != nil {
		return err
	}
	if err := saveIdentity(f, b.to.opts.Dir, b.id); err != nil {
		return err
	}
	if err := f.Rename(b.to.opts.Dir, f.PathJoin(b.r.Dir, recoveredDir)); err != nil {
		return fmt.Errorf("finish the new directory: %w", err)
	}
	return disk.SyncDir(f, b.r.Dir)
}

// keepSealKey takes the sealing key over, so that the secrets of access keys can still be had
// back. One that cannot be read is no reason not to recover.
func (b *rebirth) keepSealKey() error {
	key, err := b.from.sealKeyOf(pki.Member{Cluster: b.old.Cluster, ID: b.old.Member})
	if err != nil {
		b.r.Logger.Warn("the sealing key of the old cluster is lost, so that access keys are to be made anew", "err", err)
		return nil
	}
	if key == nil {
		return nil
	}
	return writeSealKey(b.r.FS, b.to.path(sealFile), key)
}

// replayBytes is how much of the log is applied in one round.
const replayBytes = 4 << 20

// replay applies everything in the old log that the store does not hold, and
// returns the last entry.
func (b *rebirth) replay(ctx context.Context, m *machine.Machine) (index, term uint64, err error) {
	log, st, err := wal.Open(b.from.walOptions())
	if err != nil {
		return 0, 0, fmt.Errorf("open the write-ahead log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	index, term = m.Applied()
	if held, terr := log.Term(index); terr != nil || held != term {
		// A snapshot became the state before the log followed: nothing in the log is
		// newer.
		return index, max(term, st.HardState.Term), nil
	}
	last := log.LastIndex()
	for index < last {
		if ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
		es, err := log.Entries(index+1, last+1, replayBytes)
		if err != nil {
			return 0, 0, fmt.Errorf("read entries from %d on: %w", index+1, err)
		}
		if _, err := m.Apply(es); err != nil {
			return 0, 0, err
		}
		index = es[len(es)-1].Index
	}
	b.out.Unsure = last - min(last, max(b.old.Commit, st.HardState.Commit))
	_, term = m.Applied()
	return index, max(term, st.HardState.Term), nil
}

// refound makes the state that of the new cluster, and everything that goes with
// it.
func (b *rebirth) refound(m *machine.Machine, at, term uint64) error {
	next := at + 1 + idGap
	b.id.Member, b.out.Member, b.out.Applied = next, next, at
	b.out.OldRevision = m.Revision()
	rec := machine.MemberRecord{ID: next, Name: b.id.Name, Incarnation: b.id.Incarnation}
	for _, r := range m.Members() {
		if r.ID == b.old.Member {
			rec.PeerURLs, rec.ClientURLs = r.PeerURLs, r.ClientURLs
		}
	}
	switch {
	case len(b.r.PeerURLs) > 0:
		rec.PeerURLs = b.r.PeerURLs
	case b.r.AdvertisePeer != "":
		rec.PeerURLs = []string{b.r.AdvertisePeer}
	}
	if len(b.r.AdvertiseClient) > 0 {
		rec.ClientURLs = b.r.AdvertiseClient
	}
	if err := b.checkAddress(rec.PeerURLs); err != nil {
		return err
	}
	b.out.PeerURLs = rec.PeerURLs
	tokens, err := b.secure(rec.PeerURLs)
	if err != nil {
		return err
	}
	err = m.Refound(machine.Refounding{
		ClusterID: b.id.Cluster, Member: rec, Tokens: tokens, Index: next, Term: term + 1, BumpRevision: b.r.BumpRevision,
	})
	if err != nil {
		return err
	}
	b.out.Revision = m.Revision()
	return b.to.createLog(next, term+1, raft.HardState{Term: term + 1, Commit: next})
}

// checkAddress makes sure that others will find the new cluster's member.
func (b *rebirth) checkAddress(urls []string) error {
	if len(urls) == 0 {
		return errors.New("the old cluster knew no address of this member: give the one at which others are to reach it (--advertise-peer)")
	}
	for _, u := range urls {
		if len(b.r.PeerURLs) > 0 {
			if err := join.CheckURL(u); err != nil {
				return fmt.Errorf("the peer address: %w", err)
			}
			continue
		}
		if x, err := url.Parse(u); err != nil || x.Scheme != b.to.opts.scheme() {
			return fmt.Errorf("the peer address %q: members of this cluster speak %s to each other", u, b.to.opts.scheme())
		}
	}
	return nil
}

// secure makes the authority, the certificate and the join token of the new
// cluster.
func (b *rebirth) secure(peerURLs []string) ([]machine.TokenRecord, error) {
	if b.old.Plain {
		return nil, nil
	}
	creds, err := pki.NewCredentials(b.r.Sched.Now())
	if err != nil {
		return nil, err
	}
	b.to.creds = creds
	tokens, err := b.to.foundAuthority(b.id, peerURLs)
	for i := range tokens {
		tokens[i].ID = b.id.Member // the index that stands for the new state
	}
	b.out.TokenFile = b.r.FS.PathJoin(b.r.Dir, tokenFile)
	return tokens, err
}
