package machine

import "chainfire/internal/record"

import "fmt"

func messageGrantLease() record.Message {
	return record.New("grant lease", record.Number, record.Number)
}

func messageRevokeLease() record.Message {
	return record.New("revoke lease", record.Number, record.Number)
}

func messageCheckpointLeases() record.Message {
	return record.New("checkpoint leases", record.Number, record.Repeated)
}

func messageLeaseCheckpoint() record.Message {
	return record.New("lease checkpoint", record.Number, record.Number)
}

func appendGrantLease(b []byte, q *GrantLease) []byte {
	return record.AppendUint(record.AppendUint(b, 1, uint64(q.ID)), 2, uint64(q.TTL))
}

func appendRevokeLease(b []byte, q *RevokeLease) []byte {
	return record.AppendUint(record.AppendUint(b, 1, uint64(q.ID)), 2, q.Term)
}

func appendCheckpointLeases(b []byte, q *CheckpointLeases) []byte {
	b = record.AppendUint(b, 1, q.Term)
	for _, l := range q.Leases {
		b = record.AppendMessage(b, 2, func(b []byte) []byte {
			return record.AppendUint(record.AppendUint(b, 1, uint64(l.ID)), 2, uint64(l.Remaining))
		})
	}
	return b
}

func decodeGrantLease(b []byte) (*GrantLease, error) {
	q := &GrantLease{}
	m := messageGrantLease()
	return q, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.ID = int64(x.N)
		case 2:
			q.TTL = int64(x.N)
		}
		return nil
	})
}

func decodeRevokeLease(b []byte) (*RevokeLease, error) {
	q := &RevokeLease{}
	m := messageRevokeLease()
	return q, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			q.ID = int64(x.N)
		case 2:
			q.Term = x.N
		}
		return nil
	})
}

func decodeCheckpointLeases(b []byte) (*CheckpointLeases, error) {
	q := &CheckpointLeases{}
	m := messageCheckpointLeases()
	return q, m.Read(b, func(x record.Field) error {
		if x.Num == 1 {
			q.Term = x.N
			return nil
		}
		if len(q.Leases) == MaxCheckpoints {
			return fmt.Errorf("%w: checkpoint of more than %d leases", ErrMalformed, MaxCheckpoints)
		}
		var l LeaseCheckpoint
		inner := messageLeaseCheckpoint()
		err := inner.Read(x.Bytes, func(x record.Field) error {
			switch x.Num {
			case 1:
				l.ID = int64(x.N)
			case 2:
				l.Remaining = int64(x.N)
			}
			return nil
		})
		q.Leases = append(q.Leases, l)
		return err
	})
}
