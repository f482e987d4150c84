package s3api

import (
	"net/http"

	"chainfire/object"
	"chainfire/object/checksum"
)

// objectOperations are those on objects and their bytes.
func objectOperations() []operation {
	return []operation{
		{name: "PutObject", method: http.MethodPut, level: objectLevel, action: "s3:PutObject", access: accessWrite, handle: (*request).putObject},
		{name: "CopyObject", method: http.MethodPut, level: objectLevel, when: isCopy, action: "s3:PutObject", access: accessWrite, handle: (*request).copyObject},
		{name: "GetObject", method: http.MethodGet, level: objectLevel, action: "s3:GetObject", access: accessRead, handle: (*request).getObject},
		{name: "HeadObject", method: http.MethodHead, level: objectLevel, action: "s3:GetObject", access: accessRead, handle: (*request).getObject},
		{name: "DeleteObject", method: http.MethodDelete, level: objectLevel, action: "s3:DeleteObject", access: accessWrite, handle: (*request).deleteObject},
		{name: "DeleteObjects", method: http.MethodPost, level: bucketLevel, query: []string{"delete"}, action: "s3:DeleteObject", access: accessOpen, handle: (*request).deleteObjects},
		{name: "ListObjects", method: http.MethodGet, level: bucketLevel, action: "s3:ListBucket", access: accessRead, handle: (*request).listObjects},
		{name: "ListObjectsV2", method: http.MethodGet, level: bucketLevel, query: []string{"list-type=2"}, action: "s3:ListBucket", access: accessRead, handle: (*request).listObjectsV2},
		{name: "ListObjectVersions", method: http.MethodGet, level: bucketLevel, query: []string{"versions"}, action: "s3:ListBucketVersions", access: accessRead, handle: (*request).listVersions},
	}
}

// putObject writes an object from the request's body.
func (rq *request) putObject() error {
	if err := rq.whole(); err != nil {
		return err
	}
	h := rq.r.Header
	attributes, err := attributesOf(h)
	if err != nil {
		return err
	}
	retention, hold, err := rq.lockOf()
	if err != nil {
		return err
	}
	if err := rq.mayAttach(attributes.Tags, retention, hold); err != nil {
		return err
	}
	condition, err := writeCondition(h)
	if err != nil {
		return err
	}
	if err := rq.mayCompare(&condition); err != nil {
		return err
	}
	c, err := rq.content(object.MaxPutSize, checksum.CRC64NVME)
	if err != nil {
		return err
	}
	defer rq.s.hashes.giveBack(c.md5)
	rules, err := rq.foresee(&condition, locks(retention, hold))
	if err != nil {
		return err
	}
	body, writer, err := rq.store(c.length, c)
	if err != nil {
		return err
	}
	defer writer.Close()
	result, err := rq.change(&object.Change{Put: &object.Put{
		Bucket: rq.bucket, Key: rq.key, If: condition, Attributes: attributes,
		ETag: c.etag(), Checksum: c.checksum(), Retention: retention, LegalHold: hold, Body: body,
	}})
	if err != nil {
		return refusedBy(&condition, err)
	}
	out := rq.w.Header()
	out.Set("Etag", quoted(result.Version.ETag))
	setChecksum(out, &result.Version.Checksum, 0)
	setVersion(out, result.Bucket, result.Version.ID)
	setExpiry(out, rules, result.Version)
	return rq.empty(http.StatusOK)
}

// whole refuses a write of an object that names a part or a version: it would be a write of
// something else than was meant.
func (rq *request) whole() error {
	if rq.query.Has("versionId") {
		return invalidArgument("versionId", rq.param("versionId"), "This operation does not accept a version-id.")
	}
	if rq.query.Has("partNumber") {
		return invalidArgument("partNumber", rq.param("partNumber"), "This operation does not accept partNumber without uploadId")
	}
	return nil
}

// setVersion says in an answer which version it is about, where the bucket has versions.
func setVersion(h http.Header, b *object.Bucket, id object.VersionID) {
	if b.Versioning != object.VersioningOff {
		h.Set("X-Amz-Version-Id", versionText(id))
	}
}
