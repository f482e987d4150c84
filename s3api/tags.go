package s3api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"chainfire/object"
)

// tagsOf reads the tags of x-amz-tagging, which are a query in the encoding of forms: there, and
// only there, a plus sign is a space.
func tagsOf(h http.Header) ([]object.Pair, error) {
	text, err := one(h, "X-Amz-Tagging")
	if err != nil || text == "" {
		return nil, err
	}
	var out []object.Pair
	for part := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(part, "=")
		p := object.Pair{}
		if p.Name, err = url.QueryUnescape(name); err == nil {
			p.Value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return nil, invalidArgument("x-amz-tagging", text, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.").because(err)
		}
		out = append(out, p)
	}
	return sortedTags(out, object.MaxTags)
}

// sortedTags holds tags, of which there may be so many, to the rules of S3 and puts them in
// order.
func sortedTags(tags []object.Pair, most int) ([]object.Pair, error) {
	if len(tags) > most {
		return nil, refusef(codeBadRequest, "Object tags cannot be greater than %d", most)
	}
	slices.SortFunc(tags, func(a, b object.Pair) int { return strings.Compare(a.Name, b.Name) })
	for i, t := range tags {
		switch n := utf8.RuneCountInString(t.Name); {
		case n == 0 || n > object.MaxTagKey || !tagText(t.Name) || strings.HasPrefix(strings.ToLower(t.Name), "aws:"):
			return nil, refusef(codeInvalidTag, "The TagKey you have provided is invalid").with("TagKey", t.Name)
		case utf8.RuneCountInString(t.Value) > object.MaxTagValue || !tagText(t.Value):
			return nil, refusef(codeInvalidTag, "The TagValue you have provided is invalid").with("TagValue", t.Value)
		case i > 0 && tags[i-1].Name == t.Name:
			return nil, refusef(codeInvalidTag, "Cannot provide multiple Tags with the same key").with("TagKey", t.Name)
		}
	}
	return tags, nil
}

// tagText reports whether a text has only characters that tags may have.
func tagText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !unicode.Is(unicode.Zs, r) && !strings.ContainsRune("_.:/=+-@", r) {
			return false
		}
	}
	return true
}
