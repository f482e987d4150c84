package raft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"chainfire/raft/confchange"
)

// changeVersion is the first byte of an encoded change. It is part of the log's
// format.
const changeVersion = 1

// maxSteps bounds the steps of one change.
const maxSteps = 1024

var errChange = errors.New("malformed membership change")

// EncodeChange encodes a change as the data of an EntryConf:
//
//	version(1) flags(1) steps(uvarint) { kind(1) id(uvarint) }* context
func EncodeChange(c confchange.Change) []byte {
	b := make([]byte, 0, 4+len(c.Steps)*11+len(c.Context))
	var flags byte
	if c.Joint {
		flags = 1
	}
	b = append(b, changeVersion, flags)
	b = binary.AppendUvarint(b, uint64(len(c.Steps)))
	for _, s := range c.Steps {
		b = append(b, byte(s.Kind))
		b = binary.AppendUvarint(b, s.ID)
	}
	return append(b, c.Context...)
}

// DecodeChange decodes what EncodeChange made. The context aliases b.
func DecodeChange(b []byte) (confchange.Change, error) {
	var c confchange.Change
	if len(b) < 3 || b[0] != changeVersion || b[1] > 1 {
		return c, fmt.Errorf("%w: bad header in %d bytes", errChange, len(b))
	}
	c.Joint = b[1] == 1
	b = b[2:]
	n, k := binary.Uvarint(b)
	if k <= 0 || n > maxSteps {
		return c, fmt.Errorf("%w: %d steps", errChange, n)
	}
	b = b[k:]
	for range n {
		if len(b) < 2 || b[0] > byte(confchange.Remove) {
			return c, fmt.Errorf("%w: bad step", errChange)
		}
		id, k := binary.Uvarint(b[1:])
		if k <= 0 {
			return c, fmt.Errorf("%w: bad member id", errChange)
		}
		c.Steps = append(c.Steps, confchange.Step{Kind: confchange.Kind(b[0]), ID: id})
		b = b[1+k:]
	}
	if len(b) > 0 {
		c.Context = b
	}
	return c, nil
}
