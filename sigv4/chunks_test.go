package sigv4

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// chunkedBody is a request with a signed body in chunks of the sizes, with a trailer or none,
// and its body on the wire.
func chunkedBody(t fataler, sizes []int, trailer string) (*Verified, []byte, []byte) {
	total := 0
	for _, n := range sizes {
		total += n
	}
	data := bytes.Repeat([]byte("chunked "), total/8+1)[:total]
	r := parse("PUT", "/b/k", "h")
	s, err := exampleSigner().SignChunked(r, int64(total), trailer, exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	var wire []byte
	rest := data
	for _, n := range append(sizes, 0) {
		wire = s.Append(wire, rest[:n])
		rest = rest[n:]
	}
	wire = s.AppendTrailer(wire, trailer, "AAAAAA==")
	v, err := exampleVerifier().Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	return v, data, wire
}

type fataler interface{ Fatal(args ...any) }

func TestBodyInSignedChunksIsReadWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(MinChunk, 3*MinChunk), 0, 4).Draw(t, "sizes")
		if last := rapid.IntRange(0, MinChunk).Draw(t, "last"); last > 0 {
			sizes = append(sizes, last)
		}
		trailer := rapid.SampledFrom([]string{"", "x-amz-checksum-crc32"}).Draw(t, "trailer")
		v, data, wire := chunkedBody(t, sizes, trailer)
		from := rapid.SampledFrom([]func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader}).Draw(t, "reader")
		body := v.Body(from(bytes.NewReader(wire)))
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(data), err)
		}
		if v.Length(int64(len(wire))) != int64(len(data)) || v.Trailer() != trailer || body.Trailer().Get("X-Amz-Checksum-Crc32") != map[string]string{"": "", "x-amz-checksum-crc32": "AAAAAA=="}[trailer] {
			t.Fatalf("length %d, trailer %q: %v", v.Length(-1), v.Trailer(), body.Trailer())
		}
	})
}

// TestBodyInSignedChunksThatIsDamagedIsRefused changes, leaves out or adds one byte anywhere.
func TestBodyInSignedChunksThatIsDamagedIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trailer := rapid.SampledFrom([]string{"", "x-amz-checksum-crc32"}).Draw(t, "trailer")
		v, data, wire := chunkedBody(t, []int{MinChunk, 100}, trailer)
		at := rapid.IntRange(0, len(wire)-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "in the frame") { // most bytes are content
			at = rapid.SampledFrom([]int{0, 1, 5, 30, 90, 95, MinChunk + 91, MinChunk + 94, len(wire) - 1, len(wire) - 2, len(wire) - 3, len(wire) - 40, len(wire) - 90}).Draw(t, "frame")
		}
		damaged := bytes.Clone(wire)
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			damaged[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		case 1:
			damaged = append(damaged[:at], damaged[at+1:]...)
		default:
			damaged = append(damaged[:at], append([]byte{rapid.Byte().Draw(t, "byte")}, damaged[at:]...)...)
		}
		got, err := io.ReadAll(v.Body(bytes.NewReader(damaged)))
		if err == nil && !bytes.Equal(got, data) {
			t.Fatalf("%d bytes other than those that were signed pass", len(got))
		}
	})
}

func TestBodyInSignedChunksThatIsNotWellFormedIsRefused(t *testing.T) {
	const crc = "x-amz-checksum-crc32"
	zero := strings.Repeat("0", 64)
	for name, tc := range map[string]struct {
		trailer string
		change  func(wire string) string
		want    Code
	}{
		"cut off in a chunk":           {"", func(w string) string { return w[:5000] }, IncompleteBody},
		"cut off before the last":      {"", func(w string) string { return w[:strings.LastIndex(w, "\r\n0;")+2] }, IncompleteBody},
		"without its last chunk":       {"", func(w string) string { return w[:strings.LastIndex(w, "0;")] + "\r\n" }, InvalidRequest},
		"empty":                        {"", func(string) string { return "" }, IncompleteBody},
		"the last is not signed":       {"", func(w string) string { return w[:strings.LastIndex(w, "0;")] + "0\r\n\r\n" }, SignatureDoesNotMatch},
		"the last is signed otherwise": {"", func(w string) string { return w[:strings.LastIndex(w, "=")+1] + zero + "\r\n\r\n" }, SignatureDoesNotMatch},
		"a size of no kind":            {"", func(w string) string { return "x" + w }, InvalidRequest},
		"a size below nothing":         {"", func(w string) string { return "-" + w }, InvalidRequest},
		"a size beyond the body":       {"", func(w string) string { return "f" + w }, IncompleteBody},
		"a size beyond all":            {"", func(w string) string { return "ffffff" + w }, InvalidChunkSizeError},
		"a size of very many digits":   {"", func(w string) string { return strings.Repeat("0", 20) + w }, InvalidRequest},
		"a line without end":           {"", func(string) string { return strings.Repeat("0", 1<<20) }, InvalidRequest},
		"more after the end":           {"", func(w string) string { return w + "more" }, IncompleteBody},
		"a trailer nobody announced":   {"", func(w string) string { return strings.TrimSuffix(w, "\r\n") + crc + ":x\r\n\r\n" }, MalformedTrailerError},
		"another trailer":              {crc, func(w string) string { return strings.Replace(w, crc, "x-amz-checksum-sha1", 1) }, MalformedTrailerError},
		"another value of the trailer": {crc, func(w string) string { return strings.Replace(w, "AAAAAA==", "BBBBBB==", 1) }, SignatureDoesNotMatch},
		"no signature of the trailer":  {crc, func(w string) string { return w[:strings.Index(w, "x-amz-trailer-s")] + "\r\n" }, IncompleteBody},
		"a trailer too many":           {crc, func(w string) string { return strings.TrimSuffix(w, "\r\n") + "x-amz-checksum-sha1:x\r\n\r\n" }, MalformedTrailerError},
		"no trailer":                   {crc, func(w string) string { return w[:strings.Index(w, crc)] + "\r\n" }, MalformedTrailerError},
	} {
		t.Run(name, func(t *testing.T) {
			v, _, wire := chunkedBody(t, []int{MinChunk, 100}, tc.trailer)
			_, err := io.ReadAll(v.Body(strings.NewReader(tc.change(string(wire)))))
			wantCode(t, err, tc.want)
		})
	}
}

func TestChunkIsOfThisRequestAndInItsPlace(t *testing.T) {
	v, _, wire := chunkedBody(t, []int{MinChunk, MinChunk}, "")
	half := (len(wire) - len("0;chunk-signature=\r\n\r\n") - 64) / 2
	first, second := string(wire[:half]), string(wire[half:2*half])
	_, err := io.ReadAll(v.Body(strings.NewReader(second + first + string(wire[2*half:]))))
	wantCode(t, err, SignatureDoesNotMatch)
	_, err = io.ReadAll(v.Body(strings.NewReader(first + first + string(wire[2*half:]))))
	wantCode(t, err, SignatureDoesNotMatch)
}

func TestOnlyTheLastSignedChunkIsSmall(t *testing.T) {
	v, _, wire := chunkedBody(t, []int{MinChunk - 1, 100}, "")
	_, err := io.ReadAll(v.Body(bytes.NewReader(wire)))
	wantCode(t, err, InvalidChunkSizeError)
}

func TestBodyInUnsignedChunksHasItsTrailer(t *testing.T) {
	const crc = "x-amz-checksum-crc32"
	for name, tc := range map[string]struct {
		body string
		want Code
	}{
		"as the SDKs send it":      {"5\r\nhello\r\n3\r\n wo\r\n0\r\n" + crc + ":AAAA\r\n\r\n", ""},
		"with a line feed alone":   {"8\r\nhello wo\r\n0\r\n" + crc + ":AAAA\n\r\n", ""},
		"without its trailer":      {"8\r\nhello wo\r\n0\r\n\r\n", MalformedTrailerError},
		"with a signature":         {"8;chunk-signature=x\r\nhello wo\r\n0\r\n" + crc + ":AAAA\r\n\r\n", InvalidRequest},
		"shorter than it says":     {"5\r\nhello\r\n0\r\n" + crc + ":AAAA\r\n\r\n", IncompleteBody},
		"longer than it says":      {"9\r\nhello wor\r\n0\r\n" + crc + ":AAAA\r\n\r\n", IncompleteBody},
		"a chunk longer than said": {"4\r\nhello wo\r\n0\r\n" + crc + ":AAAA\r\n\r\n", InvalidRequest},
		"something after":          {"8\r\nhello wo\r\n0\r\n" + crc + ":AAAA\r\n\r\nx", MalformedTrailerError},
	} {
		t.Run(name, func(t *testing.T) {
			r := signed(t, "PUT", "/b/k", "X-Amz-Content-Sha256", StreamingUnsignedTrailer, "X-Amz-Trailer", crc, "X-Amz-Decoded-Content-Length", "8")
			v, err := exampleVerifier().Verify(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(v.Body(strings.NewReader(tc.body)))
			if tc.want == "" && (err != nil || string(got) != "hello wo") {
				t.Errorf("%q, %v", got, err)
			} else if tc.want != "" {
				wantCode(t, err, tc.want)
			}
		})
	}
}

func TestWhatABodyInChunksIsToBeMustBeSaid(t *testing.T) {
	for name, tc := range map[string]struct {
		header []string
		want   Code
	}{
		"no length":           {[]string{"X-Amz-Content-Sha256", StreamingPayload}, MissingContentLength},
		"a length of no kind": {[]string{"X-Amz-Content-Sha256", StreamingPayload, "X-Amz-Decoded-Content-Length", "-1"}, InvalidArgument},
		"too long":            {[]string{"X-Amz-Content-Sha256", StreamingPayload, "X-Amz-Decoded-Content-Length", strconv.Itoa(MaxBody + 1)}, EntityTooLarge},
		"no trailer":          {[]string{"X-Amz-Content-Sha256", StreamingUnsignedTrailer, "X-Amz-Decoded-Content-Length", "1"}, InvalidRequest},
		"two trailers":        {[]string{"X-Amz-Content-Sha256", StreamingUnsignedTrailer, "X-Amz-Decoded-Content-Length", "1", "X-Amz-Trailer", "x-amz-checksum-crc32, x-amz-checksum-sha1"}, InvalidRequest},
		"a trailer of no use": {[]string{"X-Amz-Content-Sha256", StreamingUnsignedTrailer, "X-Amz-Decoded-Content-Length", "1", "X-Amz-Trailer", "x-amz-acl"}, InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			wantCode(t, second(exampleVerifier().Verify(signed(t, "PUT", "/b/k", tc.header...))), tc.want)
		})
	}
}
