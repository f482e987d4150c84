package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Magic is what a dialer sends first, so that one port can serve this protocol
// beside others.
const Magic = "CHNFIRE1"

// Version is the protocol that this package speaks, MinVersion the oldest that
// it understands.
const (
	Version    = 1
	MinVersion = 1
)

// Hello is how a dialer introduces itself.
type Hello struct {
	// Version and MinVersion are the newest and the oldest protocol that the
	// dialer speaks.
	Version, MinVersion uint16
	ClusterID           uint64
	// From is the dialer, To the member it believes to have reached.
	From, To uint64
	// Incarnation is the random number of the dialer's data directory.
	Incarnation uint64
	// Expected is the incarnation that the dialer expects at the acceptor; 0 is
	// any.
	Expected uint64
	// BootNonce is random per process start.
	BootNonce uint64
	// Addrs are where the dialer is reached, HOST:PORT, so that an acceptor that
	// has not applied the dialer's membership yet can answer it. At most 1 KiB of
	// text; more is left out.
	Addrs []string
	// Boots counts the starts of the dialer's data directory; 0 is not known.
	Boots uint64
}

// RefuseCode says why a connection was refused.
type RefuseCode uint8

// The codes. Their numbers are part of the protocol.
const (
	// CodeOther is any reason without a code of its own; the text has it.
	CodeOther RefuseCode = iota + 1
	// CodeWrongCluster: the acceptor belongs to another cluster.
	CodeWrongCluster
	// CodeWrongMember: the acceptor is another member than the one dialed, or
	// does not know the dialer.
	CodeWrongMember
	// CodeWrongIncarnation: one side's data directory is not the one that the
	// other side knows under this id.
	CodeWrongIncarnation
	// CodeRemoved: the dialer was removed from the cluster; its id never returns.
	CodeRemoved
	// CodeUnknownVersion: no protocol version is spoken by both.
	CodeUnknownVersion
	// CodeBadStream: what was sent on the connection broke the protocol. It is
	// the one code that also ends a connection that was welcomed.
	CodeBadStream
	// CodeBusy: too many connections are in their handshake; try again.
	CodeBusy
	// CodeCopied: another process was started later on a copy of the dialer's data
	// directory.
	CodeCopied
)

// String names the code for logs and metrics.
func (c RefuseCode) String() string {
	switch c {
	case CodeOther:
		return "other"
	case CodeWrongCluster:
		return "wrong-cluster"
	case CodeWrongMember:
		return "wrong-member"
	case CodeWrongIncarnation:
		return "wrong-incarnation"
	case CodeRemoved:
		return "removed"
	case CodeUnknownVersion:
		return "unknown-version"
	case CodeBadStream:
		return "bad-stream"
	case CodeBusy:
		return "busy"
	case CodeCopied:
		return "copied"
	}
	return fmt.Sprintf("code(%d)", uint8(c))
}

// RefusedError is a peer's refusal. Admit returns one to choose the code, and
// the dialer gets it back as the acceptor wrote it.
type RefusedError struct {
	Code RefuseCode
	// Text says what is wrong and what to do, for people. At most 1 KiB of it
	// is sent.
	Text string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused (%s): %s", e.Code, e.Text)
}

const (
	helloSize    = 56
	welcomeSize  = 32
	maxRefuseLen = 1 << 10
	maxAddrsLen  = 1 << 10
)

func encodeHello(h Hello) []byte {
	b := make([]byte, 0, helloSize)
	b = binary.LittleEndian.AppendUint16(b, h.Version)
	b = binary.LittleEndian.AppendUint16(b, h.MinVersion)
	b = binary.LittleEndian.AppendUint32(b, 0)
	for _, v := range [...]uint64{h.ClusterID, h.From, h.To, h.Incarnation, h.Expected, h.BootNonce} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	addrs := strings.Join(h.Addrs, "\n")
	if len(addrs) > maxAddrsLen {
		addrs = ""
	}
	if addrs == "" && h.Boots == 0 {
		return b
	}
	b = append(binary.LittleEndian.AppendUint16(b, uint16(len(addrs))), addrs...)
	if h.Boots == 0 {
		return b
	}
	return binary.LittleEndian.AppendUint64(b, h.Boots)
}

// decodeRest reads what may follow the fields of a hello: the addresses, and then
// the boots.
func decodeRest(b []byte) (addrs []string, boots uint64) {
	if len(b) < 2 {
		return nil, 0
	}
	n := int(binary.LittleEndian.Uint16(b))
	if b = b[2:]; n > maxAddrsLen || n > len(b) {
		return nil, 0
	}
	if n > 0 {
		addrs = strings.Split(string(b[:n]), "\n")
	}
	if b = b[n:]; len(b) >= 8 {
		boots = binary.LittleEndian.Uint64(b)
	}
	return addrs, boots
}

// decodeHello ignores what follows the fields it knows: a later version may
// have more to say, and must be refused by its version, not by its length.
func decodeHello(b []byte) (Hello, error) {
	if len(b) < helloSize {
		return Hello{}, fmt.Errorf("%w: hello of %d bytes", ErrCodec, len(b))
	}
	h := Hello{Version: binary.LittleEndian.Uint16(b), MinVersion: binary.LittleEndian.Uint16(b[2:])}
	for i, v := range [...]*uint64{&h.ClusterID, &h.From, &h.To, &h.Incarnation, &h.Expected, &h.BootNonce} {
		*v = binary.LittleEndian.Uint64(b[8+8*i:])
	}
	h.Addrs, h.Boots = decodeRest(b[helloSize:])
	return h, nil
}

// welcome is the acceptor's consent.
type welcome struct {
	// version is the one that both speak from here on.
	version     uint16
	id          uint64
	incarnation uint64
	bootNonce   uint64
}

func encodeWelcome(w welcome) []byte {
	b := make([]byte, 8, welcomeSize)
	binary.LittleEndian.PutUint16(b, w.version)
	b = binary.LittleEndian.AppendUint64(b, w.id)
	b = binary.LittleEndian.AppendUint64(b, w.incarnation)
	return binary.LittleEndian.AppendUint64(b, w.bootNonce)
}

func decodeWelcome(b []byte) (welcome, error) {
	if len(b) < welcomeSize {
		return welcome{}, fmt.Errorf("%w: welcome of %d bytes", ErrCodec, len(b))
	}
	return welcome{
		version:     binary.LittleEndian.Uint16(b),
		id:          binary.LittleEndian.Uint64(b[8:]),
		incarnation: binary.LittleEndian.Uint64(b[16:]),
		bootNonce:   binary.LittleEndian.Uint64(b[24:]),
	}, nil
}

func encodeRefusal(e *RefusedError) []byte {
	text := e.Text
	if len(text) > maxRefuseLen {
		text = text[:maxRefuseLen]
	}
	return append([]byte{byte(e.Code)}, text...)
}

func decodeRefusal(b []byte) *RefusedError {
	if len(b) == 0 {
		return &RefusedError{Code: CodeOther, Text: "no reason given"}
	}
	text := b[1:min(len(b), 1+maxRefuseLen)]
	return &RefusedError{Code: RefuseCode(b[0]), Text: strings.ToValidUTF8(string(text), "?")}
}

// negotiate picks the newest version that both sides speak.
func negotiate(h Hello) (uint16, *RefusedError) {
	if h.MinVersion > Version || h.Version < MinVersion || h.MinVersion > h.Version {
		return 0, &RefusedError{Code: CodeUnknownVersion, Text: fmt.Sprintf(
			"the dialer speaks protocol versions %d to %d, this member %d to %d; upgrade the older one",
			h.MinVersion, h.Version, MinVersion, Version)}
	}
	return min(h.Version, Version), nil
}

// asRefusal turns what Admit returned into what is sent.
func asRefusal(err error) *RefusedError {
	var r *RefusedError
	if errors.As(err, &r) {
		return r
	}
	return &RefusedError{Code: CodeOther, Text: err.Error()}
}
