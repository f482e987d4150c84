package object

import "fmt"

func (t *tx) put(c *Put) (*Result, error) {
	b, err := t.bucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	if err := checkLock(b, c.Retention, c.LegalHold); err != nil {
		return nil, err
	}
	if err := t.checkWrite(b, c.Key, c.If, c.Body.Size); err != nil {
		return nil, err
	}
	if err := t.checkBody(&c.Body); err != nil {
		return nil, err
	}
	body, err := t.adopt(&c.Body)
	if err != nil {
		return nil, err
	}
	return t.written(b, &Version{
		Key: c.Key, Size: c.Body.Size, ETag: c.ETag, Attributes: c.Attributes, Checksum: c.Checksum,
		Retention: c.Retention, LegalHold: c.LegalHold, Body: body,
	})
}

func (t *tx) copy(c *Copy) (*Result, error) {
	b, err := t.bucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	source, err := t.source(c)
	if err != nil {
		return nil, err
	}
	if err := checkLock(b, c.Retention, c.LegalHold); err != nil {
		return nil, err
	}
	if err := t.checkWrite(b, c.Key, c.If, source.Size); err != nil {
		return nil, err
	}
	// Before the write, which may replace the source.
	if err := t.refer(source); err != nil {
		return nil, err
	}
	return t.written(b, &Version{
		Key: c.Key, Size: source.Size, ETag: c.ETag, Attributes: c.Attributes, Checksum: c.Checksum,
		Retention: c.Retention, LegalHold: c.LegalHold, Body: source.Body, Parts: source.Parts,
	})
}

// source reads what is to be copied.
func (t *tx) source(c *Copy) (*Version, error) {
	gone := fmt.Errorf("%w: version %d of key %q in bucket %s is gone", ErrSourceChanged, c.SourceSeq, c.SourceKey, c.SourceBucket)
	value, found, err := t.rows.Get(bucketRow(c.SourceBucket))
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, gone
	}
	b, err := decodeBucket(c.SourceBucket, value)
	if err != nil {
		return nil, err
	}
	v, err := versionAt(t.rows, b.ID, c.SourceKey, c.SourceSeq)
	switch {
	case err != nil:
		return nil, err
	case v == nil || v.DeleteMarker:
		return nil, gone
	}
	return v, nil
}

func (t *tx) written(b *Bucket, v *Version) (*Result, error) {
	v, err := t.write(b, v)
	if err != nil {
		return nil, err
	}
	return &Result{Bucket: b, Version: v}, nil
}

// setObject changes a version in place, under the Seq that it has.
func (t *tx) setObject(c *SetObject) (*Result, error) {
	b, err := t.bucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	v, err := readVersion(t.rows, b.ID, c.Key, c.Version)
	switch {
	case err != nil:
		return nil, err
	case v.DeleteMarker:
		return nil, fmt.Errorf("%w: key %q", ErrMethodNotAllowed, c.Key)
	case (c.Retention != nil || c.LegalHold != nil) && !b.ObjectLock:
		return nil, fmt.Errorf("%w: bucket %s has no object lock", ErrInvalidBucketState, b.Name)
	}
	if c.Retention != nil {
		if err := v.Retention.checkChange(*c.Retention, t.time, c.Bypass); err != nil {
			return nil, err
		}
		v.Retention = *c.Retention
	}
	if c.LegalHold != nil {
		v.LegalHold = *c.LegalHold
	}
	if c.Tags != nil {
		v.Tags = *c.Tags
	}
	v.Latest = false
	if err := t.rows.Set(versionRow(b.ID, v.Key, v.Seq), v.encode()); err != nil {
		return nil, err
	}
	return &Result{Bucket: b, Version: v}, nil
}

// CheckDelete refuses, with ErrLocked, to delete a version for good while it is held at a time in
// Unix milliseconds; bypass passes over governance.
func (v *Version) CheckDelete(at int64, bypass bool) error {
	switch {
	case v.LegalHold:
		return fmt.Errorf("%w: version %d of key %q is under a legal hold", ErrLocked, v.Seq, v.Key)
	case v.Retention.holds(at) && (v.Retention.Mode == LockCompliance || !bypass):
		return fmt.Errorf("%w: version %d of key %q is retained until %d", ErrLocked, v.Seq, v.Key, v.Retention.Until)
	}
	return nil
}

// holds reports whether the retention has not ended at a time.
func (r Retention) holds(at int64) bool { return r.Mode != LockNone && at < r.Until }

// checkChange refuses another retention that would end earlier or hold less, while this one
// lasts.
func (r Retention) checkChange(to Retention, at int64, bypass bool) error {
	switch {
	case !r.holds(at), to.Mode >= r.Mode && to.Until >= r.Until:
		return nil
	case r.Mode == LockGovernance && bypass:
		return nil
	}
	return fmt.Errorf("%w: the retention until %d can only be made longer", ErrLocked, r.Until)
}
