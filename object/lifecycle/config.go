// Package lifecycle is what a bucket's rules say is to be deleted by age: the rules, read and
// checked as AWS does; what they make of one version or upload, which is a function of those
// and of the time; and the walk over a bucket that has it deleted.
//
// Source: "Managing the lifecycle of objects" (Amazon S3 User Guide) and
// PutBucketLifecycleConfiguration (Amazon S3 API Reference).
package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"chainfire/object"
)

// ConfigName is the name of the document of a bucket that has its rules, as XML.
const ConfigName = "lifecycle"

// Bounds of a configuration, which are AWS's.
const (
	MaxRules = 1000
	maxID    = 255
	maxNewer = 100
	maxDays  = 1<<31 - 1
)

// The codes of errors, as AWS has them.
const (
	MalformedXML    = "MalformedXML"
	InvalidArgument = "InvalidArgument"
	InvalidRequest  = "InvalidRequest"
	NotImplemented  = "NotImplemented"
)

// Error says why a document is no configuration, to whoever wrote it.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// Config is the rules of a bucket. It does not change once it was parsed, and any goroutine
// may evaluate it.
type Config struct{ Rules []Rule }

// Rule is one rule: what the filter matches is subject to each of its actions.
type Rule struct {
	ID      string
	Enabled bool
	Filter  Filter
	// Expiration is for the newest version of a key.
	Expiration Expiration
	// NoncurrentDays is how long a version is kept after a newer one was written, and
	// NewerNoncurrent how many such versions are kept whatever their age. 0 days is no
	// such action.
	NoncurrentDays, NewerNoncurrent int64
	// AbortDays is how long an upload may be open; 0 is no bound.
	AbortDays int64
}

// Filter says which objects a rule is for: all that it asks for must hold.
type Filter struct {
	Prefix string
	// Tags must all be there.
	Tags []object.Pair
	// Greater and Less, where not nil, are bounds of the size, in bytes, that are not
	// themselves allowed.
	Greater, Less *int64
	form          filterForm
	// prefixed says that Prefix was written, within Filter or And, though it be empty.
	prefixed bool
}

// filterForm is how the filter was written, for it to be shown again as it was.
type filterForm uint8

const (
	formPrefix filterForm = iota // Prefix in the rule, as it once was
	formEmpty
	formOne
	formAnd
)

// Expiration is when the newest version of a key expires: at most one is set.
type Expiration struct {
	Days int64
	Date time.Time
	// Markers removes delete markers that are all that is left of their keys.
	Markers bool
	// idle says that it was written, and asks for nothing.
	idle bool
}

// matches reports whether the filter matches a version.
func (f *Filter) matches(v *object.Version) bool {
	if !f.matchesKey(v.Key) {
		return false
	}
	if v.DeleteMarker { // which has neither tags nor a size
		return len(f.Tags) == 0 && f.Greater == nil && f.Less == nil
	}
	if f.Greater != nil && v.Size <= *f.Greater || f.Less != nil && v.Size >= *f.Less {
		return false
	}
	for _, want := range f.Tags {
		if !slices.Contains(v.Tags, want) {
			return false
		}
	}
	return true
}

func (f *Filter) matchesKey(key string) bool { return strings.HasPrefix(key, f.Prefix) }
