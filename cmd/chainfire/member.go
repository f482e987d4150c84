package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func newMember(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Who is in the cluster: list, add, promote, remove, replace",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMemberList(a), newMemberAdd(a), newMemberPromote(a), newMemberRemove(a), newMemberReplace(a))
	return cmd
}

func newMemberList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the members",
		Long: `List the members. 'chainfire status' shows how they are.

With -w json: {"header":{..},"members":[{"id":"..","name":"..","role":"voter",
"peer_urls":[..],"client_urls":[..]}]}, the role being voter, learner or read-replica.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd.Context(), func(ctx context.Context, c *clientv3.Client) error {
				r, err := c.MemberList(ctx)
				if err != nil {
					return fmt.Errorf("list the members: %w", err)
				}
				replicas, err := a.readReplicas(ctx)
				if err != nil {
					return err
				}
				return a.printMembers(r.Header, r.Members, replicas)
			})
		},
	}
}

// readReplicas are the ids of the members that stay learners, of which etcd's list
// knows nothing.
func (a *app) readReplicas(ctx context.Context) (map[uint64]bool, error) {
	s, err := a.clusterStatus(ctx)
	if err != nil {
		return nil, err
	}
	out := map[uint64]bool{}
	for i := range s.Members {
		if s.Members[i].ReadReplica {
			out[s.Members[i].ID] = true
		}
	}
	return out, nil
}

func newMemberPromote(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "promote ID|NAME",
		Short: "Make a learner a voter, by hand",
		Long: `Make a learner that has caught up a voter, also where that makes the number of
voters even. Members that came by 'serve --join' become voters by themselves as
soon as their number is odd.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withMember(cmd.Context(), args[0], func(ctx context.Context, c *clientv3.Client, id uint64) error {
				r, err := c.MemberPromote(ctx, id)
				if err != nil {
					return fmt.Errorf("promote member %s: %w", memberID(id), err)
				}
				return a.printMemberChange(ctx, r.Header, r.Members, fmt.Sprintf("member %s is a voter", memberID(id)))
			})
		},
	}
}

// withMember runs a request on the member that is named by its id or name.
func (a *app) withMember(ctx context.Context, who string, do func(context.Context, *clientv3.Client, uint64) error) error {
	return a.withClient(ctx, func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.MemberList(ctx)
		if err != nil {
			return fmt.Errorf("list the members: %w", err)
		}
		id, err := findMember(r.Members, who)
		if err != nil {
			return err
		}
		return do(ctx, c, id)
	})
}

// findMember finds a member by name, or by id: in decimal as this command prints
// it, or in hexadecimal after 0x.
func findMember(members []*etcdserverpb.Member, who string) (uint64, error) {
	var called []string
	var named uint64
	for _, m := range members {
		if who != "" && m.GetName() == who {
			named = m.GetID()
			called = append(called, memberID(named))
		}
	}
	switch len(called) {
	case 0:
	case 1:
		return named, nil
	default: // one takes the place of the other
		return 0, fmt.Errorf("the members %s are called %q; name one by its id", strings.Join(called, " and "), who)
	}
	if id, err := strconv.ParseUint(who, 0, 64); err == nil && id != 0 {
		return id, nil // also one that is no member: the cluster says what became of it
	}
	var names []string
	for _, m := range members {
		names = append(names, fmt.Sprintf("%s (%s)", memberID(m.GetID()), m.GetName()))
	}
	return 0, fmt.Errorf("no member is called %q; there are %s", who, strings.Join(names, ", "))
}

// jsonMember is a member as -w json prints it.
type jsonMember struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Role       string   `json:"role"`
	PeerURLs   []string `json:"peer_urls"`
	ClientURLs []string `json:"client_urls"`
}

const roleReplica = "read-replica"

func role(m *etcdserverpb.Member, replicas map[uint64]bool) string {
	switch {
	case replicas[m.GetID()]:
		return roleReplica
	case m.GetIsLearner():
		return "learner"
	}
	return "voter"
}

type jsonMembers struct {
	Header  *jsonHeader  `json:"header"`
	Members []jsonMember `json:"members"`
}

func newJSONMembers(h *etcdserverpb.ResponseHeader, members []*etcdserverpb.Member, replicas map[uint64]bool) jsonMembers {
	out := jsonMembers{Header: newJSONHeader(h), Members: []jsonMember{}}
	for _, m := range members {
		out.Members = append(out.Members, newJSONClusterMember(m, replicas))
	}
	return out
}

func newJSONClusterMember(m *etcdserverpb.Member, replicas map[uint64]bool) jsonMember {
	return jsonMember{
		ID: memberID(m.GetID()), Name: m.GetName(), Role: role(m, replicas),
		PeerURLs: orEmpty(m.GetPeerURLs()), ClientURLs: orEmpty(m.GetClientURLs()),
	}
}

func (a *app) printMembers(h *etcdserverpb.ResponseHeader, members []*etcdserverpb.Member, replicas map[uint64]bool) error {
	if a.format == formatJSON {
		return a.printJSON(newJSONMembers(h, members, replicas))
	}
	rows := [][]string{{"ID", "NAME", "ROLE", "PEER ADDRESS", "CLIENT ADDRESS"}}
	for _, m := range members {
		rows = append(rows, []string{
			memberID(m.GetID()), orDash(m.GetName()), role(m, replicas),
			orDash(strings.Join(m.GetPeerURLs(), ",")), orDash(strings.Join(m.GetClientURLs(), ",")),
		})
	}
	return a.printTable(rows)
}

func (a *app) printMemberChange(ctx context.Context, h *etcdserverpb.ResponseHeader, members []*etcdserverpb.Member, what string) error {
	if a.format != formatJSON {
		if err := a.printf("%s\n\n", what); err != nil {
			return err
		}
	}
	// The change is made: a cluster that cannot tell more now is no failure of it.
	replicas, err := a.readReplicas(ctx)
	if err != nil {
		replicas = nil
	}
	return a.printMembers(h, members, replicas)
}
