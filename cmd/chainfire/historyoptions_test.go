package main

import (
	"strings"
	"testing"
	"time"
)

func TestRetentionIsReadAsEtcdDoesAndBounded(t *testing.T) {
	for _, c := range []struct {
		mode, retention string
		period          time.Duration
		revisions       int64
		wrong           string
	}{
		{compactByPeriod, "0", 0, 0, ""},
		{compactByRevision, "0", 0, 0, ""},
		{compactByPeriod, "8", 8 * time.Hour, 0, ""},
		{compactByPeriod, "90m", 90 * time.Minute, 0, ""},
		{compactByRevision, "1000", 0, 1000, ""},
		{compactByRevision, "1h", 0, 0, "--auto-compaction-mode periodic"},
		{compactByRevision, "-1", 0, 0, "give a number of revisions"},
		{compactByPeriod, "-1", 0, 0, "give a number of hours"},
		{compactByPeriod, "10ms", 0, 0, "from 1s"},
		{compactByPeriod, "999999999", 0, 0, "give a number of hours"},
		{compactByPeriod, "", 0, 0, "give a number of hours"},
		{"size", "1", 0, 0, "choose periodic or revision"},
	} {
		o := historyOptions{mode: c.mode, retention: c.retention}
		err := o.parse()
		if o.period != c.period || o.revisions != c.revisions || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s %q: %v, %d, %v", c.mode, c.retention, o.period, o.revisions, err)
		}
	}
}
