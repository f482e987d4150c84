package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
)

func newStatus(a *app) *cobra.Command {
	var wait statusWait
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the cluster and its members",
		Long: `Show the cluster as its leader sees it. Any member may be asked.

The exit code is 0 when a majority of the voters is up, 1 when no member
answers, and 2 when the cluster cannot take writes, or is not what --wait asks
for in time.

LAG is how many log entries a member is behind, CONTACT the time since the leader
heard of it, and NOTE what the member waits for. VERSION is that of the program
that a member said it runs. The feature level is what the members may write; it
rises by itself when all of them know more (after an upgrade of the last one).

With -w json:
  {"header":{..},"healthy":true,"leader":"1","failure_tolerance":1,
   "last_index":N,"commit_index":N,"feature_level":N,
   "members":[{"id":"..","name":"..","phase":"voter","leader":true,"active":true,
     "peer_urls":[..],"client_urls":[..],"match_index":N,"applied_index":N,
     "last_contact_ms":N,"reason":"","read_replica":false,
     "version":".."}]}
The phase is reserved, seeding, learner, voter or unstarted; last_contact_ms is -1
for a member that was never heard of.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := wait.check(); err != nil {
				return err
			}
			if wait.asked() {
				s, err := wait.await(cmd.Context(), a.clusterStatus)
				if s != nil {
					err = errors.Join(a.printStatus(s), err)
				}
				return err
			}
			s, err := a.clusterStatus(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.printStatus(s); err != nil {
				return err
			}
			if !s.Healthy {
				return &exitError{code: exitUnhealthy}
			}
			return nil
		},
	}
	wait.flags(cmd.Flags())
	return cmd
}

func (a *app) clusterStatus(ctx context.Context) (*chainfire.ClusterStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if err := a.reachable(ctx); err != nil {
		return nil, err
	}
	c, err := a.ownClient()
	if err != nil {
		return nil, err
	}
	s, err := c.Status(ctx)
	if err != nil {
		hint := ""
		if silent(err) {
			hint = "; a member that is still being seeded does not answer"
		}
		return nil, errors.Join(fmt.Errorf("ask for the cluster's status: %w%s", err, hint), c.Close())
	}
	if err := c.Close(); err != nil {
		return nil, fmt.Errorf("close the connection: %w", err)
	}
	return s, nil
}

// silent reports whether members did not answer, rather than refuse to.
func silent(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Unknown, codes.Unimplemented:
		return true
	}
	return false
}

type jsonStatus struct {
	Header           jsonHeader         `json:"header"`
	Healthy          bool               `json:"healthy"`
	Leader           string             `json:"leader"`
	FailureTolerance int                `json:"failure_tolerance"`
	LastIndex        uint64             `json:"last_index"`
	CommitIndex      uint64             `json:"commit_index"`
	FeatureLevel     uint64             `json:"feature_level"`
	Members          []jsonMemberStatus `json:"members"`
}

type jsonMemberStatus struct {
	ID                string   `json:"id"`
	Name              string   `json:"name"`
	Phase             string   `json:"phase"`
	Leader            bool     `json:"leader"`
	Active            bool     `json:"active"`
	PeerURLs          []string `json:"peer_urls"`
	ClientURLs        []string `json:"client_urls"`
	MatchIndex        uint64   `json:"match_index"`
	AppliedIndex      uint64   `json:"applied_index"`
	LastContactMillis int64    `json:"last_contact_ms"`
	Reason            string   `json:"reason"`
	ReadReplica       bool     `json:"read_replica"`
	Version           string   `json:"version"`
}

func newJSONStatus(s *chainfire.ClusterStatus) jsonStatus {
	out := jsonStatus{
		Header: jsonHeader{
			ClusterID: clusterID(s.Header.ClusterID), MemberID: memberID(s.Header.MemberID),
			Revision: s.Header.Revision, RaftTerm: s.Header.RaftTerm,
		},
		Healthy: s.Healthy, Leader: memberID(s.Leader), FailureTolerance: s.FailureTolerance,
		LastIndex: s.LastIndex, CommitIndex: s.CommitIndex, FeatureLevel: s.FeatureLevel, Members: []jsonMemberStatus{},
	}
	for _, m := range s.Members {
		out.Members = append(out.Members, jsonMemberStatus{
			ID: memberID(m.ID), Name: m.Name, Phase: string(m.Phase), Leader: m.Leader, Active: m.Active,
			PeerURLs: orEmpty(m.PeerURLs), ClientURLs: orEmpty(m.ClientURLs), MatchIndex: m.MatchIndex, AppliedIndex: m.AppliedIndex,
			LastContactMillis: m.LastContactMillis, Reason: m.Reason, ReadReplica: m.ReadReplica, Version: m.Version,
		})
	}
	return out
}

func (a *app) printStatus(s *chainfire.ClusterStatus) error {
	if a.format == formatJSON {
		return a.printJSON(newJSONStatus(s))
	}
	if err := a.printf("cluster %s: %s\n\n", clusterID(s.Header.ClusterID), summary(s)); err != nil {
		return err
	}
	rows := [][]string{{"ID", "NAME", "ROLE", "VERSION", "UP", "LAG", "CONTACT", "CLIENT ADDRESS", "PEER ADDRESS", "NOTE"}}
	for i := range s.Members {
		m := &s.Members[i]
		role := string(m.Phase)
		switch {
		case m.Leader:
			role = "leader"
		case m.ReadReplica && m.Phase == chainfire.PhaseLearner:
			role = roleReplica
		}
		rows = append(rows, []string{
			memberID(m.ID), orDash(m.Name), role, orDash(m.Version), upDown(s, m), lag(s, m), contact(m),
			orDash(strings.Join(m.ClientURLs, ",")), orDash(strings.Join(m.PeerURLs, ",")), orDash(m.Reason),
		})
	}
	return a.printTable(rows)
}

// summary says in one line how the cluster is.
func summary(s *chainfire.ClusterStatus) string {
	switch {
	case s.Leader == 0:
		return fmt.Sprintf("no leader; this is what member %s knows by itself", memberID(s.Header.MemberID))
	case s.Header.MemberID != s.Leader:
		return fmt.Sprintf("member %s cannot reach the leader %s; this is what it knows by itself",
			memberID(s.Header.MemberID), memberID(s.Leader))
	case !s.Healthy:
		return fmt.Sprintf("not healthy: leader %s does not hear a majority of the voters", memberID(s.Leader))
	}
	more := fmt.Sprintf("%d more voters may fail", s.FailureTolerance)
	switch s.FailureTolerance {
	case 0:
		more = "no further voter may fail"
	case 1:
		more = "1 more voter may fail"
	}
	level := ""
	if s.FeatureLevel != 0 { // a leader of an older version does not tell it
		level = fmt.Sprintf("feature level %d, ", s.FeatureLevel)
	}
	return fmt.Sprintf("healthy, leader %s, term %d, revision %d, %s%s",
		memberID(s.Leader), s.Header.RaftTerm, s.Header.Revision, level, more)
}

// upDown is what the leader knows of a member; another member knows only itself.
func upDown(s *chainfire.ClusterStatus, m *chainfire.MemberStatus) string {
	switch {
	case !inService(m):
		return "-"
	case m.Active:
		return "yes"
	case s.Leader == 0:
		return "-"
	}
	return "no"
}

// inService reports whether the member has been started and seeded: before that,
// whether it is heard of says nothing.
func inService(m *chainfire.MemberStatus) bool {
	return m.Phase == chainfire.PhaseVoter || m.Phase == chainfire.PhaseLearner
}

func lag(s *chainfire.ClusterStatus, m *chainfire.MemberStatus) string {
	if m.MatchIndex == 0 {
		return "-"
	}
	return strconv.FormatUint(s.LastIndex-min(s.LastIndex, m.MatchIndex), 10)
}

func contact(m *chainfire.MemberStatus) string {
	if m.LastContactMillis < 0 || !inService(m) {
		return "-"
	}
	return (time.Duration(m.LastContactMillis) * time.Millisecond).String()
}
