package s3api

// objectOperations are those on objects and their bytes.
func objectOperations() []operation { return nil }
