package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
)

// wantErrors is what a client of etcd 3.7 gets, said independently of the table.
var wantErrors = []struct {
	name string
	err  error
	code codes.Code
	text string
}{
	{"ErrEmptyKey", chainfire.ErrEmptyKey, codes.InvalidArgument, "etcdserver: key is not provided"},
	{"ErrKeyNotFound", chainfire.ErrKeyNotFound, codes.InvalidArgument, "etcdserver: key not found"},
	{"ErrDuplicateKey", chainfire.ErrDuplicateKey, codes.InvalidArgument, "etcdserver: duplicate key given in txn request"},
	{"ErrTooManyOps", chainfire.ErrTooManyOps, codes.InvalidArgument, "etcdserver: too many operations in txn request"},
	{"ErrCompacted", chainfire.ErrCompacted, codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted"},
	{"ErrFutureRevision", chainfire.ErrFutureRevision, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
	{"ErrInvalidSortOption", chainfire.ErrInvalidSortOption, codes.InvalidArgument, "etcdserver: invalid sort option"},
	{"ErrValueProvided", chainfire.ErrValueProvided, codes.InvalidArgument, "etcdserver: value is provided"},
	{"ErrLeaseProvided", chainfire.ErrLeaseProvided, codes.InvalidArgument, "etcdserver: lease is provided"},
	{"ErrLeaseNotFound", chainfire.ErrLeaseNotFound, codes.NotFound, "etcdserver: requested lease not found"},
	{"ErrLeaseExists", chainfire.ErrLeaseExists, codes.FailedPrecondition, "etcdserver: lease already exists"},
	{"ErrLeaseTTLTooLarge", chainfire.ErrLeaseTTLTooLarge, codes.OutOfRange, "etcdserver: too large lease TTL"},
	{"ErrFeatureLevel", chainfire.ErrFeatureLevel, codes.FailedPrecondition, "etcdserver: a member's version does not know this yet: install the newest on every member"},
	{"ErrUnknownAlarm", chainfire.ErrUnknownAlarm, codes.InvalidArgument, "etcdserver: no such type of alarm"},
	{"ErrTooManyAlarms", chainfire.ErrTooManyAlarms, codes.ResourceExhausted, "etcdserver: too many alarms: take some back first"},
	{"ErrRequestTooLarge", chainfire.ErrRequestTooLarge, codes.InvalidArgument, "etcdserver: request is too large"},
	{"ErrNoSpace", chainfire.ErrNoSpace, codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded"},
	{"ErrNoRoom", chainfire.ErrNoRoom, codes.ResourceExhausted, "etcdserver: too little room on the disk"},
	{"ErrWatchDuplicateID", chainfire.ErrWatchDuplicateID, codes.Unknown, "mvcc: duplicate watch ID provided on the WatchStream"},
	{"ErrWatcherNotExist", chainfire.ErrWatcherNotExist, codes.Unknown, "mvcc: watcher does not exist"},
	{"ErrEmptyWatcherRange", chainfire.ErrEmptyWatcherRange, codes.Unknown, "mvcc: watcher range is empty"},
	{"ErrWatchStreamClosed", chainfire.ErrWatchStreamClosed, codes.Unavailable, "etcdserver: server stopped"},
	{"ErrCorrupt", chainfire.ErrCorrupt, codes.DataLoss, "etcdserver: corrupt cluster"},
	{"ErrMemberExists", chainfire.ErrMemberExists, codes.FailedPrecondition, "etcdserver: member ID already exist"},
	{"ErrPeerURLExists", chainfire.ErrPeerURLExists, codes.FailedPrecondition, "etcdserver: Peer URLs already exists"},
	{"ErrMemberNotFound", chainfire.ErrMemberNotFound, codes.NotFound, "etcdserver: member not found"},
	{"ErrMemberNotLearner", chainfire.ErrMemberNotLearner, codes.FailedPrecondition, "etcdserver: can only promote a learner member"},
	{"ErrMemberNotReady", chainfire.ErrMemberNotReady, codes.FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members"},
	{"ErrReadReplica", chainfire.ErrReadReplica, codes.FailedPrecondition, "etcdserver: member is a read replica and never votes: to have it vote, remove it and join it again with an empty directory, without --read-replica"},
	{"ErrLearnerNotReady", chainfire.ErrLearnerNotReady, codes.FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader"},
	{"ErrUnhealthyCluster", chainfire.ErrUnhealthyCluster, codes.Unavailable, "etcdserver: unhealthy cluster"},
	{"ErrTooManyLearners", chainfire.ErrTooManyLearners, codes.FailedPrecondition, "etcdserver: too many learner members in cluster"},
	{"ErrInvalidPeerURL", chainfire.ErrInvalidPeerURL, codes.InvalidArgument, "etcdserver: given member URLs are invalid"},
	{"ErrNoLeader", chainfire.ErrNoLeader, codes.Unavailable, "etcdserver: no leader"},
	{"ErrNotLeader", chainfire.ErrNotLeader, codes.FailedPrecondition, "etcdserver: not leader"},
	{"ErrLeaderChanged", chainfire.ErrLeaderChanged, codes.Unavailable, "etcdserver: leader changed"},
	{"ErrLearner", chainfire.ErrLearner, codes.FailedPrecondition, "etcdserver: rpc not supported for learner"},
	{"ErrTimeout", chainfire.ErrTimeout, codes.Unavailable, "etcdserver: request timed out"},
	{"ErrTimeoutLeaderFail", chainfire.ErrTimeoutLeaderFail, codes.Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"},
	{"ErrTimeoutConnLost", chainfire.ErrTimeoutConnLost, codes.Unavailable, "etcdserver: request timed out, possibly due to connection lost"},
	{"ErrTooManyRequests", chainfire.ErrTooManyRequests, codes.ResourceExhausted, "etcdserver: too many requests"},
	{"ErrStopped", chainfire.ErrStopped, codes.Unavailable, "etcdserver: server stopped"},
	{"ErrConfChangePending", chainfire.ErrConfChangePending, codes.FailedPrecondition, "etcdserver: a membership change is in progress"},
	{"ErrBadLeaderTransferee", chainfire.ErrBadLeaderTransferee, codes.FailedPrecondition, "etcdserver: bad leader transferee"},
	{"ErrTimeoutTransfer", chainfire.ErrTimeoutTransfer, codes.Unknown, "etcdserver: request timed out, leader transfer took too long"},
	{"ErrAuthNotEnabled", chainfire.ErrAuthNotEnabled, codes.FailedPrecondition, "etcdserver: authentication is not enabled"},
	{"ErrAuthFailed", chainfire.ErrAuthFailed, codes.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"},
	{"ErrNoPasswordUser", chainfire.ErrNoPasswordUser, codes.Unknown, "auth: authentication failed, password was given for no password user"},
	{"ErrInvalidAuthToken", chainfire.ErrInvalidAuthToken, codes.Unauthenticated, "etcdserver: invalid auth token"},
	{"ErrAuthOldRevision", chainfire.ErrAuthOldRevision, codes.InvalidArgument, "etcdserver: revision of auth store is old"},
	{"ErrPermissionDenied", chainfire.ErrPermissionDenied, codes.PermissionDenied, "etcdserver: permission denied"},
	{"ErrRootUserNotExist", chainfire.ErrRootUserNotExist, codes.FailedPrecondition, "etcdserver: root user does not exist"},
	{"ErrRootRoleNotExist", chainfire.ErrRootRoleNotExist, codes.FailedPrecondition, "etcdserver: root user does not have root role"},
	{"ErrUserExists", chainfire.ErrUserExists, codes.FailedPrecondition, "etcdserver: user name already exists"},
	{"ErrUserEmpty", chainfire.ErrUserEmpty, codes.InvalidArgument, "etcdserver: user name is empty"},
	{"ErrUserNotFound", chainfire.ErrUserNotFound, codes.FailedPrecondition, "etcdserver: user name not found"},
	{"ErrRoleExists", chainfire.ErrRoleExists, codes.FailedPrecondition, "etcdserver: role name already exists"},
	{"ErrRoleEmpty", chainfire.ErrRoleEmpty, codes.InvalidArgument, "etcdserver: role name is empty"},
	{"ErrRoleNotFound", chainfire.ErrRoleNotFound, codes.FailedPrecondition, "etcdserver: role name not found"},
	{"ErrRoleNotGranted", chainfire.ErrRoleNotGranted, codes.FailedPrecondition, "etcdserver: role is not granted to the user"},
	{"ErrPermissionNotGiven", chainfire.ErrPermissionNotGiven, codes.InvalidArgument, "etcdserver: permission not given"},
	{"ErrPermissionNotGranted", chainfire.ErrPermissionNotGranted, codes.FailedPrecondition, "etcdserver: permission is not granted to the role"},
	{"ErrInvalidAuthMgmt", chainfire.ErrInvalidAuthMgmt, codes.InvalidArgument, "etcdserver: invalid auth management"},
	{"ErrTooManyAuth", chainfire.ErrTooManyAuth, codes.ResourceExhausted, "etcdserver: more users, roles or permissions than there may be, or a name that is too long"},
}

func TestEveryErrorReachesTheClientAsEtcdsError(t *testing.T) {
	f := start(t)
	for _, tc := range wantErrors {
		t.Run(tc.name, func(t *testing.T) {
			f.set(func() {
				f.hook = func(_ context.Context, call string) error {
					if call == "Put" {
						return fmt.Errorf("propose: %w", tc.err)
					}
					return nil
				}
			})
			_, err := f.kv.Put(bounded(t), &pb.PutRequest{Key: []byte("k")})
			wantStatus(t, err, status.Error(tc.code, tc.text))
		})
	}
}

func TestEverySentinelOfTheVocabularyHasAnEtcdError(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, tc := range wantErrors {
		listed[tc.name] = true
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, name := range spec.Names {
			if strings.HasPrefix(name.Name, "Err") && !listed[name.Name] {
				t.Errorf("%s has no etcd error: add it to errorTable and to this test", name.Name)
			}
		}
		return true
	})
	if len(errorTable) != len(wantErrors) {
		t.Errorf("the table has %d errors, this test %d", len(errorTable), len(wantErrors))
	}
}

func TestErrorsBesideTheSentinels(t *testing.T) {
	wantStatus(t, toGRPC(errors.New("disk fell off")), status.Error(codes.Unknown, "disk fell off"))
	wantStatus(t, toGRPC(fmt.Errorf("read: %w", context.Canceled)), status.Error(codes.Canceled, "context canceled"))
	wantStatus(t, toGRPC(fmt.Errorf("read: %w", context.DeadlineExceeded)), status.Error(codes.DeadlineExceeded, "context deadline exceeded"))
	if toGRPC(nil) != nil {
		t.Error("no error becomes one")
	}
	if got := rpctypes.Error(toGRPC(chainfire.ErrCompacted)); !errors.Is(got, rpctypes.ErrCompacted) {
		t.Errorf("etcd's client does not recognize %v", got)
	}
}
