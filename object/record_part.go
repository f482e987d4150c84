package object

import (
	"encoding/hex"
	"fmt"
	"math"

	"chainfire/internal/record"
)

var (
	messagePart   = record.New("part", record.Number, record.Number, record.Number, record.Text, record.Text, record.Text)
	messageParts  = record.New("parts", record.Repeated)
	messageRefs   = record.New("manifest", record.Number)
	messageUpload = record.New("upload", record.Number, record.Text, record.Text, record.Text, record.Text, record.Flag)
	messageDone   = record.New("completed upload", record.Number, record.Text, record.Number)
)

// appendPart appends a part, whose ETag is kept raw.
func appendPart(r []byte, p *Part) []byte {
	r = record.AppendUint(r, 1, uint64(p.Number))
	r = record.AppendUint(r, 2, uint64(p.Size))
	r = record.AppendUint(r, 3, uint64(p.Modified))
	etag, _ := hex.DecodeString(p.ETag) // putPart took none that is not hex
	r = record.AppendBytes(r, 4, etag)
	r = appendChecksum(r, 5, &p.Checksum)
	return appendBodyID(r, 6, p.Body)
}

func readPart(b []byte) (p Part, err error) {
	err = messagePart.Read(b, func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			p.Number, err = readUpTo(x, MaxParts)
		case 2:
			var n int
			n, err = readUpTo(x, math.MaxInt64)
			p.Size = int64(n)
		case 3:
			p.Modified = int64(x.N)
		case 4:
			p.ETag = hex.EncodeToString(x.Bytes)
		case 5:
			err = readChecksum(x.Bytes, &p.Checksum)
		case 6:
			err = readBodyID(x.Bytes, &p.Body)
		}
		return err
	})
	if err == nil && p.Number == 0 {
		err = fmt.Errorf("%w: a part without a number", record.ErrMalformed)
	}
	return p, err
}

// encodeParts is what a row of a manifest's, or of an upload's, parts holds.
func encodeParts(parts []Part) []byte {
	r := []byte{recordVersion}
	for i := range parts {
		r = record.AppendMessage(r, 1, func(r []byte) []byte { return appendPart(r, &parts[i]) })
	}
	return r
}

// appendDecodedParts appends the parts that a row holds.
func appendDecodedParts(parts []Part, row, value []byte) ([]Part, error) {
	err := readRecord(&messageParts, "row of parts", value, func(x record.Field) error {
		p, err := readPart(x.Bytes)
		parts = append(parts, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("row %x of parts: %w", row, err)
	}
	return parts, nil
}

// encodeRefs is what the row of a manifest holds.
func encodeRefs(refs uint64) []byte { return record.AppendUint([]byte{recordVersion}, 1, refs) }

func decodeRefs(value []byte) (refs uint64, err error) {
	err = readRecord(&messageRefs, "manifest", value, func(x record.Field) error {
		refs = x.N
		return nil
	})
	if err == nil && refs == 0 {
		err = fmt.Errorf("%w: nothing refers to it", record.ErrMalformed)
	}
	return refs, err
}

// encode is what an upload's row holds; Key and ID are in the row's key.
func (u *Upload) encode() []byte {
	r := record.AppendUint([]byte{recordVersion}, 1, uint64(u.Initiated))
	r = record.AppendBytes(r, 2, u.Owner)
	r = appendAttributes(r, 3, &u.Attributes)
	r = appendChecksum(r, 4, &u.Checksum)
	r = appendRetention(r, 5, &u.Retention)
	return record.AppendBool(r, 6, u.LegalHold)
}

func decodeUpload(key string, id uint64, value []byte) (*Upload, error) {
	u := &Upload{Key: key, ID: id}
	err := readRecord(&messageUpload, "upload", value, func(x record.Field) error {
		switch x.Num {
		case 1:
			u.Initiated = int64(x.N)
		case 2:
			u.Owner = string(x.Bytes)
		case 3:
			return readAttributes(x.Bytes, &u.Attributes)
		case 4:
			return readChecksum(x.Bytes, &u.Checksum)
		case 5:
			return readRetention(x.Bytes, &u.Retention)
		case 6:
			u.LegalHold = x.N == 1
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("row of upload %d of key %q: %w", id, key, err)
	}
	return u, nil
}

// doneUpload is the version that an upload became.
type doneUpload struct {
	bucket uint64
	key    string
	seq    uint64
}

func (d *doneUpload) encode() []byte {
	r := record.AppendUint([]byte{recordVersion}, 1, d.bucket)
	r = record.AppendBytes(r, 2, d.key)
	return record.AppendUint(r, 3, d.seq)
}

func decodeDone(upload uint64, value []byte) (d doneUpload, err error) {
	err = readRecord(&messageDone, "completed upload", value, func(x record.Field) error {
		switch x.Num {
		case 1:
			d.bucket = x.N
		case 2:
			d.key = string(x.Bytes)
		case 3:
			d.seq = x.N
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("row of the completed upload %d: %w", upload, err)
	}
	return d, err
}
