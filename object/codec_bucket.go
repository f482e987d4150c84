package object

import (
	"google.golang.org/protobuf/encoding/protowire"

	"chainfire/internal/record"
)

var (
	messageCreateBucket = record.New("create bucket", record.Text, record.Text, record.Flag)
	messageDeleteBucket = record.New("delete bucket", record.Text)
	messageSetBucket    = record.New("set bucket", record.Text, record.Number, record.Flag, record.Text, record.Number, record.Number)
	messageSetConfig    = record.New("set config", record.Text, record.Text, record.Text)
)

// appendGiven appends a number also if it is 0: that the field is there says that it was given.
func appendGiven(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendInt(b []byte, num protowire.Number, v *int64) []byte {
	if v == nil {
		return b
	}
	return appendGiven(b, num, uint64(*v))
}

func appendFlag(b []byte, num protowire.Number, v *bool) []byte {
	switch {
	case v == nil:
		return b
	case *v:
		return appendGiven(b, num, 1)
	}
	return appendGiven(b, num, 0)
}

func appendCreateBucket(b []byte, q *CreateBucket) []byte {
	b = record.AppendBytes(record.AppendBytes(b, 1, q.Name), 2, q.Owner)
	return record.AppendBool(b, 3, q.ObjectLock)
}

func readCreateBucket(b []byte, q *CreateBucket) error {
	return messageCreateBucket.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Name = string(x.Bytes)
		case 2:
			q.Owner = string(x.Bytes)
		case 3:
			q.ObjectLock = x.N == 1
		}
		return nil
	})
}

func appendDeleteBucket(b []byte, q *DeleteBucket) []byte { return record.AppendBytes(b, 1, q.Name) }

func readDeleteBucket(b []byte, q *DeleteBucket) error {
	return messageDeleteBucket.Read(b, func(x record.Field) error {
		q.Name = string(x.Bytes)
		return nil
	})
}

func appendSetBucket(b []byte, q *SetBucket) []byte {
	b = record.AppendBytes(b, 1, q.Name)
	if q.Versioning != nil {
		b = appendGiven(b, 2, uint64(*q.Versioning))
	}
	b = appendFlag(b, 3, q.ObjectLock)
	if q.Lock != nil {
		b = record.AppendMessage(b, 4, func(b []byte) []byte { return appendRule(b, q.Lock) })
	}
	return appendInt(appendInt(b, 5, q.QuotaBytes), 6, q.QuotaObjects)
}

func readSetBucket(b []byte, q *SetBucket) error {
	return messageSetBucket.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Name = string(x.Bytes)
		case 2:
			n, err := messageSetBucket.Enum(x, uint8(VersioningSuspended))
			q.Versioning = new(Versioning(n))
			return err
		case 3:
			q.ObjectLock = new(x.N == 1)
		case 4:
			q.Lock = new(LockRule)
			return readRule(x.Bytes, q.Lock)
		case 5:
			q.QuotaBytes = new(int64(x.N))
		case 6:
			q.QuotaObjects = new(int64(x.N))
		}
		return nil
	})
}

func appendSetConfig(b []byte, q *SetConfig) []byte {
	b = record.AppendBytes(record.AppendBytes(b, 1, q.Bucket), 2, q.Name)
	if q.Value == nil {
		return b
	}
	return record.AppendMessage(b, 3, func(b []byte) []byte { return append(b, q.Value...) })
}

func readSetConfig(b []byte, q *SetConfig) error {
	return messageSetConfig.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Bucket = string(x.Bytes)
		case 2:
			q.Name = string(x.Bytes)
		case 3:
			q.Value = x.Bytes
		}
		return nil
	})
}
