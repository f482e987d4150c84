package lifecycle

import (
	"encoding/xml"
	"time"

	"chainfire/object"
)

// The elements of a configuration, in AWS's order.
type (
	xmlConfig struct {
		XMLName xml.Name  `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LifecycleConfiguration"`
		Rules   []xmlRule `xml:"Rule"`
	}
	xmlRule struct {
		Expiration *xmlExpiration
		ID         string
		Filter     *xmlFilter
		Prefix     *string
		Status     string
		Noncurrent *xmlNoncurrent `xml:"NoncurrentVersionExpiration"`
		Abort      *xmlAbort      `xml:"AbortIncompleteMultipartUpload"`
	}
	xmlExpiration struct {
		Days    int64  `xml:",omitempty"`
		Date    string `xml:",omitempty"`
		Markers *bool  `xml:"ExpiredObjectDeleteMarker"`
	}
	xmlNoncurrent struct {
		Days  int64 `xml:"NoncurrentDays"`
		Newer int64 `xml:"NewerNoncurrentVersions,omitempty"`
	}
	xmlAbort struct {
		Days int64 `xml:"DaysAfterInitiation"`
	}
	xmlFilter struct {
		xmlAsked
		And *xmlAsked
	}
	xmlAsked struct {
		Prefix  *string
		Tags    []xmlTag `xml:"Tag"`
		Greater *int64   `xml:"ObjectSizeGreaterThan"`
		Less    *int64   `xml:"ObjectSizeLessThan"`
	}
	xmlTag struct{ Key, Value string }
)

// XML is the configuration as Parse reads it, each filter in the form in which it was written.
func (c *Config) XML() ([]byte, error) {
	out := xmlConfig{}
	for i := range c.Rules {
		out.Rules = append(out.Rules, c.Rules[i].xml())
	}
	text, err := xml.Marshal(&out)
	return append([]byte(xml.Header), text...), err
}

func (r *Rule) xml() xmlRule {
	out := xmlRule{ID: r.ID, Status: "Disabled"}
	if r.Enabled {
		out.Status = "Enabled"
	}
	asked := r.Filter.xml()
	switch r.Filter.form {
	case formPrefix:
		out.Prefix = &r.Filter.Prefix
	case formEmpty:
		out.Filter = &xmlFilter{}
	case formOne:
		out.Filter = &xmlFilter{xmlAsked: asked}
	case formAnd:
		out.Filter = &xmlFilter{And: &asked}
	}
	switch e := r.Expiration; {
	case e.Days > 0:
		out.Expiration = &xmlExpiration{Days: e.Days}
	case !e.Date.IsZero():
		out.Expiration = &xmlExpiration{Date: e.Date.Format(time.RFC3339)}
	case e.Markers || e.idle:
		out.Expiration = &xmlExpiration{Markers: &e.Markers}
	}
	if r.NoncurrentDays > 0 {
		out.Noncurrent = &xmlNoncurrent{Days: r.NoncurrentDays, Newer: r.NewerNoncurrent}
	}
	if r.AbortDays > 0 {
		out.Abort = &xmlAbort{Days: r.AbortDays}
	}
	return out
}

func (f *Filter) xml() xmlAsked {
	out := xmlAsked{Greater: f.Greater, Less: f.Less, Tags: tagsXML(f.Tags)}
	if f.prefixed {
		out.Prefix = &f.Prefix
	}
	return out
}

func tagsXML(tags []object.Pair) []xmlTag {
	var out []xmlTag
	for _, t := range tags {
		out = append(out, xmlTag{t.Name, t.Value})
	}
	return out
}
