package s3admin

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/object"
)

// errorRow says how an error travels, and what to do about it.
type errorRow struct {
	from error
	code codes.Code
	next string
}

// errorTable is never written. Unavailable is for what was not carried out, so that another
// member may be asked.
var errorTable = []errorRow{
	{object.ErrNoSuchAccessKey, codes.NotFound, "; 'chainfire s3 key list' shows those that there are"},
	{object.ErrKeyExists, codes.AlreadyExists, "; ask again"},
	{object.ErrTooManyKeys, codes.ResourceExhausted, "; delete some with 'chainfire s3 key delete'"},
	{object.ErrNoSuchBucket, codes.NotFound, "; 'chainfire s3 bucket list' shows those that there are"},
	{object.ErrBucketExists, codes.AlreadyExists, ""},
	{object.ErrBucketNotEmpty, codes.FailedPrecondition, ": delete its objects, with all their versions, and abort its uploads first"},
	{object.ErrTooManyBuckets, codes.ResourceExhausted, "; delete some with 'chainfire s3 bucket delete'"},
	{object.ErrInvalidBucketName, codes.InvalidArgument, ""},
	{object.ErrNoSealKey, codes.FailedPrecondition, ""},
	{object.ErrPreconditionFailed, codes.Aborted, " at the same time; ask again"},
	{object.ErrInvalid, codes.InvalidArgument, ""},
	{chainfire.ErrFeatureLevel, codes.FailedPrecondition, ""},
	{chainfire.ErrNoSpace, codes.ResourceExhausted, ": make room, then take the alarm back; see 'etcdctl alarm list'"},
	{chainfire.ErrLearner, codes.Unavailable, ": ask a voter"},
	{chainfire.ErrNoLeader, codes.Unavailable, ": 'chainfire status' shows who is missing"},
	{chainfire.ErrTooManyRequests, codes.Unavailable, ": this member is behind; ask another"},
	{chainfire.ErrStopped, codes.Aborted, uncertain},
	{chainfire.ErrTimeout, codes.Aborted, uncertain},
	{chainfire.ErrTimeoutLeaderFail, codes.Aborted, uncertain},
	{chainfire.ErrTimeoutConnLost, codes.Aborted, uncertain},
	{chainfire.ErrLeaderChanged, codes.Aborted, uncertain},
}

const uncertain = ": what became of it is not known; list what there is, and ask again"

// toStatus is an error as it travels.
func toStatus(err error) error {
	switch {
	case err == nil || isStatus(err):
		return err
	case errors.Is(err, context.Canceled):
		return status.FromContextError(context.Canceled).Err()
	case errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	for i := range errorTable {
		if r := &errorTable[i]; errors.Is(err, r.from) {
			return status.Error(r.code, err.Error()+r.next)
		}
	}
	return status.Error(codes.Unknown, err.Error())
}
