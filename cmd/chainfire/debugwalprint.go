package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"chainfire/raft"
	"chainfire/wal"
)

// keptChanges is how many changes of term and vote a table shows, keptMembers how
// many of the membership: the last ones.
const (
	keptChanges = 30
	keptMembers = 100
)

// table prints the log for a person: where it stands first, what is wrong last.
func (d *debugWAL) table() error {
	if err := d.printHeading(); err != nil {
		return err
	}
	if err := d.printSegments(); err != nil {
		return err
	}
	d.entries = streamTable{a: d.a, title: d.entriesTitle(), head: []string{"INDEX", "TERM", "TYPE", "BYTES", "REQUEST", "STATE", "COMMAND"}}
	d.members = streamTable{a: d.a, title: "CONFIGURATIONS", head: []string{"INDEX", "TERM", "STATE", "CHANGE", "LEADS TO"}}
	if err := d.printRecords(); err != nil {
		return err
	}
	if err := d.each(d.entryRows); err != nil {
		return err
	}
	if err := d.entries.flush(); err != nil {
		return err
	}
	if err := d.members.flush(); err != nil {
		return err
	}
	if err := d.printChanges(); err != nil {
		return err
	}
	if err := d.report.print(); err != nil {
		return err
	}
	if err := d.a.printf("\n%s\n", d.conclusion()); err != nil {
		return err
	}
	return d.report.end()
}

func (d *debugWAL) printHeading() error {
	n, a := d.found, d.a
	vote := "no vote"
	if n.HardState.Vote != 0 {
		vote = "vote for member " + memberID(n.HardState.Vote)
	}
	entries := fmt.Sprintf("%d to %d", n.First, n.Last)
	if n.Last < n.First {
		entries = "none"
	}
	path := d.target.path
	if !d.target.file {
		path = d.log.Dir
	}
	for _, err := range []error{
		a.printf("%s: log in %s%s\n\n", d.report.verdict(), path, d.target.owner()),
		a.field("hard state", "term %d, %s, commit index %d", n.HardState.Term, vote, n.HardState.Commit),
		a.field("entries", "%s, after index %d of term %d", entries, n.Base.Index, n.Base.Term),
		a.field("floor", "%d: the store is known to hold everything up to there", n.Floor),
		a.field("records", "%d in %s", n.Records, plural(n.Segments, "segment")),
		a.field("end", "%s", d.howItEnds()),
	} {
		if err != nil {
			return err
		}
	}
	if c := &d.confs; c.hasStore {
		more := ""
		if c.index > n.Last {
			more = ", which this log does not hold: it was lost from it, or came with a snapshot"
		}
		if err := a.field("store", "at index %d%s, with the configuration %s", c.index, more, c.store.String()); err != nil {
			return err
		}
	}
	for _, l := range n.Lost {
		text := fmt.Sprintf("entry %d is", l.First)
		if l.Last > l.First {
			text = fmt.Sprintf("entries %d to %d are", l.First, l.Last)
		}
		if err := a.field("lost", "%s in no record that can be read", text); err != nil {
			return err
		}
	}
	return nil
}

func (d *debugWAL) howItEnds() string {
	switch {
	case d.found.Torn != nil:
		return "torn: the process ended in the middle of a write"
	case d.found.Sealed:
		return "closed: the member was stopped in an orderly way"
	}
	return "open: the process ended without closing it, as by a kill or a power cut"
}

// conclusion is the last line, and the one that is read.
func (d *debugWAL) conclusion() string {
	switch {
	case d.report.damage > 0:
		return fmt.Sprintf("damaged: %s; the member does not start on this log", plural(d.report.damage, "fault"))
	case d.found.Torn != nil:
		return "sound: every record checks; the unfinished write at the end is cut off at the next start"
	}
	return "sound: every record checks"
}

func (d *debugWAL) printSegments() error {
	rows := [][]string{{"SEGMENT", "STATE", "RECORDS", "SEQUENCE", "ENTRIES", "USED", "SIZE", "NOTE"}}
	for i := range d.segments {
		s := &d.segments[i]
		if s.State != wal.SegmentLive {
			rows = append(rows, []string{filepath.Base(s.File), string(s.State), "-", "-", "-", "-", strconv.FormatInt(s.FileBytes, 10), segmentNote(s)})
			continue
		}
		sequence, entries := "-", "-"
		if s.Header {
			sequence = fmt.Sprintf("from %d", s.FirstSeq)
		}
		if s.First > 0 {
			entries = fmt.Sprintf("%d-%d", s.First, s.Last)
		}
		rows = append(rows, []string{
			filepath.Base(s.File), "live", strconv.Itoa(s.Records), sequence, entries,
			strconv.FormatInt(s.End, 10), strconv.FormatInt(s.FileBytes, 10), segmentNote(s),
		})
	}
	if err := d.a.printf("\nSEGMENTS\n"); err != nil {
		return err
	}
	return d.a.printTable(rows)
}

func segmentNote(s *wal.InspectedSegment) string {
	var notes []string
	switch s.State {
	case wal.SegmentVoid:
		return "of before the log was started again; removed at the next start"
	case wal.SegmentFree:
		return "released; removed at the next start"
	case wal.SegmentUnfinished:
		return "was being made; removed at the next start"
	case wal.SegmentForeign:
		return "not of the log; left alone"
	}
	if s.Faults > 0 {
		notes = append(notes, plural(s.Faults, "fault"))
	}
	if !s.Header {
		notes = append(notes, "header damaged")
	}
	if s.Reset {
		notes = append(notes, "the log starts here")
	}
	if s.Recycled {
		notes = append(notes, "recycled file")
	}
	if s.Sealed {
		notes = append(notes, "closed")
	}
	return orDash(strings.Join(notes, ", "))
}

func (d *debugWAL) entriesTitle() string {
	if d.from <= d.found.First && (d.to == 0 || d.to >= d.found.Last) && d.limit == 0 {
		return "ENTRIES"
	}
	return "ENTRIES (a part of them; --from, --to and --limit choose, --limit 0 is all)"
}

// printRecords lists the records, if that is asked for.
func (d *debugWAL) printRecords() error {
	if !d.records {
		return nil
	}
	t := streamTable{a: d.a, title: "RECORDS", head: []string{"SEQUENCE", "SEGMENT", "OFFSET", "BYTES", "DURABLE", "CONTENT"}}
	err := d.each(func(r *wal.InspectedRecord) error {
		return t.add(
			strconv.FormatUint(r.Seq, 10), filepath.Base(r.File), strconv.FormatInt(r.Offset, 10),
			strconv.FormatInt(r.Bytes, 10), strconv.FormatUint(r.Durable, 10), recordContent(r),
		)
	})
	if err != nil {
		return err
	}
	return t.flush()
}

func recordContent(r *wal.InspectedRecord) string {
	if r.Seal() {
		return "seal: the log was closed"
	}
	var parts []string
	if hs := r.HardState; hs != nil {
		parts = append(parts, fmt.Sprintf("term %d, vote %s, commit %d", hs.Term, memberID(hs.Vote), hs.Commit))
	}
	if r.Floor != nil {
		parts = append(parts, fmt.Sprintf("floor %d", *r.Floor))
	}
	if n := len(r.Entries); n > 0 {
		text := fmt.Sprintf("entry %d of term %d", r.Entries[0].Index, r.Entries[0].Term)
		if n > 1 {
			text = fmt.Sprintf("entries %d-%d, the last of term %d", r.Entries[0].Index, r.Entries[n-1].Index, r.Entries[n-1].Term)
		}
		if r.Replaces > 0 {
			text += fmt.Sprintf(", in the place of %d", r.Replaces)
		}
		parts = append(parts, text)
	}
	if r.Unchecked {
		parts = append(parts, "not checked: the record before it is damaged")
	}
	return strings.Join(parts, "; ")
}

// entryRows adds what a record holds to the tables.
func (d *debugWAL) entryRows(r *wal.InspectedRecord) error {
	d.noteChanges(r)
	for i := range r.Entries {
		wanted := d.wanted(r.Entries[i].Index)
		if !wanted && r.Entries[i].Type != raft.EntryConf {
			continue
		}
		e := d.decode(r.Seq, &r.Entries[i])
		what := e.Describe(d.keys)
		if e.err != nil {
			what = "cannot be decoded: " + e.err.Error()
		}
		if e.Type == raft.EntryConf {
			// Kept until the entries are printed, and so the last ones only.
			if len(d.members.rows) == keptMembers {
				d.members.rows = append(d.members.rows[:0], d.members.rows[1:]...)
				d.members.title = fmt.Sprintf("CONFIGURATIONS (the last %d)", keptMembers)
			}
			d.members.rows = append(d.members.rows, []string{
				strconv.FormatUint(e.Index, 10), strconv.FormatUint(e.Term, 10), e.state, what, leadsTo(&e),
			})
		}
		if !wanted {
			continue
		}
		d.printed++
		if err := d.entries.add(
			strconv.FormatUint(e.Index, 10), strconv.FormatUint(e.Term, 10), entryType(e.Type),
			strconv.Itoa(len(e.Data)), e.request(), e.state, what,
		); err != nil {
			return err
		}
	}
	return nil
}

func leadsTo(e *decodedEntry) string {
	switch {
	case e.refused != nil:
		return "refused: " + e.refused.Error()
	case e.conf == nil:
		return "-"
	}
	return e.conf.String()
}

func entryType(t raft.EntryType) string {
	switch t {
	case raft.EntryNormal:
		return "normal"
	case raft.EntryConf:
		return "conf"
	}
	return fmt.Sprintf("type %d", t)
}

// noteChanges keeps the last changes of term and vote, and of what was replaced.
func (d *debugWAL) noteChanges(r *wal.InspectedRecord) {
	note := func(format string, args ...any) {
		place := fmt.Sprintf("%s at offset %d: ", filepath.Base(r.File), r.Offset)
		if d.changes = append(d.changes, place+fmt.Sprintf(format, args...)); len(d.changes) > keptChanges {
			d.changes = append(d.changes[:0], d.changes[1:]...)
			d.dropped++
		}
	}
	if hs := r.HardState; hs != nil && (hs.Term != d.hs.Term || hs.Vote != d.hs.Vote) {
		if hs.Vote == 0 {
			note("term %d, no vote", hs.Term)
		} else {
			note("term %d, vote for member %s", hs.Term, memberID(hs.Vote))
		}
		d.hs = *hs
	}
	if r.Replaces > 0 {
		note("entries from %d on replaced, %d of them, by those of term %d", r.Entries[0].Index, r.Replaces, r.Entries[0].Term)
	}
}

func (d *debugWAL) printChanges() error {
	if len(d.changes) == 0 {
		return nil
	}
	title := "CHANGES OF TERM AND VOTE, AND ENTRIES REPLACED"
	if d.dropped > 0 {
		title += fmt.Sprintf(" (the last %d; %d came before)", len(d.changes), d.dropped)
	}
	return d.a.printf("\n%s\n%s\n", title, strings.Join(d.changes, "\n"))
}
