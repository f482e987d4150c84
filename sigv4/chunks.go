package sigv4

import (
	"bufio"
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
	"time"
)

// Bounds of a body in chunks.
const (
	// MaxChunk is the longest chunk.
	MaxChunk = 16 << 20
	// MinChunk is the shortest signed chunk that others may follow.
	MinChunk = 8 << 10
	// maxLine bounds the line that begins a chunk, and that of a trailer.
	maxLine = 1 << 10
)

// chain is what the signatures of a body's chunks hang on: each covers the one before it.
type chain struct {
	key      Key
	at       time.Time
	scope    Scope
	previous string
}

// next is the signature of the next link: of a chunk of this hash, or of trailers.
func (c *chain) next(kind, hashes string) string {
	return c.key.Sign(kind + "\n" + c.at.UTC().Format(DateFormat) + "\n" + c.scope.String() + "\n" + c.previous + "\n" + hashes)
}

func (c *chain) chunk(sum []byte) string {
	return c.next(Algorithm+"-PAYLOAD", emptySHA256+"\n"+hex.EncodeToString(sum))
}

func (c *chain) trailers(canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return c.next(Algorithm+"-TRAILER", hex.EncodeToString(sum[:]))
}

// chunks takes a body out of its chunks, and verifies each when it has ended. What it holds
// of a body is one buffer, whatever the size of a chunk.
type chunks struct {
	from     *bufio.Reader
	payload  *payload
	chain    chain
	hash     hash.Hash
	trailer  http.Header
	left     int64 // of this chunk
	total    int64 // of what was read
	short    bool  // a chunk was shorter than one that others may follow
	said     string
	inChunk  bool
	ended    bool // the last line with CRLF
	finished error
}

func newChunks(from io.Reader, p *payload, c chain) *chunks {
	return &chunks{from: bufio.NewReaderSize(from, 32<<10), payload: p, chain: c, hash: sha256.New(), trailer: http.Header{}}
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.finished != nil {
		return 0, c.finished
	}
	n, err := c.read(p)
	if err != nil {
		c.finished = err
	}
	return n, err
}

func (c *chunks) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.left == 0 {
		if c.inChunk {
			if err := c.end(); err != nil {
				return 0, err
			}
		}
		if err := c.begin(); err != nil {
			return 0, err
		}
		if c.left == 0 {
			return 0, c.last()
		}
	}
	n, err := c.from.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.total += int64(n)
	if c.payload.chunksSigned {
		c.hash.Write(p[:n])
	}
	return n, cutOff(err)
}

// begin reads the line before a chunk: its size in hex, and its signature.
func (c *chunks) begin() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	size, extension, signed := strings.Cut(line, ";")
	n, err := strconv.ParseUint(size, 16, 63)
	switch {
	case err != nil || len(size) > 16:
		return refuse(InvalidRequest, "The size of a chunk is %q, which is no number in hex.", clipped(size))
	case n > MaxChunk:
		return refuse(InvalidChunkSizeError, "A chunk is longer than %d bytes.", MaxChunk)
	case c.total+int64(n) > c.payload.length:
		return refuse(IncompleteBody, "The body is longer than x-amz-decoded-content-length says.")
	case n > 0 && c.short && c.payload.chunksSigned:
		return refuse(InvalidChunkSizeError, "Only the last chunk is allowed to have a size less than %d bytes", MinChunk)
	}
	c.said = ""
	if c.payload.chunksSigned {
		signature, ok := strings.CutPrefix(extension, "chunk-signature=")
		if !ok || parseSignature(signature) != nil {
			return refuse(SignatureDoesNotMatch, "A chunk comes without its signature.")
		}
		c.said = signature
	} else if signed {
		return refuse(InvalidRequest, "A chunk is signed, and x-amz-content-sha256 says that it is not.")
	}
	c.left, c.short = int64(n), n < MinChunk
	c.inChunk = true
	c.hash.Reset()
	return nil
}

// end verifies the chunk that was read, and takes the line end after it.
func (c *chunks) end() error {
	var crlf [2]byte
	if _, err := io.ReadFull(c.from, crlf[:]); err != nil {
		return cutOff(err)
	}
	if crlf != [2]byte{'\r', '\n'} {
		return refuse(InvalidRequest, "A chunk is longer than its size says.")
	}
	c.inChunk = false
	return c.check(c.chunkSignature)
}

func (c *chunks) chunkSignature() string { return c.chain.chunk(c.hash.Sum(nil)) }

// check compares the next signature of the chain with the one that came.
func (c *chunks) check(next func() string) error {
	if !c.payload.chunksSigned {
		return nil
	}
	want := next()
	if subtle.ConstantTimeCompare([]byte(want), []byte(c.said)) != 1 {
		return refuse(SignatureDoesNotMatch, "The signature of a chunk, or of what comes after the last, does not match: it began after %d bytes of the body.", c.total)
	}
	c.chain.previous = want
	return nil
}

// last verifies what comes with the last chunk, which is empty, and that nothing comes after.
func (c *chunks) last() error {
	if c.total != c.payload.length {
		return refuse(IncompleteBody, "You did not provide the number of bytes specified by the x-amz-decoded-content-length HTTP header: %d instead of %d.", c.total, c.payload.length)
	}
	if err := c.check(c.chunkSignature); err != nil {
		return err
	}
	if c.payload.trailer == "" {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line != "" {
			return refuse(MalformedTrailerError, "Something comes after the last chunk, and no trailer was announced.")
		}
	} else if err := c.readTrailer(); err != nil {
		return err
	}
	if _, err := c.from.ReadByte(); err == nil {
		return refuse(IncompleteBody, "The body goes on after its last chunk.")
	} else if err != io.EOF {
		return err
	}
	return io.EOF
}

// readTrailer reads the one trailer that was announced, and its signature where chunks have
// one. The empty line at the end is left away by some clients.
func (c *chunks) readTrailer() error {
	line, err := c.trailerLine()
	if err != nil {
		return err
	}
	name, value, ok := strings.Cut(line, ":")
	name, value = strings.ToLower(strings.Trim(name, " \t")), strings.Trim(value, " \t")
	if !ok || name != c.payload.trailer {
		return refuse(MalformedTrailerError, "The body is to end with %s, and ends with %q.", c.payload.trailer, clipped(line))
	}
	if c.payload.chunksSigned {
		line, err := c.trailerLine()
		if err == nil && line == "" { // some clients end the trailer with an empty line of its own
			line, err = c.trailerLine()
		}
		if err != nil {
			return err
		}
		signature, ok := strings.CutPrefix(line, "x-amz-trailer-signature:")
		if c.said = strings.Trim(signature, " \t"); !ok || parseSignature(c.said) != nil {
			return refuse(MalformedTrailerError, "The trailer comes without its signature.")
		}
		if err := c.check(func() string { return c.chain.trailers(name + ":" + value + "\n") }); err != nil {
			return err
		}
	}
	c.trailer.Set(name, value)
	return c.emptyLines()
}

// emptyLines takes up to two line ends at the end of the body.
func (c *chunks) emptyLines() error {
	for range 2 {
		next, err := c.from.Peek(2)
		if err == io.EOF && len(next) == 0 {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		if !bytes.Equal(next, []byte("\r\n")) {
			return refuse(MalformedTrailerError, "Something comes after the trailer that was announced.")
		}
		if _, err := c.from.Discard(2); err != nil {
			return err
		}
	}
	return nil
}

// line is the next line of the chunks without its end, which is CRLF.
func (c *chunks) line() (string, error) {
	text, err := c.trailerLine()
	if err == nil && !c.ended {
		err = refuse(InvalidRequest, "A line before a chunk does not end with CRLF.")
	}
	return text, err
}

// trailerLine is the next line without its end, which may be a line feed alone: clients of
// AWS's own send such ones after trailers.
func (c *chunks) trailerLine() (string, error) {
	var b []byte
	for len(b) <= maxLine {
		x, err := c.from.ReadByte()
		if err != nil {
			return "", cutOff(err)
		}
		if x != '\n' {
			b = append(b, x)
			continue
		}
		b, c.ended = bytes.CutSuffix(b, []byte("\r"))
		if bytes.IndexByte(b, '\r') >= 0 {
			break
		}
		return string(b), nil
	}
	return "", refuse(InvalidRequest, "A line before a chunk or of a trailer has more than %d bytes, or a carriage return inside.", maxLine)
}

// cutOff is what the end of a body means where more is to come.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{
			Code: IncompleteBody, Message: "The request body terminated unexpectedly", cause: io.ErrUnexpectedEOF,
		}
	}
	return err
}

// clipped is a text from a stranger, for an error.
func clipped(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return s
}
