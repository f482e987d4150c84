package s3api

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// namespace is that of the documents of S3.
const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// maxDocument bounds the documents that requests bring, but for those with bounds of their own.
const maxDocument = 1 << 20

// xml answers with a document.
func (rq *request) xml(status int, v any) error {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if err := xml.NewEncoder(&b).Encode(v); err != nil {
		return fmt.Errorf("writing an answer as XML: %w", err)
	}
	h := rq.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	rq.w.WriteHeader(status)
	if rq.r.Method == http.MethodHead {
		return nil
	}
	_, err := rq.w.Write(b.Bytes())
	return err
}

// empty answers with a status and no body.
func (rq *request) empty(status int) error {
	if status != http.StatusNoContent && status != http.StatusNotModified {
		rq.w.Header().Set("Content-Length", "0")
	}
	rq.w.WriteHeader(status)
	return nil
}

// text is a text from a stranger within a document. Unlike what the library does, a character
// that XML 1.0 has no way to write is written as a reference to it, as AWS does: who asks for
// no encoding has to live with it, and is not told of a key that there is not.
type text struct {
	Escaped string `xml:",innerxml"`
}

func newText(s string) text {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"':
			b.WriteString("&#34;")
		case r < 0x20, r == 0x7f, r == 0xfffe, r == 0xffff:
			fmt.Fprintf(&b, "&#x%x;", r)
		default:
			b.WriteRune(r)
		}
	}
	return text{b.String()}
}

// timeOf is a time in Unix milliseconds as S3's documents have it.
func timeOf(milliseconds int64) string {
	return time.UnixMilli(milliseconds).UTC().Format("2006-01-02T15:04:05.000Z")
}

// optional is an element that is left out where there is nothing to say.
func optional(s string) *text {
	if s == "" {
		return nil
	}
	t := newText(s)
	return &t
}
