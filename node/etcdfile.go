package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"chainfire"
	"chainfire/etcdfile"
	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/machine"
)

// etcdDir is where files in etcd's format are made that are asked for.
const etcdDir = "etcd-snapshots"

// etcdFileReserve is how many bytes must stay free on the disk while such a file is
// made: a backup must not stop a member.
const etcdFileReserve = 512 << 20

// etcdFile is a file that has no name any more: it is gone once it is closed, also by
// the end of the process.
type etcdFile struct {
	*os.File
	size int64
}

// Size implements chainfire.EtcdFile.
func (f *etcdFile) Size() int64 { return f.size }

// Version implements chainfire.EtcdFile.
func (f *etcdFile) Version() string { return etcdfile.StorageVersion }

// EtcdSnapshot implements chainfire.Maintenance. One file is made at a time; others wait
// for it.
func (n *Node) EtcdSnapshot(ctx context.Context) (_ chainfire.EtcdFile, err error) {
	switch n.sched.Wait(n.etcdTurn, ctx.Done(), n.stop) {
	case 1:
		return nil, ctx.Err()
	case 2:
		return nil, chainfire.ErrStopped
	}
	defer func() { n.etcdTurn <- struct{}{} }()
	f, err := n.writeEtcdFile(ctx, filepath.Join(n.opts.Dir, etcdDir, "db"))
	if err != nil {
		return nil, fmt.Errorf("make a file in etcd's format: %w", err)
	}
	return f, nil
}

func (n *Node) writeEtcdFile(ctx context.Context, path string) (_ *etcdFile, err error) {
	if err := errors.Join(n.wipe(etcdDir), disk.MkdirAll(n.opts.FS, filepath.Dir(path))); err != nil {
		return nil, err
	}
	n.catchUpForFile(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	view, st, err := n.machine.ExactView()
	if err != nil {
		return nil, err
	}
	users, err := machine.AuthOf(view)
	if err != nil {
		return nil, n.rotten(errors.Join(err, view.Close()))
	}
	conf := n.machine.Conf()
	var members []chainfire.MemberInfo
	for _, m := range n.machine.Members() {
		if conf.Contains(m.ID) {
			members = append(members, info(m, conf))
		}
	}
	err = etcdfile.Write(ctx, path, etcdfile.State{View: view, Applied: st.Applied, Term: st.Term, Members: members, Auth: users, Room: n.roomForEtcdFile})
	if err = errors.Join(err, view.Close()); err != nil {
		return nil, n.rotten(err)
	}
	f, err := os.Open(path)
	err = errors.Join(err, os.Remove(path))
	if err != nil {
		return nil, fmt.Errorf("open what was made: %w", err)
	}
	made, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the size of what was made: %w", err), f.Close())
	}
	n.log.Info("file in etcd's format made", "index", st.Applied, "revision", st.Revision, "bytes", made.Size())
	return &etcdFile{File: f, size: made.Size()}, nil
}

// catchUpForFile waits for what was acknowledged before the call. Where nobody can say,
// as without a majority, the file has what this member has: a backup is wanted most then.
func (n *Node) catchUpForFile(ctx context.Context) {
	wait := n.opts.RequestTimeout
	if at, ok := ctx.Deadline(); ok {
		wait = min(wait, at.Sub(n.sched.Now())/2) // the rest is for the file
	}
	ctx, cancel := sched.WithTimeout(ctx, n.sched, wait, errRequestTimeout)
	defer cancel()
	if err := n.linearize(ctx); err != nil {
		n.log.Warn("a file in etcd's format is made without knowing that nothing is missing", "err", err)
	}
}

// roomForEtcdFile refuses to go on where the disk is about to be full.
func (n *Node) roomForEtcdFile() error {
	usage, err := n.opts.FS.GetDiskUsage(n.opts.Dir)
	if err != nil {
		return fmt.Errorf("ask for the free space: %w", err)
	}
	if usage.AvailBytes < etcdFileReserve {
		return fmt.Errorf("%w: it would leave less than %d MiB free on the disk of %s; make room there, or ask another member",
			chainfire.ErrNoRoom, etcdFileReserve>>20, n.opts.Dir)
	}
	return nil
}
