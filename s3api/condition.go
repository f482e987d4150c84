package s3api

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"chainfire/object"
	"chainfire/object/lifecycle"
)

// writeCondition reads what a writer asks of the version that is there.
func writeCondition(h http.Header) (c object.Condition, err error) {
	for _, name := range []string{"If-Modified-Since", "If-Unmodified-Since"} {
		if h[name] != nil {
			return c, notImplemented("the header " + name + " of a request that writes")
		}
	}
	if c.IfMatch, err = oneETag(h, "If-Match"); err != nil {
		return c, err
	}
	c.IfNoneMatch, err = oneETag(h, "If-None-Match")
	return c, err
}

// deleteCondition is writeCondition with what only deletes know.
func deleteCondition(h http.Header) (c object.Condition, err error) {
	if c, err = writeCondition(h); err != nil {
		return c, err
	}
	text, err := one(h, "X-Amz-If-Match-Last-Modified-Time")
	if err != nil {
		return c, err
	}
	if text != "" {
		at, err := parseTime(text)
		if err != nil {
			return c, invalidArgument("x-amz-if-match-last-modified-time", text, "The time is neither as in RFC 9110 nor as in ISO 8601.")
		}
		ms := at.UnixMilli()
		c.IfModified = &ms
	}
	if text, err = one(h, "X-Amz-If-Match-Size"); err != nil {
		return c, err
	}
	if text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return c, invalidArgument("x-amz-if-match-size", text, "The size is no number of bytes.")
		}
		c.IfSize = &n
	}
	return c, nil
}

func parseTime(s string) (time.Time, error) {
	if at, err := http.ParseTime(s); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, s)
}

// oneETag is the ETag of a condition, or "*". Of several only readers may give the choice.
func oneETag(h http.Header, name string) (string, error) {
	text, err := one(h, name)
	if err != nil || h[name] == nil {
		return "", err
	}
	if text = strings.TrimSpace(text); text == "" || strings.Contains(text, ",") {
		return "", notImplemented("the header " + name + " of a request that writes, with anything but * or one ETag,")
	}
	return unquoted(text), nil
}

// failed refuses with the condition that does not hold.
func failed(condition string) *apiError {
	return refuse(codePreconditionFailed).with("Condition", condition).because(object.ErrPreconditionFailed)
}

// refusedBy is the error of a write of an object: with the condition that did not hold, where it was
// that, or that the bucket has no object lock.
func refusedBy(c *object.Condition, err error) error {
	if errors.Is(err, object.ErrInvalidBucketState) {
		return errNoLock().because(err)
	}
	if !errors.Is(err, object.ErrPreconditionFailed) {
		return err
	}
	name := "If-Match"
	if c.IfNoneMatch != "" && c.IfMatch == "" {
		name = "If-None-Match"
	}
	return failed(name)
}

// compares reports whether a condition tells, by whether it holds, what is in a version.
func compares(c *object.Condition) bool {
	any := func(etag string) bool { return etag == "" || etag == "*" }
	return !any(c.IfMatch) || !any(c.IfNoneMatch) || c.IfModified != nil || c.IfSize != nil
}

// mayCompare holds that who asks for a version by its ETag may read it: else the answers would
// tell what is in it.
func (rq *request) mayCompare(c *object.Condition) error {
	if !compares(c) {
		return nil
	}
	return rq.allowed("s3:GetObject", accessRead, rq.bucket, rq.key)
}

// foresee refuses a write where it is certain that it would be refused when applied, before its
// body is read; locks says that it brings a retention or a hold. What this member has applied is
// enough to go on, as the change is decided when it is applied; to refuse takes all that was
// acknowledged. It returns the rules of lifecycle of the bucket for the answer, nil where it has
// none.
func (rq *request) foresee(c *object.Condition, locks bool) (*lifecycle.Config, error) {
	view, err := rq.s.service.Local(rq.ctx())
	if err != nil {
		return nil, err
	}
	rules, err := rq.refusal(view, c, locks)
	rq.s.closeView(view)
	if err == nil {
		return rules, nil
	}
	view, done, err := rq.view()
	if err != nil {
		return nil, err
	}
	defer done()
	return rq.refusal(view, c, locks)
}

func (rq *request) refusal(view *object.View, c *object.Condition, locks bool) (*lifecycle.Config, error) {
	b, err := view.Bucket(rq.bucket)
	if err != nil {
		return nil, err
	}
	if locks && !b.ObjectLock {
		return nil, errNoLock()
	}
	if *c != (object.Condition{}) {
		v, err := view.Version(b, rq.key, nil)
		if err != nil && !errors.Is(err, object.ErrNoSuchKey) {
			return nil, err
		}
		if err := refusedBy(c, c.Check(v)); err != nil {
			return nil, err
		}
	}
	return rq.lifecycleOf(view, b), nil
}

// readCondition are the conditions of a reader, of headers with a prefix: If- or
// x-amz-copy-source-if-.
type readCondition struct {
	match, noneMatch          []string // nil where they are not there
	modifiedSince, unmodified time.Time
}

func readConditionOf(h http.Header, prefix string) (c readCondition) {
	c.match, c.noneMatch = etags(h[prefix+"Match"]), etags(h[prefix+"None-Match"])
	// A time that is none is as if it were not there (RFC 9110, section 13.1.3).
	c.modifiedSince, _ = http.ParseTime(h.Get(prefix + "Modified-Since"))
	c.unmodified, _ = http.ParseTime(h.Get(prefix + "Unmodified-Since"))
	return c
}

// etags are the ETags of a list, without their quotes.
func etags(values []string) []string {
	if values == nil {
		return nil
	}
	out := []string{}
	for e := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, unquoted(strings.TrimPrefix(e, "W/")))
		}
	}
	return out
}

// check holds a version to the conditions, in the order of RFC 9110, section 13.2.2: an ETag
// that matches makes the times not count. What is not modified is refused with the code given.
func (c *readCondition) check(v *object.Version, notModified code) error {
	has := func(list []string) bool {
		return slices.Contains(list, "*") || slices.Contains(list, v.ETag)
	}
	modified := time.UnixMilli(v.Modified).Truncate(time.Second)
	switch {
	case c.match != nil:
		if !has(c.match) {
			return failed("If-Match")
		}
	case !c.unmodified.IsZero() && modified.After(c.unmodified):
		return failed("If-Unmodified-Since")
	}
	switch {
	case c.noneMatch != nil:
		if has(c.noneMatch) {
			return refuse(notModified).with("Condition", "If-None-Match")
		}
	case !c.modifiedSince.IsZero() && !modified.After(c.modifiedSince):
		return refuse(notModified).with("Condition", "If-Modified-Since")
	}
	return nil
}
