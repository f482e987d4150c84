package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// kind is what a frame carries.
type kind uint8

// The kinds. Hello, Messages, Envelope and Ping go from dialer to acceptor;
// Welcome, Refuse and Pong go back.
const (
	kindHello kind = iota + 1
	kindWelcome
	kindRefuse
	kindMessages
	kindEnvelope
	kindPing
	kindPong
)

// The layout of a frame's header: length u32, kind u8, three zero bytes, crc
// u32, all little endian. The checksum covers the eight bytes before it and the
// payload.
const (
	headerSize = 12
	crcOffset  = 8

	// smallFrame bounds every frame but Messages and Envelope.
	smallFrame = 4 << 10
	// readStep is how much is allocated before any of it has arrived.
	readStep = 1 << 20
)

// ErrFrame is wrapped around the reason a frame was refused.
var ErrFrame = errors.New("bad frame")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// beginFrame reserves a header; endFrame fills it in once the payload follows.
func beginFrame(b []byte) (out []byte, start int) {
	return append(b, make([]byte, headerSize)...), len(b)
}

func endFrame(b []byte, start int, k kind) []byte {
	h := b[start : start+headerSize]
	payload := b[start+headerSize:]
	binary.LittleEndian.PutUint32(h, uint32(len(payload)))
	h[4] = byte(k)
	table := castagnoli()
	crc := crc32.Update(crc32.Checksum(h[:crcOffset], table), table, payload)
	binary.LittleEndian.PutUint32(h[crcOffset:], crc)
	return b
}

// appendFrame appends a whole frame.
func appendFrame(b []byte, k kind, payload []byte) []byte {
	b, start := beginFrame(b)
	return endFrame(append(b, payload...), start, k)
}

type header struct {
	length int
	kind   kind
	crc    uint32
}

// parseHeader checks what can be checked before the payload is read: without
// it, a damaged length would be waited for.
func parseHeader(h []byte, maxFrame int) (header, error) {
	out := header{kind: kind(h[4]), crc: binary.LittleEndian.Uint32(h[crcOffset:])}
	length := binary.LittleEndian.Uint32(h)
	limit := smallFrame
	if out.kind == kindMessages || out.kind == kindEnvelope {
		limit = maxFrame
	}
	switch {
	case out.kind < kindHello || out.kind > kindPong:
		return out, fmt.Errorf("%w: kind %d", ErrFrame, out.kind)
	case h[5]|h[6]|h[7] != 0:
		return out, fmt.Errorf("%w: reserved bytes are set", ErrFrame)
	case uint64(length) > uint64(limit):
		return out, fmt.Errorf("%w: %d bytes of kind %d, the limit is %d", ErrFrame, length, out.kind, limit)
	}
	out.length = int(length)
	return out, nil
}

// readFrame reads one frame into a buffer of its own, which the caller owns.
// io.EOF is returned as it is only when the stream ends between two frames.
func readFrame(r io.Reader, maxFrame int) (kind, []byte, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, nil, fmt.Errorf("%w: stream ends inside a header", ErrFrame)
		}
		return 0, nil, err
	}
	hd, err := parseHeader(h[:], maxFrame)
	if err != nil {
		return 0, nil, err
	}
	payload, err := readPayload(r, hd.length)
	if err != nil {
		return 0, nil, err
	}
	table := castagnoli()
	if crc := crc32.Update(crc32.Checksum(h[:crcOffset], table), table, payload); crc != hd.crc {
		return 0, nil, fmt.Errorf("%w: checksum %08x of %d bytes of kind %d, expected %08x",
			ErrFrame, crc, hd.length, hd.kind, hd.crc)
	}
	return hd.kind, payload, nil
}

// readPayload grows the buffer as the bytes arrive, so that a length alone
// cannot make it allocate more than readStep.
func readPayload(r io.Reader, length int) ([]byte, error) {
	buf := make([]byte, min(length, readStep))
	for have := 0; ; {
		n, err := io.ReadFull(r, buf[have:])
		have += n
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: stream ends after %d of %d bytes", ErrFrame, have, length)
		}
		if err != nil {
			return nil, err
		}
		if have == length {
			return buf, nil
		}
		grown := make([]byte, min(length, 2*len(buf)))
		copy(grown, buf)
		buf = grown
	}
}
