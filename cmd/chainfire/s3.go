package main

import (
	"time"

	"github.com/spf13/cobra"

	"chainfire/api"
)

func newS3(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "s3",
		Short: "Access keys, buckets and quotas of S3",
		Long: `Manage what S3's own requests do not: access keys, buckets and their quotas. Objects
are reached with any client of S3, at the address of --listen-s3 of a member.

In a cluster with users these commands are for the role root.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().BoolFunc("json", "the same as -w json", func(string) error {
		a.format = formatJSON
		return nil
	})
	cmd.AddCommand(newS3Key(a), newS3Bucket(a), newS3Quota(a))
	return cmd
}

// unixTime is a time as the cluster has it; nil is none.
func unixTime(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// timeCell is a time in a table.
func timeCell(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

// jsonS3Grant is what a key may do with the buckets of a pattern.
type jsonS3Grant struct {
	Bucket string `json:"bucket"`
	Read   bool   `json:"read"`
	Write  bool   `json:"write"`
}

// jsonS3Key is an access key as -w json prints it.
type jsonS3Key struct {
	ID          string        `json:"id"`
	Secret      string        `json:"secret,omitempty"`
	SecretFile  string        `json:"secret_file,omitempty"`
	Description string        `json:"description"`
	Created     *time.Time    `json:"created"`
	Disabled    bool          `json:"disabled"`
	Admin       bool          `json:"admin"`
	Grants      []jsonS3Grant `json:"grants"`
	Requests    int64         `json:"requests"`
	Bytes       int64         `json:"bytes"`
	MaxObject   int64         `json:"max_object"`
}

func newJSONS3Key(k *api.S3Key) jsonS3Key {
	out := jsonS3Key{
		ID: k.GetId(), Description: k.GetDescription(), Created: unixTime(k.GetCreated()), Disabled: k.GetDisabled(), Admin: k.GetAdmin(),
		Grants:   []jsonS3Grant{},
		Requests: k.GetLimits().GetRequests(), Bytes: k.GetLimits().GetBytes(), MaxObject: k.GetLimits().GetMaxObject(),
	}
	for _, g := range k.GetGrants() {
		out.Grants = append(out.Grants, jsonS3Grant{Bucket: g.GetBucket(), Read: g.GetRead(), Write: g.GetWrite()})
	}
	return out
}

// jsonS3Bucket is a bucket as -w json prints it.
type jsonS3Bucket struct {
	Name         string     `json:"name"`
	Created      *time.Time `json:"created"`
	Owner        string     `json:"owner"`
	Bytes        int64      `json:"bytes"`
	Objects      int64      `json:"objects"`
	QuotaBytes   int64      `json:"quota_bytes"`
	QuotaObjects int64      `json:"quota_objects"`
	Versioning   string     `json:"versioning"`
	ObjectLock   bool       `json:"object_lock"`
}

func newJSONS3Bucket(b *api.S3Bucket) jsonS3Bucket {
	return jsonS3Bucket{
		Name: b.GetName(), Created: unixTime(b.GetCreated()), Owner: b.GetOwner(), Bytes: b.GetBytes(), Objects: b.GetObjects(),
		QuotaBytes: b.GetQuotaBytes(), QuotaObjects: b.GetQuotaObjects(), Versioning: b.GetVersioning(), ObjectLock: b.GetObjectLock(),
	}
}
