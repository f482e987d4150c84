package rafttest

import (
	"math/rand/v2"

	"chainfire/raft"
)

// Mix chooses one of the engines anew at each start of each member, as the seed
// says. It is for Options.Engine.
func Mix(seed uint64, engines ...raft.NewEngine) func(id uint64) raft.NewEngine {
	r := rand.New(rand.NewPCG(seed, 0xd1342543de82ef95))
	return func(uint64) raft.NewEngine { return engines[r.IntN(len(engines))] }
}
