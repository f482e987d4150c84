package object

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"

	"chainfire/internal/record"
	"chainfire/object/checksum"
)

func (t *tx) complete(q *Complete) (*Result, error) {
	b, err := t.bucket(q.Bucket)
	if err != nil {
		return nil, err
	}
	u, err := readUpload(t.rows, b, q.Key, q.Upload)
	if errors.Is(err, ErrNoSuchUpload) {
		return t.completedBefore(b, q, err)
	}
	if err != nil {
		return nil, err
	}
	all, err := t.partsOf(u)
	if err != nil {
		return nil, err
	}
	parts, err := q.choose(all)
	if err != nil {
		return nil, err
	}
	v, err := q.version(u, parts)
	if err != nil {
		return nil, err
	}
	for i := range all {
		b.Bytes -= all[i].Size // write counts those that are the version's
	}
	if err := t.checkWrite(b, q.Key, q.If, v.Size); err != nil {
		return nil, err
	}
	return t.turnInto(b, u, v, parts, len(all))
}

// turnInto makes an upload a version, of some of the all parts that it has.
func (t *tx) turnInto(b *Bucket, u *Upload, v *Version, parts []Part, all int) (*Result, error) {
	if err := t.writeManifest(v.Body, parts); err != nil {
		return nil, err
	}
	rows := uploadParts(u.ID)
	for i := range parts {
		if err := t.rows.Delete(appendNumber(bytes.Clone(rows), parts[i].Number)); err != nil {
			return nil, fmt.Errorf("delete part: %w", err)
		}
	}
	if len(parts) < all {
		if err := t.discard(rows); err != nil {
			return nil, err
		}
	}
	if err := t.rows.Delete(uploadRow(b.ID, u.Key, u.ID)); err != nil {
		return nil, fmt.Errorf("delete upload: %w", err)
	}
	v, err := t.write(b, v)
	if err != nil {
		return nil, err
	}
	done := doneUpload{bucket: b.ID, key: v.Key, seq: v.Seq}
	if err := t.rows.Set(doneRow(u.ID), done.encode()); err != nil {
		return nil, fmt.Errorf("note the completed upload: %w", err)
	}
	return &Result{Version: v}, nil
}

// choose finds the parts that are named among all that there are, each sorted by number.
func (q *Complete) choose(all []Part) ([]Part, error) {
	if len(q.Parts) == 0 {
		return nil, fmt.Errorf("%w: no part is named", ErrInvalidPart)
	}
	parts := make([]Part, 0, len(q.Parts))
	for i := range q.Parts {
		named := &q.Parts[i]
		if i > 0 && named.Number <= q.Parts[i-1].Number {
			return nil, fmt.Errorf("%w: %d after %d", ErrInvalidPartOrder, named.Number, q.Parts[i-1].Number)
		}
		for len(all) > 0 && all[0].Number < named.Number {
			all = all[1:]
		}
		if len(all) == 0 || !named.is(&all[0]) {
			return nil, fmt.Errorf("%w: %d", ErrInvalidPart, named.Number)
		}
		parts = append(parts, all[0])
	}
	return parts, nil
}

// is reports whether a part is the one that is named.
func (c *CompletePart) is(p *Part) bool {
	if c.Number != p.Number || c.ETag != p.ETag {
		return false
	}
	return len(c.Checksum.Value) == 0 || c.Checksum.Algorithm == p.Checksum.Algorithm && bytes.Equal(c.Checksum.Value, p.Checksum.Value)
}

// version is what an upload becomes with some of its parts.
func (q *Complete) version(u *Upload, parts []Part) (*Version, error) {
	v := &Version{
		Key: u.Key, Attributes: u.Attributes, Retention: u.Retention, LegalHold: u.LegalHold,
		Body: BodyID{Lease: u.ID}, Parts: len(parts), Upload: u.ID,
	}
	etags := md5.New()
	for i := range parts {
		p := &parts[i]
		if p.Size < MinPartSize && i < len(parts)-1 {
			return nil, fmt.Errorf("%w: part %d has %d bytes, not %d", ErrPartTooSmall, p.Number, p.Size, MinPartSize)
		}
		if v.Size += p.Size; v.Size > MaxObjectSize {
			return nil, fmt.Errorf("%w: the parts up to %d have %d bytes, more than %d", ErrTooLarge, p.Number, v.Size, int64(MaxObjectSize))
		}
		raw, err := hex.DecodeString(p.ETag)
		if err != nil {
			return nil, fmt.Errorf("ETag of part %d: %w", p.Number, err)
		}
		etags.Write(raw) // a hash never fails
	}
	if q.Size != nil && *q.Size != v.Size {
		return nil, fmt.Errorf("%w: the parts have %d bytes, not %d", ErrInvalid, v.Size, *q.Size)
	}
	v.ETag = fmt.Sprintf("%x-%d", etags.Sum(nil), len(parts))
	return v, q.setChecksum(v, u.Checksum, parts)
}

// setChecksum gives a version the checksum that its upload asked for, if it did, and holds the
// one that the writer gave, if any, to it.
func (q *Complete) setChecksum(v *Version, asked Checksum, parts []Part) error {
	given := q.Checksum
	if len(given.Value) > 0 && (given.Algorithm != asked.Algorithm || given.Type != asked.Type) {
		return fmt.Errorf("%w: the upload was not begun for the kind of checksum, %s, that it is completed with", ErrInvalid, given.Algorithm)
	}
	if asked.Algorithm == ChecksumNone {
		return nil
	}
	v.Checksum = Checksum{Algorithm: asked.Algorithm, Type: asked.Type, Value: ofParts(asked, parts)}
	if len(given.Value) > 0 && !bytes.Equal(given.Value, v.Checksum.Value) {
		return fmt.Errorf("%w: %s is %x by the parts, %x was given", ErrBadDigest, asked.Algorithm, v.Checksum.Value, given.Value)
	}
	return nil
}

// ofParts is the checksum of an object by those of its parts, of which there is one.
func ofParts(asked Checksum, parts []Part) []byte {
	if asked.Type == ChecksumComposite {
		values := make([][]byte, len(parts))
		for i := range parts {
			values[i] = parts[i].Checksum.Value
		}
		return checksum.Composite(asked.Algorithm, values)
	}
	whole := parts[0].Checksum.Value
	for i := range parts[1:] {
		p := &parts[1+i]
		whole = checksum.Combine(asked.Algorithm, whole, p.Checksum.Value, p.Size)
	}
	return whole
}

// completedBefore answers what completed an upload that was completed already, as long as the
// version is there and the parts are the same; else with the refusal.
func (t *tx) completedBefore(b *Bucket, q *Complete, refusal error) (*Result, error) {
	value, found, err := t.rows.Get(doneRow(q.Upload))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read completed upload: %w", err)
	case !found:
		return nil, refusal
	}
	done, err := decodeDone(q.Upload, value)
	if err != nil {
		return nil, err
	}
	if done.bucket != b.ID || done.key != q.Key {
		return nil, refusal
	}
	v, err := versionAt(t.rows, b.ID, done.key, done.seq)
	if err == nil && v == nil {
		err = fmt.Errorf("%w: it is noted, and not there", record.ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("read the version that upload %d became: %w", q.Upload, err)
	}
	parts, err := readManifest(t.rows, v)
	if err != nil {
		return nil, err
	}
	if chosen, err := q.choose(parts); err != nil || len(chosen) != len(parts) {
		return nil, refusal
	}
	return &Result{Version: v}, nil
}

// forgetDone is called for every version that is no more: an upload that became it is then
// unknown.
func (t *tx) forgetDone(v *Version) error {
	if v.Upload == 0 {
		return nil
	}
	if err := t.rows.Delete(doneRow(v.Upload)); err != nil {
		return fmt.Errorf("forget completed upload: %w", err)
	}
	return nil
}
