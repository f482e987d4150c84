package s3admin

import (
	"context"

	"chainfire/api"
	"chainfire/object"
)

// maxBuckets bounds a page of buckets.
const maxBuckets = 1000

// CreateS3Bucket implements api.S3Server.
func (s *Service) CreateS3Bucket(ctx context.Context, q *api.CreateS3BucketRequest) (*api.CreateS3BucketResponse, error) {
	if q.GetOwner() != "" {
		if err := object.CheckAccessKeyID(q.GetOwner()); err != nil {
			return nil, invalid("the owner: %v", err)
		}
	}
	r, err := s.change(ctx, &object.Change{CreateBucket: &object.CreateBucket{
		Name: q.GetName(), Owner: q.GetOwner(), ObjectLock: q.GetObjectLock(),
	}})
	if err != nil {
		return nil, err
	}
	s.o.Logger.Info("bucket made", "bucket", q.GetName(), "owner", q.GetOwner())
	return &api.CreateS3BucketResponse{Bucket: apiBucket(r.Bucket)}, nil
}

// ListS3Buckets implements api.S3Server.
func (s *Service) ListS3Buckets(ctx context.Context, q *api.ListS3BucketsRequest) (*api.ListS3BucketsResponse, error) {
	limit := int(q.GetLimit())
	if limit < 0 {
		return nil, invalid("a page of %d buckets: give a number from 0 on", limit)
	}
	if limit == 0 || limit > maxBuckets {
		limit = maxBuckets
	}
	out := &api.ListS3BucketsResponse{}
	err := s.read(ctx, func(v *object.View) error {
		list, err := v.Buckets(q.GetPrefix(), q.GetAfter(), limit+1)
		if err != nil {
			return err
		}
		if len(list) > limit {
			list, out.More = list[:limit], true
		}
		for i := range list {
			out.Buckets = append(out.Buckets, apiBucket(&list[i]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SetS3Quota implements api.S3Server.
func (s *Service) SetS3Quota(ctx context.Context, q *api.SetS3QuotaRequest) (*api.SetS3QuotaResponse, error) {
	if q.GetBytes() < 0 || q.GetObjects() < 0 {
		return nil, invalid("a quota of %d bytes and %d objects: give numbers from 0 on, 0 being no bound", q.GetBytes(), q.GetObjects())
	}
	r, err := s.change(ctx, &object.Change{SetBucket: &object.SetBucket{
		Name: q.GetBucket(), QuotaBytes: q.Bytes, QuotaObjects: q.Objects,
	}})
	if err != nil {
		return nil, err
	}
	s.o.Logger.Info("quota of a bucket set", "bucket", q.GetBucket(), "bytes", r.Bucket.QuotaBytes, "objects", r.Bucket.QuotaObjects)
	return &api.SetS3QuotaResponse{Bucket: apiBucket(r.Bucket)}, nil
}

// DeleteS3Bucket implements api.S3Server.
func (s *Service) DeleteS3Bucket(ctx context.Context, q *api.DeleteS3BucketRequest) (*api.DeleteS3BucketResponse, error) {
	if _, err := s.change(ctx, &object.Change{DeleteBucket: &object.DeleteBucket{Name: q.GetName()}}); err != nil {
		return nil, err
	}
	s.o.Logger.Info("bucket deleted", "bucket", q.GetName())
	return &api.DeleteS3BucketResponse{}, nil
}

func apiBucket(b *object.Bucket) *api.S3Bucket {
	return &api.S3Bucket{
		Name: b.Name, Created: b.Created, Owner: b.Owner, Bytes: b.Bytes, Objects: b.Objects,
		QuotaBytes: b.QuotaBytes, QuotaObjects: b.QuotaObjects, Versioning: versioning(b.Versioning), ObjectLock: b.ObjectLock,
	}
}

func versioning(v object.Versioning) string {
	switch v {
	case object.VersioningEnabled:
		return "enabled"
	case object.VersioningSuspended:
		return "suspended"
	}
	return "off"
}
