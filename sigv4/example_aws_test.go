package sigv4

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The examples of "Authenticating Requests (AWS Signature Version 4)" in the Amazon S3 API
// Reference, and of the IAM User Guide, with the signatures that they print.
const (
	exampleID     = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var exampleTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

// secrets are access keys with their secrets; of session tokens they know one for each key
// that needs it.
type secrets map[string]string

func (s secrets) Secret(_ context.Context, id, token string) (string, error) {
	secret, ok := s[id]
	if !ok {
		return "", ErrUnknownKey
	}
	if want := s["token of "+id]; token != want {
		return "", refuse(InvalidToken, "The provided token is malformed or otherwise invalid.")
	}
	return secret, nil
}

func exampleVerifier() *Verifier {
	return &Verifier{
		Region: "us-east-1", Keys: secrets{exampleID: exampleSecret},
		Now: func() time.Time { return exampleTime.Add(time.Minute) },
	}
}

// parse reads a request as a server gets it.
func parse(method, target, host string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	r.Header = http.Header{}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func authorization(names, signature string) string {
	return "AWS4-HMAC-SHA256 Credential=" + exampleID + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + names + ",Signature=" + signature
}

func TestSigningKeyIsThatOfTheUserGuide(t *testing.T) {
	k := SigningKey("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Scope{Day: "20150830", Region: "us-east-1", Service: "iam"})
	if got, want := hex.EncodeToString(k[:]), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"; got != want {
		t.Errorf("the key is %s, want %s", got, want)
	}
}

func TestExamplesOfAWSAreVerified(t *testing.T) {
	const host, date = "examplebucket.s3.amazonaws.com", "20130524T000000Z"
	for name, r := range map[string]*http.Request{
		"get object": parse("GET", "/test.txt", host, "Range", "bytes=0-9", "X-Amz-Date", date, "X-Amz-Content-Sha256", emptySHA256,
			"Authorization", authorization("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")),
		"put object": parse("PUT", "/test%24file.text", host, "Date", "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Date", date,
			"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "X-Amz-Content-Sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
			"Authorization", authorization("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")),
		"get lifecycle": parse("GET", "/?lifecycle", host, "X-Amz-Date", date, "X-Amz-Content-Sha256", emptySHA256,
			"Authorization", authorization("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")),
		"list objects": parse("GET", "/?max-keys=2&prefix=J", host, "X-Amz-Date", date, "X-Amz-Content-Sha256", emptySHA256,
			"Authorization", authorization("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")),
		"presigned": parse("GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", host),
	} {
		t.Run(name, func(t *testing.T) {
			v, err := exampleVerifier().Verify(r)
			if err != nil {
				t.Fatal(err)
			}
			if v.AccessKeyID != exampleID {
				t.Errorf("it is of %q", v.AccessKeyID)
			}
			// And whatever else is in the place of its signature is not.
			broken := r.Clone(t.Context())
			broken.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Signature=a", "Signature=b", 1)
			for i, a := range broken.Header["Authorization"] {
				broken.Header["Authorization"][i] = a[:len(a)-1] + "0"
			}
			wantCode(t, second(exampleVerifier().Verify(broken)), SignatureDoesNotMatch)
		})
	}
}

func second(_ *Verified, err error) error { return err }

func TestBodyInChunksOfAWSIsVerified(t *testing.T) {
	const host, date = "s3.amazonaws.com", "20130524T000000Z"
	zeros := strings.Repeat("a", 65536)
	chunked := func(signatures ...string) string {
		var b strings.Builder
		for i, data := range []string{zeros, zeros[:1024], ""} {
			size := [...]string{"10000", "400", "0"}[i]
			b.WriteString(size + ";chunk-signature=" + signatures[i] + "\r\n" + data)
			if data != "" {
				b.WriteString("\r\n")
			}
		}
		return b.String()
	}
	plain := parse("PUT", "/examplebucket/chunkObject.txt", host, "X-Amz-Date", date, "X-Amz-Storage-Class", "REDUCED_REDUNDANCY",
		"X-Amz-Content-Sha256", StreamingPayload, "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560",
		"Authorization", authorization("content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
			"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"))
	plain.ContentLength = 66824
	trailer := parse("PUT", "/examplebucket/chunkObject.txt", host, "X-Amz-Date", date, "X-Amz-Storage-Class", "REDUCED_REDUNDANCY",
		"X-Amz-Content-Sha256", StreamingPayloadTrailer, "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560", "X-Amz-Trailer", "x-amz-checksum-crc32c",
		"Authorization", authorization("content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
			"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"))
	for name, tc := range map[string]struct {
		r    *http.Request
		body string
	}{
		"without a trailer": {plain, chunked(
			"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
			"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
			"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9") + "\r\n"},
		"with a trailer": {trailer, chunked(
			"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
			"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
			"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992") +
			"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := exampleVerifier().Verify(tc.r)
			if err != nil {
				t.Fatal(err)
			}
			body := v.Body(strings.NewReader(tc.body))
			got, err := io.ReadAll(body)
			if err != nil || !bytes.Equal(got, []byte(zeros+zeros[:1024])) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if name == "with a trailer" && body.Trailer().Get("x-amz-checksum-crc32c") != "sOO8/Q==" {
				t.Errorf("the trailer is %v", body.Trailer())
			}
		})
	}
}

// wantCode checks that an error is a refusal of a code.
func wantCode(t *testing.T, err error, want Code) {
	t.Helper()
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != want {
		t.Errorf("it ends with %v, want %s", err, want)
	}
}
