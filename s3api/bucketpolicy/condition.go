package bucketpolicy

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Least bits of a range of addresses that bounds who is meant.
const (
	minBits4 = 8
	minBits6 = 32
)

// kind is what the values of a key are, which says which operators there are for it.
type kind uint8

const (
	text kind = iota
	number
	truth
	address
)

// keys are what conditions may ask about.
var keys = map[string]kind{
	"aws:SourceIp":        address,
	"aws:SecureTransport": truth,
	"aws:username":        text,
	"s3:prefix":           text,
	"s3:delimiter":        text,
	"s3:max-keys":         number,
}

// operator is how the value of a key is compared with those of a condition. A negated one holds
// where none of them compares equal, also where the key has no value.
type operator struct {
	kind    kind
	negated bool
	syntax  syntax
	fold    bool
	// compare is, for numbers, the sign of key minus value that is wanted.
	compare func(sign int) bool
}

var operators = map[string]operator{
	"StringEquals":              {},
	"StringNotEquals":           {negated: true},
	"StringEqualsIgnoreCase":    {fold: true},
	"StringNotEqualsIgnoreCase": {fold: true, negated: true},
	"StringLike":                {syntax: syntax{wildcards: true}},
	"StringNotLike":             {syntax: syntax{wildcards: true}, negated: true},
	"NumericEquals":             {kind: number, compare: func(sign int) bool { return sign == 0 }},
	"NumericNotEquals":          {kind: number, compare: func(sign int) bool { return sign == 0 }, negated: true},
	"NumericLessThan":           {kind: number, compare: func(sign int) bool { return sign < 0 }},
	"NumericLessThanEquals":     {kind: number, compare: func(sign int) bool { return sign <= 0 }},
	"NumericGreaterThan":        {kind: number, compare: func(sign int) bool { return sign > 0 }},
	"NumericGreaterThanEquals":  {kind: number, compare: func(sign int) bool { return sign >= 0 }},
	"Bool":                      {kind: truth},
	"IpAddress":                 {kind: address},
	"NotIpAddress":              {kind: address, negated: true},
}

// condition is one key under one operator.
type condition struct {
	operator
	key string
	// ifExists lets a key that has no value pass.
	ifExists bool
	texts    []pattern
	numbers  []int64
	truths   []bool
	ranges   []netip.Prefix
}

// parseConditions reads the Condition of a statement: operators, and under each keys, and under
// each values.
func parseConditions(value any, variables bool) ([]condition, error) {
	o, ok := value.(object)
	if !ok {
		return nil, refuse("Condition is an object of operators")
	}
	var out []condition
	for _, name := range slices.Sorted(maps.Keys(o)) {
		base, ifExists := strings.CutSuffix(name, "IfExists")
		op, known := operators[base]
		if !known {
			return nil, refuse("Invalid Condition type: %s is not supported; supported are %s", name, names(operators))
		}
		op.syntax.variables = variables
		under, ok := o[name].(object)
		if !ok {
			return nil, refuse("Condition: %s is an object of keys", name)
		}
		for _, key := range slices.Sorted(maps.Keys(under)) {
			c := condition{operator: op, ifExists: ifExists}
			if c.key, ok = keyNamed(key); !ok {
				return nil, refuse("Policy has an invalid condition key: %s is not supported; supported are %s", key, names(keys))
			}
			if keys[c.key] != op.kind {
				return nil, refuse("Condition: %s does not compare %s", name, key)
			}
			if err := c.parse(under[key]); err != nil {
				return nil, err
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// keyNamed finds a key, whose case does not matter.
func keyNamed(name string) (string, bool) {
	for key := range keys {
		if strings.EqualFold(key, name) {
			return key, true
		}
	}
	return "", false
}

func names[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

// parse reads the values, which may be written as texts whatever they are.
func (c *condition) parse(value any) error {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	if len(list) == 0 {
		return refuse("Condition: %s has no value", c.key)
	}
	for _, v := range list {
		if err := c.add(v); err != nil {
			return err
		}
	}
	return nil
}

func (c *condition) add(value any) error {
	written, isText := value.(string)
	if b, ok := value.(bool); ok && c.kind == truth {
		written, isText = strconv.FormatBool(b), true
	}
	if n, ok := value.(interface{ String() string }); ok && c.kind == number { // a json.Number
		written, isText = n.String(), true
	}
	if !isText {
		return refuse("Condition: %s has a value of the wrong type", c.key)
	}
	switch c.kind {
	case number:
		n, err := strconv.ParseInt(written, 10, 64)
		if err != nil {
			return refuse("Condition: %s has the value %q, which is no whole number", c.key, written)
		}
		c.numbers = append(c.numbers, n)
	case truth:
		if written != "true" && written != "false" {
			return refuse("Condition: %s has the value %q, which is neither true nor false", c.key, written)
		}
		c.truths = append(c.truths, written == "true")
	case address:
		r, err := parseRange(written)
		if err != nil {
			return refuse("Condition: %s has the value %q, which is no address or range of them", c.key, written)
		}
		c.ranges = append(c.ranges, r)
	case text:
		if c.fold {
			written = strings.ToLower(written)
		}
		p, err := c.syntax.parse(written)
		if err != nil {
			return err
		}
		c.texts = append(c.texts, p)
	}
	return nil
}

// parseRange reads an address, or a range in the notation of CIDR.
func parseRange(written string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(written)
	if !strings.Contains(written, "/") {
		var a netip.Addr
		a, err = netip.ParseAddr(written)
		p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
	}
	if err == nil && p.Addr().Is4In6() { // the address of a client never is, so it would match none
		err = refuse("an IPv4 address in an IPv6 one")
	}
	return p.Masked(), err
}

// holds reports whether the condition holds of a request.
func (c *condition) holds(r *Request) bool {
	equal, known := c.compareWith(r)
	if !known {
		return c.negated || c.ifExists
	}
	return equal != c.negated
}

// compareWith reports whether any of the values compares with what the request has of the key,
// and whether it has something.
func (c *condition) compareWith(r *Request) (equal, known bool) {
	switch c.key {
	case "aws:SourceIp":
		a := r.SourceIP.Unmap().WithZone("")
		return slices.ContainsFunc(c.ranges, func(p netip.Prefix) bool { return p.Contains(a) }), a.IsValid()
	case "aws:SecureTransport":
		return slices.Contains(c.truths, r.Secure), true
	case "s3:max-keys":
		if r.MaxKeys == nil {
			return false, false
		}
		return slices.ContainsFunc(c.numbers, func(n int64) bool { return c.compare(cmp.Compare(*r.MaxKeys, n)) }), true
	case "aws:username":
		return c.anyText(r.Principal, r), r.Principal != ""
	}
	value := r.Prefix
	if c.key == "s3:delimiter" {
		value = r.Delimiter
	}
	if value == nil {
		return false, false
	}
	return c.anyText(*value, r), true
}

func (c *condition) anyText(value string, r *Request) bool {
	name := r.Principal
	if c.fold {
		value, name = strings.ToLower(value), strings.ToLower(name)
	}
	return anyMatches(c.texts, value, name)
}

// bounds reports whether the condition holds a request to addresses or to names that the
// policy itself says.
func (c *condition) bounds() bool {
	if c.negated || c.ifExists {
		return false
	}
	switch c.key {
	case "aws:SourceIp":
		return !slices.ContainsFunc(c.ranges, func(p netip.Prefix) bool {
			return p.Addr().Is4() && p.Bits() < minBits4 || p.Addr().Is6() && p.Bits() < minBits6
		})
	case "aws:username":
		return !slices.ContainsFunc(c.texts, func(p pattern) bool { return !p.fixed() })
	}
	return false
}
