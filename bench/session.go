package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// session is what every measuring command needs: which systems, where, and for
// how long at most.
type session struct {
	etcd, chainfire string
	only            []string
	dir             string
	json            string
	timeout         time.Duration

	// rivals are the systems that there are, in the order in which they take turns; nil is
	// etcd and ChainFire.
	rivals func() []system

	place    place
	machine  machine
	systems  []system
	versions map[string]string
}

func (s *session) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	if s.rivals == nil {
		f.StringVar(&s.etcd, "etcd", "bin/etcd", "the etcd binary")
	}
	f.StringVar(&s.chainfire, "chainfire", "bin/chainfire", "the ChainFire binary")
	f.StringSliceVar(&s.only, "only", nil, "measure only these systems, by name")
	f.StringVar(&s.dir, "dir", os.TempDir(), "folder on the disk to measure on; what is written there is removed again")
	f.StringVar(&s.json, "json", "", "also write the figures to this file")
	f.DurationVar(&s.timeout, "timeout", 30*time.Minute, "give up after this time")
}

// choose lists the systems to measure, in the order in which they take turns.
func (s *session) choose() error {
	all := []system{newEtcd(s.etcd), newChainFire(s.chainfire)}
	if s.rivals != nil {
		all = s.rivals()
	}
	var names []string
	for _, sys := range all {
		names = append(names, sys.name)
	}
	for _, name := range s.only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no system %q: use %s", name, strings.Join(names, " or "))
		}
	}
	s.systems = slices.DeleteFunc(all, func(sys system) bool {
		return len(s.only) > 0 && !slices.Contains(s.only, sys.name)
	})
	return nil
}

// within runs f with everything set up and takes it down again.
func (s *session) within(cmd *cobra.Command, f func(ctx context.Context) error) (err error) {
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), s.timeout,
		fmt.Errorf("not done after %v (--timeout)", s.timeout))
	defer cancel()
	if err := s.choose(); err != nil {
		return err
	}
	s.versions = map[string]string{}
	for _, sys := range s.systems {
		if s.versions[sys.name], err = sys.version(ctx); err != nil {
			return err
		}
	}
	if s.place, err = newPlace(s.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.place.remove()) }()
	if s.machine, err = describeMachine(s.place); err != nil {
		return err
	}
	if err := s.say(cmd, "%s\n%s", s.machine, s.versionLine()); err != nil {
		return err
	}
	return f(ctx)
}

func (s *session) versionLine() string {
	var parts []string
	for _, sys := range s.systems {
		parts = append(parts, fmt.Sprintf("%s: %s", sys.name, s.versions[sys.name]))
	}
	return strings.Join(parts, "; ")
}

// say prints a line of progress, apart from the figures.
func (s *session) say(cmd *cobra.Command, format string, args ...any) error {
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
	return err
}

// write puts a report into the file asked for with --json, if any.
func (s *session) write(report any) error {
	if s.json == "" {
		return nil
	}
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	return writeText(s.json, string(b)+"\n")
}

// writeText writes a file of a report, if one was asked for.
func writeText(name, text string) error {
	if name == "" {
		return nil
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// pause waits, or returns why the context ended.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
