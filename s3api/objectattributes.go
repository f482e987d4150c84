package s3api

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"

	"chainfire/object"
)

// attributeOperations is GetObjectAttributes.
func attributeOperations() []operation {
	return []operation{
		{name: "GetObjectAttributes", method: http.MethodGet, level: objectLevel, query: []string{"attributes"}, action: "s3:GetObjectAttributes", access: accessRead, handle: (*request).objectAttributes},
	}
}

// attributeNames are what can be asked for of an object.
var attributeNames = []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}

type attributesDocument struct {
	XMLName      xml.Name `xml:"GetObjectAttributesResponse"`
	XMLNS        string   `xml:"xmlns,attr"`
	ETag         string   `xml:",omitempty"`
	Checksum     *checksums
	ObjectParts  *objectParts
	StorageClass string `xml:",omitempty"`
	ObjectSize   *int64
}

type objectParts struct {
	PartsCount           int
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	Part                 []objectPart
}

type objectPart struct {
	PartNumber int
	Size       int64
	checksums
}

// objectAttributes says what is asked for of an object, and nothing of its bytes.
func (rq *request) objectAttributes() error {
	wanted, err := attributesWanted(rq.r.Header)
	if err != nil {
		return err
	}
	id, err := rq.versionFor("s3:GetObjectVersionAttributes", accessRead)
	if err != nil {
		return err
	}
	reading := "s3:GetObject"
	if id != nil {
		reading = "s3:GetObjectVersion"
	}
	if err := rq.allowed(reading, accessRead, rq.bucket, rq.key); err != nil {
		return err
	}
	d := &attributesDocument{XMLNS: namespace}
	b, v, err := rq.attendedWith(id, func(view *object.View, v *object.Version) (err error) {
		if wanted("ObjectParts") && v.Parts > 0 {
			d.ObjectParts, err = rq.partsOf(view, v)
		}
		return err
	})
	if err != nil {
		return rq.hidden(err, rq.bucket)
	}
	if wanted("ETag") {
		d.ETag = v.ETag
	}
	if wanted("Checksum") && len(v.Checksum.Value) > 0 {
		sums := checksumsOf(&v.Checksum, 0)
		d.Checksum = &sums
	}
	if wanted("StorageClass") {
		d.StorageClass = v.StorageClass
	}
	if wanted("ObjectSize") {
		d.ObjectSize = &v.Size
	}
	h := rq.w.Header()
	setVersion(h, b, v.ID)
	h.Set("Last-Modified", httpTime(v.Modified))
	return rq.xml(http.StatusOK, d)
}

// attributesWanted reads which attributes are asked for, at least one.
func attributesWanted(h http.Header) (func(string) bool, error) {
	var names []string
	for name := range strings.SplitSeq(strings.Join(h["X-Amz-Object-Attributes"], ","), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !slices.Contains(attributeNames, name) {
			return nil, invalidArgument("x-amz-object-attributes", name, "Invalid attribute name specified.")
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, refusef(codeInvalidRequest, "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	return func(name string) bool { return slices.Contains(names, name) }, nil
}

// partsOf is the page of parts that is asked for of a version that was uploaded in parts.
func (rq *request) partsOf(view *object.View, v *object.Version) (*objectParts, error) {
	h := rq.r.Header
	out := &objectParts{PartsCount: v.Parts}
	var err error
	if out.MaxParts, err = headerNumber(h, "X-Amz-Max-Parts", object.MaxPage); err != nil {
		return nil, err
	}
	out.MaxParts = min(out.MaxParts, object.MaxPage)
	if out.PartNumberMarker, err = headerNumber(h, "X-Amz-Part-Number-Marker", 0); err != nil {
		return nil, err
	}
	parts, err := view.Parts(v)
	if err != nil {
		return nil, err
	}
	for i := range parts {
		p := &parts[i]
		if p.Number <= out.PartNumberMarker {
			continue
		}
		if len(out.Part) == out.MaxParts {
			out.IsTruncated = true
			break
		}
		out.Part = append(out.Part, objectPart{PartNumber: p.Number, Size: p.Size, checksums: partChecksums(&p.Checksum)})
		out.NextPartNumberMarker = p.Number
	}
	return out, nil
}

// partChecksums are the elements of the checksum of a part, which has no type.
func partChecksums(c *object.Checksum) checksums {
	sums := checksumsOf(c, 0)
	sums.ChecksumType = ""
	return sums
}

// headerNumber is a header that is a number from 0 on.
func headerNumber(h http.Header, name string, otherwise int) (int, error) {
	text, err := one(h, name)
	if err != nil || text == "" {
		return otherwise, err
	}
	n, ok := digits(text)
	if !ok || n > 1<<31-1 {
		return 0, invalidArgument(strings.ToLower(name), text, "Argument %s must be an integer between 0 and 2147483647", strings.ToLower(name))
	}
	return int(n), nil
}
