// Package sigv4 is AWS Signature Version 4: the canonical request, signing, and the
// verification that an S3 server needs, of headers, presigned URLs, streamed bodies and
// POST forms. It depends on the standard library alone, and anyone may import it.
//
// What a request means and what its signature covers is read here once and in one way:
// a server takes the query from ParseQuery and who is asking from Verified, never from
// the request again. Most holes in servers of this kind came from reading twice.
//
// Source: "AWS Signature Version 4 for API requests" (IAM User Guide) and "Authenticating
// Requests (AWS Signature Version 4)" (Amazon S3 API Reference).
package sigv4
