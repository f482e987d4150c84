package snapshot

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"chainfire/api"
)

// Opened is the use of a snapshot that was opened before. An error wraps
// ErrUnknownSnapshot where there is none, or none any more.
func (s *Server) Opened(id string) (Offer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Offer{}, ErrClosed
	}
	r := s.readers[id]
	if r == nil {
		return Offer{}, fmt.Errorf("snapshot %q: %w", id, ErrUnknownSnapshot)
	}
	return Offer{ID: id, Manifest: r.cut.manifest}, nil
}

// GetSnapshot implements the call of that name.
func (s *Service) GetSnapshot(q *api.GetSnapshotRequest, stream grpc.ServerStreamingServer[api.GetSnapshotResponse]) error {
	o, at, err := s.begin(q, stream)
	if err != nil {
		return toStatus(err)
	}
	err = stream.Send(&api.GetSnapshotResponse{Part: &api.GetSnapshotResponse_Meta{Meta: MetaOf(o)}})
	if err != nil {
		if q.GetSnapshotId() == "" {
			s.server.CloseSnapshot(o.ID) // nobody has heard of it
		}
		return err
	}
	base := int64(0)
	for i := range o.Manifest.Files {
		f := &o.Manifest.Files[i]
		if at < base+f.Size {
			if err := s.sendFile(stream, o.ID, f, base, at-base); err != nil {
				return err
			}
			at = base + f.Size
		}
		base += f.Size
	}
	if err := stream.Send(&api.GetSnapshotResponse{Part: &api.GetSnapshotResponse_Done{Done: true}}); err != nil {
		return err
	}
	// It may still be lost on its way, with what is before it.
	s.server.Sent(o.ID)
	return nil
}

// begin opens a snapshot, or goes on with one at an offset.
func (s *Service) begin(q *api.GetSnapshotRequest, stream grpc.ServerStreamingServer[api.GetSnapshotResponse]) (Offer, int64, error) {
	if q.GetSnapshotId() == "" {
		if q.GetOffset() != 0 {
			return Offer{}, 0, fmt.Errorf("%w: offset %d of no snapshot: give the snapshot_id that the offset is of, or begin at 0", ErrBadRequest, q.GetOffset())
		}
		o, err := s.server.Open(stream.Context(), q.GetMinIndex())
		return o, 0, err
	}
	o, err := s.server.Opened(q.GetSnapshotId())
	if err != nil {
		return o, 0, err
	}
	return o, int64(q.GetOffset()), o.Manifest.checkOffset(q.GetOffset())
}

// checkOffset refuses an offset in the sequence of all files at which no chunk begins.
func (m *Manifest) checkOffset(offset uint64) error {
	base := uint64(0)
	for i := range m.Files {
		size := uint64(m.Files[i].Size)
		if offset >= base && offset < base+size {
			in := (offset - base) % BlockSize
			if in == 0 {
				return nil
			}
			return fmt.Errorf("%w: offset %d is in the middle of a chunk, which begins at %d", ErrBadRequest, offset, offset-in)
		}
		base += size
	}
	if offset == base {
		return nil
	}
	return fmt.Errorf("%w: offset %d of a snapshot of %d bytes", ErrBadRequest, offset, base)
}

// sendFile sends a file from an offset on; base is where it begins in the sequence.
func (s *Service) sendFile(stream grpc.ServerStreamingServer[api.GetSnapshotResponse], id string, f *File, base, offset int64) error {
	for {
		// A buffer of its own for each chunk, as in ReadSnapshot.
		buf := make([]byte, BlockSize)
		n, err := s.server.ReadChunk(stream.Context(), id, f.Name, offset, buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return toStatus(err)
		}
		err = stream.Send(&api.GetSnapshotResponse{Part: &api.GetSnapshotResponse_Chunk{Chunk: &api.SnapshotPiece{
			Offset: uint64(base + offset), File: f.Name, Data: buf[:n], Crc32C: checksum(buf[:n]),
		}}})
		if err != nil {
			return err
		}
		offset += int64(n)
	}
}

// MetaOf is the description of a snapshot as it travels; ManifestOf is its inverse.
func MetaOf(o Offer) *api.SnapshotMeta {
	r := offerToProto(o)
	return &api.SnapshotMeta{
		SnapshotId: r.GetSnapshotId(), Index: r.GetIndex(), Term: r.GetTerm(), Conf: r.GetConf(), ClusterId: r.GetClusterId(),
		TotalBytes: r.GetTotalBytes(), Files: r.GetFiles(), ManifestCrc32C: r.GetManifestCrc32C(),
	}
}

// ManifestOf is the manifest that a SnapshotMeta carries, checked against its
// checksum. An error wraps ErrManifest.
func ManifestOf(m *api.SnapshotMeta) (*Manifest, error) {
	o, err := offerFromProto(&api.OpenSnapshotResponse{
		SnapshotId: m.GetSnapshotId(), Index: m.GetIndex(), Term: m.GetTerm(), Conf: m.GetConf(), ClusterId: m.GetClusterId(),
		TotalBytes: m.GetTotalBytes(), Files: m.GetFiles(), ManifestCrc32C: m.GetManifestCrc32C(),
	})
	return o.Manifest, err
}
