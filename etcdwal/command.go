package etcdwal

import (
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"chainfire"
	"chainfire/auth"
	"chainfire/internal/etcdrequest"
	"chainfire/machine"
)

// minTTL is the least time to live, in seconds, that an etcd grants whose election
// timeout is the default. What it was there is not in the log.
const minTTL = 2

// Commands says what an entry does to the state, as commands to be applied in an entry
// of a term: one, as a rule, none for what leaves keys, leases, users and alarms as they are,
// as the members of the old cluster. Applied they are refused where etcd refuses the
// entry. It returns an error for what etcd has applied and no command can be.
func Commands(e *raftpb.Entry, term uint64) ([]machine.Command, error) {
	if e.GetType() != raftpb.EntryNormal || len(e.Data) == 0 {
		return nil, nil
	}
	var r pb.InternalRaftRequest
	if err := proto.Unmarshal(e.Data, &r); err != nil {
		if aboutMembers(e.Data) {
			return nil, nil
		}
		return nil, fmt.Errorf("entry %d of etcd's log: %w: %w", e.GetIndex(), chainfire.ErrCorrupt, err)
	}
	commands, err := commandsOf(&r, term)
	for i := range commands {
		c := &commands[i]
		c.Caller = auth.Identity{User: r.GetHeader().GetUsername(), Revision: r.GetHeader().GetAuthRevision()}
		if err == nil {
			err = c.Validate()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("entry %d of etcd's log cannot be taken over: %w", e.GetIndex(), err)
	}
	return commands, nil
}

// aboutMembers reports whether an entry is one in which etcds before 3.6 kept names and
// addresses of members: a request of their old API, whose third field is a path.
func aboutMembers(b []byte) bool {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if num == 3 && kind == protowire.BytesType {
			path, n := protowire.ConsumeBytes(b)
			return n > 0 && strings.HasPrefix(string(path), "/0/")
		}
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return false
}

func one(c machine.Command) []machine.Command { return []machine.Command{c} }

func commandsOf(r *pb.InternalRaftRequest, term uint64) ([]machine.Command, error) {
	switch {
	case r.Put != nil:
		q := &chainfire.PutRequest{}
		etcdrequest.FillPut(q, r.Put)
		return one(machine.Command{Put: q}), nil
	case r.DeleteRange != nil:
		q := &chainfire.DeleteRangeRequest{}
		etcdrequest.FillDelete(q, r.DeleteRange)
		return one(machine.Command{Delete: q}), nil
	case r.Txn != nil:
		settle(r.Txn)
		return one(machine.Command{Txn: etcdrequest.Txn(r.Txn)}), nil
	case r.Compaction != nil:
		return one(machine.Command{Compact: &chainfire.CompactRequest{Revision: r.Compaction.Revision}}), nil
	case r.LeaseGrant != nil:
		return grant(r.LeaseGrant), nil
	case r.LeaseRevoke != nil:
		return one(machine.Command{RevokeLease: &machine.RevokeLease{ID: r.LeaseRevoke.ID}}), nil
	case r.LeaseCheckpoint != nil:
		return checkpoints(r.LeaseCheckpoint, term), nil
	case r.Alarm != nil:
		return alarm(r.Alarm)
	}
	c, err := authChange(r)
	if err != nil {
		return nil, err
	}
	if c != nil {
		return one(machine.Command{Auth: c}), nil
	}
	if !idle(r) {
		return nil, fmt.Errorf("%w: it is of a kind that etcd 3.7 does not have", machine.ErrNewer)
	}
	return nil, nil
}

// fieldOldAPI is the field of requests of etcd's old API, which has no keys any more.
const fieldOldAPI = 2

// idle reports whether a request is one that leaves the state as it is, or what is not
// taken over of it.
func idle(r *pb.InternalRaftRequest) bool {
	if num, _, n := protowire.ConsumeTag(r.ProtoReflect().GetUnknown()); n > 0 && num == fieldOldAPI {
		return true
	}
	return r.Range != nil || r.Authenticate != nil || r.AuthStatus != nil || r.AuthUserGet != nil || r.AuthRoleGet != nil ||
		r.AuthUserAdd != nil || r.AuthUserChangePassword != nil || // without a hash
		r.AuthUserList != nil || r.AuthRoleList != nil || r.ClusterVersionSet != nil || r.ClusterMemberAttrSet != nil ||
		r.DowngradeInfoSet != nil || r.DowngradeVersionTest != nil
}

// grant is none where etcd refuses it.
func grant(r *pb.LeaseGrantRequest) []machine.Command {
	if r.ID == 0 || r.TTL > machine.MaxLeaseTTL {
		return nil
	}
	return one(machine.Command{GrantLease: &machine.GrantLease{ID: r.ID, TTL: max(r.TTL, minTTL)}})
}

// checkpoints notes what is left of leases. 0 takes back what was noted: then all of it
// is left, which is at most the longest time to live.
func checkpoints(r *pb.LeaseCheckpointRequest, term uint64) (out []machine.Command) {
	l := r.Checkpoints
	for len(l) > 0 {
		n := min(len(l), machine.MaxCheckpoints)
		q := &machine.CheckpointLeases{Term: term}
		for _, c := range l[:n] {
			left := c.Remaining_TTL
			if left <= 0 || left > machine.MaxLeaseTTL {
				left = machine.MaxLeaseTTL
			}
			if c.ID != 0 {
				q.Leases = append(q.Leases, machine.LeaseCheckpoint{ID: c.ID, Remaining: left})
			}
		}
		out = append(out, machine.Command{CheckpointLeases: q})
		l = l[n:]
	}
	return out
}

func alarm(r *pb.AlarmRequest) ([]machine.Command, error) {
	raise := r.Action == pb.AlarmRequest_ACTIVATE
	if !raise && r.Action != pb.AlarmRequest_DEACTIVATE || r.Alarm == pb.AlarmType_NONE {
		return nil, nil
	}
	q := &machine.SetAlarm{Member: r.MemberID, Off: !raise}
	switch r.Alarm {
	case pb.AlarmType_NOSPACE:
		q.Type = chainfire.AlarmNoSpace
	case pb.AlarmType_CORRUPT:
		q.Type = chainfire.AlarmCorrupt
	default:
		return nil, fmt.Errorf("alarm of type %d: %w", r.Alarm, chainfire.ErrUnknownAlarm)
	}
	return one(machine.Command{SetAlarm: q}), nil
}

// settle gives each comparison that etcd does not know one in its place that comes out
// the same there: one of an unknown target finds everything equal, one of an unknown
// result holds.
func settle(r *pb.TxnRequest) {
	for _, c := range r.GetCompare() {
		target := c.Target >= pb.Compare_VERSION && c.Target <= pb.Compare_LEASE
		result := c.Result >= pb.Compare_EQUAL && c.Result <= pb.Compare_NOT_EQUAL
		switch {
		case target && result:
		case c.Target == pb.Compare_VALUE: // of a key that is there
			c.Target, c.Result, c.TargetUnion = pb.Compare_CREATE, pb.Compare_GREATER, &pb.Compare_CreateRevision{}
		case !result || c.Result == pb.Compare_EQUAL:
			c.Target, c.Result, c.TargetUnion = pb.Compare_VERSION, pb.Compare_GREATER, &pb.Compare_Version{Version: -1}
		default:
			c.Target, c.Result, c.TargetUnion = pb.Compare_VERSION, pb.Compare_LESS, &pb.Compare_Version{}
		}
	}
	for _, ops := range [2][]*pb.RequestOp{r.GetSuccess(), r.GetFailure()} {
		for _, op := range ops {
			settle(op.GetRequestTxn())
		}
	}
}
