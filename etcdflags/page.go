package etcdflags

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Help is what --help shows.
func Help() string {
	var b strings.Builder
	b.WriteString(`Usage:

  etcd [flags]
    Start a member with etcd's command line.

  etcd --version
    Print the version of etcd that is offered, and that of this program.

  etcd -h | --help
    Print this.

  etcd --config-file FILE
    Take everything from a file in YAML. Flags and environment variables do not count
    then. Times are whole numbers of nanoseconds in it.

Each flag has an environment variable: ETCD_ and its name in capitals, with _ for -.
`)
	group := ""
	for _, f := range Flags() {
		if f.Group == groupGone {
			break
		}
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "\n%s:\n", group)
		}
		fmt.Fprintf(&b, "  --%s '%s'\n    %s", f.Name, f.Default(), sentence(plain(f.Help)))
		if f.Note != "" {
			fmt.Fprintf(&b, " %s", sentence(label(f)+plain(f.Note)))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func label(f Flag) string {
	switch f.Does {
	case Ignored:
		return "Has no effect: "
	case Refused:
		return "Not supported: "
	}
	return ""
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// Page is docs/reference/etcd-flags.md.
func Page() string {
	var b strings.Builder
	b.WriteString(`# The flags of etcd 3.7.3

What each flag of etcd comes to when this program is started as ` + "`etcd`" + ` ([drop-in.md](../operate/drop-in.md)). Each has
the environment variable ` + "`ETCD_NAME_OF_THE_FLAG`" + `, and a field of the same name in the file of ` + "`--config-file`" + ` where
etcd has one. This page is a print of the table that the program itself uses: ` + "`go generate ./etcdflags`" + ` makes it.

- **same**: as in etcd.
- **different**: as in etcd, but for what is said.
- **ignored**: taken, checked, and without effect; given another value than its default it is told of in the log.
- **refused**: the program does not start with another value than the default.
- **own**: not etcd's, but for what this program has beside it.
`)
	group := ""
	for _, f := range Flags() {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "\n## %s\n\n| flag | value | default | for | here |\n|---|---|---|---|---|\n", group)
		}
		def := ""
		if d := f.Default(); d != "" {
			def = "`" + d + "`"
		}
		does := "**" + string(f.Does) + "**"
		if f.Note != "" {
			does += ": " + f.Note
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s | %s | %s |\n", f.Name, cmp.Or(f.Kind(), "none"), def, f.Help, does)
	}
	fmt.Fprintf(&b, "\n## Feature gates\n\nThese names are known: `%s`.\nAnother one is an error, as in etcd.\n", strings.Join(KnownGates(), "`, `"))
	gone := slices.DeleteFunc(Flags(), func(f Flag) bool { return f.Does != Refused })
	fmt.Fprintf(&b, "\n## What etcd 3.7 has no more\n\nFlags of etcd 3.6 and before that etcd 3.7 does not know (`--discovery`, `--enable-v2`, `--experimental-..`) are not\nknown here: the command line is shown, and the exit code is 2. %d flags are refused.\n", len(gone))
	return b.String()
}
