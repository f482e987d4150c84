package client

import (
	"context"

	"chainfire/api"
)

// s3 is first for calls that manage S3.
func (c *Client) s3(ctx context.Context, call func(context.Context, api.S3Client) error) error {
	return c.try(ctx, func(ctx context.Context, m member) error { return call(ctx, api.NewS3Client(m.conn)) })
}

// CreateS3Key makes an access key. Its secret is in the answer this once.
func (c *Client) CreateS3Key(ctx context.Context, q *api.CreateS3KeyRequest) (*api.CreateS3KeyResponse, error) {
	var out *api.CreateS3KeyResponse
	err := c.s3(ctx, func(ctx context.Context, m api.S3Client) (err error) {
		out, err = m.CreateS3Key(ctx, q)
		return err
	})
	return out, err
}

// S3Keys lists the access keys by id, without their secrets.
func (c *Client) S3Keys(ctx context.Context) ([]*api.S3Key, error) {
	var out *api.ListS3KeysResponse
	err := c.s3(ctx, func(ctx context.Context, m api.S3Client) (err error) {
		out, err = m.ListS3Keys(ctx, &api.ListS3KeysRequest{})
		return err
	})
	return out.GetKeys(), err
}

// SetS3Key changes what the request gives of an access key.
func (c *Client) SetS3Key(ctx context.Context, q *api.SetS3KeyRequest) (*api.S3Key, error) {
	var out *api.SetS3KeyResponse
	err := c.s3(ctx, func(ctx context.Context, m api.S3Client) (err error) {
		out, err = m.SetS3Key(ctx, q)
		return err
	})
	return out.GetKey(), err
}

// DeleteS3Key takes an access key away for good.
func (c *Client) DeleteS3Key(ctx context.Context, id string) error {
	return c.s3(ctx, func(ctx context.Context, m api.S3Client) error {
		_, err := m.DeleteS3Key(ctx, &api.DeleteS3KeyRequest{Id: id})
		return err
	})
}

// CreateS3Bucket makes a bucket.
func (c *Client) CreateS3Bucket(ctx context.Context, q *api.CreateS3BucketRequest) (*api.S3Bucket, error) {
	var out *api.CreateS3BucketResponse
	err := c.s3(ctx, func(ctx context.Context, m api.S3Client) (err error) {
		out, err = m.CreateS3Bucket(ctx, q)
		return err
	})
	return out.GetBucket(), err
}

// S3Buckets lists the buckets whose names begin with a prefix, by name.
func (c *Client) S3Buckets(ctx context.Context, prefix string) ([]*api.S3Bucket, error) {
	var list []*api.S3Bucket
	for after := ""; ; after = list[len(list)-1].GetName() {
		page, err := c.s3Buckets(ctx, &api.ListS3BucketsRequest{Prefix: prefix, After: after})
		list = append(list, page.GetBuckets()...)
		if err != nil || !page.GetMore() || len(page.GetBuckets()) == 0 {
			return list, err
		}
	}
}

// S3Bucket describes one bucket; nil is that there is none of the name.
func (c *Client) S3Bucket(ctx context.Context, name string) (*api.S3Bucket, error) {
	// Nothing that begins with a name comes before the name itself.
	page, err := c.s3Buckets(ctx, &api.ListS3BucketsRequest{Prefix: name, Limit: 1})
	if list := page.GetBuckets(); err == nil && len(list) > 0 && list[0].GetName() == name {
		return list[0], nil
	}
	return nil, err
}

func (c *Client) s3Buckets(ctx context.Context, q *api.ListS3BucketsRequest) (*api.ListS3BucketsResponse, error) {
	var out *api.ListS3BucketsResponse
	err := c.s3(ctx, func(ctx context.Context, m api.S3Client) (err error) {
		out, err = m.ListS3Buckets(ctx, q)
		return err
	})
	return out, err
}

// SetS3Quota bounds what a bucket may hold, as far as the request says.
func (c *Client) SetS3Quota(ctx context.Context, q *api.SetS3QuotaRequest) (*api.S3Bucket, error) {
	var out *api.SetS3QuotaResponse
	err := c.s3(ctx, func(ctx context.Context, m api.S3Client) (err error) {
		out, err = m.SetS3Quota(ctx, q)
		return err
	})
	return out.GetBucket(), err
}

// DeleteS3Bucket removes an empty bucket.
func (c *Client) DeleteS3Bucket(ctx context.Context, name string) error {
	return c.s3(ctx, func(ctx context.Context, m api.S3Client) error {
		_, err := m.DeleteS3Bucket(ctx, &api.DeleteS3BucketRequest{Name: name})
		return err
	})
}
