package s3api

// bucketOperations are those on a bucket itself.
func bucketOperations() []operation { return nil }
