package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func newWatch(a *app) *cobra.Command {
	var prefix, fromKey, prevKV, progress bool
	var rev int64
	cmd := &cobra.Command{
		Use:   "watch KEY [RANGE_END]",
		Short: "Print every change of a key, or of the keys of an interval",
		Long: `Print every change of a key, or of the keys from KEY up to RANGE_END, which is not
included, until it is interrupted. The watch goes on at another member when the
one it is on is lost. --timeout does not bound it.

With -w json one object for each answer, in a line of its own:
  {"revision":N,"events":[{"type":"put","kv":{..},"prev_kv":{..}}]}
The type is "put" or "delete"; a deleted key's kv holds the key and, as
mod_revision, the revision of its deletion. With --progress-notify also
  {"revision":N,"progress":true,"events":[]}`,
		Args: needArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, opts, err := interval(args, prefix, fromKey)
			if err != nil {
				return err
			}
			if rev < 0 {
				return errors.New("--rev is 0 or more")
			}
			opts = append(opts, clientv3.WithRev(rev))
			if prevKV {
				opts = append(opts, clientv3.WithPrevKV())
			}
			if progress {
				opts = append(opts, clientv3.WithProgressNotify())
			}
			return a.watch(cmd.Context(), key, opts)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&prefix, "prefix", false, "every key that begins with KEY")
	f.BoolVar(&fromKey, "from-key", false, "every key from KEY on, in byte order")
	f.Int64Var(&rev, "rev", 0, "begin with this revision; 0 is the next change")
	f.BoolVar(&prevKV, "prev-kv", false, "show what a key held before")
	f.BoolVar(&progress, "progress-notify", false, "say from time to time how far the watch is")
	return cmd
}

func (a *app) watch(ctx context.Context, key string, opts []clientv3.OpOption) error {
	if err := a.probe(ctx); err != nil {
		return err
	}
	c, err := a.etcdClient(ctx, a.endpoints)
	if err != nil {
		return err
	}
	for r := range c.Watch(ctx, key, opts...) {
		if err := r.Err(); err != nil {
			return errors.Join(fmt.Errorf("watch ended: %w", err), c.Close())
		}
		if err := a.printWatch(&r); err != nil {
			return errors.Join(err, c.Close())
		}
	}
	if ctx.Err() != nil {
		_ = c.Close() // it reports the interrupt that ended the watch
		return nil
	}
	return errors.Join(errors.New("watch ended without a reason; start it again"), c.Close())
}

// probe checks within the timeout that some member can be reached.
func (a *app) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return a.reachable(ctx)
}

// jsonWatch is one answer of a watch as -w json prints it.
type jsonWatch struct {
	Revision int64       `json:"revision"`
	Progress bool        `json:"progress,omitempty"`
	Events   []jsonEvent `json:"events"`
}

type jsonEvent struct {
	Type   string  `json:"type"`
	KV     *jsonKV `json:"kv"`
	PrevKV *jsonKV `json:"prev_kv,omitempty"`
}

func eventType(e *clientv3.Event) string { return strings.ToLower(e.Type.String()) }

func (a *app) printWatch(r *clientv3.WatchResponse) error {
	if a.format == formatJSON {
		out := jsonWatch{Revision: r.Header.GetRevision(), Progress: r.IsProgressNotify(), Events: []jsonEvent{}}
		for _, e := range r.Events {
			deleted := e.Type == clientv3.EventTypeDelete
			out.Events = append(out.Events, jsonEvent{
				Type: eventType(e), KV: newJSONKV(e.Kv, deleted), PrevKV: newJSONKV(e.PrevKv, false),
			})
		}
		return a.printJSON(out)
	}
	if r.IsProgressNotify() {
		return a.printf("progress: everything up to revision %d was shown\n", r.Header.GetRevision())
	}
	for _, e := range r.Events {
		line := fmt.Sprintf("%d %s %s", e.Kv.GetModRevision(), eventType(e), text(e.Kv.GetKey()))
		if e.Type == clientv3.EventTypePut {
			line += " " + text(e.Kv.GetValue())
		}
		if e.PrevKv != nil {
			line += fmt.Sprintf(" (before: %s)", text(e.PrevKv.GetValue()))
		}
		if err := a.printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}
