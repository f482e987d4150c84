package s3api

import (
	"bytes"
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"

	"chainfire/object"
	"chainfire/object/checksum"
)

// digests are what a request says of its body besides the signature: what it must hash to.
type digests struct {
	// md5 is from Content-MD5, nil where it is not there.
	md5 []byte
	// algorithm is the one whose checksum the request brings, None where it brings none.
	algorithm checksum.Algorithm
	// sum is that checksum, nil where it comes after the body.
	sum []byte
}

// given reports whether a request says anything of its body.
func (d *digests) given() bool { return d.md5 != nil || d.algorithm != checksum.None }

// checksumHeader is the name of the header of an algorithm's checksum, as the library keeps it.
func checksumHeader(a checksum.Algorithm) string {
	return http.CanonicalHeaderKey("x-amz-checksum-" + a.String())
}

// digestsOf reads what a request says of its body.
func (rq *request) digestsOf() (digests, error) { return rq.digestsIn(rq.r.Header) }

// digestsIn is digestsOf by some of the request's headers.
func (rq *request) digestsIn(h http.Header) (d digests, err error) {
	if text, err := one(h, "Content-Md5"); err != nil {
		return d, err
	} else if h["Content-Md5"] != nil {
		if d.md5, err = base64.StdEncoding.Strict().DecodeString(text); err != nil || len(d.md5) != md5.Size {
			return d, refusef(codeInvalidDigest, "The Content-MD5 you specified is not valid.").with("Content-MD5", text)
		}
	}
	if err := d.readChecksums(h); err != nil {
		return d, err
	}
	if name := rq.verified.Trailer(); name != "" {
		a, ok := checksum.Parse(strings.ToUpper(strings.TrimPrefix(name, "x-amz-checksum-")))
		if !ok {
			return d, refusef(codeInvalidRequest, "The value specified in the x-amz-trailer header is not supported")
		}
		if d.algorithm != checksum.None {
			return d, refusef(codeInvalidRequest, "Expecting a single x-amz-checksum- header or trailer")
		}
		d.algorithm = a
	}
	err = d.checkNamed(h)
	return d, err
}

// readChecksums reads the one header with a checksum.
func (d *digests) readChecksums(h http.Header) error {
	for a := checksum.CRC32; a <= checksum.Last; a++ {
		name := checksumHeader(a)
		text, err := one(h, name)
		if err != nil {
			return err
		}
		if h[name] == nil {
			continue
		}
		if d.algorithm != checksum.None {
			return refusef(codeInvalidRequest, "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		sum, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(sum) != a.Size() {
			return refusef(codeInvalidRequest, "Value for %s header is invalid.", strings.ToLower(name))
		}
		d.algorithm, d.sum = a, sum
	}
	return nil
}

// algorithmOf reads the name of an algorithm in a header.
func algorithmOf(name string) (checksum.Algorithm, error) {
	a, ok := checksum.Parse(strings.ToUpper(name))
	if !ok {
		return a, refusef(codeInvalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	return a, nil
}

// checkNamed holds the algorithm that an SDK says it uses to the one that it does use.
func (d *digests) checkNamed(h http.Header) error {
	text, err := one(h, "X-Amz-Sdk-Checksum-Algorithm")
	if err != nil || text == "" {
		return err
	}
	a, err := algorithmOf(text)
	switch {
	case err != nil:
		return err
	case d.algorithm == checksum.None && d.md5 == nil:
		return refusef(codeInvalidRequest, "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case d.algorithm != checksum.None && a != d.algorithm:
		return refusef(codeInvalidRequest, "Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	return nil
}

// one is the value of a header that may be there once at most, by its name as the library
// keeps it.
func one(h http.Header, name string) (string, error) {
	values := h[name]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", invalidArgument(strings.ToLower(name), values[1], "The header %s is there %d times.", strings.ToLower(name), len(values))
}

// check holds what was computed to what the request says.
func (d *digests) check(md5Sum, sum []byte, trailer http.Header) error {
	if d.md5 != nil && subtle.ConstantTimeCompare(d.md5, md5Sum) != 1 {
		return refusef(codeBadDigest, "The Content-MD5 you specified did not match what we received.").
			with("ExpectedDigest", base64.StdEncoding.EncodeToString(d.md5)).
			with("CalculatedDigest", base64.StdEncoding.EncodeToString(md5Sum))
	}
	if d.algorithm == checksum.None {
		return nil
	}
	want := d.sum
	if want == nil {
		text := trailer.Get(checksumHeader(d.algorithm))
		var err error
		if want, err = base64.StdEncoding.Strict().DecodeString(text); err != nil || len(want) != d.algorithm.Size() {
			return refusef(codeInvalidRequest, "Value for x-amz-checksum-%s trailing header is invalid.", strings.ToLower(d.algorithm.String()))
		}
	}
	if !bytes.Equal(want, sum) {
		return refusef(codeBadDigest, "The %s you specified did not match the calculated checksum.", d.algorithm)
	}
	return nil
}

// setChecksum says in an answer what the checksum of an object or a part is.
func setChecksum(h http.Header, c *object.Checksum, parts int) {
	if c.Algorithm == checksum.None || len(c.Value) == 0 {
		return
	}
	h.Set(checksumHeader(c.Algorithm), checksumText(c, parts))
	h.Set("X-Amz-Checksum-Type", checksumType(c))
}

// checksumText is a checksum as S3 writes it; a composite one has the number of parts behind it.
func checksumText(c *object.Checksum, parts int) string {
	out := base64.StdEncoding.EncodeToString(c.Value)
	if c.Type == object.ChecksumComposite && parts > 0 {
		out += "-" + decimal(parts)
	}
	return out
}

func checksumType(c *object.Checksum) string {
	if c.Type == object.ChecksumComposite {
		return "COMPOSITE"
	}
	return "FULL_OBJECT"
}

// digester computes what an object or a part hashes to, of what is written to it. It belongs to one
// goroutine.
type digester struct {
	md5       hash.Hash
	algorithm checksum.Algorithm
	sum       hash.Hash // by algorithm, nil for None
}

// newDigester makes one by an MD5.
func newDigester(md5 hash.Hash, a checksum.Algorithm) digester {
	return digester{md5: md5, algorithm: a, sum: checksum.New(a)}
}

// Write never fails.
func (d *digester) Write(p []byte) (int, error) {
	d.md5.Write(p)
	if d.sum != nil {
		d.sum.Write(p)
	}
	return len(p), nil
}

// etag is the MD5 of what was written, in hex.
func (d *digester) etag() string { return hex.EncodeToString(d.md5.Sum(nil)) }

// checksum is that of what was written, none where the algorithm is None.
func (d *digester) checksum() object.Checksum {
	if d.sum == nil {
		return object.Checksum{}
	}
	return object.Checksum{Algorithm: d.algorithm, Type: object.ChecksumFullObject, Value: d.sum.Sum(nil)}
}

// check holds what was written to what a request says of it.
func (d *digester) check(said *digests, trailer http.Header) error {
	return said.check(d.md5.Sum(nil), d.checksum().Value, trailer)
}
