package object_test

import (
	"slices"
	"strings"

	"chainfire/object"
)

// model is buckets and objects in plain slices.
type model struct {
	buckets []*modelBucket
	modelBodies
}

// modelBucket has its versions in the order in which they were written, and its open uploads.
type modelBucket struct {
	object.Bucket
	versions []object.Version
	uploads  []*modelUpload
	configs  map[string]string
}

func (m *model) bucket(name string) *modelBucket {
	for _, b := range m.buckets {
		if b.Name == name {
			return b
		}
	}
	return nil
}

// newest is where the newest version of a key is, -1 for none.
func (b *modelBucket) newest(key string) int {
	for i, v := range slices.Backward(b.versions) {
		if v.Key == key {
			return i
		}
	}
	return -1
}

// version is where a version of a key is, nil being the newest, -1 for none.
func (b *modelBucket) version(key string, id *object.VersionID) int {
	if id == nil {
		return b.newest(key)
	}
	return slices.IndexFunc(b.versions, func(v object.Version) bool { return v.Key == key && v.ID == *id })
}

func (b *modelBucket) seq(key string, seq uint64) int {
	return slices.IndexFunc(b.versions, func(v object.Version) bool { return v.Key == key && v.Seq == seq })
}

func (b *modelBucket) count() {
	b.Bytes, b.Objects = 0, 0
	for _, v := range b.versions {
		if !v.DeleteMarker {
			b.Bytes += v.Size
			b.Objects++
		}
	}
	for _, u := range b.uploads {
		for _, p := range u.parts {
			b.Bytes += p.Size
		}
	}
}

func (b *modelBucket) condition(key string, c object.Condition) error {
	i := b.newest(key)
	there := i >= 0 && !b.versions[i].DeleteMarker
	if there && (c.IfNoneMatch == "*" || c.IfNoneMatch != "" && c.IfNoneMatch == b.versions[i].ETag) {
		return object.ErrPreconditionFailed
	}
	if c.IfMatch != "" || c.IfSize != nil || c.IfModified != nil {
		if !there {
			return object.ErrNoSuchKey
		}
		v := b.versions[i]
		if c.IfMatch != "" && c.IfMatch != "*" && c.IfMatch != v.ETag ||
			c.IfSize != nil && *c.IfSize != v.Size || c.IfModified != nil && *c.IfModified/1000 != v.Modified/1000 {
			return object.ErrPreconditionFailed
		}
	}
	return nil
}

// put writes a version; a copy of the bucket without what it replaces tells the quota. What is
// wrong with its body comes last.
func (b *modelBucket) put(v object.Version, cond object.Condition, body error, now int64) error {
	if (v.Retention.Mode != object.LockNone || v.LegalHold) && !b.ObjectLock {
		return object.ErrInvalidBucketState
	}
	if err := b.condition(v.Key, cond); err != nil {
		return err
	}
	after := *b
	after.versions = slices.Clone(b.versions)
	after.place(v, now)
	if b.QuotaBytes > 0 && after.Bytes > b.QuotaBytes || b.QuotaObjects > 0 && after.Objects > b.QuotaObjects {
		return object.ErrQuota
	}
	if body != nil {
		return body
	}
	*b = after
	return nil
}

// place adds a version; its Seq comes to be known only later.
func (b *modelBucket) place(v object.Version, now int64) {
	v.Modified = now
	v.Seq = 0
	v.ID = 1 // not null
	if b.Versioning != object.VersioningEnabled {
		v.ID = object.Null
		if i := b.version(v.Key, ptr(object.Null)); i >= 0 {
			b.versions = slices.Delete(b.versions, i, i+1)
		}
	}
	if !v.DeleteMarker && v.Retention.Mode == object.LockNone && b.Lock.Mode != object.LockNone {
		v.Retention = object.Retention{Mode: b.Lock.Mode, Until: now + int64(b.Lock.Days)*day}
	}
	b.versions = append(b.versions, v)
	b.count()
}

func (b *modelBucket) delete(o object.DeleteObject, bypass bool, now int64) (d object.Deleted) {
	i := b.version(o.Key, o.Version)
	if o.Expired && (i < 0 || b.versions[i].Seq != o.Seq || o.Version == nil && b.versions[i].DeleteMarker) {
		return d
	}
	if o.Expired && o.Version != nil && !b.versions[i].DeleteMarker && i == b.version(o.Key, nil) {
		return d
	}
	if err := b.condition(o.Key, o.If); err != nil {
		return object.Deleted{Err: err}
	}
	if o.Version == nil && b.Versioning != object.VersioningOff {
		d.Found = i >= 0 && !b.versions[i].DeleteMarker
		d.Marker = true
		b.place(object.Version{Key: o.Key, DeleteMarker: true}, now)
		d.Version = b.versions[len(b.versions)-1].ID
		return d
	}
	if i < 0 {
		return d
	}
	v := b.versions[i]
	if v.LegalHold || now < v.Retention.Until && (v.Retention.Mode == object.LockCompliance || !bypass) {
		return object.Deleted{Err: object.ErrLocked}
	}
	b.versions = slices.Delete(b.versions, i, i+1)
	b.count()
	return object.Deleted{Found: true, Marker: v.DeleteMarker, Version: v.ID}
}

func (b *modelBucket) set(s *object.SetObject, now int64) error {
	i := b.version(s.Key, s.Version)
	switch {
	case i < 0 && s.Version == nil:
		return object.ErrNoSuchKey
	case i < 0:
		return object.ErrNoSuchVersion
	case b.versions[i].DeleteMarker:
		return object.ErrMethodNotAllowed
	case (s.Retention != nil || s.LegalHold != nil) && !b.ObjectLock:
		return object.ErrInvalidBucketState
	}
	v := &b.versions[i]
	if s.Retention != nil {
		weaker := s.Retention.Mode < v.Retention.Mode || s.Retention.Until < v.Retention.Until
		if now < v.Retention.Until && weaker && (v.Retention.Mode == object.LockCompliance || !s.Bypass) {
			return object.ErrLocked
		}
		v.Retention = *s.Retention
	}
	assign(&v.LegalHold, s.LegalHold)
	assign(&v.Tags, s.Tags)
	return nil
}

// list is a whole listing, by going through all versions for every key.
func (b *modelBucket) list(q object.ListRequest) []string {
	var keys []string
	for _, v := range b.versions {
		if !slices.Contains(keys, v.Key) {
			keys = append(keys, v.Key)
		}
	}
	slices.Sort(keys)
	var items []string
	for _, key := range keys {
		rest, ok := strings.CutPrefix(key, q.Prefix)
		newest := b.versions[b.newest(key)]
		if !ok || newest.DeleteMarker && !q.Versions {
			continue
		}
		if q.Delimiter != "" && strings.Contains(rest, q.Delimiter) {
			before, _, _ := strings.Cut(rest, q.Delimiter)
			if p := q.Prefix + before + q.Delimiter; p > q.After && !slices.Contains(items, p) {
				items = append(items, p)
			}
			continue
		}
		for _, v := range slices.Backward(b.versions) {
			switch {
			case v.Key != key || !q.Versions && v.Seq != newest.Seq:
			case key > q.After, q.Versions && key == q.After && v.Seq < q.AfterVersion:
				items = append(items, item(&v))
			}
		}
	}
	return items
}

// changeBucket follows SetBucket, of which only valid rules come here.
func (b *modelBucket) changeBucket(s *object.SetBucket) error {
	after := b.Bucket
	assign(&after.Versioning, s.Versioning)
	assign(&after.ObjectLock, s.ObjectLock)
	assign(&after.Lock, s.Lock)
	assign(&after.QuotaBytes, s.QuotaBytes)
	assign(&after.QuotaObjects, s.QuotaObjects)
	if after.Versioning == object.VersioningOff && b.Versioning != object.VersioningOff ||
		s.ObjectLock != nil && !*s.ObjectLock ||
		after.ObjectLock && after.Versioning != object.VersioningEnabled ||
		s.Lock != nil && s.Lock.Mode != object.LockNone && !after.ObjectLock {
		return object.ErrInvalidBucketState
	}
	b.Bucket = after
	return nil
}

// apply does to the model what a change does. It returns the answers to a delete, in which a
// version that was just made has an ID of 1.
func (m *model) apply(c *object.Change, now int64) ([]object.Deleted, error) {
	switch {
	case c.CreateBucket != nil:
		if m.bucket(c.CreateBucket.Name) != nil {
			return nil, object.ErrBucketExists
		}
		b := &modelBucket{configs: map[string]string{}}
		b.Name, b.Owner, b.Created = c.CreateBucket.Name, c.CreateBucket.Owner, now
		if c.CreateBucket.ObjectLock {
			b.ObjectLock, b.Versioning = true, object.VersioningEnabled
		}
		m.buckets = append(m.buckets, b)
		return nil, nil
	case c.Copy != nil:
		return nil, m.copy(c.Copy, now)
	case target(c) == "":
		return nil, m.applyBodies(c, now)
	}
	b := m.bucket(target(c))
	if b == nil {
		return nil, object.ErrNoSuchBucket
	}
	switch {
	case c.DeleteBucket != nil:
		if len(b.versions)+len(b.uploads) > 0 {
			return nil, object.ErrBucketNotEmpty
		}
		m.buckets = slices.DeleteFunc(m.buckets, func(x *modelBucket) bool { return x == b })
	case c.SetBucket != nil:
		return nil, b.changeBucket(c.SetBucket)
	case c.SetConfig != nil:
		if c.SetConfig.Value == nil {
			delete(b.configs, c.SetConfig.Name)
		} else {
			b.configs[c.SetConfig.Name] = string(c.SetConfig.Value)
		}
	case c.Put != nil:
		return nil, m.put(b, c.Put, now)
	case c.SetObject != nil:
		return nil, b.set(c.SetObject, now)
	case c.Delete != nil:
		var l []object.Deleted
		for _, o := range c.Delete.Objects {
			l = append(l, b.delete(o, c.Delete.Bypass, now))
		}
		return l, nil
	default:
		return nil, m.applyUpload(b, c, now)
	}
	return nil, nil
}

// target is the bucket that a change is of, "" for none.
func target(c *object.Change) string {
	switch {
	case c.DeleteBucket != nil:
		return c.DeleteBucket.Name
	case c.SetBucket != nil:
		return c.SetBucket.Name
	case c.SetConfig != nil:
		return c.SetConfig.Bucket
	case c.Put != nil:
		return c.Put.Bucket
	case c.SetObject != nil:
		return c.SetObject.Bucket
	case c.Delete != nil:
		return c.Delete.Bucket
	case c.CreateUpload != nil:
		return c.CreateUpload.Bucket
	case c.PutPart != nil:
		return c.PutPart.Bucket
	case c.Complete != nil:
		return c.Complete.Bucket
	case c.Abort != nil:
		return c.Abort.Bucket
	}
	return ""
}

func (m *model) put(b *modelBucket, p *object.Put, now int64) error {
	v := object.Version{
		Key: p.Key, ETag: p.ETag, Attributes: p.Attributes, Checksum: p.Checksum,
		Retention: p.Retention, LegalHold: p.LegalHold, Size: p.Body.Size, Body: p.Body.ID,
	}
	err := b.put(v, p.If, m.checkBody(&p.Body), now)
	if err == nil {
		m.adopt(&p.Body)
	}
	return err
}

func (m *model) copy(c *object.Copy, now int64) error {
	b, from := m.bucket(c.Bucket), m.bucket(c.SourceBucket)
	if b == nil {
		return object.ErrNoSuchBucket
	}
	i := -1
	if from != nil {
		i = from.seq(c.SourceKey, c.SourceSeq)
	}
	if i < 0 || from.versions[i].DeleteMarker {
		return object.ErrSourceChanged
	}
	return b.put(object.Version{
		Key: c.Key, ETag: c.ETag, Attributes: c.Attributes, Checksum: c.Checksum,
		Retention: c.Retention, LegalHold: c.LegalHold, Size: from.versions[i].Size,
		Body: from.versions[i].Body, Parts: from.versions[i].Parts,
	}, c.If, nil, now)
}
