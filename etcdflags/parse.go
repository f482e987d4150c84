package etcdflags

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Action is what a command line asks for.
type Action int

// The actions.
const (
	Serve Action = iota
	ShowHelp
	ShowVersion
)

// Input is what a command line is read from.
type Input struct {
	// Args come after the name of the program.
	Args []string
	// Environ is the environment, NAME=VALUE.
	Environ []string
	// ReadFile reads the file of the configuration, whole.
	ReadFile func(path string) ([]byte, error)
}

// Note is something to tell in the log, once there is one.
type Note struct {
	// Warn says that the user should see to it.
	Warn bool
	Text string
	// Flag is the flag or the variable that it is about, Why says more; both may be empty.
	Flag, Why string
}

// UsageError is a command line that package flag does not take: etcd shows how it is used
// then, and ends with code 2, as with any other error with 1.
type UsageError struct{ err error }

// Error implements error.
func (e *UsageError) Error() string { return e.err.Error() }

// Unwrap gives the reason.
func (e *UsageError) Unwrap() error { return e.err }

// Parse reads a command line, in etcd's order: the flags, then the environment, or the
// file alone where one is given. The configuration is checked. It is there also with an
// error, as far as it came, so that the error can be logged as it says.
func Parse(in Input) (*Config, Action, []Note, error) {
	c := Defaults()
	fs := newFlagSet(c)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	switch err := fs.Parse(in.Args); {
	case errors.Is(err, flag.ErrHelp):
		return c, ShowHelp, nil, nil
	case err != nil:
		return c, Serve, nil, &UsageError{err}
	case fs.NArg() > 0:
		return c, Serve, nil, fmt.Errorf("%q is not a flag: a command line of etcd has flags alone", fs.Arg(0))
	case c.showVersion:
		return c, ShowVersion, nil, nil
	}
	env := environment(in.Environ)
	path := c.configFile
	if path == "" {
		path = env[variable("config-file")]
	}
	if path != "" {
		return fromFile(path, in.ReadFile)
	}
	notes, err := fromEnvironment(fs, in.Environ)
	if err != nil {
		return c, Serve, notes, err
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if given["listen-client-urls"] && !given["advertise-client-urls"] {
		c.AdvertiseClient = nil
	}
	if c.discovers() && !given["initial-cluster"] {
		c.InitialCluster = ""
	}
	if c.fallback == "proxy" {
		return c, Serve, notes, errors.New("--discovery-fallback proxy: there is no proxy any more, as there is none in etcd; leave the flag away")
	}
	if err := c.check(); err != nil {
		return c, Serve, notes, err
	}
	return c, Serve, append(notes, c.ignored(given)...), nil
}

// discovers reports whether members are to find each other by themselves.
func (c *Config) discovers() bool {
	return c.DiscoverySRV != "" || c.DiscoverySRVName != "" || len(c.Discovery.Endpoints) > 0
}

// variable is the environment variable of a flag.
func variable(name string) string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func environment(environ []string) map[string]string {
	out := map[string]string{}
	for _, e := range environ {
		if name, text, ok := strings.Cut(e, "="); ok {
			out[name] = text
		}
	}
	return out
}

// fromEnvironment sets the flags that have a variable and were not given. A variable that
// says something else than a flag that was given is an error: which of them is meant?
func fromEnvironment(fs *flag.FlagSet, environ []string) ([]Note, error) {
	given, used := map[string]bool{}, map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[variable(f.Name)] = true })
	env := environment(environ)
	var notes []Note
	var bad error
	fs.VisitAll(func(f *flag.Flag) {
		v := variable(f.Name)
		text := env[v]
		if given[v] {
			return
		}
		used[v] = true
		if text == "" {
			return
		}
		if err := fs.Set(f.Name, text); err != nil {
			bad = fmt.Errorf("%s=%q, for --%s: %w", v, text, f.Name, err)
			return
		}
		notes = append(notes, Note{Text: "recognized and used environment variable", Flag: v})
	})
	if bad != nil {
		return notes, bad
	}
	for _, e := range environ {
		v, _, _ := strings.Cut(e, "=")
		switch {
		case used[v] || !strings.HasPrefix(v, "ETCD_"):
		case given[v]:
			return notes, fmt.Errorf("%s is in the environment, and --%s on the command line: take one of them away",
				v, strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(v, "ETCD_"), "_", "-")))
		default:
			notes = append(notes, Note{Warn: true, Text: "unrecognized environment variable", Flag: v})
		}
	}
	return notes, nil
}

// ignored tells of what was given and has no effect here. given names the flags; nil is
// a file, where what differs from the default was.
func (c *Config) ignored(given map[string]bool) []Note {
	var out []Note
	def := Defaults()
	for _, f := range Flags() {
		if f.Does != Ignored {
			continue
		}
		if f.kind == "" && given[f.Name] || f.valueIn(c) != f.valueIn(def) {
			out = append(out, Note{Warn: true, Text: "a flag has no effect here", Flag: "--" + f.Name, Why: plain(f.Note)})
		}
	}
	return out
}

// refused is the first flag that was given another value than its default and cannot be
// had here.
func (c *Config) refused() error {
	def := Defaults()
	for _, f := range Flags() {
		if f.Does == Refused && f.valueIn(c) != f.valueIn(def) {
			return fmt.Errorf("--%s is not supported: %s", f.Name, plain(f.Note))
		}
	}
	return nil
}

// plain is a note of the table without the marks that a page needs.
func plain(note string) string { return strings.ReplaceAll(note, "`", "") }
