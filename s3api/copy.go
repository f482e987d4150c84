package s3api

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"chainfire/object"
	"chainfire/object/checksum"
	"chainfire/object/lifecycle"
	"chainfire/sigv4"
)

// copyTries bounds how often a copy is begun anew because its source changed under it.
const copyTries = 8

func isCopy(r *http.Request) bool { return r.Header["X-Amz-Copy-Source"] != nil }

// copySource is what a copy is of.
type copySource struct {
	bucket, key string
	version     *object.VersionID
}

// copySourceOf reads x-amz-copy-source, BUCKET/KEY?versionId=ID, percent-encoded: in a header
// like in a path a plus sign is a plus sign.
func copySourceOf(h http.Header) (c copySource, err error) {
	text, err := one(h, "X-Amz-Copy-Source")
	if err != nil {
		return c, err
	}
	bad := func(format string, args ...any) (copySource, error) {
		return copySource{}, invalidArgument("x-amz-copy-source", text, format, args...)
	}
	rest := strings.TrimPrefix(text, "/")
	path, version, hasVersion := strings.Cut(rest, "?versionId=")
	bucket, key, _ := strings.Cut(path, "/")
	if !strings.Contains(path, "/") { // there are clients that encode the slash too
		whole, err := sigv4.Decode(path)
		if err != nil {
			return bad("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
		}
		c.bucket, c.key, _ = strings.Cut(strings.TrimPrefix(whole, "/"), "/")
	} else {
		if c.bucket, err = sigv4.Decode(bucket); err == nil {
			c.key, err = sigv4.Decode(key)
		}
		if err != nil {
			return bad("Copy Source must be URL-encoded")
		}
	}
	if strings.HasPrefix(c.bucket, "arn:") {
		return c, notImplemented("an access point as the source of a copy")
	}
	if !bucketName(c.bucket) || c.key == "" {
		return bad("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	if err := checkKey(c.key); err != nil {
		return c, err
	}
	if hasVersion {
		id, err := parseVersion(version)
		if err != nil {
			return c, err
		}
		c.version = &id
	}
	return c, nil
}

// readable holds that who asks may read the source of a copy, whoever may write its
// destination.
func (rq *request) readable(c *copySource) error {
	action := "s3:GetObject"
	if c.version != nil {
		action = "s3:GetObjectVersion"
	}
	return rq.allowed(action, accessRead, c.bucket, c.key)
}

// copyPlan is a copy as it was asked for.
type copyPlan struct {
	source       copySource
	condition    object.Condition
	replace      bool // the metadata
	replaceTags  bool
	attributes   object.Attributes // as in the request
	retention    object.Retention
	hold         bool
	storageGiven bool
	algorithm    checksum.Algorithm // asked for, or None
	rules        *lifecycle.Config  // of the destination, or nil
}

// copyObject writes an object with the bytes of another.
func (rq *request) copyObject() error {
	if err := rq.whole(); err != nil {
		return err
	}
	plan, err := rq.copyPlan()
	if err != nil {
		return err
	}
	if err := rq.readable(&plan.source); err != nil {
		return err
	}
	if err := rq.mayCompare(&plan.condition); err != nil {
		return err
	}
	if plan.rules, err = rq.foresee(&plan.condition, locks(plan.retention, plan.hold)); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := rq.copyOnce(plan)
		if !errors.Is(err, object.ErrSourceChanged) || try == copyTries {
			return err
		}
	}
}

// copyPlan reads the headers of a copy.
func (rq *request) copyPlan() (*copyPlan, error) {
	h := rq.r.Header
	p := &copyPlan{storageGiven: h["X-Amz-Storage-Class"] != nil}
	var err error
	if p.source, err = copySourceOf(h); err != nil {
		return nil, err
	}
	if err := rq.noContent(); err != nil {
		return nil, err
	}
	if p.replace, err = directive(h, "X-Amz-Metadata-Directive"); err != nil {
		return nil, err
	}
	if p.replaceTags, err = directive(h, "X-Amz-Tagging-Directive"); err != nil {
		return nil, err
	}
	if p.attributes, err = attributesOf(h); err != nil {
		return nil, err
	}
	if p.retention, p.hold, err = rq.lockOf(); err != nil {
		return nil, err
	}
	if p.condition, err = writeCondition(h); err != nil {
		return nil, err
	}
	if name := h.Get("X-Amz-Checksum-Algorithm"); name != "" {
		if p.algorithm, err = algorithmOf(name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// directive is one of COPY, which goes without saying, and REPLACE.
func directive(h http.Header, name string) (replace bool, err error) {
	text, err := one(h, name)
	if err != nil {
		return false, err
	}
	switch text {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	}
	return false, invalidArgument(strings.ToLower(name), text, "Unknown directive: it is COPY or REPLACE.")
}

// copyOnce copies the source as it is now.
func (rq *request) copyOnce(p *copyPlan) error {
	from, err := rq.findSource(&p.source, func(_ *object.View, f *found) (span, error) {
		if p.keepsSum(&f.version.Checksum) {
			return span{}, nil
		}
		return span{0, f.version.Size}, nil
	})
	if err != nil {
		return err
	}
	v := from.version
	if most := rq.who.maxObject(); most > 0 && v.Size > most {
		return refuse(codeEntityTooLarge)
	}
	itself := p.source.bucket == rq.bucket && p.source.key == rq.key && (p.source.version == nil || v.Latest)
	if itself && !p.replace && !p.replaceTags && (!p.storageGiven || p.attributes.StorageClass == v.StorageClass) && p.attributes.WebsiteRedirect == "" && p.algorithm == checksum.None {
		return refusef(codeInvalidRequest, "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	attributes, err := rq.attached(p, v)
	if err != nil {
		return err
	}
	sum, err := rq.copySum(p, from)
	if err != nil {
		return err
	}
	result, err := rq.change(&object.Change{Copy: &object.Copy{
		SourceBucket: p.source.bucket, SourceKey: p.source.key, SourceSeq: v.Seq,
		Bucket: rq.bucket, Key: rq.key, If: p.condition, Attributes: attributes,
		Retention: p.retention, LegalHold: p.hold, ETag: v.ETag, Checksum: sum,
	}})
	if err != nil {
		return refusedBy(&p.condition, err)
	}
	h := rq.w.Header()
	if from.bucket.Versioning != object.VersioningOff {
		h.Set("X-Amz-Copy-Source-Version-Id", versionText(v.ID))
	}
	setVersion(h, result.Bucket, result.Version.ID)
	setExpiry(h, p.rules, result.Version)
	return rq.xml(http.StatusOK, &copyResult{
		XMLNS: namespace, LastModified: timeOf(result.Version.Modified), ETag: quoted(result.Version.ETag),
		checksums: checksumsOf(&result.Version.Checksum, result.Version.Parts),
	})
}

// attached are the attributes of the copy, once it is sure that who asks may give it its tags and
// locks, and may read the tags of the source where they are those.
func (rq *request) attached(p *copyPlan, v *object.Version) (object.Attributes, error) {
	a := p.merged(v)
	if len(a.Tags) > 0 && !p.replaceTags {
		action := "s3:GetObjectTagging"
		if p.source.version != nil {
			action = "s3:GetObjectVersionTagging"
		}
		if err := rq.allowed(action, accessRead, p.source.bucket, p.source.key); err != nil {
			return a, err
		}
	}
	return a, rq.mayAttach(a.Tags, p.retention, p.hold)
}

// merged are the attributes of the copy: those of the source but for what is to be replaced. A
// redirect and a storage class are never taken over.
func (p *copyPlan) merged(v *object.Version) object.Attributes {
	a := v.Attributes
	if p.replace {
		a = p.attributes
		a.Tags = v.Tags
	}
	a.WebsiteRedirect, a.StorageClass = p.attributes.WebsiteRedirect, p.attributes.StorageClass
	if p.replaceTags {
		a.Tags = p.attributes.Tags
	}
	return a
}

// keepsSum reports whether the copy has the checksum of the source; else its bytes are read for one.
func (p *copyPlan) keepsSum(have *object.Checksum) bool {
	return p.algorithm == checksum.None || p.algorithm == have.Algorithm && have.Type == object.ChecksumFullObject
}

// copySum is the checksum of the copy: that of the source, or one that is computed because another
// algorithm is asked for.
func (rq *request) copySum(p *copyPlan, from *found) (object.Checksum, error) {
	have := from.version.Checksum
	if p.keepsSum(&have) {
		return have, nil
	}
	r := rq.open(&from.bytes, span{0, from.version.Size})
	defer r.Close()
	sum := checksum.New(p.algorithm)
	if err := rq.copyTo(sum, r); err != nil {
		return have, err
	}
	return object.Checksum{Algorithm: p.algorithm, Type: object.ChecksumFullObject, Value: sum.Sum(nil)}, nil
}

// copyResult answers a copy.
type copyResult struct {
	XMLName      xml.Name `xml:"CopyObjectResult"`
	XMLNS        string   `xml:"xmlns,attr"`
	LastModified string
	ETag         string
	checksums
}

// checksums are the elements of a checksum within a document: one of them and its type.
type checksums struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

func checksumsOf(c *object.Checksum, parts int) (out checksums) {
	if len(c.Value) == 0 {
		return out
	}
	out.ChecksumType = checksumType(c)
	text := checksumText(c, parts)
	switch c.Algorithm {
	case checksum.CRC32:
		out.ChecksumCRC32 = text
	case checksum.CRC32C:
		out.ChecksumCRC32C = text
	case checksum.CRC64NVME:
		out.ChecksumCRC64NVME = text
	case checksum.SHA1:
		out.ChecksumSHA1 = text
	case checksum.SHA256:
		out.ChecksumSHA256 = text
	}
	return out
}
