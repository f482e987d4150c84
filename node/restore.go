package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strings"

	"chainfire"
	"chainfire/auth"
	"chainfire/etcdfile"
	"chainfire/etcdwal"
	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/mvcc"
	"chainfire/pki"
	"chainfire/raft"
)

// restoringFile is there from before a restore writes anything into a directory until the
// directory is a member's. As long as there is no identity beside it, what is there counts
// for nothing.
const restoringFile = "restoring.json"

// DefaultAdvertisePeer is the peer address of a member about which nothing is said.
const DefaultAdvertisePeer = join.SchemeTLS + "://127.0.0.1:2380"

// Restoration makes a data directory of a file that etcd, or a member, wrote in etcd's
// format.
type Restoration struct {
	// From is the file, or a data directory of a stopped etcd. Nothing in it is changed.
	From string
	// LogDir is the folder of that etcd's write-ahead log: what it has beyond the file is
	// taken over too. Default is member/wal in a data directory, and no log with a file.
	// Nothing in it is changed.
	LogDir string
	// SkipHash takes a file without a checksum of the whole. A data directory never has
	// one.
	SkipHash bool
	// Dir is the data directory. It is empty, or not there, or left by a restore that was
	// cut short.
	Dir string
	// BumpRevision is by how much the revision moves on; what was before is compacted
	// then. 0 leaves both. At most MaxBumpRevision.
	BumpRevision int64
	// Name is that of the member. Default is its peer address.
	Name string
	// AdvertisePeer is the URL under which other members reach it, default
	// DefaultAdvertisePeer; with http:// members speak without TLS to each other.
	// AdvertiseClient are those for clients.
	AdvertisePeer   string
	AdvertiseClient []string
	// Follow, if set, goes on where the file ends.
	Follow Follower
	// Version is the product's, of at most machine.MaxVersionLen bytes.
	Version string
	Logger  *slog.Logger
	// FS is the file system of Dir, Sched where time and chance come from. Defaults are
	// the real ones.
	FS    disk.FS
	Sched sched.Scheduler
	// Bounds are those of a member; only what concerns log and store counts.
	Bounds Bounds
}

// Follower goes on where a file ends, with what its server wrote since.
type Follower interface {
	// Versions visits what was written after a revision, in order, until that is all.
	Versions(ctx context.Context, after int64, visit func(*mvcc.Version) error) error
	// End says, after that, where it ended, and etcd's hash of the key space there.
	End() (end machine.ImportEnd, hash uint32)
}

// Restored is what a restore came to.
type Restored struct {
	// File is what was read, Hashed whether it had a checksum of the whole, and Copied
	// whether it lay in a data directory.
	File           string
	Hashed, Copied bool
	// Applied and Term are etcd's consistent index in the file, and its term.
	Applied, Term uint64
	// Log is what the write-ahead log had beyond that; nil if there was none to be read.
	Log *RestoredLog
	// Cluster and Member are new.
	Cluster, Member uint64
	Name            string
	PeerURLs        []string
	// Revision and Compacted are where the keys stand, OldRevision where they stood in
	// the file, or with its log. Versions is how many versions of keys were in the file.
	OldRevision, Revision, Compacted int64
	Versions                         int64
	Leases, Alarms, Users            int
	// Auth says that authentication is enabled.
	Auth bool
	// TokenFile has the join token; empty where members speak without TLS.
	TokenFile string
}

// Restore makes an empty directory the first member of a new cluster, which has the keys
// of a file with their revisions and all of their history, the leases with what is left of
// them, the alarms, and users and roles. The file is checked before anything is made. After an error
// nothing is left of it; after a crash the directory does not start until Restore has
// been called again, or is the new member's.
func Restore(ctx context.Context, r Restoration) (*Restored, error) {
	if r.FS == nil {
		r.FS = disk.OS()
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	r.Sched = sched.Or(r.Sched)
	r.AdvertisePeer = cmp.Or(r.AdvertisePeer, DefaultAdvertisePeer)
	peer, err := url.Parse(r.AdvertisePeer)
	if err != nil || peer.Host == "" || peer.Scheme != join.SchemeTLS && peer.Scheme != join.SchemePlain {
		return nil, fmt.Errorf("the peer address %q: give a URL, as %s", r.AdvertisePeer, DefaultAdvertisePeer)
	}
	r.Name = cmp.Or(r.Name, peer.Host)
	if r.BumpRevision < 0 || r.BumpRevision > MaxBumpRevision {
		return nil, fmt.Errorf("move the revision on by %d: give between 0 and %d", r.BumpRevision, int64(MaxBumpRevision))
	}
	path, copied, err := etcdfile.Locate(r.From)
	if err != nil {
		return nil, err
	}
	file, err := etcdfile.Open(ctx, etcdfile.OpenOptions{Path: path, SkipHash: r.SkipHash || copied})
	if err != nil {
		return nil, err
	}
	if r.LogDir == "" && copied {
		r.LogDir = etcdwal.Locate(r.From)
	}
	out := &Restored{
		File: path, Hashed: file.Hashed, Copied: copied, Applied: file.Applied, Term: file.Term, OldRevision: file.Revision,
		Name: r.Name, PeerURLs: []string{r.AdvertisePeer},
	}
	n := &Node{
		opts: Options{
			Dir: r.Dir, FS: r.FS, Bounds: r.Bounds, Plain: peer.Scheme == join.SchemePlain, Logger: r.Logger, Name: r.Name,
			AdvertisePeer: r.AdvertisePeer, AdvertiseClient: r.AdvertiseClient, Version: r.Version,
		},
		log: r.Logger, sched: r.Sched, stop: make(chan struct{}),
	}
	n.opts.Bounds.FeatureLevel = cmp.Or(n.opts.Bounds.FeatureLevel, machine.FeatureLevel)
	b := &restoring{n: n, file: file, logDir: r.LogDir, bump: r.BumpRevision, follow: r.Follow, out: out}
	err = b.run(ctx)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return out, nil
}

// restoring is one run of Restore. n is the new member, which never runs.
type restoring struct {
	n      *Node
	file   *etcdfile.File
	logDir string
	log    *etcdwal.Log // nil: none
	bump   int64
	follow Follower
	out    *Restored
	in     machine.Import
	auth   *auth.State
	// end is where it ends, hash etcd's hash there, if a server was followed.
	end  machine.ImportEnd
	hash uint32
}

func (b *restoring) run(ctx context.Context) (err error) {
	if err := b.read(ctx); err != nil {
		return err
	}
	f, dir := b.n.opts.FS, b.n.opts.Dir
	if err := EmptyForRestore(f, dir); err != nil {
		return err
	}
	there, err := exists(f, dir)
	if err != nil {
		return err
	}
	held, err := exists(f, f.PathJoin(dir, disk.LockName))
	if err != nil {
		return err
	}
	if err := disk.MkdirAll(f, dir); err != nil {
		return err
	}
	lock, err := disk.Lock(f, dir)
	if err != nil {
		return err
	}
	// Somebody may have begun on it before it was held.
	if err = EmptyForRestore(f, dir); err == nil {
		if err = b.build(ctx); err != nil {
			err = errors.Join(err, b.clear())
		}
	}
	err = errors.Join(err, lock.Close())
	switch {
	case err != nil && !there:
		err = errors.Join(err, remove(f, dir))
	case err != nil && !held:
		err = errors.Join(err, remove(f, f.PathJoin(dir, disk.LockName)))
	}
	return err
}

// restoredParts are what a restore makes in a directory.
var restoredParts = []string{identityFile, tokenFile, pkiDir, storeDir, walDir, damageFile}

// EmptyForRestore refuses a directory in which there is anything, other than what a
// restore left that was cut short.
func EmptyForRestore(f disk.FS, dir string) error {
	names, err := f.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	left, done := false, false
	for _, name := range names {
		left, done = left || name == restoringFile, done || name == identityFile
	}
	for _, name := range names {
		switch {
		case name == disk.LockName || name == restoringFile+".tmp":
		case left && !done:
		default:
			return fmt.Errorf("%s is not empty: it holds %s; give another --data-dir, or move away what is there", dir, name)
		}
	}
	return nil
}

// read reads what is small, and refuses what cannot be taken over.
func (b *restoring) read(ctx context.Context) (err error) {
	if b.auth, err = b.file.Auth(); err != nil {
		return err
	}
	b.end = machine.ImportEnd{Revision: b.file.Revision, Compacted: b.file.Compacted}
	if b.end.Leases, err = b.file.Leases(); err != nil {
		return err
	}
	b.in.Compacted = b.file.Compacted
	if b.in.Alarms, err = b.file.Alarms(); err != nil {
		return err
	}
	return b.readLog(ctx)
}

// build makes the directory, and the identity last, by which it counts.
func (b *restoring) build(ctx context.Context) error {
	n, f := b.n, b.n.opts.FS
	if err := writeSealed(f, n.path(restoringFile), struct{}{}); err != nil {
		return err
	}
	if err := n.wipe(restoredParts...); err != nil {
		return err
	}
	id := identity{Cluster: n.random(), Member: 1, Incarnation: n.random(), Name: n.opts.Name}
	if !n.opts.Plain {
		creds, err := pki.NewCredentials(n.sched.Now())
		if err != nil {
			return err
		}
		n.creds = creds
		b.out.TokenFile = n.path(tokenFile)
	}
	tokens, err := n.foundAuthority(id, b.out.PeerURLs)
	if err != nil {
		return err
	}
	b.in.Init = machine.Init{
		ClusterID: id.Cluster, Tokens: tokens, Auth: b.auth, Conf: raft.ConfState{Voters: []uint64{id.Member}}, Index: firstIndex, Term: firstTerm,
		Members: []machine.MemberRecord{{
			ID: id.Member, Name: id.Name, PeerURLs: b.out.PeerURLs, ClientURLs: n.opts.AdvertiseClient, Incarnation: id.Incarnation,
			Version: n.opts.Version, Level: n.opts.Bounds.FeatureLevel,
		}},
	}
	b.in.Versions = func(visit func(*mvcc.Version) error) error { return b.versions(ctx, visit) }
	b.in.End = func() (machine.ImportEnd, error) { return b.end, nil }
	applied, err := b.bootstrap(ctx)
	if err != nil {
		return fmt.Errorf("restore into %s: %w", n.opts.Dir, err)
	}
	if err := b.compare(ctx); err != nil {
		return err
	}
	if err := n.createLog(applied, firstTerm, raft.HardState{Term: firstTerm, Commit: applied}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := saveIdentity(f, n.opts.Dir, id); err != nil {
		return err
	}
	b.out.Cluster, b.out.Member = id.Cluster, id.Member
	return settleRestoration(f, n.opts.Dir)
}

// versions visits what is in the file, and what its server wrote since.
func (b *restoring) versions(ctx context.Context, visit func(*mvcc.Version) error) error {
	count := func(v *mvcc.Version) error {
		b.out.Versions++
		return visit(v)
	}
	if err := b.file.Versions(ctx, count); err != nil || b.follow == nil {
		return err
	}
	if err := b.follow.Versions(ctx, b.file.Revision, count); err != nil {
		return err
	}
	b.end, b.hash = b.follow.End()
	// It may not know of a compaction that it has not finished.
	b.end.Compacted = max(b.end.Compacted, b.file.Compacted)
	return nil
}

// ErrNotSame says that what was taken over is not what the server has.
var ErrNotSame = errors.New("the hashes of the key spaces differ")

// compare holds what was taken over against the server that was followed.
func (b *restoring) compare(ctx context.Context) error {
	if b.follow == nil {
		return nil
	}
	m, err := machine.Open(b.n.machineOptions())
	if err != nil {
		return err
	}
	h, err := m.EtcdHash(ctx, b.end.Revision)
	if err := errors.Join(err, m.Close()); err != nil {
		return err
	}
	if h.Sum == b.hash {
		return nil
	}
	why := ""
	if b.end.Revision == b.end.Compacted {
		why = "; at the compacted revision itself etcd may answer with the hash of before: write any key there"
	}
	return fmt.Errorf("%w at revision %d, compacted at %d: %d here and %d there%s; run the migration again", ErrNotSame, h.Revision, h.Compacted, h.Sum, b.hash, why)
}

// bootstrap writes the state, and returns the last entry that it stands for. On a full
// disk the engine tries again without end: it is left behind then.
func (b *restoring) bootstrap(ctx context.Context) (uint64, error) {
	done := make(chan struct{})
	// What is left behind still writes there.
	out := new(struct {
		applied uint64
		err     error
	})
	b.n.sched.Go(func() {
		defer close(done)
		err := machine.BootstrapFrom(b.n.machineOptions(), b.in)
		if errors.Is(err, chainfire.ErrCorrupt) && !strings.Contains(err.Error(), b.file.Path) {
			err = fmt.Errorf("%s: %w", b.file.Path, err)
		}
		if err == nil {
			out.applied, err = b.replay(ctx)
		}
		out.err = err
	})
	if b.n.sched.Wait(done, b.n.stop) == 1 {
		return 0, b.n.Err()
	}
	return out.applied, out.err
}

// clear removes what a restore that failed has made.
func (b *restoring) clear() error {
	f, dir := b.n.opts.FS, b.n.opts.Dir
	for _, name := range restoredParts {
		if err := errors.Join(remove(f, b.n.path(name)), remove(f, b.n.path(name+".tmp"))); err != nil {
			return err
		}
	}
	if err := disk.SyncDir(f, dir); err != nil {
		return err
	}
	if err := errors.Join(remove(f, b.n.path(restoringFile)), remove(f, b.n.path(restoringFile+".tmp"))); err != nil {
		return err
	}
	return disk.SyncDir(f, dir)
}

// settleRestoration ends a restore that is complete, and refuses a directory in which one
// was cut short.
func settleRestoration(f disk.FS, dir string) error {
	mark := f.PathJoin(dir, restoringFile)
	begun, err := exists(f, mark)
	if err != nil || !begun {
		return err
	}
	done, err := exists(f, f.PathJoin(dir, identityFile))
	switch {
	case err != nil:
		return err
	case !done:
		return fmt.Errorf("a restore into %s was cut short, and what is there is not whole: run 'chainfire snapshot restore' again, or remove the directory", dir)
	}
	if err := f.Remove(mark); err != nil {
		return fmt.Errorf("remove %s: %w", mark, err)
	}
	return disk.SyncDir(f, dir)
}
