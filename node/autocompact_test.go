package node

import (
	"fmt"
	"testing"
	"time"
)

// TestHistoryOfAPeriodIsKept looks every 6 minutes while the revision grows by one a
// minute.
func TestHistoryOfAPeriodIsKept(t *testing.T) {
	c := &compactor{period: 2 * time.Hour}
	if c.every() != 6*time.Minute {
		t.Fatalf("it looks every %v", c.every())
	}
	for now := time.Duration(0); now < 24*time.Hour; now += c.every() {
		minute := int64(now / time.Minute)
		got, want := c.look(now, 100+minute), max(0, 100+minute-120)
		if now < 2*time.Hour {
			want = 0
		}
		if got != want {
			t.Fatalf("after %v: up to %d, want %d", now, got, want)
		}
	}
	if len(c.marks) > 22 {
		t.Errorf("%d revisions are remembered", len(c.marks))
	}
	// After a pause nothing of the period is given up that is not known to be older.
	if got := c.look(48*time.Hour, 9000); got > 100+24*60 {
		t.Errorf("after a pause: up to %d", got)
	}
}

func TestHistoryOfSoManyRevisionsIsKept(t *testing.T) {
	c := &compactor{revisions: 1000}
	if c.every() != 5*time.Minute {
		t.Errorf("it looks every %v", c.every())
	}
	got := fmt.Sprint(c.look(0, 1), c.look(1, 1000), c.look(2, 1001), c.look(3, 5000))
	if got != "0 0 1 4000" {
		t.Errorf("up to %s", got)
	}
}
