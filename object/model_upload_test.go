package object_test

import (
	"crypto/md5"
	"errors"
	"fmt"
	"slices"

	"chainfire/object"
	"chainfire/object/checksum"
)

// modelUpload is an open upload with its parts, by number.
type modelUpload struct {
	object.Upload
	parts []object.Part
}

// modelBodies is what all buckets share: bodies, leases and access keys. Whether a body is there
// is found by looking for who refers to it, not by counting.
type modelBodies struct {
	world *world
	// bodies are all bodies of extents that ever were, as they were last.
	bodies map[object.BodyID]object.Body
	// manifests are those that are not reaped yet; loose are parts that are garbage by
	// themselves.
	manifests map[object.BodyID][]object.Part
	loose     []object.Part
	leases    []object.Lease
	keys      []object.AccessKey
	// completing are the parts of the version just completed; again is the version, if the upload
	// was completed before.
	completing []object.Part
	again      *object.Version
}

func newModelBodies(w *world) modelBodies {
	return modelBodies{world: w, bodies: map[object.BodyID]object.Body{}, manifests: map[object.BodyID][]object.Part{}}
}

func (m *model) open(lease uint64) bool {
	return slices.ContainsFunc(m.leases, func(l object.Lease) bool { return l.ID == lease })
}

// alive reports whether a version has a manifest.
func (m *model) alive(manifest object.BodyID) bool {
	for _, b := range m.buckets {
		if slices.ContainsFunc(b.versions, func(v object.Version) bool { return v.Parts > 0 && v.Body == manifest }) {
			return true
		}
	}
	return false
}

// isThere reports whether something refers to a body, also what is still to be reaped.
func (m *model) isThere(id object.BodyID) bool {
	has := func(parts []object.Part) bool {
		return slices.ContainsFunc(parts, func(p object.Part) bool { return p.Body == id })
	}
	for _, b := range m.buckets {
		if slices.ContainsFunc(b.versions, func(v object.Version) bool { return v.Parts == 0 && v.Body == id }) {
			return true
		}
		if slices.ContainsFunc(b.uploads, func(u *modelUpload) bool { return has(u.parts) }) {
			return true
		}
	}
	for _, parts := range m.manifests {
		if has(parts) {
			return true
		}
	}
	return has(m.loose)
}

// garbage reports whether there is something to reap.
func (m *model) garbage() bool {
	for id := range m.manifests {
		if !m.alive(id) {
			return true
		}
	}
	return len(m.loose) > 0
}

func (m *model) checkBody(b *object.Body) error {
	if len(b.Extents) == 0 {
		return nil
	}
	if !m.open(b.ID.Lease) {
		return object.ErrLeaseGone
	}
	if m.isThere(b.ID) {
		return object.ErrInvalid
	}
	for _, e := range b.Extents {
		n := 0
		for _, member := range m.world.placed {
			if slices.Contains(e.Holders, member) {
				n++
			}
		}
		if n <= len(m.world.placed)/2 {
			return object.ErrHolders
		}
	}
	return nil
}

func (m *model) adopt(b *object.Body) {
	if len(b.Extents) > 0 {
		m.bodies[b.ID] = *b
	}
}

// applyBodies is apply for what is of no bucket.
func (m *model) applyBodies(c *object.Change, now int64) error {
	switch {
	case c.OpenLease != nil:
		m.leases = append(m.leases, object.Lease{ID: m.world.index + 1, Member: c.OpenLease.Member, Boots: c.OpenLease.Boots})
	case c.CloseLease != nil:
		m.leases = slices.DeleteFunc(m.leases, func(l object.Lease) bool { return l.ID == c.CloseLease.ID })
	case c.CloseLeases != nil:
		m.leases = slices.DeleteFunc(m.leases, func(l object.Lease) bool {
			return l.Member == c.CloseLeases.Member && l.Boots < c.CloseLeases.Boots
		})
	case c.Reap != nil:
		for id := range m.manifests {
			if !m.alive(id) {
				delete(m.manifests, id)
			}
		}
		m.loose = nil
	case c.SetKey != nil:
		return m.setKey(c.SetKey, now)
	case c.DeleteKey != nil:
		i := m.key(c.DeleteKey.ID)
		if i < 0 {
			return object.ErrNoSuchAccessKey
		}
		m.keys = slices.Delete(m.keys, i, i+1)
	default:
		return errors.New("a change that the model does not know")
	}
	return nil
}

func (m *model) key(id string) int {
	return slices.IndexFunc(m.keys, func(k object.AccessKey) bool { return k.ID == id })
}

func (m *model) setKey(s *object.SetKey, now int64) error {
	i := m.key(s.Key.ID)
	k := s.Key
	switch {
	case s.New && i >= 0:
		return object.ErrKeyExists
	case !s.New && i < 0:
		return object.ErrNoSuchAccessKey
	case s.New:
		k.Created = now
		m.keys = append(m.keys, k)
	default:
		k.Created = m.keys[i].Created
		m.keys[i] = k
	}
	return nil
}

// upload is an open upload of a key, nil for none.
func (b *modelBucket) upload(key string, id uint64) *modelUpload {
	for _, u := range b.uploads {
		if u.Key == key && u.ID == id {
			return u
		}
	}
	return nil
}

func (b *modelBucket) without(u *modelUpload) []*modelUpload {
	return slices.DeleteFunc(slices.Clone(b.uploads), func(x *modelUpload) bool { return x == u })
}

// applyUpload is apply for uploads in a bucket.
func (m *model) applyUpload(b *modelBucket, c *object.Change, now int64) error {
	switch {
	case c.CreateUpload != nil:
		q := c.CreateUpload
		if (q.Retention.Mode != object.LockNone || q.LegalHold) && !b.ObjectLock {
			return object.ErrInvalidBucketState
		}
		b.uploads = append(b.uploads, &modelUpload{Upload: object.Upload{
			Key: q.Key, Initiated: now, Owner: q.Owner, Attributes: q.Attributes, Checksum: q.Checksum,
			Retention: q.Retention, LegalHold: q.LegalHold,
		}})
	case c.PutPart != nil:
		return m.putPart(b, c.PutPart, now)
	case c.Complete != nil:
		return m.complete(b, c.Complete, now)
	case c.Abort != nil:
		u := b.upload(c.Abort.Key, c.Abort.Upload)
		if u == nil {
			return object.ErrNoSuchUpload
		}
		m.loose = append(m.loose, u.parts...)
		b.uploads = b.without(u)
		b.count()
	default:
		return errors.New("a change that the model does not know")
	}
	return nil
}

func (m *model) putPart(b *modelBucket, q *object.PutPart, now int64) error {
	u := b.upload(q.Key, q.Upload)
	if u == nil {
		return object.ErrNoSuchUpload
	}
	if a := u.Checksum.Algorithm; a != object.ChecksumNone && q.Checksum.Algorithm != a {
		return object.ErrInvalid
	}
	p := object.Part{Number: q.Number, Size: q.Body.Size, Modified: now, ETag: q.ETag, Checksum: q.Checksum, Body: q.Body.ID}
	i, there := slices.BinarySearchFunc(u.parts, q.Number, func(p object.Part, n int) int { return p.Number - n })
	more := p.Size
	if there {
		more -= u.parts[i].Size
	}
	if b.QuotaBytes > 0 && more > 0 && b.Bytes+more > b.QuotaBytes {
		return object.ErrQuota
	}
	if err := m.checkBody(&q.Body); err != nil {
		return err
	}
	m.adopt(&q.Body)
	if there {
		u.parts[i] = p
	} else {
		u.parts = slices.Insert(u.parts, i, p)
	}
	b.count()
	return nil
}

func (m *model) complete(b *modelBucket, q *object.Complete, now int64) error {
	m.completing, m.again = nil, nil
	u := b.upload(q.Key, q.Upload)
	if u == nil {
		i := slices.IndexFunc(b.versions, func(v object.Version) bool { return v.Upload == q.Upload && v.Key == q.Key })
		if i < 0 || q.Upload == 0 {
			return object.ErrNoSuchUpload
		}
		all := m.manifests[b.versions[i].Body]
		if parts, err := named(q, all); err != nil || len(parts) != len(all) {
			return object.ErrNoSuchUpload
		}
		m.again = &b.versions[i]
		return nil
	}
	parts, err := named(q, u.parts)
	if err != nil {
		return err
	}
	v := object.Version{
		Key: u.Key, Attributes: u.Attributes, Retention: u.Retention, LegalHold: u.LegalHold, Parts: len(parts), Upload: u.ID,
	}
	if err := fill(q, &v, u, parts); err != nil {
		return err
	}
	after := *b
	after.uploads = b.without(u)
	after.count()
	if err := after.put(v, q.If, nil, now); err != nil {
		return err
	}
	*b = after
	m.completing = parts
	for _, p := range u.parts {
		if !slices.ContainsFunc(parts, func(x object.Part) bool { return x.Number == p.Number }) {
			m.loose = append(m.loose, p)
		}
	}
	return nil
}

// named are the parts that a Complete names.
func named(q *object.Complete, all []object.Part) (parts []object.Part, err error) {
	for i, n := range q.Parts {
		if i > 0 && n.Number <= q.Parts[i-1].Number {
			return nil, object.ErrInvalidPartOrder
		}
		j := slices.IndexFunc(all, func(p object.Part) bool { return p.Number == n.Number })
		if j < 0 || all[j].ETag != n.ETag {
			return nil, object.ErrInvalidPart
		}
		if n.Checksum.Value != nil && !equalChecksum(n.Checksum, all[j].Checksum) {
			return nil, object.ErrInvalidPart
		}
		parts = append(parts, all[j])
	}
	if len(parts) == 0 {
		return nil, object.ErrInvalidPart
	}
	return parts, nil
}

func equalChecksum(a, b object.Checksum) bool {
	return a.Algorithm == b.Algorithm && string(a.Value) == string(b.Value)
}

// fill gives a version what it has of its parts, and checks what is said of them.
func fill(q *object.Complete, v *object.Version, u *modelUpload, parts []object.Part) error {
	var etags []byte
	var values [][]byte
	var whole []byte
	for i, p := range parts {
		if i < len(parts)-1 && p.Size < object.MinPartSize {
			return object.ErrPartTooSmall
		}
		v.Size += p.Size
		var etag []byte
		if _, err := fmt.Sscanf(p.ETag, "%x", &etag); err != nil {
			return err
		}
		etags = append(etags, etag...)
		values = append(values, p.Checksum.Value)
		if i == 0 {
			whole = p.Checksum.Value
		} else {
			whole = checksum.Combine(u.Checksum.Algorithm, whole, p.Checksum.Value, p.Size)
		}
	}
	v.ETag = fmt.Sprintf("%x-%d", md5.Sum(etags), len(parts))
	if q.Size != nil && *q.Size != v.Size {
		return object.ErrInvalid
	}
	asked := u.Checksum
	if q.Checksum.Value != nil && (q.Checksum.Algorithm != asked.Algorithm || q.Checksum.Type != asked.Type) {
		return object.ErrInvalid
	}
	if asked.Algorithm == object.ChecksumNone {
		return nil
	}
	v.Checksum = asked
	v.Checksum.Value = whole
	if asked.Type == object.ChecksumComposite {
		v.Checksum.Value = checksum.Composite(asked.Algorithm, values)
	}
	if q.Checksum.Value != nil && string(q.Checksum.Value) != string(v.Checksum.Value) {
		return object.ErrBadDigest
	}
	return nil
}
