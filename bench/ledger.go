package main

import (
	"context"
	"os"
)

// ledger is what a cluster had used when a turn began.
type ledger struct {
	cluster *cluster
	usage   usage
	syncs   syncs
	// own is what this process had used, which generates the load.
	own usage
}

// openLedger notes what the cluster used so far, and forgets the peaks of its memory.
func openLedger(ctx context.Context, c *cluster) (ledger, error) {
	l := ledger{cluster: c}
	err := c.forgetPeaks()
	if err == nil {
		l.syncs, err = c.syncs(ctx)
	}
	if err == nil {
		l.usage, err = c.usage()
	}
	if err == nil {
		l.own, err = usageOf(os.Getpid())
	}
	return l, err
}

// settle adds to the figures of a turn what the cluster used in it, for so many
// operations that wrote so many bytes of keys and values.
func (l ledger) settle(ctx context.Context, operations, userBytes uint64, m measured) error {
	u, err := l.cluster.usage()
	if err != nil {
		return err
	}
	own, err := usageOf(os.Getpid())
	if err != nil {
		return err
	}
	s, err := l.cluster.syncs(ctx)
	if err != nil {
		return err
	}
	ops := float64(operations)
	m[cpuPerOp] = ratio(1e6*(u.CPU-l.usage.CPU).Seconds(), ops)
	m[ownPerOp] = ratio(1e6*(own.CPU-l.own.CPU).Seconds(), ops)
	m[peakRSS] = float64(u.PeakRSS) / (1 << 20)
	m[logSyncs] = ratio(s.log-l.syncs.log, ops)
	m[storeSyncs] = ratio(s.store-l.syncs.store, ops)
	if userBytes > 0 {
		written := float64(u.Written - l.usage.Written)
		m[diskPerOp] = ratio(written, ops)
		m[diskPerByte] = ratio(written, float64(userBytes))
	}
	return nil
}
