package s3api

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chainfire/internal/xmltree"
)

// namespace is that of the documents of S3.
const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// Bounds of documents that requests bring.
const (
	maxDocument = 1 << 20
	maxDepth    = 16
)

// document reads the request's body, of at most limit bytes, verified, as an XML document.
func (rq *request) document(limit int64, into any) error {
	b, err := rq.small(limit)
	if err != nil {
		return err
	}
	return parseXML(b, into)
}

// parseXML reads one document and nothing besides: no directives, so that it defines no
// entities, not too deep, nothing after it.
func parseXML(b []byte, into any) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return refuse(codeMissingRequestBody)
	}
	if err := xmltree.Bounded(b); err != nil {
		return err
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	depth, roots := 0, 0
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return refuse(codeMalformedXML).because(err)
		}
		switch token := token.(type) {
		case xml.Directive:
			return refuse(codeMalformedXML).because(errors.New("it has a directive"))
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			if depth++; depth > maxDepth {
				return refuse(codeMalformedXML).because(fmt.Errorf("it is deeper than %d", maxDepth))
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(token)) > 0 {
				return refuse(codeMalformedXML).because(errors.New("there is text outside of the document"))
			}
		}
	}
	if roots != 1 {
		return refuse(codeMalformedXML).because(fmt.Errorf("it has %d roots", roots))
	}
	if err := xml.Unmarshal(b, into); err != nil {
		return refuse(codeMalformedXML).because(err)
	}
	return nil
}

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
