package object_test

import (
	"encoding/hex"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"chainfire/object"
)

// drawn draws changes that Validate accepts, of every kind and with every field, whatever the
// state is. What is empty is nil, as it is decoded.
type drawn struct{ t *rapid.T }

func (d drawn) bool(label string) bool { return rapid.Bool().Draw(d.t, label) }

func (d drawn) uint(label string) uint64 { return rapid.Uint64().Draw(d.t, label) }

func (d drawn) one(label string) uint64 { return rapid.Uint64Min(1).Draw(d.t, label) }

func (d drawn) bytes(label string, atLeast, atMost int) []byte {
	b := rapid.SliceOfN(rapid.Byte(), atLeast, atMost).Draw(d.t, label)
	if len(b) == 0 {
		return nil
	}
	return b
}

func (d drawn) text(label string) string { return rapid.StringN(0, 20, 60).Draw(d.t, label) }

func (d drawn) header(label string) string {
	return rapid.StringMatching("[ -~é\t]{0,20}").Draw(d.t, label)
}

func (d drawn) bucket() string { return rapid.StringMatching("[a-z0-9]{3,20}").Draw(d.t, "bucket") }

func (d drawn) key() string { return rapid.StringN(1, 20, 60).Draw(d.t, "key") }

func (d drawn) etag() string {
	etag := hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(d.t, "etag"))
	return etag + rapid.SampledFrom([]string{"", "-1", "-10000"}).Draw(d.t, "parts")
}

func (d drawn) int() *int64 {
	if d.bool("no number") {
		return nil
	}
	return ptr(rapid.Int64Min(0).Draw(d.t, "number"))
}

func (d drawn) flag() *bool {
	if d.bool("no flag") {
		return nil
	}
	return ptr(d.bool("flag"))
}

func (d drawn) version() *object.VersionID {
	if d.bool("no version") {
		return nil
	}
	return ptr(object.VersionID(d.uint("version")))
}

// pairs are sorted by name.
func (d drawn) pairs(label, names string) []object.Pair {
	name := rapid.StringMatching(names)
	var l []object.Pair
	for _, n := range slices.Sorted(slices.Values(rapid.SliceOfNDistinct(name, 0, 4, rapid.ID).Draw(d.t, label))) {
		l = append(l, object.Pair{Name: n, Value: d.header(label + " value")})
	}
	return l
}

func (d drawn) attributes() object.Attributes {
	if d.bool("no attributes") {
		return object.Attributes{}
	}
	return object.Attributes{
		ContentType: d.header("type"), CacheControl: d.header("cache"), ContentDisposition: d.header("disposition"),
		ContentEncoding: d.header("encoding"), ContentLanguage: d.header("language"), Expires: d.header("expires"),
		WebsiteRedirect: d.header("redirect"), StorageClass: d.header("class"),
		Meta: d.pairs("meta", "[a-z0-9-]{1,9}"), Tags: d.pairs("tag", "[a-z=ü ]{1,9}"),
	}
}

// checksum may have no value only if it is one that is asked for.
func (d drawn) checksum(value bool) object.Checksum {
	c := object.Checksum{
		Algorithm: object.ChecksumAlgorithm(rapid.IntRange(0, int(object.ChecksumSHA256)).Draw(d.t, "algorithm")),
		Type:      object.ChecksumType(rapid.IntRange(0, 1).Draw(d.t, "type")),
	}
	if value {
		c.Value = d.bytes("checksum", c.Algorithm.Size(), c.Algorithm.Size())
	}
	return c
}

func (d drawn) retention() object.Retention {
	mode := object.LockMode(rapid.IntRange(0, 2).Draw(d.t, "mode"))
	if mode == object.LockNone {
		return object.Retention{}
	}
	return object.Retention{Mode: mode, Until: rapid.Int64Range(1, 253402300799999).Draw(d.t, "until")}
}

func (d drawn) condition() object.Condition {
	return object.Condition{IfNoneMatch: d.text("none match"), IfMatch: d.text("match"), IfModified: d.int(), IfSize: d.int()}
}

func (d drawn) holders() []uint64 {
	l := rapid.SliceOfNDistinct(rapid.Uint64Min(1), 0, 3, rapid.ID).Draw(d.t, "holders")
	if len(l) == 0 {
		return nil
	}
	return slices.Sorted(slices.Values(l))
}

func (d drawn) bodyID() object.BodyID {
	return object.BodyID{Lease: d.one("lease"), N: rapid.Uint32Max(1<<31-1).Draw(d.t, "n")}
}

func (d drawn) body() (b object.Body) {
	switch rapid.IntRange(0, 2).Draw(d.t, "body") {
	case 1:
		b.Inline = d.bytes("inline", 1, 100)
		b.Size = int64(len(b.Inline))
	case 2:
		size := rapid.Uint32Range(1, object.MaxExtent).Draw(d.t, "extent")
		b.ID, b.Extents = d.bodyID(), make([]object.Extent, rapid.IntRange(1, 9).Draw(d.t, "extents"))
		holders := d.holders()
		for i := range b.Extents {
			if d.bool("other holders") {
				holders = d.holders()
			}
			b.Extents[i] = object.Extent{Size: size, CRC: rapid.Uint32().Draw(d.t, "crc"), Holders: holders}
		}
		last := &b.Extents[len(b.Extents)-1]
		last.Size = rapid.Uint32Range(1, size).Draw(d.t, "last")
		b.Size = int64(len(b.Extents)-1)*int64(size) + int64(last.Size)
	}
	return b
}

// kinds are what draws each kind of change.
var drawKinds = map[string]func(drawn, *object.Change){
	"create bucket": func(d drawn, c *object.Change) {
		c.CreateBucket = &object.CreateBucket{Name: d.bucket(), Owner: d.text("owner"), ObjectLock: d.bool("lock")}
	},
	"delete bucket": func(d drawn, c *object.Change) { c.DeleteBucket = &object.DeleteBucket{Name: d.bucket()} },
	"set bucket":    func(d drawn, c *object.Change) { c.SetBucket = d.setBucket() },
	"set config": func(d drawn, c *object.Change) {
		c.SetConfig = &object.SetConfig{Bucket: d.bucket(), Name: "cors", Value: d.bytes("document", 0, 20)}
		if c.SetConfig.Value == nil && d.bool("empty") {
			c.SetConfig.Value = []byte{}
		}
	},
	"put": func(d drawn, c *object.Change) {
		c.Put = &object.Put{
			Bucket: d.bucket(), Key: d.key(), If: d.condition(), Attributes: d.attributes(), ETag: d.etag(),
			Checksum: d.checksum(true), Retention: d.retention(), LegalHold: d.bool("hold"), Body: d.body(),
		}
	},
	"copy": func(d drawn, c *object.Change) {
		c.Copy = &object.Copy{
			SourceBucket: d.bucket(), SourceKey: d.key(), SourceSeq: d.uint("seq"), Bucket: d.bucket(), Key: d.key(),
			If: d.condition(), Attributes: d.attributes(), Retention: d.retention(), LegalHold: d.bool("hold"),
			ETag: d.etag(), Checksum: d.checksum(true),
		}
	},
	"delete":     func(d drawn, c *object.Change) { c.Delete = d.delete() },
	"set object": func(d drawn, c *object.Change) { c.SetObject = d.setObject() },
	"create upload": func(d drawn, c *object.Change) {
		c.CreateUpload = &object.CreateUpload{
			Bucket: d.bucket(), Key: d.key(), Owner: d.text("owner"), Attributes: d.attributes(),
			Checksum: d.checksum(false), Retention: d.retention(), LegalHold: d.bool("hold"),
		}
		c.CreateUpload.Checksum.Type = object.ChecksumComposite
	},
	"put part": func(d drawn, c *object.Change) {
		etag, _, _ := strings.Cut(d.etag(), "-")
		c.PutPart = &object.PutPart{
			Bucket: d.bucket(), Key: d.key(), Upload: d.uint("upload"), Number: rapid.IntRange(1, object.MaxParts).Draw(d.t, "number"),
			ETag: etag, Checksum: d.checksum(true), Body: d.body(),
		}
	},
	"complete": func(d drawn, c *object.Change) { c.Complete = d.complete() },
	"abort": func(d drawn, c *object.Change) {
		c.Abort = &object.Abort{Bucket: d.bucket(), Key: d.key(), Upload: d.uint("upload")}
	},
	"open lease": func(d drawn, c *object.Change) {
		c.OpenLease = &object.OpenLease{Member: d.one("member"), Boots: d.uint("boots")}
	},
	"close lease": func(d drawn, c *object.Change) { c.CloseLease = &object.CloseLease{ID: d.uint("lease")} },
	"close leases": func(d drawn, c *object.Change) {
		c.CloseLeases = &object.CloseLeases{Member: d.one("member"), Boots: d.uint("boots")}
	},
	"set key":    func(d drawn, c *object.Change) { c.SetKey = d.setKey() },
	"delete key": func(d drawn, c *object.Change) { c.DeleteKey = &object.DeleteKey{ID: "AKIA.example"} },
	"reap":       func(_ drawn, c *object.Change) { c.Reap = &object.Reap{} },
}

func (d drawn) setBucket() *object.SetBucket {
	q := &object.SetBucket{Name: d.bucket(), ObjectLock: d.flag(), QuotaBytes: d.int(), QuotaObjects: d.int()}
	if d.bool("versioned") {
		q.Versioning = ptr(object.Versioning(rapid.IntRange(0, 2).Draw(d.t, "versioning")))
	}
	if d.bool("rule") {
		q.Lock = ptr(rapid.SampledFrom([]object.LockRule{
			{}, {Mode: object.LockGovernance, Days: object.MaxLockDays}, {Mode: object.LockCompliance, Years: 1},
		}).Draw(d.t, "lock rule"))
	}
	return q
}

func (d drawn) delete() *object.Delete {
	q := &object.Delete{Bucket: d.bucket(), Bypass: d.bool("bypass")}
	for range rapid.IntRange(1, 5).Draw(d.t, "objects") {
		q.Objects = append(q.Objects, object.DeleteObject{
			Key: d.key(), Version: d.version(), If: d.condition(), Expired: d.bool("expired"), Seq: d.uint("seq"),
		})
	}
	return q
}

func (d drawn) setObject() *object.SetObject {
	q := &object.SetObject{Bucket: d.bucket(), Key: d.key(), Version: d.version(), LegalHold: d.flag(), Bypass: d.bool("bypass")}
	if d.bool("tags") {
		q.Tags = ptr(d.pairs("tag", "[a-z]{1,9}"))
	}
	if d.bool("retention") {
		q.Retention = ptr(d.retention())
	}
	return q
}

func (d drawn) complete() *object.Complete {
	q := &object.Complete{
		Bucket: d.bucket(), Key: d.key(), Upload: d.uint("upload"), If: d.condition(),
		Checksum: d.checksum(d.bool("checked")), Size: d.int(),
	}
	for range rapid.IntRange(1, 5).Draw(d.t, "parts") {
		q.Parts = append(q.Parts, object.CompletePart{
			Number: rapid.IntRange(1, object.MaxParts).Draw(d.t, "number"), ETag: d.etag(), Checksum: d.checksum(d.bool("checked")),
		})
	}
	return q
}

func (d drawn) setKey() *object.SetKey {
	q := &object.SetKey{Key: d.accessKey(rapid.StringMatching("[A-Za-z0-9_+=,.@-]{3,20}").Draw(d.t, "id"))}
	if q.New = d.bool("new"); !q.New && d.bool("was") {
		q.Was = ptr(d.accessKey(q.Key.ID))
	}
	return q
}

func (d drawn) accessKey(id string) object.AccessKey {
	k := object.AccessKey{
		ID: id, Sealed: d.bytes("sealed", 1, 60),
		Created: rapid.Int64Range(0, 1<<41).Draw(d.t, "created"), Description: d.text("description"),
		Disabled: d.bool("disabled"), Admin: d.bool("admin"),
		Requests: rapid.Int64Min(0).Draw(d.t, "requests"), Bytes: rapid.Int64Min(0).Draw(d.t, "bytes"),
		MaxObject: rapid.Int64Min(0).Draw(d.t, "object"),
	}
	for range rapid.IntRange(0, 3).Draw(d.t, "grants") {
		k.Grants = append(k.Grants, object.Grant{Bucket: "logs-*", Read: d.bool("read"), Write: d.bool("write")})
	}
	return k
}

// change draws a change of any kind.
func (d drawn) change() *object.Change {
	names := make([]string, 0, len(drawKinds))
	for name := range drawKinds {
		names = append(names, name)
	}
	slices.Sort(names)
	c := &object.Change{Time: rapid.Int64Range(0, 253402300799999).Draw(d.t, "time")}
	drawKinds[rapid.SampledFrom(names).Draw(d.t, "kind")](d, c)
	return c
}
