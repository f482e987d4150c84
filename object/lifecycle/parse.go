package lifecycle

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"chainfire/internal/xmltree"
	"chainfire/object"
)

// Parse reads a configuration as XML. Its errors are of type *Error. A rule without an id gets
// one.
func Parse(document []byte) (*Config, error) {
	c, err := parse(document)
	if e, ok := errors.AsType[*xmltree.Error](err); ok {
		return nil, refuse(MalformedXML, "%s", e.Message)
	}
	return c, err
}

func parse(document []byte) (*Config, error) {
	root, err := xmltree.Parse(document, "LifecycleConfiguration", "BucketLifecycleConfiguration")
	if err != nil {
		return nil, err
	}
	list := root.All("Rule")
	if err := root.Done(); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > MaxRules {
		return nil, refuse(MalformedXML, "a configuration has 1 to %d rules, not %d", MaxRules, len(list))
	}
	c := &Config{}
	ids := map[string]bool{}
	for _, n := range list {
		r, err := parseRule(n)
		if err != nil {
			return nil, err
		}
		if r.ID != "" && ids[r.ID] {
			return nil, refuse(InvalidArgument, "Rule ID must be unique. Found same ID for more than one rule: %s", r.ID)
		}
		ids[r.ID] = true
		c.Rules = append(c.Rules, *r)
	}
	c.nameRules(ids)
	return c, nil
}

// nameRules gives the rules that have no id one that no other has.
func (c *Config) nameRules(taken map[string]bool) {
	n := 0
	for i := range c.Rules {
		for c.Rules[i].ID == "" {
			n++
			if id := fmt.Sprintf("rule-%d", n); !taken[id] {
				c.Rules[i].ID = id
			}
		}
	}
}

func parseRule(n *xmltree.Node) (*Rule, error) {
	r := &Rule{}
	var err error
	if r.ID, _, err = n.String("ID"); err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(r.ID) > maxID {
		return nil, refuse(InvalidArgument, "ID length should not exceed allowed limit of %d", maxID)
	}
	status, err := n.Need("Status")
	if err != nil {
		return nil, err
	}
	if status != "Enabled" && status != "Disabled" {
		return nil, refuse(MalformedXML, "Status is Enabled or Disabled, not %q", status)
	}
	r.Enabled = status == "Enabled"
	if err := r.parseFilter(n); err != nil {
		return nil, err
	}
	for _, name := range []string{"Transition", "NoncurrentVersionTransition"} {
		if len(n.All(name)) > 0 {
			return nil, refuse(NotImplemented, "%s is not implemented: there is one storage class", name)
		}
	}
	actions := 0
	for _, action := range []struct {
		name  string
		parse func(*xmltree.Node) error
	}{
		{"Expiration", r.parseExpiration},
		{"NoncurrentVersionExpiration", r.parseNoncurrent},
		{"AbortIncompleteMultipartUpload", r.parseAbort},
	} {
		child, err := n.One(action.name)
		if child == nil && err == nil {
			continue
		}
		if err == nil {
			err = action.parse(child)
		}
		if err == nil {
			err = child.Done()
		}
		if err != nil {
			return nil, err
		}
		actions++
	}
	if err := n.Done(); err != nil {
		return nil, err
	}
	if actions == 0 {
		return nil, refuse(InvalidRequest, "At least one action needs to be specified in a rule.")
	}
	if err := r.checkFilter(); err != nil {
		return nil, err
	}
	return r, nil
}

// parseFilter reads the filter, or the prefix that rules once had in its place.
func (r *Rule) parseFilter(n *xmltree.Node) error {
	prefix, legacy, err := n.String("Prefix")
	if err != nil {
		return err
	}
	child, err := n.One("Filter")
	switch {
	case err != nil:
		return err
	case legacy == (child != nil):
		return refuse(MalformedXML, "a rule has either a Filter or a Prefix")
	case legacy:
		r.Filter.Prefix = prefix
	default:
		and, err := child.One("And")
		if err != nil {
			return err
		}
		if r.Filter.form = formOne; and != nil {
			r.Filter.form = formAnd
			if err := child.Done(); err != nil {
				return err
			}
			child = and
		}
		if err := r.Filter.parse(child); err != nil {
			return err
		}
	}
	if len(r.Filter.Prefix) > object.MaxKeyLen {
		return refuse(InvalidRequest, "The maximum size of a prefix is %d.", object.MaxKeyLen)
	}
	return nil
}

// parse reads what a filter asks for: one thing, or within And several.
func (f *Filter) parse(n *xmltree.Node) error {
	asked := 0
	prefix, found, err := n.String("Prefix")
	if err != nil {
		return err
	}
	if found {
		f.Prefix, f.prefixed = prefix, true
		asked++
	}
	for _, size := range []struct {
		name string
		into **int64
	}{{"ObjectSizeGreaterThan", &f.Greater}, {"ObjectSizeLessThan", &f.Less}} {
		value, found, err := n.Int(size.name)
		if err != nil {
			return err
		}
		if found {
			*size.into = &value
			asked++
		}
	}
	for _, tag := range n.All("Tag") {
		name, err := tag.Need("Key")
		if err != nil {
			return err
		}
		value, err := tag.Need("Value")
		if err != nil {
			return err
		}
		if err := tag.Done(); err != nil {
			return err
		}
		f.Tags = append(f.Tags, object.Pair{Name: name, Value: value})
		asked++
	}
	if err := n.Done(); err != nil {
		return err
	}
	switch {
	case f.form == formAnd && asked < 2:
		return refuse(MalformedXML, "And has two things or more")
	case f.form == formOne && asked > 1:
		return refuse(MalformedXML, "a Filter of more than one thing has them in And")
	case asked == 0:
		f.form = formEmpty
	}
	return f.check()
}

// check holds the parts of a filter to their bounds.
func (f *Filter) check() error {
	if f.Greater != nil && (*f.Greater < 0 || *f.Greater >= object.MaxObjectSize) ||
		f.Less != nil && (*f.Less < 1 || *f.Less > object.MaxObjectSize) {
		return refuse(InvalidRequest, "The size of an object is between 0 and %d bytes", int64(object.MaxObjectSize))
	}
	if f.Greater != nil && f.Less != nil && *f.Greater >= *f.Less {
		return refuse(InvalidRequest, "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'")
	}
	for i, tag := range f.Tags {
		if n := utf8.RuneCountInString(tag.Name); n < 1 || n > object.MaxTagKey || utf8.RuneCountInString(tag.Value) > object.MaxTagValue {
			return refuse(InvalidRequest, "The tag %q is too long, or has no name", tag.Name)
		}
		if slices.ContainsFunc(f.Tags[:i], func(t object.Pair) bool { return t.Name == tag.Name }) {
			return refuse(InvalidRequest, "Duplicate Tag Keys are not allowed: %q", tag.Name)
		}
	}
	return nil
}

// checkFilter refuses filters of what the subject of an action does not have.
func (r *Rule) checkFilter() error {
	if len(r.Filter.Tags) == 0 && r.Filter.Greater == nil && r.Filter.Less == nil {
		return nil
	}
	if r.AbortDays > 0 {
		return refuse(InvalidRequest, "AbortIncompleteMultipartUpload cannot be specified with Tags or sizes")
	}
	if r.Expiration.Markers {
		return refuse(InvalidRequest, "ExpiredObjectDeleteMarker cannot be specified with Tags or sizes")
	}
	return nil
}

func (r *Rule) parseExpiration(n *xmltree.Node) error {
	days, hasDays, err := parseDays(n, "Days", "Expiration")
	if err != nil {
		return err
	}
	text, hasDate, err := n.String("Date")
	if err != nil {
		return err
	}
	markers, hasMarkers, err := n.Bool("ExpiredObjectDeleteMarker")
	if err != nil {
		return err
	}
	count := 0
	for _, has := range []bool{hasDays, hasDate, markers} {
		if has {
			count++
		}
	}
	if count > 1 || count == 0 && !hasMarkers { // one that is false asks for nothing, and is a rule
		return refuse(MalformedXML, "Expiration has one of Days, Date and ExpiredObjectDeleteMarker")
	}
	r.Expiration = Expiration{Days: days, Markers: markers, idle: count == 0}
	if !hasDate {
		return nil
	}
	date, err := time.Parse(time.RFC3339, text)
	if err != nil {
		date, err = time.Parse(time.DateOnly, text)
	}
	if err != nil {
		return refuse(MalformedXML, "Date %q is not a date of ISO 8601", text)
	}
	if r.Expiration.Date = date.UTC(); !r.Expiration.Date.Equal(r.Expiration.Date.Truncate(day)) || date.Year() < 1970 {
		return refuse(InvalidArgument, "'Date' must be at midnight GMT")
	}
	return nil
}

func (r *Rule) parseNoncurrent(n *xmltree.Node) error {
	days, found, err := parseDays(n, "NoncurrentDays", "NoncurrentVersionExpiration action")
	if err != nil {
		return err
	}
	if !found {
		return refuse(MalformedXML, "NoncurrentVersionExpiration has no NoncurrentDays")
	}
	r.NoncurrentDays = days
	newer, found, err := n.Int("NewerNoncurrentVersions")
	if err != nil {
		return err
	}
	if found && (newer < 1 || newer > maxNewer) {
		return refuse(InvalidArgument, "'NewerNoncurrentVersions' must be between 1 and %d", maxNewer)
	}
	r.NewerNoncurrent = newer
	return nil
}

func (r *Rule) parseAbort(n *xmltree.Node) error {
	days, found, err := parseDays(n, "DaysAfterInitiation", "AbortIncompleteMultipartUpload action")
	if err == nil && !found {
		err = refuse(MalformedXML, "AbortIncompleteMultipartUpload has no DaysAfterInitiation")
	}
	r.AbortDays = days
	return err
}

// parseDays reads a number of days, at least one.
func parseDays(n *xmltree.Node, name, action string) (days int64, found bool, err error) {
	days, found, err = n.Int(name)
	if err != nil || !found {
		return 0, false, err
	}
	if days < 1 || days > maxDays {
		return 0, false, refuse(InvalidArgument, "'%s' for %s must be a positive integer", name, action)
	}
	return days, true, nil
}
