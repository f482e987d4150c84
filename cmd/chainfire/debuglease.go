package main

import (
	"chainfire"
	"chainfire/machine"
)

// jsonLogLeases are the commands of leases. One field is set.
type jsonLogLeases struct {
	Grant      *jsonLogLease      `json:"grant_lease,omitempty"`
	Revoke     *jsonLogLease      `json:"revoke_lease,omitempty"`
	Checkpoint *jsonLogCheckpoint `json:"checkpoint_leases,omitempty"`
}

type jsonLogLease struct {
	ID        string `json:"lease"`
	TTL       int64  `json:"ttl,omitempty"`
	Remaining int64  `json:"remaining_ttl,omitempty"`
	Term      uint64 `json:"term,omitempty"`
}

type jsonLogCheckpoint struct {
	Term   uint64         `json:"term"`
	Leases []jsonLogLease `json:"leases"`
}

// newJSONLogLeases is nil for a command that is not of leases.
func newJSONLogLeases(c *machine.Command) *jsonLogLeases {
	switch {
	case c.GrantLease != nil:
		return &jsonLogLeases{Grant: &jsonLogLease{ID: chainfire.LeaseID(c.GrantLease.ID), TTL: c.GrantLease.TTL}}
	case c.RevokeLease != nil:
		return &jsonLogLeases{Revoke: &jsonLogLease{ID: chainfire.LeaseID(c.RevokeLease.ID), Term: c.RevokeLease.Term}}
	case c.CheckpointLeases != nil:
		out := &jsonLogCheckpoint{Term: c.CheckpointLeases.Term, Leases: []jsonLogLease{}}
		for _, l := range c.CheckpointLeases.Leases {
			out.Leases = append(out.Leases, jsonLogLease{ID: chainfire.LeaseID(l.ID), Remaining: l.Remaining})
		}
		return &jsonLogLeases{Checkpoint: out}
	}
	return nil
}
