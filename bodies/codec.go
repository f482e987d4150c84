package bodies

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one is built on
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"chainfire/api"
)

// Codec is the codec of a gRPC server that has the Bodies service: that of protobuf, which reads
// pieces of extents into the memory of the message that it is given. As the others read, each piece
// is memory of its own: at a member that takes many bytes in, that was most of all garbage, and small
// writes waited for its collection.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

type codec struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*api.PutExtentsRequest)
	if !ok {
		return c.CodecV2.Unmarshal(data, v) //nolint:wrapcheck // it is the codec that says so
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	piece := m.Data[:0]
	var others []byte
	for b := buf.ReadOnlyData(); len(b) > 0; {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return fmt.Errorf("read a piece of an extent: %w", protowire.ParseError(n))
		}
		if num == dataField && typ == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(b)
			bytes, _ := protowire.ConsumeBytes(b[tag:])
			piece = append(piece[:0], bytes...)
		} else {
			others = append(others, b[:n]...)
		}
		b = b[n:]
	}
	if err := proto.Unmarshal(others, m); err != nil {
		return fmt.Errorf("read a piece of an extent: %w", err)
	}
	m.Data = piece
	return nil
}

// dataField is the number of PutExtentsRequest.data.
const dataField = 5
