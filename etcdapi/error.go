package etcdapi

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
)

// errorPair maps one sentinel to what goes over the wire.
type errorPair struct {
	from, to error
}

// errorTable is never written. Where etcd has no gRPC error, the text is the one
// of etcd's internal error, which its clients see with the code Unknown.
var errorTable = []errorPair{
	{chainfire.ErrEmptyKey, rpctypes.ErrGRPCEmptyKey},
	{chainfire.ErrKeyNotFound, rpctypes.ErrGRPCKeyNotFound},
	{chainfire.ErrDuplicateKey, rpctypes.ErrGRPCDuplicateKey},
	{chainfire.ErrTooManyOps, rpctypes.ErrGRPCTooManyOps},
	{chainfire.ErrCompacted, rpctypes.ErrGRPCCompacted},
	{chainfire.ErrFutureRevision, rpctypes.ErrGRPCFutureRev},
	{chainfire.ErrInvalidSortOption, rpctypes.ErrGRPCInvalidSortOption},
	{chainfire.ErrValueProvided, rpctypes.ErrGRPCValueProvided},
	{chainfire.ErrLeaseProvided, rpctypes.ErrGRPCLeaseProvided},
	{chainfire.ErrLeaseNotFound, rpctypes.ErrGRPCLeaseNotFound},
	{chainfire.ErrLeaseExists, rpctypes.ErrGRPCLeaseExist},
	{chainfire.ErrLeaseTTLTooLarge, rpctypes.ErrGRPCLeaseTTLTooLarge},
	// etcd has no such members.
	{chainfire.ErrFeatureLevel, status.Error(codes.FailedPrecondition, "etcdserver: "+chainfire.ErrFeatureLevel.Error())},
	{chainfire.ErrUnknownAlarm, status.Error(codes.InvalidArgument, "etcdserver: "+chainfire.ErrUnknownAlarm.Error())},
	{chainfire.ErrTooManyAlarms, status.Error(codes.ResourceExhausted, "etcdserver: "+chainfire.ErrTooManyAlarms.Error())},
	{chainfire.ErrRequestTooLarge, rpctypes.ErrGRPCRequestTooLarge},
	{chainfire.ErrNoSpace, rpctypes.ErrGRPCNoSpace},
	{chainfire.ErrNoRoom, status.Error(codes.ResourceExhausted, "etcdserver: "+chainfire.ErrNoRoom.Error())},
	{chainfire.ErrWatchDuplicateID, status.Error(codes.Unknown, "mvcc: duplicate watch ID provided on the WatchStream")},
	{chainfire.ErrWatcherNotExist, status.Error(codes.Unknown, "mvcc: watcher does not exist")},
	{chainfire.ErrEmptyWatcherRange, status.Error(codes.Unknown, "mvcc: watcher range is empty")},
	{chainfire.ErrWatchStreamClosed, rpctypes.ErrGRPCStopped},
	{chainfire.ErrCorrupt, rpctypes.ErrGRPCCorrupt},
	{chainfire.ErrMemberExists, rpctypes.ErrGRPCMemberExist},
	{chainfire.ErrPeerURLExists, rpctypes.ErrGRPCPeerURLExist},
	{chainfire.ErrMemberNotFound, rpctypes.ErrGRPCMemberNotFound},
	{chainfire.ErrMemberNotLearner, rpctypes.ErrGRPCMemberNotLearner},
	{chainfire.ErrMemberNotReady, rpctypes.ErrGRPCMemberNotEnoughStarted},
	{chainfire.ErrLearnerNotReady, rpctypes.ErrGRPCLearnerNotReady},
	// etcd has no such members.
	{chainfire.ErrReadReplica, status.Error(codes.FailedPrecondition, "etcdserver: "+chainfire.ErrReadReplica.Error())},
	{chainfire.ErrUnhealthyCluster, rpctypes.ErrGRPCUnhealthy},
	{chainfire.ErrTooManyLearners, rpctypes.ErrGRPCTooManyLearners},
	{chainfire.ErrInvalidPeerURL, rpctypes.ErrGRPCMemberBadURLs},
	{chainfire.ErrNoLeader, rpctypes.ErrGRPCNoLeader},
	{chainfire.ErrNotLeader, rpctypes.ErrGRPCNotLeader},
	{chainfire.ErrLeaderChanged, rpctypes.ErrGRPCLeaderChanged},
	{chainfire.ErrLearner, rpctypes.ErrGRPCNotSupportedForLearner},
	{chainfire.ErrTimeout, rpctypes.ErrGRPCTimeout},
	{chainfire.ErrTimeoutLeaderFail, rpctypes.ErrGRPCTimeoutDueToLeaderFail},
	{chainfire.ErrTimeoutConnLost, rpctypes.ErrGRPCTimeoutDueToConnectionLost},
	{chainfire.ErrTooManyRequests, rpctypes.ErrGRPCRequestTooManyRequests},
	{chainfire.ErrStopped, rpctypes.ErrGRPCStopped},
	// etcd lets such a call wait; there is no error of its own to match.
	{chainfire.ErrConfChangePending, status.Error(codes.FailedPrecondition, "etcdserver: a membership change is in progress")},
	{chainfire.ErrBadLeaderTransferee, rpctypes.ErrGRPCBadLeaderTransferee},
	{chainfire.ErrTimeoutTransfer, status.Error(codes.Unknown, "etcdserver: request timed out, leader transfer took too long")},
	{chainfire.ErrAuthNotEnabled, rpctypes.ErrGRPCAuthNotEnabled},
	{chainfire.ErrAuthFailed, rpctypes.ErrGRPCAuthFailed},
	{chainfire.ErrNoPasswordUser, status.Error(codes.Unknown, "auth: "+chainfire.ErrNoPasswordUser.Error())},
	{chainfire.ErrInvalidAuthToken, rpctypes.ErrGRPCInvalidAuthToken},
	{chainfire.ErrAuthOldRevision, rpctypes.ErrGRPCAuthOldRevision},
	{chainfire.ErrPermissionDenied, rpctypes.ErrGRPCPermissionDenied},
	{chainfire.ErrRootUserNotExist, rpctypes.ErrGRPCRootUserNotExist},
	{chainfire.ErrRootRoleNotExist, rpctypes.ErrGRPCRootRoleNotExist},
	{chainfire.ErrUserExists, rpctypes.ErrGRPCUserAlreadyExist},
	{chainfire.ErrUserEmpty, rpctypes.ErrGRPCUserEmpty},
	{chainfire.ErrUserNotFound, rpctypes.ErrGRPCUserNotFound},
	{chainfire.ErrRoleExists, rpctypes.ErrGRPCRoleAlreadyExist},
	{chainfire.ErrRoleEmpty, rpctypes.ErrGRPCRoleEmpty},
	{chainfire.ErrRoleNotFound, rpctypes.ErrGRPCRoleNotFound},
	{chainfire.ErrRoleNotGranted, rpctypes.ErrGRPCRoleNotGranted},
	{chainfire.ErrPermissionNotGiven, rpctypes.ErrGRPCPermissionNotGiven},
	{chainfire.ErrPermissionNotGranted, rpctypes.ErrGRPCPermissionNotGranted},
	{chainfire.ErrInvalidAuthMgmt, rpctypes.ErrGRPCInvalidAuthMgmt},
	{chainfire.ErrTooManyAuth, status.Error(codes.ResourceExhausted, "etcdserver: "+chainfire.ErrTooManyAuth.Error())},
}

// toGRPC maps what a member returns to the error that etcd's clients expect. A
// context that ended keeps gRPC's own code and text, as with etcd.
func toGRPC(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return status.FromContextError(context.Canceled).Err()
	case errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	for i := range errorTable {
		if errors.Is(err, errorTable[i].from) {
			return errorTable[i].to
		}
	}
	return status.Error(codes.Unknown, err.Error())
}

// errorText is the text that an etcd client would be shown for err.
func errorText(err error) string { return rpctypes.ErrorDesc(toGRPC(err)) }
