package s3api_test

import (
	"net/http"
	"strings"
	"testing"

	"chainfire/object"
)

// policy sets the policy of the bucket "bucket", of statements.
func (f *fixture) policy(statements ...string) {
	f.t.Helper()
	body := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	if r := f.do(call{method: "PUT", path: "/bucket?policy", body: body, id: adminID}); r.status != http.StatusNoContent {
		f.t.Fatalf("setting the policy is answered %d %s", r.status, r.body)
	}
}

const (
	readPublic = `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/public/*"}`
	writeInbox = `{"Effect":"Allow","Principal":{"AWS":"AKREADER"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/inbox/*"}`
	denySecret = `{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/secret/*"}`
	listInbox  = `{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket","Condition":{"StringEquals":{"s3:prefix":"public/"}}}`
)

// startPolicy has a bucket with a policy, a key that may read it, and one that may do nothing.
func startPolicy(t *testing.T) *fixture {
	t.Helper()
	f := start(t, nil)
	f.bucket("bucket")
	f.put("bucket", "public/a", "hello")
	f.put("bucket", "secret/a", "hidden")
	f.put("bucket", "other", "kept")
	f.key(object.AccessKey{ID: "AKREADER", Grants: []object.Grant{{Bucket: "bucket", Read: true}}})
	f.key(object.AccessKey{ID: "AKNOBODY"})
	f.policy(readPublic, writeInbox, denySecret, listInbox)
	return f
}

// TestThePolicyOfABucketAddsToGrantsAndTakesFromThem goes through who may do what.
func TestThePolicyOfABucketAddsToGrantsAndTakesFromThem(t *testing.T) {
	f := startPolicy(t)
	for _, c := range []struct {
		who, method, path string
		status            int
	}{
		{"", "GET", "/bucket/public/a", 200},
		{"", "HEAD", "/bucket/public/a", 200},
		{"", "GET", "/bucket/other", 403},
		{"", "GET", "/bucket/public/none?prefix=public/", 403},
		{"", "GET", "/bucket/public/none", 403}, // which keys there are is not for who may not list
		{"", "PUT", "/bucket/public/b", 403},
		{"", "DELETE", "/bucket/public/a", 403},
		{"", "GET", "/bucket?list-type=2&prefix=public/", 200},
		{"", "GET", "/bucket?list-type=2&prefix=secret/", 403},
		{"", "GET", "/bucket?list-type=2", 403},
		{"", "GET", "/bucket?policy", 403},
		{"AKNOBODY", "GET", "/bucket/public/a", 200},
		{"AKNOBODY", "GET", "/bucket/other", 403},
		{"AKREADER", "GET", "/bucket/other", 200},
		{"AKREADER", "GET", "/bucket/secret/a", 403},
		{"AKREADER", "PUT", "/bucket/inbox/a", 200},
		{"AKREADER", "PUT", "/bucket/other", 403},
		{"AKREADER", "POST", "/bucket/inbox/b?uploads", 200},
		{"AKREADER", "PUT", "/bucket?policy", 403},
		{adminID, "GET", "/bucket/secret/a", 200}, // or nobody could mend the policy
	} {
		if r := f.do(call{method: c.method, path: c.path, id: c.who}); r.status != c.status {
			t.Errorf("%s %s by %q is answered %d, not %d: %s", c.method, c.path, c.who, r.status, c.status, r.body)
		}
	}
}

// TestWhatABucketIsIsNotForStrangers, whatever its policy lets everyone do: else whoever comes
// first writes the policy, and all others are out.
func TestWhatABucketIsIsNotForStrangers(t *testing.T) {
	f := startPolicy(t)
	f.policy(`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}`)
	policy := `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}}`
	for _, c := range []call{
		{method: "PUT", path: "/bucket?policy", body: policy},
		{method: "DELETE", path: "/bucket?policy"},
		{method: "PUT", path: "/bucket?publicAccessBlock", body: "<PublicAccessBlockConfiguration/>"},
		{method: "PUT", path: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"},
		{method: "DELETE", path: "/bucket?cors"},
		{method: "DELETE", path: "/bucket"},
	} {
		f.do(c).want(t, http.StatusForbidden, "AccessDenied")
	}
	f.do(call{method: "PUT", path: "/bucket/new", body: "x"}).want(t, http.StatusOK, "")
	f.do(call{method: "GET", path: "/bucket?versioning"}).want(t, http.StatusOK, "")
	f.do(call{method: "DELETE", path: "/bucket?cors", id: "AKNOBODY"}).want(t, http.StatusNoContent, "")
}

// TestAPolicyCountsFromTheAnswerOn, also on a member that has not applied it.
func TestAPolicyCountsFromTheAnswerOn(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.put("bucket", "public/a", "hello")
	f.do(call{method: "GET", path: "/bucket/public/a"}).want(t, http.StatusForbidden, "AccessDenied")
	f.service.Lag()
	f.policy(readPublic)
	f.do(call{method: "GET", path: "/bucket/public/a"}).want(t, http.StatusOK, "")
	f.service.Catch()
	f.policy(denySecret)
	f.do(call{method: "GET", path: "/bucket/public/a"}).want(t, http.StatusForbidden, "AccessDenied")
}

// TestACopyNeedsTheRightToItsSource: the policy that lets a key write does not let it read by
// copying.
func TestACopyNeedsTheRightToItsSource(t *testing.T) {
	f := startPolicy(t)
	f.bucket("private")
	f.put("private", "a", "secret")
	for source, status := range map[string]int{"/bucket/other": 200, "/bucket/secret/a": 403, "/private/a": 403} {
		r := f.do(call{method: "PUT", path: "/bucket/inbox/copy", id: "AKREADER", header: map[string]string{"X-Amz-Copy-Source": source}})
		if r.status != status {
			t.Errorf("a copy of %s is answered %d: %s", source, r.status, r.body)
		}
	}
}

func TestPublicPoliciesAreBlockedAndRestricted(t *testing.T) {
	f := startPolicy(t)
	block := func(inner string) {
		f.do(call{method: "PUT", path: "/bucket?publicAccessBlock", id: adminID, body: "<PublicAccessBlockConfiguration>" + inner + "</PublicAccessBlockConfiguration>"}).want(t, http.StatusOK, "")
	}
	if r := f.do(call{method: "GET", path: "/bucket?policyStatus", id: adminID}); !strings.Contains(r.body, "<IsPublic>true</IsPublic>") {
		t.Errorf("the status of the policy is %s", r.body)
	}
	block("<RestrictPublicBuckets>true</RestrictPublicBuckets>")
	f.do(call{method: "GET", path: "/bucket/public/a"}).want(t, http.StatusForbidden, "AccessDenied")
	f.do(call{method: "GET", path: "/bucket/public/a", id: "AKNOBODY"}).want(t, http.StatusOK, "")
	block("<BlockPublicPolicy>true</BlockPublicPolicy>")
	f.do(call{method: "GET", path: "/bucket/public/a"}).want(t, http.StatusOK, "") // what was there stays
	f.do(call{method: "PUT", path: "/bucket?policy", id: adminID, body: `{"Statement":` + readPublic + `}`}).want(t, http.StatusForbidden, "AccessDenied")
	f.do(call{method: "PUT", path: "/bucket?policy", id: adminID, body: `{"Statement":` + writeInbox + `}`}).want(t, http.StatusNoContent, "")
	if r := f.do(call{method: "GET", path: "/bucket?policyStatus", id: adminID}); !strings.Contains(r.body, "<IsPublic>false</IsPublic>") {
		t.Errorf("the status of the policy is %s", r.body)
	}
}

// TestAPolicyThatCannotBeReadLetsNobodyIn: one that is kept and is none any more is an error of
// the server, and no word of it goes to who asks.
func TestAPolicyThatCannotBeReadLetsNobodyIn(t *testing.T) {
	f := startPolicy(t)
	f.change(&object.Change{SetConfig: &object.SetConfig{Bucket: "bucket", Name: "policy", Value: []byte("{rotten")}})
	r := f.do(call{method: "GET", path: "/bucket/public/a"})
	r.want(t, http.StatusInternalServerError, "InternalError")
	if strings.Contains(r.body, "rotten") {
		t.Errorf("the answer tells of the policy: %s", r.body)
	}
	f.policy(readPublic)
	f.do(call{method: "GET", path: "/bucket/public/a"}).want(t, http.StatusOK, "")
}

// TestADeleteOfManyIsAllowedToStrangersKeyByKey, exactly as single deletes are.
func TestADeleteOfManyIsAllowedToStrangersKeyByKey(t *testing.T) {
	f := startPolicy(t)
	doc := `<Delete><Object><Key>public/a</Key></Object><Object><Key>public/b</Key><ETag>*</ETag></Object>` +
		`<Object><Key>public/c</Key><Size>1</Size></Object><Object><Key>public/d</Key><VersionId>null</VersionId></Object>` +
		`<Object><Key>public/held/a</Key></Object><Object><Key>other</Key></Object></Delete>`
	kept := []string{"public/c", "public/d", "public/held/a", "other"}
	for _, key := range append([]string{"public/b"}, kept...) {
		f.put("bucket", key, "x")
	}
	remove := call{method: "POST", path: "/bucket?delete", body: doc, header: map[string]string{"Content-MD5": md5Of(doc)}}
	f.do(remove).want(t, http.StatusForbidden, "AccessDenied") // nobody may delete anything
	f.policy(`{"Effect":"Allow","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/public/*"}`,
		`{"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/public/held/*"}`)
	bypass := remove
	bypass.header = map[string]string{"Content-MD5": md5Of(doc), "X-Amz-Bypass-Governance-Retention": "true"}
	f.do(bypass).want(t, http.StatusForbidden, "AccessDenied")
	r := f.do(remove)
	r.want(t, http.StatusOK, "")
	for _, key := range []string{"public/a", "public/b"} {
		if _, code := f.get("bucket", key); code != "NoSuchKey" || !strings.Contains(r.body, "<Deleted><Key>"+key+"</Key></Deleted>") {
			t.Errorf("%s: %q, and the answer %s", key, code, r.body)
		}
	}
	for _, key := range kept {
		if _, code := f.get("bucket", key); code != "" || !strings.Contains(r.body, "<Error><Key>"+key+"</Key>") {
			t.Errorf("%s: %q, and the answer %s", key, code, r.body)
		}
	}
	if n := strings.Count(r.body, "<Code>AccessDenied</Code>"); n != len(kept) {
		t.Errorf("%d keys are denied: %s", n, r.body)
	}
}

// TestAPolicyThatLetsStrangersDeleteCountsFromTheAnswerOn, also on a member that has not applied it.
func TestAPolicyThatLetsStrangersDeleteCountsFromTheAnswerOn(t *testing.T) {
	f := startPolicy(t)
	f.service.Lag()
	defer f.service.Catch()
	f.policy(`{"Effect":"Allow","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/*"}`)
	doc := `<Delete><Object><Key>public/a</Key></Object></Delete>`
	r := f.do(call{method: "POST", path: "/bucket?delete", body: doc, header: map[string]string{"Content-MD5": md5Of(doc)}})
	if r.status != http.StatusOK || !strings.Contains(r.body, "<Deleted>") {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	f.do(call{method: "POST", path: "/nobucket?delete", body: doc, header: map[string]string{"Content-MD5": md5Of(doc)}}).want(t, http.StatusForbidden, "AccessDenied")
}
