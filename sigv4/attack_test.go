package sigv4

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// signed is a request that passes, as a client here signs it.
func signed(t *testing.T, method, target string, header ...string) *http.Request {
	t.Helper()
	r := parse(method, target, "h.example", header...)
	payload := UnsignedPayload
	if p := r.Header.Get("X-Amz-Content-Sha256"); p != "" {
		payload = p
	}
	if err := exampleSigner().Sign(r, payload, exampleTime); err != nil {
		t.Fatal(err)
	}
	return r
}

func exampleSigner() *Signer {
	return &Signer{Credentials: Credentials{AccessKeyID: exampleID, SecretAccessKey: exampleSecret}, Region: "us-east-1"}
}

// presigned is a presigned request that passes.
func presigned(t *testing.T, target string, expires time.Duration, header ...string) *http.Request {
	t.Helper()
	r := parse("GET", target, "h.example", header...)
	u, err := exampleSigner().Presign(r, expires, exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	return parse("GET", u.RequestURI(), "h.example", header...)
}

func TestWhatIsNotAsItWasSignedIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(r *http.Request)
		want   Code
	}{
		"another method":                {func(r *http.Request) { r.Method = "DELETE" }, SignatureDoesNotMatch},
		"another key":                   {func(r *http.Request) { r.URL.Path = "/b/other" }, SignatureDoesNotMatch},
		"a dot segment":                 {func(r *http.Request) { r.URL.Path = "/b/./k" }, SignatureDoesNotMatch},
		"another query":                 {func(r *http.Request) { r.URL.RawQuery = "acl" }, SignatureDoesNotMatch},
		"a parameter once more":         {func(r *http.Request) { r.URL.RawQuery += "&tagging=" }, SignatureDoesNotMatch},
		"another host":                  {func(r *http.Request) { r.Host = "other.example" }, SignatureDoesNotMatch},
		"another value of a header":     {func(r *http.Request) { r.Header.Set("X-Amz-Meta-A", "2") }, SignatureDoesNotMatch},
		"one more value of a header":    {func(r *http.Request) { r.Header.Add("X-Amz-Meta-A", "2") }, SignatureDoesNotMatch},
		"a signed header is gone":       {func(r *http.Request) { r.Header.Del("X-Amz-Meta-A") }, SignatureDoesNotMatch},
		"a header that means something": {func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") }, AccessDenied},
		"a copy source":                 {func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "/b/secret") }, AccessDenied},
		"a checksum":                    {func(r *http.Request) { r.Header.Set("Content-Md5", "x") }, AccessDenied},
		"another payload":               {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", emptySHA256) }, SignatureDoesNotMatch},
		"payload of no kind":            {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "x") }, InvalidArgument},
		"no payload":                    {func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }, InvalidRequest},
		"payload twice":                 {func(r *http.Request) { r.Header.Add("X-Amz-Content-Sha256", UnsignedPayload) }, InvalidArgument},
		"payload of many regions": {func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")
		}, InvalidRequest},
		"no date":                             {func(r *http.Request) { r.Header.Del("X-Amz-Date") }, AccessDenied},
		"two dates":                           {func(r *http.Request) { r.Header.Add("X-Amz-Date", "20130524T000000Z") }, InvalidArgument},
		"a date of another day":               {func(r *http.Request) { r.Header.Set("X-Amz-Date", "20130525T000000Z") }, AuthorizationHeaderMalformed},
		"signed twice":                        {func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, InvalidArgument},
		"signed in the query too":             {func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Algorithm=AWS4-HMAC-SHA256" }, InvalidArgument},
		"version 2 in the query too":          {func(r *http.Request) { r.URL.RawQuery = "AWSAccessKeyId=a&Signature=b" }, InvalidArgument},
		"version 2":                           {func(r *http.Request) { r.Header.Set("Authorization", "AWS a:b") }, InvalidRequest},
		"many regions":                        {func(r *http.Request) { r.Header.Set("Authorization", "AWS4-ECDSA-P256-SHA256 x") }, InvalidRequest},
		"a token that the key does not have":  {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, AccessDenied},
		"a zero byte in the key":              {func(r *http.Request) { r.URL.Path = "/b/k\x00" }, InvalidURI},
		"a key that is not UTF-8":             {func(r *http.Request) { r.URL.Path = "/b/\xff" }, InvalidURI},
		"a broken query":                      {func(r *http.Request) { r.URL.RawQuery = "a=%zz" }, InvalidURI},
		"a forwarded host that nobody trusts": {func(r *http.Request) { r.Host = "x"; r.Header.Set("X-Forwarded-Host", "h.example") }, SignatureDoesNotMatch},
		"a trailer that was not spoken of":    {func(r *http.Request) { r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32") }, InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			r := signed(t, "PUT", "/b/k?tagging", "X-Amz-Meta-A", "1")
			if _, err := exampleVerifier().Verify(r); err != nil {
				t.Fatalf("what is as it was signed: %v", err)
			}
			tc.change(r)
			wantCode(t, second(exampleVerifier().Verify(r)), tc.want)
		})
	}
}

func TestAuthorizationThatIsNotWellFormedIsRefused(t *testing.T) {
	const signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	const scope = exampleID + "/20130524/us-east-1/s3/aws4_request"
	for name, value := range map[string]string{
		"nothing":                     "AWS4-HMAC-SHA256",
		"another algorithm":           "AWS4-HMAC-SHA512 Credential=" + scope + ", SignedHeaders=host, Signature=" + signature,
		"no credential":               "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=" + signature,
		"no headers":                  "AWS4-HMAC-SHA256 Credential=" + scope + ", Signature=" + signature,
		"no signature":                "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host",
		"credential twice":            "AWS4-HMAC-SHA256 Credential=" + scope + ", Credential=" + scope + ", SignedHeaders=host, Signature=" + signature,
		"something else":              "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host, Signature=" + signature + ", X=y",
		"scope of four parts":         "AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3, SignedHeaders=host, Signature=" + signature,
		"scope that ends otherwise":   "AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3/aws5, SignedHeaders=host, Signature=" + signature,
		"no key":                      "AWS4-HMAC-SHA256 Credential=/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + signature,
		"a day that is none":          "AWS4-HMAC-SHA256 Credential=a/20131324/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + signature,
		"another region":              "AWS4-HMAC-SHA256 Credential=a/20130524/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=" + signature,
		"another service":             "AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=" + signature,
		"host is not signed":          "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=x-amz-date, Signature=" + signature,
		"headers out of order":        "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=x-amz-date;host, Signature=" + signature,
		"a header twice":              "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host;host, Signature=" + signature,
		"a header in upper case":      "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=Host, Signature=" + signature,
		"a header of no name":         "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=;host, Signature=" + signature,
		"a signature that is short":   "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host, Signature=" + signature[1:],
		"a signature in upper case":   "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host, Signature=" + strings.ToUpper(signature),
		"a signature that is not hex": "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host, Signature=" + strings.Repeat("g", 64),
	} {
		t.Run(name, func(t *testing.T) {
			r := parse("GET", "/", "h", "X-Amz-Date", "20130524T000000Z", "X-Amz-Content-Sha256", emptySHA256, "Authorization", value)
			wantCode(t, second(exampleVerifier().Verify(r)), AuthorizationHeaderMalformed)
		})
	}
}

func TestRegionThatIsExpectedIsNamed(t *testing.T) {
	v := exampleVerifier()
	v.Region = "home"
	_, err := v.Verify(signed(t, "GET", "/"))
	wantCode(t, err, AuthorizationHeaderMalformed)
	if d := detailsOf(err); d != "Region: home\n" {
		t.Errorf("its details are %q", d) // SDKs sign again for it
	}
}

func TestAccessKeyMayHoldSlashes(t *testing.T) {
	s := exampleSigner()
	s.Credentials.AccessKeyID = "team/a/key"
	v := exampleVerifier()
	v.Keys = secrets{"team/a/key": exampleSecret}
	r := parse("GET", "/", "h")
	if err := s.Sign(r, emptySHA256, exampleTime); err != nil {
		t.Fatal(err)
	}
	got, err := v.Verify(r)
	if err != nil || got.AccessKeyID != "team/a/key" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestKeyThatThereIsNotIsRefusedByName(t *testing.T) {
	v := exampleVerifier()
	v.Keys = secrets{}
	_, err := v.Verify(signed(t, "GET", "/"))
	wantCode(t, err, InvalidAccessKeyID)
}

func TestClocksMayBeAQuarterOfAnHourApart(t *testing.T) {
	for _, tc := range []struct {
		ahead time.Duration
		want  Code
	}{{Skew, ""}, {-Skew, ""}, {Skew + time.Second, RequestTimeTooSkewed}, {-Skew - time.Second, RequestTimeTooSkewed}} {
		v := exampleVerifier()
		v.Now = func() time.Time { return exampleTime.Add(tc.ahead) }
		_, err := v.Verify(signed(t, "GET", "/"))
		if tc.want == "" && err != nil {
			t.Errorf("%v: %v", tc.ahead, err)
		} else if tc.want != "" {
			wantCode(t, err, tc.want)
		}
	}
}

func TestPresignedURLHoldsForItsTime(t *testing.T) {
	for _, tc := range []struct {
		after time.Duration
		want  Code
	}{{0, ""}, {time.Minute - time.Second, ""}, {time.Minute, AccessDenied}, {-Skew, ""}, {-Skew - time.Second, AccessDenied}} {
		v := exampleVerifier()
		v.Now = func() time.Time { return exampleTime.Add(tc.after) }
		_, err := v.Verify(presigned(t, "/b/k", time.Minute))
		if tc.want == "" && err != nil {
			t.Errorf("%v after: %v", tc.after, err)
		} else if tc.want != "" {
			wantCode(t, err, tc.want)
		}
	}
}

func TestPresignedURLThatIsNotAsItWasSignedIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		old, new string
		want     Code
	}{
		"longer":            {"X-Amz-Expires=600", "X-Amz-Expires=6000", SignatureDoesNotMatch},
		"for ever":          {"X-Amz-Expires=600", "X-Amz-Expires=604801", AuthorizationQueryParametersError},
		"no time":           {"X-Amz-Expires=600", "X-Amz-Expires=0", AuthorizationQueryParametersError},
		"less than no time": {"X-Amz-Expires=600", "X-Amz-Expires=-1", AuthorizationQueryParametersError},
		"a time of no kind": {"X-Amz-Expires=600", "X-Amz-Expires=%2B600", AuthorizationQueryParametersError},
		"time left away":    {"X-Amz-Expires=600&", "", AuthorizationQueryParametersError},
		"time twice":        {"X-Amz-Expires=600", "X-Amz-Expires=600&X-Amz-Expires=600", AuthorizationQueryParametersError},
		"signature twice":   {"X-Amz-Expires=600", "X-Amz-Expires=600&X-Amz-Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", AuthorizationQueryParametersError},
		"another version":   {"versionId=1", "versionId=2", SignatureDoesNotMatch},
		"another region":    {"us-east-1", "eu-west-1", AuthorizationQueryParametersError},
		"another day":       {"20130524%2F", "20130523%2F", AuthorizationQueryParametersError},
		"another algorithm": {"AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", AuthorizationQueryParametersError},
		"many regions":      {"AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", InvalidRequest},
		"host is unsigned":  {"SignedHeaders=host", "SignedHeaders=range", AuthorizationQueryParametersError},
		"a token":           {"X-Amz-Expires=600", "X-Amz-Expires=600&X-Amz-Security-Token=x", InvalidToken},
	} {
		t.Run(name, func(t *testing.T) {
			r := presigned(t, "/b/k?versionId=1", 10*time.Minute)
			before := r.URL.RawQuery
			if r.URL.RawQuery = strings.Replace(before, tc.old, tc.new, 1); r.URL.RawQuery == before {
				t.Fatalf("nothing is changed in %s", before)
			}
			wantCode(t, second(exampleVerifier().Verify(r)), tc.want)
		})
	}
	t.Run("a header that means something", func(t *testing.T) {
		r := presigned(t, "/b/k", 10*time.Minute)
		r.Header.Set("X-Amz-Copy-Source", "/b/secret")
		wantCode(t, second(exampleVerifier().Verify(r)), AccessDenied)
	})
}

func TestEncodedSlashOfAKeyMayBeSignedEitherWay(t *testing.T) {
	for _, path := range []string{"/b/a/c", "/b/a%2Fc"} {
		toSign := parse("GET", path, "h.example")
		if err := exampleSigner().Sign(toSign, emptySHA256, exampleTime); err != nil {
			t.Fatal(err)
		}
		r := parse("GET", "/b/a%2fc", "h.example")
		r.Header = toSign.Header
		if _, err := exampleVerifier().Verify(r); err != nil {
			t.Errorf("signed as %s: %v", path, err)
		}
	}
	// However many there are, they are read once.
	many := parse("GET", "/b/"+strings.Repeat("%2f", 1<<18), "h.example")
	many.Header = signed(t, "GET", "/b/k").Header
	wantCode(t, second(exampleVerifier().Verify(many)), SignatureDoesNotMatch)
	// A key that holds the three characters %2F is another one.
	r := parse("GET", "/b/a%252Fc", "h.example")
	r.Header = signed(t, "GET", "/b/a%2Fc").Header
	wantCode(t, second(exampleVerifier().Verify(r)), SignatureDoesNotMatch)
}

func TestPortThatGoesWithoutSayingMayBeSigned(t *testing.T) {
	for _, tc := range []struct{ signed, sent string }{
		{"h.example", "h.example:443"},
		{"h.example:443", "h.example"},
		{"h.example:80", "h.example"},
		{"h.example", "h.example:80"},
		{"[::1]", "[::1]:443"},
	} {
		r := parse("GET", "/", tc.signed)
		if err := exampleSigner().Sign(r, emptySHA256, exampleTime); err != nil {
			t.Fatal(err)
		}
		r.Host = tc.sent
		if _, err := exampleVerifier().Verify(r); err != nil {
			t.Errorf("%s signed, %s sent: %v", tc.signed, tc.sent, err)
		}
	}
	r := signed(t, "GET", "/")
	r.Host = "h.example:9000"
	wantCode(t, second(exampleVerifier().Verify(r)), SignatureDoesNotMatch)
}

func TestForwardedHostCountsWhereItIsTrusted(t *testing.T) {
	v := exampleVerifier()
	v.TrustForwarded = true
	r := signed(t, "GET", "/")
	r.Host = "inside:9000"
	r.Header.Set("X-Forwarded-Host", "h.example, inside")
	if _, err := v.Verify(r); err != nil {
		t.Error(err)
	}
}

func TestSignaturesThatDifferAreExplained(t *testing.T) {
	r := signed(t, "GET", "/b/k?x=1")
	r.URL.RawQuery = "x=2"
	_, err := exampleVerifier().Verify(r)
	wantCode(t, err, SignatureDoesNotMatch)
	d := detailsOf(err)
	for _, want := range []string{"AWSAccessKeyId: " + exampleID, "StringToSign: AWS4-HMAC-SHA256\n20130524T000000Z", "CanonicalRequest: GET\n/b/k\nx=2\nhost:h.example\n", "SignatureProvided: ", "StringToSignBytes: 41 57 53 34"} {
		if !strings.Contains(d, want) {
			t.Errorf("%q is not in\n%s", want, d)
		}
	}
	if strings.Contains(d+err.Error(), exampleSecret) {
		t.Error("the secret is in it")
	}
}

func TestBodyIsHeldToItsHash(t *testing.T) {
	r := signed(t, "PUT", "/b/k", "X-Amz-Content-Sha256", PayloadHash([]byte("the body")))
	v, err := exampleVerifier().Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Body(strings.NewReader("the body")).All(100); err != nil || string(got) != "the body" {
		t.Errorf("%q, %v", got, err)
	}
	_, err = v.Body(strings.NewReader("the bodY")).All(100)
	wantCode(t, err, XAmzContentSHA256Mismatch)
	_, err = v.Body(strings.NewReader("")).All(100)
	wantCode(t, err, XAmzContentSHA256Mismatch)
	_, err = v.Body(strings.NewReader("the body")).All(7)
	wantCode(t, err, EntityTooLarge)
}

func TestQueryMeansWhatTheWireSays(t *testing.T) {
	q, err := ParseQuery("b=2&a+b=c%20d&a=%2f&b=1&&empty=&bare&b=")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := q.Canonical(""), "a=%2F&a%2Bb=c%20d&b=&b=1&b=2&bare=&empty="; got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
	if q.Get("a+b") != "c d" || q.Get("a") != "/" || !q.Has("bare") || q.Has("c") {
		t.Errorf("it reads as %+v", q)
	}
	if q, err := ParseQuery("a=1;b=2"); err != nil || q.Get("a") != "1;b=2" {
		t.Errorf("a semicolon separates: %v, %v", q, err)
	}
	if _, err := ParseQuery(strings.Repeat("a&", maxQueryPairs+1)); err == nil {
		t.Error("there is no bound on parameters")
	}
}

func TestPathsAreCanonical(t *testing.T) {
	for _, tc := range []struct {
		wire, s3, service string
	}{
		{"", "/", "/"},
		{"/", "/", "/"},
		{"//a//b/", "//a//b/", "/a/b/"},
		{"/a/../b/./c", "/a/../b/./c", "/b/c"},
		{"/a%20b+c", "/a%20b%2Bc", "/a%2520b%252Bc"},
		{"/%7e%c3%a9*", "/~%C3%A9%2A", "/~%25C3%25A9%252A"},
		{"/a%2Fb", "/a/b", "/a/b"},
		{"/a/..", "/a/..", "/"},
	} {
		s3, err := CanonicalURI(tc.wire, S3Path)
		if err != nil || s3 != tc.s3 {
			t.Errorf("%q is %q to S3, want %q (%v)", tc.wire, s3, tc.s3, err)
		}
		service, err := CanonicalURI(tc.wire, ServicePath)
		if err != nil || service != tc.service {
			t.Errorf("%q is %q to other services, want %q (%v)", tc.wire, service, tc.service, err)
		}
	}
	for _, wire := range []string{"/%", "/%4", "/%gg", "/%00", "/%ff"} {
		if got, err := CanonicalURI(wire, S3Path); err == nil {
			t.Errorf("%q is %q", wire, got)
		}
	}
}

func TestHeadersAreCanonical(t *testing.T) {
	r := parse("GET", "/", "h", "X-Amz-Meta-A", "  a   b  c ", "X-Amz-Meta-A", "d", "X-Amz-Meta-B", "")
	r.ContentLength = 12
	got, err := CanonicalHeaders(r, "H:1", []string{"content-length", "host", "x-amz-meta-a", "x-amz-meta-b"})
	if want := "content-length:12\nhost:H:1\nx-amz-meta-a:a b c,d\nx-amz-meta-b:\n"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := CanonicalHeaders(r, "h", []string{"range"}); err == nil {
		t.Error("a header that is not there is none to sign")
	}
}

func TestAnonymousRequestSaysNothing(t *testing.T) {
	v, err := exampleVerifier().Verify(parse("GET", "/b/k?versionId=1", "h"))
	if err != nil || v.Mechanism != Anonymous || v.AccessKeyID != "" || v.Query.Get("versionId") != "1" {
		t.Errorf("%+v, %v", v, err)
	}
	_, err = exampleVerifier().Verify(parse("PUT", "/b/k", "h", "X-Amz-Content-Sha256", StreamingPayload, "X-Amz-Decoded-Content-Length", "1"))
	wantCode(t, err, InvalidRequest)
}

func TestSessionTokenMustBeThatOfTheKey(t *testing.T) {
	v := exampleVerifier()
	v.Keys = secrets{exampleID: exampleSecret, "token of " + exampleID: "lent"}
	s := exampleSigner()
	for token, want := range map[string]Code{"lent": "", "": InvalidToken, "other": InvalidToken} {
		s.Credentials.SessionToken = token
		r := parse("GET", "/", "h")
		if err := s.Sign(r, emptySHA256, exampleTime); err != nil {
			t.Fatal(err)
		}
		_, err := v.Verify(r)
		if want == "" && err != nil {
			t.Error(err)
		} else if want != "" {
			wantCode(t, err, want)
		}
		u, err := s.Presign(parse("GET", "/b/k", "h"), time.Hour, exampleTime)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = v.Verify(parse("GET", (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String(), "h")); want == "" && err != nil {
			t.Error(err)
		} else if want != "" {
			wantCode(t, err, want)
		}
	}
}
