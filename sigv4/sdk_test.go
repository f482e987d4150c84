package sigv4

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

// drawRequest draws a request as a client of the SDK makes it: any key, any query, any values
// of headers.
func drawRequest(t *rapid.T) *http.Request {
	key := rapid.OneOf(
		rapid.String(),
		rapid.StringOf(rapid.RuneFrom([]rune("a/.%+ ?&=#~*'()!@:;$,\\\"<>|^`{}[]é中\u202e😀"))),
		rapid.SampledFrom([]string{"", "//", "a//b", "../x", "a/./b", "%2F", "a%2Fb", "a+b", "a b", "~-._", "'(*)!"}),
	).Draw(t, "key")
	key = strings.ReplaceAll(key, "\x00", "")
	u := &url.URL{Scheme: "https", Host: rapid.SampledFrom([]string{"h", "h:9000", "h:443", "b.s3.example.com", "127.0.0.1:9000", "[::1]:9000"}).Draw(t, "host")}
	u.Path, u.RawPath = "/bucket/"+key, "/bucket/"+EncodePath(key)
	q := url.Values{}
	for range rapid.IntRange(0, 4).Draw(t, "parameters") {
		name := rapid.OneOf(rapid.SampledFrom([]string{"prefix", "Prefix", "uploads", "a b", "list-type", "é"}), rapid.StringN(1, 5, -1)).Draw(t, "name")
		q.Add(name, rapid.OneOf(rapid.Just(""), rapid.String()).Draw(t, "value"))
	}
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	r, err := http.NewRequestWithContext(t.Context(), rapid.SampledFrom([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}).Draw(t, "method"), u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL = u
	visible := rapid.StringOf(rapid.RuneFrom([]rune(" \t!\"#,;=abcXYZ019~é")))
	for range rapid.IntRange(0, 4).Draw(t, "headers") {
		name := rapid.SampledFrom([]string{"X-Amz-Meta-A", "X-Amz-Meta-B", "Content-Type", "Range", "X-Amz-Tagging", "If-Match"}).Draw(t, "header")
		r.Header.Add(name, visible.Draw(t, "text"))
	}
	return r
}

// onTheWire is the request as a server gets it.
func onTheWire(t *rapid.T, r *http.Request) *http.Request {
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		t.Fatalf("%v of %q", err, b.String())
	}
	return got
}

// TestSignaturesAreThoseOfAWSsOwnSigner signs with one and verifies with the other, both ways.
func TestSignaturesAreThoseOfAWSsOwnSigner(t *testing.T) {
	v := exampleVerifier()
	at := exampleTime
	theirs := sdk.NewSigner(func(o *sdk.SignerOptions) { o.DisableURIPathEscaping = true })
	credentials := aws.Credentials{AccessKeyID: exampleID, SecretAccessKey: exampleSecret}
	ours := &Signer{Credentials: Credentials{AccessKeyID: exampleID, SecretAccessKey: exampleSecret}, Region: "us-east-1"}
	rapid.Check(t, func(t *rapid.T) {
		r := drawRequest(t)
		mine := r.Clone(t.Context())
		presigned := r.Clone(t.Context())

		r.Header.Set("X-Amz-Content-Sha256", UnsignedPayload)
		if err := theirs.SignHTTP(t.Context(), credentials, r, UnsignedPayload, "s3", "us-east-1", at); err != nil {
			t.Fatal(err)
		}
		got := onTheWire(t, r)
		if _, err := v.Verify(got); err != nil {
			t.Fatalf("signed by AWS's: %v\n%v", err, detailsOf(err))
		}
		if again, err := v.Verify(got); err != nil || again.AccessKeyID != exampleID {
			t.Fatalf("the same again: %v", err)
		}

		// Ours signs the same of what it signs: theirs, given the same, has the same signature.
		if err := ours.Sign(mine, UnsignedPayload, at); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(onTheWire(t, mine)); err != nil {
			t.Fatalf("signed by ours: %v\n%v", err, detailsOf(err))
		}

		presigned.URL.RawQuery = joinQuery(presigned.URL.RawQuery, "X-Amz-Expires=600")
		signed, headers, err := theirs.PresignHTTP(t.Context(), credentials, presigned, UnsignedPayload, "s3", "us-east-1", at)
		if err != nil {
			t.Fatal(err)
		}
		if presigned.URL, err = url.Parse(signed); err != nil {
			t.Fatal(err)
		}
		for name := range headers {
			presigned.Header[http.CanonicalHeaderKey(name)] = headers[name]
		}
		if _, err := v.Verify(onTheWire(t, presigned)); err != nil {
			t.Fatalf("presigned by AWS's: %v\n%v", err, detailsOf(err))
		}
	})
}

// TestPresignedURLIsThatOfAWSsOwnSigner compares the URLs themselves.
func TestPresignedURLIsThatOfAWSsOwnSigner(t *testing.T) {
	theirs := sdk.NewSigner(func(o *sdk.SignerOptions) { o.DisableURIPathEscaping = true })
	ours := &Signer{Credentials: Credentials{AccessKeyID: exampleID, SecretAccessKey: exampleSecret, SessionToken: "to/ken="}, Region: "us-east-1"}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://h.example/bucket/a%20b?versionId=x%2Fy", nil)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := ours.Presign(r, time.Hour, exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.RawQuery += "&X-Amz-Expires=3600"
	want, _, err := theirs.PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: exampleID, SecretAccessKey: exampleSecret, SessionToken: "to/ken="},
		r, UnsignedPayload, "s3", "us-east-1", exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	sorted := func(text string) string {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		q, err := ParseQuery(u.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		return u.Path + "?" + q.Canonical("")
	}
	if got := sorted(mine.String()); got != sorted(want) {
		t.Errorf("it is\n%s, want\n%s", got, sorted(want))
	}
}

// TestOtherServicesEncodeThePathTwice holds our form of other services to the SDK's.
func TestOtherServicesEncodeThePathTwice(t *testing.T) {
	theirs := sdk.NewSigner()
	v := exampleVerifier()
	v.Service = "sts"
	for _, path := range []string{"/", "/a", "/a%20b", "/a%2Bb/c", "/%C3%A9"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://h.example"+path+"?Action=x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Content-Sha256", emptySHA256)
		if err := theirs.SignHTTP(t.Context(), aws.Credentials{AccessKeyID: exampleID, SecretAccessKey: exampleSecret}, r, emptySHA256, "sts", "us-east-1", exampleTime); err != nil {
			t.Fatal(err)
		}
		r.Host = "h.example"
		if _, err := v.Verify(r); err != nil {
			t.Errorf("%s: %v\n%s", path, err, detailsOf(err))
		}
	}
}

func joinQuery(a, b string) string {
	if a == "" {
		return b
	}
	return a + "&" + b
}

func detailsOf(err error) string {
	var b strings.Builder
	if refused := new(Error); errors.As(err, &refused) {
		for _, d := range refused.Detail {
			fmt.Fprintf(&b, "%s: %s\n", d.Name, d.Value)
		}
	}
	return b.String()
}
