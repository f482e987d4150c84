package machine

import (
	"fmt"
	"strings"
	"time"

	"chainfire"
	"chainfire/auth"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

// DecodedEntry is what an entry of the log asks of the machine. Both pointers are
// nil for an entry that asks for nothing.
type DecodedEntry struct {
	Command *Command
	Change  *confchange.Change
	// Context comes with a Change.
	Context MemberContext
	// ID says who waits for the result.
	ID RequestID
}

// DecodeEntry takes an entry apart without applying it. Byte slices of the result
// alias the entry's data. Errors are those of DecodeCommand.
func DecodeEntry(e *raft.Entry) (DecodedEntry, error) {
	var d DecodedEntry
	switch {
	case e.Type == raft.EntryConf:
		change, err := raft.DecodeChange(e.Data)
		if err != nil {
			return d, fmt.Errorf("decode membership change: %w", err)
		}
		d.Change = &change
		if d.Context, err = DecodeMemberContext(change.Context); err != nil {
			return d, fmt.Errorf("decode membership change: %w", err)
		}
		d.ID = d.Context.ID
	case e.Type != raft.EntryNormal:
		return d, fmt.Errorf("%w: entry of type %d", ErrNewer, e.Type)
	case len(e.Data) > 0:
		c, err := DecodeCommand(e.Data)
		if err != nil {
			return d, err
		}
		d.Command, d.ID = &c, c.ID
	}
	return d, nil
}

// describedOps bounds the operations of a transaction that are described one by
// one, on one line.
const describedOps = 8

// Describe says in one line what the entry asks for: operations with the sizes
// of keys and values, or with the keys themselves if keys is set.
func (d *DecodedEntry) Describe(keys bool) string {
	w := describer{keys: keys}
	switch {
	case d.Command != nil:
		w.command(d.Command)
	case d.Change != nil:
		w.change(d.Change, d.Context.Member)
	default:
		return "nothing: a leader's first entry"
	}
	return w.String()
}

type describer struct {
	strings.Builder
	keys bool
	// ops is how many operations were described.
	ops int
}

func (w *describer) add(format string, args ...any) {
	// A strings.Builder takes everything.
	_, _ = fmt.Fprintf(w, format, args...)
}

func (w *describer) command(c *Command) {
	switch {
	case c.Put != nil:
		w.put(c.Put)
	case c.Delete != nil:
		w.delete(c.Delete)
	case c.Txn != nil:
		w.txn(c.Txn)
	case c.Compact != nil:
		w.add("compact up to revision %d", c.Compact.Revision)
		if c.Compact.Physical {
			w.add(" and wait")
		}
	case c.Reserve != nil:
		w.add("reserve a member id for %q at %s", c.Reserve.Name, strings.Join(c.Reserve.PeerURLs, ","))
		if c.Reserve.SeedIndex != 0 {
			w.add(", with a seed that ends with entry %d", c.Reserve.SeedIndex)
		}
		if c.Reserve.Token != 0 {
			w.add(", with join token %d", c.Reserve.Token)
		}
		if c.Reserve.Replaces != 0 {
			w.add(", in place of member %d", c.Reserve.Replaces)
		}
		if c.Reserve.Manual {
			w.add(", by hand")
		}
		if c.Reserve.ReadReplica {
			w.add(", as a read replica")
		}
	case c.Release != nil:
		w.add("give up the reservation of member %d", c.Release.ID)
	case c.UpdateMember != nil:
		w.update(c.UpdateMember)
	case c.CreateToken != nil:
		w.add("create a join token")
		if c.CreateToken.Uses != 0 {
			w.add(" for %d newcomers", c.CreateToken.Uses)
		}
		if c.CreateToken.Expires != 0 {
			w.add(" until %s", time.Unix(c.CreateToken.Expires, 0).UTC().Format(time.RFC3339))
		}
	case c.RevokeToken != nil:
		w.add("revoke join token %d", c.RevokeToken.ID)
	case c.RaiseLevel != nil:
		w.add("raise the feature level to %d", c.RaiseLevel.Level)
	case c.SetAlarm != nil:
		what := "raise"
		if c.SetAlarm.Off {
			what = "take back"
		}
		w.add("%s the alarm %s of member %d", what, c.SetAlarm.Type, c.SetAlarm.Member)
	case c.Auth != nil:
		w.auth(c.Auth)
	case c.Authenticate != nil:
		w.add("give user %q a token", c.Authenticate.User)
	case c.Object != nil:
		w.object(c.Object)
	default:
		w.lease(c)
	}
}

// auth leaves out the hash of a password.
func (w *describer) auth(c *auth.Change) {
	w.add("%s", c.Op)
	if c.User != "" {
		w.add(", user %q", c.User)
	}
	if c.Role != "" {
		w.add(", role %q", c.Role)
	}
	if p := c.Permission; p != nil {
		w.add(", keys %q to %q", p.Key, p.RangeEnd)
	}
}

func (w *describer) lease(c *Command) {
	switch {
	case c.GrantLease != nil:
		w.add("grant lease %s for %d s", chainfire.LeaseID(c.GrantLease.ID), c.GrantLease.TTL)
	case c.RevokeLease != nil:
		w.add("revoke lease %s", chainfire.LeaseID(c.RevokeLease.ID))
		if c.RevokeLease.Term != 0 {
			w.add(", which the leader of term %d found expired", c.RevokeLease.Term)
		}
	case c.CheckpointLeases != nil:
		w.add("note what is left of %d leases", len(c.CheckpointLeases.Leases))
	}
}

func (w *describer) update(q *UpdateMember) {
	w.add("update member %d:", q.ID)
	if q.Name != "" {
		w.add(" name %q", q.Name)
	}
	if len(q.PeerURLs) > 0 {
		w.add(" peer %s", strings.Join(q.PeerURLs, ","))
	}
	if len(q.ClientURLs) > 0 {
		w.add(" client %s", strings.Join(q.ClientURLs, ","))
	}
	if q.Version != "" {
		w.add(" version %q", q.Version)
	}
	if q.Level != 0 {
		w.add(" knows feature level %d", q.Level)
	}
	if q.Settled {
		w.add(" it has caught up")
	}
}

// key describes a key, or the interval from it to end.
func (w *describer) key(key, end []byte) {
	switch {
	case !w.keys && len(end) == 0:
		w.add("key of %d B", len(key))
	case !w.keys:
		w.add("keys from one of %d B", len(key))
	case len(end) == 0:
		w.add("%q", key)
	case len(end) == 1 && end[0] == 0:
		w.add("%q and above", key)
	default:
		w.add("%q to %q", key, end)
	}
}

func (w *describer) put(q *chainfire.PutRequest) {
	w.add("put ")
	w.key(q.Key, nil)
	switch {
	case q.IgnoreValue:
		w.add(", keep the value")
	default:
		w.add(", value of %d B", len(q.Value))
	}
	if q.Lease != 0 {
		w.add(", lease %s", chainfire.LeaseID(q.Lease))
	}
}

func (w *describer) delete(q *chainfire.DeleteRangeRequest) {
	w.add("delete ")
	w.key(q.Key, q.RangeEnd)
}

func (w *describer) txn(q *chainfire.TxnRequest) {
	w.add("txn if %d comparisons hold [", len(q.Compare))
	w.list(q.Success)
	w.add("] else [")
	w.list(q.Failure)
	w.add("]")
}

func (w *describer) list(ops []chainfire.Op) {
	for i := range ops {
		if i > 0 {
			w.add("; ")
		}
		if w.ops++; w.ops > describedOps {
			w.add("%d more", len(ops)-i)
			return
		}
		switch o := &ops[i]; {
		case o.Range != nil:
			w.add("get ")
			w.key(o.Range.Key, o.Range.RangeEnd)
		case o.Put != nil:
			w.put(o.Put)
		case o.Delete != nil:
			w.delete(o.Delete)
		case o.Txn != nil:
			w.txn(o.Txn)
		}
	}
}

func (w *describer) change(c *confchange.Change, m *MemberRecord) {
	if c.Leave() {
		w.add("leave the joint configuration")
		return
	}
	for i, s := range c.Steps {
		if i > 0 {
			w.add(", ")
		}
		w.add("%s %d", s.Kind, s.ID)
	}
	if c.Joint {
		w.add(" jointly")
	}
	if m != nil {
		w.add(" (%q at %s)", m.Name, strings.Join(m.PeerURLs, ","))
	}
}
