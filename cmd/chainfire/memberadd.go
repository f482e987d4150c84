package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"chainfire/api"
	"chainfire/client"
)

func newMemberAdd(a *app) *cobra.Command {
	q := &api.AddMemberRequest{}
	cmd := &cobra.Command{
		Use:   "add PEER_ADDRESS",
		Short: "Keep a place for a member, before it is started",
		Long: `Keep a place for a member that runs nowhere yet, by the address, HOST:PORT, at which
the others will reach it. The answer says what to start there. It is a learner, which
counts in no majority, until it has caught up and 'chainfire member promote' makes it
a voter; one that is not to come is taken out with 'chainfire member remove'.

With --voter it counts at once, also while it is down. That is refused where the
voters that are up would be no majority with it.

'chainfire serve --join' needs none of this: it adds its member by itself, when
that member is ready.

With -w json: {"header":{..},"member":{..},"members":[..],"command":".."}, members as
those of 'member list', and command what to start.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.PeerUrls = args
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.AddMember(ctx, q)
				if err != nil {
					return fmt.Errorf("add a member at %s: %w", args[0], err)
				}
				return a.printAdded(ctx, r)
			})
		},
	}
	cmd.Flags().StringVar(&q.Name, "name", "", "its name, unique in the cluster")
	cmd.Flags().StringSliceVar(&q.ClientUrls, "client", nil, "address at which clients will reach it, HOST:PORT")
	cmd.Flags().BoolVar(&q.Voter, "voter", false, "as a voter, which counts at once; else as a learner")
	return cmd
}

func (a *app) printAdded(ctx context.Context, r *api.AddMemberResponse) error {
	header, members := etcdHeader(r.GetHeader()), etcdMembers(r.GetMembers())
	if a.format == formatJSON {
		// It is added: a cluster that cannot tell more now is no failure of that.
		replicas, err := a.readReplicas(ctx)
		if err != nil {
			replicas = nil
		}
		return a.printJSON(struct {
			jsonMembers
			Member  jsonMember `json:"member"`
			Command string     `json:"command"`
		}{newJSONMembers(header, members, replicas), newJSONClusterMember(etcdMember(r.GetMember()), replicas), r.GetCommand()})
	}
	return a.printMemberChange(ctx, header, members, fmt.Sprintf(
		"a place is kept for member %s; where it is to be, with an empty data folder, run\n\n  %s", called(r.GetMember()), r.GetCommand()))
}
