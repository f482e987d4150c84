package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"chainfire/internal/disk"
	"chainfire/snapshot"
)

const snapshotExpected = "a snapshot folder, a file of 'chainfire snapshot save', or a data directory with a seed or snapshots in it"

func newDebugSnapshot(a *app) *cobra.Command {
	d := &debugSnapshot{a: a}
	return &cobra.Command{
		Use:   "snapshot PATH",
		Short: "Check a snapshot: a folder, or a file of 'snapshot save'",
		Long: `Check every block of every file of a snapshot against its manifest, and print what
it holds: the cluster, the log index, the configuration, and each file.

PATH is ` + snapshotExpected + `.

A snapshot that is being fetched (a seed) is incomplete and not damaged; what is
there of it is checked. 'chainfire debug store' reads the rows of a folder.

With -w json: a line for each fault and file, and a summary for each snapshot.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.buffered(func() error { return d.run(cmd.Context(), args[0]) })
		},
	}
}

// debugSnapshot is one run of 'debug snapshot'.
type debugSnapshot struct {
	a      *app
	target *debugTarget
	report *debugReport
	files  []snapshotFile
}

// snapshotFile is one file as it is printed: where it lies, and what of it is bad.
type snapshotFile struct {
	snapshot.InspectedFile
	path string
	// at is where the file begins in an archive; 0 in a folder.
	at int64
}

func (d *debugSnapshot) run(ctx context.Context, path string) (err error) {
	if d.target, err = openDebug(path, snapshotExpected); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.target.close()) }()
	d.report = &debugReport{a: d.a, meaning: d.meaning}
	if d.target.file {
		if err := d.archive(ctx, path); err != nil {
			return err
		}
		return d.conclude()
	}
	folders := []string{d.target.path}
	if d.target.isMember && !d.target.inMember {
		folders = d.target.member.Snapshots
	}
	read := 0
	for _, folder := range folders {
		err := d.folder(ctx, folder)
		if errors.Is(err, snapshot.ErrNotComplete) && d.target.isMember && !d.target.inMember {
			if err := d.unmarked(folder); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, snapshot.ErrNotComplete) {
			return fmt.Errorf("%s holds no snapshot: there is no file %s in it; give %s", path, snapshot.MarkName, snapshotExpected)
		}
		if err != nil {
			return err
		}
		read++
	}
	if read == 0 {
		return fmt.Errorf("%s holds no snapshot: a seed is there while a member joins or is rebuilt; give %s", path, snapshotExpected)
	}
	return d.conclude()
}

// unmarked says that a folder of a data directory has nothing to compare with.
func (d *debugSnapshot) unmarked(folder string) error {
	if d.a.format == formatJSON {
		return d.a.printJSON(jsonSnapshotSummary{Kind: "summary", Verdict: "unmarked", Path: folder})
	}
	return d.a.printf("%s has no manifest: a cut for another member, or what an ended fetch left; removed when it is not needed\n\n", folder)
}

func (d *debugSnapshot) conclude() error {
	if d.a.format != formatJSON {
		if err := d.report.print(); err != nil {
			return err
		}
		conclusion := "sound: everything that is there is as the manifest says"
		if d.report.damage > 0 {
			conclusion = "damaged: " + plural(d.report.damage, "fault")
		}
		if err := d.a.printf("\n%s\n", conclusion); err != nil {
			return err
		}
	}
	return d.report.end()
}

func (d *debugSnapshot) meaning(kind string) string {
	if kind == string(snapshot.FileUnreadable) {
		return "the disk did not give what is there. Look at the disk and its log before anything else."
	}
	return "this is not what was saved: do not restore from it. Take a new snapshot with 'chainfire snapshot save', or use an older one."
}

// folder checks a snapshot's folder.
func (d *debugSnapshot) folder(ctx context.Context, dir string) error {
	d.files = nil
	n, err := snapshot.Inspect(ctx, disk.OS(), dir, func(f *snapshot.InspectedFile) error {
		return d.file(snapshotFile{InspectedFile: *f, path: filepath.Join(dir, filepath.FromSlash(f.Name))}, false)
	})
	if err != nil {
		return err
	}
	info, err := os.Stat(n.ManifestFile)
	if err != nil {
		return fmt.Errorf("look at the manifest: %w", err)
	}
	return d.summary(dir, n, info.Size())
}

// file tells of what is wrong with one file, and keeps it for the table.
func (d *debugSnapshot) file(f snapshotFile, archived bool) error {
	for _, b := range f.Bad {
		reason := b.Reason
		if archived {
			reason = fmt.Sprintf("%s of the snapshot, from byte %d on: %s", f.Name, b.From, b.Reason)
		}
		kind := string(snapshot.FileRotten)
		if f.State == snapshot.FileUnreadable {
			kind = string(f.State)
		}
		if err := d.report.tell(debugFault{Fault: kind, File: f.path, Offset: f.at + b.From, Bytes: b.To - b.From, Reason: reason}); err != nil {
			return err
		}
	}
	var err error
	switch f.State {
	case snapshot.FileMissing:
		reason := "the file is in the manifest and not there"
		if archived {
			reason = "the file ends before " + f.Name + " of the snapshot"
		}
		err = d.report.tell(debugFault{Fault: "missing", File: f.path, Reason: reason})
	case snapshot.FileExtra:
		err = d.report.tell(debugFault{Fault: "extra", File: f.path, Bytes: f.Have, Reason: "the file is not in the manifest"})
	}
	if err != nil {
		return err
	}
	if d.a.format == formatJSON {
		return d.a.printJSON(newJSONSnapshotFile(&f))
	}
	d.files = append(d.files, f)
	return nil
}

// summary prints what a snapshot holds, and its files.
func (d *debugSnapshot) summary(path string, n *snapshot.Inspection, manifestBytes int64) error {
	if n.Manifest == nil {
		err := d.report.tell(debugFault{
			Fault: "rotten", File: n.ManifestFile, Bytes: manifestBytes,
			Reason: "the manifest cannot be read, so that nothing can be compared with it: " + n.ManifestError.Error(),
		})
		if err != nil {
			return err
		}
	}
	if d.a.format == formatJSON {
		return d.a.printJSON(newJSONSnapshotSummary(path, d.report.verdict(), n))
	}
	what := "snapshot"
	if n.Partial {
		what = "incomplete snapshot, whose fetch goes on at the next start,"
	}
	a := d.a
	errs := []error{a.printf("%s: %s in %s%s\n\n", d.report.verdict(), what, path, d.target.owner())}
	add := func(name, format string, args ...any) { errs = append(errs, a.field(name, format, args...)) }
	if m := n.Manifest; m != nil {
		add("cluster", "%s", clusterID(m.Meta.ClusterID))
		add("state", "after log index %d of term %d", m.Meta.Index, m.Meta.Term)
		add("configuration", "%s", m.Meta.Conf.String())
		add("files", "%d, %s", len(m.Files), bytesText(m.TotalBytes()))
	} else {
		add("manifest", "cannot be read: %v", n.ManifestError)
	}
	errs = append(errs, a.printf("\nFILES\n"))
	rows := [][]string{{"FILE", "BYTES", "STATE"}}
	for i := range d.files {
		f := &d.files[i]
		rows = append(rows, []string{f.Name, strconv.FormatInt(max(f.Size, f.Have), 10), fileState(f)})
	}
	return errors.Join(append(errs, a.printTable(rows))...)
}

func fileState(f *snapshotFile) string {
	switch {
	case f.State == snapshot.FilePartial && f.Have == f.Size:
		return "sound"
	case f.State == snapshot.FilePartial:
		return fmt.Sprintf("%d of it fetched", f.Have)
	case f.State == snapshot.FileRotten:
		return "rotten: " + plural(len(f.Bad), "place")
	}
	return string(f.State)
}

type jsonSnapshotFile struct {
	Kind   string    `json:"kind"`
	File   string    `json:"file"`
	Name   string    `json:"name"`
	State  string    `json:"state"`
	Bytes  int64     `json:"bytes"`
	Have   int64     `json:"have"`
	Offset int64     `json:"offset,omitempty"`
	Bad    []jsonBad `json:"bad,omitempty"`
}

type jsonBad struct {
	From   int64  `json:"from"`
	To     int64  `json:"to"`
	Reason string `json:"reason"`
}

func newJSONSnapshotFile(f *snapshotFile) *jsonSnapshotFile {
	out := &jsonSnapshotFile{Kind: "file", File: f.path, Name: f.Name, State: string(f.State), Bytes: f.Size, Have: f.Have, Offset: f.at}
	for _, b := range f.Bad {
		out.Bad = append(out.Bad, jsonBad(b))
	}
	return out
}

type jsonSnapshotSummary struct {
	Kind          string    `json:"kind"`
	Verdict       string    `json:"verdict"`
	Path          string    `json:"path"`
	Partial       bool      `json:"partial"`
	ClusterID     string    `json:"cluster_id,omitempty"`
	Index         uint64    `json:"index,omitempty"`
	Term          uint64    `json:"term,omitempty"`
	Configuration *jsonConf `json:"configuration,omitempty"`
	Files         int       `json:"files"`
	Bytes         int64     `json:"bytes"`
	Error         string    `json:"error,omitempty"`
}

func newJSONSnapshotSummary(path, verdict string, n *snapshot.Inspection) *jsonSnapshotSummary {
	out := &jsonSnapshotSummary{Kind: "summary", Verdict: verdict, Path: path, Partial: n.Partial}
	if m := n.Manifest; m != nil {
		out.ClusterID, out.Index, out.Term = clusterID(m.Meta.ClusterID), m.Meta.Index, m.Meta.Term
		out.Configuration, out.Files, out.Bytes = newJSONConf(&m.Meta.Conf), len(m.Files), m.TotalBytes()
	}
	if n.ManifestError != nil {
		out.Error = n.ManifestError.Error()
	}
	return out
}
