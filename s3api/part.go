package s3api

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"

	"chainfire/object"
	"chainfire/object/checksum"
)

// partNumber is the part that a request is about.
func (rq *request) partNumber() (int, error) {
	text := rq.param("partNumber")
	n, ok := digits(text)
	if !ok || n < 1 || n > object.MaxParts {
		return 0, invalidArgument("partNumber", text, "Part number must be an integer between 1 and %d, inclusive", object.MaxParts)
	}
	return int(n), nil
}

// checkPartSum refuses a part with another kind of checksum than its upload asks for.
func checkPartSum(u *object.Upload, have checksum.Algorithm) error {
	if u.Checksum.Algorithm == checksum.None || have == u.Checksum.Algorithm {
		return nil
	}
	return refusef(codeInvalidRequest, "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s",
		strings.ToLower(u.Checksum.Algorithm.String()), strings.ToLower(have.String()))
}

// uploadPart writes a part from the request's body. A part that comes without a checksum gets
// the one that its upload asks for.
func (rq *request) uploadPart() error {
	number, err := rq.partNumber()
	if err != nil {
		return err
	}
	u, err := rq.upload()
	if err != nil {
		return err
	}
	c, err := rq.content(object.MaxPartSize, u.Checksum.Algorithm)
	if err != nil {
		return err
	}
	defer rq.s.hashes.giveBack(c.md5)
	if err := checkPartSum(u, c.algorithm); err != nil {
		return err
	}
	body, writer, err := rq.store(c.length, c)
	if err != nil {
		return err
	}
	defer writer.Close()
	result, err := rq.change(&object.Change{PutPart: &object.PutPart{
		Bucket: rq.bucket, Key: rq.key, Upload: u.ID, Number: number,
		ETag: c.etag(), Checksum: c.checksum(), Body: body,
	}})
	if err != nil {
		return err
	}
	h := rq.w.Header()
	h.Set("Etag", quoted(result.Part.ETag))
	if sum := &result.Part.Checksum; len(sum.Value) > 0 {
		h.Set(checksumHeader(sum.Algorithm), checksumText(sum, 0))
	}
	return rq.empty(http.StatusOK)
}

type copyPartResult struct {
	XMLName      xml.Name `xml:"CopyPartResult"`
	XMLNS        string   `xml:"xmlns,attr"`
	LastModified string
	ETag         string
	checksums
}

// uploadPartCopy writes a part with the bytes of an object, or some of them, which are read and
// stored anew: an extent belongs to one body.
func (rq *request) uploadPartCopy() error {
	number, err := rq.partNumber()
	if err != nil {
		return err
	}
	h := rq.r.Header
	source, err := copySourceOf(h)
	if err != nil {
		return err
	}
	if err := rq.readable(&source); err != nil {
		return err
	}
	u, err := rq.upload()
	if err != nil {
		return err
	}
	var piece span
	from, err := rq.findSource(&source, func(_ *object.View, f *found) (_ span, err error) {
		if piece, err = copyRange(h, f.version.Size); err != nil {
			return piece, err
		}
		if most := rq.who.maxObject(); piece.n > object.MaxPartSize || most > 0 && piece.n > most {
			return piece, refusef(codeInvalidRequest, "The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(object.MaxPartSize))
		}
		return piece, nil
	})
	if err != nil {
		return err
	}
	part, err := rq.copyPart(u, number, from, piece)
	if err != nil {
		return err
	}
	if from.bucket.Versioning != object.VersioningOff {
		rq.w.Header().Set("X-Amz-Copy-Source-Version-Id", versionText(from.version.ID))
	}
	return rq.xml(http.StatusOK, &copyPartResult{
		XMLNS: namespace, LastModified: timeOf(part.Modified), ETag: quoted(part.ETag), checksums: partChecksums(&part.Checksum),
	})
}

// findSource reads the source of a copy, as the conditions on it ask, and what is needed of it.
func (rq *request) findSource(c *copySource, need look) (*found, error) {
	condition := readConditionOf(rq.r.Header, "X-Amz-Copy-Source-If-")
	from, err := rq.find(c.bucket, c.key, c.version, func(view *object.View, f *found) (span, error) {
		if err := condition.check(f.version, codePreconditionFailed); err != nil {
			return span{}, err
		}
		return need(view, f)
	})
	if err != nil {
		if e, ok := errors.AsType[*apiError](err); ok && e.code == codeMethodNotAllowed {
			err = refusef(codeInvalidRequest, "The source of a copy request may not specifically refer to a delete marker by version id.")
		}
		return nil, rq.hidden(err, c.bucket)
	}
	return from, nil
}

// copyRange is the piece of a source that is to be copied: unlike a Range, one that is outside
// of it is refused, and so is one that is not written out in full.
func copyRange(h http.Header, size int64) (span, error) {
	text, err := one(h, "X-Amz-Copy-Source-Range")
	if err != nil || text == "" {
		return span{0, size}, err
	}
	bad := invalidArgument("x-amz-copy-source-range", text, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	set, ok := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(set, "-")
	from, isFrom := digits(first)
	to, isTo := digits(last)
	if !ok || !dash || !isFrom || !isTo || to < from {
		return span{}, bad
	}
	if to >= size {
		return span{}, invalidArgument("x-amz-copy-source-range", text, "Range specified is not valid for source object of size: %d", size)
	}
	return span{from, to - from + 1}, nil
}

// copyPart stores a piece of a source as a part.
func (rq *request) copyPart(u *object.Upload, number int, from *found, piece span) (*object.Part, error) {
	r := rq.open(&from.bytes, piece)
	defer r.Close()
	sums := newDigester(rq.s.hashes.md5(piece.n), u.Checksum.Algorithm)
	defer rq.s.hashes.giveBack(sums.md5)
	body, w, err := rq.store(piece.n, io.TeeReader(r, &sums))
	if err != nil {
		return nil, err
	}
	defer w.Close()
	result, err := rq.change(&object.Change{PutPart: &object.PutPart{
		Bucket: rq.bucket, Key: rq.key, Upload: u.ID, Number: number,
		ETag: sums.etag(), Checksum: sums.checksum(), Body: body,
	}})
	if err != nil {
		return nil, err
	}
	return result.Part, nil
}
