package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"chainfire/api"
	"chainfire/client"
)

func newMemberRemove(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove ID|NAME",
		Short: "Take a member out of the cluster for good",
		Long: `Take a member out of the cluster for good: its id never comes back. To come in
again it joins with an empty data directory.

It is refused where the voters that would be left have no majority that is up: the
error names those that are silent. Start them, or replace the member instead
('chainfire member replace', or 'chainfire serve --join .. --replace ..'). Learners
count in no majority and can always be removed.

--force removes it all the same. What it risks: until enough of the voters that are
left are up nothing can be written, read up to date, or changed, --force or not; and
if they never come back the cluster is lost but for what a snapshot of one member
holds. Nothing can be forced where a majority is silent already, for then there is no
leader to do it.

With -w json: {"header":{..},"removed":{..},"members":[..],"warning":".."}, members as
those of 'member list', and warning what a forced removal leads to.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.RemoveMember(ctx, args[0], force)
				if err != nil {
					return fmt.Errorf("remove member %s: %w", args[0], err)
				}
				return a.printRemoved(ctx, r)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also where no majority would be up: nothing can be written then until enough voters are")
	return cmd
}

func (a *app) printRemoved(ctx context.Context, r *api.RemoveMemberResponse) error {
	header, members := etcdHeader(r.GetHeader()), etcdMembers(r.GetMembers())
	// It is removed: a cluster that cannot tell more now is no failure of that.
	replicas, err := a.readReplicas(ctx)
	if err != nil {
		replicas = nil
	}
	if a.format == formatJSON {
		return a.printJSON(struct {
			jsonMembers
			Removed jsonMember `json:"removed"`
			Warning string     `json:"warning,omitempty"`
		}{newJSONMembers(header, members, replicas), newJSONClusterMember(etcdMember(r.GetRemoved()), replicas), r.GetWarning()})
	}
	if err := a.printf("member %s removed\n", called(r.GetRemoved())); err != nil {
		return err
	}
	if r.GetWarning() != "" {
		if err := a.printf("warning: %s\n", r.GetWarning()); err != nil {
			return err
		}
	}
	if err := a.printf("\n"); err != nil {
		return err
	}
	return a.printMembers(header, members, replicas)
}

// called is a member by its id and, if it has one, its name.
func called(m *api.Member) string {
	if m.GetName() == "" {
		return memberID(m.GetId())
	}
	return fmt.Sprintf("%s (%s)", memberID(m.GetId()), m.GetName())
}

func etcdHeader(h *api.Header) *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{
		ClusterId: h.GetClusterId(), MemberId: h.GetMemberId(), Revision: h.GetRevision(), RaftTerm: h.GetRaftTerm(),
	}
}

func etcdMember(m *api.Member) *etcdserverpb.Member {
	return &etcdserverpb.Member{
		ID: m.GetId(), Name: m.GetName(), PeerURLs: m.GetPeerUrls(), ClientURLs: m.GetClientUrls(), IsLearner: m.GetLearner(),
	}
}

func etcdMembers(members []*api.Member) []*etcdserverpb.Member {
	var out []*etcdserverpb.Member
	for _, m := range members {
		out = append(out, etcdMember(m))
	}
	return out
}
