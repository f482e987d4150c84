package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chainfire/internal/disk"
	"chainfire/machine"
	"chainfire/mvcc"
	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/wal"
)

// Survivor is what the data directory of a stopped member holds, for those who
// choose from which one a cluster without a majority is made anew.
type Survivor struct {
	Dir string
	// Cluster, Member and Name say whose directory it is; RecoveredFrom is the
	// cluster that it was made from by Recover, 0 if it was not.
	Cluster, Member uint64
	Name            string
	RecoveredFrom   uint64
	// Term and Vote are those of the hard state, Commit the highest index that is
	// known here to be committed.
	Term, Vote, Commit uint64
	// Last is the last entry, of LastTerm: of two members the one whose last entry
	// is of the later term, and then has the higher index, holds more.
	Last, LastTerm uint64
	// Conf is the configuration at the end of the log.
	Conf raft.ConfState
	// Applied is the last entry that the store holds, Revision where its keys stand,
	// Members who is known there.
	Applied             uint64
	Revision, Compacted int64
	Members             []machine.MemberRecord
	// Plain says that the members speak without TLS to each other.
	Plain bool
	// Wrote is when the log was last written to, by the times of its files; zero
	// if there is none.
	Wrote time.Time
	// Torn says that the log, or the list of the store's files, ends in an unfinished
	// write, which was never acknowledged.
	Torn bool
	// Faults are what is wrong with it. Nothing is made of a directory with faults.
	Faults []string

	// changes are the membership changes in the log, by index.
	changes []raft.Entry
}

// Newer reports whether a survivor's log ends after that of another.
func (s *Survivor) Newer(than *Survivor) bool {
	if s.LastTerm != than.LastTerm {
		return s.LastTerm > than.LastTerm
	}
	return s.Last > than.Last
}

// Member roles of a survivor.
const (
	RoleVoter   = "voter"
	RoleLearner = "learner"
	RoleNone    = "no member"
)

// Role is what the member is in the configuration.
func (s *Survivor) Role() string {
	switch {
	case s.Conf.IsVoter(s.Member):
		return RoleVoter
	case s.Conf.Contains(s.Member):
		return RoleLearner
	}
	return RoleNone
}

func (s *Survivor) fault(format string, args ...any) {
	s.Faults = append(s.Faults, fmt.Sprintf(format, args...))
}

// ErrNoMember says that a directory is not the data directory of a member.
var ErrNoMember = errors.New("not the data directory of a member")

// Survey reads a data directory that no member runs on, every checksum in it, and
// changes nothing. What is damaged is in Faults, not in the error, which is
// ErrNoMember, the context's, or the disk's.
func Survey(ctx context.Context, fsys disk.FS, dir string) (*Survivor, error) {
	fsys = disk.ReadOnly(fsys)
	d, found, err := LookAt(fsys, dir)
	if err != nil {
		return nil, err
	}
	s := &Survivor{Dir: dir, Cluster: d.Cluster, Member: d.Member, Name: d.Name}
	if unfinished, err := exists(fsys, fsys.PathJoin(dir, recoveredDir)); err != nil {
		return nil, err
	} else if unfinished {
		s.fault("a recovery of this directory was cut short: run 'chainfire recover --data-dir %s' again, which completes it", dir)
		return s, nil
	}
	if !found {
		return nil, fmt.Errorf("%s is %w", dir, ErrNoMember)
	}
	switch {
	case d.Identity != nil:
		s.fault("%v", d.Identity)
	case d.Member == 0:
		return nil, fmt.Errorf("%s is %w: it has no %s", dir, ErrNoMember, identityFile)
	}
	id, _, _ := loadIdentity(fsys, dir) // what is wrong with it was told
	s.RecoveredFrom = id.RecoveredFrom
	secured, err := exists(fsys, fsys.PathJoin(dir, pkiDir))
	if err != nil {
		return nil, err
	}
	s.Plain = !secured
	if d.Damage != "" {
		s.fault("the member found damage in its store: %s", d.Damage)
	}
	floor := s.surveyLog(fsys, d.Log)
	if err := s.surveyStore(ctx, fsys, d.Store, floor); err != nil {
		return nil, err
	}
	return s, nil
}

// surveyLog reads the log, and returns the applied index that the store must hold.
func (s *Survivor) surveyLog(fsys disk.FS, dir string) (floor uint64) {
	if dir == "" {
		s.fault("the %s folder is missing", walDir)
		return 0
	}
	var end wal.Position
	found, err := wal.Inspect(wal.InspectOptions{
		FS: fsys, Dir: dir,
		Fault: func(f *wal.Fault) error {
			if f.Kind != wal.FaultTorn {
				s.fault("%s: %s at offset %d: %s", f.Kind, f.File, f.Offset, f.Reason)
			}
			return nil
		},
		Segment: func(x *wal.InspectedSegment) error {
			info, err := fsys.Stat(x.File)
			if err == nil && x.State == wal.SegmentLive && info.ModTime().After(s.Wrote) {
				s.Wrote = info.ModTime()
			}
			return err
		},
		Record: func(r *wal.InspectedRecord) error {
			if k := len(r.Entries); k > 0 {
				end = wal.Position{Index: r.Entries[k-1].Index, Term: r.Entries[k-1].Term}
				s.noteChanges(r.Entries)
			}
			return nil
		},
	})
	if err != nil {
		s.fault("the log cannot be read: %v", err)
		return 0
	}
	s.Term, s.Vote, s.Commit = found.HardState.Term, found.HardState.Vote, found.HardState.Commit
	s.Torn = s.Torn || found.Torn != nil
	s.Last, s.LastTerm = found.Last, end.Term
	if end.Index != found.Last {
		s.LastTerm = found.Base.Term // nothing is held after the base
	}
	return max(found.Floor, found.Base.Index)
}

// noteChanges keeps the membership changes among entries that may replace others.
func (s *Survivor) noteChanges(es []raft.Entry) {
	s.changes = slices.DeleteFunc(s.changes, func(e raft.Entry) bool { return e.Index >= es[0].Index })
	for i := range es {
		if es[i].Type == raft.EntryConf {
			e := es[i]
			e.Data = slices.Clone(e.Data) // the record is valid for this call
			s.changes = append(s.changes, e)
		}
	}
}

// follow brings the store's configuration to the end of the log. What does not fit
// is refused when it is applied, too.
func (s *Survivor) follow(conf raft.ConfState) {
	s.Conf = conf
	for _, e := range s.changes {
		if e.Index <= s.Applied {
			continue
		}
		change, err := raft.DecodeChange(e.Data)
		if err != nil {
			s.fault("entry %d: %v", e.Index, err)
			return
		}
		if next, err := confchange.Apply(s.Conf, change); err == nil {
			s.Conf = next
		}
	}
}

func (s *Survivor) surveyStore(ctx context.Context, fsys disk.FS, dir string, floor uint64) error {
	if dir == "" {
		s.fault("the %s folder is missing", storeDir)
		return nil
	}
	found, err := machine.Inspect(ctx, mvcc.InspectOptions{
		FS: fsys, Dir: dir, Floor: floor,
		Fault: func(f *mvcc.Fault) error {
			if f.Kind == mvcc.FaultTorn {
				s.Torn = true
				return nil
			}
			s.fault("%s: %s at offset %d: %s", f.Kind, f.File, f.Offset, f.Reason)
			return nil
		},
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		s.fault("the store cannot be read: %v", err)
		return nil
	case !found.HasState:
		s.fault("the store has no state")
		return nil
	case s.Cluster != 0 && found.ClusterID != s.Cluster:
		s.fault("%s says cluster %x, the store cluster %x", identityFile, s.Cluster, found.ClusterID)
	}
	s.Cluster = found.ClusterID
	s.Applied, s.Members = found.State.Applied, found.Members
	s.follow(found.Conf)
	s.Revision, s.Compacted = found.State.Revision, found.State.Compacted
	s.Commit = max(s.Commit, s.Applied)
	if store := (&Survivor{Last: s.Applied, LastTerm: found.State.Term}); store.Newer(s) {
		// A snapshot became the state before its log followed.
		s.Last, s.LastTerm = store.Last, store.LastTerm
	}
	return nil
}

// Damage is an error that says what is wrong with a directory, nil if nothing is.
func (s *Survivor) Damage() error {
	if len(s.Faults) == 0 {
		return nil
	}
	return fmt.Errorf("%s is damaged, and nothing is made of it: %s; 'chainfire debug wal %s' and 'chainfire debug store %s' show all of it",
		s.Dir, strings.Join(s.Faults, "; "), s.Dir, s.Dir)
}
