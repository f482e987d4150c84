package lifecycle

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chainfire/object"
)

// document puts rules into a configuration.
func document(rules ...string) string {
	return `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule>` +
		strings.Join(rules, "</Rule><Rule>") + `</Rule></LifecycleConfiguration>`
}

func mustParse(t *testing.T, document string) *Config {
	t.Helper()
	c, err := Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	enabled = "<Status>Enabled</Status>"
	all     = "<Filter/>"
	oneDay  = "<Expiration><Days>1</Days></Expiration>"
)

// TestRulesAreCheckedAsAWSDoes goes through what is refused, with the code and a word of the
// message.
func TestRulesAreCheckedAsAWSDoes(t *testing.T) {
	var many []string
	for i := range MaxRules + 1 {
		many = append(many, fmt.Sprintf("<ID>%d</ID>%s%s%s", i, enabled, all, oneDay))
	}
	for _, c := range []struct{ document, code, word string }{
		{"", MalformedXML, "no element"},
		{"<Rule/>", MalformedXML, "outermost"},
		{"<LifecycleConfiguration/>", MalformedXML, "1 to 1000 rules"},
		{document(many...), MalformedXML, "1001"},
		{document("<ID>a</ID>"+enabled+all+oneDay, "<ID>a</ID>"+enabled+all+oneDay), InvalidArgument, "unique"},
		{document("<ID>" + strings.Repeat("é", 256) + "</ID>" + enabled + all + oneDay), InvalidArgument, "ID length"},
		{document(all + oneDay), MalformedXML, "no Status"},
		{document("<Status>On</Status>" + all + oneDay), MalformedXML, "Status"},
		{document(enabled + oneDay), MalformedXML, "Filter or a Prefix"},
		{document(enabled + all + "<Prefix>a</Prefix>" + oneDay), MalformedXML, "Filter or a Prefix"},
		{document(enabled + all), InvalidRequest, "action"},
		{document(enabled + all + oneDay + "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"), NotImplemented, "Transition"},
		{document(enabled + all + "<NoncurrentVersionTransition/>"), NotImplemented, "NoncurrentVersionTransition"},
		{document(enabled + all + oneDay + "<Expire/>"), MalformedXML, "Expire"},
		{document(enabled + all + "<Expiration/>"), MalformedXML, "one of"},
		{document(enabled + all + "<Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>"), MalformedXML, "one of"},
		{document(enabled + all + "<Expiration><Days>0</Days></Expiration>"), InvalidArgument, "positive"},
		{document(enabled + all + "<Expiration><Days>2147483648</Days></Expiration>"), InvalidArgument, "positive"},
		{document(enabled + all + "<Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>"), InvalidArgument, "midnight"},
		{document(enabled + all + "<Expiration><Date>soon</Date></Expiration>"), MalformedXML, "soon"},
		{document(enabled + all + "<NoncurrentVersionExpiration/>"), MalformedXML, "NoncurrentDays"},
		{document(enabled + all + "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101</NewerNoncurrentVersions></NoncurrentVersionExpiration>"), InvalidArgument, "between"},
		{document(enabled + all + "<AbortIncompleteMultipartUpload/>"), MalformedXML, "DaysAfterInitiation"},
		{document(enabled + "<Filter><Prefix>a</Prefix><ObjectSizeLessThan>5</ObjectSizeLessThan></Filter>" + oneDay), MalformedXML, "And"},
		{document(enabled + "<Filter><And><Prefix>a</Prefix></And></Filter>" + oneDay), MalformedXML, "two"},
		{document(enabled + "<Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value/></Tag></And><Prefix>b</Prefix></Filter>" + oneDay), MalformedXML, "Prefix"},
		{document(enabled + "<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter>" + oneDay), InvalidRequest, "greater than"},
		{document(enabled + "<Filter><And><Tag><Key>k</Key><Value>1</Value></Tag><Tag><Key>k</Key><Value>2</Value></Tag></And></Filter>" + oneDay), InvalidRequest, "Duplicate"},
		{document(enabled + "<Filter><Tag><Key/><Value>1</Value></Tag></Filter>" + oneDay), InvalidRequest, "name"},
		{document(enabled + "<Filter><Tag><Key>k</Key><Value>1</Value></Tag></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), InvalidRequest, "Tags"},
		{document(enabled + "<Filter><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), InvalidRequest, "sizes"},
		{document(enabled + "<Filter><Prefix>" + strings.Repeat("a", 1025) + "</Prefix></Filter>" + oneDay), InvalidRequest, "prefix"},
	} {
		_, err := Parse([]byte(c.document))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Code != c.code || !strings.Contains(e.Message, c.word) {
			t.Errorf("%.300s: the error is %v, and is to be %s with %q", c.document, err, c.code, c.word)
		}
	}
}

// TestAConfigurationIsShownAsItWasWritten holds XML to Parse: what tools compare is what they
// sent.
func TestAConfigurationIsShownAsItWasWritten(t *testing.T) {
	for _, rule := range []string{
		"<Expiration><Days>3</Days></Expiration><ID>a</ID><Filter></Filter><Status>Enabled</Status>",
		"<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration><ID>a</ID><Filter><Prefix></Prefix></Filter><Status>Disabled</Status>",
		"<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><ID>a</ID><Prefix>logs/</Prefix><Status>Enabled</Status>",
		"<Expiration><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration><ID>a</ID><Prefix></Prefix><Status>Enabled</Status>",
		"<ID>a</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
		"<ID>a</ID><Filter><And><Prefix>x</Prefix><Tag><Key>k</Key><Value></Value></Tag><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
		"<ID>a</ID><Filter><And><Prefix></Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
		"<ID>a</ID><Filter><And><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
		"<ID>a</ID><Filter><Prefix>x</Prefix></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
	} {
		text, err := mustParse(t, document(rule)).XML()
		if err != nil {
			t.Fatal(err)
		}
		if _, got, _ := strings.Cut(string(text), "<LifecycleConfiguration"); got != strings.TrimPrefix(document(rule), "<LifecycleConfiguration") {
			t.Errorf("it is shown as\n%s\nand was written\n%s", text, document(rule))
		}
	}
}

func TestRulesWithoutAnIDGetOne(t *testing.T) {
	c := mustParse(t, document(enabled+all+oneDay, "<ID>rule-1</ID>"+enabled+all+oneDay, "<ID/>"+enabled+all+oneDay))
	if ids := []string{c.Rules[0].ID, c.Rules[1].ID, c.Rules[2].ID}; ids[0] != "rule-2" || ids[1] != "rule-1" || ids[2] != "rule-3" {
		t.Errorf("the ids are %q", ids)
	}
}

// TestDaysEndAtTheNextMidnight has the example of AWS's documentation: 3 days from 10:30 of the
// 15th are over at midnight after the 18th.
func TestDaysEndAtTheNextMidnight(t *testing.T) {
	for _, c := range []struct{ from, due string }{
		{"2014-01-15T10:30:00Z", "2014-01-19T00:00:00Z"},
		{"2014-01-15T23:59:59.999Z", "2014-01-19T00:00:00Z"},
		{"2014-01-16T00:00:00Z", "2014-01-20T00:00:00Z"},
		{"1969-12-31T10:00:00Z", "1970-01-04T00:00:00Z"},
	} {
		from, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := due(from.UnixMilli(), 3).Format(time.RFC3339); got != c.due {
			t.Errorf("3 days from %s are over at %s, not %s", c.from, got, c.due)
		}
	}
}

// TestTheEarliestRuleIsWhatAnswersName is about x-amz-expiration and x-amz-abort-date.
func TestTheEarliestRuleIsWhatAnswersName(t *testing.T) {
	c := mustParse(t, document(
		"<ID>slow</ID>"+enabled+all+"<Expiration><Days>9</Days></Expiration>",
		"<ID>fast</ID>"+enabled+"<Filter><Prefix>tmp/</Prefix></Filter><Expiration><Days>1</Days></Expiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
		"<ID>off</ID><Status>Disabled</Status>"+all+"<Expiration><Days>1</Days></Expiration>",
		"<ID>day</ID>"+enabled+"<Filter><Prefix>day/</Prefix></Filter><Expiration><Date>1970-01-02</Date></Expiration>"))
	for _, v := range []struct{ key, rule, at string }{
		{"a", "slow", "1970-01-12"}, {"tmp/a", "fast", "1970-01-04"}, {"day/a", "day", "1970-01-02"},
	} {
		at, rule, ok := c.Expiry(&object.Version{Key: v.key, Modified: 86_400_000})
		if !ok || rule != v.rule || at.Format(time.DateOnly) != v.at {
			t.Errorf("%s expires by %q on %s", v.key, rule, at)
		}
	}
	if _, _, ok := c.AbortDate("a", 0); ok {
		t.Error("an upload of another prefix is to be aborted")
	}
	if at, rule, ok := c.AbortDate("tmp/a", 0); !ok || rule != "fast" || at.Format(time.DateOnly) != "1970-01-04" {
		t.Errorf("an upload is to be aborted by %q on %s", rule, at)
	}
}

// FuzzParse looks for documents that make the parser panic, and holds what it takes to being
// shown and taken again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(document(enabled + all + oneDay)))
	f.Add([]byte(document(enabled + "<Filter><And><Prefix/><Tag><Key>k</Key><Value/></Tag></And></Filter>" + oneDay)))
	f.Add([]byte(document(enabled + "<Prefix>a</Prefix><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>")))
	f.Fuzz(func(t *testing.T, document []byte) {
		c, err := Parse(document)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("the error %v is not one of a configuration", err)
			}
			return
		}
		text, err := c.XML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text)
		if err != nil || len(again.Rules) != len(c.Rules) {
			t.Fatalf("%s\nis shown as\n%s\nwhich is not taken: %v", document, text, err)
		}
	})
}

// TestALaterTimeNeverKeepsMore is a property of every rule but one: once due, always due.
func TestALaterTimeNeverKeepsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		v := &object.Version{Key: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"), Modified: rapid.Int64Range(0, 9*86_400_000).Draw(t, "modified"), DeleteMarker: rapid.Bool().Draw(t, "marker")}
		p := Position{Newer: rapid.IntRange(0, 3).Draw(t, "newer"), Since: rapid.Int64Range(v.Modified, 9*86_400_000).Draw(t, "since"), Alone: true}
		now := time.UnixMilli(rapid.Int64Range(0, 20*86_400_000).Draw(t, "now"))
		later := now.Add(time.Duration(rapid.Int64Range(0, int64(20*day)).Draw(t, "later")))
		if before := c.Evaluate(v, p, now); before != Keep && c.Evaluate(v, p, later) != before {
			t.Fatalf("action %d at %s, and another at %s", before, now, later)
		}
	})
}
