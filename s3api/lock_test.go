package s3api_test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chainfire/object"
)

// startLocked has a bucket with object lock.
func startLocked(t *testing.T) (*fixture, *s3.Client, *string) {
	t.Helper()
	f := start(t, nil)
	c, bucket := f.sdk(adminID), aws.String("bucket")
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	return f, c, bucket
}

func TestTheRuleOfABucketLocksNewVersions(t *testing.T) {
	f, c, bucket := startLocked(t)
	out, err := c.GetObjectLockConfiguration(t.Context(), &s3.GetObjectLockConfigurationInput{Bucket: bucket})
	if err != nil || out.ObjectLockConfiguration.ObjectLockEnabled != "Enabled" || out.ObjectLockConfiguration.Rule != nil {
		t.Errorf("a new bucket's lock is %+v, %v", out, err)
	}
	set := func(r *types.DefaultRetention) error {
		_, err := c.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{
			Bucket: bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: "Enabled", Rule: &types.ObjectLockRule{DefaultRetention: r}},
		})
		return err
	}
	for code, r := range map[string]*types.DefaultRetention{
		"MalformedXML":    {Mode: "GOVERNANCE", Days: aws.Int32(1), Years: aws.Int32(1)},
		"InvalidArgument": {Mode: "GOVERNANCE", Days: aws.Int32(0)},
	} {
		if err := set(r); codeOf(err) != code {
			t.Errorf("%s is to be answered, not %v", code, err)
		}
	}
	if err := set(&types.DefaultRetention{Mode: "COMPLIANCE", Days: aws.Int32(3)}); err != nil {
		t.Fatal(err)
	}
	out, err = c.GetObjectLockConfiguration(t.Context(), &s3.GetObjectLockConfigurationInput{Bucket: bucket})
	if err != nil || *out.ObjectLockConfiguration.Rule.DefaultRetention.Days != 3 || out.ObjectLockConfiguration.Rule.DefaultRetention.Mode != "COMPLIANCE" {
		t.Errorf("the rule is %+v, %v", out, err)
	}
	_, version := f.put("bucket", "key", "x")
	got, err := c.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: bucket, Key: aws.String("key")})
	if err != nil || got.Retention.Mode != "COMPLIANCE" || time.Until(*got.Retention.RetainUntilDate).Round(time.Hour) != 72*time.Hour {
		t.Errorf("the version's retention is %+v, %v", got, err)
	}
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("key"), VersionId: &version, BypassGovernanceRetention: aws.Bool(true)})
	if codeOf(err) != "AccessDenied" {
		t.Errorf("a version under compliance is deleted: %v", err)
	}
}

// TestRetentionIsOnlyMadeLonger, but for who may bypass governance.
func TestRetentionIsOnlyMadeLonger(t *testing.T) {
	f, c, bucket := startLocked(t)
	f.key(object.AccessKey{ID: "AKUSER", Grants: []object.Grant{{Bucket: "*", Read: true, Write: true}}})
	f.put("bucket", "key", "x")
	key := aws.String("key")
	set := func(who *s3.Client, mode types.ObjectLockRetentionMode, hours int, bypass bool) string {
		t.Helper()
		in := &s3.PutObjectRetentionInput{Bucket: bucket, Key: key, BypassGovernanceRetention: &bypass, Retention: &types.ObjectLockRetention{}}
		if mode != "" {
			in.Retention = &types.ObjectLockRetention{Mode: mode, RetainUntilDate: aws.Time(time.Now().Add(time.Duration(hours) * time.Hour))}
		}
		_, err := who.PutObjectRetention(t.Context(), in)
		return codeOf(err)
	}
	if _, err := c.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: bucket, Key: key}); codeOf(err) != "NoSuchObjectLockConfiguration" {
		t.Errorf("a version without retention has some: %v", err)
	}
	user := f.sdk("AKUSER")
	for i, step := range []struct {
		who    *s3.Client
		mode   types.ObjectLockRetentionMode
		hours  int
		bypass bool
		code   string
	}{
		{user, "GOVERNANCE", -1, false, "InvalidArgument"},
		{user, "GOVERNANCE", 2, false, ""},
		{user, "GOVERNANCE", 3, false, ""},
		{user, "GOVERNANCE", 1, false, "AccessDenied"},
		{user, "GOVERNANCE", 1, true, "AccessDenied"},
		{c, "GOVERNANCE", 1, false, "AccessDenied"},
		{c, "GOVERNANCE", 1, true, ""},
		{c, "", 0, false, "AccessDenied"},
		{c, "", 0, true, ""},
		{user, "COMPLIANCE", 2, false, ""},
		{c, "COMPLIANCE", 1, true, "AccessDenied"},
		{c, "", 0, true, "AccessDenied"},
	} {
		if got := set(step.who, step.mode, step.hours, step.bypass); got != step.code {
			t.Errorf("step %d is answered %q, want %q", i, got, step.code)
		}
	}
}

func TestALegalHoldIsSetAndEnded(t *testing.T) {
	f, c, bucket := startLocked(t)
	_, version := f.put("bucket", "key", "x")
	f.key(object.AccessKey{ID: "AKWRITER", Grants: []object.Grant{{Bucket: "*", Write: true}}})
	key := aws.String("key")
	hold := func(who *s3.Client, status types.ObjectLockLegalHoldStatus) string {
		_, err := who.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{Bucket: bucket, Key: key, VersionId: &version, LegalHold: &types.ObjectLockLegalHold{Status: status}})
		return codeOf(err)
	}
	remove := func() string {
		_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: &version, BypassGovernanceRetention: aws.Bool(true)})
		return codeOf(err)
	}
	if got := hold(c, "ON"); got != "" {
		t.Fatal(got)
	}
	if got := hold(c, "MAYBE"); got != "MalformedXML" {
		t.Errorf("a hold that is neither on nor off: %s", got)
	}
	if got := hold(f.sdk("AKWRITER"), "OFF"); got != "AccessDenied" {
		t.Errorf("who may only write ends a hold: %q", got)
	}
	if got := remove(); got != "AccessDenied" {
		t.Errorf("a version under a hold is deleted: %q", got)
	}
	out, err := c.GetObjectLegalHold(t.Context(), &s3.GetObjectLegalHoldInput{Bucket: bucket, Key: key})
	if err != nil || out.LegalHold.Status != "ON" {
		t.Errorf("the hold is %+v, %v", out, err)
	}
	if got := hold(c, "OFF"); got != "" {
		t.Fatal(got)
	}
	if got := remove(); got != "" {
		t.Errorf("a version whose hold ended: %q", got)
	}
}

func TestABucketWithoutObjectLockSaysSo(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.put("bucket", "key", "x")
	for _, c := range []call{
		{method: "GET", path: "/bucket/key?retention"},
		{method: "GET", path: "/bucket/key?legal-hold"},
		{method: "PUT", path: "/bucket/key?legal-hold", body: "<LegalHold><Status>ON</Status></LegalHold>"},
		{method: "PUT", path: "/bucket/key?retention", body: "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate></Retention>"},
		{method: "POST", path: "/bucket/key?uploads", header: map[string]string{"X-Amz-Object-Lock-Legal-Hold": "ON"}},
	} {
		c.id = adminID
		f.do(c).want(t, http.StatusBadRequest, "InvalidRequest")
	}
}

// TestALockInABucketWithoutLockIsARequestThatIsWrong, however the object comes; and one that was just
// given object lock takes it, also at a member that does not know yet.
func TestALockInABucketWithoutLockIsARequestThatIsWrong(t *testing.T) {
	f := start(t, nil)
	f.versioned("bucket")
	f.put("bucket", "key", "x")
	lock := map[string]string{"X-Amz-Object-Lock-Legal-Hold": "ON"}
	retain := map[string]string{"X-Amz-Object-Lock-Mode": "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date": "2999-01-01T00:00:00Z"}
	for _, header := range []map[string]string{lock, retain} {
		from := maps.Clone(header)
		from["X-Amz-Copy-Source"] = "/bucket/key"
		for _, c := range []call{
			{method: "PUT", path: "/bucket/new", header: header, body: "x"},
			{method: "PUT", path: "/bucket/new", header: from},
			{method: "POST", path: "/bucket/new?uploads", header: header},
		} {
			c.id = adminID
			f.do(c).want(t, http.StatusBadRequest, "InvalidRequest")
		}
	}
	f.service.Lag()
	defer f.service.Catch()
	f.do(call{method: "PUT", path: "/bucket?object-lock", id: adminID, body: "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"}).want(t, http.StatusOK, "")
	f.do(call{method: "PUT", path: "/bucket/new", id: adminID, header: retain, body: "x"}).want(t, http.StatusOK, "")
}
