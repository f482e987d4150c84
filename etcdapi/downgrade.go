package etcdapi

import (
	"context"
	"fmt"

	"github.com/coreos/go-semver/semver"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Downgrade is how etcd is told to write what its version before this one reads. Its
// checks are etcd's. What would be allowed there is refused: no older version reads this
// store, and the way back to etcd is a snapshot.
func (s *maintenanceServer) Downgrade(_ context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	switch r.Action {
	case pb.DowngradeRequest_VALIDATE, pb.DowngradeRequest_ENABLE:
		return nil, refuseDowngrade(r.Version)
	case pb.DowngradeRequest_CANCEL:
		return &pb.DowngradeResponse{Header: newHeader(s.member.Header()), Version: majorMinor(semver.New(etcdVersion))}, nil
	}
	return nil, status.Error(codes.Unknown, "etcdserver: unknown method")
}

// refuseDowngrade is why the cluster does not go to a version.
func refuseDowngrade(to string) error {
	target, err := semver.NewVersion(to)
	if err != nil {
		if target, err = semver.NewVersion(to + ".0"); err != nil {
			return rpctypes.ErrGRPCWrongDowngradeVersionFormat
		}
	}
	now := semver.New(etcdVersion)
	if target.Major != now.Major || target.Minor+1 != now.Minor {
		return rpctypes.ErrGRPCInvalidDowngradeTargetVersion
	}
	return status.Error(codes.FailedPrecondition, "etcdserver: no version of etcd reads the store of this cluster: to go to "+
		majorMinor(target)+", save a snapshot ('etcdctl snapshot save') and restore it there ('etcdutl snapshot restore')")
}

func majorMinor(v *semver.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }
