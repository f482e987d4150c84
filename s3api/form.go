package s3api

import (
	"context"
	"encoding/xml"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"chainfire/internal/xmltree"
	"chainfire/object"
	"chainfire/sigv4"
)

// formOperations is the upload from a page: a form that is sent to the bucket.
func formOperations() []operation {
	return []operation{
		{name: "PostObject", method: http.MethodPost, level: bucketLevel, when: isForm, action: "s3:PutObject", access: accessOpen, handle: (*request).postObject},
	}
}

// isForm reports whether a request brings a form, whose fields have the signature.
func isForm(r *http.Request) bool {
	return mediaType(r.Header.Get("Content-Type")) == "multipart/form-data"
}

// authFields are what a form is signed with.
var authFields = []string{"policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token"}

// postObject writes an object from a form. Who asks is whoever signed its policy, resolved here
// and once: what else the request says of that is refused.
func (rq *request) postObject() error {
	if rq.verified.Mechanism != sigv4.Anonymous {
		return refusef(codeInvalidArgument, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified, and a form has its own.")
	}
	f, err := rq.readForm()
	if err != nil {
		return err
	}
	if err := f.nameKey(); err != nil {
		return err
	}
	least, most, err := rq.authenticateForm(f)
	if err != nil {
		return err
	}
	rq.key = f.fields["key"]
	if err := rq.limit(); err != nil {
		return err
	}
	if err := rq.allowed("s3:PutObject", accessWrite, rq.bucket, rq.key); err != nil {
		return err
	}
	v, err := rq.putForm(f, least, most)
	if err != nil {
		return err
	}
	return rq.answerForm(f, v)
}

// authenticateForm resolves who asks by the policy of the form, and how many bytes the file may
// have. A form without any signature is nobody's: then the policy of the bucket decides.
func (rq *request) authenticateForm(f *form) (least, most int64, err error) {
	if !slices.ContainsFunc(authFields, func(name string) bool { _, there := f.fields[name]; return there }) {
		return 0, object.MaxPutSize, nil
	}
	var upload *sigv4.FormUpload
	verified, who, err := rq.s.authenticated(rq.ctx(), func(ctx context.Context) (*sigv4.Verified, error) {
		u, err := rq.s.verifier.VerifyForm(ctx, f.fields, rq.bucket)
		if err != nil {
			return nil, err
		}
		upload = u
		return &u.Verified, nil
	})
	if err != nil {
		return 0, 0, err
	}
	if who.key == nil || who.key.ID != verified.AccessKeyID {
		return 0, 0, errors.New("the policy of a form was verified with another key than that of who signed")
	}
	rq.verified, rq.who = verified, who
	if err := rq.hold(); err != nil {
		return 0, 0, err
	}
	f.signed = true
	most = min(upload.MaxSize, object.MaxPutSize)
	if bound := who.maxObject(); bound > 0 {
		most = min(most, bound)
	}
	return upload.MinSize, most, nil
}

// nameKey puts the name of the file where the fields ask for it, and checks the key.
func (f *form) nameKey() error {
	for name, value := range f.fields {
		if !slices.Contains(authFields, name) {
			f.fields[name] = strings.ReplaceAll(value, "${filename}", f.filename)
		}
	}
	key, ok := f.fields["key"]
	if !ok || key == "" {
		return refusef(codeInvalidArgument, "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.").
			with("ArgumentName", "key").with("ArgumentValue", "")
	}
	return checkKey(key)
}

// headers are the fields that say of the object what headers say of one that is put.
func (f *form) headers() (http.Header, error) {
	h := http.Header{}
	for _, name := range slices.Sorted(maps.Keys(f.fields)) {
		value := f.fields[name]
		switch {
		case name == "acl":
			h.Set("X-Amz-Acl", value)
		case name == "content-type", name == "cache-control", name == "content-disposition", name == "content-encoding", name == "content-language", name == "expires",
			strings.HasPrefix(name, "x-amz-") && !slices.Contains(authFields, name):
			h.Set(name, value)
		default:
			continue
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, invalidArgument(name, "", "The field %s is no value of a header.", name)
		}
	}
	if h.Get("X-Amz-Tagging") != "" {
		return nil, refusef(codeInvalidArgument, "The tags of a form are its field 'tagging'.")
	}
	return h, nil
}

// attributes is what the fields say of the object.
func (f *form) attributes() (http.Header, object.Attributes, error) {
	h, err := f.headers()
	if err != nil {
		return nil, object.Attributes{}, err
	}
	if err := refuseHeaders(h); err != nil {
		return nil, object.Attributes{}, err
	}
	a, err := attributesOf(h)
	if err != nil {
		return nil, a, err
	}
	if document, ok := f.fields["tagging"]; ok {
		n, err := xmltree.Parse([]byte(document), "Tagging")
		if err != nil {
			return nil, a, err
		}
		tags, err := tagsOfTree(n)
		if err != nil {
			return nil, a, err
		}
		if a.Tags, err = sortedTags(tags, object.MaxTags); err != nil {
			return nil, a, err
		}
	}
	return h, a, nil
}

// putForm stores the file, of least to most bytes, as an object.
func (rq *request) putForm(f *form, least, most int64) (*object.Version, error) {
	h, attributes, err := f.attributes()
	if err != nil {
		return nil, err
	}
	retention, hold, err := lockOf(h, rq.s.o.Now())
	if err != nil {
		return nil, err
	}
	if err := rq.mayAttach(attributes.Tags, retention, hold); err != nil {
		return nil, err
	}
	rules, err := rq.foresee(&object.Condition{}, locks(retention, hold))
	if err != nil {
		return nil, err
	}
	file, err := f.content(h, least, most)
	if err != nil {
		return nil, err
	}
	body, w, err := rq.store(-1, file)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	result, err := rq.change(&object.Change{Put: &object.Put{
		Bucket: rq.bucket, Key: rq.key, Attributes: attributes, ETag: file.etag(), Checksum: file.checksum(),
		Retention: retention, LegalHold: hold, Body: body,
	}})
	if err != nil {
		return nil, err
	}
	setVersion(rq.w.Header(), result.Bucket, result.Version.ID)
	setExpiry(rq.w.Header(), rules, result.Version)
	return result.Version, nil
}

type postResponse struct {
	XMLName  xml.Name `xml:"PostResponse"`
	Location text
	Bucket   string
	Key      text
	ETag     string
}

// answerForm answers the browser: by sending it on where a signed form asks for that, else with
// the status that it asks for.
func (rq *request) answerForm(f *form, v *object.Version) error {
	h := rq.w.Header()
	h.Set("Etag", quoted(v.ETag))
	setChecksum(h, &v.Checksum, 0)
	location := rq.location()
	if !rq.virtual {
		location = strings.TrimSuffix(location, "/") + "/" + sigv4.EncodePath(rq.key)
	} else {
		location += sigv4.EncodePath(rq.key)
	}
	if to := f.redirect(); to != nil {
		q := to.Query()
		q.Set("bucket", rq.bucket)
		q.Set("key", rq.key)
		q.Set("etag", quoted(v.ETag))
		to.RawQuery = q.Encode()
		h.Set("Location", to.String())
		return rq.empty(http.StatusSeeOther)
	}
	h.Set("Location", location)
	switch f.fields["success_action_status"] {
	case strconv.Itoa(http.StatusOK):
		return rq.empty(http.StatusOK)
	case strconv.Itoa(http.StatusCreated):
		return rq.xml(http.StatusCreated, &postResponse{Location: newText(location), Bucket: rq.bucket, Key: newText(rq.key), ETag: quoted(v.ETag)})
	}
	return rq.empty(http.StatusNoContent)
}

// redirect is where a form sends the browser on, nil where nowhere. One that nobody has signed
// sends nobody anywhere.
func (f *form) redirect() *url.URL {
	text, ok := f.fields["success_action_redirect"]
	if !ok {
		text = f.fields["redirect"]
	}
	if text == "" || !f.signed {
		return nil
	}
	to, err := url.Parse(text)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return nil
	}
	return to
}
