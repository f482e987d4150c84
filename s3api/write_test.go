package s3api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"chainfire/object"
)

func TestConditionsOfWriters(t *testing.T) {
	f := start(t, nil)
	f.bucket("conditions")
	c := f.sdk(adminID)
	put := func(key, ifMatch, ifNoneMatch string) string {
		in := &s3.PutObjectInput{Bucket: aws.String("conditions"), Key: &key, Body: strings.NewReader(key + ifMatch + ifNoneMatch)}
		if ifMatch != "" {
			in.IfMatch = &ifMatch
		}
		if ifNoneMatch != "" {
			in.IfNoneMatch = &ifNoneMatch
		}
		_, err := c.PutObject(t.Context(), in)
		return codeOf(err)
	}
	etag, _ := f.put("conditions", "there", "v")
	for _, tc := range []struct{ name, key, match, noneMatch, want string }{
		{"none is there, and none is", "new", "", "*", ""},
		{"none is there, and one is", "there", "", "*", "PreconditionFailed"},
		{"that is there, and another is", "there", `"0"`, "", "PreconditionFailed"},
		{"one is there, and none is", "absent", "*", "", "NoSuchKey"},
		{"that is there, and none is", "absent", `"0"`, "", "NoSuchKey"},
		{"that is there, and it is", "there", etag, "", ""},
		{"one is there, and one is", "there", "*", "", ""},
		{"one of several", "there", "", `"0", "1"`, "NotImplemented"},
	} {
		if got := put(tc.key, tc.match, tc.noneMatch); got != tc.want {
			t.Errorf("put on condition that %s: %q, want %q", tc.name, got, tc.want)
		}
	}
	if r := f.do(call{method: "PUT", path: "/conditions/there", id: adminID, header: map[string]string{"If-Modified-Since": "Mon, 02 Jan 2006 15:04:05 GMT"}}); r.code != "NotImplemented" {
		t.Errorf("put with If-Modified-Since: %q", r.code)
	}
}

func TestOfWritersThatRaceOneWins(t *testing.T) {
	f := start(t, nil)
	f.bucket("races")
	const writers = 16
	for round := range 5 {
		key, wins := fmt.Sprint(round), make(chan int, writers)
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				r := f.do(call{method: "PUT", path: "/races/" + key, id: adminID, body: fmt.Sprint(i), header: map[string]string{"If-None-Match": "*"}})
				switch r.status {
				case 200:
					wins <- i
				case 412:
				default:
					t.Errorf("writer %d: %d %s", i, r.status, r.body)
				}
			})
		}
		all.Wait()
		close(wins)
		winner, ok := <-wins
		if _, more := <-wins; !ok || more {
			t.Fatalf("round %d: there is one winner: %v, and more than one: %v", round, ok, more)
		}
		if body, _ := f.get("races", key); body != fmt.Sprint(winner) {
			t.Errorf("round %d: writer %d won, and %q is there", round, winner, body)
		}
	}
}

func TestConditionsOfDeletes(t *testing.T) {
	f := start(t, nil)
	f.bucket("deletes")
	etag, _ := f.put("deletes", "k", "v")
	head := f.do(call{method: "HEAD", path: "/deletes/k", id: adminID})
	modified := head.header.Get("Last-Modified")
	for _, tc := range []struct {
		name   string
		header map[string]string
		status int
	}{
		{"another ETag", map[string]string{"If-Match": `"0"`}, 412},
		{"another size", map[string]string{"x-amz-if-match-size": "2"}, 412},
		{"another time", map[string]string{"x-amz-if-match-last-modified-time": "Mon, 02 Jan 2006 15:04:05 GMT"}, 412},
		{"a size that is none", map[string]string{"x-amz-if-match-size": "-1"}, 400},
		{"a time that is none", map[string]string{"x-amz-if-match-last-modified-time": "yesterday"}, 400},
		{"all of it", map[string]string{"If-Match": etag, "x-amz-if-match-size": "1", "x-amz-if-match-last-modified-time": modified}, 204},
		{"none is there any more", map[string]string{"If-Match": "*"}, 404},
		{"nothing, of what is not there", nil, 204},
	} {
		if r := f.do(call{method: "DELETE", path: "/deletes/k", id: adminID, header: tc.header}); r.status != tc.status {
			t.Errorf("delete with %s: %d %s, want %d", tc.name, r.status, r.body, tc.status)
		}
	}
}

func TestVersionsAndDeleteMarkers(t *testing.T) {
	f := start(t, nil)
	f.versioned("versions")
	c := f.sdk(adminID)
	bucket, key := aws.String("versions"), aws.String("k")
	_, first := f.put("versions", "k", "one")
	_, second := f.put("versions", "k", "two")
	if first == "" || second == "" || first == second {
		t.Fatalf("versions %q and %q", first, second)
	}
	marker, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key})
	if err != nil || !aws.ToBool(marker.DeleteMarker) || aws.ToString(marker.VersionId) == "" {
		t.Fatalf("delete: %+v %v", marker, err)
	}
	if _, code := f.get("versions", "k"); code != "NoSuchKey" {
		t.Errorf("get of a deleted key: %q", code)
	}
	r := f.do(call{method: "GET", path: "/versions/k", id: adminID})
	if r.status != 404 || r.header.Get("X-Amz-Delete-Marker") != "true" || r.header.Get("X-Amz-Version-Id") != *marker.VersionId {
		t.Errorf("get of a deleted key: %d %v", r.status, r.header)
	}
	r = f.do(call{method: "GET", path: "/versions/k?versionId=" + *marker.VersionId, id: adminID})
	if r.status != 405 || r.header.Get("X-Amz-Delete-Marker") != "true" || r.header.Get("Allow") != "DELETE" {
		t.Errorf("get of a delete marker: %d %v", r.status, r.header)
	}
	for id, want := range map[string]string{first: "one", second: "two"} {
		if r := f.do(call{method: "GET", path: "/versions/k?versionId=" + id, id: adminID}); r.body != want || r.header.Get("X-Amz-Version-Id") != id {
			t.Errorf("get of version %s: %q, want %q", id, r.body, want)
		}
	}
	for _, id := range []string{"0123456789abcdef", "null"} {
		f.do(call{method: "GET", path: "/versions/k?versionId=" + id, id: adminID}).want(t, 404, "NoSuchVersion")
	}
	f.do(call{method: "GET", path: "/versions/never?versionId=" + first, id: adminID}).want(t, 404, "NoSuchVersion")
	for _, id := range []string{"", "x", "123", "0123456789ABCDEF"} {
		f.do(call{method: "GET", path: "/versions/k?versionId=" + id, id: adminID}).want(t, 400, "InvalidArgument")
	}
	gone, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: marker.VersionId})
	if err != nil || !aws.ToBool(gone.DeleteMarker) || aws.ToString(gone.VersionId) != *marker.VersionId {
		t.Errorf("deleting the marker: %+v %v", gone, err)
	}
	if body, _ := f.get("versions", "k"); body != "two" {
		t.Errorf("without the marker %q is there", body)
	}
}

func TestDeletesOfManyAnswerForEach(t *testing.T) {
	f := start(t, nil)
	f.versioned("many")
	c := f.sdk(adminID)
	etag, version := f.put("many", "one", "1")
	f.put("many", "two", "2")
	f.put("many", "three<&>", "3")
	out, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("many"), Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("one"), VersionId: &version, ETag: &etag},
		{Key: aws.String("two"), ETag: aws.String(`"0"`)},
		{Key: aws.String("three<&>")},
		{Key: aws.String("absent"), VersionId: aws.String("0123456789abcdef")},
		{Key: aws.String("never"), VersionId: aws.String("no version")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range out.Deleted {
		got = append(got, fmt.Sprintf("%s marker %v", *d.Key, aws.ToBool(d.DeleteMarker)))
	}
	for _, e := range out.Errors {
		got = append(got, fmt.Sprintf("%s refused %s", *e.Key, *e.Code))
	}
	want := []string{
		"one marker false", "three<&> marker true", "absent marker false",
		"two refused PreconditionFailed", "never refused NoSuchVersion",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	quiet, err := c.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: aws.String("many"), Delete: &types.Delete{
		Quiet: aws.Bool(true), Objects: []types.ObjectIdentifier{{Key: aws.String("two")}},
	}})
	if err != nil || len(quiet.Deleted) != 0 || len(quiet.Errors) != 0 {
		t.Errorf("a quiet delete answers %+v, %v", quiet, err)
	}
	if _, code := f.get("many", "two"); code != "NoSuchKey" {
		t.Errorf("after a quiet delete: %q", code)
	}
}

func TestDeletesOfManyRefuseDocumentsThatAreNone(t *testing.T) {
	f := start(t, nil)
	f.bucket("many")
	f.put("many", "k", "v")
	one := "<Object><Key>k</Key></Object>"
	for _, tc := range []struct{ name, body, code string }{
		{"nothing", "", "MissingRequestBodyError"},
		{"no entry", "<Delete></Delete>", "MalformedXML"},
		{"1,001 entries", "<Delete>" + strings.Repeat(one, 1001) + "</Delete>", "MalformedXML"},
		{"another root", "<Erase>" + one + "</Erase>", "MalformedXML"},
		{"an entity", `<!DOCTYPE d [<!ENTITY k "k">]><Delete><Object><Key>&k;</Key></Object></Delete>`, "MalformedXML"},
		{"a directive", `<!DOCTYPE Delete SYSTEM "file:///etc/passwd"><Delete>` + one + `</Delete>`, "MalformedXML"},
		{"two documents", "<Delete>" + one + "</Delete><Delete>" + one + "</Delete>", "MalformedXML"},
		{"text after it", "<Delete>" + one + "</Delete>k", "MalformedXML"},
		{"an end that is missing", "<Delete>" + one, "MalformedXML"},
		{"too deep", strings.Repeat("<Delete>", 100) + strings.Repeat("</Delete>", 100), "MalformedXML"},
		{"an element that is not known", "<Delete><Object><Key>k</Key><Etag>&quot;0&quot;</Etag></Object></Delete>", "MalformedXML"},
		{"an element of another level", "<Delete>" + one + "<ETag>&quot;0&quot;</ETag></Delete>", "MalformedXML"},
		{"two conditions of one kind", "<Delete><Object><Key>k</Key><ETag>&quot;0&quot;</ETag><ETag>*</ETag></Object></Delete>", "MalformedXML"},
		{"two keys", "<Delete><Object><Key>other</Key><Key>k</Key></Object></Delete>", "MalformedXML"},
		{"no key", "<Delete><Object/>" + one + "</Delete>", "MalformedXML"},
		{"a size that is none", "<Delete><Object><Key>k</Key><Size/></Object></Delete>", "MalformedXML"},
		{"too long", "<Delete>" + strings.Repeat(" ", 2<<20) + one + "</Delete>", "EntityTooLarge"},
	} {
		header := map[string]string{"Content-MD5": md5Of(tc.body)}
		r := f.do(call{method: "POST", path: "/many?delete", id: adminID, body: tc.body, header: header})
		if r.code != tc.code {
			t.Errorf("%s: %d %q, want %q", tc.name, r.status, r.code, tc.code)
		}
	}
	for _, empty := range []string{"<ETag/>", "<LastModifiedTime/>"} { // of the entry: others are deleted
		body := "<Delete><Object><Key>k</Key>" + empty + "</Object></Delete>"
		r := f.do(call{method: "POST", path: "/many?delete", id: adminID, body: body, header: map[string]string{"Content-MD5": md5Of(body)}})
		if !strings.Contains(r.body, "<Error><Key>k</Key><Code>InvalidArgument</Code>") {
			t.Errorf("%s: %d %s", empty, r.status, r.body)
		}
	}
	f.do(call{method: "POST", path: "/many?delete", id: adminID, body: "<Delete>" + one + "</Delete>"}).want(t, 400, "InvalidRequest")
	f.do(call{method: "POST", path: "/many?delete", id: adminID, body: "<Delete>" + one + "</Delete>", header: map[string]string{"Content-MD5": md5Of("other")}}).want(t, 400, "BadDigest")
	if body, code := f.get("many", "k"); body != "v" {
		t.Errorf("after refused deletes %q %q is there", body, code)
	}
}

func TestARefusedWriteKeepsTheConnection(t *testing.T) {
	f := start(t, nil)
	f.bucket("kept")
	f.put("kept", "k", "v")
	var reused []bool
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = append(reused, i.Reused) }}
	send := func(key, body string, header map[string]string) int {
		r := f.request(call{method: "PUT", path: "/kept/" + key, id: adminID, body: body, header: header})
		resp, err := f.server.Client().Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode
	}
	never := map[string]string{"If-None-Match": "*"}
	for _, size := range []int{0, 1, 1000, 200 << 10} {
		reused = nil
		first := send("k", strings.Repeat("x", size), never)
		second := send(fmt.Sprint("next ", size), "good", never)
		if first != 412 || second != 200 {
			t.Errorf("a refused put of %d bytes: %d, and the next: %d", size, first, second)
		}
		if len(reused) != 2 || !reused[1] {
			t.Errorf("after a refused put of %d bytes another connection was made", size)
		}
	}
	for _, size := range []int{1 << 20, 8 << 20} { // too large to be read for nothing
		if status := send("k", strings.Repeat("x", size), never); status != 412 {
			t.Errorf("a refused put of %d bytes: %d", size, status)
		}
	}
	if status := send("large", strings.Repeat("x", 1<<20), never); status != 200 {
		t.Errorf("a put after a refused one of 1 MiB: %d", status)
	}
}

func TestCopies(t *testing.T) {
	f := start(t, nil)
	f.bucket("from")
	f.versioned("into")
	c := f.sdk(adminID)
	large := content(300_000)
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("from"), Key: aws.String("a+b c/%41"), Body: bytes.NewReader(large), ContentType: aws.String("text/plain"),
		Metadata: map[string]string{"old": "1"}, Tagging: aws.String("t=1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	source := "from/a%2Bb%20c/%2541"
	out, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("into"), Key: aws.String("same"), CopySource: &source})
	if err != nil || out.CopyObjectResult == nil || out.CopyObjectResult.ChecksumCRC32 == nil || aws.ToString(out.VersionId) == "" {
		t.Fatalf("copy: %+v %v", out, err)
	}
	if body, _ := f.get("into", "same"); body != string(large) {
		t.Error("the copy has other bytes")
	}
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: aws.String("into"), Key: aws.String("changed"), CopySource: &source, MetadataDirective: types.MetadataDirectiveReplace,
		TaggingDirective: types.TaggingDirectiveReplace, ContentType: aws.String("text/html"), Metadata: map[string]string{"new": "2"},
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"same": "text/plain map[old:1] 1 ", "changed": "text/html map[new:2] 0 true"} {
		h, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("into"), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		sum := ""
		if h.ChecksumSHA256 != nil {
			sum = "true"
		}
		if got := fmt.Sprintf("%s %v %d %s", *h.ContentType, h.Metadata, aws.ToInt32(h.TagCount), sum); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

func TestCopiesThatAreRefused(t *testing.T) {
	f := start(t, nil)
	f.bucket("from")
	f.bucket("secret")
	f.bucket("into")
	etag, _ := f.put("from", "k", "v")
	f.put("secret", "k", "hidden")
	f.put("into", "there", "v")
	f.key(object.AccessKey{ID: "AKCOPY", Grants: []object.Grant{{Bucket: "from", Read: true}, {Bucket: "into", Read: true, Write: true}}})
	copyOf := func(source string, more ...string) map[string]string {
		h := map[string]string{"x-amz-copy-source": source}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	for _, tc := range []struct {
		name, path string
		header     map[string]string
		status     int
		code       string
	}{
		{"of what may not be read", "/into/x", copyOf("secret/k"), 403, "AccessDenied"},
		{"of what may not be read, by an encoded slash", "/into/x", copyOf("secret%2Fk"), 403, "AccessDenied"},
		{"of what may not be read, by dots", "/into/x", copyOf("from/../secret/k"), 404, "NoSuchKey"},
		{"into what may not be written", "/from/x", copyOf("from/k"), 403, "AccessDenied"},
		{"of what is not there", "/into/x", copyOf("from/none"), 404, "NoSuchKey"},
		{"of no version", "/into/x", copyOf("from/k?versionId=0123456789abcdef"), 404, "NoSuchVersion"},
		{"of no key", "/into/x", copyOf("from"), 400, "InvalidArgument"},
		{"of a broken encoding", "/into/x", copyOf("from/%zz"), 400, "InvalidArgument"},
		{"of an access point", "/into/x", copyOf("arn:aws:s3:us-east-1:1:accesspoint/a/object/k"), 501, "NotImplemented"},
		{"with an unknown directive", "/into/x", copyOf("from/k", "x-amz-metadata-directive", "MERGE"), 400, "InvalidArgument"},
		{"of another ETag", "/into/x", copyOf("from/k", "x-amz-copy-source-if-match", `"0"`), 412, "PreconditionFailed"},
		{"unless of this ETag", "/into/x", copyOf("from/k", "x-amz-copy-source-if-none-match", etag), 412, "PreconditionFailed"},
		{"over what is there", "/into/there", copyOf("from/k", "If-None-Match", "*"), 412, "PreconditionFailed"},
		{"over what is not there", "/into/x", copyOf("from/k", "If-Match", "*"), 404, "NoSuchKey"},
		{"onto itself", "/into/there", copyOf("into/there"), 400, "InvalidRequest"},
		{"onto itself, encoded otherwise", "/into/there", copyOf("/into/%74here"), 400, "InvalidRequest"},
		{"with a body", "/into/x", copyOf("from/k"), 400, "UnexpectedContent"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := ""
			if tc.name == "with a body" {
				body = "x"
			}
			f.do(call{method: "PUT", path: tc.path, id: "AKCOPY", header: tc.header, body: body}).want(t, tc.status, tc.code)
		})
	}
	if _, code := f.get("into", "x"); code != "NoSuchKey" {
		t.Errorf("after refused copies: %q", code)
	}
	f.do(call{method: "PUT", path: "/into/there", id: "AKCOPY", header: copyOf("into/there", "x-amz-metadata-directive", "REPLACE")}).want(t, 200, "")
}

func TestACopyBeginsAnewWhereItsSourceChanges(t *testing.T) {
	f := start(t, nil)
	f.bucket("moving")
	f.put("moving", "k", "before")
	changed := false
	f.service.OnChange = func(c *object.Change) error {
		if c.Copy == nil || changed {
			return nil
		}
		changed = true
		_, err := f.service.Change(context.Background(), &object.Change{Time: time.Now().UnixMilli(), Put: &object.Put{
			Bucket: "moving", Key: "k", ETag: strings.Repeat("0", 32), Body: object.Body{Size: 5, Inline: []byte("after")},
		}})
		return err
	}
	f.do(call{method: "PUT", path: "/moving/copy", id: adminID, header: map[string]string{"x-amz-copy-source": "moving/k"}}).want(t, 200, "")
	if body, _ := f.get("moving", "copy"); body != "after" || !changed {
		t.Errorf("the copy has %q", body)
	}
}

func TestABodyIsWrittenOnlyWhole(t *testing.T) {
	f := start(t, nil)
	f.bucket("whole")
	for _, tc := range []struct {
		name   string
		header map[string]string
		status int
		code   string
	}{
		{"another MD5", map[string]string{"Content-MD5": md5Of("other")}, 400, "BadDigest"},
		{"an MD5 that is none", map[string]string{"Content-MD5": "x"}, 400, "InvalidDigest"},
		{"another checksum", map[string]string{"x-amz-checksum-crc32": "AAAAAA=="}, 400, "BadDigest"},
		{"a checksum that is none", map[string]string{"x-amz-checksum-crc32": "AAAA"}, 400, "InvalidRequest"},
		{"two checksums", map[string]string{"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="}, 400, "InvalidRequest"},
		{"a checksum named and not given", map[string]string{"x-amz-sdk-checksum-algorithm": "CRC32"}, 400, "InvalidRequest"},
		{"a checksum that there is not", map[string]string{"x-amz-sdk-checksum-algorithm": "CRC16"}, 400, "InvalidRequest"},
		{"an unknown storage class", map[string]string{"x-amz-storage-class": "CUPBOARD"}, 400, "InvalidStorageClass"},
		{"encryption", map[string]string{"x-amz-server-side-encryption": "AES256"}, 501, "NotImplemented"},
		{"an ACL", map[string]string{"x-amz-acl": "public-read"}, 400, "AccessControlListNotSupported"},
		{"a grant", map[string]string{"x-amz-grant-read": "id=x"}, 400, "AccessControlListNotSupported"},
		{"too much metadata", map[string]string{"x-amz-meta-a": strings.Repeat("x", 2048)}, 400, "MetadataTooLarge"},
		{"too many tags", map[string]string{"x-amz-tagging": "a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k="}, 400, "BadRequest"},
		{"a tag twice", map[string]string{"x-amz-tagging": "a=1&a=2"}, 400, "InvalidTag"},
		{"a redirect to elsewhere", map[string]string{"x-amz-website-redirect-location": "javascript:x"}, 400, "InvalidRequest"},
		{"half a retention", map[string]string{"x-amz-object-lock-mode": "GOVERNANCE"}, 400, "InvalidArgument"},
		{"a retention in a bucket that has none", map[string]string{"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2999-01-01T00:00:00Z"}, 400, "InvalidRequest"},
		{"another owner", map[string]string{"x-amz-expected-bucket-owner": "111122223333"}, 403, "AccessDenied"},
		{"more than there may be", map[string]string{"x-amz-write-offset-bytes": "0"}, 501, "NotImplemented"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.do(call{method: "PUT", path: "/whole/k", id: adminID, body: "the body", header: tc.header}).want(t, tc.status, tc.code)
			if _, code := f.get("whole", "k"); code != "NoSuchKey" {
				t.Errorf("an object is there: %q", code)
			}
		})
	}
}

func TestABodyNeedsALength(t *testing.T) {
	f := start(t, nil)
	f.bucket("length")
	r := f.request(call{method: "PUT", path: "/length/k", id: adminID, payload: "UNSIGNED-PAYLOAD"})
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader("no length")), -1
	resp, err := f.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	replyOf(resp, b).want(t, http.StatusLengthRequired, "MissingContentLength")
}

// TestWhatANewBucketIsToBeIsUnderstoodOrRefused: an element that is passed over would make another
// bucket than was asked for.
func TestWhatANewBucketIsToBeIsUnderstoodOrRefused(t *testing.T) {
	f := start(t, nil)
	for inner, code := range map[string]string{
		"<LocationConstraint>eu-west-1</LocationConstraint>":                      "InvalidLocationConstraint",
		"<locationConstraint>eu-west-1</locationConstraint>":                      "MalformedXML",
		"<LocationConstraint/><LocationConstraint>eu-west-1</LocationConstraint>": "MalformedXML",
		"<Location><Type>AvailabilityZone</Type></Location>":                      "NotImplemented",
		"<Bucket><Type>Directory</Type></Bucket>":                                 "NotImplemented",
		"<Tags><Tag><Key>k</Key><Value>v</Value></Tag></Tags>":                    "NotImplemented",
		"<Tags><Label/></Tags>":                                                   "MalformedXML",
		"<Tags/><LocationConstraint>us-east-1</LocationConstraint>":               "",
	} {
		body := "<CreateBucketConfiguration>" + inner + "</CreateBucketConfiguration>"
		if r := f.do(call{method: "PUT", path: "/new", id: adminID, body: body}); r.code != code {
			t.Errorf("%s: %d %q, want %q", inner, r.status, r.code, code)
		}
	}
}
