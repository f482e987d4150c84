package bucketpolicy

import (
	"strings"
	"testing"
	"time"
)

// resources is a policy of resources that begin with a bucket and have what is given behind it.
func resources(behind ...string) string {
	var list []string
	for _, b := range behind {
		list = append(list, `"arn:aws:s3:::bucket/`+b+`"`)
	}
	return `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":[` + strings.Join(list, ",") + `]}}`
}

func repeated(s string, n int) (out []string) {
	for range n {
		out = append(out, s)
	}
	return out
}

// TestAPolicyIsEvaluatedInLittleTime, whoever wrote it: it is evaluated for each of the thousand keys
// of a DeleteObjects.
func TestAPolicyIsEvaluatedInLittleTime(t *testing.T) {
	a := func(n int) string { return strings.Repeat("a", n) }
	for name, document := range map[string]string{
		"long texts between stars":  resources(repeated("*"+a(500)+"b*", 35)...),
		"many texts between stars":  resources(repeated("*"+a(20)+"b*", 300)...),
		"the same with marks":       resources(repeated("*"+strings.Repeat("a?", 100)+"b*", 60)...),
		"variables, which are long": resources(repeated("*${aws:username}*", 300)...),
		"texts in a condition": `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket","Condition":{"StringLike":{"s3:prefix":["*` +
			strings.Join(repeated(a(500)+"b*", 30), `","*`) + `"]}}}}`,
	} {
		if len(document) > MaxSize {
			t.Fatalf("%s: the document has %d bytes", name, len(document))
		}
		if _, err := Parse([]byte(document), "bucket"); err == nil || !strings.Contains(err.Error(), "between two *") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, document := range map[string]string{
		"long texts behind a star": resources(repeated("*"+a(500)+"b", 35)...),
		"as much as there may be":  resources(repeated("*"+a(15)+"b*", 32)...),
		"what is usual":            resources("*/public/*", "*.jpg", "logs/2024-*/a?c*"),
	} {
		p, err := Parse([]byte(document), "bucket")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		begin := time.Now()
		for range 20 {
			p.Evaluate(&Request{Action: "s3:DeleteObject", Resource: "bucket/" + a(1024)})
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("%s: twenty evaluations take %v", name, took)
		}
	}
}
