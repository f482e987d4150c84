package lifecycle

import (
	"time"

	"chainfire/object"
)

const day = 24 * time.Hour

// Action is what is to be done with a version.
type Action uint8

// The actions. DeleteKey is a delete of the key, which leaves a delete marker where versioning
// is on; DeleteVersion is one of the version for good, and Hold to keep one that would be deleted
// if nothing locked it.
const (
	Keep Action = iota
	DeleteKey
	DeleteVersion
	Hold
)

// Position is where a version stands among those of its key.
type Position struct {
	// Newer is how many versions of the key are newer, delete markers among them.
	Newer int
	// Since is the Modified of the next newer one.
	Since int64
	// Alone says that the key has no other version.
	Alone bool
}

// Evaluate says what is to be done with a version at a time.
func (c *Config) Evaluate(v *object.Version, p Position, now time.Time) Action {
	for i := range c.Rules {
		r := &c.Rules[i]
		if !r.Enabled || !r.Filter.matches(v) {
			continue
		}
		action := Keep
		switch {
		case p.Newer > 0:
			if r.NoncurrentDays > 0 && int64(p.Newer-1) >= r.NewerNoncurrent && !now.Before(due(p.Since, r.NoncurrentDays)) {
				action = DeleteVersion
			}
		case v.DeleteMarker:
			if p.Alone && (r.Expiration.Markers || r.Expiration.reached(v.Modified, now)) {
				action = DeleteVersion
			}
		case r.Expiration.reached(v.Modified, now):
			action = DeleteKey
		}
		if action == DeleteVersion && v.CheckDelete(now.UnixMilli(), false) != nil {
			action = Hold
		}
		if action != Keep {
			return action
		}
	}
	return Keep
}

// EvaluateUpload reports whether an upload is to be aborted at a time.
func (c *Config) EvaluateUpload(u *object.Upload, now time.Time) bool {
	at, _, ok := c.AbortDate(u.Key, u.Initiated)
	return ok && !now.Before(at)
}

// AbortDate is when an upload, that was begun at a time in Unix milliseconds, is aborted, and
// by which rule.
func (c *Config) AbortDate(key string, initiated int64) (at time.Time, rule string, ok bool) {
	for i := range c.Rules {
		r := &c.Rules[i]
		if !r.Enabled || r.AbortDays == 0 || !r.Filter.matchesKey(key) {
			continue
		}
		if t := due(initiated, r.AbortDays); !ok || t.Before(at) {
			at, rule, ok = t, r.ID, true
		}
	}
	return at, rule, ok
}

// Expiry is when the newest version of a key expires, and by which rule.
func (c *Config) Expiry(v *object.Version) (at time.Time, rule string, ok bool) {
	for i := range c.Rules {
		r := &c.Rules[i]
		if !r.Enabled || v.DeleteMarker || !r.Filter.matches(v) {
			continue
		}
		if t, expires := r.Expiration.at(v.Modified); expires && (!ok || t.Before(at)) {
			at, rule, ok = t, r.ID, true
		}
	}
	return at, rule, ok
}

// at is when what was written at a time expires.
func (e *Expiration) at(modified int64) (time.Time, bool) {
	if e.Days > 0 {
		return due(modified, e.Days), true
	}
	return e.Date, !e.Date.IsZero()
}

func (e *Expiration) reached(modified int64, now time.Time) bool {
	at, ok := e.at(modified)
	return ok && !now.Before(at)
}

// due is the midnight in UTC after so many days from a time in Unix milliseconds.
func due(from, days int64) time.Time {
	const ms = int64(day / time.Millisecond)
	d := from / ms
	if from%ms < 0 {
		d--
	}
	return time.UnixMilli((d + days + 1) * ms).UTC()
}
