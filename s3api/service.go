package s3api

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"chainfire/object"
)

// serviceOperations are those on no bucket.
func serviceOperations() []operation {
	return []operation{
		{name: "ListBuckets", method: http.MethodGet, level: serviceLevel, action: "s3:ListAllMyBuckets", access: accessListed, handle: (*request).listBuckets},
	}
}

type listBucketsResult struct {
	XMLName           xml.Name `xml:"ListAllMyBucketsResult"`
	XMLNS             string   `xml:"xmlns,attr"`
	Owner             *owner
	Buckets           []bucketEntry `xml:"Buckets>Bucket"`
	Prefix            *text
	ContinuationToken string `xml:",omitempty"`
}

type bucketEntry struct {
	Name         string
	CreationDate string
	BucketRegion string
}

// listBuckets lists the buckets that the access key may read or write.
func (rq *request) listBuckets() error {
	limit, err := rq.number("max-buckets", object.MaxBuckets, 1)
	if err != nil {
		return err
	}
	if limit > object.MaxBuckets {
		return invalidArgument("max-buckets", rq.param("max-buckets"), "Argument max-buckets must be an integer between 1 and %d", object.MaxBuckets)
	}
	after, prefix := "", rq.param("prefix")
	if rq.query.Has("continuation-token") {
		if after, err = parseToken(rq.param("continuation-token")); err != nil {
			return err
		}
	}
	out := &listBucketsResult{XMLNS: namespace, Owner: theOwner(), Prefix: optional(prefix)}
	if region := rq.param("bucket-region"); region != "" && region != rq.s.o.Region {
		return rq.xml(http.StatusOK, out)
	}
	var more bool
	if out.Buckets, more, err = rq.visibleBuckets(prefix, after, limit); err != nil {
		return err
	}
	if more {
		out.ContinuationToken = tokenOf(out.Buckets[limit-1].Name)
	}
	return rq.xml(http.StatusOK, out)
}

// visibleBuckets are at most limit buckets after a name that the access key may read or write, and
// whether there are more.
func (rq *request) visibleBuckets(prefix, after string, limit int) (out []bucketEntry, more bool, err error) {
	view, done, err := rq.view()
	if err != nil {
		return nil, false, err
	}
	defer done()
	for {
		page, err := view.Buckets(prefix, after, object.MaxPage)
		if err != nil {
			return nil, false, err
		}
		for i := range page {
			b := &page[i]
			if !rq.who.granted(accessRead, b.Name) && !rq.who.granted(accessWrite, b.Name) {
				continue
			}
			if len(out) == limit {
				return out, true, nil
			}
			out = append(out, bucketEntry{Name: b.Name, CreationDate: timeOf(b.Created), BucketRegion: rq.s.o.Region})
		}
		if len(page) < object.MaxPage {
			return out, false, nil
		}
		after = page[len(page)-1].Name
	}
}

// foreign refuses a request that expects a bucket to be someone else's.
func (rq *request) foreign() error {
	for _, name := range []string{"X-Amz-Expected-Bucket-Owner", "X-Amz-Source-Expected-Bucket-Owner"} {
		text, err := one(rq.r.Header, name)
		if err != nil {
			return err
		}
		if text != "" && text != ownerID {
			return refuse(codeAccessDenied).because(errors.New(strings.ToLower(name) + " is not the owner of all buckets here"))
		}
	}
	return nil
}
