package object

import (
	"fmt"
	"time"
)

// checkWrite refuses a new version of a key for its condition and the bucket's quota. It only
// reads. b is the bucket as it is to be before the write, without what the write frees; size is
// the new version's.
//
// That what is replaced is locked need not be looked at: under object lock versioning is
// enabled, so that nothing is replaced. A retention or a hold that comes with the version is
// checked by checkLock, when it is asked for.
func (t *tx) checkWrite(b *Bucket, key string, cond Condition, size int64) error {
	if err := t.checkCondition(b, key, cond); err != nil {
		return err
	}
	bytes, objects := b.Bytes+size, b.Objects+1
	if b.Versioning != VersioningEnabled {
		old, err := nullVersion(t.rows, b.ID, key)
		if err != nil {
			return err
		}
		if old != nil && !old.DeleteMarker {
			bytes -= old.Size
			objects--
		}
	}
	switch {
	case b.QuotaBytes > 0 && bytes > b.QuotaBytes:
		return fmt.Errorf("%w: bucket %s would have %d bytes of at most %d", ErrQuota, b.Name, bytes, b.QuotaBytes)
	case b.QuotaObjects > 0 && objects > b.QuotaObjects:
		return fmt.Errorf("%w: bucket %s would have %d objects of at most %d", ErrQuota, b.Name, objects, b.QuotaObjects)
	}
	return nil
}

// checkLock refuses a retention or a hold of a version in a bucket without object lock.
func checkLock(b *Bucket, r Retention, hold bool) error {
	if (r.Mode != LockNone || hold) && !b.ObjectLock {
		return fmt.Errorf("%w: bucket %s has no object lock", ErrInvalidBucketState, b.Name)
	}
	return nil
}

// write makes v the newest version of its key. It sets Seq, ID and Modified, and the retention
// of the bucket's rule where v has none; replaces the null version unless versioning is enabled;
// and writes the bucket with its new counts. The body of v is referred to already.
func (t *tx) write(b *Bucket, v *Version) (*Version, error) {
	if err := t.place(b, v); err != nil {
		return nil, err
	}
	return v, t.setBucket(b)
}

// place is write, but for the bucket's row.
func (t *tx) place(b *Bucket, v *Version) error {
	v.Seq = t.next()
	v.Modified = t.time
	v.ID = VersionID(v.Seq)
	if b.Versioning != VersioningEnabled {
		v.ID = Null
		if err := t.replaceNull(b, v); err != nil {
			return err
		}
	}
	if !v.DeleteMarker {
		if v.Retention.Mode == LockNone {
			v.Retention = b.Lock.retention(t.time)
		}
		b.Bytes += v.Size
		b.Objects++
	}
	return t.rows.Set(versionRow(b.ID, v.Key, v.Seq), v.encode())
}

// replaceNull drops the null version of a key, and names v as the one that it is now.
func (t *tx) replaceNull(b *Bucket, v *Version) error {
	old, err := nullVersion(t.rows, b.ID, v.Key)
	if err != nil {
		return err
	}
	if old != nil {
		if err := t.drop(b, old); err != nil {
			return err
		}
	}
	return t.rows.Set(nullRow(b.ID, v.Key), encodeSeq(v.Seq))
}

// remove takes a version away for good, and counts it off the bucket, which the caller writes.
func (t *tx) remove(b *Bucket, v *Version) error {
	if v.ID == Null {
		if err := t.rows.Delete(nullRow(b.ID, v.Key)); err != nil {
			return err
		}
	}
	return t.drop(b, v)
}

// drop is remove, but for the row that names the null version.
func (t *tx) drop(b *Bucket, v *Version) error {
	if !v.DeleteMarker {
		if err := t.letGo(v); err != nil {
			return err
		}
		b.Bytes -= v.Size
		b.Objects--
	}
	return t.rows.Delete(versionRow(b.ID, v.Key, v.Seq))
}

// retention is what the rule gives a version that is written at a time. A year is one of the
// calendar, in UTC.
func (l LockRule) retention(at int64) Retention {
	if l.Mode == LockNone {
		return Retention{}
	}
	until := time.UnixMilli(at).UTC().AddDate(int(l.Years), 0, int(l.Days))
	return Retention{Mode: l.Mode, Until: until.UnixMilli()}
}

// checkCondition refuses a write whose condition the newest version of the key does not meet.
func (t *tx) checkCondition(b *Bucket, key string, c Condition) error {
	if c == (Condition{}) {
		return nil
	}
	v, err := newestVersion(t.rows, b.ID, key)
	if err != nil {
		return err
	}
	return c.Check(v)
}

// Check holds the condition to the newest version of a key, nil for none; a delete marker is none.
// What does not hold is ErrPreconditionFailed, or ErrNoSuchKey where there is none.
func (c *Condition) Check(v *Version) error {
	v = v.live()
	if c.IfNoneMatch != "" && v != nil && (c.IfNoneMatch == "*" || c.IfNoneMatch == v.ETag) {
		return fmt.Errorf("%w: there is a version with ETag %s", ErrPreconditionFailed, v.ETag)
	}
	if c.IfMatch == "" && c.IfModified == nil && c.IfSize == nil {
		return nil
	}
	switch {
	case v == nil:
		return fmt.Errorf("%w that the precondition could hold of", ErrNoSuchKey)
	case c.IfMatch != "" && c.IfMatch != "*" && c.IfMatch != v.ETag:
		return fmt.Errorf("%w: the ETag is %s", ErrPreconditionFailed, v.ETag)
	case c.IfModified != nil && floorSecond(*c.IfModified) != floorSecond(v.Modified):
		return fmt.Errorf("%w: the version is of another time", ErrPreconditionFailed)
	case c.IfSize != nil && *c.IfSize != v.Size:
		return fmt.Errorf("%w: the size is %d", ErrPreconditionFailed, v.Size)
	}
	return nil
}

// floorSecond is the second that a time in Unix milliseconds lies in.
func floorSecond(ms int64) int64 { return time.UnixMilli(ms).Unix() }
