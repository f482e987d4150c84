package s3api

import (
	"bytes"
	"encoding/xml"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"chainfire/internal/xmltree"
	"chainfire/object"
	"chainfire/s3api/bucketpolicy"
)

// maxPolicies bounds the policies that are kept as they were read.
const maxPolicies = 1024

// bucketPolicies decides by the policies of buckets. They are in the state; those asked for are
// kept as they were read. Any goroutine may use it.
type bucketPolicies struct {
	mu   sync.Mutex
	read map[uint64]readPolicy // by the bucket's id
}

type readPolicy struct {
	document []byte
	policy   *bucketpolicy.Policy
}

// of is the policy of a bucket in a view, nil where it has none.
func (p *bucketPolicies) of(view *object.View, b *object.Bucket) (*bucketpolicy.Policy, error) {
	document, found, err := view.Config(b, configPolicy)
	if err != nil || !found {
		return nil, err
	}
	p.mu.Lock()
	known, ok := p.read[b.ID]
	p.mu.Unlock()
	if ok && bytes.Equal(known.document, document) {
		return known.policy, nil
	}
	parsed, err := keptPolicy(document, b)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.read) >= maxPolicies {
		clear(p.read)
	}
	p.read[b.ID] = readPolicy{bytes.Clone(document), parsed}
	return parsed, nil
}

// keptPolicy reads a policy that was taken once. What is wrong with it now is not the doing of
// who asks, so that it is an error of the server, and nobody is let in.
func keptPolicy(document []byte, b *object.Bucket) (*bucketpolicy.Policy, error) {
	policy, err := bucketpolicy.Parse(document, b.Name)
	if err != nil {
		return nil, keptWrong("rules of the policy", b, err)
	}
	return policy, nil
}

func (p *bucketPolicies) decide(rq *request, view *object.View, action, bucket, key string) (decision, error) {
	b, err := view.Bucket(bucket)
	if errors.Is(err, object.ErrNoSuchBucket) {
		return silent, nil
	}
	if err != nil {
		return silent, err
	}
	policy, err := p.of(view, b)
	if err != nil || policy == nil {
		return silent, err
	}
	switch policy.Evaluate(rq.policyRequest(action, bucket, key)) {
	case bucketpolicy.Deny:
		return denies, nil
	case bucketpolicy.Allow:
		restricted, err := restricts(view, b)
		if err != nil || restricted && rq.anonymous() && policy.Public() {
			return silent, err
		}
		return allows, nil
	}
	return silent, nil
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
	if key != "" || bucket != rq.bucket || !strings.HasPrefix(action, "s3:ListBucket") {
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
	block, err := rq.publicAccess()
	if err != nil {
		return err
	}
	if block.BlockPublicPolicy && policy.Public() {
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
	document, found, err := view.Config(b, configPolicy)
	done()
	if err == nil && !found {
		err = refuse(codeNoSuchPolicy).with("BucketName", rq.bucket)
	}
	if err != nil {
		return err
	}
	policy, err := keptPolicy(document, b)
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

// blockOf is the public access block of a bucket; one that has none refuses nothing.
func blockOf(view *object.View, b *object.Bucket) (p publicAccessBlock, err error) {
	value, found, err := view.Config(b, configPublicAccess)
	if err != nil || !found {
		return p, err
	}
	n, err := xmltree.Parse(value, "PublicAccessBlockConfiguration")
	if err == nil {
		err = p.read(n)
	}
	if err != nil {
		err = keptWrong("rules of the public access block", b, err)
	}
	return p, err
}

// restricts reports whether a public policy lets in only who is signed.
func restricts(view *object.View, b *object.Bucket) (bool, error) {
	p, err := blockOf(view, b)
	return p.RestrictPublicBuckets, err
}

func (rq *request) publicAccess() (publicAccessBlock, error) {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return publicAccessBlock{}, err
	}
	defer done()
	return blockOf(view, b)
}

func (rq *request) putPublicAccess() error {
	n, err := rq.tree(maxDocument, "PublicAccessBlockConfiguration")
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
