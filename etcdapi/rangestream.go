package etcdapi

import (
	"bytes"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/internal/etcdrequest"
)

const (
	// firstChunk is the number of keys in the first message of a stream; how
	// large the keys of the interval are is not known yet.
	firstChunk = 10
	// maxChunk bounds the keys of one message, whatever their size.
	maxChunk = 1 << 16
)

// RangeStream reads keys as Range does and answers in parts: put together they
// are the answer of Range. The header, more and count are on the last part.
// Every part is read at the revision of the first.
func (s *kvServer) RangeStream(r *pb.RangeRequest, stream pb.KV_RangeStreamServer) error {
	if err := checkRangeStream(r); err != nil {
		return err
	}
	var req chainfire.RangeRequest
	etcdrequest.FillRange(&req, r)
	// A target without an order means upwards, here too; etcd sorts each part by itself
	// then, and loses keys between them.
	if req.CountOnly || req.SortTarget != chainfire.SortByKey {
		resp, err := s.member.Range(stream.Context(), &req)
		if err != nil {
			return toGRPC(err)
		}
		return stream.Send(&pb.RangeStreamResponse{RangeResponse: newRangeResponse(resp)})
	}
	return s.sendChunks(&req, stream)
}

func checkRangeStream(r *pb.RangeRequest) error {
	if err := checkRange(r); err != nil {
		return err
	}
	if r.SortOrder != pb.RangeRequest_NONE && (r.SortOrder != pb.RangeRequest_ASCEND || r.SortTarget != pb.RangeRequest_KEY) {
		return status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders")
	}
	if r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0 {
		return status.Error(codes.Unimplemented, "RangeStream does not support revision filters")
	}
	return nil
}

func (s *kvServer) sendChunks(req *chainfire.RangeRequest, stream pb.KV_RangeStreamServer) error {
	left := req.Limit // 0 or less is no bound
	limited := left > 0
	chunk := int64(firstChunk)
	var header chainfire.Header
	var count int64
	for first := true; ; first = false {
		req.Limit = chunk
		if limited {
			req.Limit = min(chunk, left)
		}
		resp, err := s.member.Range(stream.Context(), req)
		if err != nil {
			return toGRPC(err)
		}
		if first {
			header, count = resp.Header, resp.Count
			if req.Revision <= 0 {
				req.Revision = header.Revision
			}
			// What the first part read is applied here, so the rest needs no
			// further agreement among the members.
			req.Serializable = true
		}
		left -= int64(len(resp.KVs))
		last := !resp.More || len(resp.KVs) == 0 || limited && left <= 0
		out := &pb.RangeResponse{Kvs: newKVs(resp.KVs)}
		if last {
			out.Header, out.More, out.Count = newHeader(header), resp.More, count
		}
		if err := stream.Send(&pb.RangeStreamResponse{RangeResponse: out}); err != nil {
			return err
		}
		if last {
			return nil
		}
		req.Key = append(bytes.Clone(resp.KVs[len(resp.KVs)-1].Key), 0)
		chunk = nextChunk(chunk, resp.KVs, s.maxRequestBytes)
	}
}

// nextChunk steers the number of keys so that a message is about as large as a
// request may be.
func nextChunk(chunk int64, kvs []chainfire.KeyValue, target int) int64 {
	const perKey = 32 // numbers and tags, about
	size := 0
	for i := range kvs {
		size += len(kvs[i].Key) + len(kvs[i].Value) + perKey
	}
	switch {
	case size < target/2:
		return min(chunk*2, maxChunk)
	case size > target*2:
		return max(chunk/2, 1)
	}
	return chunk
}
