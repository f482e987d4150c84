package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chainfire"
	"chainfire/api"
	"chainfire/client"
	"chainfire/join"
)

func newMemberReplace(a *app) *cobra.Command {
	var by string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "replace ID|NAME",
		Short: "Let a learner that stands by take the place of a voter, now",
		Long: `Let a learner that has caught up take the place of a voter, in one step: the
number of voters stays as it is. The voter is removed for good, whether it is up or
not; it must not lead.

Where no learner is fit, also after --wait, nothing changes: the command prints the line that starts a
new machine in that voter's place, and ends with exit code 1.

With -w json: {"header":{..},"replaced":{..},"by":{..},"members":[..]}; where no
learner is fit by is null, reason says why, and command is that line.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.replaceMember(cmd.Context(), args[0], by, wait)
			if err != nil {
				return fmt.Errorf("replace member %s: %w", args[0], err)
			}
			if r.GetBy() == nil {
				return a.adviseNewcomer(cmd.Context(), r)
			}
			return a.printReplaced(cmd.Context(), r, "")
		},
	}
	cmd.Flags().StringVar(&by, "by", "", "the learner that takes its place, ID or NAME (default: any that is fit)")
	cmd.Flags().DurationVar(&wait, "wait", 0, "for how long to wait for a learner that catches up")
	return cmd
}

// replaceLook is how often a learner is asked for that is fit.
const replaceLook = 250 * time.Millisecond

// replaceMember asks until a learner is fit, or the time is over.
func (a *app) replaceMember(ctx context.Context, who, by string, wait time.Duration) (r *api.ReplaceMemberResponse, err error) {
	for end := time.Now().Add(wait); ; {
		err = a.withCluster(ctx, func(ctx context.Context, c *client.Client) (err error) {
			r, err = c.ReplaceMember(ctx, who, by)
			return err
		})
		if err != nil || r.GetBy() != nil || time.Until(end) <= 0 {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(min(replaceLook, time.Until(end))):
		}
	}
}

func (a *app) printReplaced(ctx context.Context, r *api.ReplaceMemberResponse, command string) error {
	header, members := etcdHeader(r.GetHeader()), etcdMembers(r.GetMembers())
	if a.format == formatJSON {
		// A cluster that cannot tell more now is no failure of the exchange.
		replicas, err := a.readReplicas(ctx)
		if err != nil {
			replicas = nil
		}
		out := struct {
			jsonMembers
			Replaced jsonMember  `json:"replaced"`
			By       *jsonMember `json:"by"`
			Reason   string      `json:"reason,omitempty"`
			Command  string      `json:"command,omitempty"`
		}{newJSONMembers(header, members, replicas), newJSONClusterMember(etcdMember(r.GetReplaced()), replicas), nil, r.GetReason(), command}
		if r.GetBy() != nil {
			m := newJSONClusterMember(etcdMember(r.GetBy()), replicas)
			out.By = &m
		}
		return a.printJSON(out)
	}
	if r.GetBy() == nil {
		host := ""
		if strings.Contains(command, "HOST:") {
			host = ", HOST being its address,"
		}
		return a.printf("%s; nothing was changed. On a machine with an empty data folder run%s\n\n  %s\n\n", r.GetReason(), host, command)
	}
	return a.printMemberChange(ctx, header, members, fmt.Sprintf("member %s votes in place of %s, which is removed", called(r.GetBy()), called(r.GetReplaced())))
}

// adviseNewcomer says which command replaces a member by a new machine.
func (a *app) adviseNewcomer(ctx context.Context, r *api.ReplaceMemberResponse) error {
	s, err := a.clusterStatus(ctx)
	if err != nil {
		return err
	}
	line, err := a.newcomerLine(s, r.GetReplaced())
	if err != nil {
		return err
	}
	if err := a.printReplaced(ctx, r, line); err != nil {
		return err
	}
	return &exitError{code: exitFailure, err: fmt.Errorf("member %s was not replaced: %s", called(r.GetReplaced()), r.GetReason())}
}

// newcomerLine is the command that starts a member in place of another.
func (a *app) newcomerLine(s *chainfire.ClusterStatus, old *api.Member) (string, error) {
	n := nextMember{
		program: a.program, client: hostPort(a.endpoints[0]), secure: a.trust.secure, clientArgs: a.trust.args(), dataDir: "./chainfire-data",
		free: portIsFree, exists: pathExists, replace: memberID(old.GetId()),
	}
	names := 0
	for i := range s.Members {
		if s.Members[i].Name == old.GetName() {
			names++
		}
	}
	if old.GetName() != "" && names == 1 {
		n.replace = old.GetName()
	}
	var at []string
	for i := range s.Members {
		m := &s.Members[i]
		if m.ID == old.GetId() || !m.Active || len(m.PeerURLs) == 0 {
			continue
		}
		addr, err := join.HostPort(m.PeerURLs[0])
		if err != nil {
			return "", fmt.Errorf("the peer address of member %s: %w", memberID(m.ID), err)
		}
		at = append(at, addr)
		n.plain = strings.HasPrefix(m.PeerURLs[0], join.SchemePlain+"://")
	}
	if len(at) == 0 {
		return "", errors.New("no other member is heard of; see 'chainfire status'")
	}
	n.peer, n.join = at[0], strings.Join(at, ",")
	if host, _, err := net.SplitHostPort(at[0]); err == nil && !isLoopback(host) {
		n.elsewhere = true
	}
	return n.line(), nil
}
