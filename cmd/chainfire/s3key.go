package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"chainfire/api"
	"chainfire/client"
)

func newS3Key(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Access keys of S3: create, list, set, disable, enable, delete",
		Long: `An access key is an id and a secret, with which requests of S3 are signed. It may do
everything, or read or write the buckets that it names, and is bounded in how much
it may ask for.

The first member of a cluster leaves one that may do everything in
DATA_DIR/s3-root-key, unless it is given one in AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newS3KeyCreate(a), newS3KeyList(a), newS3KeySet(a), newS3KeyTurn(a, false), newS3KeyTurn(a, true), newS3KeyDelete(a),
	)
	return cmd
}

func newS3KeyList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the access keys",
		Long: `List the access keys, without their secrets. BUCKETS has the patterns, each with r
where it may be read, w where it may be written.

With -w json: {"keys":[{"id":"..","description":"..","created":"..","disabled":false,
"admin":false,"grants":[{"bucket":"..","read":true,"write":true}],"requests":N,"bytes":N,
"max_object":N}]}, 0 being no bound.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				keys, err := c.S3Keys(ctx)
				if err != nil {
					return fmt.Errorf("list the access keys: %w", err)
				}
				if a.format == formatJSON {
					out := struct {
						Keys []jsonS3Key `json:"keys"`
					}{Keys: []jsonS3Key{}}
					for _, k := range keys {
						out.Keys = append(out.Keys, newJSONS3Key(k))
					}
					return a.printJSON(out)
				}
				rows := [][]string{{"ID", "STATE", "BUCKETS", "LIMITS", "CREATED", "DESCRIPTION"}}
				for _, k := range keys {
					rows = append(rows, s3KeyRow(k))
				}
				return a.printTable(rows)
			})
		},
	}
}

// s3KeyRow is a key in a table.
func s3KeyRow(k *api.S3Key) []string {
	state := "enabled"
	if k.GetDisabled() {
		state = "disabled"
	}
	return []string{k.GetId(), state, s3Scope(k), s3Limits(k.GetLimits()), timeCell(unixTime(k.GetCreated())), orDash(k.GetDescription())}
}

// s3Scope says in a word what a key may do.
func s3Scope(k *api.S3Key) string {
	if k.GetAdmin() {
		return "admin"
	}
	var out []string
	for _, g := range k.GetGrants() {
		what := ""
		if g.GetRead() {
			what += "r"
		}
		if g.GetWrite() {
			what += "w"
		}
		out = append(out, g.GetBucket()+":"+what)
	}
	return orDash(strings.Join(out, ","))
}

func s3Limits(l *api.S3Limits) string {
	var out []string
	if n := l.GetRequests(); n != 0 {
		out = append(out, strconv.FormatInt(n, 10)+" requests/s")
	}
	if n := size(l.GetBytes()); n != 0 {
		out = append(out, n.String()+"/s")
	}
	if n := size(l.GetMaxObject()); n != 0 {
		out = append(out, "objects to "+n.String())
	}
	return orDash(strings.Join(out, ", "))
}

// newS3KeyTurn makes the command that enables a key, or the one that disables it.
func newS3KeyTurn(a *app, disable bool) *cobra.Command {
	verb, short, long := "enable", "Take requests of a disabled access key again", "Take requests that are signed with a disabled access key again."
	if disable {
		verb, short = "disable", "Refuse all requests of an access key"
		long = `Refuse all requests that are signed with an access key, until it is enabled again: at
each member as soon as it has heard of it, which is a moment after the answer. Links
that were presigned with it are refused as well.`
	}
	return &cobra.Command{
		Use: verb + " ID", Short: short, Args: needArgs(1, 1),
		Long: long + "\n\nWith -w json: {\"key\":{..}}, as 'chainfire s3 key list' has it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.setS3Key(cmd.Context(), verb, &api.SetS3KeyRequest{Id: args[0], Disabled: &disable}, "access key "+args[0]+" "+verb+"d")
		},
	}
}

// setS3Key changes a key, and says what it is now.
func (a *app) setS3Key(ctx context.Context, verb string, q *api.SetS3KeyRequest, done string) error {
	return a.withCluster(ctx, func(ctx context.Context, c *client.Client) error {
		k, err := c.SetS3Key(ctx, q)
		if err != nil {
			return fmt.Errorf("%s access key %s: %w", verb, q.GetId(), err)
		}
		if a.format == formatJSON {
			return a.printJSON(struct {
				Key jsonS3Key `json:"key"`
			}{newJSONS3Key(k)})
		}
		return a.printf("%s\n", done)
	})
}

func newS3KeyDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "delete ID",
		Short: "Take an access key away for good",
		Long: `Take an access key away for good. Buckets that it made stay. To be able to take it
back, disable it first.

With -w json: {"deleted":"ID"}.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if err := c.DeleteS3Key(ctx, args[0]); err != nil {
					return fmt.Errorf("delete access key %s: %w", args[0], err)
				}
				return a.printDeleted("access key ", args[0])
			})
		},
	}
}

// printDeleted says that something is gone.
func (a *app) printDeleted(what, name string) error {
	if a.format == formatJSON {
		return a.printJSON(struct {
			Deleted string `json:"deleted"`
		}{name})
	}
	return a.printf("%s%s deleted\n", what, name)
}
