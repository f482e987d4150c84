package s3api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chainfire/object"
)

// span is a piece of an object: n bytes from off on.
type span struct{ off, n int64 }

// parseRange reads the header Range for an object of a size. What is not one range of bytes
// asks for the whole (RFC 9110, section 14.2; S3 knows no several ranges): found is false. An
// error is that of a range outside of the object.
func parseRange(text string, size int64) (s span, found bool, err error) {
	set, ok := strings.CutPrefix(text, "bytes=")
	if !ok || strings.Contains(set, ",") {
		return s, false, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(set), "-")
	if !ok || first == "" && last == "" {
		return s, false, nil
	}
	outside := refuse(codeInvalidRange).with("RangeRequested", text).with("ActualObjectSize", strconv.FormatInt(size, 10)).
		header("Content-Range", fmt.Sprintf("bytes */%d", size))
	if first == "" {
		n, ok := digits(last)
		switch {
		case !ok:
			return s, false, nil
		case n == 0 || size == 0:
			return s, false, outside
		}
		n = min(n, size)
		return span{size - n, n}, true, nil
	}
	from, ok := digits(first)
	to := size - 1
	if last != "" && ok {
		to, ok = digits(last)
	}
	switch {
	case !ok || last != "" && to < from:
		return s, false, nil
	case from >= size:
		return s, false, outside
	}
	return span{from, min(to, size-1) - from + 1}, true, nil
}

// digits is a number of digits alone; one that is too large is the largest.
func digits(s string) (n int64, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = 1<<63 - 1
	}
	return n, s != ""
}

// ifRange reports whether the header If-Range lets a range count: it names the version that is
// there (RFC 9110, section 13.1.5).
func ifRange(h http.Header, v *object.Version) bool {
	text := strings.TrimSpace(h.Get("If-Range"))
	if text == "" {
		return true
	}
	if strings.HasPrefix(text, `"`) {
		return unquoted(text) == v.ETag
	}
	at, err := http.ParseTime(text)
	return err == nil && at.Equal(time.UnixMilli(v.Modified).Truncate(time.Second))
}
