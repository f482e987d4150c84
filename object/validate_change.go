package object

import "fmt"

func (q *CreateBucket) validate() error {
	return first(CheckBucketName(q.Name), checkText("the owner", q.Owner, maxOwner))
}

func (q *DeleteBucket) validate() error { return CheckBucketName(q.Name) }

func (q *SetBucket) validate() error {
	if err := CheckBucketName(q.Name); err != nil {
		return err
	}
	if q.Versioning != nil && *q.Versioning > VersioningSuspended {
		return fmt.Errorf("%w: there is no state of versioning %d", ErrInvalid, *q.Versioning)
	}
	if q.QuotaBytes != nil && *q.QuotaBytes < 0 {
		return fmt.Errorf("%w: a quota of %d bytes", ErrInvalid, *q.QuotaBytes)
	}
	if q.QuotaObjects != nil && *q.QuotaObjects < 0 {
		return fmt.Errorf("%w: a quota of %d objects", ErrInvalid, *q.QuotaObjects)
	}
	if q.Lock != nil {
		return q.Lock.check()
	}
	return nil
}

func (q *SetConfig) validate() error {
	if err := CheckBucketName(q.Bucket); err != nil {
		return err
	}
	if len(q.Name) > maxConfigName || !configForm.MatchString(q.Name) {
		return fmt.Errorf("%w: the name %.80q of a document is not 1 to %d of a-z, 0-9, dots and hyphens", ErrInvalid, q.Name, maxConfigName)
	}
	if len(q.Value) > MaxConfig {
		return fmt.Errorf("%w: the document %s has %d bytes, more than %d", ErrTooLarge, q.Name, len(q.Value), MaxConfig)
	}
	return nil
}

func (q *Put) validate() error {
	return first(checkPlace(q.Bucket, q.Key), q.If.validate(), q.Attributes.validate(), checkETag(q.ETag),
		q.Checksum.validate(false), q.Retention.validate(), q.Body.validate())
}

func (q *Copy) validate() error {
	if err := checkPlace(q.SourceBucket, q.SourceKey); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	return first(checkPlace(q.Bucket, q.Key), q.If.validate(), q.Attributes.validate(), checkETag(q.ETag),
		q.Checksum.validate(false), q.Retention.validate())
}

func (q *Delete) validate() error {
	if err := CheckBucketName(q.Bucket); err != nil {
		return err
	}
	if n := len(q.Objects); n < 1 || n > MaxDeletes {
		return fmt.Errorf("%w: %d deletes in one change, not 1 to %d", ErrInvalid, n, MaxDeletes)
	}
	for i := range q.Objects {
		o := &q.Objects[i]
		if err := first(CheckKey(o.Key), o.If.validate()); err != nil {
			return fmt.Errorf("delete %d: %w", i, err)
		}
	}
	return nil
}

func (q *SetObject) validate() error {
	if err := checkPlace(q.Bucket, q.Key); err != nil {
		return err
	}
	if q.Retention != nil {
		if err := q.Retention.validate(); err != nil {
			return err
		}
	}
	if q.Tags != nil {
		return checkTags(*q.Tags)
	}
	return nil
}

func (q *CreateUpload) validate() error {
	return first(checkPlace(q.Bucket, q.Key), checkText("the owner", q.Owner, maxOwner), q.Attributes.validate(),
		q.Checksum.validate(true), q.Checksum.checkAsked(), q.Retention.validate())
}

func (q *PutPart) validate() error {
	if q.Number < 1 || q.Number > MaxParts {
		return fmt.Errorf("%w: part %d, not 1 to %d", ErrInvalid, q.Number, MaxParts)
	}
	if err := q.checkETag(); err != nil {
		return err
	}
	return first(checkPlace(q.Bucket, q.Key), q.Checksum.validate(false), q.Body.validate())
}

func (q *Complete) validate() error {
	if err := first(checkPlace(q.Bucket, q.Key), q.If.validate(), q.Checksum.validate(true)); err != nil {
		return err
	}
	if n := len(q.Parts); n < 1 || n > MaxParts {
		return fmt.Errorf("%w: %d parts are named, not 1 to %d", ErrInvalid, n, MaxParts)
	}
	for i := range q.Parts {
		p := &q.Parts[i]
		if p.Number < 1 || p.Number > MaxParts {
			return fmt.Errorf("%w: part %d is named, not 1 to %d", ErrInvalid, p.Number, MaxParts)
		}
		if !etagForm.MatchString(p.ETag) {
			return fmt.Errorf("%w: %d with the ETag %.80q", ErrInvalidPart, p.Number, p.ETag)
		}
		if err := p.Checksum.validate(true); err != nil {
			return fmt.Errorf("part %d: %w", p.Number, err)
		}
	}
	if q.Size != nil && *q.Size < 0 {
		return fmt.Errorf("%w: an object of %d bytes", ErrInvalid, *q.Size)
	}
	return nil
}

func (q *Abort) validate() error { return checkPlace(q.Bucket, q.Key) }

func checkMember(member uint64) error {
	if member == 0 {
		return fmt.Errorf("%w: a write lease of member 0", ErrInvalid)
	}
	return nil
}

func (q *OpenLease) validate() error { return checkMember(q.Member) }

func (q *CloseLease) validate() error { return nil }

func (q *CloseLeases) validate() error { return checkMember(q.Member) }

func (q *SetKey) validate() error {
	if q.Was != nil {
		if q.New || q.Was.ID != q.Key.ID {
			return fmt.Errorf("%w: access key %.140q in the place of %.140q as it was, new: %v", ErrInvalid, q.Key.ID, q.Was.ID, q.New)
		}
		if err := q.Was.validate(); err != nil {
			return err
		}
	}
	return q.Key.validate()
}

func (k *AccessKey) validate() error {
	if err := checkKeyID(k.ID); err != nil {
		return err
	}
	switch {
	case len(k.Sealed) < 1 || len(k.Sealed) > maxSealed:
		return fmt.Errorf("%w: the sealed secret has %d bytes, not 1 to %d", ErrInvalid, len(k.Sealed), maxSealed)
	case len(k.Grants) > maxGrants:
		return fmt.Errorf("%w: %d grants, more than %d", ErrInvalid, len(k.Grants), maxGrants)
	case k.Requests < 0 || k.Bytes < 0 || k.MaxObject < 0:
		return fmt.Errorf("%w: a bound of %d requests, %d bytes, objects of %d bytes", ErrInvalid, k.Requests, k.Bytes, k.MaxObject)
	case k.Created < 0 || k.Created > maxTime:
		return fmt.Errorf("%w: the key is of the time %d, not 0 to %d", ErrInvalid, k.Created, int64(maxTime))
	}
	for _, g := range k.Grants {
		if len(g.Bucket) > MaxBucketLen || !patternForm.MatchString(g.Bucket) {
			return fmt.Errorf("%w: a grant of %.80q is not 1 to %d of what names of buckets have, and *", ErrInvalid, g.Bucket, MaxBucketLen)
		}
	}
	return checkText("the description", k.Description, maxDescription)
}

// CheckAccessKeyID holds the id of an access key to its rules: 3 to 128 letters and digits of
// ASCII, and _+=,.@-. The error is ErrInvalid with the rule.
func CheckAccessKeyID(id string) error { return checkKeyID(id) }

func checkKeyID(id string) error {
	if len(id) < minKeyID || len(id) > maxKeyID || !keyIDForm.MatchString(id) {
		return fmt.Errorf("%w: the id %.140q of an access key is not %d to %d of letters, digits and _+=,.@-", ErrInvalid, id, minKeyID, maxKeyID)
	}
	return nil
}

func (q *DeleteKey) validate() error { return checkKeyID(q.ID) }

func (q *Reap) validate() error { return nil }
