// Package s3api is the S3 protocol over the buckets and objects of a running member: requests
// taken apart as they are on the wire, authenticated and authorised before anything else of
// them counts, and answered as AWS documents it in its Amazon S3 API Reference.
package s3api
