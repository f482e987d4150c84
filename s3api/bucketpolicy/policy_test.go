package bucketpolicy

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustParse(t *testing.T, document string) *Policy {
	t.Helper()
	p, err := Parse([]byte(document), "photos")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// policyOf puts statements into a document.
func policyOf(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func pointer[T any](v T) *T { return &v }

// TestTheStatementThatMatchesDecides tells, policy by policy, who may do what.
func TestTheStatementThatMatchesDecides(t *testing.T) {
	public := `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/public/*"}`
	team := `{"Sid":"team","Effect":"Allow","Principal":{"AWS":["alice","arn:aws:iam::123456789012:user/bob"]},
		"Action":["s3:Get*","s3:ListBucket"],"Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]}`
	home := `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"s3:*","Resource":"arn:aws:s3:::photos/home/${aws:username}/*"}`
	tls := `{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"],
		"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`
	office := `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*",
		"Condition":{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8::/32"]},"NotIpAddress":{"aws:SourceIp":"192.0.2.66"}}}`
	pages := `{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::photos",
		"Condition":{"StringLike":{"s3:prefix":["public/*",""]},"NumericLessThanEquals":{"s3:max-keys":"10"}}}`
	secret := `{"Effect":"Deny","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::photos","Condition":{"StringNotEquals":{"s3:prefix":"public/"}}}`

	get := func(who, key string) Request {
		return Request{Principal: who, Action: "s3:GetObject", Resource: "photos/" + key, Secure: true}
	}
	from := func(ip string) Request {
		r := get("", "x")
		r.SourceIP = netip.MustParseAddr(ip)
		return r
	}
	list := func(prefix *string, most *int64) Request {
		return Request{Principal: "carol", Action: "s3:ListBucket", Resource: "photos", Secure: true, Prefix: prefix, MaxKeys: most}
	}
	insecure := get("alice", "x")
	insecure.Secure = false
	for _, c := range []struct {
		name   string
		policy string
		r      Request
		want   Decision
	}{
		{"everyone is also who has not signed", policyOf(public), get("", "public/a"), Allow},
		{"a resource bounds the keys", policyOf(public), get("", "private/a"), None},
		{"dots in a key are characters", policyOf(public), get("", "public/../private/a"), Allow},
		{"a resource of keys is not the bucket", policyOf(public), Request{Action: "s3:GetObject", Resource: "photos"}, None},
		{"an action bounds what is done", policyOf(public), Request{Action: "s3:PutObject", Resource: "photos/public/a"}, None},
		{"the case of an action does not matter", policyOf(public), Request{Action: "S3:getobject", Resource: "photos/public/a"}, Allow},
		{"a key by its id", policyOf(team), get("alice", "x"), Allow},
		{"a key by a name of IAM", policyOf(team), get("bob", "x"), Allow},
		{"a key that is not named", policyOf(team), get("carol", "x"), None},
		{"nobody is not a key with an empty id", policyOf(team), get("", "x"), None},
		{"a variable is who asks", policyOf(home), get("alice", "home/alice/x"), Allow},
		{"a variable is nobody else", policyOf(home), get("alice", "home/bob/x"), None},
		{"a variable of nobody matches nothing", policyOf(home), get("", "home//x"), None},
		{"a star in a name is a star", policyOf(home), get("*", "home/bob/x"), None},
		{"an explicit deny wins", policyOf(team, tls), insecure, Deny},
		{"a deny whose condition fails is no word", policyOf(team, tls), get("alice", "x"), Allow},
		{"a deny alone allows nothing", policyOf(tls), get("alice", "x"), None},
		{"an address in a range", policyOf(office), from("192.0.2.7"), Allow},
		{"an address of the other family", policyOf(office), from("2001:db8::1"), Allow},
		{"an IPv4 address in an IPv6 one", policyOf(office), from("::ffff:192.0.2.7"), Allow},
		{"two conditions must both hold", policyOf(office), from("192.0.2.66"), None},
		{"an unknown address is in no range", policyOf(office), get("", "x"), None},
		{"a listing within the pattern", policyOf(pages), list(pointer("public/a"), pointer(int64(10))), Allow},
		{"a listing of too much", policyOf(pages), list(pointer("public/a"), pointer(int64(11))), None},
		{"a listing elsewhere", policyOf(pages), list(pointer("private"), pointer(int64(1))), None},
		{"a key without a value compares with nothing", policyOf(pages), list(nil, pointer(int64(1))), None},
		{"a negated condition holds where there is no value", policyOf(pages, secret), list(nil, nil), Deny},
		{"a negated condition fails on the value", policyOf(pages, secret), list(pointer("public/"), pointer(int64(1))), Allow},
		{"IfExists lets what is missing pass", strings.ReplaceAll(policyOf(pages), "LessThanEquals", "LessThanEqualsIfExists"), list(pointer(""), nil), Allow},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mustParse(t, c.policy).Evaluate(&c.r); got != c.want {
				t.Errorf("the policy says %d, not %d", got, c.want)
			}
		})
	}
}

// TestWhatIsNotSupportedIsRefusedByName holds the parser to never passing over what it does
// not know.
func TestWhatIsNotSupportedIsRefusedByName(t *testing.T) {
	statement := func(change ...string) string {
		s := `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`
		return policyOf(strings.NewReplacer(change...).Replace(s))
	}
	for _, c := range []struct{ document, word string }{
		{statement(`"Principal"`, `"NotPrincipal"`), "NotPrincipal"},
		{statement(`"Action"`, `"NotAction"`), "NotAction"},
		{statement(`"Resource"`, `"NotResource"`), "NotResource"},
		{statement(`"Effect"`, `"effect"`), "effect"},
		{statement(`"Effect"`, `"Effect":"Deny","Effect"`), "twice"},
		{statement(`"Allow"`, `"allow"`), "Effect"},
		{statement(`"*"`, `{"Service":"x"}`), "Service"},
		{statement(`"*"`, `{"AWS":"al*"}`), "al*"},
		{statement(`"*"`, `{"AWS":"arn:aws:iam::123456789012:root"}`), "root"},
		{statement(`"*"`, `{"AWS":[]}`), "AWS"},
		{statement(`"*"`, `"alice"`), "principal"},
		{statement(`s3:GetObject`, `s3:GetObjekt`), "s3:GetObjekt"},
		{statement(`s3:GetObject`, `ec2:*`), "ec2:*"},
		{statement(`s3:GetObject`, `s3:ListBucket`), "does not apply"},
		{statement(`photos/*`, `photos`), "does not apply"},
		{statement(`photos/*`, `photosother/*`), "photosother"},
		{statement(`arn:aws:s3:::photos/*`, `*`), "resource"},
		{statement(`photos/*`, `photos/${aws:userid}`), "aws:userid"},
		{statement(`photos/*`, `photos/${aws:username`), "variable"},
		{statement(`photos/*"`, `photos/*","Condition":{"DateLessThan":{"aws:CurrentTime":"x"}}`), "DateLessThan"},
		{statement(`photos/*"`, `photos/*","Condition":{"StringEquals":{"s3:x-amz-acl":"x"}}`), "s3:x-amz-acl"},
		{statement(`photos/*"`, `photos/*","Condition":{"StringEquals":{"aws:SourceIp":"x"}}`), "aws:SourceIp"},
		{statement(`photos/*"`, `photos/*","Condition":{"IpAddress":{"aws:SourceIp":"300.1.1.1"}}`), "300.1.1.1"},
		{statement(`photos/*"`, `photos/*","Condition":{"IpAddress":{"aws:SourceIp":"::ffff:1.1.1.0/120"}}`), "::ffff"},
		{statement(`photos/*"`, `photos/*","Condition":{"Bool":{"aws:SecureTransport":"no"}}`), "no"},
		{statement(`photos/*"`, `photos/*","Condition":{"NumericEquals":{"s3:max-keys":1.5}}`), "1.5"},
		{statement(`photos/*"`, `photos/*","Condition":{"StringEquals":{"s3:prefix":[]}}`), "s3:prefix"},
		{statement(`photos/*"`, `photos/*","Condition":[]`), "Condition"},
		{`{"Version":"2012-10-17","Statement":[]}`, "Statement"},
		{`{"Version":"2012-10-17","Statement":[1]}`, "Statement"},
		{`{"Version":"2020-01-01","Statement":{}}`, "version"},
		{`[]`, "'{'"},
		{`{`, "JSON"},
		{`{} {}`, "after"},
		{"{\"Id\":\"\xff\"}", "UTF-8"},
		{`{"Id":[[[[[[[[[[1]]]]]]]]]]}`, "levels"},
		{strings.Repeat(" ", MaxSize) + "{}", "size"},
		{policyOf(`{"Sid":"a","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::photos/*"}`,
			`{"Sid":"a","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::photos/*"}`), "unique"},
	} {
		_, err := Parse([]byte(c.document), "photos")
		if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s:\nthe error is %v, and is to name %s", c.document, err, c.word)
		}
	}
}

func TestAPolicyIsPublicUnlessAddressesOrNamesBoundIt(t *testing.T) {
	with := func(principal, condition string) string {
		return policyOf(fmt.Sprintf(`{"Effect":"Allow","Principal":%s,"Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*","Condition":{%s}}`, principal, condition))
	}
	for _, c := range []struct {
		document string
		public   bool
	}{
		{with(`"*"`, ``), true},
		{with(`{"AWS":["alice","*"]}`, ``), true},
		{with(`{"AWS":"alice"}`, ``), false},
		{strings.Replace(with(`"*"`, ``), "Allow", "Deny", 1), false},
		{with(`"*"`, `"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}`), false},
		{with(`"*"`, `"IpAddress":{"aws:SourceIp":["192.0.2.0/24","0.0.0.0/1"]}`), true},
		{with(`"*"`, `"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}`), true},
		{with(`"*"`, `"IpAddressIfExists":{"aws:SourceIp":"192.0.2.0/24"}`), true},
		{with(`"*"`, `"StringEquals":{"aws:username":"alice"}`), false},
		{with(`"*"`, `"StringLike":{"aws:username":"a*"}`), true},
		{with(`"*"`, `"Bool":{"aws:SecureTransport":"true"}`), true},
	} {
		if got := mustParse(t, c.document).Public(); got != c.public {
			t.Errorf("public is %t of %s", got, c.document)
		}
	}
}

func TestAPolicyTellsWhatItMayLetStrangersDo(t *testing.T) {
	with := func(effect, principal, action string) string {
		return policyOf(fmt.Sprintf(`{"Effect":%q,"Principal":%s,"Action":%q,"Resource":"arn:aws:s3:::photos/*"}`, effect, principal, action))
	}
	for _, c := range []struct {
		document string
		may      bool
	}{
		{with("Allow", `"*"`, "s3:DeleteObject"), true},
		{with("Allow", `{"AWS":["alice","*"]}`, "s3:deleteobjectversion"), true},
		{with("Allow", `"*"`, "s3:*"), true},
		{with("Allow", `"*"`, "s3:GetObject"), false},
		{with("Allow", `{"AWS":"alice"}`, "s3:DeleteObject"), false},
		{with("Deny", `"*"`, "s3:DeleteObject"), false},
	} {
		if got := mustParse(t, c.document).Strangers("s3:DeleteObject", "s3:DeleteObjectVersion"); got != c.may {
			t.Errorf("that strangers may is %t of %s", got, c.document)
		}
	}
}

// TestAPatternMatchesWhatTheExpressionDoes holds the matching to that of package regexp.
func TestAPatternMatchesWhatTheExpressionDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		written := rapid.StringMatching(`[ab/é*?]{0,12}`).Draw(t, "pattern")
		name := rapid.StringMatching(`[ab/é]{0,12}`).Draw(t, "text")
		expression := strings.NewReplacer("*", "(?s:.*)", "?", "(?s:.)").Replace(written)
		p, err := syntax{wildcards: true}.parse(written)
		if err != nil {
			t.Fatal(err)
		}
		if want := regexp.MustCompile(`\A(?:` + expression + `)\z`).MatchString(name); p.matches(name, "") != want {
			t.Fatalf("%q matches %q: %t", written, name, !want)
		}
	})
}

// statements draws some that overlap each other.
func statements(t *rapid.T, effect string) string {
	principal := rapid.SampledFrom([]string{`"*"`, `{"AWS":"alice"}`, `{"AWS":["alice","bob"]}`}).Draw(t, "principal")
	action := rapid.SampledFrom([]string{"s3:*", "s3:Get*", "s3:GetObject", "s3:PutObject", "*"}).Draw(t, "action")
	resource := rapid.SampledFrom([]string{"/*", "*", "/a*", "/a/?", "/${aws:username}/*"}).Draw(t, "resource")
	condition := rapid.SampledFrom([]string{`"Bool":{"aws:SecureTransport":true}`, ``, `"StringNotLike":{"s3:prefix":"a*"}`, `"StringEqualsIfExists":{"s3:prefix":"A"}`}).Draw(t, "condition")
	return fmt.Sprintf(`{"Effect":%q,"Principal":%s,"Action":%q,"Resource":"arn:aws:s3:::photos%s","Condition":{%s}}`,
		effect, principal, action, resource, condition)
}

func request(t *rapid.T) *Request {
	r := &Request{
		Principal: rapid.SampledFrom([]string{"", "alice", "bob", "carol"}).Draw(t, "who"),
		Action:    rapid.SampledFrom([]string{"s3:GetObject", "s3:PutObject", "s3:ListBucket"}).Draw(t, "does"),
		Resource:  rapid.SampledFrom([]string{"photos", "photos/a", "photos/a/b", "photos/alice/x", "photos/z"}).Draw(t, "to"),
		Secure:    rapid.Bool().Draw(t, "secure"),
	}
	if rapid.Bool().Draw(t, "prefixed") {
		r.Prefix = pointer(rapid.SampledFrom([]string{"", "a", "A", "b"}).Draw(t, "prefix"))
	}
	return r
}

func TestADenyNeverAllowsMoreAndAnAllowNeverDenies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []string
		for i := range rapid.IntRange(1, 4).Draw(t, "statements") {
			list = append(list, statements(t, rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, fmt.Sprint("effect", i))))
		}
		parse := func(list []string) *Policy {
			p, err := Parse([]byte(policyOf(list...)), "photos")
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		r := request(t)
		before := parse(list).Evaluate(r)
		if after := parse(append(list, statements(t, "Deny"))).Evaluate(r); after != before && after != Deny {
			t.Fatalf("with one more Deny the decision is %d, and was %d", after, before)
		}
		if after := parse(append(list, statements(t, "Allow"))).Evaluate(r); after != before && (before != None || after != Allow) {
			t.Fatalf("with one more Allow the decision is %d, and was %d", after, before)
		}
		shuffled := rapid.Permutation(list).Draw(t, "order")
		if got := parse(shuffled).Evaluate(r); got != before {
			t.Fatalf("in another order the decision is %d, and was %d", got, before)
		}
	})
}

// FuzzParse looks for documents that make the parser panic, or that it takes though they hold
// a word of what it does not support.
func FuzzParse(f *testing.F) {
	f.Add([]byte(policyOf(`{"Effect":"Allow","Principal":{"AWS":["a"]},"Action":["s3:*"],"Resource":["arn:aws:s3:::photos/${aws:username}"],"Condition":{"IpAddress":{"aws:SourceIp":"::/1"}}}`)))
	f.Add([]byte(`{"Statement":{"NotAction":"s3:*"}}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := Parse(document, "photos")
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("the error %v is not one of a policy", err)
			}
			return
		}
		if len(p.statements) == 0 {
			t.Fatal("a policy has no statement")
		}
		p.Public()
		for _, r := range []Request{{Action: "s3:GetObject", Resource: "other/key"}, {Action: "s3:ListBucket", Resource: "other", Principal: "a"}} {
			if p.Evaluate(&r) != None {
				t.Fatal("a policy has a word on another bucket")
			}
		}
	})
}
