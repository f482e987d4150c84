package machine

import (
	"errors"
	"testing"

	"chainfire"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

func TestEveryKindOfEntryIsDescribed(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	put := &chainfire.PutRequest{Key: b("foo"), Value: b("value")}
	del := &chainfire.DeleteRangeRequest{Key: b("a"), RangeEnd: b("b")}
	many := make([]chainfire.Op, 20)
	for i := range many {
		many[i] = chainfire.Op{Put: put}
	}
	command := func(c Command) raft.Entry { c.ID = RequestID{1, 7}; return entry(2, c) }
	change := func(c confchange.Change, m *MemberRecord) raft.Entry {
		c.Context = (&MemberContext{ID: RequestID{1, 7}, Member: m}).AppendTo(nil)
		return raft.Entry{Index: 2, Term: 1, Type: raft.EntryConf, Data: raft.EncodeChange(c)}
	}
	five := &MemberRecord{ID: 5, Name: "five", PeerURLs: []string{"http://five"}}
	for name, c := range map[string]struct {
		e           raft.Entry
		sizes, keys string
	}{
		"put":              {command(Command{Put: put}), `put key of 3 B, value of 5 B`, `put "foo", value of 5 B`},
		"put without":      {command(Command{Put: &chainfire.PutRequest{Key: b("\xff"), IgnoreValue: true, Lease: 9}}), `put key of 1 B, keep the value, lease 9`, `put "\xff", keep the value, lease 9`},
		"delete":           {command(Command{Delete: del}), `delete keys from one of 1 B`, `delete "a" to "b"`},
		"delete one":       {command(Command{Delete: &chainfire.DeleteRangeRequest{Key: b("a")}}), `delete key of 1 B`, `delete "a"`},
		"delete from":      {command(Command{Delete: &chainfire.DeleteRangeRequest{Key: b("a"), RangeEnd: []byte{0}}}), `delete keys from one of 1 B`, `delete "a" and above`},
		"compact":          {command(Command{Compact: &chainfire.CompactRequest{Revision: 9, Physical: true}}), `compact up to revision 9 and wait`, `compact up to revision 9 and wait`},
		"read replica":     {command(Command{Reserve: &Reserve{Name: "two", PeerURLs: []string{"http://two"}, ReadReplica: true}}), `reserve a member id for "two" at http://two, as a read replica`, ``},
		"reserve":          {command(Command{Reserve: &Reserve{Name: "two", PeerURLs: []string{"http://two"}, Manual: true}}), `reserve a member id for "two" at http://two, by hand`, ``},
		"release":          {command(Command{Release: &Release{ID: 5}}), `give up the reservation of member 5`, ``},
		"update":           {command(Command{UpdateMember: &UpdateMember{ID: 5, Name: "x", PeerURLs: []string{"p"}, ClientURLs: []string{"c"}, Settled: true}}), `update member 5: name "x" peer p client c it has caught up`, ``},
		"version":          {command(Command{UpdateMember: &UpdateMember{ID: 5, Version: "1.2.0", Level: 2}}), `update member 5: version "1.2.0" knows feature level 2`, ``},
		"raise level":      {command(Command{RaiseLevel: &RaiseLevel{Level: 2}}), `raise the feature level to 2`, ``},
		"grant":            {command(Command{GrantLease: &GrantLease{ID: 9, TTL: 60}}), `grant lease 9 for 60 s`, ``},
		"revoke":           {command(Command{RevokeLease: &RevokeLease{ID: 9}}), `revoke lease 9`, ``},
		"expiry":           {command(Command{RevokeLease: &RevokeLease{ID: 9, Term: 3}}), `revoke lease 9, which the leader of term 3 found expired`, ``},
		"checkpoint":       {command(Command{CheckpointLeases: &CheckpointLeases{Term: 3, Leases: []LeaseCheckpoint{{ID: 9, Remaining: 5}}}}), `note what is left of 1 leases`, ``},
		"alarm":            {command(Command{SetAlarm: &SetAlarm{Member: 3, Type: chainfire.AlarmNoSpace}}), `raise the alarm NOSPACE of member 3`, ``},
		"alarm off":        {command(Command{SetAlarm: &SetAlarm{Member: 3, Type: chainfire.AlarmCorrupt, Off: true}}), `take back the alarm CORRUPT of member 3`, ``},
		"nothing":          {raft.Entry{Index: 2, Term: 1}, `nothing: a leader's first entry`, ``},
		"add":              {change(confchange.Change{Steps: []confchange.Step{{Kind: confchange.AddLearner, ID: 5}}}, five), `add-learner 5 ("five" at http://five)`, ``},
		"several, jointly": {change(confchange.Change{Joint: true, Steps: []confchange.Step{{Kind: confchange.AddVoter, ID: 5}, {Kind: confchange.Remove, ID: 1}}}, nil), `add-voter 5, remove 1 jointly`, ``},
		"leave":            {change(confchange.Change{}, nil), `leave the joint configuration`, ``},
		"transaction": {
			command(Command{Txn: &chainfire.TxnRequest{
				Compare: []chainfire.Compare{{Key: b("foo")}},
				Success: []chainfire.Op{{Put: put}, {Range: &chainfire.RangeRequest{Key: b("q")}}},
				Failure: []chainfire.Op{{Txn: &chainfire.TxnRequest{Failure: []chainfire.Op{{Delete: del}}}}},
			}}),
			`txn if 1 comparisons hold [put key of 3 B, value of 5 B; get key of 1 B] else [txn if 0 comparisons hold [] else [delete keys from one of 1 B]]`,
			`txn if 1 comparisons hold [put "foo", value of 5 B; get "q"] else [txn if 0 comparisons hold [] else [delete "a" to "b"]]`,
		},
		"long transaction": {
			command(Command{Txn: &chainfire.TxnRequest{Success: many[:10]}}), "",
			`txn if 0 comparisons hold [put "foo", value of 5 B; put "foo", value of 5 B; put "foo", value of 5 B; put "foo", value of 5 B; put "foo", value of 5 B; put "foo", value of 5 B; put "foo", value of 5 B; put "foo", value of 5 B; 2 more] else []`,
		},
	} {
		d, err := DecodeEntry(&c.e)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := d.Describe(false); c.sizes != "" && got != c.sizes {
			t.Errorf("%s: %s, want %s", name, got, c.sizes)
		}
		if got := d.Describe(true); c.keys != "" && got != c.keys {
			t.Errorf("%s: %s, want %s", name, got, c.keys)
		}
		if len(c.e.Data) > 0 && d.ID != (RequestID{1, 7}) {
			t.Errorf("%s: request %+v", name, d.ID)
		}
	}
}

func TestEntryThatIsNoCommandIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		e    raft.Entry
		want error
	}{
		"type":    {raft.Entry{Type: 9}, ErrNewer},
		"version": {raft.Entry{Data: []byte{9}}, ErrNewer},
		"command": {raft.Entry{Data: []byte{1, 0xff}}, ErrMalformed},
		"change":  {raft.Entry{Type: raft.EntryConf, Data: []byte{1}}, nil},
		"context": {raft.Entry{Type: raft.EntryConf, Data: raft.EncodeChange(confchange.Change{Context: []byte{9}})}, ErrNewer},
	} {
		if d, err := DecodeEntry(&c.e); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}
