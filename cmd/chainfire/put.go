package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// putOptions are the flags of put, and of a put inside a transaction.
type putOptions struct {
	prevKV, ignoreValue, ignoreLease bool
	lease                            leaseID
}

func (o *putOptions) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.prevKV, "prev-kv", false, "show what the key held before")
	f.Var(&o.lease, "lease", "the lease that the key ends with, as 'chainfire lease grant' printed it; without it the key has none any more")
	f.BoolVar(&o.ignoreLease, "ignore-lease", false, "keep the lease that the key has")
	f.BoolVar(&o.ignoreValue, "ignore-value", false, "write the value again that the key has; give no VALUE")
}

// op is the write of a value. Where none is given, it is read from in, which may
// be nil.
func (o *putOptions) op(args []string, in io.Reader) (clientv3.Op, error) {
	var value string
	switch {
	case len(args) == 0 || args[0] == "":
		return clientv3.Op{}, errors.New("the key is empty; give KEY and VALUE")
	case o.ignoreValue && len(args) == 2:
		return clientv3.Op{}, errors.New("--ignore-value keeps the value that the key has; leave VALUE out")
	case o.ignoreLease && o.lease != 0:
		return clientv3.Op{}, errors.New("--ignore-lease keeps the lease that the key has; leave --lease out")
	case o.ignoreValue:
	case len(args) == 2:
		value = args[1]
	case in == nil:
		return clientv3.Op{}, errors.New("give KEY and VALUE")
	default:
		b, err := io.ReadAll(in)
		if err != nil {
			return clientv3.Op{}, fmt.Errorf("read the value from standard input: %w", err)
		}
		value = string(b)
	}
	var opts []clientv3.OpOption
	if o.prevKV {
		opts = append(opts, clientv3.WithPrevKV())
	}
	if o.ignoreValue {
		opts = append(opts, clientv3.WithIgnoreValue())
	}
	if o.lease != 0 {
		opts = append(opts, clientv3.WithLease(clientv3.LeaseID(o.lease)))
	}
	if o.ignoreLease {
		opts = append(opts, clientv3.WithIgnoreLease())
	}
	return clientv3.OpPut(args[0], value, opts...), nil
}

func newPut(a *app) *cobra.Command {
	var o putOptions
	cmd := &cobra.Command{
		Use:   "put KEY [VALUE]",
		Short: "Write a key",
		Long: `Write a key. Without VALUE the value is read from standard input, as it is.
A key or a value that begins with - goes after --.

With -w json: {"header":{..},"prev_kv":{..}}, prev_kv only with --prev-kv and where
there was one; 'chainfire get --help' shows their fields.`,
		Args: needArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			op, err := o.op(args, a.in)
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *clientv3.Client) error {
				r, err := c.Do(ctx, op)
				if err != nil {
					return fmt.Errorf("put: %w", err)
				}
				return a.printPut((*etcdserverpb.PutResponse)(r.Put()))
			})
		},
	}
	o.flags(cmd.Flags())
	return cmd
}

// jsonPut is the answer of put as -w json prints it.
type jsonPut struct {
	Header *jsonHeader `json:"header,omitempty"`
	PrevKV *jsonKV     `json:"prev_kv,omitempty"`
}

func (a *app) printPut(r *etcdserverpb.PutResponse) error {
	if a.format == formatJSON {
		return a.printJSON(&jsonPut{Header: newJSONHeader(r.GetHeader()), PrevKV: newJSONKV(r.GetPrevKv(), false)})
	}
	if err := a.printf("ok, revision %d\n", r.GetHeader().GetRevision()); err != nil {
		return err
	}
	if prev := r.GetPrevKv(); prev != nil {
		return a.printf("before: %s (revision %d)\n", text(prev.GetValue()), prev.GetModRevision())
	}
	return nil
}
