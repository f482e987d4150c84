package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// getOptions are the flags of get, and of a get inside a transaction.
type getOptions struct {
	prefix, fromKey     bool
	limit, rev          int64
	keysOnly, countOnly bool
	order, sortBy       string
	consistency         string
}

func (o *getOptions) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.prefix, "prefix", false, "every key that begins with KEY")
	f.BoolVar(&o.fromKey, "from-key", false, "every key from KEY on, in byte order")
	f.Int64Var(&o.limit, "limit", 0, "at most so many keys; 0 is all")
	f.Int64Var(&o.rev, "rev", 0, "as the keys were at this revision; 0 is now")
	f.BoolVar(&o.keysOnly, "keys-only", false, "without values")
	f.BoolVar(&o.countOnly, "count-only", false, "only how many keys there are")
	f.StringVar(&o.order, "order", "", "ASCEND or DESCEND")
	f.StringVar(&o.sortBy, "sort-by", "", "KEY, VERSION, CREATE, MODIFY or VALUE")
	f.StringVar(&o.consistency, "consistency", "l", "l: linearizable; s: what the member asked has applied")
}

// op is the request for a key, or for the keys up to an end that is not included.
func (o *getOptions) op(args []string) (clientv3.Op, error) {
	key, opts, err := interval(args, o.prefix, o.fromKey)
	if err != nil {
		return clientv3.Op{}, err
	}
	if o.limit < 0 || o.rev < 0 {
		return clientv3.Op{}, errors.New("--limit and --rev are 0 or more")
	}
	if o.keysOnly && o.countOnly {
		return clientv3.Op{}, errors.New("choose one of --keys-only and --count-only")
	}
	opts = append(opts, clientv3.WithLimit(o.limit), clientv3.WithRev(o.rev))
	if o.keysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	if o.countOnly {
		opts = append(opts, clientv3.WithCountOnly())
	}
	sort, err := o.sort()
	if err != nil {
		return clientv3.Op{}, err
	}
	if sort != nil {
		opts = append(opts, sort)
	}
	switch o.consistency {
	case "l":
	case "s":
		opts = append(opts, clientv3.WithSerializable())
	default:
		return clientv3.Op{}, fmt.Errorf("--consistency %q: choose l or s", o.consistency)
	}
	return clientv3.OpGet(key, opts...), nil
}

func (o *getOptions) sort() (clientv3.OpOption, error) {
	if o.order == "" && o.sortBy == "" {
		return nil, nil
	}
	orders := map[string]clientv3.SortOrder{
		"": clientv3.SortAscend, "ASCEND": clientv3.SortAscend, "DESCEND": clientv3.SortDescend,
	}
	targets := map[string]clientv3.SortTarget{
		"": clientv3.SortByKey, "KEY": clientv3.SortByKey, "VERSION": clientv3.SortByVersion,
		"CREATE": clientv3.SortByCreateRevision, "MODIFY": clientv3.SortByModRevision, "VALUE": clientv3.SortByValue,
	}
	order, ok := orders[strings.ToUpper(o.order)]
	if !ok {
		return nil, fmt.Errorf("--order %q: choose ASCEND or DESCEND", o.order)
	}
	target, ok := targets[strings.ToUpper(o.sortBy)]
	if !ok {
		return nil, fmt.Errorf("--sort-by %q: choose KEY, VERSION, CREATE, MODIFY or VALUE", o.sortBy)
	}
	return clientv3.WithSort(target, order), nil
}

// interval reads the KEY [RANGE_END] of a command and its flags.
func interval(args []string, prefix, fromKey bool) (string, []clientv3.OpOption, error) {
	switch {
	case len(args) == 0 || len(args) > 2:
		return "", nil, fmt.Errorf("give KEY or KEY RANGE_END, not %d arguments", len(args))
	case prefix && fromKey, len(args) == 2 && (prefix || fromKey):
		return "", nil, errors.New("choose one of RANGE_END, --prefix and --from-key")
	case args[0] == "" && !prefix && !fromKey:
		return "", nil, errors.New("the key is empty; --prefix or --from-key with an empty key mean every key")
	case prefix:
		return args[0], []clientv3.OpOption{clientv3.WithPrefix()}, nil
	case fromKey:
		return args[0], []clientv3.OpOption{clientv3.WithFromKey()}, nil
	case len(args) == 2:
		return args[0], []clientv3.OpOption{clientv3.WithRange(args[1])}, nil
	}
	return args[0], nil, nil
}

func newGet(a *app) *cobra.Command {
	var o getOptions
	var valueOnly bool
	cmd := &cobra.Command{
		Use:   "get KEY [RANGE_END]",
		Short: "Read a key, or the keys of an interval",
		Long: `Read a key, or every key from KEY up to RANGE_END, which is not included.

With -w json:
  {"header":{"cluster_id":"..","member_id":"..","revision":N,"raft_term":N},
   "kvs":[{"key":"..","value":"..","create_revision":N,"mod_revision":N,"version":N}],
   "more":false,"count":N}
where key_base64 and value_base64 stand for what is not valid UTF-8.`,
		Args: needArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			op, err := o.op(args)
			if err != nil {
				return err
			}
			if valueOnly && (o.keysOnly || o.countOnly) {
				return errors.New("--print-value-only does not go with --keys-only or --count-only")
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *clientv3.Client) error {
				r, err := c.Do(ctx, op)
				if err != nil {
					return fmt.Errorf("get: %w", err)
				}
				return a.printGet((*etcdserverpb.RangeResponse)(r.Get()), &o, valueOnly)
			})
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&valueOnly, "print-value-only", false, "print the values as they are, each followed by a line end")
	return cmd
}

// jsonGet is the answer of get as -w json prints it.
type jsonGet struct {
	Header *jsonHeader `json:"header,omitempty"`
	KVs    []*jsonKV   `json:"kvs"`
	More   bool        `json:"more"`
	Count  int64       `json:"count"`
}

func newJSONGet(r *etcdserverpb.RangeResponse, keysOnly bool) *jsonGet {
	return &jsonGet{KVs: newJSONKVs(r.GetKvs(), keysOnly), More: r.GetMore(), Count: r.GetCount()}
}

func (a *app) printGet(r *etcdserverpb.RangeResponse, o *getOptions, valueOnly bool) error {
	switch {
	case a.format == formatJSON:
		out := newJSONGet(r, o.keysOnly)
		out.Header = newJSONHeader(r.GetHeader())
		return a.printJSON(out)
	case o.countOnly:
		return a.printf("%d\n", r.GetCount())
	case valueOnly:
		for _, kv := range r.GetKvs() {
			if err := a.printf("%s\n", kv.GetValue()); err != nil {
				return err
			}
		}
		return nil
	case len(r.GetKvs()) == 0:
		a.complain("no such key\n")
		return nil
	}
	if err := a.printTable(kvRows(r.GetKvs(), o.keysOnly)); err != nil {
		return err
	}
	if r.GetMore() {
		a.complain("%d of %d keys; --limit cut the rest\n", len(r.GetKvs()), r.GetCount())
	}
	return nil
}
