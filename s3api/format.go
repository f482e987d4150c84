package s3api

import (
	"mime"
	"strconv"
	"strings"

	"chainfire/object"
)

func decimal(n int) string { return strconv.Itoa(n) }

// quoted is an ETag as it is sent.
func quoted(etag string) string { return `"` + etag + `"` }

// unquoted is an ETag as it is stored, of one that was sent, with its quotes or without.
func unquoted(etag string) string {
	etag = strings.TrimSpace(etag)
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag[1 : len(etag)-1]
	}
	return etag
}

// mediaType is the type of a Content-Type, in lower case, without its parameters.
func mediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		t, _, _ = strings.Cut(contentType, ";")
		return strings.ToLower(strings.TrimSpace(t))
	}
	return t
}

// nullVersion is what the null version is called.
const nullVersion = "null"

// versionText is a version's id as clients see it: opaque to them, and the longer the id, the
// same width.
func versionText(id object.VersionID) string {
	if id == object.Null {
		return nullVersion
	}
	s := strconv.FormatUint(uint64(id), 16)
	return strings.Repeat("0", 16-len(s)) + s
}

// parseVersion reads a version's id. One that was never given out is one that is not there.
func parseVersion(s string) (object.VersionID, error) {
	if s == nullVersion {
		return object.Null, nil
	}
	id, err := strconv.ParseUint(s, 16, 64)
	if err != nil || versionText(object.VersionID(id)) != s {
		return 0, invalidArgument("versionId", s, "Invalid version id specified")
	}
	return object.VersionID(id), nil
}

// versionParam is the version that a request asks for, nil for the newest.
func (rq *request) versionParam() (*object.VersionID, error) {
	if !rq.query.Has("versionId") {
		return nil, nil
	}
	text := rq.param("versionId")
	if text == "" {
		return nil, invalidArgument("versionId", text, "Version id cannot be the empty string")
	}
	id, err := parseVersion(text)
	if err != nil {
		return nil, err
	}
	return &id, nil
}
