package machine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"chainfire"
	"chainfire/mvcc"
	"chainfire/raft"
)

// Inspection is what the store of a machine holds, as far as it can be read.
type Inspection struct {
	*mvcc.Inspection
	// ClusterID is 0, and Conf empty, when they cannot be read.
	ClusterID uint64
	Conf      raft.ConfState
	// Members are the members and the reservations by id, Removed the ids that
	// never return.
	Members []MemberRecord
	Removed []uint64
	// Level is the feature level of the cluster.
	Level uint64
}

// Inspect reads a machine's store that nobody has open; see mvcc.Inspect. It
// decodes the membership in it, too.
func Inspect(ctx context.Context, o mvcc.InspectOptions) (*Inspection, error) {
	store, err := mvcc.Inspect(ctx, o)
	if err != nil {
		return nil, err
	}
	c := &cluster{removed: map[uint64]struct{}{}}
	haveConf := false
	var wrong []error
	for _, row := range store.Meta {
		haveConf = haveConf || row.Name == rowConf
		if err := c.load(row); err != nil {
			wrong = append(wrong, err)
		}
	}
	if store.Opened && store.HasHash && (c.id == 0 || !haveConf) {
		// Every row was read, so that it is not one that is unreadable.
		wrong = append(wrong, fmt.Errorf("%w: no cluster id or configuration in the store", chainfire.ErrCorrupt))
	}
	for _, err := range wrong {
		store.Damage++
		if o.Fault == nil {
			continue
		}
		if ferr := o.Fault(&mvcc.Fault{Kind: mvcc.FaultRotten, File: store.Dir, Reason: err.Error()}); ferr != nil {
			return nil, errors.Join(err, ferr)
		}
	}
	return &Inspection{
		Inspection: store, ClusterID: c.id, Conf: c.conf, Members: c.members,
		Removed: slices.Sorted(maps.Keys(c.removed)), Level: c.featureLevel(),
	}, nil
}
