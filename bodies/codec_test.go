package bodies

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"chainfire/api"
)

// inParts cuts bytes as they may come from the wire.
func inParts(b []byte, rng *rand.Rand) mem.BufferSlice {
	var out mem.BufferSlice
	for len(b) > 0 {
		n := 1 + rng.IntN(len(b))
		out, b = append(out, mem.SliceBuffer(b[:n])), b[n:]
	}
	return out
}

func TestCodecReadsPiecesAsProtobufDoesIntoTheSameMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	have := &api.PutExtentsRequest{Data: make([]byte, 0, 1000)}
	room := &have.Data[:1][0]
	for range 2000 {
		want := &api.PutExtentsRequest{Data: make([]byte, rng.IntN(1000)), Sync: rng.IntN(2) == 0}
		for i := range want.GetData() {
			want.Data[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 {
			want.ClusterId, want.Size, want.Crc32C, want.Id = rng.Uint64(), rng.Uint32(), rng.Uint32(), &api.ExtentId{Lease: 1, Extent: rng.Uint32()}
		}
		b, err := proto.Marshal(want)
		must(t, err)
		if rng.IntN(2) == 0 {
			b = append(b, 0x78, 1) // field 15, which a later version may have
			want.ProtoReflect().SetUnknown([]byte{0x78, 1})
		}
		must(t, Codec().Unmarshal(inParts(b, rng), have))
		if len(want.GetData()) == 0 {
			want.Data = nil
		}
		if len(have.GetData()) > 0 && &have.Data[0] != room {
			t.Fatal("the memory was not used again")
		}
		seen := proto.CloneOf(have)
		if len(have.GetData()) == 0 {
			seen.Data = nil
		}
		if !proto.Equal(seen, want) {
			t.Fatalf("read %v, not %v", seen, want)
		}
	}
}

func TestCodecRefusesWhatProtobufRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	whole, err := proto.Marshal(&api.PutExtentsRequest{ClusterId: 7, Id: &api.ExtentId{Lease: 5}, Size: 9, Data: []byte("123456789"), Sync: true})
	must(t, err)
	refused := 0
	for range 5000 {
		b := bytes.Clone(whole)
		for range 1 + rng.IntN(3) {
			b[rng.IntN(len(b))] = byte(rng.Uint32())
		}
		b = b[:rng.IntN(len(b)+1)]
		want := proto.Unmarshal(b, &api.PutExtentsRequest{})
		if have := Codec().Unmarshal(inParts(b, rng), &api.PutExtentsRequest{}); (have == nil) != (want == nil) {
			t.Fatalf("%x: %v, and protobuf says %v", b, have, want)
		}
		if want != nil {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("only %d were refused", refused)
	}
}
