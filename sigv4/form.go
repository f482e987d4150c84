package sigv4

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxPolicy bounds the policy of a form, in base64.
const maxPolicy = 64 << 10

// FormUpload is what a POST form may upload, once its policy was verified.
type FormUpload struct {
	Verified
	// MinSize and MaxSize bound the file, in bytes.
	MinSize, MaxSize int64
}

// VerifyForm verifies the policy of a form: its signature, its time, and that every field is
// covered by a condition that holds. Fields have their names in lower case, the key with the
// name of the file already in it, and come without the file, which is last and of which
// nothing is known yet. The bucket is that of the URL, which the policy must name if it
// names one. A field that is there twice is the caller's to refuse.
func (v *Verifier) VerifyForm(ctx context.Context, fields map[string]string, bucket string) (*FormUpload, error) {
	text := fields["policy"]
	c, err := v.formClaim(fields)
	if err != nil {
		return nil, err
	}
	token := fields["x-amz-security-token"]
	key, unknown, err := v.key(ctx, &c, token)
	if err != nil {
		return nil, err
	}
	matches := subtle.ConstantTimeCompare([]byte(key.Sign(text)), []byte(c.signature)) == 1
	switch {
	case unknown != nil:
		return nil, unknown
	case !matches:
		return nil, mismatch(c.accessKeyID, text, c.signature)
	}
	p, err := parsePolicy(text)
	if err != nil {
		return nil, err
	}
	if !v.now().Before(p.expiration) {
		return nil, refuse(AccessDenied, "Invalid according to Policy: Policy expired.")
	}
	if err := p.check(fields, bucket); err != nil {
		return nil, err
	}
	return &FormUpload{
		Verified: Verified{Mechanism: Form, AccessKeyID: c.accessKeyID, SessionToken: token},
		MinSize:  p.minSize, MaxSize: p.maxSize,
	}, nil
}

// formClaim reads what a form says of its signature.
func (v *Verifier) formClaim(fields map[string]string) (c claim, err error) {
	for _, name := range []string{"policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"} {
		if fields[name] == "" {
			return c, refuse(InvalidArgument, "Bucket POST must contain a field named '%s'. If it is specified, please check the order of the fields.", name).
				with("ArgumentName", name)
		}
	}
	if a := fields["x-amz-algorithm"]; a != Algorithm {
		return c, refuse(InvalidArgument, "x-amz-algorithm is %q; expecting %q.", clipped(a), Algorithm)
	}
	if len(fields["policy"]) > maxPolicy {
		return c, refuse(InvalidPolicyDocument, "Invalid Policy: it is longer than %d bytes.", maxPolicy)
	}
	if c.accessKeyID, c.scope, err = parseCredential(fields["x-amz-credential"]); err != nil {
		return c, refuse(InvalidArgument, "The field x-amz-credential is malformed; %v.", err)
	}
	if err := v.checkScope(c.scope, InvalidArgument, "The field x-amz-credential is malformed"); err != nil {
		return c, err
	}
	c.signature = fields["x-amz-signature"]
	if err := parseSignature(c.signature); err != nil {
		return c, refuse(InvalidArgument, "The field x-amz-signature is malformed; %v.", err)
	}
	if c.at, err = time.Parse(DateFormat, fields["x-amz-date"]); err != nil || c.at.Format(dayFormat) != c.scope.Day {
		return c, refuse(InvalidArgument, "The field x-amz-date must be as 20060102T150405Z, and of the day of the credential.")
	}
	return c, nil
}

// policy is the document that a form brings, read.
type policy struct {
	expiration       time.Time
	conditions       []condition
	minSize, maxSize int64
}

// condition is on one field: it begins with, or is, a value.
type condition struct {
	field, value string
	prefix       bool
}

func (c *condition) holds(value string) bool {
	if c.prefix {
		return strings.HasPrefix(value, c.value)
	}
	return value == c.value
}

// free are the fields that no condition needs to name.
func free(field string) bool {
	switch field {
	case "policy", "x-amz-signature", "file":
		return true
	}
	return strings.HasPrefix(field, "x-ignore-")
}

// check holds fields against conditions in both directions.
func (p *policy) check(fields map[string]string, bucket string) error {
	denied := func(c *condition) error {
		op := "eq"
		if c.prefix {
			op = "starts-with"
		}
		return refuse(AccessDenied, "Invalid according to Policy: Policy Condition failed: [%q, \"$%s\", %q]", op, c.field, c.value)
	}
	covered := map[string]bool{}
	for i := range p.conditions {
		c := &p.conditions[i]
		value, ok := fields[c.field]
		if c.field == "bucket" { // that of the URL counts, whatever a field says
			if ok && value != bucket {
				return denied(c)
			}
			value, ok = bucket, true
		}
		mayMiss := c.prefix && c.value == ""
		if !ok && !mayMiss || !c.holds(value) {
			return denied(c)
		}
		covered[c.field] = true
	}
	for field := range fields {
		if !covered[field] && !free(field) {
			return refuse(AccessDenied, "Invalid according to Policy: Extra input fields: %s", clipped(field))
		}
	}
	if !covered["bucket"] {
		return refuse(AccessDenied, "Invalid according to Policy: it does not name the bucket.")
	}
	return nil
}

// parsePolicy reads the document.
func parsePolicy(text string) (*policy, error) {
	bad := func(format string, args ...any) error {
		return refuse(InvalidPolicyDocument, "Invalid Policy: %s.", fmt.Sprintf(format, args...))
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, bad("it is not base64")
	}
	var doc struct {
		Expiration string            `json:"expiration"`
		Conditions []json.RawMessage `json:"conditions"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return nil, bad("it is not JSON of an expiration and conditions")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, bad("something comes after the document")
	}
	p := &policy{maxSize: MaxBody}
	if p.expiration, err = time.Parse(time.RFC3339, doc.Expiration); err != nil {
		return nil, bad("Invalid 'expiration' value: '%s'", clipped(doc.Expiration))
	}
	for _, raw := range doc.Conditions {
		if err := p.add(raw); err != nil {
			return nil, bad("Invalid Condition: %v", err)
		}
	}
	return p, nil
}

// add reads one condition: {"field": "value"}, ["eq", "$field", "value"], ["starts-with", ..] or
// ["content-length-range", least, most].
func (p *policy) add(raw json.RawMessage) error {
	var exact map[string]string
	if json.Unmarshal(raw, &exact) == nil {
		if len(exact) != 1 {
			return fmt.Errorf("an object has one field, not %d", len(exact))
		}
		for field, value := range exact {
			p.conditions = append(p.conditions, condition{field: strings.ToLower(field), value: value})
		}
		return nil
	}
	var list []any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&list); err != nil || len(list) != 3 {
		return fmt.Errorf("a list has three parts")
	}
	op, ok := list[0].(string)
	if !ok {
		return fmt.Errorf("a list begins with its operation")
	}
	if strings.EqualFold(op, "content-length-range") {
		return p.sizes(list[1], list[2])
	}
	field, isText := list[1].(string)
	value, alsoText := list[2].(string)
	name, dollar := strings.CutPrefix(field, "$")
	if !isText || !alsoText || !dollar {
		return fmt.Errorf("%s is followed by a field with its $, and a text", clipped(op))
	}
	prefix := strings.EqualFold(op, "starts-with")
	if !prefix && !strings.EqualFold(op, "eq") {
		return fmt.Errorf("%q is no operation", clipped(op))
	}
	p.conditions = append(p.conditions, condition{field: strings.ToLower(name), value: value, prefix: prefix})
	return nil
}

// sizes narrows the size of the file.
func (p *policy) sizes(least, most any) error {
	var n [2]int64
	for i, x := range []any{least, most} {
		v, err := strconv.ParseInt(fmt.Sprint(x), 10, 64) // a number, or a text that is one
		if err != nil || v < 0 {
			return fmt.Errorf("content-length-range has two numbers of bytes")
		}
		n[i] = v
	}
	p.minSize, p.maxSize = max(p.minSize, n[0]), min(p.maxSize, n[1])
	return nil
}
