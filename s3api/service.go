package s3api

// serviceOperations are those on no bucket.
func serviceOperations() []operation { return nil }
