package s3api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chainfire/object"
	"chainfire/object/checksum"
	"chainfire/s3api"
	"chainfire/sigv4"
)

// webForm is a form as a page sends it.
type webForm struct {
	bucket   string // of the URL
	fields   map[string]string
	filename string
	file     string
	// raw, if it is not nil, is the body in place of the fields and the file.
	raw []byte
	// id, if it is not empty, signs the request by its headers.
	id string
}

// signedForm is a form of a file "photo.jpg" that a key has signed for a bucket, with
// conditions on top of those that fix its fields.
func signedForm(t *testing.T, id, bucket string, fields map[string]string, conditions ...any) *webForm {
	t.Helper()
	now := time.Now().UTC()
	scope := sigv4.NewScope(now, "us-east-1", "s3")
	signing := sigv4.SigningKey(secret, scope)
	all := maps.Clone(fields)
	if all == nil {
		all = map[string]string{}
	}
	all["x-amz-algorithm"] = sigv4.Algorithm
	all["x-amz-credential"] = id + "/" + scope.String()
	all["x-amz-date"] = now.Format(sigv4.DateFormat)
	conditions = append(conditions, map[string]string{"bucket": bucket})
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !slices.ContainsFunc(conditions, func(c any) bool { return strings.Contains(fmt.Sprint(c), "$"+name+" ") }) {
			conditions = append(conditions, []string{"eq", "$" + name, all[name]})
		}
	}
	policy, err := json.Marshal(map[string]any{"expiration": now.Add(time.Hour).Format(time.RFC3339), "conditions": conditions})
	if err != nil {
		t.Fatal(err)
	}
	all["policy"] = base64.StdEncoding.EncodeToString(policy)
	all["x-amz-signature"] = signing.Sign(all["policy"])
	return &webForm{bucket: bucket, fields: all, filename: "photo.jpg", file: "the bytes"}
}

// post sends a form; the browser does not follow what it is sent on to.
func (f *fixture) post(w *webForm) *reply {
	f.t.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	for _, name := range slices.Sorted(maps.Keys(w.fields)) {
		if err := m.WriteField(name, w.fields[name]); err != nil {
			f.t.Fatal(err)
		}
	}
	file, err := m.CreateFormFile("file", w.filename)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := file.Write([]byte(w.file)); err != nil {
		f.t.Fatal(err)
	}
	if err := m.WriteField("submit", "Upload"); err != nil { // what comes behind the file does not count
		f.t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		f.t.Fatal(err)
	}
	text := body.String()
	if w.raw != nil {
		text = strings.ReplaceAll(string(w.raw), "BOUNDARY", m.Boundary())
	}
	client := *f.server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(f.request(call{method: "POST", path: "/" + w.bucket, body: text, id: w.id, header: map[string]string{"Content-Type": m.FormDataContentType()}}))
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(resp.Body); err != nil {
		f.t.Fatal(err)
	}
	return replyOf(resp, answer.Bytes())
}

func startForms(t *testing.T) *fixture {
	t.Helper()
	f := start(t, nil)
	f.versioned("bucket")
	f.bucket("other")
	f.key(object.AccessKey{ID: "AKWRITER", Grants: []object.Grant{{Bucket: "bucket", Write: true}}})
	return f
}

func TestAFormWritesItsFileWithWhatItsFieldsSay(t *testing.T) {
	f := startForms(t)
	w := signedForm(t, "AKWRITER", "bucket", map[string]string{
		"key": "user/me/${filename}", "Content-Type": "image/jpeg", "x-amz-meta-who": "me", "success_action_status": "201",
		"tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>", "acl": "private",
		"x-amz-checksum-crc32": sumOf(checksum.CRC32, []byte("the bytes")),
	}, []string{"starts-with", "$key", "user/me/"}, []any{"content-length-range", 1, 100})
	w.filename = `C:\pictures\photo.jpg`
	r := f.post(w)
	r.want(t, http.StatusCreated, "")
	for _, want := range []string{"<PostResponse>", "<Bucket>bucket</Bucket>", "<Key>user/me/photo.jpg</Key>", f.server.URL + "/bucket/user/me/photo.jpg"} {
		if !strings.Contains(r.body, want) {
			t.Errorf("%s is not in the answer %s", want, r.body)
		}
	}
	if r.header.Get("X-Amz-Version-Id") == "" || r.header.Get("Etag") == "" {
		t.Errorf("the answer's headers are %v", r.header)
	}
	out, err := f.sdk(adminID).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("user/me/photo.jpg"), ChecksumMode: "ENABLED"})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	if *out.ContentType != "image/jpeg" || out.Metadata["who"] != "me" || *out.TagCount != 1 || *out.ChecksumCRC32 != w.fields["x-amz-checksum-crc32"] || *out.ContentLength != 9 {
		t.Errorf("the object is %+v", out)
	}
}

// TestAFormIsAnsweredAsItAsks, and a browser is sent on only to where it was signed for.
func TestAFormIsAnsweredAsItAsks(t *testing.T) {
	f := startForms(t)
	for _, c := range []struct {
		field, value string
		status       int
		location     string
	}{
		{"success_action_status", "200", 200, "/bucket/k"},
		{"success_action_status", "999", 204, "/bucket/k"},
		{"x-ignore-this", "x", 204, "/bucket/k"},
		{"success_action_redirect", "https://example.com/done?x=1", 303, "https://example.com/done?bucket=bucket&etag=%22"},
		{"redirect", "https://example.com/done", 303, "https://example.com/done?bucket=bucket&etag=%22"},
		{"success_action_redirect", "javascript:alert(1)", 204, "/bucket/k"},
		{"success_action_redirect", "/relative", 204, "/bucket/k"},
	} {
		r := f.post(signedForm(t, "AKWRITER", "bucket", map[string]string{"key": "k", c.field: c.value}))
		r.want(t, c.status, "")
		if got := r.header.Get("Location"); !strings.HasPrefix(strings.TrimPrefix(got, f.server.URL), c.location) {
			t.Errorf("%s=%s is sent to %s", c.field, c.value, got)
		}
	}
}

// TestAFormForOneBucketIsNoneForAnother is CVE-2023-43040 of Ceph, where the bucket of a form's
// field was checked, and that of the URL written.
func TestAFormForOneBucketIsNoneForAnother(t *testing.T) {
	f := startForms(t)
	for _, id := range []string{"AKWRITER", adminID} { // who may write both, and who may not
		for _, field := range []string{"", "bucket", "other"} {
			w := signedForm(t, id, "bucket", map[string]string{"key": "k"})
			w.bucket = "other"
			if field != "" {
				w.fields["bucket"] = field
			}
			f.post(w).want(t, http.StatusForbidden, "AccessDenied")
		}
	}
	w := signedForm(t, "AKWRITER", "other", map[string]string{"key": "k"})
	f.post(w).want(t, http.StatusForbidden, "AccessDenied") // signed well, by who may not write there
	if _, code := f.get("other", "k"); code != "NoSuchKey" {
		t.Errorf("the object is there: %q", code)
	}
}

// TestAFormIsRefusedForWhatItsPolicyDoesNotSay, and for what is wrong with it; nothing is
// written.
func TestAFormIsRefusedForWhatItsPolicyDoesNotSay(t *testing.T) {
	f := startForms(t)
	for _, c := range []struct {
		name   string
		change func(*webForm)
		status int
		code   string
	}{
		{"a field more", func(w *webForm) { w.fields["x-amz-meta-more"] = "x" }, 403, "AccessDenied"},
		{"another key", func(w *webForm) { w.fields["key"] = "other" }, 403, "AccessDenied"},
		{"another signature", func(w *webForm) { w.fields["x-amz-signature"] = strings.Repeat("0", 64) }, 403, "SignatureDoesNotMatch"},
		{"no signature", func(w *webForm) { delete(w.fields, "x-amz-signature") }, 400, "InvalidArgument"},
		{"no policy", func(w *webForm) { delete(w.fields, "policy") }, 400, "InvalidArgument"},
		{"no word of who signed", func(w *webForm) {
			for _, name := range []string{"policy", "x-amz-signature", "x-amz-algorithm", "x-amz-credential", "x-amz-date"} {
				delete(w.fields, name)
			}
		}, 403, "AccessDenied"},
		{"an unknown key", func(w *webForm) {
			w.fields["x-amz-credential"] = "AKNONE" + strings.TrimPrefix(w.fields["x-amz-credential"], "AKWRITER")
		}, 403, "InvalidAccessKeyId"},
		{"another who signed the request", func(w *webForm) { w.id = adminID }, 400, "InvalidArgument"},
		{"a file that is too small", func(w *webForm) { w.file = "" }, 400, "EntityTooSmall"},
		{"a file that is too large", func(w *webForm) { w.file = strings.Repeat("x", 101) }, 400, "EntityTooLarge"},
		{"no key", func(w *webForm) { delete(w.fields, "key") }, 400, "InvalidArgument"},
		{"a bucket that there is not", func(w *webForm) { w.bucket = "nobucket" }, 403, "AccessDenied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := signedForm(t, "AKWRITER", "bucket", map[string]string{"key": "k"}, []any{"content-length-range", 1, 100})
			c.change(w)
			r := f.post(w)
			if r.status != c.status || r.code != c.code {
				t.Errorf("answered %d %s, want %d %s", r.status, r.body, c.status, c.code)
			}
			if _, code := f.get("bucket", "k"); code != "NoSuchKey" {
				t.Errorf("the object is there: %q", code)
			}
		})
	}
	for name, fields := range map[string]map[string]string{
		"a public list":            {"acl": "public-read"},
		"encryption":               {"x-amz-server-side-encryption": "AES256"},
		"tags that are none":       {"tagging": "a=b"},
		"a lock where there is no": {"x-amz-object-lock-legal-hold": "ON"},
		"a checksum of others":     {"x-amz-checksum-crc32": sumOf(checksum.CRC32, []byte("other bytes"))},
		"a line more":              {"x-amz-meta-a": "b\r\nSet-Cookie: c"},
	} {
		fields["key"] = "k"
		if r := f.post(signedForm(t, "AKWRITER", "bucket", fields)); r.status < 400 || r.status == 403 || r.code == "" || r.code == "InternalError" {
			t.Errorf("%s is answered %d %s", name, r.status, r.body)
		}
		if _, code := f.get("bucket", "k"); code != "NoSuchKey" {
			t.Errorf("%s: the object is there: %q", name, code)
		}
	}
}

// TestFormsAreBounded in what comes before the file, and must be whole.
func TestFormsAreBounded(t *testing.T) {
	f := startForms(t)
	field := func(name, value string) string {
		return "--BOUNDARY\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	file := "--BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nbytes"
	many := ""
	for i := range 101 {
		many += field(fmt.Sprint("f", i), "x")
	}
	f.policy(`{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*"}`)
	for _, c := range []struct{ name, body, code string }{
		{"a field twice", field("key", "k") + field("Key", "k") + file + "\r\n--BOUNDARY--\r\n", "InvalidArgument"},
		{"too many fields", many + file + "\r\n--BOUNDARY--\r\n", "InvalidArgument"},
		{"a field too long", field("key", strings.Repeat("x", 200<<10)) + file + "\r\n--BOUNDARY--\r\n", "MaxPostPreDataLengthExceeded"},
		{"a header too long", "--BOUNDARY\r\nX: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", "MaxPostPreDataLengthExceeded"},
		{"no file", field("key", "k") + "--BOUNDARY--\r\n", "InvalidArgument"},
		{"a file without its end", field("key", "k") + file, "IncompleteBody"},
		{"no form", "hello", "InvalidArgument"},
		{"a field without a name", "--BOUNDARY\r\n\r\nx\r\n" + file + "\r\n--BOUNDARY--\r\n", "MalformedPOSTRequest"},
		{"a key too long", field("key", strings.Repeat("x", 1025)) + file + "\r\n--BOUNDARY--\r\n", "KeyTooLongError"},
		{"a key that is no text", field("key", "k\x00") + file + "\r\n--BOUNDARY--\r\n", "InvalidURI"},
	} {
		f.post(&webForm{bucket: "bucket", raw: []byte(c.body)}).want(t, http.StatusBadRequest, c.code)
	}
	list, err := f.sdk(adminID).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("bucket")})
	if err != nil || len(list.Contents) != 0 {
		t.Errorf("there are objects: %+v, %v", list.Contents, err)
	}
	// Whom the policy of the bucket lets in needs no signature, and is sent nowhere.
	r := f.post(&webForm{bucket: "bucket", fields: map[string]string{"key": "open", "success_action_redirect": "https://example.com/"}, filename: "x", file: "bytes"})
	r.want(t, http.StatusNoContent, "")
	if to, err := url.Parse(r.header.Get("Location")); err != nil || to.Host == "example.com" {
		t.Errorf("a form that nobody signed is sent to %v, %v", to, err)
	}
	if body, _ := f.get("bucket", "open"); body != "bytes" {
		t.Errorf("the object is %q", body)
	}
}

// TestAnObjectIsWhereTheClientAsked: behind a proxy that is believed, not where the proxy asked.
func TestAnObjectIsWhereTheClientAsked(t *testing.T) {
	for trusted, want := range map[bool]string{true: "https://files.example/bucket/k", false: "http://inside.example/bucket/k"} {
		f := start(t, func(o *s3api.Options) { o.TrustForwarded = trusted })
		f.bucket("bucket")
		f.policy(`{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*"}`)
		body := "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"k\"\r\n\r\nx\r\n--b--\r\n"
		r := f.request(call{method: "POST", path: "/bucket", body: body, header: map[string]string{
			"Content-Type": "multipart/form-data; boundary=b", "X-Forwarded-Host": "files.example, inside.example", "X-Forwarded-Proto": "https",
		}})
		r.Host = "inside.example"
		if got := f.send(r); got.status != http.StatusNoContent || got.header.Get("Location") != want {
			t.Errorf("trusted %t: %d %q %s", trusted, got.status, got.header.Get("Location"), got.body)
		}
	}
}

func TestAFormCountsForTheKeyThatSignedIt(t *testing.T) {
	slowed := &slowed{}
	f := start(t, func(o *s3api.Options) { o.Limits.Requests, o.Stats = 8, slowed })
	f.bucket("bucket")
	hold := func(caller string, n int) {
		for range n {
			if !f.api.Hold(caller) {
				t.Fatalf("%q may not hold %d slots", caller, n)
			}
			t.Cleanup(func() { f.api.Leave(caller) })
		}
	}
	hold(adminID, 6)
	f.post(signedForm(t, adminID, "bucket", map[string]string{"key": "k"})).want(t, http.StatusServiceUnavailable, "SlowDown")
	if got := slowed.reasons(); !slices.Equal(got, []string{s3api.SlowShare}) {
		t.Errorf("counted as %q", got)
	}
	f.key(object.AccessKey{ID: "AKSECOND", Admin: true})
	f.post(signedForm(t, "AKSECOND", "bucket", map[string]string{"key": "k"})).want(t, http.StatusNoContent, "")
	hold("", 1)
	f.post(&webForm{bucket: "bucket", fields: map[string]string{"key": "k"}}).want(t, http.StatusServiceUnavailable, "SlowDown")
}

// slowed are stats that keep why requests were told to slow down.
type slowed struct {
	mu  sync.Mutex
	why []string
}

func (*slowed) Began()                          {}
func (*slowed) Ended(string, int, int64, int64) {}

func (s *slowed) SlowedDown(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = append(s.why, reason)
}

func (s *slowed) reasons() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.why)
}
