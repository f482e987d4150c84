package s3api

import (
	"encoding/xml"
	"net/http"

	"chainfire/object"
	"chainfire/object/lifecycle"
)

// versioningDocument says whether a bucket keeps versions. Of one that never did it says
// nothing.
type versioningDocument struct {
	XMLName xml.Name `xml:"VersioningConfiguration"`
	XMLNS   string   `xml:"xmlns,attr"`
	Status  string   `xml:",omitempty"`
}

func (rq *request) getVersioning() error {
	_, b, done, err := rq.bucketView()
	if err != nil {
		return err
	}
	done()
	status := [...]string{object.VersioningOff: "", object.VersioningEnabled: "Enabled", object.VersioningSuspended: "Suspended"}[b.Versioning]
	return rq.xml(http.StatusOK, &versioningDocument{XMLNS: namespace, Status: status})
}

func (rq *request) putVersioning() error {
	n, err := rq.tree("VersioningConfiguration")
	if err != nil {
		return err
	}
	status, err := n.Need("Status")
	if err != nil {
		return err
	}
	mfa, _, err := n.String("MfaDelete")
	if err != nil {
		return err
	}
	if err := n.Done(); err != nil {
		return err
	}
	switch mfa {
	case "", "Disabled":
	case "Enabled":
		return notImplemented("MfaDelete")
	default:
		return refuse(codeMalformedXML)
	}
	var v object.Versioning
	switch status {
	case "Enabled":
		v = object.VersioningEnabled
	case "Suspended":
		v = object.VersioningSuspended
	default:
		return refuse(codeMalformedXML)
	}
	if _, err := rq.change(&object.Change{SetBucket: &object.SetBucket{Name: rq.bucket, Versioning: &v}}); err != nil {
		return err
	}
	return rq.empty(http.StatusOK)
}

// putLifecycle keeps the rules as they are understood, so that what is shown is what is done.
func (rq *request) putLifecycle() error {
	body, err := rq.small(maxDocument)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return refuse(codeMissingRequestBody)
	}
	c, err := lifecycle.Parse(body)
	if err != nil {
		return err
	}
	value, err := c.XML()
	if err != nil {
		return err
	}
	if err := rq.setConfig(configLifecycle, value); err != nil {
		return err
	}
	return rq.empty(http.StatusOK)
}
