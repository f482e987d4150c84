package main

import (
	"fmt"
	"strings"
	"time"

	"chainfire/node"
	"chainfire/raft"
)

// jsonSurvivor is a survivor as -w json prints it.
type jsonSurvivor struct {
	Dir           string          `json:"data_dir"`
	Cluster       string          `json:"cluster_id"`
	Member        string          `json:"member_id"`
	Name          string          `json:"name"`
	Role          string          `json:"role"`
	RecoveredFrom string          `json:"recovered_from,omitempty"`
	Term          uint64          `json:"term"`
	Last          uint64          `json:"last_index"`
	LastTerm      uint64          `json:"last_term"`
	Commit        uint64          `json:"commit"`
	Applied       uint64          `json:"applied"`
	Revision      int64           `json:"revision"`
	Compacted     int64           `json:"compacted"`
	Conf          *jsonConf       `json:"configuration"`
	Members       []jsonLogMember `json:"members"`
	Wrote         *time.Time      `json:"last_write"`
	Torn          bool            `json:"torn,omitempty"`
	Damage        []string        `json:"damage"`
}

func newJSONSurvivor(s *node.Survivor) jsonSurvivor {
	out := jsonSurvivor{
		Dir: s.Dir, Cluster: clusterID(s.Cluster), Member: memberID(s.Member), Name: s.Name, Role: s.Role(),
		Term: s.Term, Last: s.Last, LastTerm: s.LastTerm, Commit: s.Commit, Applied: s.Applied,
		Revision: s.Revision, Compacted: s.Compacted, Conf: newJSONConf(&s.Conf), Members: []jsonLogMember{},
		Torn: s.Torn, Damage: orEmpty(s.Faults),
	}
	if s.RecoveredFrom != 0 {
		out.RecoveredFrom = clusterID(s.RecoveredFrom)
	}
	for i := range s.Members {
		out.Members = append(out.Members, *newJSONMember(&s.Members[i]))
	}
	if !s.Wrote.IsZero() {
		at := s.Wrote.UTC()
		out.Wrote = &at
	}
	return out
}

// survivorText is a survivor for people.
func survivorText(s *node.Survivor) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-14s%s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "%s\n", s.Dir)
	if len(s.Faults) > 0 {
		for _, f := range s.Faults {
			line("DAMAGED", "%s", f)
		}
		return b.String()
	}
	line("cluster", "%s", clusterID(s.Cluster))
	if s.RecoveredFrom != 0 {
		line("recovered", "from cluster %s", clusterID(s.RecoveredFrom))
	}
	line("member", "%s (%s), %s", memberID(s.Member), s.Name, s.Role())
	line("last entry", "%d of term %d", s.Last, s.LastTerm)
	open := ""
	if s.Last > s.Commit {
		open = fmt.Sprintf("; %d more are not known to be", s.Last-s.Commit)
	}
	line("committed", "up to entry %d, as far as it knew%s", s.Commit, open)
	line("applied", "up to entry %d, at revision %d", s.Applied, s.Revision)
	line("term", "%d", s.Term)
	line("configuration", "%s", confText(&s.Conf))
	for i := range s.Members {
		m := &s.Members[i]
		line("", "%s (%s) %s", memberID(m.ID), m.Name, strings.Join(m.PeerURLs, ","))
	}
	if !s.Wrote.IsZero() {
		line("last write", "%s, by the times of its files", s.Wrote.UTC().Format(time.RFC3339))
	}
	if s.Torn {
		line("torn", "it ends in an unfinished write, which was never acknowledged")
	}
	return b.String()
}

func confText(c *raft.ConfState) string {
	list := func(what string, ids []uint64) string {
		if len(ids) == 0 {
			return ""
		}
		var names []string
		for _, id := range ids {
			names = append(names, memberID(id))
		}
		return what + " " + strings.Join(names, ", ")
	}
	var parts []string
	for _, p := range []string{
		list("voters", c.Voters), list("voters that leave", c.Outgoing), list("learners", c.Learners), list("learners to be", c.LearnersNext),
	} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "; ")
}

// newest is the survivor whose log ends last, nil where they cannot be compared:
// none is sound, or they are not of one cluster. even are others that end there too.
func newest(survivors []*node.Survivor) (best *node.Survivor, even []string) {
	for _, s := range survivors {
		switch {
		case len(s.Faults) > 0:
		case best == nil || s.Newer(best):
			if best != nil && s.Cluster != best.Cluster {
				return nil, nil
			}
			best, even = s, nil
		case s.Cluster != best.Cluster:
			return nil, nil
		case !best.Newer(s):
			even = append(even, s.Dir)
		}
	}
	return best, even
}

func (a *app) printSurvivors(survivors []*node.Survivor) error {
	best, even := newest(survivors)
	var end error
	for _, s := range survivors {
		if len(s.Faults) > 0 {
			end = &exitError{code: exitDamaged}
		}
	}
	if a.format == formatJSON {
		out := struct {
			Survivors []jsonSurvivor `json:"survivors"`
			Newest    string         `json:"newest,omitempty"`
			Even      []string       `json:"even,omitempty"`
		}{Survivors: []jsonSurvivor{}, Even: even}
		for _, s := range survivors {
			out.Survivors = append(out.Survivors, newJSONSurvivor(s))
		}
		if best != nil {
			out.Newest = best.Dir
		}
		if err := a.printJSON(out); err != nil {
			return err
		}
		return end
	}
	for i, s := range survivors {
		if i > 0 {
			if err := a.printf("\n"); err != nil {
				return err
			}
		}
		if err := a.printf("%s", survivorText(s)); err != nil {
			return err
		}
	}
	if len(survivors) < 2 {
		return end
	}
	said := "\nThey cannot be compared: they are of different clusters, or all of them are damaged.\n"
	if best != nil {
		said = fmt.Sprintf("\nnewest: %s, whose log ends with entry %d of term %d\n", best.Dir, best.Last, best.LastTerm)
		if len(even) > 0 {
			said += fmt.Sprintf("as new:  %s\n", strings.Join(even, ", "))
		}
	}
	if err := a.printf("%s", said); err != nil {
		return err
	}
	return end
}
