package s3api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"chainfire/object"
)

// grantKeys are access keys by what they are granted of buckets that begin with "mine".
func grantKeys(f *fixture) {
	grant := func(read, write bool) []object.Grant {
		return []object.Grant{{Bucket: "mine*", Read: read, Write: write}}
	}
	f.key(object.AccessKey{ID: "none"})
	f.key(object.AccessKey{ID: "read", Grants: grant(true, false)})
	f.key(object.AccessKey{ID: "write", Grants: grant(false, true)})
	f.key(object.AccessKey{ID: "both", Grants: grant(true, true)})
	f.key(object.AccessKey{ID: "admin", Admin: true})
}

func TestAKeyMayDoWhatItIsGranted(t *testing.T) {
	f := start(t, nil)
	grantKeys(f)
	for _, tc := range []struct {
		call
		// may are the keys that may, when the bucket is theirs.
		may string
	}{
		{call{method: "GET", path: "/BUCKET?list-type=2"}, "read both admin"},
		{call{method: "GET", path: "/BUCKET"}, "read both admin"},
		{call{method: "GET", path: "/BUCKET?versions"}, "read both admin"},
		{call{method: "GET", path: "/BUCKET?location"}, "read both admin"},
		{call{method: "HEAD", path: "/BUCKET"}, "read both admin"},
		{call{method: "GET", path: "/BUCKET/k"}, "read both admin"},
		{call{method: "GET", path: "/BUCKET/k?versionId=null"}, "read both admin"},
		{call{method: "HEAD", path: "/BUCKET/k"}, "read both admin"},
		{call{method: "PUT", path: "/BUCKET/new", body: "x"}, "write both admin"},
		{call{method: "PUT", path: "/BUCKET/new", body: "x", header: map[string]string{"If-Match": "*"}}, "write both admin"},
		{call{method: "PUT", path: "/BUCKET/new", body: "x", header: map[string]string{"If-Match": md5Hex("x")}}, "both admin"},
		{call{method: "PUT", path: "/BUCKET/copy", header: map[string]string{"X-Amz-Copy-Source": "BUCKET/k"}}, "both admin"},
		{call{method: "DELETE", path: "/BUCKET/new"}, "write both admin"},
		{call{method: "DELETE", path: "/BUCKET/new", header: map[string]string{"X-Amz-Bypass-Governance-Retention": "true"}}, "admin"},
		{call{method: "PUT", path: "/BUCKET-2"}, "both admin"},
		{call{method: "DELETE", path: "/BUCKET-2"}, "both admin"},
	} {
		for _, bucket := range []string{"mine", "notmine"} {
			for _, id := range []string{"none", "read", "write", "both", "admin"} {
				f.reset(bucket)
				c := tc.call
				c.id, c.path = id, strings.ReplaceAll(c.path, "BUCKET", bucket)
				c.header = map[string]string{}
				for k, v := range tc.header {
					c.header[k] = strings.ReplaceAll(v, "BUCKET", bucket)
				}
				want := strings.Contains(" "+tc.may+" ", " "+id+" ") && (bucket == "mine" || id == "admin")
				r := f.do(c)
				if may := r.status < 300 || r.code == "BucketAlreadyOwnedByYou"; may != want || !want && r.status != 403 {
					t.Errorf("%s %s %v as %s: %d %s, want that it may: %v", c.method, c.path, c.header, id, r.status, r.code, want)
				}
			}
		}
	}
}

// reset makes a bucket with the objects "k" and "new", and a second one that is empty.
func (f *fixture) reset(bucket string) {
	f.t.Helper()
	for _, name := range []string{bucket, bucket + "-2"} {
		if r := f.do(call{method: "PUT", path: "/" + name, id: adminID}); r.status != 200 && r.code != "BucketAlreadyOwnedByYou" {
			f.t.Fatalf("making %s: %d %s", name, r.status, r.body)
		}
	}
	f.put(bucket, "k", "v")
	f.put(bucket, "new", "x")
}

func TestAKeySeesTheBucketsThatItIsGranted(t *testing.T) {
	f := start(t, nil)
	grantKeys(f)
	for _, b := range []string{"mine-1", "mine-2", "other"} {
		f.bucket(b)
	}
	for id, want := range map[string][]string{
		"none": nil, "read": {"mine-1", "mine-2"}, "write": {"mine-1", "mine-2"}, "admin": {"mine-1", "mine-2", "other"},
	} {
		out, err := f.sdk(id).ListBuckets(t.Context(), &s3.ListBucketsInput{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range out.Buckets {
			got = append(got, *b.Name)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", id, d)
		}
	}
}

func TestADeleteOfManyIsAllowedEntryByEntryAndNotByItsBucket(t *testing.T) {
	f := start(t, nil)
	grantKeys(f)
	f.reset("mine")
	doc := `<Delete><Object><Key>k</Key></Object></Delete>`
	for _, id := range []string{"none", "read"} {
		r := f.do(call{method: "POST", path: "/mine?delete", id: id, body: doc, header: map[string]string{"Content-MD5": md5Of(doc)}})
		if r.status != 200 || !strings.Contains(r.body, "<Code>AccessDenied</Code>") {
			t.Errorf("as %s: %d %s", id, r.status, r.body)
		}
	}
	if body, _ := f.get("mine", "k"); body != "v" {
		t.Errorf("%q is there", body)
	}
}

// TestAnElementOfADeleteTakesLittleMemory, whoever sends it: what there is to delete is parsed
// before it is known that nothing of it is allowed.
func TestAnElementOfADeleteTakesLittleMemory(t *testing.T) {
	f := start(t, nil)
	grantKeys(f)
	f.reset("mine")
	doc := `<Delete><Object><Key>k</Key></Object>` + strings.Repeat("<x/>", 200_000) + `</Delete>`
	f.do(call{method: "POST", path: "/mine?delete", id: "both", body: doc, header: map[string]string{"Content-MD5": md5Of(doc)}}).want(t, 400, "MalformedXML")
}

func TestAMemberThatIsBehindKnowsNewKeys(t *testing.T) {
	f := start(t, nil)
	f.bucket("behind")
	f.key(object.AccessKey{ID: "changed", Admin: true, Disabled: true})
	f.service.Lag()
	defer f.service.Catch()
	f.key(object.AccessKey{ID: "new", Admin: true})
	f.key(object.AccessKey{ID: "changed", Admin: true})
	for _, id := range []string{"new", "changed"} {
		f.do(call{method: "PUT", path: "/behind/" + id, id: id, body: "x"}).want(t, 200, "")
		f.do(call{method: "GET", path: "/behind/" + id, id: id}).want(t, 200, "")
	}
	f.do(call{method: "GET", path: "/behind/new", id: "nobody"}).want(t, 403, "InvalidAccessKeyId")
}

func TestAMemberThatIsBehindReadsAndDecidesByWhatWasAcknowledged(t *testing.T) {
	f := start(t, nil)
	f.service.Lag()
	defer f.service.Catch()
	f.bucket("new")
	etag, _ := f.put("new", "k", "v")
	if body, code := f.get("new", "k"); body != "v" {
		t.Errorf("get: %q %q", body, code)
	}
	if r := f.do(call{method: "GET", path: "/new?list-type=2", id: adminID}); !strings.Contains(r.body, "<Key>k</Key>") {
		t.Errorf("listing: %s", r.body)
	}
	f.do(call{method: "PUT", path: "/new/k", id: adminID, body: "w", header: map[string]string{"If-Match": etag}}).want(t, 200, "")
	f.do(call{method: "PUT", path: "/new/k", id: adminID, body: "x", header: map[string]string{"If-None-Match": "*"}}).want(t, 412, "PreconditionFailed")
}

func TestAnonymousRequestsAreDeniedWhateverTheyAsk(t *testing.T) {
	f := start(t, nil)
	f.bucket("private")
	etag, _ := f.put("private", "k", "v")
	for i, c := range []call{
		{method: "GET", path: "/"},
		{method: "GET", path: "/private?list-type=2"},
		{method: "GET", path: "/private/k"},
		{method: "HEAD", path: "/private/k"},
		{method: "GET", path: "/private/k", header: map[string]string{"If-None-Match": etag}},
		{method: "GET", path: "/private/k", header: map[string]string{"Range": "bytes=0-0"}},
		{method: "GET", path: "/private/none"},
		{method: "GET", path: "/nowhere/none"},
		{method: "PUT", path: "/private/k", body: "x", header: map[string]string{"If-None-Match": "*"}},
		{method: "DELETE", path: "/private/k"},
	} {
		if r := f.do(c); r.status != 403 || r.code != "AccessDenied" && c.method != "HEAD" || r.header.Get("ETag") != "" {
			t.Errorf("%d: %s %s: %d %s %v", i, c.method, c.path, r.status, r.code, r.header)
		}
	}
}

func TestAKeyIsHeldToItsRates(t *testing.T) {
	f := start(t, nil)
	f.bucket("rates")
	f.key(object.AccessKey{ID: "slow", Admin: true, Requests: 3})
	f.key(object.AccessKey{ID: "small", Admin: true, MaxObject: 10})
	passed, slowed := 0, 0
	for range 20 {
		switch r := f.do(call{method: "GET", path: "/rates?list-type=2", id: "slow"}); {
		case r.status == 200:
			passed++
		case r.status == 503 && r.code == "SlowDown":
			slowed++
		default:
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if passed < 3 || slowed == 0 {
		t.Errorf("of 20 requests at 3 per second %d passed and %d were slowed", passed, slowed)
	}
	for size, code := range map[int]string{10: "", 11: "EntityTooLarge"} {
		if r := f.do(call{method: "PUT", path: fmt.Sprint("/rates/", size), id: "small", body: strings.Repeat("x", size)}); r.code != code {
			t.Errorf("%d bytes: %d %s, want %q", size, r.status, r.code, code)
		}
	}
	f.put("rates", "large", strings.Repeat("x", 11))
	f.do(call{method: "PUT", path: "/rates/copy", id: "small", header: map[string]string{"X-Amz-Copy-Source": "rates/large"}}).want(t, 400, "EntityTooLarge")
}

// A member that has not applied all that was acknowledged answers as one that has.
func TestTheVersionOfAWriteIsToldByAMemberThatLags(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	c := f.sdk(adminID)
	f.service.Lag()
	_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String("bucket"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	put, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key"), Body: strings.NewReader("text")})
	if err != nil || aws.ToString(put.VersionId) == "" {
		t.Errorf("a put in a bucket with versions: version %q, %v", aws.ToString(put.VersionId), err)
	}
	copied, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("bucket"), Key: aws.String("copy"), CopySource: aws.String("bucket/key")})
	if err != nil || aws.ToString(copied.VersionId) == "" {
		t.Errorf("a copy into a bucket with versions: version %q, %v", aws.ToString(copied.VersionId), err)
	}
}
