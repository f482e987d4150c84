package s3api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const corsRules = `<CORSConfiguration>
	<CORSRule><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod>
		<AllowedHeader>x-amz-*</AllowedHeader><AllowedHeader>Content-Type</AllowedHeader><ExposeHeader>ETag</ExposeHeader><ExposeHeader>x-amz-version-id</ExposeHeader><MaxAgeSeconds>300</MaxAgeSeconds></CORSRule>
	<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>
</CORSConfiguration>`

func startCORS(t *testing.T) *fixture {
	t.Helper()
	f := start(t, nil)
	f.bucket("bucket")
	f.do(call{method: "PUT", path: "/bucket?cors", body: corsRules, id: adminID}).want(t, http.StatusOK, "")
	return f
}

// TestABrowserIsToldBeforehandWhatAPageMay goes through preflights.
func TestABrowserIsToldBeforehandWhatAPageMay(t *testing.T) {
	f := startCORS(t)
	f.bucket("without")
	for _, c := range []struct {
		name, path, origin, method, headers string
		status                              int
		code, allowed                       string
	}{
		{"the first rule that lets it", "/bucket/a", "https://app.example.com", "PUT", "Content-Type, X-Amz-Date", 200, "", "https://app.example.com"},
		{"a subresource", "/bucket/a?partNumber=1&uploadId=x", "https://app.example.com", "PUT", "", 200, "", "https://app.example.com"},
		{"anyone", "/bucket/a", "https://elsewhere.net", "GET", "", 200, "", "*"},
		{"another method", "/bucket/a", "https://elsewhere.net", "PUT", "", 403, "AccessForbidden", ""},
		{"another header", "/bucket/a", "https://app.example.com", "PUT", "authorization", 403, "AccessForbidden", ""},
		{"an origin that only ends so", "/bucket/a", "https://example.com.evil.net", "PUT", "", 403, "AccessForbidden", ""},
		{"no origin", "/bucket/a", "", "PUT", "", 400, "BadRequest", ""},
		{"no method", "/bucket/a", "https://a.example.com", "", "", 400, "BadRequest", ""},
		{"a bucket without rules", "/without/a", "https://a.example.com", "GET", "", 403, "AccessForbidden", ""},
		{"no bucket", "/nobucket/a", "https://a.example.com", "GET", "", 404, "NoSuchBucket", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := map[string]string{}
			for name, value := range map[string]string{"Origin": c.origin, "Access-Control-Request-Method": c.method, "Access-Control-Request-Headers": c.headers} {
				if value != "" {
					header[name] = value
				}
			}
			r := f.do(call{method: "OPTIONS", path: c.path, header: header})
			r.want(t, c.status, c.code)
			if got := r.header.Get("Access-Control-Allow-Origin"); got != c.allowed {
				t.Errorf("the origin allowed is %q", got)
			}
		})
	}
	r := f.do(call{method: "OPTIONS", path: "/bucket/a", header: map[string]string{
		"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "Content-Type,x-amz-date",
	}})
	for name, want := range map[string]string{
		"Access-Control-Allow-Methods": "PUT, GET", "Access-Control-Allow-Headers": "content-type, x-amz-date", "Access-Control-Max-Age": "300",
		"Access-Control-Expose-Headers": "ETag, x-amz-version-id", "Access-Control-Allow-Credentials": "true",
		"Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
}

// TestALinkIsAskedAboutWithoutItsSignatureCounting: the browser asks about a presigned PUT with
// OPTIONS and the whole link.
func TestALinkIsAskedAboutWithoutItsSignatureCounting(t *testing.T) {
	f := startCORS(t)
	link, err := s3.NewPresignClient(f.sdk(adminID)).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a")}, s3.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	f.do(call{method: "OPTIONS", path: link.URL[len(f.server.URL):], header: map[string]string{
		"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT",
	}}).want(t, http.StatusOK, "")
}

// TestAnswersSayWhatAPageMaySee, also those that refuse: else the page could not tell why.
func TestAnswersSayWhatAPageMaySee(t *testing.T) {
	f := startCORS(t)
	f.put("bucket", "a", "x")
	origin := map[string]string{"Origin": "https://app.example.com"}
	for _, c := range []struct {
		call
		status  int
		allowed string
	}{
		{call{method: "GET", path: "/bucket/a", id: adminID, header: origin}, 200, "https://app.example.com"},
		{call{method: "GET", path: "/bucket/a", header: origin}, 403, "https://app.example.com"},
		{call{method: "GET", path: "/bucket/none", id: adminID, header: origin}, 404, "https://app.example.com"},
		{call{method: "DELETE", path: "/bucket/a", id: adminID, header: origin}, 204, ""},
		{call{method: "GET", path: "/bucket/none", id: adminID}, 404, ""},
		{call{method: "GET", path: "/nobucket/none", id: adminID, header: origin}, 404, ""},
	} {
		r := f.do(c.call)
		if got := r.header.Get("Access-Control-Allow-Origin"); r.status != c.status || got != c.allowed {
			t.Errorf("%s %s is answered %d for %q", c.method, c.path, r.status, got)
		}
	}
}
