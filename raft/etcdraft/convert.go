package etcdraft

import (
	"encoding/binary"
	"fmt"
	"slices"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// transferContext is how the reference marks votes of a leadership transfer.
const transferContext = "CampaignTransfer"

// toTypes are the reference's names of the messages; fromTypes the way back.
var toTypes = map[raft.MessageType]pb.MessageType{
	raft.MsgVote: pb.MsgVote, raft.MsgVoteResp: pb.MsgVoteResp,
	raft.MsgPreVote: pb.MsgPreVote, raft.MsgPreVoteResp: pb.MsgPreVoteResp,
	raft.MsgAppend: pb.MsgApp, raft.MsgAppendResp: pb.MsgAppResp,
	raft.MsgHeartbeat: pb.MsgHeartbeat, raft.MsgHeartbeatResp: pb.MsgHeartbeatResp,
	raft.MsgSnapshot: pb.MsgSnap, raft.MsgTimeoutNow: pb.MsgTimeoutNow,
	raft.MsgReadIndex: pb.MsgReadIndex, raft.MsgReadIndexResp: pb.MsgReadIndexResp,
}

var fromTypes = func() map[pb.MessageType]raft.MessageType {
	m := map[pb.MessageType]raft.MessageType{}
	for our, their := range toTypes {
		m[their] = our
	}
	return m
}()

// toMessage makes the reference's message of one of ours. Session has no place
// there; Round has only where the reference has a context.
func toMessage(m raft.Message) *pb.Message {
	r := &pb.Message{
		Type: toTypes[m.Type].Enum(), From: new(m.From), To: new(m.To), Term: new(m.Term),
		Index: new(m.Index), LogTerm: new(m.LogTerm), Commit: new(m.Commit),
	}
	switch m.Type {
	case raft.MsgVote, raft.MsgPreVote, raft.MsgVoteResp, raft.MsgPreVoteResp:
		r.Commit = nil
		r.Reject = new(m.Reject)
		if m.Transfer {
			r.Context = []byte(transferContext)
		}
	case raft.MsgAppend:
		r.Entries = toEntries(m.Entries)
	case raft.MsgAppendResp:
		r.Reject, r.RejectHint, r.LogTerm = new(m.Reject), new(m.Hint), new(m.HintTerm)
	case raft.MsgHeartbeatResp:
		r.Context = toContext(m.Round)
	case raft.MsgSnapshot:
		r.Snapshot = toSnapshot(m.Snapshot)
	case raft.MsgReadIndex, raft.MsgReadIndexResp:
		r.Entries = []*pb.Entry{{Data: readContext(m.Round)}}
	}
	return r
}

// message makes one of our messages of the reference's, with what it does not
// know filled in.
func (e *engine) message(r *pb.Message) raft.Message {
	m := raft.Message{
		Type: fromTypes[r.GetType()], From: e.id, To: r.GetTo(), Term: r.GetTerm(),
		Index: r.GetIndex(), LogTerm: r.GetLogTerm(), Commit: r.GetCommit(), Reject: r.GetReject(),
	}
	switch m.Type {
	case raft.MsgVote, raft.MsgPreVote, raft.MsgVoteResp, raft.MsgPreVoteResp:
		m.Transfer = string(r.GetContext()) == transferContext
		if t, err := e.log.term(e.now.commit); err == nil {
			m.Commit, m.HintTerm = e.now.commit, t
		}
	case raft.MsgAppend:
		es, err := fromEntries(r.GetEntries())
		if err != nil {
			e.fail("append to %d: %w", m.To, err)
		}
		m.Entries = es
	case raft.MsgAppendResp:
		m.Hint, m.HintTerm, m.LogTerm = r.GetRejectHint(), r.GetLogTerm(), 0
		e.stamp(&m)
	case raft.MsgHeartbeat:
		m.Round = fromContext(r.GetContext())
		if e.leader != nil {
			e.leader.round = max(e.leader.round, m.Round)
		}
	case raft.MsgHeartbeatResp:
		m.Index = e.now.commit
		e.stamp(&m)
	case raft.MsgReadIndex:
		m.Term = e.now.term
		m.Round = roundOf(r)
	case raft.MsgReadIndexResp:
		m.Round = roundOf(r)
	}
	return m
}

// stamp makes a reply that of the leader's message in hand. To a leader of an
// older term it only says that there is a newer one.
func (e *engine) stamp(m *raft.Message) {
	m.Applied = e.applied
	if e.echo == nil || e.echo.From != m.To {
		e.fail("answer to %d in term %d without a question", m.To, m.Term)
		return
	}
	m.Session = e.echo.Session
	if e.echo.Term < m.Term {
		m.Reject, m.Index = true, e.echo.Index
		return
	}
	m.Round = e.echo.Round
}

// toContext is a read round as the reference's heartbeats carry it.
func toContext(round uint64) []byte {
	if round == 0 {
		return nil
	}
	return binary.LittleEndian.AppendUint64(nil, round)
}

func fromContext(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// readContext is a batch of reads as the reference carries it.
func readContext(batch uint64) []byte { return binary.LittleEndian.AppendUint64(nil, batch) }

func roundOf(r *pb.Message) uint64 {
	if len(r.GetEntries()) != 1 {
		return 0
	}
	return fromContext(r.GetEntries()[0].GetData())
}

// A membership change is to the reference an EntryConfChangeV2 whose context is
// the encoded change; it never looks at more than that. One that it proposes by
// itself, to leave a joint configuration, has no data at all.

func toEntries(es []raft.Entry) []*pb.Entry {
	if len(es) == 0 {
		return nil
	}
	out := make([]*pb.Entry, len(es))
	for i := range es {
		out[i] = toEntry(&es[i])
	}
	return out
}

func toEntry(e *raft.Entry) *pb.Entry {
	r := &pb.Entry{Index: new(e.Index), Term: new(e.Term), Type: pb.EntryNormal.Enum(), Data: e.Data}
	if e.Type == raft.EntryConf {
		r.Type, r.Data = pb.EntryConfChangeV2.Enum(), wrap(e.Data)
	}
	return r
}

func fromEntries(es []*pb.Entry) ([]raft.Entry, error) {
	if len(es) == 0 {
		return nil, nil
	}
	out := make([]raft.Entry, len(es))
	for i, r := range es {
		out[i] = raft.Entry{Index: r.GetIndex(), Term: r.GetTerm(), Data: r.GetData()}
		if r.GetType() == pb.EntryNormal {
			continue
		}
		data, err := unwrap(r)
		if err != nil {
			return nil, err
		}
		out[i].Type, out[i].Data = raft.EntryConf, data
	}
	return out, nil
}

// wrap puts an encoded change where the reference can carry it.
func wrap(change []byte) []byte {
	b, err := proto.Marshal(&pb.ConfChangeV2{Context: change})
	if err != nil {
		panic(fmt.Sprintf("encode a membership change: %v", err))
	}
	return b
}

func unwrap(r *pb.Entry) ([]byte, error) {
	if len(r.GetData()) == 0 {
		return raft.EncodeChange(confchange.Change{}), nil
	}
	var cc pb.ConfChangeV2
	if err := proto.Unmarshal(r.GetData(), &cc); err != nil {
		return nil, fmt.Errorf("membership change at index %d: %w", r.GetIndex(), err)
	}
	return cc.GetContext(), nil
}

func toConf(c raft.ConfState) *pb.ConfState {
	c = c.Clone()
	return &pb.ConfState{
		Voters: c.Voters, VotersOutgoing: c.Outgoing, Learners: c.Learners, LearnersNext: c.LearnersNext,
		AutoLeave: new(c.AutoLeave),
	}
}

func fromConf(c *pb.ConfState) raft.ConfState {
	out := raft.ConfState{
		Voters: c.GetVoters(), Outgoing: c.GetVotersOutgoing(), Learners: c.GetLearners(),
		LearnersNext: c.GetLearnersNext(), AutoLeave: c.GetAutoLeave(),
	}
	for _, l := range [][]uint64{out.Voters, out.Outgoing, out.Learners, out.LearnersNext} {
		slices.Sort(l)
	}
	return out
}

func toSnapshot(m *raft.SnapshotMeta) *pb.Snapshot {
	return &pb.Snapshot{Metadata: &pb.SnapshotMetadata{
		Index: new(m.Index), Term: new(m.Term), ConfState: toConf(m.Conf),
	}}
}

func fromSnapshot(s *pb.Snapshot) *raft.SnapshotMeta {
	m := s.GetMetadata()
	return &raft.SnapshotMeta{Index: m.GetIndex(), Term: m.GetTerm(), Conf: fromConf(m.GetConfState())}
}

// appliedMessage tells the reference that entries were applied.
func appliedMessage(id uint64, es []*pb.Entry) *pb.Message {
	return &pb.Message{
		Type: pb.MsgStorageApplyResp.Enum(), From: new(etcd.LocalApplyThread), To: new(id), Term: new(uint64(0)),
		Entries: es,
	}
}
