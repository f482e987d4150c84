package node_test

import (
	"fmt"
	"strings"
	"testing"

	"chainfire"
	"chainfire/machine"
)

// Conditions that do not hold fill the log and leave nothing in the store: what it holds in memory
// must not be all that a flush waits for, or each start would apply a longer log again.
func TestWhatLeavesNothingInTheStoreDoesNotLengthenTheNextStart(t *testing.T) {
	o := options(t, "a")
	o.Bounds.FlushLogBytes = 256 << 10
	var store *machine.Machine
	o.Bounds.Opened = func(m *machine.Machine) { store = m }
	n := start(t, o)
	put(t, n, "k", "v")
	value := []byte(strings.Repeat("x", 16<<10))
	refused := &chainfire.TxnRequest{
		Compare: []chainfire.Compare{{Result: chainfire.CompareEqual, Target: chainfire.CompareVersion, Key: []byte("k"), Number: 99}},
		Success: []chainfire.Op{{Put: &chainfire.PutRequest{Key: []byte("k"), Value: value}}},
	}
	from := store.FlushedIndex()
	for range 100 {
		if r, err := n.Txn(t.Context(), refused); err != nil || r.Succeeded {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	applied, _ := store.Applied()
	eventually(t, "a flush of the store", func() error {
		if at := store.FlushedIndex(); at < from+80 {
			return fmt.Errorf("it is durable up to entry %d of %d", at, applied)
		}
		return nil
	})
}
