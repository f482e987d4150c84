package object

import (
	"encoding/binary"
	"fmt"

	"chainfire/internal/record"
)

var messageLease = record.New("write lease", record.Number, record.Number)

func leaseRow(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{rowLease}, id) }

// encode is what a write lease's row holds; ID is in the row's key.
func (l *Lease) encode() []byte {
	return record.AppendUint(record.AppendUint([]byte{recordVersion}, 1, l.Member), 2, l.Boots)
}

func decodeLease(row, value []byte) (Lease, error) {
	var l Lease
	if len(row) != 9 {
		return l, fmt.Errorf("%w: row %x of a write lease", record.ErrMalformed, row)
	}
	l.ID = binary.BigEndian.Uint64(row[1:])
	err := readRecord(&messageLease, "write lease", value, func(x record.Field) error {
		switch x.Num {
		case 1:
			l.Member = x.N
		case 2:
			l.Boots = x.N
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("row of write lease %d: %w", l.ID, err)
	}
	return l, err
}

// readLeases reads all write leases, of which there are at most MaxLeases.
func readLeases(rows Reader) ([]Lease, error) {
	var leases []Lease
	err := eachRow(rows, []byte{rowLease}, func(row, value []byte) (bool, error) {
		l, err := decodeLease(row, value)
		leases = append(leases, l)
		return true, err
	})
	return leases, err
}

func (t *tx) openLease(q *OpenLease) (*Result, error) {
	leases, err := readLeases(t.rows)
	if err != nil {
		return nil, err
	}
	if len(leases) >= MaxLeases {
		return nil, fmt.Errorf("%w: %d", ErrTooManyLeases, len(leases))
	}
	l := Lease{ID: t.index, Member: q.Member, Boots: q.Boots}
	if err := t.rows.Set(leaseRow(l.ID), l.encode()); err != nil {
		return nil, fmt.Errorf("write lease: %w", err)
	}
	return &Result{Lease: l.ID}, nil
}

func (t *tx) closeLease(q *CloseLease) (*Result, error) {
	if err := t.rows.Delete(leaseRow(q.ID)); err != nil {
		return nil, fmt.Errorf("delete lease: %w", err)
	}
	return &Result{}, nil
}

func (t *tx) closeLeases(q *CloseLeases) (*Result, error) {
	leases, err := readLeases(t.rows)
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		if l.Member != q.Member || l.Boots >= q.Boots {
			continue
		}
		if err := t.rows.Delete(leaseRow(l.ID)); err != nil {
			return nil, fmt.Errorf("delete lease: %w", err)
		}
	}
	return &Result{}, nil
}
