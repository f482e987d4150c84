package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// delOptions are the flags of del, and of a del inside a transaction.
type delOptions struct {
	prefix, fromKey, prevKV bool
}

func (o *delOptions) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.prefix, "prefix", false, "every key that begins with KEY")
	f.BoolVar(&o.fromKey, "from-key", false, "every key from KEY on, in byte order")
	f.BoolVar(&o.prevKV, "prev-kv", false, "show what was deleted")
}

func (o *delOptions) op(args []string) (clientv3.Op, error) {
	key, opts, err := interval(args, o.prefix, o.fromKey)
	if err != nil {
		return clientv3.Op{}, err
	}
	if o.prevKV {
		opts = append(opts, clientv3.WithPrevKV())
	}
	return clientv3.OpDelete(key, opts...), nil
}

func newDel(a *app) *cobra.Command {
	var o delOptions
	cmd := &cobra.Command{
		Use:   "del KEY [RANGE_END]",
		Short: "Delete a key, or the keys of an interval",
		Long: `Delete a key, or every key from KEY up to RANGE_END, which is not included, in one
revision.

With -w json: {"header":{..},"deleted":N,"prev_kvs":[..]}, prev_kvs only with
--prev-kv; 'chainfire get --help' shows their fields.`,
		Args: needArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			op, err := o.op(args)
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *clientv3.Client) error {
				r, err := c.Do(ctx, op)
				if err != nil {
					return fmt.Errorf("del: %w", err)
				}
				return a.printDel((*etcdserverpb.DeleteRangeResponse)(r.Del()))
			})
		},
	}
	o.flags(cmd.Flags())
	return cmd
}

// jsonDel is the answer of del as -w json prints it.
type jsonDel struct {
	Header  *jsonHeader `json:"header,omitempty"`
	Deleted int64       `json:"deleted"`
	PrevKVs []*jsonKV   `json:"prev_kvs,omitempty"`
}

func (a *app) printDel(r *etcdserverpb.DeleteRangeResponse) error {
	if a.format == formatJSON {
		return a.printJSON(&jsonDel{
			Header: newJSONHeader(r.GetHeader()), Deleted: r.GetDeleted(), PrevKVs: newJSONKVs(r.GetPrevKvs(), false),
		})
	}
	if err := a.printf("%d deleted, revision %d\n", r.GetDeleted(), r.GetHeader().GetRevision()); err != nil {
		return err
	}
	if len(r.GetPrevKvs()) > 0 {
		return a.printTable(kvRows(r.GetPrevKvs(), false))
	}
	return nil
}
