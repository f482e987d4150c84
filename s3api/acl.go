package s3api

import (
	"encoding/xml"
	"net/http"

	"chainfire/internal/xmltree"
)

// maxGrants bounds the grants of an access control list, as AWS does.
const maxGrants = 100

// noOwnership is what is kept of a bucket whose ownership controls were taken away: a bucket
// that nothing is kept of has those that AWS gives to a new one.
const noOwnership = "none"

const ownerEnforced = "BucketOwnerEnforced"

// aclOperations are those on the access control lists of objects. Policies and the grants of
// keys say who may do what; the lists are as AWS answers them where its lists are off.
func aclOperations() []operation {
	query := []string{"acl"}
	return []operation{
		{name: "GetObjectAcl", method: http.MethodGet, level: objectLevel, query: query, action: "s3:GetObjectAcl", access: accessRead, handle: (*request).getObjectACL},
		{name: "PutObjectAcl", method: http.MethodPut, level: objectLevel, query: query, action: "s3:PutObjectAcl", access: accessControl, handle: (*request).putObjectACL},
	}
}

type aclDocument struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	XMLNS   string   `xml:"xmlns,attr"`
	Owner   *owner
	List    struct{ Grant aclGrant } `xml:"AccessControlList"`
}

type aclGrant struct {
	Grantee    grantee
	Permission string
}

type grantee struct {
	XSI  string `xml:"xmlns:xsi,attr"`
	Type string `xml:"xsi:type,attr"`
	owner
}

// fullControl is the list that everything has: its owner may do everything.
func fullControl() *aclDocument {
	d := &aclDocument{XMLNS: namespace, Owner: theOwner()}
	d.List.Grant = aclGrant{
		Grantee:    grantee{XSI: "http://www.w3.org/2001/XMLSchema-instance", Type: "CanonicalUser", owner: *theOwner()},
		Permission: "FULL_CONTROL",
	}
	return d
}

func (rq *request) getBucketACL() error {
	if err := rq.exists(); err != nil {
		return err
	}
	return rq.xml(http.StatusOK, fullControl())
}

func (rq *request) getObjectACL() error {
	id, err := rq.versionFor("s3:GetObjectVersionAcl", accessRead)
	if err != nil {
		return err
	}
	b, v, err := rq.attended(id)
	if err != nil {
		return rq.hidden(err, rq.bucket)
	}
	setVersion(rq.w.Header(), b, v.ID)
	return rq.xml(http.StatusOK, fullControl())
}

// putBucketACL takes the list that is there already, and no other.
func (rq *request) putBucketACL() error {
	if err := rq.unchangedACL(); err != nil {
		return err
	}
	if err := rq.exists(); err != nil {
		return err
	}
	return rq.empty(http.StatusOK)
}

func (rq *request) putObjectACL() error {
	id, err := rq.versionFor("s3:PutObjectVersionAcl", accessControl)
	if err != nil {
		return err
	}
	if err := rq.unchangedACL(); err != nil {
		return err
	}
	b, v, err := rq.attended(id)
	if err != nil {
		return rq.hidden(err, rq.bucket)
	}
	setVersion(rq.w.Header(), b, v.ID)
	return rq.empty(http.StatusOK)
}

// unchangedACL refuses a list that is to let in anyone else than the owner, whether it comes in
// headers or as a document.
func (rq *request) unchangedACL() error {
	body, err := rq.small(maxDocument)
	if err != nil {
		return err
	}
	canned := rq.r.Header.Get("X-Amz-Acl") != ""
	switch {
	case canned && len(body) > 0:
		return refuse(codeUnexpectedContent)
	case canned:
		return nil
	case len(body) == 0:
		return refusef(code{"MissingSecurityHeader", 400, ""}, "Your request was missing a required header").with("MissingHeaderName", "x-amz-acl")
	}
	n, err := xmltree.Parse(body, "AccessControlPolicy")
	if err != nil {
		return err
	}
	return checkACL(n)
}

// checkACL holds a list to the one that there is.
func checkACL(n *xmltree.Node) error {
	if _, err := n.One("Owner"); err != nil {
		return err
	}
	list, err := n.One("AccessControlList")
	if err != nil {
		return err
	}
	if err := n.Done(); err != nil {
		return err
	}
	if list == nil {
		return refuse(codeMalformedXML)
	}
	grants := list.All("Grant")
	if len(grants) > maxGrants {
		return refuse(codeMalformedXML)
	}
	for _, g := range grants {
		if err := checkGrant(g); err != nil {
			return err
		}
	}
	return list.Done()
}

func checkGrant(n *xmltree.Node) error {
	permission, err := n.Need("Permission")
	if err != nil {
		return err
	}
	who, err := n.One("Grantee")
	if err != nil {
		return err
	}
	if who == nil {
		return refuse(codeMalformedXML)
	}
	id, _, err := who.String("ID")
	if err != nil {
		return err
	}
	if _, _, err := who.String("DisplayName"); err != nil {
		return err
	}
	if id != ownerID || permission != "FULL_CONTROL" {
		return refuse(codeACLNotSupported)
	}
	if err := who.Done(); err != nil {
		return err
	}
	return n.Done()
}

type ownershipDocument struct {
	XMLName xml.Name `xml:"OwnershipControls"`
	XMLNS   string   `xml:"xmlns,attr"`
	Rule    struct{ ObjectOwnership string }
}

func (rq *request) getOwnership() error {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return err
	}
	value, found, err := view.Config(b, configOwnership)
	done()
	if err != nil {
		return err
	}
	if found && string(value) == noOwnership {
		return refuse(codeNoSuchOwnership).with("BucketName", rq.bucket)
	}
	d := &ownershipDocument{XMLNS: namespace}
	d.Rule.ObjectOwnership = ownerEnforced
	return rq.xml(http.StatusOK, d)
}

func (rq *request) putOwnership() error {
	n, err := rq.tree("OwnershipControls")
	if err != nil {
		return err
	}
	rule, err := n.One("Rule")
	if err != nil {
		return err
	}
	if err := n.Done(); err != nil {
		return err
	}
	if rule == nil {
		return refuse(codeMalformedXML)
	}
	ownership, err := rule.Need("ObjectOwnership")
	if err != nil {
		return err
	}
	if err := rule.Done(); err != nil {
		return err
	}
	switch ownership {
	case ownerEnforced:
	case "BucketOwnerPreferred", "ObjectWriter":
		return notImplemented("the object ownership " + ownership)
	default:
		return refuse(codeMalformedXML)
	}
	if err := rq.setConfig(configOwnership, nil); err != nil {
		return err
	}
	return rq.empty(http.StatusOK)
}

func (rq *request) deleteOwnership() error {
	if err := rq.setConfig(configOwnership, []byte(noOwnership)); err != nil {
		return err
	}
	return rq.empty(http.StatusNoContent)
}
