package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"chainfire"
)

func newLease(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lease",
		Short: "Leases, with which keys end: grant, keep-alive, ttl, list, revoke",
		Long: `A lease lives for a time and is kept alive by who holds it. When it ends, by its time
or by hand, the keys that were put with it are deleted, in one revision:

  chainfire lease grant 30s
  chainfire put --lease 694d9e6dfd3c7a02 worker/1 up
  chainfire lease keep-alive 694d9e6dfd3c7a02

Ids are written in hexadecimal.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLeaseGrant(a), newLeaseKeepAlive(a), newLeaseTTL(a), newLeaseList(a), newLeaseRevoke(a))
	return cmd
}

// leaseID is the id of a lease as a flag or an argument.
type leaseID int64

// String implements pflag.Value.
func (l *leaseID) String() string {
	if *l == 0 {
		return ""
	}
	return chainfire.LeaseID(int64(*l))
}

// Type implements pflag.Value.
func (l *leaseID) Type() string { return "id" }

// Set implements pflag.Value.
func (l *leaseID) Set(s string) error {
	id, err := strconv.ParseUint(s, 16, 64)
	if err != nil || id == 0 {
		return fmt.Errorf("lease id %q: give what 'chainfire lease list' shows, in hexadecimal", s)
	}
	*l = leaseID(id)
	return nil
}

// withLease runs a request about the lease that an argument names.
func (a *app) withLease(ctx context.Context, arg string, do func(context.Context, *clientv3.Client, clientv3.LeaseID) error) error {
	var id leaseID
	if err := id.Set(arg); err != nil {
		return err
	}
	return a.withClient(ctx, func(ctx context.Context, c *clientv3.Client) error { return do(ctx, c, clientv3.LeaseID(id)) })
}

// jsonLease is a lease as -w json prints it. Times are in seconds.
type jsonLease struct {
	Header  *jsonHeader `json:"header,omitempty"`
	ID      string      `json:"id"`
	TTL     *int64      `json:"ttl,omitempty"`
	Granted int64       `json:"granted_ttl,omitempty"`
	Keys    []jsonName  `json:"keys,omitempty"`
	Revoked bool        `json:"revoked,omitempty"`
}

// jsonName is a key alone, as in jsonKV.
type jsonName struct {
	Key       *string `json:"key,omitempty"`
	KeyBase64 []byte  `json:"key_base64,omitempty"`
}

// parseTTL reads a time to live: seconds, or a duration.
func parseTTL(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 {
		return n, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("time to live %q: give seconds, or a duration of at least 1s, like 5m", s)
	}
	return int64((d + time.Second - 1) / time.Second), nil
}

func newLeaseGrant(a *app) *cobra.Command {
	var id leaseID
	cmd := &cobra.Command{
		Use:   "grant TTL",
		Short: "Make a lease and print its id",
		Long: `Make a lease that lives for TTL, in seconds or as a duration like 5m, and print its id.
The cluster may grant more than was asked for: at least what it needs to find another
leader.

With -w json: {"header":{..},"id":"..","granted_ttl":N}.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ttl, err := parseTTL(args[0])
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *clientv3.Client) error {
				// The client's own call cannot ask for an id.
				r, err := etcdserverpb.NewLeaseClient(c.ActiveConnection()).LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{ID: int64(id), TTL: ttl})
				if err != nil {
					return fmt.Errorf("grant a lease: %w", rpctypes.Error(err))
				}
				if a.format == formatJSON {
					return a.printJSON(&jsonLease{Header: newJSONHeader(r.GetHeader()), ID: chainfire.LeaseID(r.GetID()), Granted: r.GetTTL()})
				}
				a.complain("granted for %v\n", time.Duration(r.GetTTL())*time.Second)
				return a.printf("%s\n", chainfire.LeaseID(r.GetID()))
			})
		},
	}
	cmd.Flags().Var(&id, "id", "the id that it shall have, in hexadecimal; without it the cluster chooses one")
	return cmd
}

func newLeaseKeepAlive(a *app) *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "keep-alive ID",
		Short: "Keep a lease alive, until this is ended",
		Long: `Keep a lease alive until this is ended, or once, and print a line for each renewal. It
ends with an error when the lease does.

With -w json each line is {"header":{..},"id":"..","ttl":N}.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var id leaseID
			if err := id.Set(args[0]); err != nil {
				return err
			}
			renewed := func(r *clientv3.LeaseKeepAliveResponse) error {
				if a.format == formatJSON {
					return a.printJSON(&jsonLease{Header: newJSONHeader(r.ResponseHeader), ID: id.String(), TTL: &r.TTL})
				}
				return a.printf("lease %s has %v\n", id.String(), time.Duration(r.TTL)*time.Second)
			}
			if once {
				return a.withLease(cmd.Context(), args[0], func(ctx context.Context, c *clientv3.Client, id clientv3.LeaseID) error {
					r, err := c.KeepAliveOnce(ctx, id)
					if err != nil {
						return fmt.Errorf("renew the lease: %w", err)
					}
					return renewed(r)
				})
			}
			return a.keepAlive(cmd.Context(), clientv3.LeaseID(id), renewed)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "renew it once")
	return cmd
}

// keepAlive renews a lease until the context or the lease ends.
func (a *app) keepAlive(ctx context.Context, id clientv3.LeaseID, renewed func(*clientv3.LeaseKeepAliveResponse) error) (err error) {
	if err := a.probe(ctx); err != nil {
		return err
	}
	c, err := a.etcdClient(ctx, a.endpoints)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := c.Close(); err == nil && !errors.Is(cerr, context.Canceled) {
			err = cerr
		}
	}()
	kept, err := c.KeepAlive(ctx, id)
	if err != nil {
		return fmt.Errorf("keep lease %s alive: %w", chainfire.LeaseID(int64(id)), err)
	}
	for r := range kept {
		if err := renewed(r); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("lease %s has ended, or no member could be reached for as long as it lives", chainfire.LeaseID(int64(id)))
}

func newLeaseTTL(a *app) *cobra.Command {
	var keys bool
	cmd := &cobra.Command{
		Use:     "ttl ID",
		Aliases: []string{"timetolive"},
		Short:   "Show how much is left of a lease",
		Long: `Show how much is left of a lease, what it was granted for, and with --keys which keys
end with it.

With -w json: {"header":{..},"id":"..","ttl":N,"granted_ttl":N,"keys":[{"key":".."},..]}.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withLease(cmd.Context(), args[0], func(ctx context.Context, c *clientv3.Client, id clientv3.LeaseID) error {
				var opts []clientv3.LeaseOption
				if keys {
					opts = append(opts, clientv3.WithAttachedKeys())
				}
				r, err := c.TimeToLive(ctx, id, opts...)
				if err == nil && r.TTL == -1 && r.GrantedTTL == 0 {
					err = rpctypes.ErrLeaseNotFound
				}
				if err != nil {
					return fmt.Errorf("ask for the lease: %w", err)
				}
				return a.printTTL(r)
			})
		},
	}
	cmd.Flags().BoolVar(&keys, "keys", false, "show the keys that end with it")
	return cmd
}

func (a *app) printTTL(r *clientv3.LeaseTimeToLiveResponse) error {
	if a.format == formatJSON {
		out := &jsonLease{Header: newJSONHeader(r.ResponseHeader), ID: chainfire.LeaseID(int64(r.ID)), TTL: &r.TTL, Granted: r.GrantedTTL}
		for _, k := range r.Keys {
			var name jsonName
			name.Key, name.KeyBase64 = jsonBytes(k)
			out.Keys = append(out.Keys, name)
		}
		return a.printJSON(out)
	}
	if err := a.printf("%v left of %v\n", time.Duration(r.TTL)*time.Second, time.Duration(r.GrantedTTL)*time.Second); err != nil {
		return err
	}
	for _, k := range r.Keys {
		if err := a.printf("%s\n", text(k)); err != nil {
			return err
		}
	}
	return nil
}

func newLeaseList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the leases",
		Long: `List the ids of the leases.

With -w json: {"header":{..},"leases":[{"id":".."},..]}.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd.Context(), func(ctx context.Context, c *clientv3.Client) error {
				r, err := c.Leases(ctx)
				if err != nil {
					return fmt.Errorf("list the leases: %w", err)
				}
				if a.format == formatJSON {
					out := struct {
						Header *jsonHeader `json:"header,omitempty"`
						Leases []jsonLease `json:"leases"`
					}{newJSONHeader(r.ResponseHeader), []jsonLease{}}
					for _, l := range r.Leases {
						out.Leases = append(out.Leases, jsonLease{ID: chainfire.LeaseID(int64(l.ID))})
					}
					return a.printJSON(out)
				}
				for _, l := range r.Leases {
					if err := a.printf("%s\n", chainfire.LeaseID(int64(l.ID))); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func newLeaseRevoke(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "End a lease and delete its keys",
		Long: `End a lease and delete the keys that were put with it, in one revision.

With -w json: {"header":{..},"id":"..","revoked":true}.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withLease(cmd.Context(), args[0], func(ctx context.Context, c *clientv3.Client, id clientv3.LeaseID) error {
				r, err := c.Revoke(ctx, id)
				if err != nil {
					return fmt.Errorf("revoke the lease: %w", err)
				}
				if a.format == formatJSON {
					return a.printJSON(&jsonLease{Header: newJSONHeader(r.Header), ID: chainfire.LeaseID(int64(id)), Revoked: true})
				}
				return a.printf("lease %s revoked, revision %d\n", chainfire.LeaseID(int64(id)), r.Header.GetRevision())
			})
		},
	}
}
