package rafttest

import "chainfire/raft"

// image is what a member finds again after a crash.
type image struct {
	hard    raft.HardState
	log     memLog
	machine machine
}

// disk is a member's storage. Writes queue up and become durable in order; a
// crash takes away everything that is not. What the core reads, the written
// log, may run ahead of what is durable, as in a page cache.
type disk struct {
	durable image
	written memLog
	queue   []*raft.Persist
	// early makes a write readable when it is queued, not when it is durable.
	early bool
	// held are the snapshots that came in complete, by index.
	held map[uint64]machine
	// writes counts what became durable.
	writes uint64
}

func newDisk(early bool) *disk { return &disk{early: early, held: map[uint64]machine{}} }

func (d *disk) submit(p *raft.Persist) error {
	d.queue = append(d.queue, p)
	if d.early {
		return writeLog(&d.written, p)
	}
	return nil
}

func writeLog(l *memLog, p *raft.Persist) error {
	if p.Snapshot != nil {
		l.restart(p.Snapshot.Index, p.Snapshot.Term)
	}
	return l.replace(p.Entries)
}

// complete makes the oldest write durable.
func (d *disk) complete() (*raft.Persist, error) {
	p := d.queue[0]
	d.writes++
	d.queue[0], d.queue = nil, d.queue[1:]
	d.install(p)
	if err := d.durable.log.replace(p.Entries); err != nil {
		return nil, err
	}
	if p.HardState != nil {
		d.durable.hard = *p.HardState
	}
	if d.early {
		return p, nil
	}
	return p, writeLog(&d.written, p)
}

// install is the first half of a write with a snapshot: the snapshot is the
// state and the log starts after it.
func (d *disk) install(p *raft.Persist) {
	if p.Snapshot == nil {
		return
	}
	d.durable.machine = d.held[p.Snapshot.Index]
	d.durable.log.restart(p.Snapshot.Index, p.Snapshot.Term)
}

// tear makes a part of the writes that wait durable, as a host does that folds
// them into one batch and writes a large batch in pieces, when it crashes after
// a piece: term and vote are those of the last write, then come the first
// entries, up to n of them; the commit index would come with the last piece.
// Writes after one with a snapshot do not come into it.
func (d *disk) tear(n int) error {
	batch := d.durable.log.clone()
	first := batch.LastIndex() + 1
	hard := d.durable.hard
	for _, p := range d.queue {
		if p.Snapshot != nil {
			break
		}
		if p.HardState != nil {
			hard.Term, hard.Vote = p.HardState.Term, p.HardState.Vote
		}
		if len(p.Entries) == 0 {
			continue
		}
		first = min(first, p.Entries[0].Index)
		if err := batch.replace(p.Entries); err != nil {
			return err
		}
	}
	d.writes++
	d.durable.hard = hard
	es, err := batch.Entries(first, batch.LastIndex()+1, 1<<62)
	if err != nil {
		return err
	}
	return d.durable.log.replace(es[:min(n, len(es))])
}

// crash loses the queue. With half set, a first write that has a snapshot got
// as far as installing it.
func (d *disk) crash(half bool) {
	if half && len(d.queue) > 0 {
		d.install(d.queue[0])
	}
	d.queue = nil
	d.held = map[uint64]machine{}
	d.written = d.durable.log.clone()
}

func (d *disk) compact(index uint64) {
	index = min(index, d.durable.machine.Index)
	d.durable.log.compact(index)
	d.written.compact(index)
}
