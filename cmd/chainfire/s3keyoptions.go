package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"chainfire/api"
	"chainfire/client"
	"chainfire/s3admin"
)

// s3KeyOptions are the flags of a key that is made or changed.
type s3KeyOptions struct {
	description                string
	buckets                    []string
	readOnly, writeOnly, admin bool
	requests                   int64
	bytes, maxObject           size
}

func (o *s3KeyOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.description, "description", "", "what the key is for, for people")
	f.StringSliceVar(&o.buckets, "bucket", nil, "buckets that it is for, a name or a pattern as logs-*; may be given again")
	f.BoolVar(&o.readOnly, "read-only", false, "let it read those buckets, and not write")
	f.BoolVar(&o.writeOnly, "write-only", false, "let it write those buckets, and not read")
	f.BoolVar(&o.admin, "admin", false, "let it do everything, in every bucket")
	f.Int64Var(&o.requests, "requests", 0, "how many requests a second it may make at each member; 0 is no bound")
	f.Var(&o.bytes, "bytes", "how many bytes a second it may move at each member; 0 is no bound")
	f.Var(&o.maxObject, "max-object", "the largest object that it may write; 0 is no bound of its own")
}

func (o *s3KeyOptions) check() error {
	switch {
	case o.readOnly && o.writeOnly:
		return errors.New("--read-only and --write-only: give one of them, or none for both")
	case (o.readOnly || o.writeOnly) && len(o.buckets) == 0:
		return errors.New("--read-only and --write-only are about the buckets of --bucket: name some, '*' being all")
	case o.admin && len(o.buckets) > 0:
		return errors.New("--admin is for all buckets: leave --bucket away, or --admin")
	case o.requests < 0:
		return fmt.Errorf("--requests %d: give a number from 0 on, 0 being no bound", o.requests)
	}
	return nil
}

func (o *s3KeyOptions) grants() []*api.S3Grant {
	var out []*api.S3Grant
	for _, b := range o.buckets {
		out = append(out, &api.S3Grant{Bucket: b, Read: !o.writeOnly, Write: !o.readOnly})
	}
	return out
}

func (o *s3KeyOptions) limits() *api.S3Limits {
	return &api.S3Limits{Requests: o.requests, Bytes: int64(o.bytes), MaxObject: int64(o.maxObject)}
}

func newS3KeyCreate(a *app) *cobra.Command {
	var o s3KeyOptions
	var secretFile string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an access key and print it with its secret",
		Long: `Make an access key and print it with its secret, in two lines that shells and
container engines read as an environment. The secret is shown this once: the cluster
keeps it sealed. With --secret-file the lines go to a new file that its owner alone
can read, and nothing secret is printed.

  export $(chainfire s3 key create --bucket photos)
  chainfire s3 key create --bucket 'logs-*' --write-only --secret-file shipper.env

With -w json: {"key":{"id":"..","secret":"..",..}}, else as 'chainfire s3 key list' has it;
with --secret-file there is "secret_file" in the place of "secret".`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if !o.admin && len(o.buckets) == 0 {
				return errors.New("a key without buckets could do nothing: give --bucket NAME, '*' being all, or --admin")
			}
			return a.createS3Key(cmd.Context(), &o, secretFile)
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().StringVar(&secretFile, "secret-file", "", "new file for id and secret, instead of printing them")
	return cmd
}

// createS3Key makes a key. The file of its secret is there before the key is, so that no
// secret is lost for want of one.
func (a *app) createS3Key(ctx context.Context, o *s3KeyOptions, path string) (err error) {
	var file *os.File
	if path != "" {
		if file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return fmt.Errorf("--secret-file: %w", err)
		}
	}
	var made *api.CreateS3KeyResponse
	err = a.withCluster(ctx, func(ctx context.Context, c *client.Client) (err error) {
		made, err = c.CreateS3Key(ctx, &api.CreateS3KeyRequest{
			Description: o.description, Admin: o.admin, Grants: o.grants(), Limits: o.limits(),
		})
		return err
	})
	if err != nil {
		err = fmt.Errorf("create an access key: %w", err)
		if file != nil {
			err = errors.Join(err, file.Close(), os.Remove(path))
		}
		return err
	}
	id := made.GetKey().GetId()
	lines := s3admin.Credentials{ID: id, Secret: made.GetSecret()}.KeyFile()
	if file != nil {
		if err := writeAndClose(file, lines); err != nil {
			return fmt.Errorf("--secret-file: the secret of access key %s is lost: %w; take the key away with 'chainfire s3 key delete %s' and make another", id, err, id)
		}
	}
	if a.format == formatJSON {
		out := newJSONS3Key(made.GetKey())
		if out.SecretFile = path; file == nil {
			out.Secret = made.GetSecret()
		}
		return a.printJSON(struct {
			Key jsonS3Key `json:"key"`
		}{out})
	}
	if file != nil {
		return a.printf("access key %s made; id and secret are in %s\n", id, path)
	}
	return a.printf("%s", lines)
}

// writeAndClose makes the content of a file durable.
func writeAndClose(f interface {
	io.WriteCloser
	Sync() error
}, b []byte,
) error {
	_, err := f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func newS3KeySet(a *app) *cobra.Command {
	var o s3KeyOptions
	cmd := &cobra.Command{
		Use:   "set ID",
		Short: "Change what an access key is for, or what bounds it",
		Long: `Change what the flags name of an access key, and leave the rest. The buckets that are
given take the place of those that it had; so do the bounds, all three together.

With -w json: {"key":{..}}, as 'chainfire s3 key list' has it.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := o.change(cmd.Flags(), args[0])
			if err != nil {
				return err
			}
			return a.setS3Key(cmd.Context(), "set", q, "access key "+args[0]+" changed")
		},
	}
	o.flags(cmd.Flags())
	return cmd
}

// change is the request for what the flags name.
func (o *s3KeyOptions) change(f *pflag.FlagSet, id string) (*api.SetS3KeyRequest, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	q := &api.SetS3KeyRequest{Id: id}
	if f.Changed("description") {
		q.Description = &o.description
	}
	if f.Changed("bucket") {
		// A key that gets buckets is none for everything any more.
		none := false
		q.Grants, q.Admin = &api.S3Grants{Grants: o.grants()}, &none
	}
	if f.Changed("admin") {
		q.Admin = &o.admin
		if o.admin {
			q.Grants = &api.S3Grants{}
		}
	}
	if f.Changed("requests") || f.Changed("bytes") || f.Changed("max-object") {
		q.Limits = o.limits()
	}
	if q.Description == nil && q.Grants == nil && q.Admin == nil && q.Limits == nil {
		return nil, errors.New("nothing to change: give --description, --bucket, --admin, --requests, --bytes or --max-object")
	}
	return q, nil
}
