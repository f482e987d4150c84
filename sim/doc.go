// Package sim runs a whole cluster on one thread: every member is the production
// node (replica, log, store, snapshots, gate, newcomer, keeper) on simulated
// time, disk and network. A seed decides the cluster, the load, which kinds of
// faults there are, and every event; the same seed gives the same run.
//
// Tasks of members are coroutines: one runs at a time, until it waits. What is
// not simulated is the storage engine, which works on threads of its own within
// a call; it does nothing between calls (mvcc.Options.Still).
package sim
