package s3api

import (
	"context"
	"testing"

	"chainfire/object"
)

func TestClosingWaitsForRequestsNoLongerThanItMay(t *testing.T) {
	s := New(Options{})
	s.hashes.giveBack(s.hashes.md5(2 * object.MaxInline))
	s.slots.take() // a request that does not end
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Close(ctx)
	if h := s.hashes.md5(2 * object.MaxInline); h == nil {
		t.Error("what the request uses is gone")
	}
}
