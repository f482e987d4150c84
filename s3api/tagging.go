package s3api

import (
	"encoding/xml"
	"net/http"

	"chainfire/internal/xmltree"
	"chainfire/object"
)

// maxBucketTags bounds the tags of a bucket.
const maxBucketTags = 50

// taggingDocument is the tags of a bucket or an object.
type taggingDocument struct {
	XMLName xml.Name `xml:"Tagging"`
	XMLNS   string   `xml:"xmlns,attr"`
	TagSet  struct{ Tag []tagElement }
}

type tagElement struct{ Key, Value text }

func taggingOf(tags []object.Pair) *taggingDocument {
	d := &taggingDocument{XMLNS: namespace}
	for _, t := range tags {
		d.TagSet.Tag = append(d.TagSet.Tag, tagElement{newText(t.Name), newText(t.Value)})
	}
	return d
}

// tagsOfTree reads the tags of a document.
func tagsOfTree(n *xmltree.Node) ([]object.Pair, error) {
	set, err := n.One("TagSet")
	if err != nil {
		return nil, err
	}
	if err := n.Done(); err != nil {
		return nil, err
	}
	if set == nil {
		return nil, refuse(codeMalformedXML)
	}
	tags := []object.Pair{}
	for _, tag := range set.All("Tag") {
		var p object.Pair
		if p.Name, err = tag.Need("Key"); err != nil {
			return nil, err
		}
		if p.Value, err = tag.Need("Value"); err != nil {
			return nil, err
		}
		if err := tag.Done(); err != nil {
			return nil, err
		}
		tags = append(tags, p)
	}
	return tags, set.Done()
}

// tagging reads the tags that a request brings.
func (rq *request) tagging(most int) ([]object.Pair, error) {
	n, err := rq.tree("Tagging")
	if err != nil {
		return nil, err
	}
	tags, err := tagsOfTree(n)
	if err != nil {
		return nil, err
	}
	return sortedTags(tags, most)
}

func (rq *request) putBucketTagging() error {
	tags, err := rq.tagging(maxBucketTags)
	if err != nil {
		return err
	}
	if err := rq.setXML(configTagging, taggingOf(tags)); err != nil {
		return err
	}
	return rq.empty(http.StatusNoContent)
}

// taggingOperations are those on the tags of objects.
func taggingOperations() []operation {
	query := []string{"tagging"}
	return []operation{
		{name: "GetObjectTagging", method: http.MethodGet, level: objectLevel, query: query, action: "s3:GetObjectTagging", access: accessRead, handle: (*request).getTagging},
		{name: "PutObjectTagging", method: http.MethodPut, level: objectLevel, query: query, action: "s3:PutObjectTagging", access: accessWrite, handle: (*request).putTagging},
		{name: "DeleteObjectTagging", method: http.MethodDelete, level: objectLevel, query: query, action: "s3:DeleteObjectTagging", access: accessWrite, handle: bodiless((*request).deleteTagging)},
	}
}

// versionFor is the version that a request is about; where it names one, who asks must be
// allowed an action on versions too.
func (rq *request) versionFor(action string, a access) (*object.VersionID, error) {
	id, err := rq.versionParam()
	if err != nil || id == nil {
		return nil, err
	}
	return id, rq.allowed(action, a, rq.bucket, rq.key)
}

// attended reads the version that a request is about without its bytes. Delete markers are
// refused.
func (rq *request) attended(id *object.VersionID) (*object.Bucket, *object.Version, error) {
	return rq.attendedWith(id, func(*object.View, *object.Version) error { return nil })
}

// attendedWith is attended, and reads more of the version in the same view.
func (rq *request) attendedWith(id *object.VersionID, read func(*object.View, *object.Version) error) (*object.Bucket, *object.Version, error) {
	view, b, done, err := rq.bucketView()
	if err != nil {
		return nil, nil, err
	}
	defer done()
	v, err := versionOf(view, b, rq.key, id)
	if err == nil {
		err = read(view, v)
	}
	if err != nil {
		return nil, nil, err
	}
	return b, v, nil
}

func (rq *request) getTagging() error {
	id, err := rq.versionFor("s3:GetObjectVersionTagging", accessRead)
	if err != nil {
		return err
	}
	b, v, err := rq.attended(id)
	if err != nil {
		return rq.hidden(err, rq.bucket)
	}
	setVersion(rq.w.Header(), b, v.ID)
	return rq.xml(http.StatusOK, taggingOf(v.Tags))
}

func (rq *request) putTagging() error {
	id, err := rq.versionFor("s3:PutObjectVersionTagging", accessWrite)
	if err != nil {
		return err
	}
	tags, err := rq.tagging(object.MaxTags)
	if err != nil {
		return err
	}
	return rq.setObject(&object.SetObject{Version: id, Tags: &tags}, http.StatusOK)
}

func (rq *request) deleteTagging() error {
	id, err := rq.versionFor("s3:DeleteObjectVersionTagging", accessWrite)
	if err != nil {
		return err
	}
	return rq.setObject(&object.SetObject{Version: id, Tags: &[]object.Pair{}}, http.StatusNoContent)
}

// setObject changes something of the request's object in place, and answers with a status.
func (rq *request) setObject(c *object.SetObject, status int) error {
	c.Bucket, c.Key = rq.bucket, rq.key
	result, err := rq.change(&object.Change{SetObject: c})
	if err != nil {
		return rq.hidden(err, rq.bucket)
	}
	setVersion(rq.w.Header(), result.Bucket, result.Version.ID)
	return rq.empty(status)
}
