package s3api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chainfire/object"
)

// TestWhoMayWriteMayNotLockOrTagByIt where the policy says nothing of locks and tags, or denies
// them: what headers and fields of a write ask for takes the right to ask for it alone. Else a
// stranger whose uploads are let in could leave what nobody can ever delete.
func TestWhoMayWriteMayNotLockOrTagByIt(t *testing.T) {
	f, _, _ := startLocked(t)
	f.put("bucket", "plain", "x")
	f.do(call{method: "PUT", path: "/bucket/tagged", id: adminID, body: "x", header: map[string]string{"X-Amz-Tagging": "a=b"}}).want(t, http.StatusOK, "")
	f.key(object.AccessKey{ID: "AKWRITER", Grants: []object.Grant{{Bucket: "bucket", Read: true, Write: true}}})
	lock := map[string]string{"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	hold := map[string]string{"X-Amz-Object-Lock-Legal-Hold": "ON"}
	tags := map[string]string{"X-Amz-Tagging": "a=b"}
	from := func(source string, more map[string]string) map[string]string {
		out := map[string]string{"X-Amz-Copy-Source": source}
		for name, value := range more {
			out[name] = value
		}
		return out
	}
	writes := []call{
		{method: "PUT", path: "/bucket/inbox/a", body: "x", header: lock},
		{method: "PUT", path: "/bucket/inbox/a", body: "x", header: hold},
		{method: "PUT", path: "/bucket/inbox/a", body: "x", header: tags},
		{method: "POST", path: "/bucket/inbox/a?uploads", header: lock},
		{method: "POST", path: "/bucket/inbox/a?uploads", header: hold},
		{method: "POST", path: "/bucket/inbox/a?uploads", header: tags},
		{method: "PUT", path: "/bucket/inbox/a", header: from("bucket/plain", lock)},
		{method: "PUT", path: "/bucket/inbox/a", header: from("bucket/plain", hold)},
		{method: "PUT", path: "/bucket/inbox/a", header: from("bucket/plain", map[string]string{"X-Amz-Tagging": "a=b", "X-Amz-Tagging-Directive": "REPLACE"})},
		{method: "PUT", path: "/bucket/inbox/a", header: from("bucket/tagged", nil)}, // with the tags of its source
	}
	write := func(who string, status int) {
		t.Helper()
		for _, c := range writes {
			c.id = who
			if r := f.do(c); r.status != status {
				t.Errorf("%s %s %v by %q is answered %d, not %d: %s", c.method, c.path, c.header, who, r.status, status, r.body)
			}
		}
		for name, value := range map[string]string{
			"x-amz-object-lock-legal-hold": "ON", "tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
		} {
			w := &webForm{bucket: "bucket", fields: map[string]string{"key": "inbox/a", name: value}, filename: "x", file: "x"}
			if who != "" {
				w = signedForm(t, who, "bucket", w.fields)
			}
			if r := f.post(w); r.status != status && (status != http.StatusOK || r.status != http.StatusNoContent) {
				t.Errorf("a form with %s by %q is answered %d, not %d: %s", name, who, r.status, status, r.body)
			}
		}
	}
	inbox := func(effect, actions string) string {
		return `{"Effect":"` + effect + `","Principal":"*","Action":[` + actions + `],"Resource":"arn:aws:s3:::bucket/*"}`
	}
	f.policy(inbox("Allow", `"s3:PutObject","s3:GetObject"`))
	write("", http.StatusForbidden)
	f.do(call{method: "PUT", path: "/bucket/inbox/a", body: "x"}).want(t, http.StatusOK, "")
	f.do(call{method: "PUT", path: "/bucket/inbox/a", header: from("bucket/plain", nil)}).want(t, http.StatusOK, "")
	write("AKWRITER", http.StatusOK) // by its grant
	f.policy(inbox("Deny", `"s3:PutObjectRetention","s3:PutObjectLegalHold","s3:PutObjectTagging"`))
	write("AKWRITER", http.StatusForbidden)
	f.policy(inbox("Allow", `"s3:PutObject*","s3:GetObject*"`))
	write("", http.StatusOK)
}

// TestTheTagsOfASourceAreForWhoMayReadThem, also in a copy.
func TestTheTagsOfASourceAreForWhoMayReadThem(t *testing.T) {
	f := start(t, nil)
	f.versioned("bucket")
	f.bucket("mine")
	tagged := f.do(call{method: "PUT", path: "/bucket/tagged", id: adminID, body: "x", header: map[string]string{"X-Amz-Tagging": "a=b"}})
	f.key(object.AccessKey{ID: "AKREADER", Grants: []object.Grant{{Bucket: "mine", Read: true, Write: true}}})
	allow := func(actions string) {
		f.policy(`{"Effect":"Allow","Principal":"*","Action":[` + actions + `],"Resource":"arn:aws:s3:::bucket/*"}`)
	}
	plain, version := "bucket/tagged", "bucket/tagged?versionId="+tagged.header.Get("X-Amz-Version-Id")
	for _, c := range []struct {
		actions, source string
		status          int
	}{
		{`"s3:GetObject","s3:GetObjectVersion"`, plain, 403},
		{`"s3:GetObject","s3:GetObjectVersion","s3:GetObjectTagging"`, plain, 200},
		{`"s3:GetObject","s3:GetObjectVersion","s3:GetObjectTagging"`, version, 403},
		{`"s3:GetObject","s3:GetObjectVersion","s3:GetObjectVersionTagging"`, version, 200},
	} {
		allow(c.actions)
		r := f.do(call{method: "PUT", path: "/mine/copy", id: "AKREADER", header: map[string]string{"X-Amz-Copy-Source": c.source}})
		if r.status != c.status {
			t.Errorf("with %s a copy of %s is answered %d: %s", c.actions, c.source, r.status, r.body)
		}
	}
}

// TestTheLargestObjectOfAKeyIsNoLargerInParts.
func TestTheLargestObjectOfAKeyIsNoLargerInParts(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.key(object.AccessKey{ID: "small", Admin: true, MaxObject: least + 1})
	first, second := strings.Repeat("x", least), strings.Repeat("y", 2)
	u := f.upload(nil)
	document := ""
	add := func(number, body string) string {
		r := f.do(call{method: "PUT", path: "/bucket/key?partNumber=" + number + "&uploadId=" + *u.UploadId, id: "small", body: body})
		r.want(t, http.StatusOK, "")
		return "<Part><PartNumber>" + number + "</PartNumber><ETag>" + r.header.Get("Etag") + "</ETag></Part>"
	}
	complete := func() *reply {
		return f.do(call{method: "POST", path: "/bucket/key?uploadId=" + *u.UploadId, id: "small", body: "<CompleteMultipartUpload>" + document + "</CompleteMultipartUpload>"})
	}
	one := add("1", first)
	document = one + add("2", second)
	complete().want(t, http.StatusBadRequest, "EntityTooLarge")
	list, err := f.sdk(adminID).ListParts(t.Context(), &s3.ListPartsInput{Bucket: aws.String("bucket"), Key: aws.String("key"), UploadId: u.UploadId})
	if err != nil || len(list.Parts) != 2 {
		t.Errorf("the parts are %+v, %v", list, err)
	}
	// What counts is what the parts that are named hold.
	document = one + add("2", "y")
	complete().want(t, http.StatusOK, "")
	complete().want(t, http.StatusOK, "") // again, as a client does that missed the answer
}
