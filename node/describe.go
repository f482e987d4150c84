package node

import (
	"fmt"
	"strings"

	"chainfire"
	"chainfire/machine"
	"chainfire/raft"
)

// What is told of a command is bounded: a key may be as long as a request.
const (
	maxDescription = 1 << 10
	maxShownKey    = 256
)

// describeEntry says what an entry asks for, as etcd does: keys, and sizes in place of
// values. Of what may hold a secret it names no more than the kind.
func describeEntry(e *raft.Entry) (string, error) {
	if e.Type == raft.EntryConf {
		return "conf_change:<>", nil
	}
	if len(e.Data) == 0 {
		return "", nil
	}
	c, err := machine.DecodeCommand(e.Data)
	if err != nil {
		return "", err
	}
	d := description{}
	d.add("header:<ID:%d > ", c.ID.Seq)
	d.command(&c)
	return d.String(), nil
}

// description is a text that ends where it gets long.
type description struct{ strings.Builder }

func (d *description) full() bool { return d.Len() >= maxDescription }

func (d *description) add(format string, args ...any) {
	if !d.full() {
		fmt.Fprintf(&d.Builder, format, args...)
	}
}

// shown is a key, or as much of it as is shown.
func shown(key []byte) string {
	if len(key) <= maxShownKey {
		return fmt.Sprintf("%q", key)
	}
	return fmt.Sprintf("%q.. (%d bytes)", key[:maxShownKey], len(key))
}

func (d *description) command(c *machine.Command) {
	switch {
	case c.Put != nil:
		d.put("put", c.Put)
	case c.Delete != nil:
		d.add("delete_range:<%s>", interval(c.Delete.Key, c.Delete.RangeEnd))
	case c.Txn != nil:
		d.txn("txn", c.Txn)
	case c.Compact != nil:
		d.add("compaction:<revision:%d >", c.Compact.Revision)
	case c.GrantLease != nil:
		d.add("lease_grant:<ttl:%d-second id:%016x>", c.GrantLease.TTL, uint64(c.GrantLease.ID))
	case c.RevokeLease != nil:
		d.add("lease_revoke:<id:%016x>", uint64(c.RevokeLease.ID))
	case c.CheckpointLeases != nil:
		d.add("lease_checkpoint:<leases:%d >", len(c.CheckpointLeases.Leases))
	case c.SetAlarm != nil:
		d.add("alarm:<>")
	case c.Auth != nil:
		d.add("auth:<>")
	case c.Authenticate != nil:
		d.add("authenticate:<>")
	default:
		d.add("member:<>")
	}
}

func interval(key, end []byte) string {
	if len(end) == 0 {
		return fmt.Sprintf("key:%s ", shown(key))
	}
	return fmt.Sprintf("key:%s range_end:%s ", shown(key), shown(end))
}

func (d *description) put(what string, p *chainfire.PutRequest) {
	d.add("%s:<key:%s value_size:%d ", what, shown(p.Key), len(p.Value))
	if p.Lease != 0 {
		d.add("lease:%d ", p.Lease)
	}
	d.add(">")
}

func (d *description) txn(what string, t *chainfire.TxnRequest) {
	d.add("%s:<compare:<", what)
	for i := range t.Compare {
		if d.full() {
			break
		}
		d.add("%s", interval(t.Compare[i].Key, t.Compare[i].RangeEnd))
	}
	d.add("> success:<")
	d.ops(t.Success)
	d.add("> failure:<")
	d.ops(t.Failure)
	d.add(">>")
}

func (d *description) ops(ops []chainfire.Op) {
	for i := range ops {
		switch op := &ops[i]; {
		case d.full():
			d.cut(len(ops) - i)
			return
		case op.Put != nil:
			d.put("request_put", op.Put)
		case op.Range != nil:
			d.add("request_range:<%s>", interval(op.Range.Key, op.Range.RangeEnd))
		case op.Delete != nil:
			d.add("request_delete_range:<%s>", interval(op.Delete.Key, op.Delete.RangeEnd))
		case op.Txn != nil:
			d.txn("request_txn", op.Txn)
		}
		d.add(" ")
	}
}

// cut says, once, how much is not there.
func (d *description) cut(n int) {
	if !strings.HasSuffix(d.String(), " more)") {
		fmt.Fprintf(&d.Builder, ".. (%d more)", n)
	}
}
