package s3api

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"chainfire/internal/xmltree"
)

// maxCORSRules bounds the rules of a bucket.
const maxCORSRules = 100

// corsDocument is which pages of other origins a browser lets at a bucket.
type corsDocument struct {
	XMLName xml.Name   `xml:"CORSConfiguration"`
	XMLNS   string     `xml:"xmlns,attr"`
	Rules   []corsRule `xml:"CORSRule"`
}

// corsRule is one rule. In origins and headers one * stands for any characters.
type corsRule struct {
	ID      string   `xml:",omitempty"`
	Methods []string `xml:"AllowedMethod"`
	Origins []string `xml:"AllowedOrigin"`
	Headers []string `xml:"AllowedHeader"`
	Expose  []string `xml:"ExposeHeader"`
	MaxAge  *int64   `xml:"MaxAgeSeconds"`
}

// corsMethods are those that a rule may allow.
var corsMethods = []string{http.MethodGet, http.MethodPut, http.MethodHead, http.MethodPost, http.MethodDelete}

// parseCORS reads the rules of a bucket.
func parseCORS(n *xmltree.Node) (*corsDocument, error) {
	d := &corsDocument{XMLNS: namespace}
	list := n.All("CORSRule")
	if err := n.Done(); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > maxCORSRules {
		return nil, refusef(codeMalformedXML, "A CORS configuration has 1 to %d rules, not %d.", maxCORSRules, len(list))
	}
	for _, rule := range list {
		r, err := parseCORSRule(rule)
		if err != nil {
			return nil, err
		}
		d.Rules = append(d.Rules, *r)
	}
	return d, nil
}

func parseCORSRule(n *xmltree.Node) (*corsRule, error) {
	r := &corsRule{}
	var err error
	if r.ID, _, err = n.String("ID"); err != nil {
		return nil, err
	}
	if len(r.ID) > 255 {
		return nil, refusef(codeInvalidRequest, "The ID of a CORS rule has at most 255 characters.")
	}
	for _, f := range []struct {
		name string
		into *[]string
	}{{"AllowedMethod", &r.Methods}, {"AllowedOrigin", &r.Origins}, {"AllowedHeader", &r.Headers}, {"ExposeHeader", &r.Expose}} {
		for _, c := range n.All(f.name) {
			if err := c.Done(); err != nil {
				return nil, err
			}
			*f.into = append(*f.into, c.Text)
		}
	}
	if age, found, err := n.Int("MaxAgeSeconds"); err != nil {
		return nil, err
	} else if found {
		if age < 0 || age > 1<<31-1 {
			return nil, refusef(codeInvalidRequest, "MaxAgeSeconds is a number of seconds from 0.")
		}
		r.MaxAge = &age
	}
	if err := n.Done(); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// check holds a rule to what can be answered: what it says becomes headers, so that it must have
// no character that ends one.
func (r *corsRule) check() error {
	if len(r.Methods) == 0 || len(r.Origins) == 0 {
		return refuse(codeMalformedXML)
	}
	for _, m := range r.Methods {
		if !slices.Contains(corsMethods, m) {
			return refusef(codeInvalidRequest, "Found unsupported HTTP method in CORS config. Unsupported method is %.20q", m)
		}
	}
	for _, o := range r.Origins {
		if strings.Count(o, "*") > 1 {
			return refusef(codeInvalidRequest, "AllowedOrigin %.200q can not have more than one wildcard.", o)
		}
		if o == "" || strings.ContainsFunc(o, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == ',' }) {
			return refusef(codeInvalidRequest, "AllowedOrigin %.200q is no origin.", o)
		}
	}
	for _, h := range r.Headers {
		if strings.Count(h, "*") > 1 {
			return refusef(codeInvalidRequest, "AllowedHeader %.200q can not have more than one wildcard.", h)
		}
		if !isToken(h) {
			return refusef(codeInvalidRequest, "AllowedHeader %.200q is no name of a header.", h)
		}
	}
	for _, h := range r.Expose {
		if strings.Contains(h, "*") {
			return refusef(codeInvalidRequest, "ExposeHeader %.200q contains wildcard. We currently do not support wildcard for ExposeHeader.", h)
		}
		if !isToken(h) {
			return refusef(codeInvalidRequest, "ExposeHeader %.200q is no name of a header.", h)
		}
	}
	return nil
}

// isToken reports whether a text may be the name of a header (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

func (rq *request) putCORS() error {
	n, err := rq.tree("CORSConfiguration")
	if err != nil {
		return err
	}
	d, err := parseCORS(n)
	if err != nil {
		return err
	}
	if err := rq.setXML(configCORS, d); err != nil {
		return err
	}
	return rq.empty(http.StatusOK)
}

// allows reports whether the rule lets pages of an origin use a method with headers.
func (r *corsRule) allows(origin, method string, headers []string) bool {
	if !slices.Contains(r.Methods, method) || !slices.ContainsFunc(r.Origins, func(o string) bool { return wildcard(o, origin) }) {
		return false
	}
	return !slices.ContainsFunc(headers, func(h string) bool {
		return !slices.ContainsFunc(r.Headers, func(allowed string) bool { return wildcard(strings.ToLower(allowed), h) })
	})
}

// corsOf is the CORS rules of the request's bucket as this member has applied them, nil where it
// has none.
func (rq *request) corsOf() (*corsDocument, error) {
	view, err := rq.s.service.Local(rq.ctx())
	if err != nil {
		return nil, err
	}
	defer rq.s.closeView(view)
	b, err := view.Bucket(rq.bucket)
	if err != nil {
		return nil, err
	}
	return rq.s.documents.cors.of(view, b)
}

// crossOrigin says in the answer, whatever it will be, what a browser may let the page see that
// sent the request. A bucket that is not there has no rules.
func (rq *request) crossOrigin() {
	origin := rq.r.Header.Get("Origin")
	if origin == "" || rq.bucket == "" || rq.r.Method == http.MethodOptions {
		return
	}
	d, err := rq.corsOf()
	if err != nil || d == nil {
		if err != nil { // the request itself meets the same, and answers it
			rq.s.log.Debug("the rules for pages of other origins cannot be read", "request_id", rq.id, "bucket", rq.bucket, "err", err)
		}
		return
	}
	for i := range d.Rules {
		if r := &d.Rules[i]; r.allows(origin, rq.r.Method, nil) {
			r.answer(rq.w.Header(), origin)
			return
		}
	}
}

// answer says what the rule allows an origin that it allows something.
func (r *corsRule) answer(h http.Header, origin string) {
	if slices.Contains(r.Origins, "*") {
		origin = "*"
	} else {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", strings.Join(r.Methods, ", "))
	if len(r.Expose) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(r.Expose, ", "))
	}
	if r.MaxAge != nil {
		h.Set("Access-Control-Max-Age", strconv.FormatInt(*r.MaxAge, 10))
	}
	h.Set("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
}

// preflight answers a browser that asks before it sends a request of a page to a bucket. It comes without a
// signature, but may be of a link that has one, for another method.
func (rq *request) preflight() error {
	origin, err := one(rq.r.Header, "Origin")
	if err != nil {
		return err
	}
	method, err := one(rq.r.Header, "Access-Control-Request-Method")
	switch {
	case err != nil:
		return err
	case origin == "":
		return refusef(codeBadRequest, "Insufficient information. Origin request header needed.")
	case method == "":
		return refusef(codeBadRequest, "Invalid Access-Control-Request-Method: null")
	case !slices.Contains(corsMethods, method):
		return refusef(codeBadRequest, "Invalid Access-Control-Request-Method: %.20s", method)
	}
	headers := headerList(rq.r.Header["Access-Control-Request-Headers"])
	d, err := rq.corsOf()
	if err != nil {
		return err
	}
	if d == nil {
		return refusef(codeAccessForbidden, "CORSResponse: CORS is not enabled for this bucket.").with("Method", method).with("ResourceType", rq.level().String())
	}
	for i := range d.Rules {
		r := &d.Rules[i]
		if !r.allows(origin, method, headers) {
			continue
		}
		r.answer(rq.w.Header(), origin)
		if len(headers) > 0 {
			rq.w.Header().Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
		}
		return rq.empty(http.StatusOK)
	}
	return refuse(codeAccessForbidden).with("Method", method).with("ResourceType", rq.level().String())
}

// headerList are the names of a list, in lower case. What is no name allows nothing.
func headerList(values []string) (out []string) {
	for name := range strings.SplitSeq(strings.ToLower(strings.Join(values, ",")), ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// corsOperation is the row of preflights, which are answered before who asks is looked at.
func corsOperation() *operation {
	return &operation{name: "Preflight", method: http.MethodOptions, access: accessOpen, handle: (*request).preflight}
}
