package s3api

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"chainfire/object"
	"chainfire/object/checksum"
	"chainfire/sigv4"
)

// ownerID is the owner of all buckets and objects, as S3 has one: the cluster.
const ownerID = "8c2f4a6e1d0b3957f8a1c4e7b2d5093f6e9c1a4b7d0e3f628591c4d7a0b3e6f9"

// owner is who owns something.
type owner struct {
	ID          string
	DisplayName string
}

func theOwner() *owner { return &owner{ID: ownerID, DisplayName: "chainfire"} }

// listing is what all listings of keys have in common: how the request asks for a page, and how
// what it lists is written.
type listing struct {
	prefix, delimiter string
	limit             int
	// encode writes keys percent-encoded, which every client can read.
	encode bool
}

// listingOf reads what the listings have in common from the query.
func (rq *request) listingOf(limitName string) (l listing, err error) {
	l.prefix, l.delimiter = rq.param("prefix"), rq.param("delimiter")
	for _, s := range []string{l.prefix, l.delimiter} {
		if len(s) > object.MaxKeyLen || !utf8.ValidString(s) {
			return l, invalidArgument("prefix", "", "A prefix or delimiter is UTF-8 of at most %d bytes.", object.MaxKeyLen)
		}
	}
	if l.limit, err = rq.number(limitName, object.MaxPage, 0); err != nil {
		return l, err
	}
	l.limit = min(l.limit, object.MaxPage)
	switch e := rq.param("encoding-type"); strings.ToLower(e) {
	case "":
	case "url":
		l.encode = true
	default:
		return l, invalidArgument("encoding-type", e, "Invalid Encoding Method specified in Request")
	}
	return l, nil
}

// number is a parameter that is a number from least to the largest of 31 bits.
func (rq *request) number(name string, otherwise, least int) (int, error) {
	text := rq.param(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < int64(least) {
		return 0, invalidArgument(name, text, "Argument %s must be an integer between %d and 2147483647", name, least)
	}
	return int(n), nil
}

// text is a key, or what keys begin with, as this listing writes it.
func (l *listing) text(s string) text {
	if l.encode {
		return text{sigv4.EncodePath(s)}
	}
	return newText(s)
}

func (l *listing) optional(s string) *text {
	if s == "" {
		return nil
	}
	t := l.text(s)
	return &t
}

func (l *listing) encoding() string {
	if l.encode {
		return "url"
	}
	return ""
}

func (l *listing) prefixes(list []string) (out []commonPrefix) {
	for _, p := range list {
		out = append(out, commonPrefix{l.text(p)})
	}
	return out
}

type commonPrefix struct{ Prefix text }

// entry is an object in a listing.
type entry struct {
	Key               text
	LastModified      string
	ETag              string
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
	Size              int64
	StorageClass      string
	Owner             *owner `xml:",omitempty"`
}

func (l *listing) entry(v *object.Version, who *owner) entry {
	e := entry{
		Key: l.text(v.Key), LastModified: timeOf(v.Modified), ETag: quoted(v.ETag), Size: v.Size,
		StorageClass: v.StorageClass, Owner: who,
	}
	if v.Checksum.Algorithm != checksum.None {
		e.ChecksumAlgorithm, e.ChecksumType = v.Checksum.Algorithm.String(), checksumType(&v.Checksum)
	}
	return e
}

// page reads a page of the bucket's keys. A page of nothing is not asked for.
func (rq *request) page(l *listing, r object.ListRequest) (*object.ListResult, error) {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return nil, err
	}
	defer done()
	if l.limit == 0 {
		return &object.ListResult{}, nil
	}
	return listPage(rq.ctx(), view, b, l, r)
}

func listPage(ctx context.Context, view *object.View, b *object.Bucket, l *listing, r object.ListRequest) (*object.ListResult, error) {
	r.Prefix, r.Delimiter, r.Limit = l.prefix, l.delimiter, l.limit
	return view.List(ctx, b, r)
}

// listV1 is the answer to ListObjects.
type listV1 struct {
	XMLName        xml.Name `xml:"ListBucketResult"`
	XMLNS          string   `xml:"xmlns,attr"`
	Name           string
	Prefix         text
	Marker         text
	NextMarker     *text
	Delimiter      *text
	MaxKeys        int
	EncodingType   string `xml:",omitempty"`
	IsTruncated    bool
	Contents       []entry
	CommonPrefixes []commonPrefix
}

// listObjects answers the first version of the listing.
func (rq *request) listObjects() error {
	l, err := rq.listingOf("max-keys")
	if err != nil {
		return err
	}
	marker := rq.param("marker")
	page, err := rq.page(&l, object.ListRequest{After: marker})
	if err != nil {
		return err
	}
	out := &listV1{
		XMLNS: namespace, Name: rq.bucket, Prefix: l.text(l.prefix), Marker: l.text(marker),
		Delimiter: l.optional(l.delimiter), MaxKeys: l.limit, EncodingType: l.encoding(),
		IsTruncated: page.More, CommonPrefixes: l.prefixes(page.Prefixes),
	}
	if page.More {
		out.NextMarker = l.optional(page.Next)
	}
	for i := range page.Entries {
		out.Contents = append(out.Contents, l.entry(&page.Entries[i], theOwner()))
	}
	return rq.xml(http.StatusOK, out)
}

// listV2 is the answer to ListObjectsV2.
type listV2 struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	XMLNS                 string   `xml:"xmlns,attr"`
	Name                  string
	Prefix                text
	StartAfter            *text
	ContinuationToken     string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	KeyCount              int
	MaxKeys               int
	Delimiter             *text
	EncodingType          string `xml:",omitempty"`
	IsTruncated           bool
	Contents              []entry
	CommonPrefixes        []commonPrefix
}

// listObjectsV2 answers the second version of the listing.
func (rq *request) listObjectsV2() error {
	l, err := rq.listingOf("max-keys")
	if err != nil {
		return err
	}
	after, token := rq.param("start-after"), rq.param("continuation-token")
	start := after
	if rq.query.Has("continuation-token") {
		if start, err = parseToken(token); err != nil {
			return err
		}
	}
	page, err := rq.page(&l, object.ListRequest{After: start})
	if err != nil {
		return err
	}
	out := &listV2{
		XMLNS: namespace, Name: rq.bucket, Prefix: l.text(l.prefix), StartAfter: l.optional(after),
		ContinuationToken: token, KeyCount: len(page.Entries) + len(page.Prefixes), MaxKeys: l.limit,
		Delimiter: l.optional(l.delimiter), EncodingType: l.encoding(), IsTruncated: page.More,
		CommonPrefixes: l.prefixes(page.Prefixes),
	}
	if page.More {
		out.NextContinuationToken = tokenOf(page.Next)
	}
	var who *owner
	if strings.EqualFold(rq.param("fetch-owner"), "true") {
		who = theOwner()
	}
	for i := range page.Entries {
		out.Contents = append(out.Contents, l.entry(&page.Entries[i], who))
	}
	return rq.xml(http.StatusOK, out)
}

// tokenOf is the token that continues a listing after an entry. It is opaque, and good on every
// member: it holds nothing but where to go on.
func tokenOf(after string) string { return base64.RawURLEncoding.EncodeToString([]byte("1" + after)) }

func parseToken(token string) (after string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	after, ok := strings.CutPrefix(string(raw), "1")
	if err != nil || !ok || len(after) > object.MaxKeyLen || !utf8.ValidString(after) {
		return "", invalidArgument("continuation-token", token, "The continuation token provided is incorrect")
	}
	return after, nil
}
