package s3api

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"chainfire/internal/xmltree"
	"chainfire/object"
)

// bypass reports whether a delete may pass over governance, which only administrators may ask.
func (rq *request) bypass() (bool, error) {
	text, err := one(rq.r.Header, "X-Amz-Bypass-Governance-Retention")
	if err != nil || text == "" || strings.EqualFold(text, "false") {
		return false, err
	}
	if !strings.EqualFold(text, "true") {
		return false, invalidArgument("x-amz-bypass-governance-retention", text, "The header is true or false.")
	}
	return true, rq.allowed("s3:BypassGovernanceRetention", accessAdmin, rq.bucket, rq.key)
}

// deleteObject deletes a key, or a version of it for good.
func (rq *request) deleteObject() error {
	id, err := rq.versionParam()
	if err != nil {
		return err
	}
	if id != nil {
		if err := rq.allowed("s3:DeleteObjectVersion", accessWrite, rq.bucket, rq.key); err != nil {
			return err
		}
	}
	condition, err := deleteCondition(rq.r.Header)
	if err != nil {
		return err
	}
	if err := rq.mayCompare(&condition); err != nil {
		return err
	}
	bypass, err := rq.bypass()
	if err != nil {
		return err
	}
	if err := rq.noContent(); err != nil {
		return err
	}
	result, err := rq.change(&object.Change{Delete: &object.Delete{
		Bucket: rq.bucket, Bypass: bypass,
		Objects: []object.DeleteObject{{Key: rq.key, Version: id, If: condition}},
	}})
	if err != nil {
		return err
	}
	d := &result.Deleted[0]
	if d.Err != nil {
		return d.Err
	}
	h := rq.w.Header()
	if d.Marker {
		h.Set("X-Amz-Delete-Marker", "true")
	}
	if id != nil {
		h.Set("X-Amz-Version-Id", versionText(*id))
	} else if d.Marker {
		h.Set("X-Amz-Version-Id", versionText(d.Version))
	}
	return rq.empty(http.StatusNoContent)
}

// maxDeleteDocument bounds the document of DeleteObjects.
const maxDeleteDocument = 2 << 20

// deleteDocument is what is asked to be deleted.
type deleteDocument struct {
	quiet   bool
	objects []deleteEntry
}

// deleteEntry is one key, or one version of it, as it was written: empty is not there.
type deleteEntry struct {
	key, version     string
	etag, modified   string
	hasETag, hasTime bool
	size             *int64
}

// deleteDocumentOf reads what is asked to be deleted. What is not understood might be a condition,
// so that nothing may be passed over.
func deleteDocumentOf(n *xmltree.Node) (d deleteDocument, err error) {
	if d.quiet, _, err = n.Bool("Quiet"); err != nil {
		return d, err
	}
	list := n.All("Object")
	if err := n.Done(); err != nil {
		return d, err
	}
	if len(list) == 0 || len(list) > object.MaxDeletes {
		return d, refusef(codeMalformedXML, "One request deletes 1 to %d objects, not %d.", object.MaxDeletes, len(list))
	}
	d.objects = make([]deleteEntry, len(list))
	for i, one := range list {
		if d.objects[i], err = deleteEntryOf(one); err != nil {
			return d, err
		}
	}
	return d, nil
}

func deleteEntryOf(n *xmltree.Node) (e deleteEntry, err error) {
	if e.key, err = n.Need("Key"); err != nil {
		return e, err
	}
	if e.version, _, err = n.String("VersionId"); err != nil {
		return e, err
	}
	if e.etag, e.hasETag, err = n.String("ETag"); err != nil {
		return e, err
	}
	if e.modified, e.hasTime, err = n.String("LastModifiedTime"); err != nil {
		return e, err
	}
	size, hasSize, err := n.Int("Size")
	if err != nil {
		return e, err
	}
	if hasSize {
		e.size = &size
	}
	return e, n.Done()
}

type deleteResult struct {
	XMLName xml.Name        `xml:"DeleteResult"`
	XMLNS   string          `xml:"xmlns,attr"`
	Deleted []deletedEntry  `xml:"Deleted"`
	Errors  []deleteFailure `xml:"Error"`
}

type deletedEntry struct {
	Key                   text
	VersionID             *text  `xml:"VersionId"`
	DeleteMarker          bool   `xml:",omitempty"`
	DeleteMarkerVersionID string `xml:"DeleteMarkerVersionId,omitempty"`
}

type deleteFailure struct {
	Key       text
	VersionID *text `xml:"VersionId"`
	Code      string
	Message   text
}

// deleteObjects deletes up to 1,000 keys and versions, each by itself: each is allowed or not, and
// its condition holds or does not.
func (rq *request) deleteObjects() error {
	if rq.anonymous() {
		if err := rq.strangersDelete(); err != nil {
			return err
		}
	}
	d, err := rq.digestsOf()
	if err != nil {
		return err
	}
	if !d.given() {
		return refusef(codeInvalidRequest, "Missing required header for this request: Content-MD5")
	}
	bypass, err := rq.bypass()
	if err != nil {
		return err
	}
	n, err := rq.treeOf(maxDeleteDocument, "Delete")
	if err != nil {
		return err
	}
	doc, err := deleteDocumentOf(n)
	if err != nil {
		return err
	}
	errs, deletes, err := rq.deletable(doc.objects)
	if err != nil {
		return err
	}
	change := &object.Delete{Bucket: rq.bucket, Bypass: bypass}
	for i := range deletes {
		if errs[i] == nil {
			change.Objects = append(change.Objects, deletes[i])
		}
	}
	deleted := make([]object.Deleted, 0, len(change.Objects))
	if len(change.Objects) > 0 {
		result, err := rq.change(&object.Change{Delete: change})
		if err != nil {
			return err
		}
		deleted = result.Deleted
	}
	out := &deleteResult{XMLNS: namespace}
	for i := range doc.objects {
		var one object.Deleted
		if one.Err = errs[i]; one.Err == nil {
			one, deleted = deleted[0], deleted[1:]
		}
		out.add(&doc.objects[i], &one, doc.quiet)
	}
	return rq.xml(http.StatusOK, out)
}

// strangersDelete refuses who has not signed where the policy lets nobody delete anything unsigned:
// what there is to delete is not read for that, which takes memory.
func (rq *request) strangersDelete() error {
	view, err := rq.s.service.Local(rq.ctx())
	if err != nil {
		return err
	}
	may, err := rq.strangersMay(view)
	rq.s.closeView(view)
	if err != nil || may {
		return err
	}
	if rq.s.lookups.Allow() { // the policy may be new
		view, done, err := rq.view()
		if err != nil {
			return err
		}
		defer done()
		if may, err = rq.strangersMay(view); err != nil || may {
			return err
		}
	}
	return refuse(codeAccessDenied)
}

func (rq *request) strangersMay(view *object.View) (bool, error) {
	b, err := view.Bucket(rq.bucket)
	if errors.Is(err, object.ErrNoSuchBucket) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	policy, err := rq.s.documents.policies.of(view, b)
	return policy != nil && policy.Strangers("s3:DeleteObject", "s3:DeleteObjectVersion"), err
}

// deletable turns entries into deletes, each with the error that keeps it from being tried.
func (rq *request) deletable(entries []deleteEntry) ([]error, []object.DeleteObject, error) {
	keys, actions := make([]string, len(entries)), make([]string, len(entries))
	out := make([]object.DeleteObject, len(entries))
	bad := make([]error, len(entries))
	compared := false
	for i := range entries {
		e := &entries[i]
		keys[i], actions[i] = e.key, "s3:DeleteObject"
		if e.version != "" {
			actions[i] = "s3:DeleteObjectVersion"
		}
		out[i], bad[i] = e.read()
		compared = compared || compares(&out[i].If)
	}
	errs, err := rq.allowedEach(actions, accessWrite, rq.bucket, keys)
	if err != nil {
		return nil, nil, err
	}
	for i := range errs {
		if errs[i] == nil {
			errs[i] = bad[i]
		}
	}
	if !compared {
		return errs, out, nil
	}
	readable, err := rq.allowedEach([]string{"s3:GetObject"}, accessRead, rq.bucket, keys)
	if err != nil {
		return nil, nil, err
	}
	for i := range errs {
		if errs[i] == nil && compares(&out[i].If) {
			errs[i] = readable[i]
		}
	}
	return errs, out, nil
}

// read is an entry as a delete.
func (e *deleteEntry) read() (d object.DeleteObject, err error) {
	d.Key = e.key
	if e.key == "" {
		return d, refusef(codeInvalidArgument, "An entry has no key.")
	}
	if err := checkKey(e.key); err != nil {
		return d, err
	}
	if e.version != "" {
		id, err := parseVersion(e.version)
		if err != nil {
			return d, refuse(codeNoSuchVersion).because(err)
		}
		d.Version = &id
	}
	if e.hasETag {
		if d.If.IfMatch = unquoted(e.etag); d.If.IfMatch == "" {
			return d, invalidArgument("ETag", e.etag, "The ETag of an entry is empty: leave it out to delete whatever is there.")
		}
	}
	d.If.IfSize = e.size
	if e.hasTime {
		at, err := parseTime(e.modified)
		if err != nil {
			return d, invalidArgument("LastModifiedTime", e.modified, "The time is neither as in RFC 9110 nor as in ISO 8601.")
		}
		ms := at.UnixMilli()
		d.If.IfModified = &ms
	}
	return d, nil
}

// add says what became of an entry.
func (r *deleteResult) add(e *deleteEntry, d *object.Deleted, quiet bool) {
	version := optional(e.version)
	if d.Err != nil {
		refused := errorOf(d.Err)
		r.Errors = append(r.Errors, deleteFailure{Key: newText(e.key), VersionID: version, Code: refused.name, Message: newText(refused.text())})
		return
	}
	if quiet {
		return
	}
	entry := deletedEntry{Key: newText(e.key), VersionID: version, DeleteMarker: d.Marker}
	if d.Marker {
		entry.DeleteMarkerVersionID = versionText(d.Version)
	}
	r.Deleted = append(r.Deleted, entry)
}
