package test

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// change is one event of the store's own history.
type change struct {
	key      string
	deleted  bool
	revision int64
	keyState
	created int64
}

// lastKey is written after a load has ended: whoever sees it has seen everything.
const lastKey = loadPrefix + "~"

// historyOf reads everything that ever happened to the keys of a load, as a
// watch of this member from the first revision on shows it.
func (m *member) historyOf(last int64) []change {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	var out []change
	at := int64(0)
	for r := range m.kv().Watch(ctx, loadPrefix, clientv3.WithPrefix(), clientv3.WithRev(1)) {
		if err := r.Err(); err != nil {
			m.t.Fatalf("%s: watch from the first revision: %v", m.name, err)
		}
		for _, e := range r.Events {
			c := change{
				key: string(e.Kv.GetKey()), deleted: e.Type == clientv3.EventTypeDelete,
				revision: e.Kv.GetModRevision(), keyState: stateOf(e.Kv), created: e.Kv.GetCreateRevision(),
			}
			if c.revision <= at {
				m.t.Fatalf("%s: the watch shows revision %d after %d", m.name, c.revision, at)
			}
			at = c.revision
			if c.revision == last {
				return out
			}
			out = append(out, c)
		}
	}
	m.t.Fatalf("%s: the watch from the first revision ended at %d, before %d", m.name, at, last)
	return nil
}

// account holds the record of the clients against the history of the store: every
// acknowledged write is in it, once, at the revision that was answered, and
// nothing is in it that no client asked for. It returns the record with what the
// clients did not know and the history does, and what is wrong.
func account(record []op, history []change) (ops []op, wrong []string) {
	ops = slices.Clone(record)
	byValue := map[string]*op{}
	deletes := map[int64]*op{}
	open := map[string]int{} // deletes without an answer, by key
	for i := range ops {
		switch o := &ops[i]; {
		case o.kind == opPut || o.kind == opSwap:
			byValue[o.value] = o
		case o.kind == opDelete && o.unknown != nil:
			open[o.key]++
		case o.kind == opDelete && o.wrote:
			deletes[o.revision] = o
		}
	}
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, c := range history {
		if c.deleted {
			switch o := deletes[c.revision]; {
			case o != nil && o.key == c.key:
				o.found = true
			case open[c.key] > 0:
				open[c.key]--
			default:
				bad("revision %d deletes %s, which no client asked for", c.revision, c.key)
			}
			continue
		}
		o := byValue[c.value]
		switch {
		case o == nil || o.key != c.key:
			bad("revision %d writes %q to %s, which no client asked for", c.revision, c.value, c.key)
		case o.found:
			bad("%q is written twice: at revision %d and at %d", c.value, o.revision, c.revision)
		case o.unknown == nil && (!o.wrote || o.revision != c.revision):
			bad("revision %d writes %q, but the client was told: wrote %v at revision %d", c.revision, c.value, o.wrote, o.revision)
		default:
			o.found, o.revision = true, c.revision
		}
	}
	for i := range ops {
		if o := &ops[i]; o.wrote && !o.found {
			bad("LOST: %s of %q to %s, acknowledged at revision %d", o.kind, o.value, o.key, o.revision)
		}
	}
	return ops, wrong
}

// maxProblems is how many problems of one kind a test shows.
const maxProblems = 5

// verify ends the load and holds the members to everything that the clients saw:
// all members have the same history of the store, no acknowledged write is
// missing from it, a linearizable read at every member sees the end of it, and
// the whole is linearizable. It returns the number of operations.
func (l *load) verify(members []*member) int {
	l.t.Helper()
	l.end()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	end, err := members[0].kv().Put(ctx, lastKey, "the end")
	if err != nil {
		l.t.Fatalf("the last write: %v", err)
	}
	keys := map[string]bool{}
	for _, o := range l.record() {
		keys[o.key] = true
	}
	for i, m := range members {
		for key := range keys {
			if o := l.do(ctx, m.kv(), op{client: l.opts.clients + i, kind: opGet, key: key}); o.unknown != nil {
				l.t.Fatalf("%s: the last read of %s: %v", m.name, key, o.unknown)
			}
		}
	}
	var first []change
	for i, m := range members {
		history := m.historyOf(end.Header.GetRevision())
		if i == 0 {
			first = history
		} else if at := differ(first, history); at != "" {
			l.t.Errorf("%s and %s have different histories: %s", members[0].name, m.name, at)
		}
	}
	ops, wrong := account(l.record(), first)
	for _, w := range wrong[:min(len(wrong), maxProblems)] {
		l.t.Error(w)
	}
	began := time.Now()
	if err := linearizable(ops, l.t.ArtifactDir()); err != nil {
		l.t.Error(err)
	}
	n, _ := l.unknown()
	l.t.Logf("%d operations, %d acknowledged writes, %d operations without an answer, %d problems; checked on %d members in %v",
		len(ops), l.acknowledged(), n, len(wrong), len(members), time.Since(began).Round(time.Millisecond))
	return len(ops)
}

// differ names the first difference of two histories.
func differ(a, b []change) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%+v and %+v", a[i], b[i])
		}
	}
	if len(a) != len(b) {
		return fmt.Sprintf("%d and %d changes", len(a), len(b))
	}
	return ""
}
