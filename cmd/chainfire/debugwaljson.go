package main

import (
	"chainfire/raft"
	"chainfire/wal"
)

type jsonPosition struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

type jsonHardState struct {
	Term   uint64 `json:"term"`
	Vote   string `json:"vote"`
	Commit uint64 `json:"commit"`
}

func newJSONHardState(h *raft.HardState) *jsonHardState {
	if h == nil {
		return nil
	}
	return &jsonHardState{Term: h.Term, Vote: memberID(h.Vote), Commit: h.Commit}
}

type jsonSegment struct {
	Kind       string             `json:"kind"`
	File       string             `json:"file"`
	State      string             `json:"state"`
	FileBytes  int64              `json:"file_bytes"`
	ID         uint64             `json:"id,omitempty"`
	Records    int                `json:"records"`
	End        int64              `json:"end"`
	FirstIndex uint64             `json:"first_index,omitempty"`
	LastIndex  uint64             `json:"last_index,omitempty"`
	Sealed     bool               `json:"sealed,omitempty"`
	Faults     int                `json:"faults"`
	Header     *jsonSegmentHeader `json:"header,omitempty"`
}

type jsonSegmentHeader struct {
	Reset         bool           `json:"reset"`
	Recycled      bool           `json:"recycled"`
	FirstSequence uint64         `json:"first_sequence"`
	Base          jsonPosition   `json:"base"`
	Before        jsonPosition   `json:"last_before"`
	HardState     *jsonHardState `json:"hard_state"`
	Floor         uint64         `json:"floor"`
}

func newJSONSegment(s *wal.InspectedSegment) *jsonSegment {
	out := &jsonSegment{
		Kind: "segment", File: s.File, State: string(s.State), FileBytes: s.FileBytes, ID: s.ID, Records: s.Records,
		End: s.End, FirstIndex: s.First, LastIndex: s.Last, Sealed: s.Sealed, Faults: s.Faults,
	}
	if s.Header {
		out.Header = &jsonSegmentHeader{
			Reset: s.Reset, Recycled: s.Recycled, FirstSequence: s.FirstSeq,
			Base: jsonPosition(s.Base), Before: jsonPosition(s.Before), HardState: newJSONHardState(&s.HardState), Floor: s.Floor,
		}
	}
	return out
}

type jsonRecord struct {
	Kind       string         `json:"kind"`
	File       string         `json:"file"`
	Offset     int64          `json:"offset"`
	Bytes      int64          `json:"bytes"`
	Sequence   uint64         `json:"sequence"`
	Durable    uint64         `json:"durable"`
	Unchecked  bool           `json:"unchecked,omitempty"`
	Seal       bool           `json:"seal,omitempty"`
	HardState  *jsonHardState `json:"hard_state,omitempty"`
	Floor      *uint64        `json:"floor,omitempty"`
	FirstIndex uint64         `json:"first_index,omitempty"`
	LastIndex  uint64         `json:"last_index,omitempty"`
	Replaces   uint64         `json:"replaces,omitempty"`
}

type jsonEntry struct {
	Kind     string `json:"kind"`
	Index    uint64 `json:"index"`
	Term     uint64 `json:"term"`
	Type     string `json:"type"`
	Bytes    int    `json:"bytes"`
	State    string `json:"state"`
	File     string `json:"file"`
	Sequence uint64 `json:"sequence"`
	// Member and Request say who waits for the result.
	Member  string       `json:"request_member,omitempty"`
	Request uint64       `json:"request,omitempty"`
	Command *jsonCommand `json:"command,omitempty"`
	Change  *jsonChange  `json:"change,omitempty"`
	// Configuration is what the change leads to, where that is known.
	Configuration *jsonConf `json:"configuration,omitempty"`
	Refused       string    `json:"refused,omitempty"`
	// Error says why the entry cannot be decoded; Data is what it holds then.
	Error string `json:"error,omitempty"`
	Data  []byte `json:"data_base64,omitempty"`
}

type jsonSpan struct {
	First uint64 `json:"first_index"`
	Last  uint64 `json:"last_index"`
}

// jsonSummary is what a summary begins with. The ids are those of the member whose the files are, where
// that is known.
type jsonSummary struct {
	Kind       string `json:"kind"`
	Verdict    string `json:"verdict"`
	Faults     int    `json:"faults"`
	Path       string `json:"path"`
	ClusterID  string `json:"cluster_id,omitempty"`
	MemberID   string `json:"member_id,omitempty"`
	MemberName string `json:"member_name,omitempty"`
}

func newJSONSummary(r *debugReport, path string, t *debugTarget) jsonSummary {
	out := jsonSummary{Kind: "summary", Verdict: r.verdict(), Faults: r.damage, Path: path}
	if m := &t.member; m.Member != 0 {
		out.ClusterID, out.MemberID, out.MemberName = clusterID(m.Cluster), memberID(m.Member), m.Name
	}
	return out
}

type jsonWALSummary struct {
	jsonSummary
	Store      *jsonPosition  `json:"store,omitempty"`
	HardState  *jsonHardState `json:"hard_state"`
	Base       jsonPosition   `json:"base"`
	FirstIndex uint64         `json:"first_index"`
	LastIndex  uint64         `json:"last_index"`
	Floor      uint64         `json:"floor"`
	Segments   int            `json:"segments"`
	Records    uint64         `json:"records"`
	Torn       bool           `json:"torn"`
	Closed     bool           `json:"closed"`
	Lost       []jsonSpan     `json:"lost,omitempty"`
}

// json prints the log a line at a time. Segments and faults were printed.
func (d *debugWAL) json() error {
	chosen := d.from > 0 || d.to > 0 || d.limit > 0
	err := d.each(func(r *wal.InspectedRecord) error {
		any := false
		for i := range r.Entries {
			any = any || d.wanted(r.Entries[i].Index)
		}
		if any || !chosen {
			if err := d.a.printJSON(newJSONRecord(r)); err != nil {
				return err
			}
		}
		return d.entryLines(r)
	})
	if err != nil {
		return err
	}
	n := d.found
	out := jsonWALSummary{
		jsonSummary: newJSONSummary(d.report, d.target.path, d.target),
		HardState:   newJSONHardState(&n.HardState), Base: jsonPosition(n.Base), FirstIndex: n.First, LastIndex: n.Last,
		Floor: n.Floor, Segments: n.Segments, Records: n.Records, Torn: n.Torn != nil, Closed: n.Sealed,
	}
	if s := d.confs.position; s != (jsonPosition{}) {
		out.Store = &s
	}
	for _, l := range n.Lost {
		out.Lost = append(out.Lost, jsonSpan(l))
	}
	if err := d.a.printJSON(out); err != nil {
		return err
	}
	return d.report.end()
}

func newJSONRecord(r *wal.InspectedRecord) *jsonRecord {
	out := &jsonRecord{
		Kind: "record", File: r.File, Offset: r.Offset, Bytes: r.Bytes, Sequence: r.Seq, Durable: r.Durable,
		Unchecked: r.Unchecked, Seal: r.Seal(), HardState: newJSONHardState(r.HardState), Floor: r.Floor, Replaces: r.Replaces,
	}
	if n := len(r.Entries); n > 0 {
		out.FirstIndex, out.LastIndex = r.Entries[0].Index, r.Entries[n-1].Index
	}
	return out
}

func (d *debugWAL) entryLines(r *wal.InspectedRecord) error {
	for i := range r.Entries {
		// Every change counts for the configurations, printed or not.
		wanted := d.wanted(r.Entries[i].Index)
		if !wanted && r.Entries[i].Type != raft.EntryConf {
			continue
		}
		e := d.decode(r.Seq, &r.Entries[i])
		if !wanted {
			continue
		}
		d.printed++
		if err := d.a.printJSON(newJSONEntry(r, &e)); err != nil {
			return err
		}
	}
	return nil
}

func newJSONEntry(r *wal.InspectedRecord, e *decodedEntry) *jsonEntry {
	out := &jsonEntry{
		Kind: "entry", Index: e.Index, Term: e.Term, Type: entryType(e.Type), Bytes: len(e.Data), State: e.state,
		File: r.File, Sequence: r.Seq, Member: idOrNone(e.ID.Member), Request: e.ID.Seq,
	}
	switch {
	case e.err != nil:
		out.Error, out.Data = e.err.Error(), e.Data
	case e.Command != nil:
		out.Command = newJSONCommand(e.Command)
	case e.Change != nil:
		out.Change = newJSONChange(e.Change, e.Context.Member)
	}
	if e.conf != nil {
		out.Configuration = newJSONConf(e.conf)
	}
	if e.refused != nil {
		out.Refused = e.refused.Error()
	}
	return out
}
