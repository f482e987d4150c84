package s3api

import (
	"encoding/xml"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"chainfire/internal/xmltree"
	"chainfire/object"
	"chainfire/s3api/bucketpolicy"
)

// decide is what the policy of a bucket, if it has one in a view, says of an action of who asks on
// the bucket or, with a key, on an object of it. A bucket that is not there says nothing.
func (rq *request) decide(view *object.View, action, bucket, key string) (bucketpolicy.Decision, error) {
	b, err := view.Bucket(bucket)
	if errors.Is(err, object.ErrNoSuchBucket) {
		return bucketpolicy.None, nil
	}
	if err != nil {
		return bucketpolicy.None, err
	}
	policy, err := rq.s.documents.policies.of(view, b)
	if err != nil || policy == nil {
		return bucketpolicy.None, err
	}
	said := policy.Evaluate(rq.policyRequest(action, bucket, key))
	if said != bucketpolicy.Allow || !rq.anonymous() || !policy.Public() {
		return said, nil
	}
	block, err := rq.s.documents.blocks.of(view, b)
	if err != nil || block != nil && block.RestrictPublicBuckets {
		return bucketpolicy.None, err
	}
	return said, nil
}

// policyRequest is what a policy is asked.
func (rq *request) policyRequest(action, bucket, key string) *bucketpolicy.Request {
	out := &bucketpolicy.Request{Principal: rq.who.id(), Action: action, Resource: bucket, Secure: rq.secure()}
	if key != "" {
		out.Resource += "/" + key
	}
	if ip, err := netip.ParseAddr(rq.remote()); err == nil { // else a proxy gave no address
		out.SourceIP = ip
	}
	if rq.key != "" || bucket != rq.bucket || !strings.HasPrefix(action, "s3:ListBucket") {
		return out
	}
	if rq.query.Has("prefix") {
		prefix := rq.param("prefix")
		out.Prefix = &prefix
	}
	if rq.query.Has("delimiter") {
		delimiter := rq.param("delimiter")
		out.Delimiter = &delimiter
	}
	if n, err := strconv.ParseInt(rq.param("max-keys"), 10, 64); err == nil { // one that is none is refused later
		out.MaxKeys = &n
	}
	return out
}

// secure reports whether the client's connection is encrypted, as far as is known.
func (rq *request) secure() bool {
	return rq.r.TLS != nil || rq.s.o.TrustForwarded && strings.EqualFold(rq.r.Header.Get("X-Forwarded-Proto"), "https")
}

func (rq *request) getPolicy() error {
	value, err := rq.config(configPolicy, codeNoSuchPolicy)
	if err != nil {
		return err
	}
	return rq.document200("application/json", value)
}

// putPolicy keeps the document as it came, once all of it is understood.
func (rq *request) putPolicy() error {
	document, err := rq.small(bucketpolicy.MaxSize)
	if err != nil {
		return err
	}
	if len(document) == 0 {
		return refuse(codeMissingRequestBody)
	}
	policy, err := bucketpolicy.Parse(document, rq.bucket)
	if err != nil {
		return err
	}
	view, b, done, err := rq.bucketView()
	if err != nil {
		return err
	}
	block, err := rq.s.documents.blocks.of(view, b)
	done()
	if err != nil {
		return err
	}
	if block != nil && block.BlockPublicPolicy && policy.Public() {
		return refusef(codeAccessDenied, "The policy is public, and BlockPublicPolicy of the bucket's public access block refuses those.")
	}
	if err := rq.setConfig(configPolicy, document); err != nil {
		return err
	}
	return rq.empty(http.StatusNoContent)
}

type policyStatusDocument struct {
	XMLName  xml.Name `xml:"PolicyStatus"`
	XMLNS    string   `xml:"xmlns,attr"`
	IsPublic bool
}

func (rq *request) policyStatus() error {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return err
	}
	policy, err := rq.s.documents.policies.of(view, b)
	done()
	if err == nil && policy == nil {
		err = refuse(codeNoSuchPolicy).with("BucketName", rq.bucket)
	}
	if err != nil {
		return err
	}
	return rq.xml(http.StatusOK, &policyStatusDocument{XMLNS: namespace, IsPublic: policy.Public()})
}

// publicAccessBlock is what a bucket refuses of what would make it public. There are no public
// ACLs here, so that what is said of them is only kept.
type publicAccessBlock struct {
	XMLName               xml.Name `xml:"PublicAccessBlockConfiguration"`
	XMLNS                 string   `xml:"xmlns,attr"`
	BlockPublicACLs       bool     `xml:"BlockPublicAcls"`
	IgnorePublicACLs      bool     `xml:"IgnorePublicAcls"`
	BlockPublicPolicy     bool
	RestrictPublicBuckets bool
}

func (p *publicAccessBlock) read(n *xmltree.Node) error {
	for _, f := range []struct {
		name string
		into *bool
	}{
		{"BlockPublicAcls", &p.BlockPublicACLs},
		{"IgnorePublicAcls", &p.IgnorePublicACLs},
		{"BlockPublicPolicy", &p.BlockPublicPolicy},
		{"RestrictPublicBuckets", &p.RestrictPublicBuckets},
	} {
		value, _, err := n.Bool(f.name)
		if err != nil {
			return err
		}
		*f.into = value
	}
	return n.Done()
}

func (rq *request) putPublicAccess() error {
	n, err := rq.tree("PublicAccessBlockConfiguration")
	if err != nil {
		return err
	}
	p := publicAccessBlock{XMLNS: namespace}
	if err := p.read(n); err != nil {
		return err
	}
	if err := rq.setXML(configPublicAccess, &p); err != nil {
		return err
	}
	return rq.empty(http.StatusOK)
}
