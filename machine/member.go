package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"chainfire"
	"chainfire/auth"
	"chainfire/internal/record"
	"chainfire/mvcc"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

// MemberRecord is what every member knows of one.
type MemberRecord struct {
	ID                   uint64
	Name                 string
	PeerURLs, ClientURLs []string
	// Incarnation is the random mark of the member's data directory; 0 is a
	// member that was added by hand and has not started.
	Incarnation uint64
	// Reserved says that the id is reserved and not in the configuration yet.
	Reserved bool
	// ReservedIndex is from where on the log is kept for a newcomer: the index of
	// its reservation, or what follows a snapshot that it brought along; 0 once it
	// has caught up.
	ReservedIndex uint64
	// Manual says that an operator added the member, and promotes it.
	Manual bool
	// ReadReplica says that the member stays a learner, for reads alone.
	ReadReplica bool
	// SecretHash is that of the join token that a reservation was made with.
	SecretHash []byte
	// Replaces is the member whose place a newcomer was promised: when the newcomer
	// has caught up, one change takes that member out, and makes the newcomer a voter
	// if it was one. 0 once it votes, or once that member is gone.
	Replaces uint64
	// Version is that of the program that the member last said it runs, and Level the
	// feature level that this knows; empty and 0 until it has.
	Version string
	Level   uint64
}

func (r MemberRecord) clone() MemberRecord {
	r.PeerURLs, r.ClientURLs = slices.Clone(r.PeerURLs), slices.Clone(r.ClientURLs)
	r.SecretHash = slices.Clone(r.SecretHash)
	return r
}

// MemberContext is the context of a membership change in the log: who waits for
// its result and, if set, what is known of the member that it adds.
type MemberContext struct {
	ID     RequestID
	Member *MemberRecord
	// Voters, if not empty, are those that the change was decided on for, sorted. Where
	// there are others it is refused with ErrVotersChanged.
	Voters []uint64
}

// contextVersion is the first byte of an encoded context, recordVersion that of
// a member's row and confVersion that of the configuration's.
const (
	contextVersion = 1
	recordVersion  = 1
	confVersion    = 1
)

func messageContext() record.Message {
	return record.New("member context", record.Number, record.Number, record.Text, record.Text)
}

func messageMember() record.Message {
	return record.New("member", record.Number, record.Text, record.Repeated, record.Repeated, record.Number, record.Flag, record.Number, record.Flag, record.Text, record.Number, record.Flag, record.Text, record.Number)
}

// AppendTo appends the encoded context to buf.
func (c *MemberContext) AppendTo(buf []byte) []byte {
	buf = append(buf, contextVersion)
	b := record.AppendUint(buf, 1, c.ID.Member)
	b = record.AppendUint(b, 2, c.ID.Seq)
	if c.Member != nil {
		b = record.AppendMessage(b, 3, c.Member.appendTo)
	}
	var voters []byte
	for _, id := range c.Voters {
		voters = binary.AppendUvarint(voters, id)
	}
	return record.AppendBytes(b, 4, voters)
}

// DecodeMemberContext decodes what AppendTo made. No bytes at all are the
// context of a change that nobody asked for.
func DecodeMemberContext(b []byte) (MemberContext, error) {
	var c MemberContext
	if len(b) == 0 {
		return c, nil
	}
	if b[0] != contextVersion {
		return c, fmt.Errorf("%w: member context has version %d", ErrNewer, b[0])
	}
	m := messageContext()
	err := m.Read(b[1:], func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			c.ID.Member = x.N
		case 2:
			c.ID.Seq = x.N
		case 3:
			c.Member, err = decodeMember(x.Bytes)
		case 4:
			c.Voters, err = decodeVoters(x.Bytes)
		}
		return err
	})
	return c, err
}

func decodeVoters(b []byte) (ids []uint64, err error) {
	for len(b) > 0 {
		id, n := binary.Uvarint(b)
		if n <= 0 || id == 0 || len(ids) > 0 && ids[len(ids)-1] >= id {
			return nil, fmt.Errorf("%w: voters of a membership change", ErrMalformed)
		}
		ids, b = append(ids, id), b[n:]
	}
	return ids, nil
}

func (r *MemberRecord) appendTo(b []byte) []byte {
	b = record.AppendUint(b, 1, r.ID)
	b = record.AppendBytes(b, 2, r.Name)
	b = record.AppendStrings(b, 3, r.PeerURLs)
	b = record.AppendStrings(b, 4, r.ClientURLs)
	b = record.AppendUint(b, 5, r.Incarnation)
	b = record.AppendBool(b, 6, r.Reserved)
	b = record.AppendUint(b, 7, r.ReservedIndex)
	b = record.AppendBool(b, 8, r.Manual)
	b = record.AppendBytes(b, 9, r.SecretHash)
	b = record.AppendUint(b, 10, r.Replaces)
	b = record.AppendBool(b, 11, r.ReadReplica)
	b = record.AppendBytes(b, 12, r.Version)
	return record.AppendUint(b, 13, r.Level)
}

func decodeMember(b []byte) (*MemberRecord, error) {
	r := &MemberRecord{}
	m := messageMember()
	return r, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			r.ID = x.N
		case 2:
			r.Name = string(x.Bytes)
		case 3:
			r.PeerURLs = append(r.PeerURLs, string(x.Bytes))
		case 4:
			r.ClientURLs = append(r.ClientURLs, string(x.Bytes))
		case 5:
			r.Incarnation = x.N
		case 6:
			r.Reserved = x.N == 1
		case 7:
			r.ReservedIndex = x.N
		case 8:
			r.Manual = x.N == 1
		case 9:
			r.SecretHash = slices.Clone(x.Bytes)
		case 10:
			r.Replaces = x.N
		case 11:
			r.ReadReplica = x.N == 1
		case 12:
			r.Version = string(x.Bytes)
		case 13:
			r.Level = x.N
		}
		return nil
	})
}

// The machine's rows in the store.
const (
	rowCluster = "cluster"
	rowConf    = "conf"
	rowMember  = "member/"
	rowRemoved = "removed/"
	rowFormer  = "former/"
)

func memberRow(prefix string, id uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(prefix), id))
}

// cluster is the membership. A published one is never modified.
type cluster struct {
	id      uint64
	conf    raft.ConfState
	members []MemberRecord // by id
	removed map[uint64]struct{}
	former  []uint64 // ids that the cluster had before, the first one first
	tokens  []TokenRecord
	// level is the feature level that was raised to, 0 if it never was.
	level  uint64
	alarms []chainfire.Alarm // by type and member
	// auth is who may do what, stored its rows while they are read.
	auth   *auth.State
	stored authRows
}

func (c *cluster) clone() *cluster {
	n := &cluster{id: c.id, conf: c.conf.Clone(), removed: maps.Clone(c.removed), former: c.former, tokens: slices.Clone(c.tokens), level: c.level, alarms: slices.Clone(c.alarms), auth: c.auth}
	for _, r := range c.members {
		n.members = append(n.members, r.clone())
	}
	return n
}

// find is the place of a member's record.
func (c *cluster) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(c.members, id, func(r MemberRecord, id uint64) int {
		switch {
		case r.ID < id:
			return -1
		case r.ID > id:
			return 1
		}
		return 0
	})
}

func (c *cluster) put(r MemberRecord) {
	if i, ok := c.find(r.ID); ok {
		c.members[i] = r
	} else {
		c.members = slices.Insert(c.members, i, r)
	}
}

// remove takes a member's record out for good.
func (c *cluster) remove(id uint64) {
	if i, ok := c.find(id); ok {
		c.members = slices.Delete(c.members, i, i+1)
	}
	c.removed[id] = struct{}{}
}

// conflict reports why a member may not have a name and peer URLs. A newcomer and
// the member that it replaces may have the same.
func (c *cluster) conflict(id, replaces uint64, name string, peerURLs []string) error {
	for i := range c.members {
		r := &c.members[i]
		if r.ID == id || r.ID == replaces || id != 0 && r.Replaces == id {
			continue
		}
		if name != "" && r.Name == name {
			return ErrMemberNameExists
		}
		for _, url := range peerURLs {
			if slices.Contains(r.PeerURLs, url) {
				return chainfire.ErrPeerURLExists
			}
		}
	}
	return nil
}

// rows are the rows that hold a membership.
func (c *cluster) rows() []mvcc.MetaRow {
	rows := []mvcc.MetaRow{
		{Name: rowCluster, Value: binary.BigEndian.AppendUint64(nil, c.id)},
		{Name: rowConf, Value: encodeConf(c.conf)},
	}
	for i := range c.members {
		rows = append(rows, mvcc.MetaRow{Name: memberRow(rowMember, c.members[i].ID), Value: encodeRecord(&c.members[i])})
	}
	for i := range c.tokens {
		rows = append(rows, mvcc.MetaRow{Name: memberRow(rowToken, c.tokens[i].ID), Value: c.tokens[i].encode()})
	}
	for _, a := range c.alarms {
		rows = append(rows, mvcc.MetaRow{Name: alarmRow(a), Value: []byte{alarmVersion}})
	}
	if c.auth != nil {
		rows = append(rows, authStateRows(c.auth)...)
	}
	if c.level != 0 {
		rows = append(rows, mvcc.MetaRow{Name: rowLevel, Value: encodeLevel(c.level)})
	}
	return rows
}

func encodeRecord(r *MemberRecord) []byte { return r.appendTo([]byte{recordVersion}) }

// loadCluster reads a membership from its rows, unless its feature level is above
// the one that is known here.
func loadCluster(rows []mvcc.MetaRow, known uint64) (*cluster, error) {
	if err := checkLevel(rows, known); err != nil {
		return nil, err
	}
	c := &cluster{removed: map[uint64]struct{}{}}
	haveConf := false
	for _, row := range rows {
		haveConf = haveConf || row.Name == rowConf
		if err := c.load(row); err != nil {
			return nil, err
		}
	}
	c.auth, c.stored = c.stored.state(), authRows{}
	if c.id == 0 || !haveConf {
		return nil, fmt.Errorf("%w: no cluster id or configuration in the store", chainfire.ErrCorrupt)
	}
	return c, nil
}

// load takes over what one row says.
func (c *cluster) load(row mvcc.MetaRow) (err error) {
	switch {
	case row.Name == rowCluster && len(row.Value) == 8:
		c.id = binary.BigEndian.Uint64(row.Value)
	case row.Name == rowConf:
		c.conf, err = decodeConf(row.Value)
	case len(row.Name) == len(rowMember)+8 && row.Name[:len(rowMember)] == rowMember:
		err = c.loadMember(row)
	case len(row.Name) == len(rowRemoved)+8 && row.Name[:len(rowRemoved)] == rowRemoved:
		c.removed[binary.BigEndian.Uint64([]byte(row.Name[len(rowRemoved):]))] = struct{}{}
	case len(row.Name) == len(rowFormer)+8 && row.Name[:len(rowFormer)] == rowFormer && len(row.Value) == 8:
		c.former = append(c.former, binary.BigEndian.Uint64(row.Value))
	case len(row.Name) == len(rowToken)+8 && row.Name[:len(rowToken)] == rowToken:
		err = c.loadToken(row)
	case isAlarmRow(row.Name):
		err = c.loadAlarm(row)
	case row.Name == rowLevel:
		err = c.loadLevel(row)
	default:
		var ok bool
		if ok, err = c.stored.load(row); !ok {
			err = fmt.Errorf("%w: unknown row", ErrNewer)
		}
	}
	if err != nil {
		return fmt.Errorf("read row %q: %w", row.Name, err)
	}
	return nil
}

func (c *cluster) loadMember(row mvcc.MetaRow) error {
	if len(row.Value) == 0 || row.Value[0] != recordVersion {
		return fmt.Errorf("%w: member row", ErrNewer)
	}
	r, err := decodeMember(row.Value[1:])
	if err != nil {
		return err
	}
	if row.Name != memberRow(rowMember, r.ID) {
		return fmt.Errorf("%w: row of member %d", ErrMalformed, r.ID)
	}
	c.put(*r)
	return nil
}

// encodeConf encodes a configuration: each list as a count and its ids.
func encodeConf(s raft.ConfState) []byte {
	b := []byte{confVersion, 0}
	if s.AutoLeave {
		b[1] = 1
	}
	for _, l := range [4][]uint64{s.Voters, s.Outgoing, s.Learners, s.LearnersNext} {
		b = binary.AppendUvarint(b, uint64(len(l)))
		for _, id := range l {
			b = binary.AppendUvarint(b, id)
		}
	}
	return b
}

var errShortConf = errors.New("configuration is cut short")

func decodeConf(b []byte) (raft.ConfState, error) {
	var s confchange.State
	if len(b) < 2 || b[0] != confVersion || b[1] > 1 {
		return s, fmt.Errorf("%w: configuration", ErrNewer)
	}
	s.AutoLeave = b[1] == 1
	b = b[2:]
	for _, l := range [4]*[]uint64{&s.Voters, &s.Outgoing, &s.Learners, &s.LearnersNext} {
		count, n := binary.Uvarint(b)
		if n <= 0 || count > uint64(len(b)) {
			return s, fmt.Errorf("%w: %w", ErrMalformed, errShortConf)
		}
		b = b[n:]
		for range count {
			id, n := binary.Uvarint(b)
			if n <= 0 {
				return s, fmt.Errorf("%w: %w", ErrMalformed, errShortConf)
			}
			*l = append(*l, id)
			b = b[n:]
		}
	}
	if len(b) > 0 {
		return s, fmt.Errorf("%w: configuration has %d bytes too many", ErrMalformed, len(b))
	}
	return s, s.Validate()
}
