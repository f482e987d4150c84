package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"chainfire/blob"
	"chainfire/internal/disk"
)

const blobExpected = "the blob folder of a member, its data directory, or one segment file (SEG-NNNNNNNN) in such a folder"

func newDebugBlob(a *app) *cobra.Command {
	d := &debugBlob{a: a}
	return &cobra.Command{
		Use:   "blob PATH",
		Short: "Check the object bodies of a stopped member",
		Long: `Check every head and every piece of the segments that hold object bodies, and the
index of them, and print the segments: how large each is, how many records it holds,
and how much of it is live, that is neither deleted nor moved elsewhere.

PATH is ` + blobExpected + `.

What counts as torn and what as damage is what the member itself takes for it at its
next start. The segment with the highest number in the folder is the one that was
written to last: only it can have a torn end.

With -w json: a line for each fault and segment, and a summary at the end.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.buffered(func() error { return d.run(cmd.Context(), args[0]) })
		},
	}
}

// debugBlob is one run of 'debug blob'.
type debugBlob struct {
	a      *app
	target *debugTarget
	report *debugReport
	dir    string
	found  *blob.Inspection
	// segments are kept for the table, because what was found is told before: a hundred bytes
	// for each 256 MiB on disk.
	segments []blob.SegmentInfo
	sum      blobSum
}

// blobSum is what all the segments that were read hold.
type blobSum struct{ segments, bytes, records, liveRecords, liveBytes int64 }

func (d *debugBlob) run(ctx context.Context, path string) (err error) {
	if d.target, err = openDebug(path, blobExpected); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.target.close()) }()
	d.report = &debugReport{a: d.a, meaning: d.meaning}
	file := ""
	switch d.dir = d.target.path; {
	case d.target.file:
		d.dir, file = filepath.Split(d.dir)
		d.dir = filepath.Clean(d.dir)
	case d.target.isMember && !d.target.inMember:
		if d.dir = d.target.member.Blob; d.dir == "" {
			return fmt.Errorf("%s has no blob folder: the member served no S3; give %s", path, blobExpected)
		}
		// Of the member itself, so a lock that it takes for the folder counts, too.
		if err := d.target.hold(d.dir); err != nil {
			return err
		}
	}
	if err := d.report.tellIdentity(d.target); err != nil {
		return err
	}
	d.found, err = blob.Inspect(ctx, blob.InspectOptions{FS: disk.OS(), Dir: d.dir, File: file, Segment: d.segment, Fault: d.tell})
	switch {
	case errors.Is(err, blob.ErrNoStore):
		return fmt.Errorf("%s holds no object bodies; give %s", path, blobExpected)
	case errors.Is(err, blob.ErrNotSegment):
		return fmt.Errorf("%s is no segment of object bodies; give %s", path, blobExpected)
	case err != nil:
		return err
	}
	if d.a.format == formatJSON {
		return d.json()
	}
	return d.table()
}

func (d *debugBlob) tell(f *blob.Fault) error {
	return d.report.tell(debugFault{Fault: string(f.Kind), File: f.File, Offset: f.Offset, Bytes: f.Bytes, Reason: f.Reason})
}

func (d *debugBlob) segment(s *blob.SegmentInfo) error {
	d.sum.segments++
	d.sum.bytes += s.Size
	d.sum.records += s.Extents
	d.sum.liveRecords += s.LiveExtents
	d.sum.liveBytes += s.LiveBytes
	if d.a.format == formatJSON {
		return d.a.printJSON(newJSONBlobSegment(s))
	}
	d.segments = append(d.segments, *s)
	return nil
}

// meaning says what a fault means for this member.
func (d *debugBlob) meaning(kind string) string {
	heal := "no other member is known to this one: what no other copy is of is lost; restore the data directory from a backup"
	if d.target.member.Peers {
		heal = "the member serves nothing of it, and fetches what it lost from the other members by itself while it runs"
	}
	switch blob.FaultKind(kind) {
	case blob.FaultTorn:
		return "an unfinished write that was never acknowledged, or rot in what was written since the last sync that a later record proves: after a kill the two look the same. The next start writes over it, and has what was acknowledged from other members."
	case blob.FaultRotten:
		return "this is not as it was written; " + heal + "."
	case blob.FaultMissing:
		return "a file that must be there is not. Put that very file back if it was moved; else " + heal + "."
	case blob.FaultForeign:
		return "the object bodies do not open with it, and the member does not start. Put the file that belongs there in its place, or move this one out of the folder: " +
			heal + "."
	case blob.FaultIndex:
		return "the index only says where the bodies are. The next start makes it anew from the segments, or a scrub finds what is amiss, and nothing is lost by it."
	}
	return heal + "."
}

func (d *debugBlob) table() error {
	a := d.a
	errs := []error{a.printf("%s: object bodies in %s%s\n\n", d.report.verdict(), d.dir, d.target.owner())}
	add := func(name, format string, args ...any) { errs = append(errs, a.field(name, format, args...)) }
	add("segments", "%d, %s", d.sum.segments, bytesText(d.sum.bytes))
	if d.found.Index {
		add("records", "%d, of which %d are live, %s", d.sum.records, d.sum.liveRecords, bytesText(d.sum.liveBytes))
		add("index", "sound: every row checks")
	} else {
		add("records", "%d; which are live is not known without an index", d.sum.records)
		add("index", "%s", d.index())
	}
	if d.found.Noted > 0 {
		add("noted", "the member itself found damage and has not mended all of it: %s", plural(d.found.Noted, "place"))
	}
	errs = append(errs, d.printSegments(), d.report.print())
	conclusion := "sound: every head and every piece checks"
	if d.report.damage > 0 {
		conclusion = "damaged: " + plural(d.report.damage, "fault")
	}
	errs = append(errs, a.printf("\n%s\n", conclusion))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return d.report.end()
}

func (d *debugBlob) index() string {
	if d.found.NoIndex {
		return "not there; the next start makes it from the segments"
	}
	return "cannot be used; see below"
}

func (d *debugBlob) printSegments() error {
	t := &streamTable{a: d.a, title: "SEGMENTS", head: []string{"SEGMENT", "BYTES", "LIVE BYTES", "RECORDS", "LIVE", "END", "STATE"}}
	for i := range d.segments {
		s := &d.segments[i]
		live, liveBytes := "-", "-"
		if s.LiveKnown {
			live, liveBytes = strconv.FormatInt(s.LiveExtents, 10), strconv.FormatInt(s.LiveBytes, 10)
		}
		state := "sound"
		if s.Faults > 0 {
			state = plural(s.Faults, "fault")
		}
		err := t.add(filepath.Base(s.File), strconv.FormatInt(s.Size, 10), liveBytes, strconv.FormatInt(s.Extents, 10), live, segmentEnd(s), state)
		if err != nil {
			return err
		}
	}
	return t.flush()
}

// segmentEnd says how a segment ends.
func segmentEnd(s *blob.SegmentInfo) string {
	switch {
	case s.Ended:
		return "sealed"
	case s.Closed:
		return "closed"
	}
	return "open"
}

type jsonBlobSegment struct {
	Kind    string `json:"kind"`
	File    string `json:"file"`
	Segment uint64 `json:"segment"`
	Bytes   int64  `json:"bytes"`
	// EndOffset is where the last record ends that counts.
	EndOffset int64 `json:"end_offset"`
	Records   int64 `json:"records"`
	// The live ones are null without an index that can be used.
	LiveRecords *int64 `json:"live_records"`
	LiveBytes   *int64 `json:"live_bytes"`
	End         string `json:"end"`
	Faults      int    `json:"faults"`
}

func newJSONBlobSegment(s *blob.SegmentInfo) *jsonBlobSegment {
	out := &jsonBlobSegment{
		Kind: "segment", File: s.File, Segment: s.ID, Bytes: s.Size, EndOffset: s.End, Records: s.Extents, End: segmentEnd(s), Faults: s.Faults,
	}
	if s.LiveKnown {
		out.LiveRecords, out.LiveBytes = &s.LiveExtents, &s.LiveBytes
	}
	return out
}

type jsonBlobSummary struct {
	jsonSummary
	Segments    int64  `json:"segments"`
	Bytes       int64  `json:"bytes"`
	Records     int64  `json:"records"`
	LiveRecords *int64 `json:"live_records"`
	LiveBytes   *int64 `json:"live_bytes"`
	// Index says whether there is one that can be used.
	Index bool  `json:"index"`
	Noted int64 `json:"noted"`
}

// json prints the summary. Segments and faults were printed.
func (d *debugBlob) json() error {
	out := jsonBlobSummary{
		jsonSummary: newJSONSummary(d.report, d.dir, d.target),
		Segments:    d.sum.segments, Bytes: d.sum.bytes, Records: d.sum.records, Index: d.found.Index, Noted: d.found.Noted,
	}
	if d.found.Index {
		out.LiveRecords, out.LiveBytes = &d.sum.liveRecords, &d.sum.liveBytes
	}
	if err := d.a.printJSON(out); err != nil {
		return err
	}
	return d.report.end()
}
