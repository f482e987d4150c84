package s3api_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chainfire/object"
	"chainfire/s3api"
	"chainfire/sigv4"
)

// sample is a request that an operation which writes takes, in a fixture with the bucket
// "samples" and the object "there" in it.
type sample struct {
	call
	status int
	// still says that the request changes nothing.
	still bool
}

// samples are by operation. An operation that writes and has none fails the tests below.
var samples = withMore(map[string]sample{
	"CreateBucket":  {call{method: "PUT", path: "/another", body: `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>us-east-1</LocationConstraint></CreateBucketConfiguration>`}, 200, false},
	"DeleteBucket":  {call{method: "DELETE", path: "/vacant"}, 204, false},
	"PutObject":     {call{method: "PUT", path: "/samples/new", body: "the body"}, 200, false},
	"CopyObject":    {call{method: "PUT", path: "/samples/copy", header: map[string]string{"X-Amz-Copy-Source": "samples/there"}}, 200, false},
	"DeleteObject":  {call{method: "DELETE", path: "/samples/there"}, 204, false},
	"DeleteObjects": {call{method: "POST", path: "/samples?delete", body: deleteThere, header: map[string]string{"Content-Md5": md5Of(deleteThere)}}, 200, false},
})

const deleteThere = "<Delete><Object><Key>there</Key></Object></Delete>"

func startSamples(t *testing.T) *fixture {
	f := start(t, nil)
	f.bucket("samples")
	f.bucket("vacant")
	f.put("samples", "there", "v")
	f.moreSamples()
	f.key(object.AccessKey{ID: "AKNONE"})
	f.key(object.AccessKey{ID: "AKREAD", Grants: []object.Grant{{Bucket: "*", Read: true}}})
	f.key(object.AccessKey{ID: "AKOTHER", Grants: []object.Grant{{Bucket: "sample", Read: true, Write: true}, {Bucket: "samples*x", Read: true, Write: true}}})
	f.key(object.AccessKey{ID: "AKDISABLED", Admin: true, Disabled: true})
	return f
}

// attack turns a good request into one that must be refused. It gets the request before it is
// signed, signs it, and breaks it before or afterwards.
type attack struct {
	name   string
	forge  func(r *http.Request, body string)
	status int
	code   string
	// body attacks need one.
	body bool
}

func sign(r *http.Request, body string, at time.Time, change func(*sigv4.Signer)) {
	s := signer(adminID)
	if change != nil {
		change(s)
	}
	if err := s.Sign(r, hashOf(body), at); err != nil {
		panic(err)
	}
}

// after signs well, and then changes the request.
func after(change func(*http.Request)) func(*http.Request, string) {
	return func(r *http.Request, body string) {
		sign(r, body, time.Now(), nil)
		change(r)
	}
}

// by signs with another signer.
func by(change func(*sigv4.Signer)) func(*http.Request, string) {
	return func(r *http.Request, body string) { sign(r, body, time.Now(), change) }
}

// as signs with another access key.
func as(id string) func(*http.Request, string) {
	return by(func(s *sigv4.Signer) { s.Credentials.AccessKeyID = id })
}

// streamed sends a body in chunks that are not signed, after a header that is.
func streamed(r *http.Request, wire string, decoded int, trailer string) {
	r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(decoded))
	r.Header.Set("X-Amz-Trailer", trailer)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(wire)), int64(len(wire))
	if err := signer(adminID).Sign(r, sigv4.StreamingUnsignedTrailer, time.Now()); err != nil {
		panic(err)
	}
}

// chunked sends a body in signed chunks, the bytes of which are changed on their way.
func chunked(length func(int) int, change func(string) string) func(*http.Request, string) {
	return func(r *http.Request, body string) {
		c, err := signer(adminID).SignChunked(r, int64(length(len(body))), "", time.Now())
		if err != nil {
			panic(err)
		}
		wire := change(string(c.AppendTrailer(c.Append(c.Append(nil, []byte(body)), nil), "", "")))
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(wire)), int64(len(wire))
	}
}

func same(n int) int { return n }

// addQuery adds to the query as it is on the wire.
func addQuery(r *http.Request, s string) {
	if r.URL.RawQuery != "" {
		s = r.URL.RawQuery + "&" + s
	}
	r.URL.RawQuery = s
}

// attacks are by the points of the checklist of what broke other servers.
var attacks = []attack{
	// One mechanism, and one that is known.
	{"unsigned", func(*http.Request, string) {}, 403, "AccessDenied", false},
	{"signed in header and query", after(func(r *http.Request) { addQuery(r, "X-Amz-Signature="+strings.Repeat("0", 64)) }), 400, "InvalidArgument", false},
	{"two signatures", after(func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }), 400, "InvalidArgument", false},
	{"version 2", func(r *http.Request, _ string) { r.Header.Set("Authorization", "AWS "+adminID+":AAAA") }, 400, "InvalidRequest", false},
	{"version 4A", func(r *http.Request, _ string) { r.Header.Set("Authorization", "AWS4-ECDSA-P256-SHA256 Credential=x") }, 400, "InvalidRequest", false},
	// Who asks is who signed.
	{"a key in the query that did not sign", func(r *http.Request, _ string) { addQuery(r, "X-Amz-Credential="+adminID) }, 400, "AuthorizationQueryParametersError", false},
	{"a key of nobody", as("AKNOBODY"), 403, "InvalidAccessKeyId", false},
	{"a key that is disabled", as("AKDISABLED"), 403, "InvalidAccessKeyId", false},
	{"a key that may do nothing", as("AKNONE"), 403, "AccessDenied", false},
	{"a key that may read", as("AKREAD"), 403, "AccessDenied", false},
	{"a key for buckets of like names", as("AKOTHER"), 403, "AccessDenied", false},
	{"another secret", by(func(s *sigv4.Signer) { s.Credentials.SecretAccessKey = "guessed" }), 403, "SignatureDoesNotMatch", false},
	{"a token that nobody gave", by(func(s *sigv4.Signer) { s.Credentials.SessionToken = "token" }), 400, "InvalidToken", false},
	// All that says what a request means is signed.
	{"another path", after(func(r *http.Request) { r.URL.Path += "x" }), 403, "SignatureDoesNotMatch", false},
	{"another method", after(func(r *http.Request) {
		r.Method = map[string]string{"PUT": "POST", "POST": "PUT", "DELETE": "PUT"}[r.Method]
	}), 403, "SignatureDoesNotMatch", false},
	{"more of a query", after(func(r *http.Request) { addQuery(r, "versionId=null") }), 403, "SignatureDoesNotMatch", false},
	{"a header that is not signed", after(func(r *http.Request) { r.Header.Set("X-Amz-Meta-Unsigned", "x") }), 403, "AccessDenied", false},
	{"a copy that is not signed", after(func(r *http.Request) { r.Header["X-Amz-Copy-Source"] = []string{"samples/%74here"} }), 403, "", false},
	{"another host", after(func(r *http.Request) { r.Host = "elsewhere.example" }), 403, "SignatureDoesNotMatch", false},
	{"a host that a stranger forwards", after(func(r *http.Request) {
		r.Header.Set("X-Forwarded-Host", r.URL.Host)
		r.Host = "elsewhere.example"
	}), 403, "SignatureDoesNotMatch", false},
	{"a signature of upper case", after(func(r *http.Request) {
		at, sig, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		r.Header.Set("Authorization", at+"Signature="+strings.Repeat("A", len(sig)))
	}), 400, "AuthorizationHeaderMalformed", false},
	{"a header repeated", after(func(r *http.Request) { r.Header.Add("X-Amz-Date", r.Header.Get("X-Amz-Date")) }), 400, "InvalidArgument", false},
	// For this region, this service, this time.
	{"another region", by(func(s *sigv4.Signer) { s.Region = "eu-west-1" }), 400, "AuthorizationHeaderMalformed", false},
	{"another service", by(func(s *sigv4.Signer) { s.Service = "sts" }), 400, "AuthorizationHeaderMalformed", false},
	{"too early", func(r *http.Request, body string) { sign(r, body, time.Now().Add(16*time.Minute), nil) }, 403, "RequestTimeTooSkewed", false},
	{"too late", func(r *http.Request, body string) { sign(r, body, time.Now().Add(-16*time.Minute), nil) }, 403, "RequestTimeTooSkewed", false},
	// The body is the one that was signed.
	{"no hash of the body", after(func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }), 400, "InvalidRequest", false},
	{"a hash that is none", after(func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED") }), 400, "InvalidArgument", false},
	{"the hash of another body", func(r *http.Request, body string) { sign(r, body+"x", time.Now(), nil) }, 400, "XAmzContentSHA256Mismatch", false},
	{"chunks whose request is not signed", func(r *http.Request, _ string) {
		streamed(r, "0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", 0, "x-amz-checksum-crc32")
		r.Header.Del("Authorization")
	}, 403, "AccessDenied", false},
	{"chunks whose request is signed by a guess", func(r *http.Request, _ string) {
		streamed(r, "0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", 0, "x-amz-checksum-crc32")
		at, _, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		r.Header.Set("Authorization", at+"Signature="+strings.Repeat("0", 64))
	}, 403, "SignatureDoesNotMatch", false},
	{"a chunk of other bytes", chunked(same, func(s string) string { return flipped(s) }), 403, "SignatureDoesNotMatch", true},
	{"no last chunk", chunked(same, func(s string) string { return s[:strings.LastIndex(s, "0;chunk")] }), 400, "IncompleteBody", true},
	{"more after the last chunk", chunked(same, func(s string) string { return s + "more" }), 400, "IncompleteBody", true},
	{"chunks longer than they say", chunked(func(n int) int { return n - 1 }, strings.Clone), 400, "IncompleteBody", true},
	{"chunks shorter than they say", chunked(func(n int) int { return n + 1 }, strings.Clone), 400, "IncompleteBody", true},
	{"a chunk with no size", chunked(same, func(s string) string { return "x" + s }), 400, "InvalidRequest", true},
	{"a trailer of other bytes", func(r *http.Request, body string) {
		streamed(r, fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", len(body), body), len(body), "x-amz-checksum-crc32")
	}, 400, "BadDigest", true},
	{"a trailer that was not named", func(r *http.Request, body string) {
		streamed(r, fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-sha1:AAAAAA==\r\n\r\n", len(body), body), len(body), "x-amz-checksum-crc32")
	}, 400, "MalformedTrailerError", true},
	{"a trailer that is no checksum", func(r *http.Request, body string) {
		streamed(r, fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-meta-a:b\r\n\r\n", len(body), body), len(body), "x-amz-meta-a")
	}, 400, "InvalidRequest", true},
	{"another MD5", func(r *http.Request, body string) {
		r.Header.Set("Content-Md5", md5Of(body+"x"))
		sign(r, body, time.Now(), nil)
	}, 400, "BadDigest", true},
	{"a checksum of other bytes", func(r *http.Request, body string) {
		r.Header.Set("X-Amz-Checksum-Crc32c", "AAAAAA==")
		sign(r, body, time.Now(), nil)
	}, 400, "BadDigest", true},
}

// flipped changes one byte of the first chunk.
func flipped(s string) string {
	i := strings.Index(s, "\r\n") + 3
	return s[:i] + string(s[i]^1) + s[i+1:]
}

func TestEveryWritingOperationHasASample(t *testing.T) {
	for _, name := range s3api.Writing() {
		if _, ok := samples[name]; !ok {
			t.Errorf("%s has no sample: without one no attack is tried on it", name)
		}
	}
}

func TestAttacksAreRefusedAndChangeNothing(t *testing.T) {
	f := startSamples(t)
	for _, name := range s3api.Writing() {
		s, ok := samples[name]
		if !ok {
			continue // the test above says so
		}
		for _, a := range attacks {
			if a.body && s.body == "" {
				continue
			}
			if s.status == http.StatusNotImplemented && a.name == "the hash of another body" {
				continue // the body of what is not implemented is not looked at
			}
			t.Run(name+"/"+a.name, func(t *testing.T) {
				unsigned := s.call
				unsigned.id = ""
				before, err := f.service.Digest()
				if err != nil {
					t.Fatal(err)
				}
				r := f.request(unsigned)
				a.forge(r, s.body)
				got := f.send(r)
				each := name == "DeleteObjects" && a.code == "AccessDenied" && got.status == 200 &&
					strings.Contains(got.body, "<Error><Key>there</Key><Code>AccessDenied</Code>")
				if each { // what is denied for an entry is said of the entry
					got.status, got.code = a.status, a.code
				}
				if got.status != a.status || a.code != "" && got.code != a.code {
					t.Errorf("answered %d %s, want %d %s: %s", got.status, got.code, a.status, a.code, got.body)
				}
				now, err := f.service.Digest()
				if err != nil {
					t.Fatal(err)
				}
				if now != before {
					t.Fatal("the state has changed")
				}
			})
		}
	}
}

func TestTheSamplesThemselvesAreTaken(t *testing.T) {
	names := s3api.Writing()
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			s, ok := samples[name]
			if !ok {
				t.Skip("there is none")
			}
			for way, send := range map[string]func(*fixture) *reply{
				"signed": func(f *fixture) *reply {
					c := s.call
					c.id = adminID
					return f.do(c)
				},
				"unsigned body": func(f *fixture) *reply {
					c := s.call
					c.id, c.payload = adminID, sigv4.UnsignedPayload
					return f.do(c)
				},
				"presigned": func(f *fixture) *reply {
					r := f.request(s.call)
					u, err := signer(adminID).Presign(r, time.Minute, time.Now())
					if err != nil {
						t.Fatal(err)
					}
					r.URL = u
					return f.send(r)
				},
				"signed chunks": func(f *fixture) *reply {
					r := f.request(s.call)
					chunked(same, strings.Clone)(r, s.body)
					if s.body == "" {
						return f.do(call{method: s.method, path: s.path, header: s.header, id: adminID})
					}
					return f.send(r)
				},
			} {
				if s.status == http.StatusNotImplemented && way != "signed" {
					continue // it is not looked at
				}
				f := startSamples(t)
				before, _ := f.service.Digest()
				if got := send(f); got.status != s.status {
					t.Errorf("%s: %d %s, want %d", way, got.status, got.body, s.status)
				}
				if now, _ := f.service.Digest(); now == before != s.still {
					t.Errorf("%s: that the state has changed is %t", way, now != before)
				}
			}
		})
	}
}

func TestASignatureThatDoesNotMatchIsExplained(t *testing.T) {
	f := startSamples(t)
	r := f.request(call{method: "GET", path: "/samples/there"})
	sign(r, "", time.Now(), func(s *sigv4.Signer) { s.Credentials.SecretAccessKey = "guessed" })
	got := f.send(r)
	got.want(t, 403, "SignatureDoesNotMatch")
	for _, element := range []string{"AWSAccessKeyId", "StringToSign", "SignatureProvided", "StringToSignBytes", "CanonicalRequest", "CanonicalRequestBytes", "RequestId", "HostId", "Resource"} {
		if !strings.Contains(got.body, "<"+element+">") {
			t.Errorf("the answer has no %s: %s", element, got.body)
		}
	}
	if got.header.Get("X-Amz-Request-Id") == "" || got.header.Get("X-Amz-Id-2") != "member-1" {
		t.Errorf("headers: %v", got.header)
	}
	head := f.request(call{method: "HEAD", path: "/samples/there"})
	sign(head, "", time.Now(), func(s *sigv4.Signer) { s.Credentials.SecretAccessKey = "guessed" })
	if got := f.send(head); got.status != 403 || got.body != "" {
		t.Errorf("HEAD: %d %q", got.status, got.body)
	}
}
