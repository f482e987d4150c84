package main

import (
	"chainfire"
	"chainfire/machine"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

// jsonKey is the two fields of which one is set, as in jsonKV; so are jsonRangeEnd
// and jsonValue.
type jsonKey struct {
	Key       *string `json:"key,omitempty"`
	KeyBase64 []byte  `json:"key_base64,omitempty"`
}

type jsonRangeEnd struct {
	RangeEnd       *string `json:"range_end,omitempty"`
	RangeEndBase64 []byte  `json:"range_end_base64,omitempty"`
}

type jsonValue struct {
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

func newJSONKey(b []byte) (k jsonKey) {
	k.Key, k.KeyBase64 = jsonBytes(b)
	return k
}

func newJSONRangeEnd(b []byte) (e jsonRangeEnd) {
	if len(b) > 0 {
		e.RangeEnd, e.RangeEndBase64 = jsonBytes(b)
	}
	return e
}

func newJSONValue(b []byte) (v jsonValue) {
	v.Value, v.ValueBase64 = jsonBytes(b)
	return v
}

// jsonCommand is a command of the log. One field is set.
type jsonCommand struct {
	Put     *jsonLogPut     `json:"put,omitempty"`
	Delete  *jsonLogDelete  `json:"del,omitempty"`
	Txn     *jsonLogTxn     `json:"txn,omitempty"`
	Compact *jsonLogCompact `json:"compact,omitempty"`
	Reserve *jsonLogMember  `json:"reserve,omitempty"`
	Release *jsonLogMember  `json:"release,omitempty"`
	Update  *jsonLogMember  `json:"update,omitempty"`
	Create  *jsonLogToken   `json:"create_token,omitempty"`
	Revoke  *jsonLogToken   `json:"revoke_token,omitempty"`
	Raise   *jsonLogLevel   `json:"raise_level,omitempty"`
	*jsonLogLeases
	*jsonLogAuth
	*jsonLogObjects
}

// jsonLogLevel is a feature level.
type jsonLogLevel struct {
	Level uint64 `json:"feature_level"`
}

// jsonLogToken is a join token, of which the log has no more than a hash.
type jsonLogToken struct {
	ID         string `json:"id,omitempty"`
	SecretHash []byte `json:"secret_hash_base64,omitempty"`
	Expires    int64  `json:"expires,omitempty"`
	Uses       uint64 `json:"uses,omitempty"`
}

type jsonLogPut struct {
	jsonKey
	jsonValue
	Lease       string `json:"lease,omitempty"`
	PrevKV      bool   `json:"prev_kv,omitempty"`
	IgnoreValue bool   `json:"ignore_value,omitempty"`
	IgnoreLease bool   `json:"ignore_lease,omitempty"`
}

type jsonLogDelete struct {
	jsonKey
	jsonRangeEnd
	PrevKV bool `json:"prev_kv,omitempty"`
}

type jsonLogCompact struct {
	Revision int64 `json:"revision"`
	Physical bool  `json:"physical,omitempty"`
}

type jsonLogTxn struct {
	Compare []jsonLogCompare `json:"compare"`
	Success []jsonLogOp      `json:"success"`
	Failure []jsonLogOp      `json:"failure"`
}

type jsonLogCompare struct {
	jsonKey
	jsonRangeEnd
	Target string `json:"target"`
	Op     string `json:"op"`
	Number *int64 `json:"number,omitempty"`
	jsonValue
}

// jsonLogOp is an operation of a transaction. One field is set.
type jsonLogOp struct {
	Get    *jsonLogGet    `json:"get,omitempty"`
	Put    *jsonLogPut    `json:"put,omitempty"`
	Delete *jsonLogDelete `json:"del,omitempty"`
	Txn    *jsonLogTxn    `json:"txn,omitempty"`
}

type jsonLogGet struct {
	jsonKey
	jsonRangeEnd
	Limit             int64 `json:"limit,omitempty"`
	Revision          int64 `json:"revision,omitempty"`
	SortOrder         uint8 `json:"sort_order,omitempty"`
	SortTarget        uint8 `json:"sort_target,omitempty"`
	Serializable      bool  `json:"serializable,omitempty"`
	KeysOnly          bool  `json:"keys_only,omitempty"`
	CountOnly         bool  `json:"count_only,omitempty"`
	MinModRevision    int64 `json:"min_mod_revision,omitempty"`
	MaxModRevision    int64 `json:"max_mod_revision,omitempty"`
	MinCreateRevision int64 `json:"min_create_revision,omitempty"`
	MaxCreateRevision int64 `json:"max_create_revision,omitempty"`
}

// jsonLogMember is a member's record, or a part of one. Incarnations are random
// numbers of 64 bits and so are strings, like ids.
type jsonLogMember struct {
	ID            string   `json:"id,omitempty"`
	Name          string   `json:"name,omitempty"`
	PeerURLs      []string `json:"peer_urls,omitempty"`
	ClientURLs    []string `json:"client_urls,omitempty"`
	Incarnation   string   `json:"incarnation,omitempty"`
	Reserved      bool     `json:"reserved,omitempty"`
	ReservedIndex uint64   `json:"reserved_index,omitempty"`
	Manual        bool     `json:"manual,omitempty"`
	ReadReplica   bool     `json:"read_replica,omitempty"`
	Settled       bool     `json:"settled,omitempty"`
	Token         string   `json:"token,omitempty"`
	SecretHash    []byte   `json:"secret_hash_base64,omitempty"`
	Replaces      string   `json:"replaces,omitempty"`
	SeedIndex     uint64   `json:"seed_index,omitempty"`
	Version       string   `json:"version,omitempty"`
	Level         uint64   `json:"feature_level,omitempty"`
}

func newJSONCommand(c *machine.Command) *jsonCommand {
	out := &jsonCommand{}
	switch {
	case c.Put != nil:
		out.Put = newJSONLogPut(c.Put)
	case c.Delete != nil:
		out.Delete = newJSONLogDelete(c.Delete)
	case c.Txn != nil:
		out.Txn = newJSONLogTxn(c.Txn)
	case c.Compact != nil:
		out.Compact = &jsonLogCompact{Revision: c.Compact.Revision, Physical: c.Compact.Physical}
	case c.Reserve != nil:
		q := c.Reserve
		out.Reserve = &jsonLogMember{
			Name: q.Name, PeerURLs: q.PeerURLs, ClientURLs: q.ClientURLs, Incarnation: idOrNone(q.Incarnation), Manual: q.Manual,
			ReadReplica: q.ReadReplica, Token: idOrNone(q.Token), SecretHash: q.SecretHash, Replaces: idOrNone(q.Replaces),
			SeedIndex: q.SeedIndex,
		}
	case c.Release != nil:
		out.Release = &jsonLogMember{ID: memberID(c.Release.ID)}
	case c.UpdateMember != nil:
		q := c.UpdateMember
		out.Update = &jsonLogMember{
			ID: memberID(q.ID), Name: q.Name, PeerURLs: q.PeerURLs, ClientURLs: q.ClientURLs,
			Incarnation: idOrNone(q.Incarnation), Settled: q.Settled, Version: q.Version, Level: q.Level,
		}
	case c.CreateToken != nil:
		q := c.CreateToken
		out.Create = &jsonLogToken{SecretHash: q.SecretHash, Expires: q.Expires, Uses: q.Uses}
	case c.RevokeToken != nil:
		out.Revoke = &jsonLogToken{ID: memberID(c.RevokeToken.ID)}
	case c.RaiseLevel != nil:
		out.Raise = &jsonLogLevel{Level: c.RaiseLevel.Level}
	default:
		out.jsonLogLeases, out.jsonLogAuth, out.jsonLogObjects = newJSONLogLeases(c), newJSONLogAuth(c), newJSONLogObjects(c)
	}
	return out
}

// idOrNone is an id as a string, or nothing for 0.
func idOrNone(id uint64) string {
	if id == 0 {
		return ""
	}
	return memberID(id)
}

func newJSONMember(m *machine.MemberRecord) *jsonLogMember {
	if m == nil {
		return nil
	}
	return &jsonLogMember{
		ID: memberID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Incarnation: idOrNone(m.Incarnation),
		Reserved: m.Reserved, ReservedIndex: m.ReservedIndex, Manual: m.Manual, ReadReplica: m.ReadReplica, SecretHash: m.SecretHash,
		Replaces: idOrNone(m.Replaces), Version: m.Version, Level: m.Level,
	}
}

func newJSONLogPut(q *chainfire.PutRequest) *jsonLogPut {
	return &jsonLogPut{
		jsonKey: newJSONKey(q.Key), jsonValue: newJSONValue(q.Value), Lease: leaseOrNone(q.Lease),
		PrevKV: q.PrevKV, IgnoreValue: q.IgnoreValue, IgnoreLease: q.IgnoreLease,
	}
}

func newJSONLogDelete(q *chainfire.DeleteRangeRequest) *jsonLogDelete {
	return &jsonLogDelete{jsonKey: newJSONKey(q.Key), jsonRangeEnd: newJSONRangeEnd(q.RangeEnd), PrevKV: q.PrevKV}
}

func newJSONLogTxn(q *chainfire.TxnRequest) *jsonLogTxn {
	out := &jsonLogTxn{Compare: []jsonLogCompare{}, Success: newJSONLogOps(q.Success), Failure: newJSONLogOps(q.Failure)}
	for i := range q.Compare {
		c := &q.Compare[i]
		j := jsonLogCompare{
			jsonKey: newJSONKey(c.Key), jsonRangeEnd: newJSONRangeEnd(c.RangeEnd),
			Target: compareTargetName(c.Target), Op: compareResultName(c.Result),
		}
		if c.Target == chainfire.CompareValue {
			j.jsonValue = newJSONValue(c.Value)
		} else {
			j.Number = &c.Number
		}
		out.Compare = append(out.Compare, j)
	}
	return out
}

// compareTargetName and compareResultName are the words of 'chainfire txn'.
func compareTargetName(t chainfire.CompareTarget) string {
	switch t {
	case chainfire.CompareVersion:
		return "version"
	case chainfire.CompareCreate:
		return "create"
	case chainfire.CompareMod:
		return "mod"
	case chainfire.CompareLease:
		return "lease"
	}
	return "value"
}

func compareResultName(r chainfire.CompareResult) string {
	switch r {
	case chainfire.CompareGreater:
		return ">"
	case chainfire.CompareLess:
		return "<"
	case chainfire.CompareNotEqual:
		return "!="
	}
	return "="
}

func newJSONLogOps(ops []chainfire.Op) []jsonLogOp {
	out := []jsonLogOp{}
	for i := range ops {
		var j jsonLogOp
		switch o := &ops[i]; {
		case o.Range != nil:
			j.Get = newJSONLogGet(o.Range)
		case o.Put != nil:
			j.Put = newJSONLogPut(o.Put)
		case o.Delete != nil:
			j.Delete = newJSONLogDelete(o.Delete)
		case o.Txn != nil:
			j.Txn = newJSONLogTxn(o.Txn)
		}
		out = append(out, j)
	}
	return out
}

func newJSONLogGet(q *chainfire.RangeRequest) *jsonLogGet {
	return &jsonLogGet{
		jsonKey: newJSONKey(q.Key), jsonRangeEnd: newJSONRangeEnd(q.RangeEnd), Limit: q.Limit, Revision: q.Revision,
		SortOrder: uint8(q.SortOrder), SortTarget: uint8(q.SortTarget),
		Serializable: q.Serializable, KeysOnly: q.KeysOnly, CountOnly: q.CountOnly,
		MinModRevision: q.MinModRevision, MaxModRevision: q.MaxModRevision,
		MinCreateRevision: q.MinCreateRevision, MaxCreateRevision: q.MaxCreateRevision,
	}
}

// jsonChange is a membership change of the log.
type jsonChange struct {
	Steps  []jsonStep     `json:"steps"`
	Joint  bool           `json:"joint,omitempty"`
	Leave  bool           `json:"leave,omitempty"`
	Member *jsonLogMember `json:"member,omitempty"`
}

type jsonStep struct {
	Step string `json:"step"`
	ID   string `json:"id"`
}

func newJSONChange(c *confchange.Change, m *machine.MemberRecord) *jsonChange {
	out := &jsonChange{Steps: []jsonStep{}, Joint: c.Joint, Leave: c.Leave(), Member: newJSONMember(m)}
	for _, s := range c.Steps {
		out.Steps = append(out.Steps, jsonStep{Step: s.Kind.String(), ID: memberID(s.ID)})
	}
	return out
}

// jsonConf is a configuration.
type jsonConf struct {
	Voters       []string `json:"voters"`
	Outgoing     []string `json:"outgoing,omitempty"`
	Learners     []string `json:"learners,omitempty"`
	LearnersNext []string `json:"learners_next,omitempty"`
	AutoLeave    bool     `json:"auto_leave,omitempty"`
}

func newJSONConf(c *raft.ConfState) *jsonConf {
	ids := func(list []uint64) (out []string) {
		for _, id := range list {
			out = append(out, memberID(id))
		}
		return out
	}
	return &jsonConf{
		Voters: orEmpty(ids(c.Voters)), Outgoing: ids(c.Outgoing), Learners: ids(c.Learners),
		LearnersNext: ids(c.LearnersNext), AutoLeave: c.AutoLeave,
	}
}
