package machine

import "fmt"

func messageGrantLease() message { return message{"grant lease", []form{absent, number, number}} }

func messageRevokeLease() message { return message{"revoke lease", []form{absent, number, number}} }

func messageCheckpointLeases() message {
	return message{"checkpoint leases", []form{absent, number, repeated}}
}

func messageLeaseCheckpoint() message {
	return message{"lease checkpoint", []form{absent, number, number}}
}

func appendGrantLease(b []byte, q *GrantLease) []byte {
	return appendUint(appendUint(b, 1, uint64(q.ID)), 2, uint64(q.TTL))
}

func appendRevokeLease(b []byte, q *RevokeLease) []byte {
	return appendUint(appendUint(b, 1, uint64(q.ID)), 2, q.Term)
}

func appendCheckpointLeases(b []byte, q *CheckpointLeases) []byte {
	b = appendUint(b, 1, q.Term)
	for _, l := range q.Leases {
		b = appendMessage(b, 2, func(b []byte) []byte {
			return appendUint(appendUint(b, 1, uint64(l.ID)), 2, uint64(l.Remaining))
		})
	}
	return b
}

func decodeGrantLease(b []byte) (*GrantLease, error) {
	q := &GrantLease{}
	m := messageGrantLease()
	return q, m.read(b, func(x field) error {
		switch x.num {
		case 1:
			q.ID = int64(x.n)
		case 2:
			q.TTL = int64(x.n)
		}
		return nil
	})
}

func decodeRevokeLease(b []byte) (*RevokeLease, error) {
	q := &RevokeLease{}
	m := messageRevokeLease()
	return q, m.read(b, func(x field) error {
		switch x.num {
		case 1:
			q.ID = int64(x.n)
		case 2:
			q.Term = x.n
		}
		return nil
	})
}

func decodeCheckpointLeases(b []byte) (*CheckpointLeases, error) {
	q := &CheckpointLeases{}
	m := messageCheckpointLeases()
	return q, m.read(b, func(x field) error {
		if x.num == 1 {
			q.Term = x.n
			return nil
		}
		if len(q.Leases) == MaxCheckpoints {
			return fmt.Errorf("%w: checkpoint of more than %d leases", ErrMalformed, MaxCheckpoints)
		}
		var l LeaseCheckpoint
		inner := messageLeaseCheckpoint()
		err := inner.read(x.bytes, func(x field) error {
			switch x.num {
			case 1:
				l.ID = int64(x.n)
			case 2:
				l.Remaining = int64(x.n)
			}
			return nil
		})
		q.Leases = append(q.Leases, l)
		return err
	})
}
