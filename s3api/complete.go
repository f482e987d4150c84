package s3api

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"chainfire/internal/xmltree"
	"chainfire/object"
	"chainfire/object/checksum"
	"chainfire/object/lifecycle"
)

// maxCompleteDocument bounds the document that names the parts: MaxParts of them, each with an
// ETag and a SHA-256, take less.
const maxCompleteDocument = 2 << 20

type completeResult struct {
	XMLName  xml.Name `xml:"CompleteMultipartUploadResult"`
	XMLNS    string   `xml:"xmlns,attr"`
	Location text
	Bucket   string
	Key      text
	ETag     string
	checksums
}

// completeUpload makes an upload an object.
func (rq *request) completeUpload() error {
	id, err := parseUpload(rq.param("uploadId"))
	if err != nil {
		return err
	}
	h := rq.r.Header
	c := &object.Complete{Bucket: rq.bucket, Key: rq.key, Upload: id}
	if c.If, err = writeCondition(h); err != nil {
		return err
	}
	if err := rq.mayCompare(&c.If); err != nil {
		return err
	}
	if c.Size, err = objectSize(h); err != nil {
		return err
	}
	body, err := rq.unsummed(maxCompleteDocument)
	if err != nil {
		return err
	}
	if c.Parts, err = completeParts(body); err != nil {
		return err
	}
	asked, rules, err := rq.completing(c)
	if err != nil {
		return err
	}
	if c.Checksum, err = wholeChecksum(h, asked, len(c.Parts)); err != nil {
		return err
	}
	result, err := rq.change(&object.Change{Complete: c})
	if errors.Is(err, object.ErrBadDigest) {
		return refusef(codeBadDigest, "The %s you specified did not match the calculated checksum.", c.Checksum.Algorithm).because(err)
	}
	if err != nil {
		return err
	}
	v := result.Version
	setVersion(rq.w.Header(), result.Bucket, v.ID)
	setExpiry(rq.w.Header(), rules, v)
	return rq.xml(http.StatusOK, &completeResult{
		XMLNS: namespace, Location: newText(rq.location()), Bucket: rq.bucket, Key: newText(rq.key),
		ETag: quoted(v.ETag), checksums: checksumsOf(&v.Checksum, v.Parts),
	})
}

// completing reads which checksum the upload asked for and the rules of lifecycle of its bucket, and
// holds the parts to how large an object who asks may write; an upload that was completed already
// asks for nothing any more, and what it became may not be the newest.
func (rq *request) completing(c *object.Complete) (object.Checksum, *lifecycle.Config, error) {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return object.Checksum{}, nil, err
	}
	defer done()
	u, err := view.Upload(b, rq.key, c.Upload)
	switch {
	case errors.Is(err, object.ErrNoSuchUpload):
		return object.Checksum{}, nil, nil
	case err != nil:
		return object.Checksum{}, nil, err
	}
	return u.Checksum, rq.lifecycleOf(view, b), rq.boundParts(view, u, c)
}

// boundParts refuses parts that together are more than who asks may write, and fixes their size:
// should they be others by the time that the upload is completed, it is refused then.
func (rq *request) boundParts(view *object.View, u *object.Upload, c *object.Complete) error {
	most := rq.who.maxObject()
	if most <= 0 {
		return nil
	}
	named := make(map[int]bool, len(c.Parts))
	for i := range c.Parts {
		named[c.Parts[i].Number] = true
	}
	size := int64(0)
	for after, more := 0, true; more; {
		var page []object.Part
		var err error
		if page, more, err = view.UploadParts(u, after, object.MaxPage); err != nil {
			return err
		}
		for i := range page {
			if after = page[i].Number; named[after] {
				size += page[i].Size
			}
		}
	}
	if size > most {
		return refuse(codeEntityTooLarge).with("ProposedSize", strconv.FormatInt(size, 10)).with("MaxSizeAllowed", strconv.FormatInt(most, 10))
	}
	if c.Size == nil {
		c.Size = &size
	}
	return nil
}

// location is where the client reaches the request's object.
func (rq *request) location() string {
	scheme := "http://"
	if rq.secure() {
		scheme = "https://"
	}
	return scheme + rq.s.hostOf(rq.r) + rq.r.URL.EscapedPath()
}

// unsummed is the request's body, of which the headers with checksums say nothing: in the
// completion of an upload they are of the object.
func (rq *request) unsummed(limit int64) ([]byte, error) {
	h := rq.r.Header.Clone()
	for a := checksum.CRC32; a <= checksum.Last; a++ {
		h.Del(checksumHeader(a))
	}
	d, err := rq.digestsIn(h)
	if err != nil {
		return nil, err
	}
	b, err := rq.smallBy(limit, d)
	if err == nil && len(b) == 0 {
		err = refuse(codeMissingRequestBody)
	}
	return b, err
}

// objectSize is the size that the whole object must have, nil where that is not said.
func objectSize(h http.Header) (*int64, error) {
	text, err := one(h, "X-Amz-Mp-Object-Size")
	if err != nil || text == "" {
		return nil, err
	}
	n, ok := digits(text)
	if !ok || n > object.MaxObjectSize {
		return nil, invalidArgument("x-amz-mp-object-size", text, "The value is no size of an object.")
	}
	return &n, nil
}

// completeParts reads which parts the object is made of.
func completeParts(document []byte) ([]object.CompletePart, error) {
	n, err := xmltree.Parse(document, "CompleteMultipartUpload")
	if err != nil {
		return nil, err
	}
	list := n.All("Part")
	if err := n.Done(); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > object.MaxParts {
		return nil, refusef(codeMalformedXML, "An upload is completed with 1 to %d parts, not %d.", object.MaxParts, len(list))
	}
	parts := make([]object.CompletePart, len(list))
	for i, part := range list {
		if parts[i], err = completePart(part); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func completePart(n *xmltree.Node) (p object.CompletePart, err error) {
	number, found, err := n.Int("PartNumber")
	if err != nil {
		return p, err
	}
	if !found {
		return p, refuse(codeMalformedXML)
	}
	if number < 1 || number > object.MaxParts {
		return p, refusef(codeInvalidArgument, "PartNumber must be an integer between 1 and %d, inclusive", object.MaxParts)
	}
	p.Number = int(number)
	etag, err := n.Need("ETag")
	if err != nil {
		return p, err
	}
	p.ETag = strings.ToLower(unquoted(etag))
	for a := checksum.CRC32; a <= checksum.Last; a++ {
		value, found, err := n.String("Checksum" + a.String())
		if err != nil {
			return p, err
		}
		if !found {
			continue
		}
		if p.Checksum.Algorithm != checksum.None {
			return p, refusef(codeInvalidRequest, "A part has more than one checksum.")
		}
		sum, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil || len(sum) != a.Size() {
			return p, refuse(codeInvalidPart).with("PartNumber", decimal(p.Number))
		}
		p.Checksum = object.Checksum{Algorithm: a, Value: sum}
	}
	return p, n.Done()
}

// wholeChecksum is the checksum that the object must have, as its writer says, or none. Where
// its type is not said it is the one that the upload asked for.
func wholeChecksum(h http.Header, asked object.Checksum, parts int) (c object.Checksum, err error) {
	kind, err := one(h, "X-Amz-Checksum-Type")
	if err != nil {
		return c, err
	}
	for a := checksum.CRC32; a <= checksum.Last; a++ {
		text, err := one(h, checksumHeader(a))
		if err != nil {
			return c, err
		}
		if text == "" {
			continue
		}
		if c.Algorithm != checksum.None {
			return c, refusef(codeInvalidRequest, "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		invalid := refusef(codeInvalidRequest, "Value for %s header is invalid.", strings.ToLower(checksumHeader(a)))
		value, count, composite := strings.Cut(text, "-")
		if composite && count != decimal(parts) {
			return c, invalid
		}
		sum, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil || len(sum) != a.Size() {
			return c, invalid
		}
		switch {
		case kind != "":
		case composite:
			kind = "COMPOSITE"
		case a == asked.Algorithm:
			kind = checksumType(&asked)
		}
		c = object.Checksum{Algorithm: a, Value: sum}
		if c.Type, err = askedType(a, kind); err != nil {
			return c, err
		}
	}
	return c, nil
}
