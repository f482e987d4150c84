package object

import (
	"bytes"
	"fmt"

	"chainfire/internal/record"
)

// Bounds of LockRule.
const (
	MaxLockDays  = 36_500
	MaxLockYears = 100
)

// readBucket reads a bucket, or ErrNoSuchBucket.
func readBucket(r Reader, name string) (*Bucket, error) {
	value, found, err := r.Get(bucketRow(name))
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fmt.Errorf("%w: %q", ErrNoSuchBucket, name)
	}
	return decodeBucket(name, value)
}

func listBuckets(r Reader, prefix, after string, limit int) ([]Bucket, error) {
	if limit <= 0 {
		return nil, nil
	}
	from, to := bucketRow(prefix), afterPrefix(bucketRow(prefix))
	if next := bucketRow(after + "\x00"); after != "" && bytes.Compare(next, from) > 0 {
		from = next
	}
	var l []Bucket
	err := walk(r, from, to, func(row, value []byte) (bool, error) {
		b, err := decodeBucket(string(row[1:]), value)
		if err != nil {
			return false, err
		}
		l = append(l, *b)
		return len(l) < limit, nil
	})
	return l, err
}

func readConfig(r Reader, bucket uint64, name string) (value []byte, found bool, err error) {
	value, found, err = r.Get(configRow(bucket, name))
	switch {
	case err != nil || !found:
		return nil, false, err
	case len(value) == 0:
		return nil, false, fmt.Errorf("%w: document %s of a bucket has no version", record.ErrMalformed, name)
	case value[0] != recordVersion:
		return nil, false, fmt.Errorf("%w: document %s of a bucket, of version %d", record.ErrNewer, name, value[0])
	}
	return value[1:], true, nil
}

func (t *tx) bucket(name string) (*Bucket, error) { return readBucket(t.rows, name) }

func (t *tx) setBucket(b *Bucket) error { return t.rows.Set(bucketRow(b.Name), b.encode()) }

func configRow(bucket uint64, name string) []byte {
	return append(inBucket(rowConfig, bucket), name...)
}

func (t *tx) createBucket(c *CreateBucket) (*Result, error) {
	if err := CheckBucketName(c.Name); err != nil {
		return nil, err
	}
	n, taken := 0, false
	err := eachRow(t.rows, []byte{rowBucket}, func(row, _ []byte) (bool, error) {
		n++
		taken = string(row[1:]) == c.Name
		return !taken, nil
	})
	switch {
	case err != nil:
		return nil, err
	case taken:
		return nil, fmt.Errorf("%w: %q", ErrBucketExists, c.Name)
	case n >= MaxBuckets:
		return nil, fmt.Errorf("%w: there are %d, which is all that there can be", ErrTooManyBuckets, n)
	}
	b := &Bucket{Name: c.Name, ID: t.next(), Created: t.time, Owner: c.Owner, ObjectLock: c.ObjectLock}
	if c.ObjectLock {
		b.Versioning = VersioningEnabled
	}
	return &Result{Bucket: b}, t.setBucket(b)
}

func (t *tx) deleteBucket(c *DeleteBucket) (*Result, error) {
	b, err := t.bucket(c.Name)
	if err != nil {
		return nil, err
	}
	for _, kind := range []byte{rowVersion, rowUpload} {
		empty := true
		err := eachRow(t.rows, inBucket(kind, b.ID), func(_, _ []byte) (bool, error) {
			empty = false
			return false, nil
		})
		if err != nil {
			return nil, err
		}
		if !empty {
			return nil, fmt.Errorf("%w: %q", ErrBucketNotEmpty, c.Name)
		}
	}
	var rows [][]byte
	err = eachRow(t.rows, inBucket(rowConfig, b.ID), func(row, _ []byte) (bool, error) {
		rows = append(rows, append([]byte(nil), row...))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	for _, row := range append(rows, bucketRow(c.Name)) {
		if err := t.rows.Delete(row); err != nil {
			return nil, err
		}
	}
	return &Result{}, nil
}

func (t *tx) changeBucket(c *SetBucket) (*Result, error) {
	b, err := t.bucket(c.Name)
	if err != nil {
		return nil, err
	}
	if c.Versioning != nil {
		if *c.Versioning == VersioningOff && b.Versioning != VersioningOff {
			return nil, fmt.Errorf("%w: versioning of bucket %s can be suspended, not taken back", ErrInvalidBucketState, b.Name)
		}
		b.Versioning = *c.Versioning
	}
	if c.ObjectLock != nil {
		if !*c.ObjectLock {
			return nil, fmt.Errorf("%w: object lock of bucket %s cannot be taken back", ErrInvalidBucketState, b.Name)
		}
		b.ObjectLock = true
	}
	if b.ObjectLock && b.Versioning != VersioningEnabled {
		return nil, fmt.Errorf("%w: object lock needs versioning, which bucket %s would not have", ErrInvalidBucketState, b.Name)
	}
	if c.Lock != nil {
		if err := c.Lock.check(); err != nil {
			return nil, err
		}
		if c.Lock.Mode != LockNone && !b.ObjectLock {
			return nil, fmt.Errorf("%w: a rule needs object lock, which bucket %s does not have", ErrInvalidBucketState, b.Name)
		}
		b.Lock = *c.Lock
	}
	if c.QuotaBytes != nil {
		b.QuotaBytes = max(0, *c.QuotaBytes)
	}
	if c.QuotaObjects != nil {
		b.QuotaObjects = max(0, *c.QuotaObjects)
	}
	return &Result{Bucket: b}, t.setBucket(b)
}

// check refuses a rule that gives no time, or one without end.
func (l LockRule) check() error {
	switch {
	case l == LockRule{}:
		return nil
	case l.Mode != LockGovernance && l.Mode != LockCompliance:
		return fmt.Errorf("%w: a lock rule needs a mode: governance or compliance", ErrInvalid)
	case (l.Days == 0) == (l.Years == 0):
		return fmt.Errorf("%w: a lock rule has days or years, one of them", ErrInvalid)
	case l.Days > MaxLockDays || l.Years > MaxLockYears:
		return fmt.Errorf("%w: a lock rule has at most %d days or %d years", ErrInvalid, MaxLockDays, MaxLockYears)
	}
	return nil
}

func (t *tx) setConfig(c *SetConfig) (*Result, error) {
	b, err := t.bucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	row := configRow(b.ID, c.Name)
	if c.Value == nil {
		return &Result{}, t.rows.Delete(row)
	}
	return &Result{}, t.rows.Set(row, append([]byte{recordVersion}, c.Value...))
}
