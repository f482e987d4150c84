package object

import "fmt"

// delete deletes entry by entry: each sees what those before it did, and one that is refused
// leaves the others alone.
func (t *tx) delete(c *Delete) (*Result, error) {
	if len(c.Objects) > MaxDeletes {
		return nil, fmt.Errorf("%w: %d deletes in one change, of at most %d", ErrInvalid, len(c.Objects), MaxDeletes)
	}
	b, err := t.bucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	before := *b
	deleted := make([]Deleted, len(c.Objects))
	for i := range c.Objects {
		o := &c.Objects[i]
		one := t.deleteNewest
		if o.Version != nil {
			one = t.deleteVersion
		}
		if err := one(b, o, c.Bypass, &deleted[i]); err != nil {
			return nil, err
		}
	}
	if *b != before {
		if err := t.setBucket(b); err != nil {
			return nil, err
		}
	}
	return &Result{Deleted: deleted}, nil
}

// deleteNewest deletes a key: its newest version is covered by a delete marker, which takes the
// place of the null version where versioning is suspended; where it is off, the version goes.
func (t *tx) deleteNewest(b *Bucket, o *DeleteObject, _ bool, d *Deleted) error {
	v, err := newestVersion(t.rows, b.ID, o.Key)
	if err != nil || o.isStale(v) {
		return err
	}
	if o.Expired && v.DeleteMarker {
		return nil // there is nothing to expire
	}
	if d.Err = o.If.Check(v); d.Err != nil {
		return nil
	}
	d.Found = v.live() != nil
	switch {
	case b.Versioning != VersioningOff:
		marker := &Version{Key: o.Key, DeleteMarker: true}
		err = t.place(b, marker)
		d.Marker, d.Version = true, marker.ID
	case v != nil:
		// Nothing can hold it: object lock needs versioning.
		err = t.remove(b, v)
	}
	return err
}

// deleteVersion deletes one version, delete marker or not, for good.
func (t *tx) deleteVersion(b *Bucket, o *DeleteObject, bypass bool, d *Deleted) error {
	v, err := versionOf(t.rows, b.ID, o.Key, *o.Version)
	if err != nil || o.isStale(v) {
		return err
	}
	if o.Expired || o.If != (Condition{}) {
		newest, err := newestVersion(t.rows, b.ID, o.Key)
		if err != nil {
			return err
		}
		if o.Expired && !v.DeleteMarker && newest.Seq == v.Seq {
			return nil // the newer ones were deleted meanwhile, and it is the key's again
		}
		if d.Err = o.If.Check(newest); d.Err != nil {
			return nil
		}
	}
	if v == nil {
		return nil
	}
	if d.Err = v.CheckDelete(t.time, bypass); d.Err != nil {
		return nil
	}
	d.Found, d.Marker, d.Version = true, v.DeleteMarker, v.ID
	return t.remove(b, v)
}

// isStale says that lifecycle asks for a version that is not v any more, nil being none.
func (o *DeleteObject) isStale(v *Version) bool {
	return o.Expired && (v == nil || v.Seq != o.Seq)
}
