package sigv4

import (
	"fmt"
	"slices"
	"strings"
)

// maxQueryPairs bounds the pairs of a query; what S3 knows has a few dozen.
const maxQueryPairs = 1000

// Pair is one parameter of a query, decoded.
type Pair struct {
	Name, Value string
	// Bare is a name without an equals sign.
	Bare bool
}

// Query is a query as it was sent: decoded, in order, repeated and empty parameters kept.
type Query []Pair

// ParseQuery reads the query of a URL as it is on the wire. Parameters are separated by
// "&" and by nothing else; a plus sign is a plus sign. It fails where the encoding is
// broken or there are more than 1,000 parameters.
func ParseQuery(raw string) (Query, error) {
	if raw == "" {
		return nil, nil
	}
	var q Query
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if len(q) == maxQueryPairs {
			return nil, fmt.Errorf("the query has more than %d parameters", maxQueryPairs)
		}
		name, value, equals := strings.Cut(part, "=")
		p := Pair{Bare: !equals}
		var err error
		if p.Name, err = Decode(name); err != nil {
			return nil, fmt.Errorf("in the name of a query parameter: %w", err)
		}
		if p.Value, err = Decode(value); err != nil {
			return nil, fmt.Errorf("in the value of the query parameter %q: %w", p.Name, err)
		}
		q = append(q, p)
	}
	return q, nil
}

// Get is the first value of a parameter, or the empty one.
func (q Query) Get(name string) string {
	for i := range q {
		if q[i].Name == name {
			return q[i].Value
		}
	}
	return ""
}

// Has reports whether there is such a parameter, with a value or without.
func (q Query) Has(name string) bool { return q.count(name) > 0 }

func (q Query) count(name string) (n int) {
	for i := range q {
		if q[i].Name == name {
			n++
		}
	}
	return n
}

// Canonical is the canonical form: encoded, sorted by name and then by value as they are
// after the encoding, a name without a value followed by an equals sign. The parameter
// that is named, as that of the signature itself, is left out.
func (q Query) Canonical(without string) string {
	encoded := make([][2]string, 0, len(q))
	n := 0
	for _, p := range q {
		if without != "" && p.Name == without {
			continue
		}
		e := [2]string{Encode(p.Name), Encode(p.Value)}
		n += len(e[0]) + len(e[1]) + 2
		encoded = append(encoded, e)
	}
	slices.SortFunc(encoded, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var b strings.Builder
	b.Grow(n)
	for i, e := range encoded {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(e[0])
		b.WriteByte('=')
		b.WriteString(e[1])
	}
	return b.String()
}
