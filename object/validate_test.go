package object_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chainfire/object"
)

// example is a change of a kind that is accepted; f then spoils it.
func example(kind string, f func(*object.Change)) *object.Change {
	c := rapid.Custom(func(t *rapid.T) *object.Change {
		c := &object.Change{Time: rapid.Int64Range(0, 9).Draw(t, "time")}
		drawKinds[kind](drawn{t}, c)
		return c
	}).Example(1)
	f(c)
	return c
}

func extents(sizes ...uint32) object.Body {
	b := object.Body{ID: object.BodyID{Lease: 1}}
	for _, s := range sizes {
		b.Extents = append(b.Extents, object.Extent{Size: s, Holders: []uint64{1}})
		b.Size += int64(s)
	}
	return b
}

// many is a body of n extents of 1 KiB.
func many(n int) object.Body {
	sizes := make([]uint32, n)
	for i := range sizes {
		sizes[i] = 1 << 10
	}
	return extents(sizes...)
}

func pairsOf(n int) []object.Pair {
	var l []object.Pair
	for i := range n {
		l = append(l, object.Pair{Name: fmt.Sprintf("%04d", i)})
	}
	return l
}

// TestWhatIsOutOfBoundsIsRefusedBeforeItIsProposed: each refusal names the bound, or what it is
// about.
func TestWhatIsOutOfBoundsIsRefusedBeforeItIsProposed(t *testing.T) {
	long := strings.Repeat("x", 3<<10)
	for _, c := range []struct {
		kind string
		f    func(*object.Change)
		want error
		says string
	}{
		{"reap", func(c *object.Change) { c.Reap = nil }, object.ErrInvalid, "exactly one"},
		{"reap", func(c *object.Change) { c.CloseLease = &object.CloseLease{} }, object.ErrInvalid, "exactly one"},
		{"reap", func(c *object.Change) { c.Time = -1 }, object.ErrInvalid, "time -1"},
		{"reap", func(c *object.Change) { c.Time = 253402300800000 }, object.ErrInvalid, "253402300799999"},
		{"create bucket", func(c *object.Change) { c.CreateBucket.Name = "A" }, object.ErrInvalidBucketName, "1 characters"},
		{"create bucket", func(c *object.Change) { c.CreateBucket.Owner = long }, object.ErrInvalid, "owner has 3072 bytes, more than 128"},
		{"create bucket", func(c *object.Change) { c.CreateBucket.Owner = "\xff" }, object.ErrInvalid, "owner is not valid UTF-8"},
		{"delete bucket", func(c *object.Change) { c.DeleteBucket.Name = "" }, object.ErrInvalidBucketName, "0 characters"},
		{"set bucket", func(c *object.Change) { c.SetBucket.Name = "a..b" }, object.ErrInvalidBucketName, "two dots"},
		{"set bucket", func(c *object.Change) { c.SetBucket.Versioning = ptr(object.Versioning(3)) }, object.ErrInvalid, "versioning 3"},
		{"set bucket", func(c *object.Change) { c.SetBucket.QuotaBytes = ptr(int64(-1)) }, object.ErrInvalid, "-1 bytes"},
		{"set bucket", func(c *object.Change) { c.SetBucket.QuotaObjects = ptr(int64(-2)) }, object.ErrInvalid, "-2 objects"},
		{"set bucket", func(c *object.Change) { c.SetBucket.Lock = &object.LockRule{Days: 1} }, object.ErrInvalid, "needs a mode"},
		{"set config", func(c *object.Change) { c.SetConfig.Bucket = "" }, object.ErrInvalidBucketName, "0 characters"},
		{"set config", func(c *object.Change) { c.SetConfig.Name = "" }, object.ErrInvalid, "1 to 64"},
		{"set config", func(c *object.Change) { c.SetConfig.Name = "a/b" }, object.ErrInvalid, "a-z"},
		{"set config", func(c *object.Change) { c.SetConfig.Value = make([]byte, object.MaxConfig+1) }, object.ErrTooLarge, "65536"},
		{"put", func(c *object.Change) { c.Put.Bucket = "A" }, object.ErrInvalidBucketName, "1 characters"},
		{"put", func(c *object.Change) { c.Put.Key = "" }, object.ErrInvalid, "at least one byte"},
		{"put", func(c *object.Change) { c.Put.Key = strings.Repeat("k", 1025) }, object.ErrTooLarge, "1024"},
		{"put", func(c *object.Change) { c.Put.Key = "a\xff" }, object.ErrInvalid, "UTF-8"},
		{"put", func(c *object.Change) { c.Put.If.IfMatch = long }, object.ErrInvalid, "If-Match has 3072 bytes, more than 2048"},
		{"put", func(c *object.Change) { c.Put.If.IfNoneMatch = "\xff" }, object.ErrInvalid, "If-None-Match is not valid"},
		{"put", func(c *object.Change) { c.Put.ETag = "E" }, object.ErrInvalid, "ETag"},
		{"put", func(c *object.Change) { c.Put.ContentType = long }, object.ErrInvalid, "Content-Type has 3072 bytes, more than 2048"},
		{"put", func(c *object.Change) { c.Put.StorageClass = "a\r\nSet-Cookie: b" }, object.ErrInvalid, "storage class has a control character, 0xd"},
		{"put", func(c *object.Change) { c.Put.Expires = "\xff" }, object.ErrInvalid, "Expires is not valid UTF-8"},
		{"put", func(c *object.Change) { c.Put.Meta = []object.Pair{{Name: "A"}} }, object.ErrInvalid, "lower case"},
		{"put", func(c *object.Change) { c.Put.Meta = []object.Pair{{Name: ""}} }, object.ErrInvalid, "lower case"},
		{"put", func(c *object.Change) { c.Put.Meta = []object.Pair{{Name: "a", Value: "\x00"}} }, object.ErrInvalid, "metadata a has a control"},
		{"put", func(c *object.Change) { c.Put.Meta = []object.Pair{{Name: "b"}, {Name: "a"}} }, object.ErrInvalid, "sorted and unique"},
		{"put", func(c *object.Change) { c.Put.Meta = []object.Pair{{Name: "a"}, {Name: "a"}} }, object.ErrInvalid, "sorted and unique"},
		{"put", func(c *object.Change) { c.Put.Meta = pairsOf(513) }, object.ErrTooLarge, "2052 bytes, more than 2048"},
		{"put", func(c *object.Change) { c.Put.Tags = pairsOf(11) }, object.ErrInvalid, "11 tags, more than 10"},
		{"put", func(c *object.Change) { c.Put.Tags = []object.Pair{{Name: strings.Repeat("é", 129)}} }, object.ErrInvalid, "129 characters, not 1 to 128"},
		{"put", func(c *object.Change) { c.Put.Tags = []object.Pair{{Name: ""}} }, object.ErrInvalid, "0 characters"},
		{"put", func(c *object.Change) {
			c.Put.Tags = []object.Pair{{Name: "a", Value: strings.Repeat("é", 257)}}
		}, object.ErrInvalid, "257 characters, more than 256"},
		{"put", func(c *object.Change) { c.Put.Tags = []object.Pair{{Name: "a", Value: "\xff"}} }, object.ErrInvalid, "UTF-8"},
		{"put", func(c *object.Change) { c.Put.Checksum = object.Checksum{Algorithm: 6} }, object.ErrInvalid, "algorithm 6"},
		{"put", func(c *object.Change) { c.Put.Checksum = object.Checksum{Type: 2} }, object.ErrInvalid, "type 2"},
		{"put", func(c *object.Change) { c.Put.Checksum = object.Checksum{Value: []byte{1}} }, object.ErrInvalid, "1 bytes, not 0"},
		{"put", func(c *object.Change) {
			c.Put.Checksum = object.Checksum{Algorithm: object.ChecksumSHA1, Value: make([]byte, 19)}
		}, object.ErrInvalid, "SHA1 has 19 bytes, not 20"},
		{"put", func(c *object.Change) { c.Put.Retention = object.Retention{Mode: 3, Until: 1} }, object.ErrInvalid, "mode 3"},
		{"put", func(c *object.Change) { c.Put.Retention = object.Retention{Until: 1} }, object.ErrInvalid, "no mode"},
		{"put", func(c *object.Change) { c.Put.Retention = object.Retention{Mode: object.LockGovernance} }, object.ErrInvalid, "until 0"},
		{"put", func(c *object.Change) { c.Put.Body = object.Body{Size: -1} }, object.ErrInvalid, "-1 bytes"},
		{"put", func(c *object.Change) { c.Put.Body = object.Body{Size: 1} }, object.ErrInvalid, "1 bytes has 0 inline and no extent"},
		{"put", func(c *object.Change) { c.Put.Body = inline(object.MaxInline + 1) }, object.ErrTooLarge, "65537 bytes are inline, more than 65536"},
		{"put", func(c *object.Change) { c.Put.Body = object.Body{Size: object.MaxPutSize + 1} }, object.ErrTooLarge, "5368709120"},
		{"put", func(c *object.Change) { c.Put.Body = extents(4); c.Put.Body.Inline = []byte("four") }, object.ErrInvalid, "inline and has extents"},
		{"put", func(c *object.Change) { c.Put.Body = extents(4, 5) }, object.ErrInvalid, "extent 1 of 2 has 5 bytes, the first 4"},
		{"put", func(c *object.Change) { c.Put.Body = extents(5, 4, 5) }, object.ErrInvalid, "extent 1 of 3 has 4 bytes, the first 5"},
		{"put", func(c *object.Change) { c.Put.Body = extents(5, 0); c.Put.Body.Size = 5 }, object.ErrInvalid, "extent 1 of 2 has 0 bytes"},
		{"put", func(c *object.Change) { c.Put.Body = extents(0) }, object.ErrInvalid, "1 to 1048576"},
		{"put", func(c *object.Change) { c.Put.Body = extents(object.MaxExtent + 1) }, object.ErrInvalid, "1 to 1048576"},
		{"put", func(c *object.Change) { c.Put.Body = extents(4); c.Put.Body.Size = 5 }, object.ErrInvalid, "5 bytes have 4"},
		{"put", func(c *object.Change) { c.Put.Body = many(object.MaxPutSize/(64<<10) + 1) }, object.ErrTooLarge, "81921 extents, more than 81920"},
		{"put", func(c *object.Change) { c.Put.Body = extents(4); c.Put.Body.ID.Lease = 0 }, object.ErrInvalid, "named 0.0"},
		{"put", func(c *object.Change) { c.Put.Body = extents(4); c.Put.Body.ID.N = 1 << 31 }, object.ErrInvalid, "named 1.2147483648"},
		{"put", func(c *object.Change) { c.Put.Body = extents(4); c.Put.Body.Extents[0].Holders = []uint64{0} }, object.ErrInvalid, "holder 0"},
		{"put", func(c *object.Change) { c.Put.Body = extents(4); c.Put.Body.Extents[0].Holders = []uint64{2, 2} }, object.ErrInvalid, "holder 2 of extent 0 after 2"},
		{"put", func(c *object.Change) {
			c.Put.Body = extents(4)
			c.Put.Body.Extents[0].Holders = make([]uint64, 129)
		}, object.ErrInvalid, "129 holders, more than 128"},
		{"copy", func(c *object.Change) { c.Copy.SourceKey = "" }, object.ErrInvalid, "source: "},
		{"copy", func(c *object.Change) { c.Copy.Key = "" }, object.ErrInvalid, "at least one"},
		{"copy", func(c *object.Change) { c.Copy.ETag = strings.Repeat("0", 32) + "-0" }, object.ErrInvalid, "ETag"},
		{"delete", func(c *object.Change) { c.Delete.Objects = nil }, object.ErrInvalid, "0 deletes in one change, not 1 to 1000"},
		{"delete", func(c *object.Change) { c.Delete.Objects = make([]object.DeleteObject, 1001) }, object.ErrInvalid, "1001 deletes"},
		{"delete", func(c *object.Change) { c.Delete.Objects = []object.DeleteObject{{Key: "a"}, {}} }, object.ErrInvalid, "delete 1: "},
		{"set object", func(c *object.Change) { c.SetObject.Key = "" }, object.ErrInvalid, "at least one"},
		{"set object", func(c *object.Change) { c.SetObject.Retention = &object.Retention{Until: 1} }, object.ErrInvalid, "no mode"},
		{"set object", func(c *object.Change) { c.SetObject.Tags = ptr(pairsOf(11)) }, object.ErrInvalid, "11 tags"},
		{"create upload", func(c *object.Change) { c.CreateUpload.Owner = long }, object.ErrInvalid, "owner"},
		{"create upload", func(c *object.Change) {
			c.CreateUpload.Checksum = object.Checksum{Algorithm: object.ChecksumCRC32, Value: make([]byte, 4)}
		}, object.ErrInvalid, "has a value"},
		{"create upload", func(c *object.Change) {
			c.CreateUpload.Checksum = object.Checksum{Algorithm: object.ChecksumSHA256}
		}, object.ErrInvalid, "SHA256 of a whole object"},
		{"put part", func(c *object.Change) { c.PutPart.Number = 0 }, object.ErrInvalid, "part 0, not 1 to 10000"},
		{"put part", func(c *object.Change) { c.PutPart.Number = 10001 }, object.ErrInvalid, "part 10001"},
		{"put part", func(c *object.Change) { c.PutPart.ETag += "-1" }, object.ErrInvalid, "no MD5"},
		{"put part", func(c *object.Change) { c.PutPart.ETag = strings.Repeat("A", 32) }, object.ErrInvalid, "no MD5"},
		{"put part", func(c *object.Change) { c.PutPart.Body.Size++ }, object.ErrInvalid, "bytes"},
		{"complete", func(c *object.Change) { c.Complete.Parts = nil }, object.ErrInvalid, "0 parts are named, not 1 to 10000"},
		{"complete", func(c *object.Change) { c.Complete.Parts = make([]object.CompletePart, 10001) }, object.ErrInvalid, "10001 parts"},
		{"complete", func(c *object.Change) { c.Complete.Parts[0].Number = 0 }, object.ErrInvalid, "part 0 is named"},
		{"complete", func(c *object.Change) { c.Complete.Parts[0].ETag = long }, object.ErrInvalidPart, "ETag"},
		{"complete", func(c *object.Change) { c.Complete.Parts[0].Checksum.Value = []byte{1} }, object.ErrInvalid, "part "},
		{"complete", func(c *object.Change) { c.Complete.Size = ptr(int64(-1)) }, object.ErrInvalid, "-1 bytes"},
		{"abort", func(c *object.Change) { c.Abort.Key = "" }, object.ErrInvalid, "at least one"},
		{"open lease", func(c *object.Change) { c.OpenLease.Member = 0 }, object.ErrInvalid, "member 0"},
		{"close leases", func(c *object.Change) { c.CloseLeases.Member = 0 }, object.ErrInvalid, "member 0"},
		{"set key", func(c *object.Change) { c.SetKey.Key.ID = "ab" }, object.ErrInvalid, "3 to 128"},
		{"set key", func(c *object.Change) { c.SetKey.Key.ID = strings.Repeat("a", 129) }, object.ErrInvalid, "3 to 128"},
		{"set key", func(c *object.Change) { c.SetKey.Key.ID = "a/b" }, object.ErrInvalid, "letters, digits"},
		{"set key", func(c *object.Change) { c.SetKey.Key.Sealed = nil }, object.ErrInvalid, "0 bytes, not 1 to 1024"},
		{"set key", func(c *object.Change) { c.SetKey.Key.Sealed = make([]byte, 1025) }, object.ErrInvalid, "1025 bytes"},
		{"set key", func(c *object.Change) { c.SetKey.Key.Description = strings.Repeat("x", 257) }, object.ErrInvalid, "description has 257 bytes, more than 256"},
		{"set key", func(c *object.Change) { c.SetKey.Key.Grants = make([]object.Grant, 101) }, object.ErrInvalid, "101 grants, more than 100"},
		{"set key", func(c *object.Change) { c.SetKey.Key.Grants = []object.Grant{{Bucket: ""}} }, object.ErrInvalid, "1 to 63"},
		{"set key", func(c *object.Change) { c.SetKey.Key.Grants = []object.Grant{{Bucket: "a/*"}} }, object.ErrInvalid, `grant of "a/*"`},
		{"set key", func(c *object.Change) { c.SetKey.Key.Requests = -1 }, object.ErrInvalid, "-1 requests"},
		{"set key", func(c *object.Change) { c.SetKey.Was = &object.AccessKey{ID: "another"} }, object.ErrInvalid, "as it was"},
		{"set key", func(c *object.Change) { was := c.SetKey.Key; c.SetKey.New, c.SetKey.Was = true, &was }, object.ErrInvalid, "new: true"},
		{"set key", func(c *object.Change) { was := c.SetKey.Key; was.Bytes, c.SetKey.New, c.SetKey.Was = -1, false, &was }, object.ErrInvalid, "-1 bytes"},
		{"set key", func(c *object.Change) { c.SetKey.Key.Created = -1 }, object.ErrInvalid, "time -1"},
		{"delete key", func(c *object.Change) { c.DeleteKey.ID = "" }, object.ErrInvalid, "3 to 128"},
	} {
		if err := example(c.kind, c.f).Validate(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v that says %q", c.kind, err, c.want, c.says)
		}
	}
}

func TestWhatIsAtItsBoundIsAccepted(t *testing.T) {
	for name, c := range map[string]*object.Change{
		"a key":       example("put", func(c *object.Change) { c.Put.Key = strings.Repeat("k", object.MaxKeyLen) }),
		"metadata":    example("put", func(c *object.Change) { c.Put.Meta = pairsOf(object.MaxMetadata / 4) }),
		"a header":    example("put", func(c *object.Change) { c.Put.ContentType = strings.Repeat("x", object.MaxHeader) }),
		"inline":      example("put", func(c *object.Change) { c.Put.Body = inline(object.MaxInline) }),
		"an extent":   example("put", func(c *object.Change) { c.Put.Body = extents(object.MaxExtent) }),
		"extents":     example("put", func(c *object.Change) { c.Put.Body = many(object.MaxPutSize / (64 << 10)) }),
		"no holders":  example("put", func(c *object.Change) { c.Put.Body = extents(1); c.Put.Body.Extents[0].Holders = nil }),
		"a part":      example("put part", func(c *object.Change) { c.PutPart.Number = object.MaxParts }),
		"a document":  example("set config", func(c *object.Change) { c.SetConfig.Value = make([]byte, object.MaxConfig) }),
		"any bucket":  example("set key", func(c *object.Change) { c.SetKey.Key.Grants = []object.Grant{{Bucket: "*"}} }),
		"no checksum": example("complete", func(c *object.Change) { c.Complete.Checksum = object.Checksum{Algorithm: object.ChecksumSHA1} }),
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
