// Package bucketpolicy is the policy of a bucket: a documented subset of AWS's language, read
// strictly and evaluated as AWS evaluates it.
//
// What is not of the subset is refused by name when the policy is set, and never passed over:
// a condition that is not understood must not widen what a statement allows, nor narrow what
// it denies. A Policy does not change once it was parsed, and any goroutine may evaluate it.
//
// Source: "IAM JSON policy reference" (IAM User Guide) and "Policies and permissions in
// Amazon S3" (Amazon S3 User Guide).
package bucketpolicy

import (
	"fmt"
	"net/netip"
	"slices"
)

// MaxSize bounds the document, in bytes, as AWS does.
const MaxSize = 20 << 10

// maxEffort bounds the characters between two * of all patterns together: each may be compared
// with each character of a key, and the policy is evaluated for each of the keys of a request.
const maxEffort = 512

// Decision is what a policy says of a request.
type Decision uint8

// The decisions: None is no word on it, so that something else has to allow it.
const (
	None Decision = iota
	Allow
	Deny
)

// Error says why a document is no policy. The message is for whoever wrote it; S3 answers it
// with the code MalformedPolicy.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func refuse(format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...)}
}

// Request is what is to be decided on.
type Request struct {
	// Principal is the id of the access key, or empty where nobody has signed.
	Principal string
	// Action is as s3:GetObject.
	Action string
	// Resource is the bucket, or the bucket, a slash and the key.
	Resource string
	// SourceIP is the client's address, and not valid where that is unknown.
	SourceIP netip.Addr
	// Secure says that the request came over TLS.
	Secure bool
	// Prefix, Delimiter and MaxKeys are what a listing asks for, or nil. A listing that
	// leaves them out has none, which no condition but a negated one holds of.
	Prefix, Delimiter *string
	MaxKeys           *int64
}

// Policy is a bucket's policy. The zero value has no word on anything.
type Policy struct {
	statements []statement
}

// Parse reads the policy of a bucket. Its errors are of type *Error.
func Parse(document []byte, bucket string) (*Policy, error) {
	root, err := parseJSON(document)
	if err != nil {
		return nil, err
	}
	if err := root.only("the policy", "Version", "Id", "Statement"); err != nil {
		return nil, err
	}
	variables := false
	if v, ok := root["Version"]; ok {
		switch v {
		case "2012-10-17":
			variables = true
		case "2008-10-17":
		default:
			return nil, refuse("The policy must contain a valid version string: 2012-10-17 or 2008-10-17")
		}
	}
	if id, ok := root["Id"]; ok {
		if _, isText := id.(string); !isText {
			return nil, refuse("Id must be a text")
		}
	}
	list, err := root.statements()
	if err != nil {
		return nil, err
	}
	p := &Policy{}
	sids, effort := map[string]bool{}, 0
	for i, entry := range list {
		s, err := parseStatement(entry, bucket, variables)
		if err != nil {
			return nil, refuse("Statement %d: %v", i+1, err)
		}
		if s.sid != "" && sids[s.sid] {
			return nil, refuse("Statement IDs (SID) in a single policy must be unique: %q is there twice", s.sid)
		}
		sids[s.sid] = true
		if effort += s.effort(); effort > maxEffort {
			return nil, refuse("The patterns of the policy take too long to match: what is between two * in them has more than %d characters together, of which ${aws:username} counts for %d", maxEffort, maxUsername)
		}
		p.statements = append(p.statements, *s)
	}
	return p, nil
}

// Evaluate decides on a request: Deny where any statement denies it, else Allow where any
// allows it.
func (p *Policy) Evaluate(r *Request) Decision {
	decision := None
	for i := range p.statements {
		s := &p.statements[i]
		if !s.matches(r) {
			continue
		}
		if s.effect == Deny {
			return Deny
		}
		decision = Allow
	}
	return decision
}

// Strangers reports whether the policy may let who has not signed do one of some actions to
// something: to which, and where from, only Evaluate says.
func (p *Policy) Strangers(actions ...string) bool {
	return slices.ContainsFunc(p.statements, func(s statement) bool {
		return s.effect == Allow && s.everyone && slices.ContainsFunc(actions, s.names)
	})
}

// Public reports whether the policy lets anyone in whom nothing but chance bounds: it has a
// statement that allows something to everyone, and that no condition holds to ranges of
// addresses (of at least 8 bits, or 32 of IPv6) or to named keys.
func (p *Policy) Public() bool {
	return slices.ContainsFunc(p.statements, func(s statement) bool {
		return s.effect == Allow && s.everyone && !s.bounded()
	})
}

// bounded reports whether a condition narrows down who is meant by everyone.
func (s *statement) bounded() bool {
	return slices.ContainsFunc(s.conditions, func(c condition) bool { return c.bounds() })
}
