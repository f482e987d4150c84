package s3api

import (
	"net/http"
	"slices"
	"strings"

	"chainfire/sigv4"
)

// level is what a request is about.
type level uint8

const (
	serviceLevel level = iota
	bucketLevel
	objectLevel
)

// String is the level as S3 names it.
func (l level) String() string { return [...]string{"SERVICE", "BUCKET", "OBJECT"}[l] }

// access is what an access key must be granted for an operation.
type access uint8

const (
	// accessListed is any key's: the operation answers only with what the key may see.
	accessListed access = iota
	accessRead
	accessWrite
	// accessControl is to read and to write: what says how a bucket behaves, and the bucket
	// itself.
	accessControl
	// accessAdmin is for administrators alone.
	accessAdmin
	// accessOpen is anyone's, also unsigned: a preflight; a form, which is authenticated by its
	// handler; and a delete of many, which is decided on key by key.
	accessOpen
)

// operation is one thing that can be asked for.
type operation struct {
	// name is what AWS calls it.
	name   string
	method string
	level  level
	// query are the parameters that make it this operation, each as a name or as
	// name=value: all must be there.
	query []string
	// when, if it is not nil, must hold of the request too: for what headers decide.
	when func(*http.Request) bool
	// action is its name in policies; access what a key must be granted.
	action string
	access access
	// handle answers the request, or returns why not.
	handle func(*request) error
}

// writes reports whether an operation changes something. All that do are named by a method
// that says so, but for questions that are too long for a URL.
func (op *operation) writes() bool {
	return op.method != http.MethodGet && op.method != http.MethodHead && op.method != http.MethodOptions
}

// operations is the table of all operations. The more exact ones win: those with more
// parameters, then those with a condition.
func operations() []operation {
	all := slices.Concat(
		serviceOperations(),
		bucketOperations(),
		objectOperations(),
		configOperations(),
		fixedOperations(),
		taggingOperations(),
		lockOperations(),
		aclOperations(),
		attributeOperations(),
		uploadOperations(),
		formOperations(),
		absentOperations(),
	)
	slices.SortStableFunc(all, func(a, b operation) int {
		if n := len(b.query) - len(a.query); n != 0 {
			return n
		}
		switch {
		case a.when != nil && b.when == nil:
			return -1
		case a.when == nil && b.when != nil:
			return 1
		}
		return 0
	})
	return all
}

// subresources are the parameters that make a request one about something else than the bucket
// or the object itself, as AWS has them. What no operation of ours is for is not implemented.
var subresources = []string{
	"accelerate", "acl", "analytics", "annotation", "annotations", "append", "attributes", "cors", "delete", "encryption",
	"intelligent-tiering", "inventory", "legal-hold", "lifecycle", "location", "logging",
	"metadataAnnotationTable", "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable",
	"metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus",
	"publicAccessBlock", "quota", "rename", "renameObject", "replication", "requestPayment", "restore", "retention",
	"select", "session", "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "abac",
	"website",
}

// find finds the operation of a request.
func find(table []operation, r *http.Request, at level, q sigv4.Query) (*operation, error) {
	var asked []string
	for i := range q {
		if slices.Contains(subresources, q[i].Name) && !slices.Contains(asked, q[i].Name) {
			asked = append(asked, q[i].Name)
		}
	}
	var methods []string
	for i := range table {
		op := &table[i]
		if op.level != at || !op.asks(q) || slices.ContainsFunc(asked, func(name string) bool { return !op.names(name) }) {
			continue
		}
		if op.method != r.Method {
			methods = append(methods, op.method)
			continue
		}
		if op.when != nil && !op.when(r) {
			continue
		}
		if name, ok := strange(r.Method, q); ok && len(op.query) == 0 {
			return nil, notImplemented("the subresource " + name)
		}
		return op, nil
	}
	if len(asked) > 1 {
		return nil, refusef(codeInvalidArgument, "Conflicting query string parameters: %s", strings.Join(asked, ", "))
	}
	if len(asked) == 1 && len(methods) == 0 {
		return nil, notImplemented("the subresource " + asked[0])
	}
	slices.Sort(methods)
	return nil, refuse(codeMethodNotAllowed).
		with("Method", r.Method).
		with("ResourceType", at.String()).
		header("Allow", strings.Join(slices.Compact(methods), ", "))
}

// asks reports whether a query has the parameters of an operation.
func (op *operation) asks(q sigv4.Query) bool {
	for _, want := range op.query {
		name, value, exact := strings.Cut(want, "=")
		if !q.Has(name) || exact && q.Get(name) != value {
			return false
		}
	}
	return true
}

// names reports whether a parameter is one of those of an operation.
func (op *operation) names(parameter string) bool {
	return slices.ContainsFunc(op.query, func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return name == parameter
	})
}

// strange finds a parameter without a value that nobody knows in a request that writes. It
// might be a subresource of tomorrow: then the write would be to something else.
func strange(method string, q sigv4.Query) (name string, found bool) {
	if method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions {
		return "", false
	}
	known := []string{"versionId", "x-id", "partNumber", "X-Amz-Security-Token"}
	for i := range q {
		if q[i].Value == "" && !slices.Contains(known, q[i].Name) {
			return q[i].Name, true
		}
	}
	return "", false
}
