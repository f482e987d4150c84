package s3api

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"chainfire/object"
	"chainfire/object/checksum"
	"chainfire/object/lifecycle"
)

// uploadOperations are those on uploads of many parts.
func uploadOperations() []operation {
	upload := []string{"uploadId"}
	part := []string{"partNumber", "uploadId"}
	return []operation{
		{name: "CreateMultipartUpload", method: http.MethodPost, level: objectLevel, query: []string{"uploads"}, action: "s3:PutObject", access: accessWrite, handle: bodiless((*request).createUpload)},
		{name: "UploadPart", method: http.MethodPut, level: objectLevel, query: part, action: "s3:PutObject", access: accessWrite, handle: (*request).uploadPart},
		{name: "UploadPartCopy", method: http.MethodPut, level: objectLevel, query: part, when: isCopy, action: "s3:PutObject", access: accessWrite, handle: bodiless((*request).uploadPartCopy)},
		{name: "CompleteMultipartUpload", method: http.MethodPost, level: objectLevel, query: upload, action: "s3:PutObject", access: accessWrite, handle: (*request).completeUpload},
		{name: "AbortMultipartUpload", method: http.MethodDelete, level: objectLevel, query: upload, action: "s3:AbortMultipartUpload", access: accessWrite, handle: bodiless((*request).abortUpload)},
		{name: "ListParts", method: http.MethodGet, level: objectLevel, query: upload, action: "s3:ListMultipartUploadParts", access: accessRead, handle: (*request).listParts},
		{name: "ListMultipartUploads", method: http.MethodGet, level: bucketLevel, query: []string{"uploads"}, action: "s3:ListBucketMultipartUploads", access: accessRead, handle: (*request).listUploads},
	}
}

// uploadText is an upload's id as clients see it.
func uploadText(id uint64) string {
	s := strconv.FormatUint(id, 16)
	return strings.Repeat("0", 16-len(s)) + s
}

// parseUpload reads an upload's id. One that was never given out is of no upload.
func parseUpload(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 16, 64)
	if err != nil || uploadText(id) != s {
		return 0, refuse(codeNoSuchUpload).with("UploadId", s)
	}
	return id, nil
}

// upload reads the upload that a request is about.
func (rq *request) upload() (*object.Upload, error) {
	id, err := parseUpload(rq.param("uploadId"))
	if err != nil {
		return nil, err
	}
	view, b, done, err := rq.bucketView()
	if err != nil {
		return nil, err
	}
	defer done()
	return view.Upload(b, rq.key, id)
}

// askedChecksum reads which checksum an upload is to have. Without a type the CRC-64 is of the
// whole object, as the others cannot be or, for what AWS does, are not.
func askedChecksum(h http.Header) (c object.Checksum, err error) {
	name, err := one(h, "X-Amz-Checksum-Algorithm")
	if err != nil {
		return c, err
	}
	kind, err := one(h, "X-Amz-Checksum-Type")
	if err != nil {
		return c, err
	}
	if name == "" {
		if kind != "" {
			return c, refusef(codeInvalidRequest, "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return c, nil
	}
	if c.Algorithm, err = algorithmOf(name); err != nil {
		return c, err
	}
	c.Type, err = askedType(c.Algorithm, kind)
	return c, err
}

func askedType(a checksum.Algorithm, kind string) (object.ChecksumType, error) {
	switch kind {
	case "":
		if a == checksum.CRC64NVME {
			return object.ChecksumFullObject, nil
		}
		return object.ChecksumComposite, nil
	case "FULL_OBJECT":
		if !a.Combines() {
			return 0, refusef(codeInvalidRequest, "The FULL_OBJECT checksum type cannot be used with the %s checksum algorithm.", a)
		}
		return object.ChecksumFullObject, nil
	case "COMPOSITE":
		if a == checksum.CRC64NVME {
			return 0, refusef(codeInvalidRequest, "The COMPOSITE checksum type cannot be used with the %s checksum algorithm.", a)
		}
		return object.ChecksumComposite, nil
	}
	return 0, refusef(codeInvalidRequest, "Value for x-amz-checksum-type header is invalid.")
}

type uploadResult struct {
	XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
	XMLNS    string   `xml:"xmlns,attr"`
	Bucket   string
	Key      text
	UploadID string `xml:"UploadId"`
}

// createUpload begins an upload. What is said of the object to be is said here.
func (rq *request) createUpload() error {
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
	sum, err := askedChecksum(h)
	if err != nil {
		return err
	}
	change := &object.Change{CreateUpload: &object.CreateUpload{
		Bucket: rq.bucket, Key: rq.key, Owner: rq.who.id(), Attributes: attributes,
		Checksum: sum, Retention: retention, LegalHold: hold,
	}}
	result, err := rq.change(change)
	if errors.Is(err, object.ErrInvalidBucketState) {
		return errNoLock()
	}
	if err != nil {
		return err
	}
	out := rq.w.Header()
	if sum.Algorithm != checksum.None {
		out.Set("X-Amz-Checksum-Algorithm", sum.Algorithm.String())
		out.Set("X-Amz-Checksum-Type", checksumType(&sum))
	}
	setAbortDate(out, rq.rulesAfter(), rq.key, change.Time)
	return rq.xml(http.StatusOK, &uploadResult{XMLNS: namespace, Bucket: rq.bucket, Key: newText(rq.key), UploadID: uploadText(result.Upload)})
}

// rulesAfter is the rules of lifecycle of the request's bucket after a change of it, which this
// member has applied. The change is made: that its rules cannot be read is not said of it.
func (rq *request) rulesAfter() *lifecycle.Config {
	view, err := rq.s.service.Local(rq.ctx())
	if err != nil {
		rq.s.log.Warn("the rules of lifecycle cannot be read for an answer", "request_id", rq.id, "bucket", rq.bucket, "err", err)
		return nil
	}
	defer rq.s.closeView(view)
	b, err := view.Bucket(rq.bucket)
	if err != nil { // it may be gone already
		rq.s.log.Debug("the rules of lifecycle cannot be read for an answer", "request_id", rq.id, "bucket", rq.bucket, "err", err)
		return nil
	}
	return rq.lifecycleOf(view, b)
}

// setAbortDate says in an answer when the rules, nil being none, abort an upload that was begun at
// a time in Unix milliseconds.
func setAbortDate(h http.Header, rules *lifecycle.Config, key string, initiated int64) {
	if rules == nil {
		return
	}
	if at, rule, ok := rules.AbortDate(key, initiated); ok {
		h.Set("X-Amz-Abort-Date", at.UTC().Format(http.TimeFormat))
		h.Set("X-Amz-Abort-Rule-Id", rule)
	}
}

func (rq *request) abortUpload() error {
	id, err := parseUpload(rq.param("uploadId"))
	if err != nil {
		return err
	}
	if _, err := rq.change(&object.Change{Abort: &object.Abort{Bucket: rq.bucket, Key: rq.key, Upload: id}}); err != nil {
		return err
	}
	return rq.empty(http.StatusNoContent)
}
