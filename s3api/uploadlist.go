package s3api

import (
	"encoding/xml"
	"net/http"
	"unicode/utf8"

	"chainfire/object"
	"chainfire/object/checksum"
	"chainfire/object/lifecycle"
)

type partsResult struct {
	XMLName              xml.Name `xml:"ListPartsResult"`
	XMLNS                string   `xml:"xmlns,attr"`
	Bucket               string
	Key                  text
	UploadID             string `xml:"UploadId"`
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	ChecksumAlgorithm    string `xml:",omitempty"`
	ChecksumType         string `xml:",omitempty"`
	Initiator            *owner
	Owner                *owner
	StorageClass         string
	Part                 []partEntry
}

type partEntry struct {
	PartNumber   int
	LastModified string
	ETag         string
	Size         int64
	checksums
}

// listParts answers the parts that an upload has.
func (rq *request) listParts() error {
	limit, err := rq.number("max-parts", object.MaxPage, 0)
	if err != nil {
		return err
	}
	after, err := rq.number("part-number-marker", 0, 0)
	if err != nil {
		return err
	}
	id, err := parseUpload(rq.param("uploadId"))
	if err != nil {
		return err
	}
	limit = min(limit, object.MaxPage)
	page, err := rq.parts(id, after, limit)
	if err != nil {
		return err
	}
	u := page.upload
	out := &partsResult{
		XMLNS: namespace, Bucket: rq.bucket, Key: newText(rq.key), UploadID: uploadText(u.ID),
		PartNumberMarker: after, MaxParts: limit, IsTruncated: page.more,
		Initiator: theOwner(), Owner: theOwner(), StorageClass: u.StorageClass,
	}
	if u.Checksum.Algorithm != checksum.None {
		out.ChecksumAlgorithm, out.ChecksumType = u.Checksum.Algorithm.String(), checksumType(&u.Checksum)
	}
	for i := range page.parts {
		p := &page.parts[i]
		out.Part = append(out.Part, partEntry{
			PartNumber: p.Number, LastModified: timeOf(p.Modified), ETag: quoted(p.ETag), Size: p.Size, checksums: partChecksums(&p.Checksum),
		})
		out.NextPartNumberMarker = p.Number
	}
	setAbortDate(rq.w.Header(), page.rules, rq.key, u.Initiated)
	return rq.xml(http.StatusOK, out)
}

// partsPage is a page of the parts of an upload, and the rules of lifecycle of its bucket.
type partsPage struct {
	upload *object.Upload
	parts  []object.Part
	more   bool
	rules  *lifecycle.Config
}

// parts reads a page of the parts of an upload, all of it in one view.
func (rq *request) parts(id uint64, after, limit int) (*partsPage, error) {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return nil, err
	}
	defer done()
	u, err := view.Upload(b, rq.key, id)
	if err != nil {
		return nil, err
	}
	page := &partsPage{upload: u, rules: rq.lifecycleOf(view, b)}
	page.parts, page.more, err = view.UploadParts(u, after, limit)
	return page, err
}

type uploadsResult struct {
	XMLName            xml.Name `xml:"ListMultipartUploadsResult"`
	XMLNS              string   `xml:"xmlns,attr"`
	Bucket             string
	KeyMarker          text
	UploadIDMarker     string `xml:"UploadIdMarker"`
	NextKeyMarker      *text
	NextUploadIDMarker string `xml:"NextUploadIdMarker,omitempty"`
	Prefix             text
	Delimiter          *text
	EncodingType       string `xml:",omitempty"`
	MaxUploads         int
	IsTruncated        bool
	Upload             []uploadEntry
	CommonPrefixes     []commonPrefix
}

type uploadEntry struct {
	Key               text
	UploadID          string `xml:"UploadId"`
	Initiator         *owner
	Owner             *owner
	StorageClass      string
	Initiated         string
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

// listUploads answers a page of the open uploads of a bucket.
func (rq *request) listUploads() error {
	l, err := rq.listingOf("max-uploads")
	if err != nil {
		return err
	}
	after := rq.param("key-marker")
	if len(after) > object.MaxKeyLen || !utf8.ValidString(after) {
		return invalidArgument("key-marker", "", "A marker is UTF-8 of at most %d bytes.", object.MaxKeyLen)
	}
	r := object.ListRequest{Prefix: l.prefix, Delimiter: l.delimiter, After: after, Limit: l.limit}
	// Without a key the upload does not count, as AWS has it.
	if marker := rq.param("upload-id-marker"); marker != "" && after != "" {
		if r.AfterVersion, err = parseUpload(marker); err != nil {
			return invalidArgument("upload-id-marker", marker, "Invalid uploadId marker")
		}
	}
	page, err := rq.uploadsPage(r)
	if err != nil {
		return err
	}
	out := &uploadsResult{
		XMLNS: namespace, Bucket: rq.bucket, KeyMarker: l.text(after), UploadIDMarker: rq.param("upload-id-marker"),
		Prefix: l.text(l.prefix), Delimiter: l.optional(l.delimiter), EncodingType: l.encoding(),
		MaxUploads: l.limit, IsTruncated: page.More, CommonPrefixes: l.prefixes(page.Prefixes),
	}
	if page.More {
		out.NextKeyMarker = l.optional(page.Next)
		if page.NextUpload != 0 {
			out.NextUploadIDMarker = uploadText(page.NextUpload)
		}
	}
	for i := range page.Uploads {
		out.Upload = append(out.Upload, l.upload(&page.Uploads[i]))
	}
	return rq.xml(http.StatusOK, out)
}

func (l *listing) upload(u *object.Upload) uploadEntry {
	e := uploadEntry{
		Key: l.text(u.Key), UploadID: uploadText(u.ID), Initiator: theOwner(), Owner: theOwner(),
		StorageClass: u.StorageClass, Initiated: timeOf(u.Initiated),
	}
	if u.Checksum.Algorithm != checksum.None {
		e.ChecksumAlgorithm, e.ChecksumType = u.Checksum.Algorithm.String(), checksumType(&u.Checksum)
	}
	return e
}

func (rq *request) uploadsPage(r object.ListRequest) (*object.UploadsResult, error) {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return nil, err
	}
	defer done()
	return view.Uploads(rq.ctx(), b, r)
}
