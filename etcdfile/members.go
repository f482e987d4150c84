package etcdfile

import (
	"encoding/json"
	"slices"
)

// Voters reads who votes in the cluster of the file, in order: those of a joint
// configuration all together.
func (f *File) Voters() ([]uint64, error) {
	if row := f.table(tableMeta).Get([]byte("confState")); len(row) > 0 {
		var conf struct {
			Voters   []uint64 `json:"voters"`
			Outgoing []uint64 `json:"voters_outgoing"`
		}
		if err := json.Unmarshal(row, &conf); err != nil {
			return nil, f.damaged("confState: %w", err)
		}
		return slices.Compact(slices.Sorted(slices.Values(append(conf.Voters, conf.Outgoing...)))), nil
	}
	// Before 3.5 it was in etcd's snapshots alone.
	var voters []uint64
	err := f.each(tableMembers, func(id, row []byte) error {
		var m etcdMember
		if err := json.Unmarshal(row, &m); err != nil {
			return f.damaged("member %s: %w", id, err)
		}
		if !m.Learner {
			voters = append(voters, m.ID)
		}
		return nil
	})
	slices.Sort(voters)
	return voters, err
}
