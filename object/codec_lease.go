package object

import (
	"chainfire/internal/record"
)

var (
	messageOpenLease   = record.New("open lease", record.Number, record.Number)
	messageCloseLease  = record.New("close lease", record.Number)
	messageCloseLeases = record.New("close leases", record.Number, record.Number)
	messageSetKey      = record.New("set key", record.Text, record.Text, record.Flag, record.Text)
	messageDeleteKey   = record.New("delete key", record.Text)
	messageReap        = record.New("reap")
)

func appendOpenLease(b []byte, q *OpenLease) []byte {
	return record.AppendUint(record.AppendUint(b, 1, q.Member), 2, q.Boots)
}

func readOpenLease(b []byte, q *OpenLease) error {
	return messageOpenLease.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Member = x.N
		case 2:
			q.Boots = x.N
		}
		return nil
	})
}

func appendCloseLease(b []byte, q *CloseLease) []byte { return record.AppendUint(b, 1, q.ID) }

func readCloseLease(b []byte, q *CloseLease) error {
	return messageCloseLease.Read(b, func(x record.Field) error {
		q.ID = x.N
		return nil
	})
}

func appendCloseLeases(b []byte, q *CloseLeases) []byte {
	return record.AppendUint(record.AppendUint(b, 1, q.Member), 2, q.Boots)
}

func readCloseLeases(b []byte, q *CloseLeases) error {
	return messageCloseLeases.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Member = x.N
		case 2:
			q.Boots = x.N
		}
		return nil
	})
}

func appendSetKey(b []byte, q *SetKey) []byte {
	b = record.AppendBytes(b, 1, q.Key.ID)
	b = record.AppendMessage(b, 2, func(b []byte) []byte { return appendAccessKey(b, &q.Key) })
	b = record.AppendBool(b, 3, q.New)
	if q.Was == nil {
		return b
	}
	return record.AppendMessage(b, 4, func(b []byte) []byte { return appendAccessKey(b, q.Was) })
}

func readSetKey(b []byte, q *SetKey) error {
	err := messageSetKey.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.Key.ID = string(x.Bytes)
		case 2:
			return messageAccessKey.Read(x.Bytes, func(x record.Field) error { return readAccessKey(x, &q.Key) })
		case 3:
			q.New = x.N == 1
		case 4:
			q.Was = &AccessKey{}
			return messageAccessKey.Read(x.Bytes, func(x record.Field) error { return readAccessKey(x, q.Was) })
		}
		return nil
	})
	if q.Was != nil {
		q.Was.ID = q.Key.ID
	}
	return err
}

func appendDeleteKey(b []byte, q *DeleteKey) []byte { return record.AppendBytes(b, 1, q.ID) }

func readDeleteKey(b []byte, q *DeleteKey) error {
	return messageDeleteKey.Read(b, func(x record.Field) error {
		q.ID = string(x.Bytes)
		return nil
	})
}

func appendReap(b []byte, _ *Reap) []byte { return b }

func readReap(b []byte, _ *Reap) error {
	return messageReap.Read(b, func(record.Field) error { return nil })
}
