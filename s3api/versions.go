package s3api

import (
	"encoding/xml"
	"errors"
	"net/http"

	"chainfire/object"
)

// listVersionsResult is the answer to ListObjectVersions.
type listVersionsResult struct {
	XMLName             xml.Name `xml:"ListVersionsResult"`
	XMLNS               string   `xml:"xmlns,attr"`
	Name                string
	Prefix              text
	KeyMarker           text
	VersionIDMarker     text   `xml:"VersionIdMarker"`
	NextKeyMarker       *text  `xml:",omitempty"`
	NextVersionIDMarker string `xml:"NextVersionIdMarker,omitempty"`
	Delimiter           *text
	MaxKeys             int
	EncodingType        string `xml:",omitempty"`
	IsTruncated         bool
	// Versions are versions and delete markers in the order of the listing, as the latter
	// have another name.
	Versions       []versionEntry
	CommonPrefixes []commonPrefix
}

type versionEntry struct {
	XMLName           xml.Name
	Key               text
	VersionID         string `xml:"VersionId"`
	IsLatest          bool
	LastModified      string
	ETag              string `xml:",omitempty"`
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
	Size              *int64 `xml:",omitempty"`
	StorageClass      string `xml:",omitempty"`
	Owner             *owner
}

// listVersions lists versions and delete markers, those of a key newest first.
func (rq *request) listVersions() error {
	l, err := rq.listingOf("max-keys")
	if err != nil {
		return err
	}
	marker, versionMarker := rq.param("key-marker"), rq.param("version-id-marker")
	if versionMarker != "" && marker == "" {
		return invalidArgument("version-id-marker", versionMarker, "A version-id marker cannot be specified without a key marker.")
	}
	page, err := rq.versionsPage(&l, marker, versionMarker)
	if err != nil {
		return err
	}
	out := &listVersionsResult{
		XMLNS: namespace, Name: rq.bucket, Prefix: l.text(l.prefix), KeyMarker: l.text(marker),
		VersionIDMarker: newText(versionMarker), Delimiter: l.optional(l.delimiter), MaxKeys: l.limit,
		EncodingType: l.encoding(), IsTruncated: page.More, CommonPrefixes: l.prefixes(page.Prefixes),
	}
	if page.More {
		out.NextKeyMarker = l.optional(page.Next)
		if page.NextVersion != 0 {
			// The null version's Seq does as well, and stays right when another becomes it.
			out.NextVersionIDMarker = versionText(object.VersionID(page.NextVersion))
		}
	}
	for i := range page.Entries {
		out.Versions = append(out.Versions, l.version(&page.Entries[i]))
	}
	return rq.xml(http.StatusOK, out)
}

// versionsPage reads a page of versions. A page of nothing is not asked for.
func (rq *request) versionsPage(l *listing, marker, versionMarker string) (*object.ListResult, error) {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return nil, err
	}
	defer done()
	after, err := seqOf(view, b, marker, versionMarker)
	if err != nil {
		return nil, err
	}
	if l.limit == 0 {
		return &object.ListResult{}, nil
	}
	return listPage(rq.ctx(), view, b, l, object.ListRequest{After: marker, AfterVersion: after, Versions: true})
}

// seqOf is where a listing of versions goes on: a version's id is its Seq, but for the null one.
func seqOf(view *object.View, b *object.Bucket, key, marker string) (uint64, error) {
	if marker == "" {
		return 0, nil
	}
	id, err := parseVersion(marker)
	if err != nil {
		return 0, err
	}
	if id != object.Null {
		return uint64(id), nil
	}
	v, err := view.Version(b, key, &id)
	if errors.Is(err, object.ErrNoSuchKey) || errors.Is(err, object.ErrNoSuchVersion) {
		return 0, invalidArgument("version-id-marker", marker, "Invalid version id specified")
	}
	if err != nil {
		return 0, err
	}
	return v.Seq, nil
}

func (l *listing) version(v *object.Version) versionEntry {
	e := versionEntry{
		XMLName: xml.Name{Local: "Version"}, Key: l.text(v.Key), VersionID: versionText(v.ID), IsLatest: v.Latest,
		LastModified: timeOf(v.Modified), Owner: theOwner(),
	}
	if v.DeleteMarker {
		e.XMLName.Local = "DeleteMarker"
		return e
	}
	plain := l.entry(v, nil)
	e.ETag, e.ChecksumAlgorithm, e.ChecksumType = plain.ETag, plain.ChecksumAlgorithm, plain.ChecksumType
	e.Size, e.StorageClass = &v.Size, plain.StorageClass
	return e
}
