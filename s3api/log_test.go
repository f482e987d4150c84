package s3api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestEveryRequestIsALineOfTheLogWithoutSecrets(t *testing.T) {
	f := start(t, nil)
	f.bucket("logged")
	f.do(call{method: "PUT", path: "/logged/a%0Akey", id: adminID, body: "12345"})
	f.do(call{method: "GET", path: "/logged/a%0Akey", id: adminID})
	f.do(call{method: "GET", path: "/logged/none", id: adminID})
	r := f.request(call{method: "GET", path: "/logged/a%0Akey"})
	u, err := signer(adminID).Presign(r, time.Minute, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r.URL = u
	f.send(r)
	f.do(call{method: "GET", path: "/logged/k", id: "AKNOBODY"})
	f.server.Close() // the last line is written after the answer

	type line struct {
		Msg, Operation, Bucket, Key, Code string
		Method, Remote                    string
		AccessKey                         string `json:"access_key"`
		RequestID                         string `json:"request_id"`
		Status                            int
		In                                int64 `json:"bytes_in"`
		Out                               int64 `json:"bytes_out"`
	}
	var lines []line
	for text := range strings.Lines(f.log.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if l.RequestID == "" || l.Remote != "127.0.0.1" {
			t.Errorf("%q has no request id, or is from elsewhere", text)
		}
		lines = append(lines, l)
	}
	want := []line{
		{Operation: "CreateBucket", Method: "PUT", Bucket: "logged", AccessKey: adminID, Status: 200},
		{Operation: "PutObject", Method: "PUT", Bucket: "logged", Key: "a\nkey", AccessKey: adminID, Status: 200, In: 5},
		{Operation: "GetObject", Method: "GET", Bucket: "logged", Key: "a\nkey", AccessKey: adminID, Status: 200, Out: 5},
		{Operation: "GetObject", Method: "GET", Bucket: "logged", Key: "none", AccessKey: adminID, Status: 404, Code: "NoSuchKey"},
		{Operation: "GetObject", Method: "GET", Bucket: "logged", Key: "a\nkey", AccessKey: adminID, Status: 200, Out: 5},
		{Operation: "GetObject", Method: "GET", Bucket: "logged", Key: "k", Status: 403, Code: "InvalidAccessKeyId"},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d: %s", len(lines), len(want), f.log)
	}
	for i, w := range want {
		got := lines[i]
		got.RequestID, got.Remote, got.Msg = "", "", ""
		if got.Code != "" {
			got.Out = 0 // of the error
		}
		if got != w {
			t.Errorf("line %d: %+v, want %+v", i, got, w)
		}
	}
	for _, never := range []string{secret, "Signature", "X-Amz-Credential", u.Query().Get("X-Amz-Signature")} {
		if strings.Contains(f.log.String(), never) {
			t.Errorf("the log has %q: %s", never, f.log)
		}
	}
}
