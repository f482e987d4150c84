package s3api

import (
	"encoding/xml"
	"errors"
	"net/http"

	"chainfire/internal/xmltree"
	"chainfire/object"
)

// lockOperations are those on what keeps versions from being deleted.
func lockOperations() []operation {
	row := func(name, method, subresource string, a access, handle func(*request) error) operation {
		return operation{name: name, method: method, level: objectLevel, query: []string{subresource}, action: "s3:" + name, access: a, handle: handle}
	}
	return []operation{
		row("GetObjectRetention", http.MethodGet, "retention", accessRead, (*request).getRetention),
		row("PutObjectRetention", http.MethodPut, "retention", accessControl, (*request).putRetention),
		row("GetObjectLegalHold", http.MethodGet, "legal-hold", accessRead, (*request).getLegalHold),
		row("PutObjectLegalHold", http.MethodPut, "legal-hold", accessControl, (*request).putLegalHold),
	}
}

// mayAttach holds that who asks may give an object that it writes tags, a retention and a legal
// hold: to write does not take the right to lock, nor to tag. Whose grant is to write may give
// them to what it writes.
func (rq *request) mayAttach(tags []object.Pair, r object.Retention, hold bool) error {
	for _, a := range []struct {
		asked  bool
		action string
	}{
		{len(tags) > 0, "s3:PutObjectTagging"},
		{r.Mode != object.LockNone, "s3:PutObjectRetention"},
		{hold, "s3:PutObjectLegalHold"},
	} {
		if !a.asked {
			continue
		}
		if err := rq.allowed(a.action, accessWrite, rq.bucket, rq.key); err != nil {
			return err
		}
	}
	return nil
}

// locks reports whether a writer asks for what only a bucket with object lock has.
func locks(r object.Retention, hold bool) bool { return r.Mode != object.LockNone || hold }

// errNoLock refuses what only a bucket with object lock has.
func errNoLock() *apiError {
	return refusef(codeInvalidRequest, "Bucket is missing Object Lock Configuration")
}

// lockRules is the document of a bucket's object lock.
type lockRules struct {
	XMLName xml.Name `xml:"ObjectLockConfiguration"`
	XMLNS   string   `xml:"xmlns,attr"`
	Enabled string   `xml:"ObjectLockEnabled"`
	Rule    *lockRule
}

type lockRule struct{ DefaultRetention defaultRetention }

type defaultRetention struct {
	Mode  string
	Days  uint32 `xml:",omitempty"`
	Years uint32 `xml:",omitempty"`
}

func (rq *request) getLockRules() error {
	_, b, done, err := rq.bucketView()
	if err != nil {
		return err
	}
	done()
	if !b.ObjectLock {
		return refuse(codeNoSuchLockRules).with("BucketName", rq.bucket)
	}
	out := &lockRules{XMLNS: namespace, Enabled: "Enabled"}
	if b.Lock.Mode != object.LockNone {
		out.Rule = &lockRule{defaultRetention{Mode: lockText(b.Lock.Mode), Days: b.Lock.Days, Years: b.Lock.Years}}
	}
	return rq.xml(http.StatusOK, out)
}

func (rq *request) putLockRules() error {
	n, err := rq.tree("ObjectLockConfiguration")
	if err != nil {
		return err
	}
	rule, err := lockRuleOf(n)
	if err != nil {
		return err
	}
	yes := true
	_, err = rq.change(&object.Change{SetBucket: &object.SetBucket{Name: rq.bucket, ObjectLock: &yes, Lock: rule}})
	if errors.Is(err, object.ErrInvalidBucketState) {
		return refusef(codeInvalidBucketState, "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration").because(err)
	}
	if err != nil {
		return err
	}
	return rq.empty(http.StatusOK)
}

// lockRuleOf reads the rule for new versions: none where the document has none.
func lockRuleOf(n *xmltree.Node) (*object.LockRule, error) {
	enabled, err := n.Need("ObjectLockEnabled")
	if err != nil {
		return nil, err
	}
	if enabled != "Enabled" {
		return nil, refuse(codeMalformedXML)
	}
	rule, err := n.One("Rule")
	if err != nil {
		return nil, err
	}
	if err := n.Done(); err != nil {
		return nil, err
	}
	if rule == nil {
		return &object.LockRule{}, nil
	}
	retention, err := rule.One("DefaultRetention")
	if err != nil {
		return nil, err
	}
	if retention == nil {
		return nil, refuse(codeMalformedXML)
	}
	if err := rule.Done(); err != nil {
		return nil, err
	}
	return defaultRetentionOf(retention)
}

func defaultRetentionOf(n *xmltree.Node) (*object.LockRule, error) {
	mode, err := n.Need("Mode")
	if err != nil {
		return nil, err
	}
	days, hasDays, err := n.Int("Days")
	if err != nil {
		return nil, err
	}
	years, hasYears, err := n.Int("Years")
	if err != nil {
		return nil, err
	}
	if err := n.Done(); err != nil {
		return nil, err
	}
	out := &object.LockRule{}
	if out.Mode = lockMode(mode); out.Mode == object.LockNone {
		return nil, refuse(codeMalformedXML)
	}
	switch {
	case hasDays == hasYears:
		return nil, refuse(codeMalformedXML)
	case hasDays && (days < 1 || days > object.MaxLockDays), hasYears && (years < 1 || years > object.MaxLockYears):
		return nil, refusef(codeInvalidArgument, "Default retention period must be a positive integer value, of at most %d days or %d years.", object.MaxLockDays, object.MaxLockYears)
	}
	out.Days, out.Years = uint32(days), uint32(years)
	return out, nil
}

// lockMode reads a mode as S3 writes it; LockNone is of none that there is.
func lockMode(mode string) object.LockMode {
	switch mode {
	case lockText(object.LockGovernance):
		return object.LockGovernance
	case lockText(object.LockCompliance):
		return object.LockCompliance
	}
	return object.LockNone
}

type retentionDocument struct {
	XMLName         xml.Name `xml:"Retention"`
	XMLNS           string   `xml:"xmlns,attr"`
	Mode            string
	RetainUntilDate string
}

func (rq *request) getRetention() error {
	v, err := rq.lockedVersion()
	if err != nil {
		return err
	}
	if v.Retention.Mode == object.LockNone {
		return refuse(codeNoSuchLock)
	}
	return rq.xml(http.StatusOK, &retentionDocument{XMLNS: namespace, Mode: lockText(v.Retention.Mode), RetainUntilDate: timeOf(v.Retention.Until)})
}

// lockedVersion reads the version that a request is about, in a bucket with object lock.
func (rq *request) lockedVersion() (*object.Version, error) {
	id, err := rq.versionParam()
	if err != nil {
		return nil, err
	}
	b, v, err := rq.attended(id)
	if err != nil {
		return nil, rq.hidden(err, rq.bucket)
	}
	if !b.ObjectLock {
		return nil, errNoLock()
	}
	return v, nil
}

// setLocked changes what keeps the request's version.
func (rq *request) setLocked(c *object.SetObject) error {
	err := rq.setObject(c, http.StatusOK)
	if errors.Is(err, object.ErrInvalidBucketState) {
		return errNoLock()
	}
	return err
}

// putRetention sets how long a version is kept; an empty document ends it.
func (rq *request) putRetention() error {
	id, err := rq.versionParam()
	if err != nil {
		return err
	}
	bypass, err := rq.bypass()
	if err != nil {
		return err
	}
	n, err := rq.tree("Retention")
	if err != nil {
		return err
	}
	mode, hasMode, err := n.String("Mode")
	if err != nil {
		return err
	}
	until, hasUntil, err := n.String("RetainUntilDate")
	if err != nil {
		return err
	}
	if err := n.Done(); err != nil {
		return err
	}
	var r object.Retention
	switch {
	case hasMode != hasUntil:
		return refuse(codeMalformedXML)
	case hasMode:
		if lockMode(mode) == object.LockNone {
			return refuse(codeMalformedXML)
		}
		if r, err = retentionOf(mode, until, rq.s.o.Now()); err != nil {
			return err
		}
	}
	return rq.setLocked(&object.SetObject{Version: id, Retention: &r, Bypass: bypass})
}

type legalHoldDocument struct {
	XMLName xml.Name `xml:"LegalHold"`
	XMLNS   string   `xml:"xmlns,attr"`
	Status  string
}

func (rq *request) getLegalHold() error {
	v, err := rq.lockedVersion()
	if err != nil {
		return err
	}
	out := &legalHoldDocument{XMLNS: namespace, Status: "OFF"}
	if v.LegalHold {
		out.Status = "ON"
	}
	return rq.xml(http.StatusOK, out)
}

func (rq *request) putLegalHold() error {
	id, err := rq.versionParam()
	if err != nil {
		return err
	}
	n, err := rq.tree("LegalHold")
	if err != nil {
		return err
	}
	status, err := n.Need("Status")
	if err != nil {
		return err
	}
	if err := n.Done(); err != nil {
		return err
	}
	if status != "ON" && status != "OFF" {
		return refuse(codeMalformedXML)
	}
	hold := status == "ON"
	return rq.setLocked(&object.SetObject{Version: id, LegalHold: &hold})
}
