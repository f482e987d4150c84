package s3api

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"chainfire/internal/xmltree"
	"chainfire/object"
)

// bucketOperations are those on a bucket itself.
func bucketOperations() []operation {
	return []operation{
		{name: "CreateBucket", method: http.MethodPut, level: bucketLevel, action: "s3:CreateBucket", access: accessControl, handle: (*request).createBucket},
		{name: "HeadBucket", method: http.MethodHead, level: bucketLevel, action: "s3:ListBucket", access: accessRead, handle: (*request).headBucket},
		{name: "DeleteBucket", method: http.MethodDelete, level: bucketLevel, action: "s3:DeleteBucket", access: accessControl, handle: (*request).deleteBucket},
		{name: "GetBucketLocation", method: http.MethodGet, level: bucketLevel, query: []string{"location"}, action: "s3:GetBucketLocation", access: accessRead, handle: (*request).bucketLocation},
	}
}

// createBucket makes a bucket. Its region is that of the endpoint, whether it is named or not.
func (rq *request) createBucket() error {
	lock, err := one(rq.r.Header, "X-Amz-Bucket-Object-Lock-Enabled")
	if err != nil {
		return err
	}
	if lock != "" && !strings.EqualFold(lock, "true") && !strings.EqualFold(lock, "false") {
		return invalidArgument("x-amz-bucket-object-lock-enabled", lock, "The header is true or false.")
	}
	switch o := rq.r.Header.Get("X-Amz-Object-Ownership"); o {
	case "", "BucketOwnerEnforced":
	default:
		return notImplemented("the object ownership " + o)
	}
	b, err := rq.small(maxDocument)
	if err != nil {
		return err
	}
	if len(b) > 0 {
		n, err := xmltree.Parse(b, "CreateBucketConfiguration")
		if err != nil {
			return err
		}
		if err := rq.checkLocation(n); err != nil {
			return err
		}
	}
	_, err = rq.change(&object.Change{CreateBucket: &object.CreateBucket{
		Name: rq.bucket, Owner: rq.who.id(), ObjectLock: strings.EqualFold(lock, "true"),
	}})
	if errors.Is(err, object.ErrBucketExists) { // whoever may make it has it: all have one owner
		return refuse(codeBucketAlreadyOwned).with("BucketName", rq.bucket).because(err)
	}
	if err != nil {
		return err
	}
	rq.w.Header().Set("Location", "/"+rq.bucket)
	return rq.empty(http.StatusOK)
}

// checkLocation holds what is said of a new bucket to what there is.
func (rq *request) checkLocation(n *xmltree.Node) error {
	location, _, err := n.String("LocationConstraint")
	if err != nil {
		return err
	}
	if len(n.All("Location")) > 0 || len(n.All("Bucket")) > 0 {
		return notImplemented("a directory bucket")
	}
	tags, err := n.One("Tags")
	if err != nil {
		return err
	}
	if tags != nil && len(tags.All("Tag")) > 0 {
		return notImplemented("tags in CreateBucket (PutBucketTagging sets them)")
	}
	if tags != nil {
		if err := tags.Done(); err != nil {
			return err
		}
	}
	if err := n.Done(); err != nil {
		return err
	}
	if location != "" && location != rq.s.o.Region {
		return refusef(codeInvalidLocation, "The specified location-constraint is not valid: this endpoint is in %s.", rq.s.o.Region).
			with("LocationConstraint", location)
	}
	return nil
}

// headBucket says that a bucket is there, and where.
func (rq *request) headBucket() error {
	_, _, done, err := rq.bucketView()
	if err != nil {
		return err
	}
	done()
	h := rq.w.Header()
	h.Set("X-Amz-Bucket-Region", rq.s.o.Region)
	h.Set("Content-Type", "application/xml")
	return rq.empty(http.StatusOK)
}

func (rq *request) deleteBucket() error {
	if err := rq.noContent(); err != nil {
		return err
	}
	if _, err := rq.change(&object.Change{DeleteBucket: &object.DeleteBucket{Name: rq.bucket}}); err != nil {
		return err
	}
	return rq.empty(http.StatusNoContent)
}

type locationResult struct {
	XMLName  xml.Name `xml:"LocationConstraint"`
	XMLNS    string   `xml:"xmlns,attr"`
	Location string   `xml:",chardata"`
}

// bucketLocation says where a bucket is: of the first of all regions that is nothing.
func (rq *request) bucketLocation() error {
	_, _, done, err := rq.bucketView()
	if err != nil {
		return err
	}
	done()
	region := rq.s.o.Region
	if region == "us-east-1" {
		region = ""
	}
	return rq.xml(http.StatusOK, &locationResult{XMLNS: namespace, Location: region})
}
