package object

import (
	"fmt"

	"chainfire/internal/record"
)

var (
	messageCreateUpload = record.New("create upload", record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Flag)
	messagePutPart      = record.New("put part", record.Text, record.Text, record.Number, record.Number, record.Text, record.Text, record.Text)
	messageComplete     = record.New("complete", record.Text, record.Text, record.Number, record.Repeated, record.Text, record.Text, record.Number)
	messageNamedPart    = record.New("part named", record.Number, record.Text, record.Text)
	messageAbort        = record.New("abort", record.Text, record.Text, record.Number)
)

func appendCreateUpload(b []byte, q *CreateUpload) []byte {
	b = record.AppendBytes(record.AppendBytes(b, 1, q.Bucket), 2, q.Key)
	b = record.AppendBytes(b, 3, q.Owner)
	b = appendAttributes(b, 4, &q.Attributes)
	b = appendChecksum(b, 5, &q.Checksum)
	b = appendRetention(b, 6, &q.Retention)
	return record.AppendBool(b, 7, q.LegalHold)
}

func readCreateUpload(b []byte, q *CreateUpload) error {
	return messageCreateUpload.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Bucket = string(x.Bytes)
		case 2:
			q.Key = string(x.Bytes)
		case 3:
			q.Owner = string(x.Bytes)
		case 4:
			return readAttributes(x.Bytes, &q.Attributes)
		case 5:
			return readChecksum(x.Bytes, &q.Checksum)
		case 6:
			return readRetention(x.Bytes, &q.Retention)
		case 7:
			q.LegalHold = x.N == 1
		}
		return nil
	})
}

func appendPutPart(b []byte, q *PutPart) []byte {
	b = record.AppendBytes(record.AppendBytes(b, 1, q.Bucket), 2, q.Key)
	b = record.AppendUint(record.AppendUint(b, 3, q.Upload), 4, uint64(q.Number))
	b = record.AppendBytes(b, 5, q.ETag)
	b = appendChecksum(b, 6, &q.Checksum)
	return appendNewBody(b, 7, &q.Body)
}

func readPutPart(b []byte, q *PutPart) error {
	return messagePutPart.Read(b, func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			q.Bucket = string(x.Bytes)
		case 2:
			q.Key = string(x.Bytes)
		case 3:
			q.Upload = x.N
		case 4:
			q.Number, err = readUpTo(x, MaxParts)
		case 5:
			q.ETag = string(x.Bytes)
		case 6:
			err = readChecksum(x.Bytes, &q.Checksum)
		case 7:
			err = readNewBody(x.Bytes, &q.Body)
		}
		return err
	})
}

func appendComplete(b []byte, q *Complete) []byte {
	b = record.AppendBytes(record.AppendBytes(b, 1, q.Bucket), 2, q.Key)
	b = record.AppendUint(b, 3, q.Upload)
	for i := range q.Parts {
		p := &q.Parts[i]
		b = record.AppendMessage(b, 4, func(b []byte) []byte {
			b = record.AppendBytes(record.AppendUint(b, 1, uint64(p.Number)), 2, p.ETag)
			return appendChecksum(b, 3, &p.Checksum)
		})
	}
	b = appendCondition(b, 5, &q.If)
	b = appendChecksum(b, 6, &q.Checksum)
	return appendInt(b, 7, q.Size)
}

func readComplete(b []byte, q *Complete) error {
	return messageComplete.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Bucket = string(x.Bytes)
		case 2:
			q.Key = string(x.Bytes)
		case 3:
			q.Upload = x.N
		case 4:
			if len(q.Parts) == MaxParts {
				return fmt.Errorf("%w: more than %d parts", record.ErrMalformed, MaxParts)
			}
			p, err := readNamedPart(x.Bytes)
			q.Parts = append(q.Parts, p)
			return err
		case 5:
			return readCondition(x.Bytes, &q.If)
		case 6:
			return readChecksum(x.Bytes, &q.Checksum)
		case 7:
			q.Size = new(int64(x.N))
		}
		return nil
	})
}

func readNamedPart(b []byte) (p CompletePart, err error) {
	err = messageNamedPart.Read(b, func(x record.Field) (err error) {
		switch x.Num {
		case 1:
			p.Number, err = readUpTo(x, MaxParts)
		case 2:
			p.ETag = string(x.Bytes)
		case 3:
			err = readChecksum(x.Bytes, &p.Checksum)
		}
		return err
	})
	return p, err
}

func appendAbort(b []byte, q *Abort) []byte {
	b = record.AppendBytes(record.AppendBytes(b, 1, q.Bucket), 2, q.Key)
	return record.AppendUint(b, 3, q.Upload)
}

func readAbort(b []byte, q *Abort) error {
	return messageAbort.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Bucket = string(x.Bytes)
		case 2:
			q.Key = string(x.Bytes)
		case 3:
			q.Upload = x.N
		}
		return nil
	})
}
