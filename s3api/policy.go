package s3api

import "chainfire/object"

// decision is what a policy says of a request.
type decision uint8

const (
	silent decision = iota
	allows
	denies
)

// policy is what the policies of buckets say.
type policy interface {
	// decide is what the policy of a bucket, if it has one in a view, says of an action of
	// who asks on the bucket or, with a key, on an object of it. A bucket that is not there
	// says nothing.
	decide(rq *request, view *object.View, action, bucket, key string) (decision, error)
}

func newPolicy(d *documents) policy { return bucketPolicies{d} }
