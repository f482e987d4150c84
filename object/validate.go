package object

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Bounds of what no other constant bounds, in bytes.
const (
	maxOwner      = maxKeyID
	maxConfigName = 64
	maxHolders    = 128 // members that hold an extent
)

var (
	etagForm    = regexp.MustCompile(`^[0-9a-f]{32}(-[1-9][0-9]{0,4})?$`)
	keyIDForm   = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]+$`)
	metaForm    = regexp.MustCompile("^[0-9a-z!#$%&'*+.^_`|~-]+$")
	configForm  = regexp.MustCompile(`^[0-9a-z.-]+$`)
	patternForm = regexp.MustCompile(`^[0-9a-z.*-]+$`)
)

// checkText refuses text that is longer than a bound, or is not UTF-8.
func checkText(field, s string, bound int) error {
	switch {
	case len(s) > bound:
		return fmt.Errorf("%w: %s has %d bytes, more than %d", ErrInvalid, field, len(s), bound)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s is not valid UTF-8", ErrInvalid, field)
	}
	return nil
}

// checkHeader refuses text that cannot be the value of a header.
func checkHeader(field, s string) error {
	if err := checkText(field, s, MaxHeader); err != nil {
		return err
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("%w: %s has a control character, %#x, which no header can have", ErrInvalid, field, s[i])
	}
	return nil
}

// checkNames refuses names that do not rise.
func checkNames(field string, l []Pair) error {
	for i := range l {
		if i > 0 && l[i].Name <= l[i-1].Name {
			return fmt.Errorf("%w: %s %.80q after %.80q, they are sorted and unique", ErrInvalid, field, l[i].Name, l[i-1].Name)
		}
	}
	return nil
}

// headerNames are the headers in Attributes, in the order of headers.
var headerNames = [...]string{
	"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding",
	"Content-Language", "Expires", "the website redirect", "the storage class",
}

func (a *Attributes) validate() error {
	for i, h := range a.headers() {
		if err := checkHeader(headerNames[i], *h); err != nil {
			return err
		}
	}
	size := 0
	for _, m := range a.Meta {
		if !metaForm.MatchString(m.Name) {
			return fmt.Errorf("%w: the name of metadata %.80q is not one of a header in lower case", ErrInvalid, m.Name)
		}
		if err := checkHeader("metadata "+m.Name, m.Value); err != nil {
			return err
		}
		size += len(m.Name) + len(m.Value)
	}
	if size > MaxMetadata {
		return fmt.Errorf("%w: the metadata has %d bytes, more than %d", ErrTooLarge, size, MaxMetadata)
	}
	if err := checkNames("metadata", a.Meta); err != nil {
		return err
	}
	return checkTags(a.Tags)
}

func checkTags(tags []Pair) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%w: %d tags, more than %d", ErrInvalid, len(tags), MaxTags)
	}
	for _, t := range tags {
		if !utf8.ValidString(t.Name) || !utf8.ValidString(t.Value) {
			return fmt.Errorf("%w: the tag %.80q is not valid UTF-8", ErrInvalid, t.Name)
		}
		if n := utf8.RuneCountInString(t.Name); n < 1 || n > MaxTagKey {
			return fmt.Errorf("%w: the name of a tag has %d characters, not 1 to %d", ErrInvalid, n, MaxTagKey)
		}
		if n := utf8.RuneCountInString(t.Value); n > MaxTagValue {
			return fmt.Errorf("%w: the value of tag %q has %d characters, more than %d", ErrInvalid, t.Name, n, MaxTagValue)
		}
	}
	return checkNames("tag", tags)
}

// validate checks a checksum that has a value, or with optional may have none.
func (c *Checksum) validate(optional bool) error {
	if c.Algorithm > ChecksumSHA256 || c.Type > ChecksumComposite {
		return fmt.Errorf("%w: there is no checksum algorithm %d of type %d", ErrInvalid, c.Algorithm, c.Type)
	}
	if optional && len(c.Value) == 0 {
		return nil
	}
	if want := c.Algorithm.Size(); len(c.Value) != want {
		return fmt.Errorf("%w: the checksum %s has %d bytes, not %d", ErrInvalid, c.Algorithm, len(c.Value), want)
	}
	return nil
}

func (r *Retention) validate() error {
	switch {
	case r.Mode > LockCompliance:
		return fmt.Errorf("%w: there is no retention mode %d", ErrInvalid, r.Mode)
	case r.Mode == LockNone && r.Until != 0:
		return fmt.Errorf("%w: a retention until %d of no mode", ErrInvalid, r.Until)
	case r.Mode != LockNone && (r.Until <= 0 || r.Until > maxTime):
		return fmt.Errorf("%w: a retention until %d, not 1 to %d", ErrInvalid, r.Until, int64(maxTime))
	}
	return nil
}

func (c *Condition) validate() error {
	if err := checkText("If-None-Match", c.IfNoneMatch, MaxHeader); err != nil {
		return err
	}
	return checkText("If-Match", c.IfMatch, MaxHeader)
}

func checkETag(etag string) error {
	if !etagForm.MatchString(etag) {
		return fmt.Errorf("%w: the ETag %.80q is no MD5 in hex, with or without a number of parts", ErrInvalid, etag)
	}
	return nil
}

// validate checks all of a body that does not depend on the state.
func (b *Body) validate() error {
	if err := b.checkForm(); err != nil {
		return err
	}
	for i := range b.Extents {
		if err := checkHolders(i, b.Extents[i].Holders); err != nil {
			return err
		}
	}
	return nil
}

func checkHolders(extent int, holders []uint64) error {
	if len(holders) > maxHolders {
		return fmt.Errorf("%w: extent %d has %d holders, more than %d", ErrInvalid, extent, len(holders), maxHolders)
	}
	var before uint64
	for _, h := range holders {
		if h <= before {
			return fmt.Errorf("%w: holder %d of extent %d after %d, they are sorted and unique", ErrInvalid, h, extent, before)
		}
		before = h
	}
	return nil
}

// first is the first of errors that is not nil: of checks that cost little.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkPlace checks where an object is.
func checkPlace(bucket, key string) error { return first(CheckBucketName(bucket), CheckKey(key)) }
