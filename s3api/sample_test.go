package s3api_test

import (
	"maps"
	"net/http"
	"strings"

	"chainfire/object/checksum"
)

// sampleUpload is the id of the upload of "samples/parts", which has one part and asks for a
// checksum of the whole; openUpload that of one of "samples/open", which asks for none.
const (
	sampleUpload = "0000000000009000"
	openUpload   = "000000000000b000"
)

// moreSamples makes what the samples of uploads and locks are about.
func (f *fixture) moreSamples() {
	f.t.Helper()
	made := func(c call) string {
		c.id = adminID
		r := f.do(c)
		if r.status != http.StatusOK {
			f.t.Fatalf("%s %s: %d %s", c.method, c.path, r.status, r.body)
		}
		return r.body
	}
	made(call{method: "PUT", path: "/locked", header: map[string]string{"X-Amz-Bucket-Object-Lock-Enabled": "true"}})
	made(call{method: "PUT", path: "/locked/there", body: "v"})
	answer := made(call{method: "POST", path: "/samples/parts?uploads", header: map[string]string{"X-Amz-Checksum-Algorithm": "CRC32C", "X-Amz-Checksum-Type": "FULL_OBJECT"}})
	if !strings.Contains(answer, sampleUpload) {
		f.t.Fatalf("the sample's upload has another id: %s", answer)
	}
	made(call{method: "PUT", path: "/samples/parts?partNumber=1&uploadId=" + sampleUpload, body: "v"})
	if answer = made(call{method: "POST", path: "/samples/open?uploads"}); !strings.Contains(answer, openUpload) {
		f.t.Fatalf("the sample's upload has another id: %s", answer)
	}
	for sub, body := range map[string]string{"tagging": bucketTags, "cors": corsRules, "lifecycle": sampleRules, "publicAccessBlock": "<PublicAccessBlockConfiguration/>"} {
		r := f.do(call{method: "PUT", path: "/vacant?" + sub, body: body, id: adminID})
		if r.status/100 != 2 {
			f.t.Fatalf("%s: %d %s", sub, r.status, r.body)
		}
	}
	f.do(call{method: "PUT", path: "/samples/there?tagging", body: bucketTags, id: adminID}).want(f.t, http.StatusOK, "")
	f.do(call{method: "PUT", path: "/vacant?policy", body: strings.ReplaceAll(samplePolicy, "samples", "vacant"), id: adminID}).want(f.t, http.StatusNoContent, "")
}

const (
	testOwner    = "8c2f4a6e1d0b3957f8a1c4e7b2d5093f6e9c1a4b7d0e3f628591c4d7a0b3e6f9"
	bucketTags   = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
	sampleRules  = "<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
	samplePolicy = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::samples/never"}}`
	sampleUntil  = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate></Retention>"
)

// withMore adds the samples of operations on what buckets and objects are, on uploads, and of
// those that are not implemented.
func withMore(samples map[string]sample) map[string]sample {
	put := func(path, body string, status int) sample {
		return sample{call: call{method: "PUT", path: path, body: body}, status: status}
	}
	drop := func(path string) sample {
		return sample{call: call{method: "DELETE", path: path}, status: http.StatusNoContent}
	}
	still := func(s sample) sample { s.still = true; return s }
	absent := func(method, path string) sample {
		return sample{call: call{method: method, path: path}, status: http.StatusNotImplemented, still: true}
	}
	document := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>9e3669d19b675bd57058fd4664205d2a</ETag><ChecksumCRC32C>" +
		sumOf(checksum.CRC32C, []byte("v")) + "</ChecksumCRC32C></Part></CompleteMultipartUpload>"
	maps.Copy(samples, map[string]sample{
		"CreateMultipartUpload":   {call{method: "POST", path: "/samples/new?uploads"}, 200, false},
		"UploadPart":              put("/samples/open?partNumber=2&uploadId="+openUpload, "the part", 200),
		"UploadPartCopy":          {call{method: "PUT", path: "/samples/parts?partNumber=2&uploadId=" + sampleUpload, header: map[string]string{"X-Amz-Copy-Source": "samples/there"}}, 200, false},
		"CompleteMultipartUpload": {call{method: "POST", path: "/samples/parts?uploadId=" + sampleUpload, body: document}, 200, false},
		"AbortMultipartUpload":    drop("/samples/parts?uploadId=" + sampleUpload),

		"PutObjectTagging":    put("/samples/there?tagging", strings.Replace(bucketTags, "<Key>a", "<Key>z", 1), 200),
		"DeleteObjectTagging": drop("/samples/there?tagging"),
		"PutObjectRetention":  put("/locked/there?retention", sampleUntil, 200),
		"PutObjectLegalHold":  put("/locked/there?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>", 200),
		"PutObjectAcl":        still(put("/samples/there?acl", aclOf(testOwner, "FULL_CONTROL"), 200)),

		"PutBucketVersioning":             put("/samples?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", 200),
		"PutBucketTagging":                put("/samples?tagging", bucketTags, 204),
		"DeleteBucketTagging":             drop("/vacant?tagging"),
		"PutBucketPolicy":                 put("/samples?policy", samplePolicy, 204),
		"DeleteBucketPolicy":              drop("/vacant?policy"),
		"PutPublicAccessBlock":            put("/samples?publicAccessBlock", "<PublicAccessBlockConfiguration><BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>", 200),
		"DeletePublicAccessBlock":         drop("/vacant?publicAccessBlock"),
		"PutBucketCors":                   put("/samples?cors", corsRules, 200),
		"DeleteBucketCors":                drop("/vacant?cors"),
		"PutBucketLifecycleConfiguration": put("/samples?lifecycle", sampleRules, 200),
		"DeleteBucketLifecycle":           drop("/vacant?lifecycle"),
		"PutObjectLockConfiguration":      put("/locked?object-lock", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>", 200),
		"PutBucketQuota":                  put("/samples?quota", `{"bytes":1000}`, 200),
		"DeleteBucketOwnershipControls":   drop("/samples?ownershipControls"),

		"PutBucketAcl":                       still(put("/samples?acl", aclOf(testOwner, "FULL_CONTROL"), 200)),
		"PutBucketOwnershipControls":         still(put("/samples?ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>", 200)),
		"PutBucketRequestPayment":            still(put("/samples?requestPayment", "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>", 200)),
		"PutBucketLogging":                   still(put("/samples?logging", "<BucketLoggingStatus/>", 200)),
		"PutBucketNotificationConfiguration": still(put("/samples?notification", "<NotificationConfiguration/>", 200)),
		"PutBucketAccelerateConfiguration":   still(put("/samples?accelerate", "<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>", 200)),
		"DeleteBucketEncryption":             still(drop("/samples?encryption")),
		"DeleteBucketReplication":            still(drop("/samples?replication")),
		"DeleteBucketWebsite":                still(drop("/samples?website")),
	})
	for name, sub := range map[string]string{"Analytics": "analytics", "IntelligentTiering": "intelligent-tiering", "Inventory": "inventory", "Metrics": "metrics"} {
		samples["PutBucket"+name+"Configuration"] = absent("PUT", "/samples?"+sub+"&id=x")
		gone := still(drop("/samples?" + sub + "&id=x"))
		gone.status = http.StatusNotFound
		samples["DeleteBucket"+name+"Configuration"] = gone
	}
	maps.Copy(samples, map[string]sample{
		"CreateBucketMetadataConfiguration":                absent("POST", "/samples?metadataConfiguration"),
		"CreateBucketMetadataTableConfiguration":           absent("POST", "/samples?metadataTable"),
		"DeleteBucketMetadataConfiguration":                absent("DELETE", "/samples?metadataConfiguration"),
		"DeleteBucketMetadataTableConfiguration":           absent("DELETE", "/samples?metadataTable"),
		"PutBucketAbac":                                    absent("PUT", "/samples?abac"),
		"PutBucketEncryption":                              absent("PUT", "/samples?encryption"),
		"PutBucketReplication":                             absent("PUT", "/samples?replication"),
		"PutBucketWebsite":                                 absent("PUT", "/samples?website"),
		"UpdateBucketMetadataAnnotationTableConfiguration": absent("PUT", "/samples?metadataAnnotationTable"),
		"UpdateBucketMetadataInventoryTableConfiguration":  absent("PUT", "/samples?metadataInventoryTable"),
		"UpdateBucketMetadataJournalTableConfiguration":    absent("PUT", "/samples?metadataJournalTable"),
		"PutObjectAnnotation":                              absent("PUT", "/samples/there?annotation"),
		"DeleteObjectAnnotation":                           absent("DELETE", "/samples/there?annotation"),
		"RenameObject":                                     absent("PUT", "/samples/new?renameObject"),
		"RestoreObject":                                    absent("POST", "/samples/there?restore"),
		"SelectObjectContent":                              absent("POST", "/samples/there?select&select-type=2"),
		"UpdateObjectEncryption":                           absent("PUT", "/samples/there?encryption"),
	})
	return samples
}
