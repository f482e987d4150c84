package node_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"chainfire"
)

func TestSlowApplyingIsCountedAndToldOfWithoutValues(t *testing.T) {
	var l journal
	o := options(t, "slow")
	o.SlowApply, o.Logger = time.Nanosecond, slog.New(slog.NewJSONHandler(&l, nil)) // nothing is that fast
	n := start(t, o)
	if _, err := n.Put(t.Context(), &chainfire.PutRequest{Key: []byte("the-key"), Value: []byte("the-secret")}); err != nil {
		t.Fatal(err)
	}
	if got := n.Counts().SlowApplies; got == 0 {
		t.Error("no round was counted")
	}
	for _, m := range l.with(t, "applying took long") {
		if !strings.Contains(m["request"].(string), `put:<key:"the-key" value_size:10 >`) {
			continue
		}
		if m["kind"] != "" || m["limit"] != 1. || m["took"].(float64) <= 0 || m["entries"].(float64) < 1 || m["level"] != "WARN" {
			t.Errorf("%v", m)
		}
		if strings.Contains(l.String(), "the-secret") {
			t.Error("the log has a value")
		}
		return
	}
	t.Errorf("the put is not told of: %s", l.String())
}

func TestOperationsAreCountedWithThoseOfTransactions(t *testing.T) {
	n := start(t, options(t, "counted"))
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	k := []byte("k")
	_, err := n.Put(ctx, &chainfire.PutRequest{Key: k})
	must(err)
	_, err = n.DeleteRange(ctx, &chainfire.DeleteRangeRequest{Key: []byte("none")})
	must(err)
	_, err = n.Range(ctx, &chainfire.RangeRequest{Key: k})
	must(err)
	if _, err = n.Range(ctx, &chainfire.RangeRequest{Key: k, Revision: 99, Serializable: true}); err == nil {
		t.Fatal("a revision to come was read")
	}
	read := chainfire.Op{Range: &chainfire.RangeRequest{Key: k}}
	for _, ops := range [][]chainfire.Op{
		{{Put: &chainfire.PutRequest{Key: k}}},
		{{Put: &chainfire.PutRequest{Key: k}}, {Txn: &chainfire.TxnRequest{Success: []chainfire.Op{read}}}},
		{read, read},
	} {
		_, err = n.Txn(ctx, &chainfire.TxnRequest{Success: ops})
		must(err)
	}
	w := n.NewWatchStream()
	defer w.Close()
	_, err = w.Watch(&chainfire.WatchRequest{Key: k})
	must(err)
	s := n.Counts().Store
	if s.Puts != 3 || s.Deletes != 1 || s.Ranges != 5 || s.Txns != 2 || s.Read.Count != 1 || s.ReadFailed.Count != 1 || s.WatchStreams != 1 || s.Watches != 1 {
		t.Errorf("%+v", s)
	}
}

func TestPeersAreCountedByTheirTraffic(t *testing.T) {
	first := start(t, options(t, "first"))
	addr := strings.TrimPrefix(first.AdvertisePeer(), "https://")
	second := start(t, options(t, "second", addr))
	eventually(t, "messages both ways and a ping", func() error {
		ps := first.Counts().Peers
		if len(ps) == 1 && ps[0].ID == second.ID() && ps[0].Connected && ps[0].SentBytes > 0 && ps[0].ReceivedBytes > 0 && ps[0].RoundTrips.Count > 0 {
			return nil
		}
		return fmt.Errorf("%+v", ps)
	})
	if p := first.Counts().Peers[0]; len(p.RoundTrips.Counts) != 16 || p.ReceiveFailures != 0 {
		t.Errorf("%+v", p)
	}
}
