package main

import (
	"fmt"

	"chainfire/machine"
	"chainfire/mvcc"
)

// jsonRow is one row of a store. Keys and values are as everywhere; the rows of
// the machine are in base64.
type jsonRow struct {
	Kind string `json:"kind"`
	Row  string `json:"row"`
	*jsonKey
	Revision       int64  `json:"revision,omitempty"`
	Sub            uint32 `json:"sub,omitempty"`
	Deleted        bool   `json:"deleted,omitempty"`
	CreateRevision int64  `json:"create_revision,omitempty"`
	Version        int64  `json:"version,omitempty"`
	Lease          string `json:"lease,omitempty"`
	TTL            int64  `json:"ttl,omitempty"`
	Remaining      int64  `json:"remaining_ttl,omitempty"`
	*jsonValue
	// Count is how many live keys a bucket has.
	Count *int64 `json:"count,omitempty"`
	// ReplacedRevision and ReplacedSub are the version that a change replaced.
	ReplacedRevision int64   `json:"replaced_revision,omitempty"`
	ReplacedSub      uint32  `json:"replaced_sub,omitempty"`
	Name             *string `json:"name,omitempty"`
	NameBase64       []byte  `json:"name_base64,omitempty"`
	Content          []byte  `json:"content_base64,omitempty"`
	// Bytes is how much a side row holds.
	Bytes *int64 `json:"bytes,omitempty"`
}

func newJSONRow(r *mvcc.InspectedRow) *jsonRow {
	out := &jsonRow{Kind: "row", Row: string(r.Kind)}
	if r.Kind == mvcc.RowMeta {
		out.Name, out.NameBase64 = jsonBytes(r.Name)
		out.Content = r.Content
		if machine.IsSecretRow(string(r.Name)) {
			out.Content = nil // the hash of a password or of a token
		}
		return out
	}
	if r.Kind == mvcc.RowSide {
		out.Name, out.NameBase64 = jsonBytes(r.Name)
		size := int64(len(r.Content))
		out.Bytes = &size
		return out
	}
	if r.Kind == mvcc.RowLease {
		out.Lease, out.TTL, out.Remaining = leaseOrNone(r.Lease), r.TTL, r.Remaining
		return out
	}
	key := newJSONKey(r.Key)
	out.jsonKey = &key
	if r.Kind == mvcc.RowBucket {
		out.Count = &r.Count
		return out
	}
	if r.Kind == mvcc.RowAttach {
		out.Lease = leaseOrNone(r.Lease)
		return out
	}
	out.Revision, out.Sub, out.Deleted = r.Revision.Main, r.Revision.Sub, r.Deleted
	if r.Kind == mvcc.RowChange {
		out.ReplacedRevision, out.ReplacedSub = r.Replaced.Main, r.Replaced.Sub
		return out
	}
	if !r.Deleted {
		value := newJSONValue(r.Value)
		out.jsonValue = &value
		out.CreateRevision, out.Version, out.Lease = r.Create, r.Version, leaseOrNone(r.Lease)
	}
	return out
}

type jsonStoreFile struct {
	Kind   string `json:"kind"`
	File   string `json:"file"`
	What   string `json:"what"`
	Bytes  int64  `json:"bytes"`
	Live   bool   `json:"live"`
	Level  int    `json:"level"`
	Blocks int    `json:"blocks"`
	Faults int    `json:"faults"`
}

type jsonStoreSummary struct {
	Kind          string           `json:"kind"`
	Verdict       string           `json:"verdict"`
	Faults        int              `json:"faults"`
	Path          string           `json:"path"`
	ClusterID     string           `json:"cluster_id,omitempty"`
	MemberID      string           `json:"member_id,omitempty"`
	MemberName    string           `json:"member_name,omitempty"`
	Opened        bool             `json:"opened"`
	State         *jsonStoreState  `json:"state,omitempty"`
	LogFloor      uint64           `json:"log_floor,omitempty"`
	LogNote       string           `json:"log_note,omitempty"`
	Noted         string           `json:"damage_noted,omitempty"`
	Rows          jsonRowCounts    `json:"rows"`
	Hash          *jsonStoreHash   `json:"hash,omitempty"`
	Configuration *jsonConf        `json:"configuration,omitempty"`
	Level         uint64           `json:"feature_level,omitempty"`
	Members       []*jsonLogMember `json:"members"`
	Removed       []string         `json:"removed"`
}

type jsonStoreState struct {
	AppliedIndex uint64 `json:"applied_index"`
	AppliedTerm  uint64 `json:"applied_term"`
	Revision     int64  `json:"revision"`
	Compacted    int64  `json:"compacted_revision"`
	Reclaimed    int64  `json:"reclaimed_revision"`
}

type jsonRowCounts struct {
	LiveKeys  int64 `json:"live_keys"`
	Keys      int64 `json:"keys"`
	Versions  int64 `json:"versions"`
	Deletions int64 `json:"deletions"`
	Changes   int64 `json:"changes"`
	Meta      int64 `json:"meta"`
	Leases    int64 `json:"leases"`
	Attached  int64 `json:"attached_keys"`
	Side      int64 `json:"side_rows"`
	SideBytes int64 `json:"side_bytes"`
	// SideSum is in hexadecimal, as it is printed.
	SideSum string `json:"side_sum"`
}

// jsonStoreHash has the sum in hexadecimal, as it is printed.
type jsonStoreHash struct {
	Sum       string `json:"sum"`
	Revision  int64  `json:"revision"`
	Compacted int64  `json:"compacted_revision"`
}

// json prints the files and the summary. Faults and rows were printed.
func (d *debugStore) json() error {
	n := d.found
	for i := range n.Files {
		f := &n.Files[i]
		if err := d.a.printJSON(jsonStoreFile{
			Kind: "file", File: f.Path, What: f.Kind, Bytes: f.Bytes, Live: f.Live, Level: f.Level, Blocks: f.Blocks, Faults: f.Faults,
		}); err != nil {
			return err
		}
	}
	out := jsonStoreSummary{
		Kind: "summary", Verdict: d.report.verdict(), Faults: d.report.damage, Path: n.Dir, Opened: n.Opened,
		LogFloor: d.floor, LogNote: d.floorNote, Rows: jsonRowCounts{
			LiveKeys: n.Rows.Live, Keys: n.Rows.Keys, Versions: n.Rows.Versions, Deletions: n.Rows.Deletions,
			Changes: n.Rows.Changes, Meta: n.Rows.Meta, Leases: n.Rows.Leases, Attached: n.Rows.Attached,
			Side: n.Rows.Side, SideBytes: n.Rows.SideBytes, SideSum: fmt.Sprintf("%016x", n.SideSum),
		},
		Members: []*jsonLogMember{}, Removed: []string{},
	}
	if m := &d.target.member; m.Member != 0 {
		out.MemberID, out.MemberName = memberID(m.Member), m.Name
	}
	if d.isMembersStore() {
		out.Noted = d.target.member.Damage
	}
	if n.HasState {
		out.State = &jsonStoreState{
			AppliedIndex: n.State.Applied, AppliedTerm: n.State.Term, Revision: n.State.Revision,
			Compacted: n.State.Compacted, Reclaimed: n.Reclaimed,
		}
	}
	if n.HasHash {
		out.Hash = &jsonStoreHash{Sum: fmt.Sprintf("%016x", n.Hash.Sum), Revision: n.Hash.Revision, Compacted: n.Hash.Compacted}
	}
	if n.ClusterID != 0 {
		out.ClusterID, out.Configuration, out.Level = clusterID(n.ClusterID), newJSONConf(&n.Conf), n.Level
	}
	for i := range n.Members {
		out.Members = append(out.Members, newJSONMember(&n.Members[i]))
	}
	for _, id := range n.Removed {
		out.Removed = append(out.Removed, memberID(id))
	}
	if err := d.a.printJSON(out); err != nil {
		return err
	}
	return d.report.end()
}
