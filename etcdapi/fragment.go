package etcdapi

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// eventsField is the number of WatchResponse.events.
const eventsField = 11

// sendFragments sends an answer in parts smaller than limit, all but the last
// marked as having a successor. An event alone is never split.
func sendFragments(r *pb.WatchResponse, limit int, send func(*pb.WatchResponse) error) error {
	if len(r.Events) < 2 || proto.Size(r) < limit {
		return send(r)
	}
	events := r.Events
	for len(events) > 0 {
		// gRPC may keep a message after Send, so each part is one of its own.
		part := &pb.WatchResponse{
			Header: r.Header, WatchId: r.WatchId, Created: r.Created, Canceled: r.Canceled,
			CompactRevision: r.CompactRevision, CancelReason: r.CancelReason, Fragment: true,
		}
		size := proto.Size(part)
		n := 0
		for n < len(events) {
			size += protowire.SizeTag(eventsField) + protowire.SizeBytes(proto.Size(events[n]))
			if n > 0 && size >= limit {
				break
			}
			n++
		}
		part.Events, events = events[:n:n], events[n:]
		part.Fragment = len(events) > 0
		if err := send(part); err != nil {
			return err
		}
	}
	return nil
}
