package raft

import (
	"fmt"

	"chainfire/raft/confchange"
)

// Engine is consensus as its host drives it. Core is ours; raft/etcdraft puts
// another implementation behind the same contract, as the reference that Core is
// tested against. Message and log format are the same for both, so that the
// members of a cluster may differ, and a member from one start to the next.
//
// An engine belongs to one goroutine. See Core for what each call does, and Ready
// for what the host owes.
type Engine interface {
	// Inputs.
	Tick()
	Step(m Message)
	Persisted(seq uint64)
	Applied(index uint64)
	RefuseConf(index uint64)
	Unreachable(id uint64)
	LeaderGone(id uint64)
	Campaign()
	Propose(data []byte) (index, term uint64, err error)
	ProposeConf(change confchange.Change) (index, term uint64, err error)
	ReadIndex(id uint64)
	TransferLeader(to uint64) error

	// Ready is the output.
	Ready() Ready

	// How it stands.
	Status() Status
	Leader() uint64
	Term() uint64
	Role() Role
	Commit() uint64
	SoleVoter() bool
	Err() error
}

// NewEngine makes an engine as its member was last durable.
type NewEngine func(Config) (Engine, error)

// NewCore is the NewEngine of Core.
func NewCore(cfg Config) (Engine, error) {
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Fill puts the defaults into a configuration and checks it, also against what
// its storage holds. Every engine begins with it.
func (c *Config) Fill() error {
	if err := c.fillLimits(); err != nil {
		return err
	}
	first, last := c.Storage.FirstIndex(), c.Storage.LastIndex()
	switch {
	case c.Applied > last:
		return fmt.Errorf("state machine has applied index %d but the log ends at %d", c.Applied, last)
	case c.Applied+1 < first:
		return fmt.Errorf("state machine has applied index %d but the log begins at %d", c.Applied, first)
	case c.HardState.Commit > last:
		return fmt.Errorf("index %d was committed but the log ends at %d", c.HardState.Commit, last)
	}
	return nil
}
