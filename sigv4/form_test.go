package sigv4

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"
)

const examplePolicy = `{"expiration": "2013-05-24T01:00:00Z", "conditions": [
	{"bucket": "uploads"},
	["starts-with", "$key", "user/kim/"],
	{"acl": "private"},
	["eq", "$success_action_status", "201"],
	["starts-with", "$Content-Type", "image/"],
	["starts-with", "$x-amz-meta-tag", ""],
	["content-length-range", 10, 1000],
	{"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"},
	{"x-amz-algorithm": "AWS4-HMAC-SHA256"},
	{"x-amz-date": "20130524T000000Z"}
]}`

// form is a form whose policy is signed.
func form(policy string) map[string]string {
	text := base64.StdEncoding.EncodeToString([]byte(policy))
	key := SigningKey(exampleSecret, NewScope(exampleTime, "us-east-1", "s3"))
	return map[string]string{
		"key": "user/kim/cat.png", "acl": "private", "success_action_status": "201", "content-type": "image/png",
		"policy": text, "x-amz-algorithm": Algorithm, "x-amz-date": "20130524T000000Z",
		"x-amz-credential": exampleID + "/20130524/us-east-1/s3/aws4_request", "x-amz-signature": key.Sign(text),
	}
}

func TestFormMayUploadWhatItsPolicySays(t *testing.T) {
	f := form(examplePolicy)
	f["x-ignore-this"] = "1"
	u, err := exampleVerifier().VerifyForm(t.Context(), f, "uploads")
	if err != nil {
		t.Fatal(err)
	}
	if u.AccessKeyID != exampleID || u.Mechanism != Form || u.MinSize != 10 || u.MaxSize != 1000 {
		t.Errorf("%+v", u)
	}
}

func TestFormThatItsPolicyDoesNotCoverIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		bucket string
		change map[string]string // an empty value takes the field away
		want   Code
	}{
		"another bucket in the URL":     {"secrets", nil, AccessDenied},
		"another bucket in a field":     {"uploads", map[string]string{"bucket": "secrets"}, AccessDenied},
		"another bucket in both":        {"secrets", map[string]string{"bucket": "secrets"}, AccessDenied},
		"the policy's bucket, in vain":  {"secrets", map[string]string{"bucket": "uploads"}, AccessDenied},
		"another prefix":                {"uploads", map[string]string{"key": "user/lee/x"}, AccessDenied},
		"no key":                        {"uploads", map[string]string{"key": ""}, AccessDenied},
		"another acl":                   {"uploads", map[string]string{"acl": "public-read"}, AccessDenied},
		"a field that nobody spoke of":  {"uploads", map[string]string{"x-amz-storage-class": "STANDARD"}, AccessDenied},
		"a redirect":                    {"uploads", map[string]string{"success_action_redirect": "http://evil.example"}, AccessDenied},
		"another signature":             {"uploads", map[string]string{"x-amz-signature": strings.Repeat("0", 64)}, SignatureDoesNotMatch},
		"another policy":                {"uploads", map[string]string{"policy": base64.StdEncoding.EncodeToString([]byte(`{}`))}, SignatureDoesNotMatch},
		"another key id":                {"uploads", map[string]string{"x-amz-credential": "other/20130524/us-east-1/s3/aws4_request"}, InvalidAccessKeyID},
		"another region":                {"uploads", map[string]string{"x-amz-credential": exampleID + "/20130524/eu-west-1/s3/aws4_request"}, InvalidArgument},
		"another algorithm":             {"uploads", map[string]string{"x-amz-algorithm": "AWS4-HMAC-SHA1"}, InvalidArgument},
		"a date of another day":         {"uploads", map[string]string{"x-amz-date": "20130525T000000Z"}, InvalidArgument},
		"no policy":                     {"uploads", map[string]string{"policy": ""}, InvalidArgument},
		"no signature":                  {"uploads", map[string]string{"x-amz-signature": ""}, InvalidArgument},
		"a token that the key does not": {"uploads", map[string]string{"x-amz-security-token": "x"}, InvalidToken},
	} {
		t.Run(name, func(t *testing.T) {
			f := form(examplePolicy)
			maps.Copy(f, tc.change)
			maps.DeleteFunc(f, func(_, v string) bool { return v == "" })
			_, err := exampleVerifier().VerifyForm(t.Context(), f, tc.bucket)
			wantCode(t, err, tc.want)
		})
	}
}

func TestPolicyThatIsNotWellFormedIsRefused(t *testing.T) {
	for name, policy := range map[string]string{
		"no JSON":                 `{`,
		"two documents":           `{"expiration": "2013-05-24T01:00:00Z", "conditions": []} {}`,
		"another field":           `{"expiration": "2013-05-24T01:00:00Z", "conditions": [], "more": 1}`,
		"no time":                 `{"conditions": []}`,
		"a time of no kind":       `{"expiration": "tomorrow", "conditions": []}`,
		"a condition of two":      `{"expiration": "2013-05-24T01:00:00Z", "conditions": [["eq", "$key"]]}`,
		"an operation of no kind": `{"expiration": "2013-05-24T01:00:00Z", "conditions": [["matches", "$key", "x"]]}`,
		"a field without $":       `{"expiration": "2013-05-24T01:00:00Z", "conditions": [["eq", "key", "x"]]}`,
		"an object of two":        `{"expiration": "2013-05-24T01:00:00Z", "conditions": [{"a": "b", "c": "d"}]}`,
		"sizes of no kind":        `{"expiration": "2013-05-24T01:00:00Z", "conditions": [["content-length-range", "a", 1]]}`,
		"sizes below nothing":     `{"expiration": "2013-05-24T01:00:00Z", "conditions": [["content-length-range", -1, 1]]}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := exampleVerifier().VerifyForm(t.Context(), form(policy), "uploads")
			wantCode(t, err, InvalidPolicyDocument)
		})
	}
}

func TestFormHoldsForTheTimeOfItsPolicyAndNamesItsBucket(t *testing.T) {
	v := exampleVerifier()
	v.Now = func() time.Time { return exampleTime.Add(time.Hour) }
	_, err := v.VerifyForm(t.Context(), form(examplePolicy), "uploads")
	wantCode(t, err, AccessDenied)
	_, err = exampleVerifier().VerifyForm(t.Context(), form(strings.Replace(examplePolicy, `{"bucket": "uploads"},`, "", 1)), "uploads")
	wantCode(t, err, AccessDenied)
}
