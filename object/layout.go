package object

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"chainfire/internal/record"
)

// The first byte of a row says what it is of. docs/format/objects.md describes the rows.
const (
	rowAccessKey = 'a' // a | id                                   an access key
	rowBucket    = 'b' // b | name                                 a bucket
	rowConfig    = 'c' // c | bucket id | name                     a document of a bucket
	rowBody      = 'e' // e | lease | n                            a body of extents, and how often it is referred to
	rowGarbage   = 'g' // g | what rows begin with                 rows of parts that nothing refers to, to be reaped
	rowInline    = 'i' // i | index | n                            a body that is inline, and how often it is referred to
	rowManifest  = 'm' // m | upload | 0, alone or with | number   how often an object's parts are referred to; some of the parts, from that number on
	rowNull      = 'n' // n | bucket id | key                      the Seq of the key's null version
	rowPart      = 'p' // p | upload | number                      a part of an open upload
	rowUpload    = 'u' // u | bucket id | key, ended | upload      an open upload
	rowVersion   = 'v' // v | bucket id | key, ended | ^Seq        a version, newest first
	rowLease     = 'w' // w | lease                                an open write lease
	rowDone      = 'x' // x | upload                               the version that an upload became, as long as that is there
)

// seqBits is how many versions, uploads and inline bodies one index of the log can make: a
// number made at an index is index<<seqBits plus a count from 0.
const seqBits = 12

// appendEnded appends a key so that the order of keys is kept, with what follows it apart: a
// 0x00 is written 0x00 0xff, and the end 0x00 0x01.
func appendEnded(row []byte, key string) []byte {
	for {
		i := strings.IndexByte(key, 0)
		if i < 0 {
			break
		}
		row = append(append(row, key[:i+1]...), 0xff)
		key = key[i+1:]
	}
	return append(append(row, key...), 0, 1)
}

// cutEnded is the key that appendEnded made b of.
func cutEnded(b []byte) (string, error) {
	key := make([]byte, 0, len(b))
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 || i+1 == len(b) {
			return "", fmt.Errorf("%w: a key without its end", record.ErrMalformed)
		}
		key = append(key, b[:i]...)
		switch {
		case b[i+1] == 0xff:
			key = append(key, 0)
			b = b[i+2:]
		case b[i+1] == 1 && i+2 == len(b):
			return string(key), nil
		default:
			return "", fmt.Errorf("%w: a key with 00 %02x in it", record.ErrMalformed, b[i+1])
		}
	}
}

// appendKeyPrefix appends what the rows of all keys with a prefix begin with.
func appendKeyPrefix(row []byte, prefix string) []byte {
	row = appendEnded(row, prefix)
	return row[:len(row)-2]
}

// inBucket begins a row that lies in a bucket.
func inBucket(kind byte, bucket uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, bucket)
}

func bodyRow(kind byte, id BodyID) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64([]byte{kind}, id.Lease), id.N)
}
