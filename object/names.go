package object

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// bucketName is what may be in a bucket's name at all, and at its ends.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*[a-z0-9]$`)

// ipv4Form is what looks like an IPv4 address, whether it is one or not.
var ipv4Form = regexp.MustCompile(`^([0-9]+\.){3}[0-9]+$`)

// What AWS keeps for itself, at either end of a name.
var (
	reservedPrefixes = []string{"xn--", "sthree-", "amzn-s3-demo-"}
	reservedSuffixes = []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"}
)

// CheckBucketName holds a name to the rules of S3 for general purpose buckets: 3 to 63 lower
// case letters, digits, dots and hyphens, with a letter or a digit at both ends, no two dots
// side by side, not in the form of an IPv4 address, and nothing that AWS reserves. The error is
// ErrInvalidBucketName with the rule.
func CheckBucketName(name string) error {
	rule := ""
	switch {
	case len(name) < MinBucketLen || len(name) > MaxBucketLen:
		rule = fmt.Sprintf("it has %d characters, not %d to %d", len(name), MinBucketLen, MaxBucketLen)
	case !bucketName.MatchString(name):
		rule = "it may have lower-case letters, digits, dots and hyphens, and a letter or a digit at both ends"
	case strings.Contains(name, ".."):
		rule = "it has two dots side by side"
	case ipv4Form.MatchString(name):
		rule = "it has the form of an IP address"
	default:
		for _, p := range reservedPrefixes {
			if strings.HasPrefix(name, p) {
				rule = "names that begin with " + p + " are reserved"
			}
		}
		for _, s := range reservedSuffixes {
			if strings.HasSuffix(name, s) {
				rule = "names that end with " + s + " are reserved"
			}
		}
	}
	if rule == "" {
		return nil
	}
	return fmt.Errorf("%w %.80q: %s", ErrInvalidBucketName, name, rule)
}

// CheckKey holds a key to the rules of S3: 1 to MaxKeyLen bytes of valid UTF-8. The error is
// ErrTooLarge for one that is too long, else ErrInvalid, with the rule.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: a key has at least one byte", ErrInvalid)
	case len(key) > MaxKeyLen:
		return fmt.Errorf("%w: a key has at most %d bytes, and this one %d", ErrTooLarge, MaxKeyLen, len(key))
	case !utf8.ValidString(key):
		return fmt.Errorf("%w: a key must be valid UTF-8", ErrInvalid)
	}
	return nil
}
