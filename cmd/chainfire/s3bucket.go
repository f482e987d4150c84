package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"chainfire/api"
	"chainfire/client"
)

func newS3Bucket(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bucket",
		Short: "Buckets of S3: list, create, delete",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newS3BucketList(a), newS3BucketCreate(a), newS3BucketDelete(a))
	return cmd
}

func newS3BucketList(a *app) *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the buckets",
		Long: `List the buckets with what they hold, all versions counted, and what bounds that.

With -w json: {"buckets":[{"name":"..","created":"..","owner":"ID","bytes":N,"objects":N,
"quota_bytes":N,"quota_objects":N,"versioning":"off|enabled|suspended",
"object_lock":false}]}, a quota of 0 being no bound.`,
		Args: needArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				list, err := c.S3Buckets(ctx, prefix)
				if err != nil {
					return fmt.Errorf("list the buckets: %w", err)
				}
				if a.format == formatJSON {
					out := struct {
						Buckets []jsonS3Bucket `json:"buckets"`
					}{Buckets: []jsonS3Bucket{}}
					for _, b := range list {
						out.Buckets = append(out.Buckets, newJSONS3Bucket(b))
					}
					return a.printJSON(out)
				}
				return a.printS3Buckets(list...)
			})
		},
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only those whose names begin so")
	return cmd
}

func (a *app) printS3Buckets(list ...*api.S3Bucket) error {
	bound := func(text string, n int64) string {
		if n == 0 {
			return "-"
		}
		return text
	}
	rows := [][]string{{"NAME", "OBJECTS", "BYTES", "MOST OBJECTS", "MOST BYTES", "VERSIONING", "OWNER", "CREATED"}}
	for _, b := range list {
		most := size(b.GetQuotaBytes())
		rows = append(rows, []string{
			b.GetName(), strconv.FormatInt(b.GetObjects(), 10), bytesText(b.GetBytes()),
			bound(strconv.FormatInt(b.GetQuotaObjects(), 10), b.GetQuotaObjects()), bound(most.String(), b.GetQuotaBytes()),
			orDash(b.GetVersioning()), orDash(b.GetOwner()), timeCell(unixTime(b.GetCreated())),
		})
	}
	return a.printTable(rows)
}

func newS3BucketCreate(a *app) *cobra.Command {
	q := &api.CreateS3BucketRequest{}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a bucket",
		Long: `Make a bucket, as a client of S3 does that asks for one.

With -w json: {"bucket":{..}}, as 'chainfire s3 bucket list' has it.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name = args[0]
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				b, err := c.CreateS3Bucket(ctx, q)
				if err != nil {
					return fmt.Errorf("create bucket %s: %w", args[0], err)
				}
				if a.format == formatJSON {
					return a.printS3BucketJSON(b)
				}
				return a.printf("bucket %s made\n", args[0])
			})
		},
	}
	cmd.Flags().StringVar(&q.Owner, "owner", "", "access key that it is of (default: none)")
	cmd.Flags().BoolVar(&q.ObjectLock, "object-lock", false, "let its versions have retention and legal holds, for good")
	return cmd
}

func (a *app) printS3BucketJSON(b *api.S3Bucket) error {
	return a.printJSON(struct {
		Bucket jsonS3Bucket `json:"bucket"`
	}{newJSONS3Bucket(b)})
}

func newS3BucketDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove an empty bucket",
		Long: `Remove a bucket that holds no object, no version of one and no upload that is under
way.

With -w json: {"deleted":"NAME"}.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if err := c.DeleteS3Bucket(ctx, args[0]); err != nil {
					return fmt.Errorf("delete bucket %s: %w", args[0], err)
				}
				return a.printDeleted("bucket ", args[0])
			})
		},
	}
}

func newS3Quota(a *app) *cobra.Command {
	var bytes size
	var objects int64
	cmd := &cobra.Command{
		Use:   "quota BUCKET",
		Short: "Show what a bucket may hold, or bound it",
		Long: `Show what a bucket holds and what it may hold, or with flags bound it. All versions
count. What is there already stays, whatever the bound; writes that would go beyond it
are refused.

With -w json: {"bucket":{..}}, as 'chainfire s3 bucket list' has it.`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &api.SetS3QuotaRequest{Bucket: args[0]}
			if cmd.Flags().Changed("bytes") {
				n := int64(bytes)
				q.Bytes = &n
			}
			if cmd.Flags().Changed("objects") {
				if objects < 0 {
					return fmt.Errorf("--objects %d: give a number from 0 on, 0 being no bound", objects)
				}
				q.Objects = &objects
			}
			return a.withCluster(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.s3Quota(ctx, c, q)
			})
		},
	}
	cmd.Flags().Var(&bytes, "bytes", "how many bytes it may hold; 0 is no bound")
	cmd.Flags().Int64Var(&objects, "objects", 0, "how many objects it may hold; 0 is no bound")
	return cmd
}

func (a *app) s3Quota(ctx context.Context, c *client.Client, q *api.SetS3QuotaRequest) (err error) {
	var b *api.S3Bucket
	if q.Bytes == nil && q.Objects == nil {
		if b, err = c.S3Bucket(ctx, q.GetBucket()); err == nil && b == nil {
			return fmt.Errorf("there is no bucket %s; 'chainfire s3 bucket list' shows those that there are", q.GetBucket())
		}
	} else {
		b, err = c.SetS3Quota(ctx, q)
	}
	if err != nil {
		return fmt.Errorf("quota of bucket %s: %w", q.GetBucket(), err)
	}
	if a.format == formatJSON {
		return a.printS3BucketJSON(b)
	}
	return a.printS3Buckets(b)
}
