package s3api_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chainfire/object"
	"chainfire/object/checksum"
)

const least = object.MinPartSize

// upload begins an upload of bucket/key, as the request says.
func (f *fixture) upload(change func(*s3.CreateMultipartUploadInput)) *s3.CreateMultipartUploadOutput {
	f.t.Helper()
	in := &s3.CreateMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("key")}
	if change != nil {
		change(in)
	}
	out, err := f.sdk(adminID).CreateMultipartUpload(f.t.Context(), in)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// part uploads a part.
func (f *fixture) part(id *string, number int32, body []byte, change func(*s3.UploadPartInput)) (*s3.UploadPartOutput, error) {
	in := &s3.UploadPartInput{Bucket: aws.String("bucket"), Key: aws.String("key"), UploadId: id, PartNumber: &number, Body: bytes.NewReader(body)}
	if change != nil {
		change(in)
	}
	return f.sdk(adminID).UploadPart(f.t.Context(), in)
}

// named names a part by what its upload answered.
func named(number int32, out *s3.UploadPartOutput) types.CompletedPart {
	return types.CompletedPart{
		PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C,
		ChecksumCRC64NVME: out.ChecksumCRC64NVME, ChecksumSHA1: out.ChecksumSHA1, ChecksumSHA256: out.ChecksumSHA256,
	}
}

func (f *fixture) complete(id *string, change func(*s3.CompleteMultipartUploadInput), parts ...types.CompletedPart) (*s3.CompleteMultipartUploadOutput, error) {
	in := &s3.CompleteMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("key"), UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
	if change != nil {
		change(in)
	}
	return f.sdk(adminID).CompleteMultipartUpload(f.t.Context(), in)
}

// sumOf is the checksum of bytes as S3 writes it.
func sumOf(a checksum.Algorithm, body []byte) string {
	h := checksum.New(a)
	h.Write(body)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// pick is the checksum of an algorithm among those of an answer.
func pick(a checksum.Algorithm, crc32, crc32c, crc64, sha1, sha256 *string) string {
	return aws.ToString([]*string{checksum.CRC32: crc32, checksum.CRC32C: crc32c, checksum.CRC64NVME: crc64, checksum.SHA1: sha1, checksum.SHA256: sha256}[a])
}

// TestAnUploadOfPartsBecomesOneObject, by every algorithm and type of checksum.
func TestAnUploadOfPartsBecomesOneObject(t *testing.T) {
	bodies := [][]byte{content(least + 1), []byte("the end")}
	whole := bytes.Join(bodies, nil)
	var sums []byte
	for _, b := range bodies {
		sum := md5.Sum(b)
		sums = append(sums, sum[:]...)
	}
	of := md5.Sum(sums)
	etag := fmt.Sprintf(`"%s-2"`, hex.EncodeToString(of[:]))
	for _, c := range []struct {
		a    checksum.Algorithm
		kind types.ChecksumType
	}{
		{checksum.CRC32, ""},
		{checksum.CRC32, "FULL_OBJECT"},
		{checksum.CRC32C, "COMPOSITE"},
		{checksum.CRC64NVME, ""},
		{checksum.SHA1, "COMPOSITE"},
		{checksum.SHA256, ""},
	} {
		if testing.Short() && (c.a == checksum.CRC32C || c.a == checksum.SHA1) {
			continue
		}
		t.Run(fmt.Sprint(c.a, c.kind), func(t *testing.T) {
			f := start(t, nil)
			f.bucket("bucket")
			up := f.upload(func(in *s3.CreateMultipartUploadInput) {
				in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithm(c.a.String()), c.kind
				in.Metadata, in.ContentType, in.Tagging = map[string]string{"who": "me"}, aws.String("text/x"), aws.String("a=b")
			})
			kind := c.kind
			if kind == "" {
				kind = types.ChecksumTypeComposite
				if c.a == checksum.CRC64NVME {
					kind = types.ChecksumTypeFullObject
				}
			}
			if up.ChecksumType != kind || string(up.ChecksumAlgorithm) != c.a.String() {
				t.Errorf("the upload's checksum is %s %s", up.ChecksumAlgorithm, up.ChecksumType)
			}
			var parts []types.CompletedPart
			for i, b := range bodies {
				out, err := f.part(up.UploadId, int32(i)+1, b, func(in *s3.UploadPartInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithm(c.a.String()) })
				if err != nil {
					t.Fatal(err)
				}
				if got := pick(c.a, out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME, out.ChecksumSHA1, out.ChecksumSHA256); got != sumOf(c.a, b) {
					t.Errorf("the checksum of part %d is %s", i+1, got)
				}
				parts = append(parts, named(int32(i)+1, out))
			}
			want := sumOf(c.a, whole)
			if kind == types.ChecksumTypeComposite {
				h := checksum.New(c.a)
				for _, b := range bodies {
					part := checksum.New(c.a)
					part.Write(b)
					h.Write(part.Sum(nil))
				}
				want = base64.StdEncoding.EncodeToString(h.Sum(nil)) + "-2"
			}
			out, err := f.complete(up.UploadId, func(in *s3.CompleteMultipartUploadInput) { in.MpuObjectSize = aws.Int64(int64(len(whole))) }, parts...)
			if err != nil {
				t.Fatal(err)
			}
			if got := pick(c.a, out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME, out.ChecksumSHA1, out.ChecksumSHA256); got != want || out.ChecksumType != kind {
				t.Errorf("the checksum is %s %s, not %s %s", got, out.ChecksumType, want, kind)
			}
			if *out.ETag != etag {
				t.Errorf("the ETag is %s, not %s", *out.ETag, etag)
			}
			if body, _ := f.get("bucket", "key"); body != string(whole) {
				t.Errorf("%d bytes are read, and %d were written", len(body), len(whole))
			}
			head, err := f.sdk(adminID).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key"), ChecksumMode: "ENABLED"})
			if err != nil || head.Metadata["who"] != "me" || *head.ContentType != "text/x" || aws.ToInt32(head.TagCount) != 1 {
				t.Errorf("the object is %+v, %v", head, err)
			}
			if got := pick(c.a, head.ChecksumCRC32, head.ChecksumCRC32C, head.ChecksumCRC64NVME, head.ChecksumSHA1, head.ChecksumSHA256); got != want {
				t.Errorf("the object's checksum is %s, not %s", got, want)
			}
			// Completed again, the answer is the same: the first may have been lost.
			if again, err := f.complete(up.UploadId, nil, parts...); err != nil || *again.ETag != etag {
				t.Errorf("completed again it is answered %+v, %v", again, err)
			}
		})
	}
}

// TestAWholeChecksumIsHeldToTheParts: the writer says what the object is to hash to.
func TestAWholeChecksumIsHeldToTheParts(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	up := f.upload(func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = "CRC64NVME" })
	body := content(1000)
	out, err := f.part(up.UploadId, 1, body, func(in *s3.UploadPartInput) { in.ChecksumAlgorithm = "CRC64NVME" })
	if err != nil {
		t.Fatal(err)
	}
	try := func(code string, change func(*s3.CompleteMultipartUploadInput)) {
		t.Helper()
		if _, err := f.complete(up.UploadId, change, named(1, out)); codeOf(err) != code {
			t.Errorf("answered %v, want %q", err, code)
		}
	}
	try("BadDigest", func(in *s3.CompleteMultipartUploadInput) {
		in.ChecksumCRC64NVME, in.ChecksumType = aws.String(sumOf(checksum.CRC64NVME, []byte("x"))), "FULL_OBJECT"
	})
	try("InvalidRequest", func(in *s3.CompleteMultipartUploadInput) { in.ChecksumCRC64NVME = aws.String("x") })
	try("InvalidArgument", func(in *s3.CompleteMultipartUploadInput) {
		in.ChecksumCRC32 = aws.String(sumOf(checksum.CRC32, body))
	})
	try("InvalidArgument", func(in *s3.CompleteMultipartUploadInput) { in.MpuObjectSize = aws.Int64(999) })
	if _, code := f.get("bucket", "key"); code != "NoSuchKey" {
		t.Errorf("after refusals there is an object: %q", code)
	}
	try("", func(in *s3.CompleteMultipartUploadInput) {
		in.ChecksumCRC64NVME, in.ChecksumType = aws.String(sumOf(checksum.CRC64NVME, body)), "FULL_OBJECT"
	})
}

// TestUploadsRefuseWhatIsWrong goes through refusals of uploads and their parts.
func TestUploadsRefuseWhatIsWrong(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	id := *f.upload(func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = "SHA256" }).UploadId
	small, err := f.part(&id, 1, []byte("small"), func(in *s3.UploadPartInput) { in.ChecksumAlgorithm = "SHA256" })
	if err != nil {
		t.Fatal(err)
	}
	etag := *small.ETag
	parts := func(list ...string) string {
		return "<CompleteMultipartUpload><Part>" + strings.Join(list, "</Part><Part>") + "</Part></CompleteMultipartUpload>"
	}
	one := "<PartNumber>1</PartNumber><ETag>" + etag + "</ETag>"
	crc := map[string]string{"X-Amz-Checksum-Crc32": sumOf(checksum.CRC32, []byte("x"))}
	for _, c := range []struct {
		name string
		call
		status int
		code   string
	}{
		{"an algorithm that there is not", call{method: "POST", path: "?uploads", header: map[string]string{"X-Amz-Checksum-Algorithm": "MD4"}}, 400, "InvalidRequest"},
		{"SHA-256 of the whole of parts", call{method: "POST", path: "?uploads", header: map[string]string{"X-Amz-Checksum-Algorithm": "SHA256", "X-Amz-Checksum-Type": "FULL_OBJECT"}}, 400, "InvalidRequest"},
		{"CRC-64 of checksums", call{method: "POST", path: "?uploads", header: map[string]string{"X-Amz-Checksum-Algorithm": "CRC64NVME", "X-Amz-Checksum-Type": "COMPOSITE"}}, 400, "InvalidRequest"},
		{"a type without an algorithm", call{method: "POST", path: "?uploads", header: map[string]string{"X-Amz-Checksum-Type": "COMPOSITE"}}, 400, "InvalidRequest"},
		{"part 0", call{method: "PUT", path: "?partNumber=0&uploadId=" + id}, 400, "InvalidArgument"},
		{"part 10001", call{method: "PUT", path: "?partNumber=10001&uploadId=" + id}, 400, "InvalidArgument"},
		{"part x", call{method: "PUT", path: "?partNumber=x&uploadId=" + id}, 400, "InvalidArgument"},
		{"an upload that there is not", call{method: "PUT", path: "?partNumber=1&uploadId=0000000000000001"}, 404, "NoSuchUpload"},
		{"an upload that cannot be", call{method: "PUT", path: "?partNumber=1&uploadId=../x"}, 404, "NoSuchUpload"},
		{"a part with another checksum", call{method: "PUT", path: "?partNumber=2&uploadId=" + id, body: "x", header: crc}, 400, "InvalidRequest"},
		{"a part with a wrong checksum", call{method: "PUT", path: "?partNumber=2&uploadId=" + id, body: "y", header: map[string]string{"X-Amz-Checksum-Sha256": sumOf(checksum.SHA256, []byte("x"))}}, 400, "BadDigest"},
		{"a part with a wrong MD5", call{method: "PUT", path: "?partNumber=2&uploadId=" + id, body: "y", header: map[string]string{"Content-Md5": md5Of("x")}}, 400, "BadDigest"},
		{"a part that is encrypted", call{method: "PUT", path: "?partNumber=2&uploadId=" + id, body: "y", header: map[string]string{"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256"}}, 501, "NotImplemented"},
		{"no document", call{method: "POST", path: "?uploadId=" + id}, 400, "MissingRequestBodyError"},
		{"no part", call{method: "POST", path: "?uploadId=" + id, body: "<CompleteMultipartUpload/>"}, 400, "MalformedXML"},
		{"a part without a number", call{method: "POST", path: "?uploadId=" + id, body: parts("<ETag>x</ETag>")}, 400, "MalformedXML"},
		{"a part without an ETag", call{method: "POST", path: "?uploadId=" + id, body: parts("<PartNumber>1</PartNumber>")}, 400, "MalformedXML"},
		{"a part with what nobody knows", call{method: "POST", path: "?uploadId=" + id, body: parts(one + "<Colour/>")}, 400, "MalformedXML"},
		{"a part of another ETag", call{method: "POST", path: "?uploadId=" + id, body: parts("<PartNumber>1</PartNumber><ETag>x</ETag>")}, 400, "InvalidPart"},
		{"a part of another checksum", call{method: "POST", path: "?uploadId=" + id, body: parts(one + "<ChecksumSHA256>" + sumOf(checksum.SHA256, []byte("x")) + "</ChecksumSHA256>")}, 400, "InvalidPart"},
		{"a part that was not uploaded", call{method: "POST", path: "?uploadId=" + id, body: parts(one, "<PartNumber>2</PartNumber><ETag>"+etag+"</ETag>")}, 400, "InvalidPart"},
		{"parts in no order", call{method: "POST", path: "?uploadId=" + id, body: parts("<PartNumber>2</PartNumber><ETag>"+etag+"</ETag>", one)}, 400, "InvalidPart"},
		{"a document that is too long", call{method: "POST", path: "?uploadId=" + id, body: strings.Repeat(" ", 3<<20)}, 400, "EntityTooLarge"},
		{"an abort of what there is not", call{method: "DELETE", path: "?uploadId=0000000000000001"}, 404, "NoSuchUpload"},
		{"a listing of what there is not", call{method: "GET", path: "?uploadId=0000000000000001"}, 404, "NoSuchUpload"},
	} {
		c.path, c.id = "/bucket/key"+c.path, adminID
		if r := f.do(c.call); r.status != c.status || r.code != c.code {
			t.Errorf("%s: answered %d %s, want %d %s", c.name, r.status, r.body, c.status, c.code)
		}
	}
	// As many parts as there may be, each named as long as it can be, are taken; one more is not.
	name := func(n int) string {
		return fmt.Sprintf("<PartNumber>%d</PartNumber><ETag>&quot;%s&quot;</ETag><ChecksumSHA256>%s</ChecksumSHA256>", n, strings.Repeat("0", 32), sumOf(checksum.SHA256, nil))
	}
	var many []string
	for n := range object.MaxParts {
		many = append(many, name(n+1))
	}
	f.do(call{method: "POST", path: "/bucket/key?uploadId=" + id, id: adminID, body: parts(many...)}).want(t, http.StatusBadRequest, "InvalidPart")
	f.do(call{method: "POST", path: "/bucket/key?uploadId=" + id, id: adminID, body: parts(append(many, name(1))...)}).want(t, http.StatusBadRequest, "MalformedXML")
	if second, err := f.part(&id, 2, []byte("second"), func(in *s3.UploadPartInput) { in.ChecksumAlgorithm = "SHA256" }); err != nil {
		t.Fatal(err)
	} else if _, err := f.complete(&id, nil, named(1, small), named(2, second)); codeOf(err) != "EntityTooSmall" {
		t.Errorf("a first part of 5 bytes: %v", err)
	}
	if _, code := f.get("bucket", "key"); code != "NoSuchKey" {
		t.Errorf("after refusals there is an object: %q", code)
	}
}

// TestOfUploadsThatRaceOneWins: many completions of one key that must not be there.
func TestOfUploadsThatRaceOneWins(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	const writers = 16
	var wait sync.WaitGroup
	codes := make([]string, writers)
	for i := range writers {
		up := f.upload(nil)
		out, err := f.part(up.UploadId, 1, []byte(fmt.Sprint(i)), nil)
		if err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			_, err := f.complete(up.UploadId, func(in *s3.CompleteMultipartUploadInput) { in.IfNoneMatch = aws.String("*") }, named(1, out))
			codes[i] = codeOf(err)
		})
	}
	wait.Wait()
	won := 0
	for i, code := range codes {
		switch code {
		case "":
			won++
			if body, _ := f.get("bucket", "key"); body != fmt.Sprint(i) {
				t.Errorf("writer %d won, and %s is there", i, body)
			}
		case "PreconditionFailed":
		default:
			t.Errorf("writer %d is answered %s", i, code)
		}
	}
	if won != 1 {
		t.Errorf("%d writers won", won)
	}
	up := f.upload(nil)
	out, err := f.part(up.UploadId, 1, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for match, code := range map[string]string{`"d41d8cd98f00b204e9800998ecf8427e"`: "PreconditionFailed"} {
		if _, err := f.complete(up.UploadId, func(in *s3.CompleteMultipartUploadInput) { in.IfMatch = &match }, named(1, out)); codeOf(err) != code {
			t.Errorf("if %s matches: %v", match, err)
		}
	}
}

// TestPartsAreCopiedFromObjects, whole or in ranges, by who may read them.
func TestPartsAreCopiedFromObjects(t *testing.T) {
	f := start(t, nil)
	f.versioned("source")
	f.bucket("bucket")
	big := content(least + 100)
	_, version := f.put("source", "a b+c", string(big))
	f.put("source", "a b+c", "newer")
	c := f.sdk(adminID)
	up := f.upload(func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = "CRC32C" })
	from := func(number int32, source, span string, change func(*s3.UploadPartCopyInput)) (*s3.UploadPartCopyOutput, error) {
		in := &s3.UploadPartCopyInput{Bucket: aws.String("bucket"), Key: aws.String("key"), UploadId: up.UploadId, PartNumber: &number, CopySource: &source}
		if span != "" {
			in.CopySourceRange = &span
		}
		if change != nil {
			change(in)
		}
		return c.UploadPartCopy(t.Context(), in)
	}
	old := "source/a%20b+c?versionId=" + version
	first, err := from(1, old, fmt.Sprintf("bytes=10-%d", least+9), nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum(big[10 : least+10])
	if *first.CopyPartResult.ETag != fmt.Sprintf(`"%x"`, sum) || *first.CopyPartResult.ChecksumCRC32C != sumOf(checksum.CRC32C, big[10:least+10]) || *first.CopySourceVersionId != version {
		t.Errorf("the part is %+v of version %s", first.CopyPartResult, aws.ToString(first.CopySourceVersionId))
	}
	second, err := from(2, "source/a%20b+c", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct{ source, span, code string }{
		{old, fmt.Sprintf("bytes=0-%d", len(big)), "InvalidArgument"},
		{old, "bytes=5-", "InvalidArgument"},
		{old, "bytes=-5", "InvalidArgument"},
		{old, "0-5", "InvalidArgument"},
		{"source/none", "", "NoSuchKey"},
		{"nobucket/none", "", "NoSuchBucket"},
		{"source", "", "InvalidArgument"},
	} {
		if _, err := from(3, bad.source, bad.span, nil); codeOf(err) != bad.code {
			t.Errorf("a copy of %s %s: %v, want %s", bad.source, bad.span, err, bad.code)
		}
	}
	if _, err := from(3, old, "", func(in *s3.UploadPartCopyInput) { in.CopySourceIfMatch = aws.String("other") }); codeOf(err) != "PreconditionFailed" {
		t.Errorf("a source that does not match: %v", err)
	}
	f.key(object.AccessKey{ID: "AKWRITER", Grants: []object.Grant{{Bucket: "bucket", Write: true}}})
	f.do(call{method: "PUT", path: "/bucket/key?partNumber=3&uploadId=" + *up.UploadId, id: "AKWRITER", header: map[string]string{"X-Amz-Copy-Source": "source/a%20b+c"}}).want(t, http.StatusForbidden, "AccessDenied")
	_, err = f.complete(up.UploadId, nil,
		types.CompletedPart{PartNumber: aws.Int32(1), ETag: first.CopyPartResult.ETag, ChecksumCRC32C: first.CopyPartResult.ChecksumCRC32C},
		types.CompletedPart{PartNumber: aws.Int32(2), ETag: second.CopyPartResult.ETag})
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := f.get("bucket", "key"); body != string(big[10:least+10])+"newer" {
		t.Errorf("%d bytes are read", len(body))
	}
}

// TestPartsAndUploadsAreListedPageByPage.
func TestPartsAndUploadsAreListedPageByPage(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	c := f.sdk(adminID)
	up := f.upload(func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = "CRC32" })
	for _, n := range []int32{7, 2, 2, 9000} { // one is replaced
		if _, err := f.part(up.UploadId, n, []byte(fmt.Sprint(n)), nil); err != nil {
			t.Fatal(err)
		}
	}
	got := ""
	parts := s3.NewListPartsPaginator(c, &s3.ListPartsInput{Bucket: aws.String("bucket"), Key: aws.String("key"), UploadId: up.UploadId, MaxParts: aws.Int32(2)})
	for parts.HasMorePages() {
		page, err := parts.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Parts {
			got += fmt.Sprint(*p.PartNumber, ":", *p.Size, ":", *p.ChecksumCRC32 == sumOf(checksum.CRC32, []byte(fmt.Sprint(*p.PartNumber))), " ")
		}
		got += "| "
	}
	if got != "2:1:true 7:1:true | 9000:4:true | " {
		t.Errorf("the parts are %s", got)
	}
	for _, key := range []string{"key", "logs/a", "logs/b", "z"} {
		f.upload(func(in *s3.CreateMultipartUploadInput) { in.Key = &key })
	}
	for _, l := range []struct {
		prefix, delimiter, want string
		size                    int32
	}{
		{"", "", "key key | logs/a logs/b | z | ", 2},
		{"", "", "key | key | logs/a | logs/b | z | ", 1},
		{"", "/", "key key z logs/* | ", 1000},
		{"logs/", "", "logs/a logs/b | ", 1000},
	} {
		got, in := "", &s3.ListMultipartUploadsInput{Bucket: aws.String("bucket"), Prefix: &l.prefix, Delimiter: &l.delimiter, MaxUploads: &l.size}
		for more := true; more; {
			page, err := c.ListMultipartUploads(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range page.Uploads {
				got += *u.Key + " "
			}
			for _, p := range page.CommonPrefixes {
				got += *p.Prefix + "* "
			}
			got += "| "
			more, in.KeyMarker, in.UploadIdMarker = *page.IsTruncated, page.NextKeyMarker, page.NextUploadIdMarker
		}
		if got != l.want {
			t.Errorf("uploads of %+v are %s", l, got)
		}
	}
	if _, err := c.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("key"), UploadId: up.UploadId}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.part(up.UploadId, 1, nil, nil); codeOf(err) != "NoSuchUpload" {
		t.Errorf("a part of an aborted upload: %v", err)
	}
}

// TestAnUploadSaysWhenItIsAborted by the rules of its bucket.
func TestAnUploadSaysWhenItIsAborted(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.do(call{method: "PUT", path: "/bucket?lifecycle", id: adminID, body: "<LifecycleConfiguration><Rule><ID>tidy</ID><Filter/><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"}).want(t, http.StatusOK, "")
	up := f.upload(nil)
	list, err := f.sdk(adminID).ListParts(t.Context(), &s3.ListPartsInput{Bucket: aws.String("bucket"), Key: aws.String("key"), UploadId: up.UploadId})
	if err != nil || aws.ToString(up.AbortRuleId) != "tidy" || up.AbortDate == nil || list.AbortDate == nil || !up.AbortDate.Equal(*list.AbortDate) {
		t.Errorf("it is aborted on %v, and on %+v, %v", up.AbortDate, list, err)
	}
}

// TestAttributesOfAnObjectOfParts have its parts, page by page.
func TestAttributesOfAnObjectOfParts(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	up := f.upload(func(in *s3.CreateMultipartUploadInput) { in.ChecksumAlgorithm = "SHA256" })
	var parts []types.CompletedPart
	sizes := [][]byte{content(least), content(least + 1), content(7)}
	for i := range int32(3) {
		out, err := f.part(up.UploadId, 10*i+1, sizes[i], func(in *s3.UploadPartInput) { in.ChecksumAlgorithm = "SHA256" })
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, named(10*i+1, out))
	}
	if _, err := f.complete(up.UploadId, nil, parts...); err != nil {
		t.Fatal(err)
	}
	in := &s3.GetObjectAttributesInput{Bucket: aws.String("bucket"), Key: aws.String("key"), ObjectAttributes: []types.ObjectAttributes{"ObjectParts", "Checksum"}, MaxParts: aws.Int32(2)}
	out, err := f.sdk(adminID).GetObjectAttributes(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	p := out.ObjectParts
	if *p.TotalPartsCount != 3 || !*p.IsTruncated || len(p.Parts) != 2 || *p.Parts[1].PartNumber != 11 || *p.Parts[1].Size != least+1 ||
		aws.ToString(p.Parts[0].ChecksumSHA256) != aws.ToString(parts[0].ChecksumSHA256) || out.Checksum.ChecksumType != "COMPOSITE" {
		t.Errorf("the first page of parts is %+v", p)
	}
	in.PartNumberMarker = p.NextPartNumberMarker
	out, err = f.sdk(adminID).GetObjectAttributes(t.Context(), in)
	if err != nil || len(out.ObjectParts.Parts) != 1 || *out.ObjectParts.Parts[0].PartNumber != 21 || *out.ObjectParts.IsTruncated {
		t.Errorf("the second page of parts is %+v, %v", out.ObjectParts, err)
	}
}
