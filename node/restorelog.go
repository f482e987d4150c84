package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"go.etcd.io/raft/v3/raftpb"

	"chainfire"
	"chainfire/etcdwal"
	"chainfire/machine"
	"chainfire/raft"
)

// What a round of entries holds at most, other than one that is larger.
const (
	logEntries = 1000
	logBytes   = 4 << 20
)

// ErrNoLog says that a data directory of etcd is without its write-ahead log.
var ErrNoLog = errors.New("there is no write-ahead log beside the database, which has what came after its last commit")

// RestoredLog is what the write-ahead log of an etcd had beyond the file.
type RestoredLog struct {
	Dir string
	// Last is the last entry that is known to be committed, Entries how many of those were
	// not in the file, Beyond how many come after it: whether they were acknowledged the
	// log of one member cannot tell, and they are not taken over.
	Last, Entries, Beyond uint64
	// Torn is where the log ends in the middle of a record, as a crash leaves it; nil if
	// it ends with a whole one.
	Torn *etcdwal.Torn
}

// readLog reads what the write-ahead log has beyond the file.
func (b *restoring) readLog(ctx context.Context) error {
	if b.logDir == "" {
		return nil
	}
	voters, err := b.file.Voters()
	if err != nil {
		return err
	}
	b.log, err = etcdwal.Open(ctx, etcdwal.Options{Dir: b.logDir, After: b.file.Applied, Voters: voters})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNoLog, err)
	}
	if err != nil {
		return err
	}
	b.out.Log = &RestoredLog{Dir: b.logDir, Last: b.log.Last, Entries: b.log.Last - b.file.Applied, Beyond: b.log.Beyond, Torn: b.log.Torn}
	return nil
}

// replay applies what the log has beyond the file onto what was taken of the file, ends
// the import, and returns the last entry that the state stands for.
func (b *restoring) replay(ctx context.Context) (applied uint64, err error) {
	m, err := machine.Open(b.n.machineOptions())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	r := replay{m: m}
	if b.log != nil {
		if err := errors.Join(b.log.Entries(ctx, r.entry), r.apply()); err != nil {
			return 0, fmt.Errorf("apply the write-ahead log of etcd: %w", err)
		}
		b.out.OldRevision = m.Revision()
	}
	if err := m.FinishImport(b.bump); err != nil {
		return 0, err
	}
	leases, err := m.Leases()
	if err != nil {
		return 0, err
	}
	b.out.Revision, b.out.Compacted, b.out.Leases = m.Revision(), m.CompactRevision(), len(leases)
	b.out.Alarms, b.out.Users, b.out.Auth = len(m.Alarms()), len(m.Auth().Users()), m.Auth().Enabled()
	applied, _ = m.Applied()
	return applied, nil
}

// replay gathers commands into rounds.
type replay struct {
	m     *machine.Machine
	round []raft.Entry
	size  int
	// of are the entries of etcd's log that the round is of, one for each of its own.
	of []uint64
}

func (r *replay) entry(e *raftpb.Entry) error {
	commands, err := etcdwal.Commands(e, firstTerm)
	if err != nil {
		return err
	}
	for i := range commands {
		data := commands[i].AppendTo(nil)
		if r.size+len(data) > logBytes || len(r.round) >= logEntries {
			if err := r.apply(); err != nil {
				return err
			}
		}
		applied, _ := r.m.Applied()
		r.round = append(r.round, raft.Entry{Type: raft.EntryNormal, Index: applied + uint64(len(r.round)) + 1, Term: firstTerm, Data: data})
		r.of = append(r.of, e.GetIndex())
		r.size += len(data)
	}
	return nil
}

func (r *replay) apply() error {
	results, err := r.m.Apply(r.round)
	if err != nil {
		return fmt.Errorf("entries %d to %d: %w", r.of[0], r.of[len(r.of)-1], err)
	}
	for i := range results {
		// etcd has refused the others too, but does not know of these bounds.
		if err := results[i].Err; errors.Is(err, chainfire.ErrTooManyAuth) || errors.Is(err, chainfire.ErrTooManyAlarms) {
			return fmt.Errorf("entry %d cannot be taken over: %w", r.of[i], err)
		}
	}
	r.round, r.of, r.size = nil, nil, 0
	return nil
}
