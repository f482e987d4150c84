package s3api

import (
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"chainfire/object"
)

// defaultType is the content type of what comes without one.
const defaultType = "binary/octet-stream"

const (
	metaPrefix      = "X-Amz-Meta-"
	standardStorage = "STANDARD"
)

// storageClasses are those that are accepted, and given back: all that AWS reads at once. The
// bytes lie where all lie.
var storageClasses = []string{
	standardStorage, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR",
}

// contentHeaders are the headers of an object that are given back as they came, but for its
// content type.
var contentHeaders = []struct {
	name string
	at   func(*object.Attributes) *string
}{
	{"Cache-Control", func(a *object.Attributes) *string { return &a.CacheControl }},
	{"Content-Disposition", func(a *object.Attributes) *string { return &a.ContentDisposition }},
	{"Content-Encoding", func(a *object.Attributes) *string { return &a.ContentEncoding }},
	{"Content-Language", func(a *object.Attributes) *string { return &a.ContentLanguage }},
	{"Expires", func(a *object.Attributes) *string { return &a.Expires }},
	{"X-Amz-Website-Redirect-Location", func(a *object.Attributes) *string { return &a.WebsiteRedirect }},
}

// attributesOf reads what a writer says of an object in its headers.
func attributesOf(h http.Header) (a object.Attributes, err error) {
	if a.ContentType, err = bounded(h, "Content-Type"); err != nil {
		return a, err
	}
	if a.ContentType == "" {
		a.ContentType = defaultType
	}
	for _, c := range contentHeaders {
		if *c.at(&a), err = bounded(h, c.name); err != nil {
			return a, err
		}
	}
	a.ContentEncoding = withoutChunked(a.ContentEncoding)
	if r := a.WebsiteRedirect; r != "" && !strings.HasPrefix(r, "/") && !strings.HasPrefix(r, "http://") && !strings.HasPrefix(r, "https://") {
		return a, refusef(codeInvalidRequest, "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.")
	}
	if a.StorageClass, err = one(h, "X-Amz-Storage-Class"); err != nil {
		return a, err
	}
	if a.StorageClass == "" {
		a.StorageClass = standardStorage
	}
	if !slices.Contains(storageClasses, a.StorageClass) {
		return a, refuse(codeInvalidStorageClass).with("StorageClassRequested", a.StorageClass)
	}
	if a.Meta, err = metaOf(h); err != nil {
		return a, err
	}
	a.Tags, err = tagsOf(h)
	return a, err
}

// refuseHeaders refuses what a header asks for and is not there, by its name: to leave it out
// silently would be to do something else. serve holds each request to it, and a form its fields.
func refuseHeaders(h http.Header) error {
	for name := range h {
		switch {
		case strings.HasPrefix(name, "X-Amz-Server-Side-Encryption"),
			strings.HasPrefix(name, "X-Amz-Copy-Source-Server-Side-Encryption"),
			name == "X-Amz-Write-Offset-Bytes":
			return notImplemented("the header " + strings.ToLower(name))
		case strings.HasPrefix(name, "X-Amz-Grant-"):
			return refuse(codeACLNotSupported)
		}
	}
	switch h.Get("X-Amz-Acl") {
	case "", "private", "bucket-owner-full-control":
		return nil
	case "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "log-delivery-write":
		return refuse(codeACLNotSupported)
	}
	return invalidArgument("x-amz-acl", h.Get("X-Amz-Acl"), "The canned ACL is none that there is.")
}

// bounded is a header that is stored.
func bounded(h http.Header, name string) (string, error) {
	v := strings.Join(h[name], ", ")
	if len(v) > object.MaxHeader {
		return "", refuse(codeMetadataTooLarge).with("Size", decimal(len(v))).with("MaxSizeAllowed", decimal(object.MaxHeader))
	}
	if !utf8.ValidString(v) {
		return "", invalidArgument(strings.ToLower(name), "", "The header %s is not UTF-8.", strings.ToLower(name))
	}
	return v, nil
}

// withoutChunked is a Content-Encoding without aws-chunked, which is how the request came and
// not how the object is.
func withoutChunked(encoding string) string {
	if !strings.Contains(strings.ToLower(encoding), "aws-chunked") {
		return encoding
	}
	var kept []string
	for e := range strings.SplitSeq(encoding, ",") {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, ",")
}

// metaOf reads the user's metadata. Values that are encoded by RFC 2047 are stored decoded, and
// those that are not ASCII given back encoded, as S3 does.
func metaOf(h http.Header) ([]object.Pair, error) {
	var out []object.Pair
	size := 0
	for name, values := range h {
		rest, ok := strings.CutPrefix(name, metaPrefix)
		if !ok {
			continue
		}
		if rest == "" {
			return nil, invalidArgument(strings.ToLower(name), "", "A name of metadata is empty.")
		}
		value := strings.Join(values, ",")
		if strings.Contains(value, "=?") {
			if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
				value = decoded
			}
		}
		if !utf8.ValidString(value) {
			return nil, invalidArgument(strings.ToLower(name), "", "The value of the metadata is not UTF-8.")
		}
		out = append(out, object.Pair{Name: strings.ToLower(rest), Value: value})
		size += len(rest) + len(value)
	}
	if size > object.MaxMetadata {
		return nil, refuse(codeMetadataTooLarge).with("Size", decimal(size)).with("MaxSizeAllowed", decimal(object.MaxMetadata))
	}
	slices.SortFunc(out, func(a, b object.Pair) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// setAttributes says in an answer what an object's writer said.
func setAttributes(h http.Header, a *object.Attributes) {
	h.Set("Content-Type", a.ContentType)
	for _, c := range contentHeaders {
		if v := *c.at(a); v != "" {
			h.Set(c.name, v)
		}
	}
	if a.StorageClass != "" && a.StorageClass != standardStorage {
		h.Set("X-Amz-Storage-Class", a.StorageClass)
	}
	for _, m := range a.Meta {
		// In lower case, as S3 does: clients in Python give its writers their names back as they
		// stand here.
		h[strings.ToLower(metaPrefix)+m.Name] = []string{mime.BEncoding.Encode("UTF-8", m.Value)}
	}
	if len(a.Tags) > 0 {
		h.Set("X-Amz-Tagging-Count", decimal(len(a.Tags)))
	}
}

// lockOf reads the retention and the legal hold that a writer asks for.
func (rq *request) lockOf() (r object.Retention, hold bool, err error) {
	return lockOf(rq.r.Header, rq.s.o.Now())
}

func lockOf(h http.Header, now time.Time) (r object.Retention, hold bool, err error) {
	mode, until, legal := h.Get("X-Amz-Object-Lock-Mode"), h.Get("X-Amz-Object-Lock-Retain-Until-Date"), h.Get("X-Amz-Object-Lock-Legal-Hold")
	if (mode == "") != (until == "") {
		return r, false, invalidArgument("x-amz-object-lock-mode", mode, "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	if mode != "" {
		if r, err = retentionOf(mode, until, now); err != nil {
			return r, false, err
		}
	}
	switch legal {
	case "", "OFF":
	case "ON":
		hold = true
	default:
		return r, false, invalidArgument("x-amz-object-lock-legal-hold", legal, "Legal Hold must be either of 'ON' or 'OFF'")
	}
	return r, hold, nil
}

// retentionOf reads a retention, which must end in the future.
func retentionOf(mode, until string, now time.Time) (r object.Retention, err error) {
	if r.Mode = lockMode(mode); r.Mode == object.LockNone {
		return r, invalidArgument("x-amz-object-lock-mode", mode, "Unknown wormMode directive.")
	}
	at, err := time.Parse(time.RFC3339, until)
	if err != nil {
		return r, invalidArgument("x-amz-object-lock-retain-until-date", until, "The retain until date must be provided in ISO 8601 format")
	}
	if !at.After(now) {
		return r, invalidArgument("x-amz-object-lock-retain-until-date", until, "The retain until date must be in the future!")
	}
	r.Until = at.UnixMilli()
	return r, nil
}

// lockText is the mode of a retention as S3 writes it.
func lockText(m object.LockMode) string {
	return [...]string{object.LockNone: "", object.LockGovernance: "GOVERNANCE", object.LockCompliance: "COMPLIANCE"}[m]
}

// setLock says in an answer what keeps a version.
func setLock(h http.Header, v *object.Version) {
	if v.Retention.Mode != object.LockNone {
		h.Set("X-Amz-Object-Lock-Mode", lockText(v.Retention.Mode))
		h.Set("X-Amz-Object-Lock-Retain-Until-Date", timeOf(v.Retention.Until))
	}
	if v.LegalHold {
		h.Set("X-Amz-Object-Lock-Legal-Hold", "ON")
	}
}
