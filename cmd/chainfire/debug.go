package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chainfire/internal/disk"
	"chainfire/node"
)

// exitDamaged says that files are not as they were written.
const exitDamaged = 2

func newDebug(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "debug",
		Short: "Read the files of a stopped member: log, store, object bodies, snapshot",
		Long: `Read the files of a member that is stopped, or a copy of them. Every checksum is
checked, everything is decoded, and what is damaged is named with file and offset.
Nothing is changed: not a byte, a name or a time. A directory that a running member
holds is refused, and while one is read no member can start on it.

The exit code is 0 when everything is sound, 1 when PATH could not be read, and 2
when damage was found. An unfinished write at the end of a file (torn) is no damage.

With -w json each line is one JSON object, with what it is in "kind".`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDebugWAL(a), newDebugStore(a), newDebugBlob(a), newDebugSnapshot(a))
	return cmd
}

// debugTarget is what a debug command reads.
type debugTarget struct {
	// path is PATH with links resolved, file whether it is a file.
	path string
	file bool
	// member is the data directory that PATH is, or is a part of.
	member   node.DataDir
	isMember bool
	// inMember says that PATH is not the data directory itself, but in it.
	inMember bool
	locks    []io.Closer
}

// openDebug finds out what PATH is, and holds it against a member that would
// start on it.
func openDebug(path, expected string) (_ *debugTarget, err error) {
	t := &debugTarget{}
	abs, err := filepath.Abs(path)
	if err == nil {
		t.path, err = filepath.EvalSymlinks(abs)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; give %s", path, expected)
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", path, err)
	}
	info, err := os.Stat(t.path)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	t.file = !info.IsDir()
	if t.file && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is neither a file nor a folder; give %s", path, expected)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	// A store lies two folders deep in a data directory, a snapshot as well.
	dir := t.path
	if t.file {
		dir = filepath.Dir(dir)
	}
	for depth := range 3 {
		if err := t.hold(dir); err != nil {
			return nil, err
		}
		if err := t.lookAt(dir, depth > 0 || t.file); err != nil {
			return nil, err
		}
		dir = filepath.Dir(dir)
	}
	return t, nil
}

func (t *debugTarget) hold(dir string) error {
	lock, err := disk.LockShared(dir)
	if errors.Is(err, disk.ErrInUse) {
		return fmt.Errorf("%s is in use by a running member: stop that member first, or copy the files and read the copy; "+
			"'chainfire snapshot save' takes the state of a running member", dir)
	}
	if err != nil {
		return err
	}
	t.locks = append(t.locks, lock)
	return nil
}

// lookAt sees whether a folder is the data directory that PATH is, or belongs to.
func (t *debugTarget) lookAt(dir string, above bool) error {
	if t.isMember {
		return nil
	}
	d, found, err := node.LookAt(disk.OS(), dir)
	if err != nil {
		if above {
			return nil // a folder that is none of ours to read
		}
		return err
	}
	if !found {
		return nil
	}
	if above && !belongs(t.path, append([]string{d.Log, d.Store, d.Blob}, d.Snapshots...)) {
		return nil
	}
	t.member, t.isMember, t.inMember = d, true, above
	return nil
}

// belongs reports whether a path is one of the folders, or inside of one.
func belongs(path string, folders []string) bool {
	for _, f := range folders {
		if f != "" && (path == f || strings.HasPrefix(path, f+string(filepath.Separator))) {
			return true
		}
	}
	return false
}

func (t *debugTarget) close() error {
	var errs []error
	for _, l := range t.locks {
		errs = append(errs, l.Close())
	}
	t.locks = nil
	return errors.Join(errs...)
}

// owner says whose files these are, for a heading.
func (t *debugTarget) owner() string {
	switch m := &t.member; {
	case !t.isMember || m.Member == 0:
		return ""
	case m.Name == "":
		return fmt.Sprintf(", of member %s of cluster %s", memberID(m.Member), clusterID(m.Cluster))
	default:
		return fmt.Sprintf(", of member %s (%s) of cluster %s", memberID(m.Member), m.Name, clusterID(m.Cluster))
	}
}

// debugFault is one thing that is wrong, as it is printed.
type debugFault struct {
	Kind    string `json:"kind"`
	Fault   string `json:"fault"`
	File    string `json:"file"`
	Offset  int64  `json:"offset"`
	Bytes   int64  `json:"bytes,omitempty"`
	Reason  string `json:"reason"`
	Meaning string `json:"meaning"`
}

// keptFaults is how many faults are kept for a table. The rest is counted.
const keptFaults = 200

// debugReport gathers what is wrong: JSON tells it at once, a table at its end,
// where a person looks first.
type debugReport struct {
	a      *app
	kept   []debugFault
	more   int
	damage int
	// meaning says what a kind of fault means for this member.
	meaning func(kind string) string
}

const faultTorn = "torn"

func (r *debugReport) tell(f debugFault) error {
	f.Kind, f.Meaning = "fault", r.meaning(f.Fault)
	if f.Fault != faultTorn {
		r.damage++
	}
	if r.a.format == formatJSON {
		return r.a.printJSON(f)
	}
	if len(r.kept) == keptFaults {
		r.more++
		return nil
	}
	r.kept = append(r.kept, f)
	return nil
}

// tellIdentity tells of a data directory whose own mark is damaged.
func (r *debugReport) tellIdentity(t *debugTarget) error {
	if t.member.Identity == nil {
		return nil
	}
	return r.tell(debugFault{Fault: "rotten", File: t.member.IdentityFile, Reason: t.member.Identity.Error()})
}

// print prints what is wrong, each kind with what it means.
func (r *debugReport) print() error {
	if len(r.kept) == 0 {
		return nil
	}
	if err := r.a.printf("\nFOUND\n"); err != nil {
		return err
	}
	// Kinds that mean the same are told together.
	var meanings []string
	kinds := map[string][]string{}
	for _, f := range r.kept {
		place := ""
		if f.Offset > 0 || f.Bytes > 0 {
			place = fmt.Sprintf(" at offset %d", f.Offset)
		}
		if f.Bytes > 0 {
			place += fmt.Sprintf(" (%s)", plural(f.Bytes, "byte"))
		}
		if err := r.a.printf("%s: %s%s: %s\n", f.Fault, f.File, place, f.Reason); err != nil {
			return err
		}
		if kinds[f.Meaning] == nil {
			meanings = append(meanings, f.Meaning)
		}
		if !slices.Contains(kinds[f.Meaning], f.Fault) {
			kinds[f.Meaning] = append(kinds[f.Meaning], f.Fault)
		}
	}
	if r.more > 0 {
		if err := r.a.printf("and %d more; -w json prints them all\n", r.more); err != nil {
			return err
		}
	}
	if err := r.a.printf("\nWHAT IT MEANS\n"); err != nil {
		return err
	}
	for _, m := range meanings {
		if err := r.a.printf("%s: %s\n", strings.Join(kinds[m], ", "), m); err != nil {
			return err
		}
	}
	return nil
}

// end ends a command with the exit code for what was found.
func (r *debugReport) end() error {
	if r.damage > 0 {
		return &exitError{code: exitDamaged}
	}
	return nil
}

// verdict is one word and how much it rests on.
func (r *debugReport) verdict() string {
	if r.damage > 0 {
		return "damaged"
	}
	return "sound"
}

// streamTable prints rows as they come, in columns that are aligned over some
// hundred rows at a time, so that its memory has a bound.
type streamTable struct {
	a    *app
	head []string
	rows [][]string
	// printed says that the title is out.
	title   string
	printed bool
}

const streamRows = 500

func (s *streamTable) add(row ...string) error {
	s.rows = append(s.rows, row)
	if len(s.rows) < streamRows {
		return nil
	}
	return s.flush()
}

// flush prints what was added and not printed. A table without rows is not
// printed at all.
func (s *streamTable) flush() error {
	if len(s.rows) == 0 {
		return nil
	}
	if !s.printed {
		s.printed = true
		if err := s.a.printf("\n%s\n", s.title); err != nil {
			return err
		}
	}
	err := s.a.printTable(append([][]string{s.head}, s.rows...))
	s.rows = s.rows[:0]
	return err
}

// buffered gives a command that prints many lines an output that is written in
// large pieces.
func (a *app) buffered(do func() error) error {
	out := a.out
	w := bufio.NewWriterSize(out, 1<<16)
	a.out = w
	defer func() { a.out = out }()
	err := do()
	if ferr := w.Flush(); ferr != nil {
		return errors.Join(err, fmt.Errorf("write the answer: %w", ferr))
	}
	return err
}

// field prints one line of a heading.
func (a *app) field(name, format string, args ...any) error {
	return a.printf("  %-14s%s\n", name, fmt.Sprintf(format, args...))
}

// plural is a number with its noun.
func plural[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
