// Package api holds the gRPC calls that members, newcomers and ChainFire's own
// client make beside the etcd services. The .proto files are the source and their
// comments are the reference; the Go code is generated and committed, so that
// building needs no protoc.
//
// make generate writes it again; the plugins come from tools/proto, protoc 3.21
// must be on the path.
package api

//go:generate protoc -I .. --go_out=.. --go_opt=module=chainfire --go-grpc_out=.. --go-grpc_opt=module=chainfire api/cluster.proto
//go:generate protoc -I .. --go_out=.. --go_opt=module=chainfire --go-grpc_out=.. --go-grpc_opt=module=chainfire api/s3.proto
