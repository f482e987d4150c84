package s3api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chainfire/object"
)

// TestWhatABucketIsIsSetShownAndTakenAway has, for each document of a bucket, what is answered
// where there is none, what is shown of one that was set, and what is there when it was taken
// away.
func TestWhatABucketIsIsSetShownAndTakenAway(t *testing.T) {
	const ns = ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`
	for _, c := range []struct {
		subresource, missing, set, shown string
		deletes                          bool
	}{
		{"versioning", "<VersioningConfiguration" + ns + "></VersioningConfiguration>", "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>", "<Status>Suspended</Status>", false},
		{"tagging", "NoSuchTagSet", "<Tagging><TagSet><Tag><Key>b</Key><Value>2</Value></Tag><Tag><Key>a</Key><Value/></Tag></TagSet></Tagging>", "<Tagging" + ns + "><TagSet><Tag><Key>a</Key><Value></Value></Tag><Tag><Key>b</Key><Value>2</Value></Tag></TagSet></Tagging>", true},
		{"policy", "NoSuchBucketPolicy", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/x"}}`, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/x"}}`, true},
		{"publicAccessBlock", "NoSuchPublicAccessBlockConfiguration", "<PublicAccessBlockConfiguration><BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>", "<BlockPublicAcls>false</BlockPublicAcls><IgnorePublicAcls>false</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>false</RestrictPublicBuckets>", true},
		{"cors", "NoSuchCORSConfiguration", "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>", "<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>", true},
		{"lifecycle", "NoSuchLifecycleConfiguration", "<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>", "<ID>rule-1</ID><Filter></Filter><Status>Enabled</Status>", true},
		{"ownershipControls", "<ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>", "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>", "<ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>", false},
		{"acl", "<Permission>FULL_CONTROL</Permission>", aclOf(testOwner, "FULL_CONTROL"), "<Permission>FULL_CONTROL</Permission>", false},
		{"quota", `{"bytes":0,"objects":0,"used_bytes":0,"used_objects":0}`, `{"bytes":1000}`, `{"bytes":1000,"objects":0,"used_bytes":0,"used_objects":0}`, false},
		{"requestPayment", "<Payer>BucketOwner</Payer>", "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>", "<Payer>BucketOwner</Payer>", false},
		{"logging", "<BucketLoggingStatus" + ns + "></BucketLoggingStatus>", "<BucketLoggingStatus/>", "<BucketLoggingStatus" + ns + "></BucketLoggingStatus>", false},
		{"notification", "<NotificationConfiguration" + ns + "></NotificationConfiguration>", "<NotificationConfiguration/>", "<NotificationConfiguration" + ns + "></NotificationConfiguration>", false},
		{"accelerate", "<AccelerateConfiguration" + ns + "></AccelerateConfiguration>", "<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>", "<AccelerateConfiguration" + ns + "></AccelerateConfiguration>", false},
	} {
		t.Run(c.subresource, func(t *testing.T) {
			f := start(t, nil)
			f.bucket("bucket")
			if r := f.do(call{method: "GET", path: "/bucket?" + c.subresource, id: adminID}); !strings.Contains(r.body, c.missing) {
				t.Errorf("of one that has none is answered %d %s", r.status, r.body)
			}
			set := c.set
			if r := f.do(call{method: "PUT", path: "/bucket?" + c.subresource, body: set, id: adminID}); r.status/100 != 2 {
				t.Fatalf("setting it is answered %d %s", r.status, r.body)
			}
			r := f.do(call{method: "GET", path: "/bucket?" + c.subresource, id: adminID})
			if r.status != http.StatusOK || !strings.Contains(r.body, c.shown) {
				t.Errorf("it is shown as %d %s", r.status, r.body)
			}
			f.do(call{method: "GET", path: "/nobucket?" + c.subresource, id: adminID}).want(t, http.StatusNotFound, "NoSuchBucket")
			f.do(call{method: "PUT", path: "/nobucket?" + c.subresource, body: strings.ReplaceAll(set, ":::bucket/", ":::nobucket/"), id: adminID}).want(t, http.StatusNotFound, "NoSuchBucket")
			f.do(call{method: "GET", path: "/bucket?" + c.subresource}).want(t, http.StatusForbidden, "AccessDenied")
			if !c.deletes {
				return
			}
			for range 2 { // what is gone already is gone
				if r := f.do(call{method: "DELETE", path: "/bucket?" + c.subresource, id: adminID}); r.status != http.StatusNoContent {
					t.Errorf("taking it away is answered %d %s", r.status, r.body)
				}
			}
			f.do(call{method: "GET", path: "/bucket?" + c.subresource, id: adminID}).want(t, http.StatusNotFound, c.missing)
		})
	}
}

func aclOf(id, permission string) string {
	return fmt.Sprintf(`<AccessControlPolicy xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Owner><ID>x</ID></Owner><AccessControlList><Grant><Grantee xsi:type="CanonicalUser"><ID>%s</ID></Grantee><Permission>%s</Permission></Grant></AccessControlList></AccessControlPolicy>`, id, permission)
}

// TestDocumentsOfABucketAreRefusedForWhatIsWrong goes through what is not taken, each with the
// code that S3 has for it.
func TestDocumentsOfABucketAreRefusedForWhatIsWrong(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	rule := func(inner string) string {
		return "<CORSConfiguration><CORSRule>" + inner + "</CORSRule></CORSConfiguration>"
	}
	for _, c := range []struct {
		subresource, body string
		status            int
		code              string
	}{
		{"versioning", "", 400, "MissingRequestBodyError"},
		{"versioning", "<VersioningConfiguration>", 400, "MalformedXML"},
		{"versioning", "<VersioningConfiguration/>", 400, "MalformedXML"},
		{"versioning", "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>", 400, "MalformedXML"},
		{"versioning", "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>", 501, "NotImplemented"},
		{"tagging", "<Tagging/>", 400, "MalformedXML"},
		{"tagging", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", 400, "MalformedXML"},
		{"tagging", "<Tagging><TagSet><Tag><Key>aws:a</Key><Value/></Tag></TagSet></Tagging>", 400, "InvalidTag"},
		{"tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value/></Tag><Tag><Key>a</Key><Value/></Tag></TagSet></Tagging>", 400, "InvalidTag"},
		{"policy", "{}", 400, "MalformedPolicy"},
		{"policy", strings.Repeat(" ", 21<<10), 400, "EntityTooLarge"},
		{"publicAccessBlock", "<PublicAccessBlockConfiguration><Block>true</Block></PublicAccessBlockConfiguration>", 400, "MalformedXML"},
		{"cors", "<CORSConfiguration/>", 400, "MalformedXML"},
		{"cors", rule("<AllowedOrigin>*</AllowedOrigin>"), 400, "MalformedXML"},
		{"cors", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod>"), 400, "InvalidRequest"},
		{"cors", rule("<AllowedOrigin>*.*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"), 400, "InvalidRequest"},
		{"cors", rule("<AllowedOrigin>a\nb</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"), 400, "InvalidRequest"},
		{"cors", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><ExposeHeader>a&#13;&#10;Set-Cookie: b</ExposeHeader>"), 400, "InvalidRequest"},
		{"cors", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><ExposeHeader>x-*</ExposeHeader>"), 400, "InvalidRequest"},
		{"cors", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>a b</AllowedHeader>"), 400, "InvalidRequest"},
		{"cors", rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><MaxAgeSeconds>-1</MaxAgeSeconds>"), 400, "InvalidRequest"},
		{"lifecycle", "<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Transition/></Rule></LifecycleConfiguration>", 501, "NotImplemented"},
		{"lifecycle", "<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status></Rule></LifecycleConfiguration>", 400, "InvalidRequest"},
		{"ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>", 501, "NotImplemented"},
		{"acl", aclOf("somebody", "READ"), 400, "AccessControlListNotSupported"},
		{"acl", strings.Replace(aclOf(testOwner, "FULL_CONTROL"), "</Grantee>", "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee>", 1), 400, "MalformedXML"},
		{"acl", strings.Replace(aclOf(testOwner, "FULL_CONTROL"), "</Grant>", "<Until/></Grant>", 1), 400, "MalformedXML"},
		{"acl", "", 400, "MissingSecurityHeader"},
		{"quota", `{"bytes":-1}`, 400, "InvalidArgument"},
		{"quota", `{"bits":1}`, 400, "InvalidArgument"},
		{"quota", `{}`, 400, "InvalidArgument"},
		{"requestPayment", "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>", 501, "NotImplemented"},
		{"logging", "<BucketLoggingStatus><LoggingEnabled/></BucketLoggingStatus>", 501, "NotImplemented"},
		{"notification", "<NotificationConfiguration><QueueConfiguration/></NotificationConfiguration>", 501, "NotImplemented"},
		{"accelerate", "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>", 501, "NotImplemented"},
		{"encryption", "<ServerSideEncryptionConfiguration/>", 501, "NotImplemented"},
		{"replication", "<ReplicationConfiguration/>", 501, "NotImplemented"},
		{"website", "<WebsiteConfiguration/>", 501, "NotImplemented"},
		{"object-lock", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>", 409, "InvalidBucketState"},
	} {
		f.do(call{method: "PUT", path: "/bucket?" + c.subresource, body: c.body, id: adminID}).want(t, c.status, c.code)
	}
}

// TestToolsAreToldWhatABucketDoesNotHave is about what Terraform and its like ask of every
// bucket.
func TestToolsAreToldWhatABucketDoesNotHave(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	c, bucket := f.sdk(adminID), aws.String("bucket")
	ctx := t.Context()
	for _, ask := range []struct {
		code string
		err  func() error
	}{
		{"ServerSideEncryptionConfigurationNotFoundError", func() error {
			_, err := c.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: bucket})
			return err
		}},
		{"ReplicationConfigurationNotFoundError", func() error {
			_, err := c.GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: bucket})
			return err
		}},
		{"NoSuchWebsiteConfiguration", func() error {
			_, err := c.GetBucketWebsite(ctx, &s3.GetBucketWebsiteInput{Bucket: bucket})
			return err
		}},
		{"ObjectLockConfigurationNotFoundError", func() error {
			_, err := c.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: bucket})
			return err
		}},
		{"NoSuchConfiguration", func() error {
			_, err := c.GetBucketMetricsConfiguration(ctx, &s3.GetBucketMetricsConfigurationInput{Bucket: bucket, Id: aws.String("x")})
			return err
		}},
		{"NoSuchConfiguration", func() error {
			_, err := c.DeleteBucketInventoryConfiguration(ctx, &s3.DeleteBucketInventoryConfigurationInput{Bucket: bucket, Id: aws.String("x")})
			return err
		}},
		{"NotImplemented", func() error {
			_, err := c.GetBucketAbac(ctx, &s3.GetBucketAbacInput{Bucket: bucket})
			return err
		}},
		{"", func() error {
			out, err := c.ListBucketAnalyticsConfigurations(ctx, &s3.ListBucketAnalyticsConfigurationsInput{Bucket: bucket})
			if err == nil && (out.IsTruncated == nil || *out.IsTruncated) {
				return fmt.Errorf("the listing is not at its end: %+v", out)
			}
			return err
		}},
		{"", func() error {
			_, err := c.DeleteBucketEncryption(ctx, &s3.DeleteBucketEncryptionInput{Bucket: bucket})
			return err
		}},
	} {
		if got := codeOf(ask.err()); got != ask.code {
			t.Errorf("answered %q, want %q", got, ask.code)
		}
	}
}

// TestOwnershipControlsThatWereTakenAwayAreGone, though a new bucket has some.
func TestOwnershipControlsThatWereTakenAwayAreGone(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	c, bucket := f.sdk(adminID), aws.String("bucket")
	if _, err := c.DeleteBucketOwnershipControls(t.Context(), &s3.DeleteBucketOwnershipControlsInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	_, err := c.GetBucketOwnershipControls(t.Context(), &s3.GetBucketOwnershipControlsInput{Bucket: bucket})
	if codeOf(err) != "OwnershipControlsNotFoundError" {
		t.Errorf("then there are some: %v", err)
	}
}

// TestCannedListsThatLetInNobodyAreTaken, and others are refused by a word on what to do.
func TestCannedListsThatLetInNobodyAreTaken(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.put("bucket", "key", "x")
	c, bucket, key := f.sdk(adminID), aws.String("bucket"), aws.String("key")
	for canned, code := range map[types.BucketCannedACL]string{"private": "", "public-read": "AccessControlListNotSupported", "none-such": "InvalidArgument"} {
		_, err := c.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: bucket, ACL: canned})
		if codeOf(err) != code {
			t.Errorf("%s of a bucket: %v", canned, err)
		}
		_, err = c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: bucket, Key: key, ACL: types.ObjectCannedACL(canned)})
		if codeOf(err) != code {
			t.Errorf("%s of an object: %v", canned, err)
		}
	}
	out, err := c.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: bucket, Key: key})
	if err != nil || len(out.Grants) != 1 || out.Grants[0].Permission != types.PermissionFullControl || *out.Grants[0].Grantee.ID != *out.Owner.ID {
		t.Errorf("the list of an object is %+v, %v", out, err)
	}
	_, err = c.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: bucket, Key: aws.String("none")})
	if codeOf(err) != "NoSuchKey" {
		t.Errorf("of no object there is a list: %v", err)
	}
}

// TestAQuotaHoldsAndIsTheAdministrators: who writes a bucket cannot raise it.
func TestAQuotaHoldsAndIsTheAdministrators(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.key(object.AccessKey{ID: "AKUSER", Grants: []object.Grant{{Bucket: "*", Read: true, Write: true}}})
	for _, method := range []string{"GET", "PUT"} {
		f.do(call{method: method, path: "/bucket?quota", body: "{}", id: "AKUSER"}).want(t, http.StatusForbidden, "AccessDenied")
	}
	f.do(call{method: "PUT", path: "/bucket?quota", body: `{"objects":1}`, id: adminID}).want(t, http.StatusOK, "")
	f.put("bucket", "a", "x")
	f.do(call{method: "PUT", path: "/bucket/b", body: "x", id: "AKUSER"}).want(t, http.StatusForbidden, "QuotaExceeded")
	if r := f.do(call{method: "GET", path: "/bucket?quota", id: adminID}); r.body != `{"bytes":0,"objects":1,"used_bytes":1,"used_objects":1}` {
		t.Errorf("the quota is %s", r.body)
	}
}

// TestTagsOfObjects are set, shown and taken away, of the newest version or of one.
func TestTagsOfObjects(t *testing.T) {
	f := start(t, nil)
	f.versioned("bucket")
	_, first := f.put("bucket", "key", "1")
	f.put("bucket", "key", "2")
	c, bucket, key := f.sdk(adminID), aws.String("bucket"), aws.String("key")
	tags := func(version *string) string {
		t.Helper()
		out, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: bucket, Key: key, VersionId: version})
		if err != nil {
			return codeOf(err)
		}
		got := ""
		for _, tag := range out.TagSet {
			got += *tag.Key + "=" + *tag.Value + ";"
		}
		return got
	}
	set := func(version *string, names ...string) error {
		var set []types.Tag
		for _, n := range names {
			set = append(set, types.Tag{Key: aws.String(n), Value: aws.String("v " + n)})
		}
		_, err := c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: bucket, Key: key, VersionId: version, Tagging: &types.Tagging{TagSet: set}})
		return err
	}
	if got := tags(nil); got != "" {
		t.Errorf("an object without tags has %s", got)
	}
	if err := set(nil, "b", "a"); err != nil {
		t.Fatal(err)
	}
	if err := set(&first, "old"); err != nil {
		t.Fatal(err)
	}
	if got := tags(nil); got != "a=v a;b=v b;" {
		t.Errorf("the newest version has %s", got)
	}
	if got := tags(&first); got != "old=v old;" {
		t.Errorf("the first version has %s", got)
	}
	if err := set(nil, "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"); codeOf(err) != "BadRequest" {
		t.Errorf("eleven tags: %v", err)
	}
	if _, err := c.DeleteObjectTagging(t.Context(), &s3.DeleteObjectTaggingInput{Bucket: bucket, Key: key}); err != nil {
		t.Fatal(err)
	}
	if got := tags(nil) + tags(&first); got != "old=v old;" {
		t.Errorf("once those of the newest are gone there are %s", got)
	}
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil {
		t.Fatal(err)
	}
	if got := tags(nil); got != "NoSuchKey" {
		t.Errorf("a deleted object has %s", got)
	}
	if err := set(nil, "a"); codeOf(err) != "MethodNotAllowed" {
		t.Errorf("tagging a delete marker: %v", err)
	}
}

func TestAttributesOfAnObjectAreAskedForByName(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.put("bucket", "key", "hello")
	c := f.sdk(adminID)
	in := &s3.GetObjectAttributesInput{Bucket: aws.String("bucket"), Key: aws.String("key"), ObjectAttributes: []types.ObjectAttributes{"ETag", "ObjectSize", "Checksum", "StorageClass", "ObjectParts"}}
	out, err := c.GetObjectAttributes(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if *out.ETag != "5d41402abc4b2a76b9719d911017c592" || *out.ObjectSize != 5 || out.StorageClass != "STANDARD" || out.ObjectParts != nil ||
		aws.ToString(out.Checksum.ChecksumCRC32) != "NhCmhg==" || out.Checksum.ChecksumType != "FULL_OBJECT" || out.LastModified == nil {
		t.Errorf("the attributes are %+v, %+v", out, out.Checksum)
	}
	in.ObjectAttributes = []types.ObjectAttributes{"ObjectSize"}
	if out, err = c.GetObjectAttributes(t.Context(), in); err != nil || out.ETag != nil || out.Checksum != nil || *out.ObjectSize != 5 {
		t.Errorf("asked for the size alone, the attributes are %+v, %v", out, err)
	}
	in.ObjectAttributes = []types.ObjectAttributes{"Colour"}
	if _, err = c.GetObjectAttributes(t.Context(), in); codeOf(err) != "InvalidArgument" {
		t.Errorf("an attribute that there is not: %v", err)
	}
	f.do(call{method: "GET", path: "/bucket/key?attributes", id: adminID}).want(t, http.StatusBadRequest, "InvalidRequest")
}

// TestReadersAreToldWhenAnObjectExpires, by which rule, of the newest version alone.
func TestReadersAreToldWhenAnObjectExpires(t *testing.T) {
	f := start(t, nil)
	f.versioned("bucket")
	f.do(call{method: "PUT", path: "/bucket?lifecycle", id: adminID, body: "<LifecycleConfiguration><Rule><ID>a b</ID><Filter><Prefix>tmp/</Prefix></Filter><Status>Enabled</Status><Expiration><Date>2999-01-01T00:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>"}).want(t, http.StatusOK, "")
	_, first := f.put("bucket", "tmp/a", "1")
	f.put("bucket", "tmp/a", "2")
	f.put("bucket", "other", "3")
	for path, want := range map[string]string{
		"/bucket/tmp/a": `expiry-date="Tue, 01 Jan 2999 00:00:00 GMT", rule-id="a%20b"`, "/bucket/other": "", "/bucket/tmp/a?versionId=" + first: "",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			if got := f.do(call{method: method, path: path, id: adminID}).header.Get("X-Amz-Expiration"); got != want {
				t.Errorf("%s %s tells %q, not %q", method, path, got, want)
			}
		}
	}
}

// TestWritersAreToldWhenAnObjectExpires, however it is written.
func TestWritersAreToldWhenAnObjectExpires(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.put("bucket", "source", "hello")
	f.policy(`{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*"}`)
	f.do(call{method: "PUT", path: "/bucket?lifecycle", id: adminID, body: "<LifecycleConfiguration><Rule><ID>a</ID><Filter><And><Prefix>tmp/</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter><Status>Enabled</Status><Expiration><Date>2999-01-01T00:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>"}).want(t, http.StatusOK, "")
	upload := f.beginUpload("/bucket/tmp/parts")
	part := f.do(call{method: "PUT", path: "/bucket/tmp/parts?partNumber=1&uploadId=" + upload, id: adminID, body: "hello"})
	complete := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + part.header.Get("Etag") + "</ETag></Part></CompleteMultipartUpload>"
	form := "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\ntmp/form\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"k\"\r\n\r\nhello\r\n--b--\r\n"
	const told = `expiry-date="Tue, 01 Jan 2999 00:00:00 GMT", rule-id="a"`
	for _, c := range []struct {
		call
		want string
	}{
		{call{method: "PUT", path: "/bucket/tmp/a", body: "hello", id: adminID}, told},
		{call{method: "PUT", path: "/bucket/tmp/small", body: "x", id: adminID}, ""},
		{call{method: "PUT", path: "/bucket/other", body: "hello", id: adminID}, ""},
		{call{method: "PUT", path: "/bucket/tmp/copy", id: adminID, header: map[string]string{"X-Amz-Copy-Source": "/bucket/source"}}, told},
		{call{method: "POST", path: "/bucket/tmp/parts?uploadId=" + upload, body: complete, id: adminID}, told},
		{call{method: "POST", path: "/bucket/tmp/parts?uploadId=" + upload, body: complete, id: adminID}, ""}, // once more: another may be the newest
		{call{method: "POST", path: "/bucket", body: form, header: map[string]string{"Content-Type": "multipart/form-data; boundary=b"}}, told},
	} {
		if r := f.do(c.call); r.status/100 != 2 || r.header.Get("X-Amz-Expiration") != c.want {
			t.Errorf("%s %s: %d, and tells %q, not %q: %s", c.method, c.path, r.status, r.header.Get("X-Amz-Expiration"), c.want, r.body)
		}
	}
}

// TestRulesThatCannotBeReadKeepNobodyFromTheObjects: they are said in the log, and lifecycle alone
// stands still.
func TestRulesThatCannotBeReadKeepNobodyFromTheObjects(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.put("bucket", "key", "hello")
	f.change(&object.Change{SetConfig: &object.SetConfig{Bucket: "bucket", Name: "lifecycle", Value: []byte("<LifecycleConfiguration/>")}})
	for _, c := range []call{
		{method: "GET", path: "/bucket/key"},
		{method: "HEAD", path: "/bucket/key"},
		{method: "POST", path: "/bucket/key?uploads"},
		{method: "PUT", path: "/bucket/copy", header: map[string]string{"X-Amz-Copy-Source": "/bucket/key"}},
	} {
		c.id = adminID
		f.do(c).want(t, http.StatusOK, "")
	}
	if !strings.Contains(f.log.String(), "rules of lifecycle cannot be read") {
		t.Error("the log says nothing of it")
	}
}

// TestAnEmptyPrefixAmongOthersIsKept: rules that are taken can be read again.
func TestAnEmptyPrefixAmongOthersIsKept(t *testing.T) {
	f := start(t, nil)
	f.bucket("bucket")
	f.put("bucket", "key", "hello")
	f.do(call{method: "PUT", path: "/bucket?lifecycle", id: adminID, body: "<LifecycleConfiguration><Rule><Filter><And><Prefix/><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"}).want(t, http.StatusOK, "")
	if r := f.do(call{method: "GET", path: "/bucket?lifecycle", id: adminID}); !strings.Contains(r.body, "<And><Prefix></Prefix><Tag>") {
		t.Errorf("they are shown as %s", r.body)
	}
	f.do(call{method: "GET", path: "/bucket/key", id: adminID}).want(t, http.StatusOK, "")
	if strings.Contains(f.log.String(), "cannot be read") {
		t.Error("the rules cannot be read")
	}
}
