package object

import (
	"encoding/binary"
	"fmt"

	"chainfire/internal/record"
)

var (
	messageBucket  = record.New("bucket", record.Number, record.Number, record.Text, record.Number, record.Flag, record.Text, record.Number, record.Number, record.Number, record.Number)
	messageRule    = record.New("lock rule", record.Number, record.Number, record.Number)
	messageVersion = record.New("version", record.Flag, record.Flag, record.Number, record.Number, record.Text, record.Text, record.Text, record.Text, record.Flag, record.Text, record.Number, record.Number)
)

func bucketRow(name string) []byte { return append([]byte{rowBucket}, name...) }

// encode is what a bucket's row holds; the name is in the row's key.
func (b *Bucket) encode() []byte {
	r := record.AppendUint([]byte{recordVersion}, 1, b.ID)
	r = record.AppendUint(r, 2, uint64(b.Created))
	r = record.AppendBytes(r, 3, b.Owner)
	r = record.AppendUint(r, 4, uint64(b.Versioning))
	r = record.AppendBool(r, 5, b.ObjectLock)
	r = appendNonEmpty(r, 6, func(r []byte) []byte { return appendRule(r, &b.Lock) })
	r = record.AppendUint(r, 7, uint64(b.QuotaBytes))
	r = record.AppendUint(r, 8, uint64(b.QuotaObjects))
	r = record.AppendUint(r, 9, uint64(b.Bytes))
	return record.AppendUint(r, 10, uint64(b.Objects))
}

func decodeBucket(name string, value []byte) (*Bucket, error) {
	b := &Bucket{Name: name}
	err := readRecord(&messageBucket, "bucket", value, func(x record.Field) error {
		switch x.Num {
		case 1:
			b.ID = x.N
		case 2:
			b.Created = int64(x.N)
		case 3:
			b.Owner = string(x.Bytes)
		case 4:
			n, err := messageBucket.Enum(x, uint8(VersioningSuspended))
			b.Versioning = Versioning(n)
			return err
		case 5:
			b.ObjectLock = x.N == 1
		case 6:
			return readRule(x.Bytes, &b.Lock)
		case 7:
			b.QuotaBytes = int64(x.N)
		case 8:
			b.QuotaObjects = int64(x.N)
		case 9:
			b.Bytes = int64(x.N)
		case 10:
			b.Objects = int64(x.N)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("row of bucket %q: %w", name, err)
	}
	return b, nil
}

func appendRule(b []byte, l *LockRule) []byte {
	b = record.AppendUint(b, 1, uint64(l.Mode))
	b = record.AppendUint(b, 2, uint64(l.Days))
	return record.AppendUint(b, 3, uint64(l.Years))
}

func readRule(b []byte, l *LockRule) error {
	return messageRule.Read(b, func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			var n uint8
			n, err = messageRule.Enum(x, uint8(LockCompliance))
			l.Mode = LockMode(n)
		case 2:
			l.Days, err = readUint32(x)
		case 3:
			l.Years, err = readUint32(x)
		}
		return err
	})
}

// versionsRow is what the rows of all versions of a key begin with.
func versionsRow(bucket uint64, key string) []byte {
	return appendEnded(inBucket(rowVersion, bucket), key)
}

func versionRow(bucket uint64, key string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(versionsRow(bucket, key), ^seq)
}

// splitVersionRow is the key and the Seq of a version's row.
func splitVersionRow(row []byte) (key string, seq uint64, err error) {
	if len(row) < 9+2+8 {
		return "", 0, fmt.Errorf("%w: row %x of a version", record.ErrMalformed, row)
	}
	key, err = cutEnded(row[9 : len(row)-8])
	if err != nil {
		return "", 0, fmt.Errorf("row %x of a version: %w", row, err)
	}
	return key, ^binary.BigEndian.Uint64(row[len(row)-8:]), nil
}

// encode is what a version's row holds; Key and Seq are in the row's key.
func (v *Version) encode() []byte {
	r := record.AppendBool([]byte{recordVersion}, 1, v.ID == Null)
	r = record.AppendBool(r, 2, v.DeleteMarker)
	r = record.AppendUint(r, 3, uint64(v.Modified))
	r = record.AppendUint(r, 4, uint64(v.Size))
	r = record.AppendBytes(r, 5, v.ETag)
	r = appendAttributes(r, 6, &v.Attributes)
	r = appendChecksum(r, 7, &v.Checksum)
	r = appendRetention(r, 8, &v.Retention)
	r = record.AppendBool(r, 9, v.LegalHold)
	r = appendBodyID(r, 10, v.Body)
	r = record.AppendUint(r, 11, uint64(v.Parts))
	return record.AppendUint(r, 12, v.Upload)
}

func decodeVersion(key string, seq uint64, value []byte) (*Version, error) {
	v := &Version{Key: key, Seq: seq, ID: VersionID(seq)}
	err := readRecord(&messageVersion, "version", value, func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			if x.N == 1 {
				v.ID = Null
			}
		case 2:
			v.DeleteMarker = x.N == 1
		case 3:
			v.Modified = int64(x.N)
		case 4:
			v.Size = int64(x.N)
		case 5:
			v.ETag = string(x.Bytes)
		case 6:
			return readAttributes(x.Bytes, &v.Attributes)
		case 7:
			return readChecksum(x.Bytes, &v.Checksum)
		case 8:
			return readRetention(x.Bytes, &v.Retention)
		case 9:
			v.LegalHold = x.N == 1
		case 10:
			return readBodyID(x.Bytes, &v.Body)
		case 11:
			v.Parts, err = readUpTo(x, MaxParts)
		case 12:
			v.Upload = x.N
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("row of version %d of key %q: %w", seq, key, err)
	}
	return v, nil
}

func nullRow(bucket uint64, key string) []byte {
	return append(inBucket(rowNull, bucket), key...)
}

// encodeSeq is what the row of a null version holds.
func encodeSeq(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{recordVersion}, seq)
}

func decodeSeq(value []byte) (uint64, error) {
	switch {
	case len(value) == 0:
		return 0, fmt.Errorf("%w: the row of a null version is empty", record.ErrMalformed)
	case value[0] != recordVersion:
		return 0, fmt.Errorf("%w: row of a null version, of version %d", record.ErrNewer, value[0])
	case len(value) != 9:
		return 0, fmt.Errorf("%w: the row of a null version has %d bytes", record.ErrMalformed, len(value))
	}
	return binary.BigEndian.Uint64(value[1:]), nil
}
