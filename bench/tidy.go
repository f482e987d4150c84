package main

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// tidyChunk is how many keys are deleted at a time: a server gives one request a few seconds.
const tidyChunk = 10_000

// tidy deletes the keys that were put in order, and compacts: a round finds the keys that the one
// before found and no history, however much of it a system was fast enough to write.
func (t *table) tidy(ctx context.Context, s *stand) (err error) {
	l, err := newLanes(ctx, s.cluster, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	c := newCrew(l, 1, func(int) step { return nil }).clients[0]
	for _, prefix := range s.ordered {
		if err := c.deleteInOrder(ctx, prefix, tidyChunk); err != nil {
			return fmt.Errorf("delete keys: %w", err)
		}
	}
	s.ordered = nil
	_, err = c.compact(ctx)
	return err
}

// deleteInOrder deletes keys that putInOrder put, chunk by chunk until there are none.
func (c *client) deleteInOrder(ctx context.Context, prefix string, chunk int) error {
	k := keys{prefix: prefix}
	for at := 0; ; at += chunk {
		if err := c.ask(ctx, methodDelete, &pb.DeleteRangeRequest{Key: k.name(at), RangeEnd: k.name(at + chunk)}); err != nil {
			return err
		}
		deleted := uint64(0)
		err := eachField(c.reply, func(f field) error {
			if f.number == 2 {
				deleted = f.value
			}
			return nil
		})
		if err != nil || deleted == 0 {
			return err
		}
	}
}

// compact drops all history, and waits until its space is given back. It returns the revision.
func (c *client) compact(ctx context.Context) (int64, error) {
	if err := c.ask(ctx, methodRange, &pb.RangeRequest{Key: []byte(keyPrefix)}); err != nil {
		return 0, fmt.Errorf("ask for the revision: %w", err)
	}
	revision, err := answerRevision(c.reply)
	if err != nil {
		return 0, err
	}
	if err := c.ask(ctx, methodCompact, &pb.CompactionRequest{Revision: revision, Physical: true}); err != nil {
		return 0, fmt.Errorf("compact up to revision %d: %w", revision, err)
	}
	return revision, nil
}

// answerRevision is the revision in the header of an answer.
func answerRevision(answer []byte) (revision int64, err error) {
	err = eachField(answer, func(f field) error {
		if f.number != 1 {
			return nil
		}
		r, err := readRevision(f.bytes)
		revision = int64(r)
		return err
	})
	if err == nil && revision == 0 {
		err = errors.New("the answer has no revision")
	}
	return revision, err
}
