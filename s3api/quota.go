package s3api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"chainfire/object"
)

// maxQuotaDocument bounds the document of a quota.
const maxQuotaDocument = 4 << 10

// quotaDocument bounds what a bucket may hold, and says what it does. It is not of AWS's.
type quotaDocument struct {
	// Bytes and Objects are the bounds; 0 is none. A document that leaves one out leaves it as
	// it is.
	Bytes   *int64 `json:"bytes"`
	Objects *int64 `json:"objects"`
	// UsedBytes and UsedObjects are only answered.
	UsedBytes   *int64 `json:"used_bytes,omitempty"`
	UsedObjects *int64 `json:"used_objects,omitempty"`
}

func (rq *request) getQuota() error {
	_, b, done, err := rq.bucketView()
	if err != nil {
		return err
	}
	done()
	value, err := json.Marshal(&quotaDocument{Bytes: &b.QuotaBytes, Objects: &b.QuotaObjects, UsedBytes: &b.Bytes, UsedObjects: &b.Objects})
	if err != nil {
		return fmt.Errorf("writing a quota as JSON: %w", err)
	}
	return rq.document200("application/json", value)
}

func (rq *request) putQuota() error {
	body, err := rq.small(maxQuotaDocument)
	if err != nil {
		return err
	}
	var q quotaDocument
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err = d.Decode(&q)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something comes after it")
		}
	}
	switch {
	case err != nil:
		return refusef(codeInvalidArgument, `A quota is JSON as {"bytes": 1073741824, "objects": 0}: %v.`, err)
	case q.UsedBytes != nil || q.UsedObjects != nil || q.Bytes == nil && q.Objects == nil:
		return refusef(codeInvalidArgument, `A quota is JSON as {"bytes": 1073741824, "objects": 0}, with one or both.`)
	case q.Bytes != nil && *q.Bytes < 0 || q.Objects != nil && *q.Objects < 0:
		return refusef(codeInvalidArgument, "A quota is not negative; 0 is no bound.")
	}
	_, err = rq.change(&object.Change{SetBucket: &object.SetBucket{Name: rq.bucket, QuotaBytes: q.Bytes, QuotaObjects: q.Objects}})
	if err != nil {
		return err
	}
	return rq.empty(http.StatusOK)
}
