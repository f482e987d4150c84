package object

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"chainfire/internal/record"
)

var (
	messageCondition    = record.New("condition", record.Text, record.Text, record.Number, record.Number)
	messagePut          = record.New("put", record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Flag, record.Text)
	messageCopy         = record.New("copy", record.Text, record.Text, record.Number, record.Text, record.Text, record.Text, record.Text, record.Text, record.Flag, record.Text, record.Text)
	messageDelete       = record.New("delete", record.Text, record.Repeated, record.Flag)
	messageDeleteObject = record.New("delete of an object", record.Text, record.Number, record.Text, record.Flag, record.Number)
	messageSetObject    = record.New("set object", record.Text, record.Text, record.Number, record.Text, record.Text, record.Flag, record.Flag)
	messageTags         = record.New("tags", record.Repeated)
)

// appendCondition appends a condition as a field, unless it asks for nothing.
func appendCondition(b []byte, num protowire.Number, c *Condition) []byte {
	return appendNonEmpty(b, num, func(b []byte) []byte {
		b = record.AppendBytes(record.AppendBytes(b, 1, c.IfNoneMatch), 2, c.IfMatch)
		return appendInt(appendInt(b, 3, c.IfModified), 4, c.IfSize)
	})
}

func readCondition(b []byte, c *Condition) error {
	return messageCondition.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			c.IfNoneMatch = string(x.Bytes)
		case 2:
			c.IfMatch = string(x.Bytes)
		case 3:
			c.IfModified = new(int64(x.N))
		case 4:
			c.IfSize = new(int64(x.N))
		}
		return nil
	})
}

// appendNewBody appends a body with its id as a field, unless it is no bytes.
func appendNewBody(b []byte, num protowire.Number, body *Body) []byte {
	return appendNonEmpty(b, num, func(b []byte) []byte {
		return appendBodyID(appendBody(b, body), bodyName, body.ID)
	})
}

func readNewBody(b []byte, body *Body) error {
	var s storedBody
	if err := readBody(b, &s); err != nil {
		return err
	}
	if s.refs != 0 {
		return fmt.Errorf("%w: a new body is referred to %d times", record.ErrMalformed, s.refs)
	}
	*body = s.Body
	return nil
}

func appendPut(b []byte, q *Put) []byte {
	b = record.AppendBytes(record.AppendBytes(b, 1, q.Bucket), 2, q.Key)
	b = appendCondition(b, 3, &q.If)
	b = appendAttributes(b, 4, &q.Attributes)
	b = record.AppendBytes(b, 5, q.ETag)
	b = appendChecksum(b, 6, &q.Checksum)
	b = appendRetention(b, 7, &q.Retention)
	b = record.AppendBool(b, 8, q.LegalHold)
	return appendNewBody(b, 9, &q.Body)
}

func readPut(b []byte, q *Put) error {
	return messagePut.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Bucket = string(x.Bytes)
		case 2:
			q.Key = string(x.Bytes)
		case 3:
			return readCondition(x.Bytes, &q.If)
		case 4:
			return readAttributes(x.Bytes, &q.Attributes)
		case 5:
			q.ETag = string(x.Bytes)
		case 6:
			return readChecksum(x.Bytes, &q.Checksum)
		case 7:
			return readRetention(x.Bytes, &q.Retention)
		case 8:
			q.LegalHold = x.N == 1
		case 9:
			return readNewBody(x.Bytes, &q.Body)
		}
		return nil
	})
}

func appendCopy(b []byte, q *Copy) []byte {
	b = record.AppendBytes(record.AppendBytes(b, 1, q.SourceBucket), 2, q.SourceKey)
	b = record.AppendUint(b, 3, q.SourceSeq)
	b = record.AppendBytes(record.AppendBytes(b, 4, q.Bucket), 5, q.Key)
	b = appendCondition(b, 6, &q.If)
	b = appendAttributes(b, 7, &q.Attributes)
	b = appendRetention(b, 8, &q.Retention)
	b = record.AppendBool(b, 9, q.LegalHold)
	b = record.AppendBytes(b, 10, q.ETag)
	return appendChecksum(b, 11, &q.Checksum)
}

func readCopy(b []byte, q *Copy) error {
	return messageCopy.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.SourceBucket = string(x.Bytes)
		case 2:
			q.SourceKey = string(x.Bytes)
		case 3:
			q.SourceSeq = x.N
		case 4:
			q.Bucket = string(x.Bytes)
		case 5:
			q.Key = string(x.Bytes)
		case 6:
			return readCondition(x.Bytes, &q.If)
		case 7:
			return readAttributes(x.Bytes, &q.Attributes)
		case 8:
			return readRetention(x.Bytes, &q.Retention)
		case 9:
			q.LegalHold = x.N == 1
		case 10:
			q.ETag = string(x.Bytes)
		case 11:
			return readChecksum(x.Bytes, &q.Checksum)
		}
		return nil
	})
}

func appendDelete(b []byte, q *Delete) []byte {
	b = record.AppendBytes(b, 1, q.Bucket)
	for i := range q.Objects {
		b = record.AppendMessage(b, 2, func(b []byte) []byte { return appendDeleteObject(b, &q.Objects[i]) })
	}
	return record.AppendBool(b, 3, q.Bypass)
}

func readDelete(b []byte, q *Delete) error {
	return messageDelete.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Bucket = string(x.Bytes)
		case 2:
			if len(q.Objects) == MaxDeletes {
				return fmt.Errorf("%w: more than %d deletes", record.ErrMalformed, MaxDeletes)
			}
			var o DeleteObject
			err := readDeleteObject(x.Bytes, &o)
			q.Objects = append(q.Objects, o)
			return err
		case 3:
			q.Bypass = x.N == 1
		}
		return nil
	})
}

func appendVersionID(b []byte, num protowire.Number, id *VersionID) []byte {
	if id == nil {
		return b
	}
	return appendGiven(b, num, uint64(*id))
}

func appendDeleteObject(b []byte, o *DeleteObject) []byte {
	b = record.AppendBytes(b, 1, o.Key)
	b = appendVersionID(b, 2, o.Version)
	b = appendCondition(b, 3, &o.If)
	b = record.AppendBool(b, 4, o.Expired)
	return record.AppendUint(b, 5, o.Seq)
}

func readDeleteObject(b []byte, o *DeleteObject) error {
	return messageDeleteObject.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			o.Key = string(x.Bytes)
		case 2:
			o.Version = new(VersionID(x.N))
		case 3:
			return readCondition(x.Bytes, &o.If)
		case 4:
			o.Expired = x.N == 1
		case 5:
			o.Seq = x.N
		}
		return nil
	})
}

func appendSetObject(b []byte, q *SetObject) []byte {
	b = record.AppendBytes(record.AppendBytes(b, 1, q.Bucket), 2, q.Key)
	b = appendVersionID(b, 3, q.Version)
	if q.Tags != nil {
		b = record.AppendMessage(b, 4, func(b []byte) []byte { return appendPairs(b, 1, *q.Tags) })
	}
	if r := q.Retention; r != nil {
		b = record.AppendMessage(b, 5, func(b []byte) []byte { return appendRetentionFields(b, r) })
	}
	b = appendFlag(b, 6, q.LegalHold)
	return record.AppendBool(b, 7, q.Bypass)
}

func readSetObject(b []byte, q *SetObject) error {
	return messageSetObject.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Bucket = string(x.Bytes)
		case 2:
			q.Key = string(x.Bytes)
		case 3:
			q.Version = new(VersionID(x.N))
		case 4:
			q.Tags = new([]Pair)
			return readTags(x.Bytes, q.Tags)
		case 5:
			q.Retention = new(Retention)
			return readRetention(x.Bytes, q.Retention)
		case 6:
			q.LegalHold = new(x.N == 1)
		case 7:
			q.Bypass = x.N == 1
		}
		return nil
	})
}

func readTags(b []byte, tags *[]Pair) error {
	return messageTags.Read(b, func(x record.Field) error {
		p, err := readPair(x.Bytes)
		*tags = append(*tags, p)
		return err
	})
}
