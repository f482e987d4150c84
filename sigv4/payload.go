package sigv4

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// What x-amz-content-sha256 may say instead of a hash.
const (
	// UnsignedPayload leaves the body to TLS.
	UnsignedPayload = "UNSIGNED-PAYLOAD"
	// StreamingPayload is a body in chunks, each of which is signed.
	StreamingPayload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	// StreamingPayloadTrailer is the same with signed trailers.
	StreamingPayloadTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	// StreamingUnsignedTrailer is a body in chunks that are not signed, with trailers.
	StreamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// MaxBody is the longest body that one request may bring: the largest part, 5 GiB.
const MaxBody = 5 << 30

// payload is what a request says of its body.
type payload struct {
	hash         string // 64 hex digits, or empty if the body has none
	chunked      bool
	chunksSigned bool
	length       int64 // of what is in the chunks
	trailer      string
}

// payloadOf reads and checks what a request says of its body.
func payloadOf(h http.Header, hash string) (payload, error) {
	var p payload
	switch hash {
	case "", UnsignedPayload:
		return p, noChunks(h)
	case StreamingPayload:
		p.chunksSigned = true
	case StreamingPayloadTrailer, StreamingUnsignedTrailer:
		p.chunksSigned = hash == StreamingPayloadTrailer
		if err := p.readTrailer(h); err != nil {
			return p, err
		}
	default:
		if strings.HasPrefix(hash, "STREAMING-AWS4-ECDSA-") {
			return p, refuse(InvalidRequest, "Signatures for several regions (AWS4-ECDSA-P256-SHA256) are not supported. Please use %s.", Algorithm)
		}
		if !isSHA256(hash) {
			return p, refuse(InvalidArgument, "x-amz-content-sha256 must be %s, %s, %s, %s or a valid sha256 value.",
				UnsignedPayload, StreamingUnsignedTrailer, StreamingPayload, StreamingPayloadTrailer).
				with("ArgumentName", "x-amz-content-sha256").with("ArgumentValue", hash)
		}
		p.hash = hash
		return p, noChunks(h)
	}
	p.chunked = true
	text, err := single(h, "X-Amz-Decoded-Content-Length")
	if err != nil {
		return p, err
	}
	if text == "" {
		return p, refuse(MissingContentLength, "You must provide the Content-Length HTTP header: a body in chunks has its length in x-amz-decoded-content-length.")
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return p, refuse(InvalidArgument, "x-amz-decoded-content-length is %q, which is no length.", text)
	}
	if n > MaxBody {
		return p, refuse(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size").
			with("ProposedSize", text).with("MaxSizeAllowed", strconv.FormatInt(MaxBody, 10))
	}
	p.length = int64(n)
	return p, nil
}

// noChunks refuses a trailer where the body has no chunks to put it after.
func noChunks(h http.Header) error {
	if len(h["X-Amz-Trailer"]) > 0 {
		return refuse(InvalidRequest, "x-amz-trailer is there, and x-amz-content-sha256 says nothing of a trailer.")
	}
	return nil
}

// readTrailer reads the name of the one trailer: a checksum.
func (p *payload) readTrailer(h http.Header) error {
	name, err := single(h, "X-Amz-Trailer")
	if err != nil {
		return err
	}
	p.trailer = strings.ToLower(strings.Trim(name, " \t"))
	if p.trailer == "" {
		return refuse(InvalidRequest, "The body is to end with a trailer, and x-amz-trailer does not name it.")
	}
	if !strings.HasPrefix(p.trailer, "x-amz-checksum-") || !isToken(p.trailer) {
		return refuse(InvalidRequest, "The value specified in the x-amz-trailer header is not supported").
			with("ArgumentName", "x-amz-trailer").with("ArgumentValue", name)
	}
	return nil
}

// Trailer is the name in lower case of the header that comes after the body, or empty.
func (v *Verified) Trailer() string { return v.payload.trailer }

// Length is the length of what the body holds: of what is in its chunks, or the Content-Length
// as it is given here, which is -1 where it is unknown.
func (v *Verified) Length(contentLength int64) int64 {
	if v.payload.chunked {
		return v.payload.length
	}
	return contentLength
}

// Body is the content of a request's body. Nothing of it is verified before it was read to
// io.EOF: whoever keeps what is read keeps it only then. It is read by one goroutine, and does
// not close what it reads.
type Body struct {
	from    io.Reader
	hash    hash.Hash
	want    string
	trailer http.Header
	err     error
}

// Body returns the content of the request's body, taken out of its chunks.
func (v *Verified) Body(from io.Reader) *Body {
	if v.payload.chunked {
		c := newChunks(from, &v.payload, v.chain)
		return &Body{from: c, trailer: c.trailer}
	}
	b := &Body{from: from}
	if v.payload.hash != "" {
		b.hash, b.want = sha256.New(), v.payload.hash
	}
	return b
}

// Trailer is what came after the body, once it was read to its end.
func (b *Body) Trailer() http.Header { return b.trailer }

// Read returns io.EOF only where all that the signature says of the body holds, and an *Error
// where it does not; an error of the connection is returned as it is.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	if b.hash != nil {
		b.hash.Write(p[:n])
	}
	if errors.Is(err, io.EOF) && b.hash != nil {
		have := hex.EncodeToString(b.hash.Sum(nil))
		if subtle.ConstantTimeCompare([]byte(have), []byte(b.want)) != 1 {
			err = refuse(XAmzContentSHA256Mismatch, "The provided 'x-amz-content-sha256' header does not match what was computed.").
				with("ClientComputedContentSHA256", b.want).with("S3ComputedContentSHA256", have)
		}
	}
	b.err = err
	return n, err
}

// All reads the whole body, of at most so many bytes, and verifies it.
func (b *Body) All(limit int64) ([]byte, error) {
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(b, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, refuse(EntityTooLarge, "The body is longer than %d bytes.", limit)
	}
	return out.Bytes(), nil
}
