package object

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"chainfire/internal/record"
)

func uploadRow(bucket uint64, key string, upload uint64) []byte {
	return binary.BigEndian.AppendUint64(appendEnded(inBucket(rowUpload, bucket), key), upload)
}

func doneRow(upload uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{rowDone}, upload)
}

// splitUploadRow is the key and the id of an upload's row.
func splitUploadRow(row []byte) (key string, id uint64, err error) {
	if len(row) < 9+8 {
		return "", 0, fmt.Errorf("%w: row %x of an upload", record.ErrMalformed, row)
	}
	key, err = cutEnded(row[9 : len(row)-8])
	if err != nil {
		return "", 0, fmt.Errorf("row %x of an upload: %w", row, err)
	}
	return key, binary.BigEndian.Uint64(row[len(row)-8:]), nil
}

// readUpload reads an open upload, or ErrNoSuchUpload.
func readUpload(rows Reader, b *Bucket, key string, id uint64) (*Upload, error) {
	value, found, err := rows.Get(uploadRow(b.ID, key, id))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read upload %d: %w", id, err)
	case !found:
		return nil, fmt.Errorf("%w: %d of key %q", ErrNoSuchUpload, id, key)
	}
	return decodeUpload(key, id, value)
}

// checkAsked checks what must hold of the checksum that an upload asks for.
func (c *Checksum) checkAsked() error {
	if len(c.Value) > 0 {
		return fmt.Errorf("%w: an upload begins with a checksum that has a value", ErrInvalid)
	}
	if c.Algorithm != ChecksumNone && c.Type == ChecksumFullObject && !c.Algorithm.Combines() {
		return fmt.Errorf("%w: %s of a whole object cannot be had of its parts", ErrInvalid, c.Algorithm)
	}
	return nil
}

func (t *tx) createUpload(q *CreateUpload) (*Result, error) {
	b, err := t.bucket(q.Bucket)
	if err != nil {
		return nil, err
	}
	if err := checkLock(b, q.Retention, q.LegalHold); err != nil {
		return nil, err
	}
	if err := q.Checksum.checkAsked(); err != nil {
		return nil, err
	}
	u := Upload{
		ID: t.next(), Initiated: t.time, Owner: q.Owner, Attributes: q.Attributes,
		Checksum: q.Checksum, Retention: q.Retention, LegalHold: q.LegalHold,
	}
	if err := t.rows.Set(uploadRow(b.ID, q.Key, u.ID), u.encode()); err != nil {
		return nil, fmt.Errorf("write upload: %w", err)
	}
	return &Result{Upload: u.ID}, nil
}

func (t *tx) putPart(q *PutPart) (*Result, error) {
	b, err := t.bucket(q.Bucket)
	if err != nil {
		return nil, err
	}
	u, err := readUpload(t.rows, b, q.Key, q.Upload)
	if err != nil {
		return nil, err
	}
	if err := q.check(u); err != nil {
		return nil, err
	}
	row := appendNumber(uploadParts(u.ID), q.Number)
	old, err := readPartRow(t.rows, row)
	if err != nil {
		return nil, err
	}
	more := q.Body.Size - old.Size
	if b.QuotaBytes > 0 && more > 0 && b.Bytes+more > b.QuotaBytes {
		return nil, fmt.Errorf("%w: bucket %q has %d of %d bytes, and would have %d more", ErrQuota, b.Name, b.Bytes, b.QuotaBytes, more)
	}
	if err := t.checkBody(&q.Body); err != nil {
		return nil, err
	}
	p := Part{Number: q.Number, Size: q.Body.Size, Modified: t.time, ETag: q.ETag, Checksum: q.Checksum}
	if p.Body, err = t.adopt(&q.Body); err != nil {
		return nil, err
	}
	if err := t.letGoBody(old.Body); err != nil {
		return nil, err
	}
	if err := t.rows.Set(row, encodeParts([]Part{p})); err != nil {
		return nil, fmt.Errorf("write part: %w", err)
	}
	b.Bytes += more
	return &Result{Part: &p}, t.setBucket(b)
}

// check checks what must hold of a part of the upload, whatever else there is.
func (q *PutPart) check(u *Upload) error {
	if q.Number < 1 || q.Number > MaxParts {
		return fmt.Errorf("%w: part %d, not 1 to %d", ErrInvalid, q.Number, MaxParts)
	}
	if err := q.checkETag(); err != nil {
		return err
	}
	if want := u.Checksum.Algorithm; want != ChecksumNone && q.Checksum.Algorithm != want {
		return fmt.Errorf("%w: the upload asks for %s of each part, this one has %q", ErrInvalid, want, q.Checksum.Algorithm)
	}
	if len(q.Checksum.Value) != q.Checksum.Algorithm.Size() {
		return fmt.Errorf("%w: %s of a part with %d bytes", ErrInvalid, q.Checksum.Algorithm, len(q.Checksum.Value))
	}
	return nil
}

// checkETag refuses what is not an MD5 in hex, in lower case: it is kept raw.
func (q *PutPart) checkETag() error {
	raw, err := hex.DecodeString(q.ETag)
	if err != nil || len(raw) != md5.Size || hex.EncodeToString(raw) != q.ETag {
		return fmt.Errorf("%w: the ETag %.80q of a part is no MD5", ErrInvalid, q.ETag)
	}
	return nil
}

// readPartRow reads a part of an upload; one that is not there has no number and no body.
func readPartRow(rows Reader, row []byte) (Part, error) {
	value, found, err := rows.Get(row)
	if err != nil || !found {
		return Part{}, err
	}
	parts, err := appendDecodedParts(nil, row, value)
	if err == nil && len(parts) != 1 {
		err = fmt.Errorf("%w: row %x has %d parts", record.ErrMalformed, row, len(parts))
	}
	if err != nil {
		return Part{}, err
	}
	return parts[0], nil
}

func (t *tx) abort(q *Abort) (*Result, error) {
	b, err := t.bucket(q.Bucket)
	if err != nil {
		return nil, err
	}
	u, err := readUpload(t.rows, b, q.Key, q.Upload)
	if err != nil {
		return nil, err
	}
	parts, err := t.partsOf(u)
	if err != nil {
		return nil, err
	}
	for i := range parts {
		b.Bytes -= parts[i].Size
	}
	if len(parts) > 0 {
		if err := t.discard(uploadParts(u.ID)); err != nil {
			return nil, err
		}
	}
	if err := t.rows.Delete(uploadRow(b.ID, u.Key, u.ID)); err != nil {
		return nil, fmt.Errorf("delete upload: %w", err)
	}
	return &Result{}, t.setBucket(b)
}

// partsOf reads all parts of an open upload.
func (t *tx) partsOf(u *Upload) ([]Part, error) {
	from := uploadParts(u.ID)
	parts, _, err := readParts(t.rows, from, afterPrefix(from), MaxParts)
	return parts, err
}
