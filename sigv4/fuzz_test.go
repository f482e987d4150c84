package sigv4

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzRequest reads requests of any bytes: none may panic, and none may pass as signed but by
// the signature that its own canonical form has.
func FuzzRequest(f *testing.F) {
	for _, r := range []*http.Request{
		mustSign(f, "GET", "/b/k?x=1"), mustSign(f, "PUT", "/b/%F0%9F%98%80//..", "X-Amz-Meta-A", " a  b "),
	} {
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte("GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature= HTTP/1.1\r\nHost: h\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		v, err := exampleVerifier().Verify(r)
		if err != nil {
			return
		}
		if v.Mechanism != Anonymous {
			other := exampleVerifier()
			other.Keys = secrets{exampleID: "another secret"}
			if _, err := other.Verify(r); err == nil {
				t.Fatal("it passes with any secret")
			}
		}
		_, _ = io.Copy(io.Discard, v.Body(r.Body))
	})
}

// FuzzChunks reads bodies of any bytes: only the one that was signed may pass.
func FuzzChunks(f *testing.F) {
	v, data, wire := chunkedBody(f, []int{100}, "x-amz-checksum-crc32")
	f.Add(wire)
	f.Add([]byte("0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := io.ReadAll(v.Body(bytes.NewReader(body)))
		if err == nil && !bytes.Equal(got, data) {
			t.Fatalf("%d bytes pass that nobody signed", len(got))
		}
	})
}

// FuzzPolicy reads policies of any bytes.
func FuzzPolicy(f *testing.F) {
	f.Add(examplePolicy)
	f.Fuzz(func(t *testing.T, policy string) {
		u, err := exampleVerifier().VerifyForm(t.Context(), form(policy), "uploads")
		if err == nil && !strings.Contains(policy, "uploads") && !strings.Contains(policy, `\u`) {
			t.Fatalf("%+v is permitted for a bucket that %q does not name", u, policy)
		}
	})
}

func mustSign(f *testing.F, method, target string, header ...string) *http.Request {
	r := parse(method, target, "h.example", header...)
	if err := exampleSigner().Sign(r, UnsignedPayload, exampleTime); err != nil {
		f.Fatal(err)
	}
	return r
}
