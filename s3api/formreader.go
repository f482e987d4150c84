package s3api

import (
	"cmp"
	"crypto/md5"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chainfire/object/checksum"
)

// Bounds of what comes before the file of a form: of all of it, in bytes, and of its fields.
const (
	maxFormFields = 100
	maxBeforeFile = 128 << 10
)

// form is a form up to its file, which is read from the request as it comes.
type form struct {
	// fields are by their names in lower case.
	fields   map[string]string
	filename string
	// signed says that the policy of the form was verified.
	signed bool
	file   *multipart.Part
}

// beforeFile is a reader of what comes before the file, and ends one that is too much of it.
type beforeFile struct {
	from io.Reader
	left int64 // negative once the file has come
}

func (b *beforeFile) Read(p []byte) (int, error) {
	if b.left < 0 {
		return b.from.Read(p)
	}
	if b.left == 0 {
		return 0, refusef(code{"MaxPostPreDataLengthExceeded", 400, ""}, "Your POST request fields preceding the upload file were too large.")
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// badForm refuses what is not a form as it must be; a refusal beneath is the answer itself.
func badForm(err error) error {
	if isRefusal(err) {
		return err
	}
	return refusef(code{"MalformedPOSTRequest", 400, ""}, "The body of your POST request is not well-formed multipart/form-data.").because(err)
}

// readForm reads the fields of the request's form, up to its file, within the time that headers
// have: they say who asks.
func (rq *request) readForm() (*form, error) {
	_, params, err := mime.ParseMediaType(rq.r.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return nil, badForm(errors.New("there is no boundary"))
	}
	rq.body.until = time.Now().Add(rq.s.o.Limits.Headers)
	defer func() { rq.body.until = time.Time{} }()
	before := &beforeFile{from: rq.body, left: maxBeforeFile}
	parts := multipart.NewReader(before, params["boundary"])
	f := &form{fields: map[string]string{}}
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, refusef(codeInvalidArgument, "POST requires exactly one file upload per request.").with("ArgumentName", "file").with("ArgumentValue", "0")
		}
		if err != nil && isRefusal(rq.body.err) { // which the library does not always hand on
			err = rq.body.err
		}
		if err != nil {
			return nil, badForm(err)
		}
		name := strings.ToLower(part.FormName())
		if name == "file" {
			f.file, f.filename = part, baseName(part.Header.Get("Content-Disposition"))
			before.left = -1
			return f, nil
		}
		if err := f.add(name, part); err != nil {
			return nil, err
		}
	}
}

// add reads a field. Two of one name could be understood in two ways, so that they are refused.
func (f *form) add(name string, part *multipart.Part) error {
	if name == "" {
		return badForm(errors.New("a field has no name"))
	}
	if _, twice := f.fields[name]; twice {
		return invalidArgument(name, "", "POST requires exactly one field of a name, and %.100q is there twice.", name)
	}
	if len(f.fields) == maxFormFields {
		return refusef(codeInvalidArgument, "The form has more than %d fields.", maxFormFields)
	}
	value, err := io.ReadAll(part) // bounded by beforeFile
	if err != nil {
		return badForm(err)
	}
	f.fields[name] = string(value)
	return nil
}

// baseName is the name of a file without its folders, whichever way these are written.
func baseName(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	if err != nil {
		return ""
	}
	name := params["filename"]
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

// formFile is the file of a form, checked as it is read: only at io.EOF is it as it must be. It
// belongs to one goroutine.
type formFile struct {
	from        io.Reader
	least, most int64
	n           int64
	said        digests
	digester
}

// content is the file, of least to most bytes, with the checksums that the fields give.
func (f *form) content(h http.Header, least, most int64) (*formFile, error) {
	d := digests{}
	if err := d.readChecksums(h); err != nil {
		return nil, err
	}
	return &formFile{
		from: f.file, least: least, most: most, said: d, digester: newDigester(md5.New(), cmp.Or(d.algorithm, checksum.CRC64NVME)),
	}, nil
}

func (c *formFile) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	_, _ = c.Write(p[:n]) // never fails
	switch {
	case c.n > c.most:
		return 0, refuse(codeEntityTooLarge).with("MaxSizeAllowed", strconv.FormatInt(c.most, 10))
	case errors.Is(err, io.EOF):
		if c.n < c.least {
			return 0, refusef(codeEntityTooSmall, "Your proposed upload is smaller than the minimum allowed size").
				with("ProposedSize", strconv.FormatInt(c.n, 10)).with("MinSizeAllowed", strconv.FormatInt(c.least, 10))
		}
		if err := c.check(&c.said, nil); err != nil {
			return 0, err
		}
	case errors.Is(err, io.ErrUnexpectedEOF) && !isRefusal(err):
		err = refuse(codeIncompleteBody).because(err)
	case err != nil:
		err = badForm(err)
	}
	return n, err
}
