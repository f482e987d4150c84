package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"chainfire/api"
	"chainfire/client"
)

func newToken(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Join tokens, which let new members in: create, list, revoke",
		Long: `A join token lets a new member in, and tells it which cluster is the right one: it
has the form cf1.HASH.SECRET, the hash being that of the cluster's authority.

The first member of a cluster leaves one without an end in DATA_DIR/join-token. Who
has a token, and reaches the peer port of a member, can become a member: hand it
over as you would a password.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreate(a), newTokenList(a), newTokenRevoke(a))
	return cmd
}

// withCluster runs a request on ChainFire's own service.
func (a *app) withCluster(ctx context.Context, do func(context.Context, *client.Client) error) (err error) {
	c, err := a.ownClient()
	if err != nil {
		return err
	}
	defer func() {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return do(ctx, c)
}

// jsonToken is a token as -w json prints it.
type jsonToken struct {
	ID      string     `json:"id"`
	Token   string     `json:"token,omitempty"`
	Expires *time.Time `json:"expires"`
	Uses    uint64     `json:"uses"`
}

func newJSONToken(t *api.Token, text string) jsonToken {
	out := jsonToken{ID: strconv.FormatUint(t.GetId(), 10), Token: text, Uses: t.GetUses()}
	if t.GetExpires() != 0 {
		end := time.Unix(t.GetExpires(), 0).UTC()
		out.Expires = &end
	}
	return out
}

func newTokenCreate(a *app) *cobra.Command {
	var ttl time.Duration
	var uses uint64
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a join token and print it",
		Long: `Make a join token and print it. It is shown this once: the cluster keeps a hash.

  chainfire serve --join HOST --token "$(chainfire token create --uses 1 --ttl 1h)"

With -w json: {"id":"..","token":"..","expires":"..","uses":N}, expires being null and
uses 0 where there is no such limit.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ttl < 0 || ttl > 0 && ttl < time.Second {
				return fmt.Errorf("--ttl %v: give at least 1s, or 0 for no end", ttl)
			}
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				t, err := c.CreateToken(ctx, ttl, uses)
				if err != nil {
					return fmt.Errorf("create a join token: %w", err)
				}
				if a.format == formatJSON {
					return a.printJSON(newJSONToken(t.GetToken(), t.GetText()))
				}
				return a.printf("%s\n", t.GetText())
			})
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "for how long it lets members in; 0 is without an end")
	cmd.Flags().Uint64Var(&uses, "uses", 0, "how many members it lets in; 0 is any number")
	return cmd
}

func newTokenList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the join tokens that are still good",
		Long: `List the join tokens that are still good, without their secrets.

With -w json: {"tokens":[{"id":"..","expires":"..","uses":N}]}.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				tokens, err := c.Tokens(ctx)
				if err != nil {
					return fmt.Errorf("list the join tokens: %w", err)
				}
				if a.format == formatJSON {
					out := struct {
						Tokens []jsonToken `json:"tokens"`
					}{Tokens: []jsonToken{}}
					for _, t := range tokens {
						out.Tokens = append(out.Tokens, newJSONToken(t, ""))
					}
					return a.printJSON(out)
				}
				rows := [][]string{{"ID", "ENDS", "USES LEFT"}}
				for _, t := range tokens {
					end, uses := "never", "any number"
					if t.GetExpires() != 0 {
						end = time.Unix(t.GetExpires(), 0).UTC().Format(time.RFC3339)
					}
					if t.GetUses() != 0 {
						uses = strconv.FormatUint(t.GetUses(), 10)
					}
					rows = append(rows, []string{strconv.FormatUint(t.GetId(), 10), end, uses})
				}
				return a.printTable(rows)
			})
		},
	}
}

func newTokenRevoke(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Make a join token useless",
		Long: `Make a join token useless, by the id that 'chainfire token list' shows. Members that
came with it stay what they are.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || id == 0 {
				return fmt.Errorf("token id %q: give a number that 'chainfire token list' shows", args[0])
			}
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if err := c.RevokeToken(ctx, id); err != nil {
					return fmt.Errorf("revoke join token %d: %w", id, err)
				}
				if a.format == formatJSON {
					return a.printJSON(struct {
						Revoked string `json:"revoked"`
					}{args[0]})
				}
				return a.printf("join token %d revoked\n", id)
			})
		},
	}
}
