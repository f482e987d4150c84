package s3api

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"chainfire/internal/xmltree"
	"chainfire/object"
	"chainfire/object/lifecycle"
	"chainfire/s3api/bucketpolicy"
)

// The names of the documents of a bucket. What they hold is what a client sent, read and
// written anew, or JSON.
const (
	configCORS         = "cors"
	configLifecycle    = lifecycle.ConfigName
	configOwnership    = "ownership-controls"
	configPolicy       = "policy"
	configPublicAccess = "public-access-block"
	configTagging      = "tagging"
)

// The codes of what a bucket or an object does not have, and of documents.
var (
	codeAccessForbidden     = code{"AccessForbidden", 403, "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."}
	codeBadRequest          = code{"BadRequest", 400, "Bad Request"}
	codeMalformedPolicy     = code{"MalformedPolicy", 400, "Policy has invalid resource."}
	codeNoSuchConfiguration = code{"NoSuchConfiguration", 404, "The specified configuration does not exist."}
	codeNoSuchCORS          = code{"NoSuchCORSConfiguration", 404, "The CORS configuration does not exist"}
	codeNoSuchEncryption    = code{"ServerSideEncryptionConfigurationNotFoundError", 404, "The server side encryption configuration was not found"}
	codeNoSuchLifecycle     = code{"NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist"}
	codeNoSuchLock          = code{"NoSuchObjectLockConfiguration", 404, "The specified object does not have a ObjectLock configuration"}
	codeNoSuchLockRules     = code{"ObjectLockConfigurationNotFoundError", 404, "Object Lock configuration does not exist for this bucket"}
	codeNoSuchOwnership     = code{"OwnershipControlsNotFoundError", 404, "The bucket ownership controls were not found"}
	codeNoSuchPolicy        = code{"NoSuchBucketPolicy", 404, "The bucket policy does not exist"}
	codeNoSuchPublicAccess  = code{"NoSuchPublicAccessBlockConfiguration", 404, "The public access block configuration was not found"}
	codeNoSuchReplication   = code{"ReplicationConfigurationNotFoundError", 404, "The replication configuration was not found"}
	codeNoSuchTagSet        = code{"NoSuchTagSet", 404, "The TagSet does not exist"}
	codeNoSuchWebsite       = code{"NoSuchWebsiteConfiguration", 404, "The specified bucket does not have a website configuration"}
)

// refusedDocument is an error of what reads documents as S3 answers it, or nil for another error.
func refusedDocument(err error) *apiError {
	if e, ok := errors.AsType[*xmltree.Error](err); ok {
		return refusef(codeMalformedXML, "%s It is here that %s.", codeMalformedXML.message, e.Message)
	}
	if e, ok := errors.AsType[*bucketpolicy.Error](err); ok {
		return refusef(codeMalformedPolicy, "%s", e.Message)
	}
	if e, ok := errors.AsType[*lifecycle.Error](err); ok {
		status := http.StatusBadRequest
		if e.Code == lifecycle.NotImplemented {
			status = http.StatusNotImplemented
		}
		return refusef(code{name: e.Code, status: status}, "%s", e.Message)
	}
	return nil
}

// tree is the request's body as a document of which nothing is to be passed over. Its outermost
// element has the name given.
func (rq *request) tree(name string) (*xmltree.Node, error) { return rq.treeOf(maxDocument, name) }

// treeOf is tree of a document of at most limit bytes.
func (rq *request) treeOf(limit int64, name string) (*xmltree.Node, error) {
	b, err := rq.small(limit)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, refuse(codeMissingRequestBody)
	}
	return xmltree.Parse(b, name)
}

// config reads a document of the request's bucket. Where it has none, missing is the refusal.
func (rq *request) config(name string, missing code) ([]byte, error) {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return nil, err
	}
	defer done()
	value, found, err := view.Config(b, name)
	if err == nil && !found {
		err = refuse(missing).with("BucketName", rq.bucket)
	}
	return value, err
}

// setConfig writes a document of the request's bucket; nil takes it away.
func (rq *request) setConfig(name string, value []byte) error {
	if len(value) > object.MaxConfig {
		return refusef(codeInvalidRequest, "The configuration takes %d bytes, and a bucket keeps %d.", len(value), object.MaxConfig)
	}
	_, err := rq.change(&object.Change{SetConfig: &object.SetConfig{Bucket: rq.bucket, Name: name, Value: value}})
	return err
}

// setXML writes a document of the request's bucket as XML.
func (rq *request) setXML(name string, v any) error {
	value, err := xml.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing a document of a bucket as XML: %w", err)
	}
	return rq.setConfig(name, value)
}

// showConfig handles the reading of a document that is kept as XML.
func showConfig(name string, missing code) func(*request) error {
	return func(rq *request) error {
		value, err := rq.config(name, missing)
		if err != nil {
			return err
		}
		return rq.document200("application/xml", value)
	}
}

// dropConfig handles the taking away of a document, which may be gone already.
func dropConfig(name string) func(*request) error {
	return func(rq *request) error {
		if err := rq.setConfig(name, nil); err != nil {
			return err
		}
		return rq.empty(http.StatusNoContent)
	}
}

// document200 answers with a document as it is kept.
func (rq *request) document200(contentType string, value []byte) error {
	h := rq.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(value)))
	rq.w.WriteHeader(http.StatusOK)
	_, err := rq.w.Write(value)
	return err
}

// exists refuses where the request's bucket is not there.
func (rq *request) exists() error {
	_, _, done, err := rq.bucketView()
	if err == nil {
		done()
	}
	return err
}

// getBucket, and its like, are rows of the table of operations on what a bucket is or does.
func getBucket(name, subresource, action string, handle func(*request) error) operation {
	return operation{name: name, method: http.MethodGet, level: bucketLevel, query: []string{subresource}, action: "s3:" + action, access: accessRead, handle: handle}
}

func putBucket(name, subresource, action string, handle func(*request) error) operation {
	return operation{name: name, method: http.MethodPut, level: bucketLevel, query: []string{subresource}, action: "s3:" + action, access: accessControl, handle: handle}
}

func deleteBucket(name, subresource, action string, handle func(*request) error) operation {
	return operation{name: name, method: http.MethodDelete, level: bucketLevel, query: []string{subresource}, action: "s3:" + action, access: accessControl, handle: bodiless(handle)}
}

// bodiless handles a request that brings no body.
func bodiless(handle func(*request) error) func(*request) error {
	return func(rq *request) error {
		if err := rq.noContent(); err != nil {
			return err
		}
		return handle(rq)
	}
}

// configOperations are those on what a bucket is or does.
func configOperations() []operation {
	return []operation{
		getBucket("GetBucketVersioning", "versioning", "GetBucketVersioning", (*request).getVersioning),
		putBucket("PutBucketVersioning", "versioning", "PutBucketVersioning", (*request).putVersioning),
		getBucket("GetBucketTagging", "tagging", "GetBucketTagging", showConfig(configTagging, codeNoSuchTagSet)),
		putBucket("PutBucketTagging", "tagging", "PutBucketTagging", (*request).putBucketTagging),
		deleteBucket("DeleteBucketTagging", "tagging", "PutBucketTagging", dropConfig(configTagging)),
		getBucket("GetBucketPolicy", "policy", "GetBucketPolicy", (*request).getPolicy),
		getBucket("GetBucketPolicyStatus", "policyStatus", "GetBucketPolicyStatus", (*request).policyStatus),
		putBucket("PutBucketPolicy", "policy", "PutBucketPolicy", (*request).putPolicy),
		deleteBucket("DeleteBucketPolicy", "policy", "DeleteBucketPolicy", dropConfig(configPolicy)),
		getBucket("GetPublicAccessBlock", "publicAccessBlock", "GetBucketPublicAccessBlock", showConfig(configPublicAccess, codeNoSuchPublicAccess)),
		putBucket("PutPublicAccessBlock", "publicAccessBlock", "PutBucketPublicAccessBlock", (*request).putPublicAccess),
		deleteBucket("DeletePublicAccessBlock", "publicAccessBlock", "PutBucketPublicAccessBlock", dropConfig(configPublicAccess)),
		getBucket("GetBucketCors", "cors", "GetBucketCORS", showConfig(configCORS, codeNoSuchCORS)),
		putBucket("PutBucketCors", "cors", "PutBucketCORS", (*request).putCORS),
		deleteBucket("DeleteBucketCors", "cors", "PutBucketCORS", dropConfig(configCORS)),
		getBucket("GetBucketLifecycleConfiguration", "lifecycle", "GetLifecycleConfiguration", showConfig(configLifecycle, codeNoSuchLifecycle)),
		putBucket("PutBucketLifecycleConfiguration", "lifecycle", "PutLifecycleConfiguration", (*request).putLifecycle),
		deleteBucket("DeleteBucketLifecycle", "lifecycle", "PutLifecycleConfiguration", dropConfig(configLifecycle)),
		getBucket("GetObjectLockConfiguration", "object-lock", "GetBucketObjectLockConfiguration", (*request).getLockRules),
		putBucket("PutObjectLockConfiguration", "object-lock", "PutBucketObjectLockConfiguration", (*request).putLockRules),
		getBucket("GetBucketAcl", "acl", "GetBucketAcl", (*request).getBucketACL),
		putBucket("PutBucketAcl", "acl", "PutBucketAcl", (*request).putBucketACL),
		getBucket("GetBucketOwnershipControls", "ownershipControls", "GetBucketOwnershipControls", (*request).getOwnership),
		putBucket("PutBucketOwnershipControls", "ownershipControls", "PutBucketOwnershipControls", (*request).putOwnership),
		deleteBucket("DeleteBucketOwnershipControls", "ownershipControls", "PutBucketOwnershipControls", (*request).deleteOwnership),
		{name: "GetBucketQuota", method: http.MethodGet, level: bucketLevel, query: []string{"quota"}, access: accessAdmin, handle: (*request).getQuota},
		{name: "PutBucketQuota", method: http.MethodPut, level: bucketLevel, query: []string{"quota"}, access: accessAdmin, handle: (*request).putQuota},
	}
}
