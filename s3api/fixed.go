package s3api

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
)

// fixedOperations are those on what a bucket can have in S3, and has in one way here, or not
// at all. Tools ask for all of it to see what a bucket is; what they would change is refused
// by name.
func fixedOperations() []operation {
	ops := []operation{
		getBucket("GetBucketRequestPayment", "requestPayment", "GetBucketRequestPayment", fixed(&requestPayment{XMLNS: namespace, Payer: "BucketOwner"})),
		putBucket("PutBucketRequestPayment", "requestPayment", "PutBucketRequestPayment", onlyAs("RequestPaymentConfiguration", "Payer", "BucketOwner")),
		getBucket("GetBucketLogging", "logging", "GetBucketLogging", fixed(emptyDocument("BucketLoggingStatus"))),
		putBucket("PutBucketLogging", "logging", "PutBucketLogging", onlyEmpty("BucketLoggingStatus")),
		getBucket("GetBucketNotificationConfiguration", "notification", "GetBucketNotification", fixed(emptyDocument("NotificationConfiguration"))),
		putBucket("PutBucketNotificationConfiguration", "notification", "PutBucketNotification", onlyEmpty("NotificationConfiguration")),
		getBucket("GetBucketAccelerateConfiguration", "accelerate", "GetAccelerateConfiguration", fixed(emptyDocument("AccelerateConfiguration"))),
		putBucket("PutBucketAccelerateConfiguration", "accelerate", "PutAccelerateConfiguration", onlyAs("AccelerateConfiguration", "Status", "Suspended")),
		getBucket("GetBucketEncryption", "encryption", "GetEncryptionConfiguration", without(codeNoSuchEncryption)),
		deleteBucket("DeleteBucketEncryption", "encryption", "PutEncryptionConfiguration", nothingToDelete),
		getBucket("GetBucketReplication", "replication", "GetReplicationConfiguration", without(codeNoSuchReplication)),
		deleteBucket("DeleteBucketReplication", "replication", "PutReplicationConfiguration", nothingToDelete),
		getBucket("GetBucketWebsite", "website", "GetBucketWebsite", without(codeNoSuchWebsite)),
		deleteBucket("DeleteBucketWebsite", "website", "DeleteBucketWebsite", nothingToDelete),
	}
	for _, c := range []struct{ name, subresource, action, list string }{
		{"Analytics", "analytics", "AnalyticsConfiguration", "ListBucketAnalyticsConfigurationsResult"},
		{"IntelligentTiering", "intelligent-tiering", "IntelligentTieringConfiguration", "ListBucketIntelligentTieringConfigurationsResult"},
		{"Inventory", "inventory", "InventoryConfiguration", "ListInventoryConfigurationsResult"},
		{"Metrics", "metrics", "MetricsConfiguration", "ListMetricsConfigurationsResult"},
	} {
		one := getBucket("GetBucket"+c.name+"Configuration", c.subresource, "Get"+c.action, without(codeNoSuchConfiguration))
		one.query = append(one.query, "id")
		ops = append(ops, one,
			getBucket("ListBucket"+c.name+"Configurations", c.subresource, "Get"+c.action, fixed(&emptyList{XMLName: xml.Name{Local: c.list}, XMLNS: namespace})),
			deleteBucket("DeleteBucket"+c.name+"Configuration", c.subresource, "Put"+c.action, without(codeNoSuchConfiguration)))
	}
	return ops
}

// absentOperations are those that are not implemented, each by its name: who asks for one is
// told so once it is known that it may.
func absentOperations() []operation {
	var ops []operation
	for _, o := range absent {
		name := o.name
		action := o.action
		if action == "" {
			action = "s3:" + name
		}
		op := operation{name: name, method: o.method, level: o.level, query: strings.Split(o.query, "&"), action: action, access: accessControl}
		op.handle = func(*request) error { return notImplemented(name) }
		ops = append(ops, op)
	}
	return ops
}

// absent is the table of what is not implemented. It is never written.
var absent = []struct {
	name, method string
	level        level
	query        string
	// action is where it is not the name.
	action string
}{
	{"CreateBucketMetadataConfiguration", http.MethodPost, bucketLevel, "metadataConfiguration", ""},
	{"CreateBucketMetadataTableConfiguration", http.MethodPost, bucketLevel, "metadataTable", ""},
	{"CreateSession", http.MethodGet, bucketLevel, "session", ""},
	{"DeleteBucketMetadataConfiguration", http.MethodDelete, bucketLevel, "metadataConfiguration", ""},
	{"DeleteBucketMetadataTableConfiguration", http.MethodDelete, bucketLevel, "metadataTable", ""},
	{"GetBucketAbac", http.MethodGet, bucketLevel, "abac", ""},
	{"GetBucketMetadataConfiguration", http.MethodGet, bucketLevel, "metadataConfiguration", ""},
	{"GetBucketMetadataTableConfiguration", http.MethodGet, bucketLevel, "metadataTable", ""},
	{"PutBucketAbac", http.MethodPut, bucketLevel, "abac", ""},
	{"PutBucketAnalyticsConfiguration", http.MethodPut, bucketLevel, "analytics", "s3:PutAnalyticsConfiguration"},
	{"PutBucketEncryption", http.MethodPut, bucketLevel, "encryption", "s3:PutEncryptionConfiguration"},
	{"PutBucketIntelligentTieringConfiguration", http.MethodPut, bucketLevel, "intelligent-tiering", "s3:PutIntelligentTieringConfiguration"},
	{"PutBucketInventoryConfiguration", http.MethodPut, bucketLevel, "inventory", "s3:PutInventoryConfiguration"},
	{"PutBucketMetricsConfiguration", http.MethodPut, bucketLevel, "metrics", "s3:PutMetricsConfiguration"},
	{"PutBucketReplication", http.MethodPut, bucketLevel, "replication", "s3:PutReplicationConfiguration"},
	{"PutBucketWebsite", http.MethodPut, bucketLevel, "website", ""},
	{"UpdateBucketMetadataAnnotationTableConfiguration", http.MethodPut, bucketLevel, "metadataAnnotationTable", ""},
	{"UpdateBucketMetadataInventoryTableConfiguration", http.MethodPut, bucketLevel, "metadataInventoryTable", ""},
	{"UpdateBucketMetadataJournalTableConfiguration", http.MethodPut, bucketLevel, "metadataJournalTable", ""},

	{"DeleteObjectAnnotation", http.MethodDelete, objectLevel, "annotation", ""},
	{"GetObjectAnnotation", http.MethodGet, objectLevel, "annotation", ""},
	{"GetObjectTorrent", http.MethodGet, objectLevel, "torrent", ""},
	{"ListObjectAnnotations", http.MethodGet, objectLevel, "annotation&x-id=ListObjectAnnotations", ""},
	{"PutObjectAnnotation", http.MethodPut, objectLevel, "annotation", ""},
	{"RenameObject", http.MethodPut, objectLevel, "renameObject", ""},
	{"RestoreObject", http.MethodPost, objectLevel, "restore", ""},
	{"SelectObjectContent", http.MethodPost, objectLevel, "select", "s3:GetObject"},
	{"UpdateObjectEncryption", http.MethodPut, objectLevel, "encryption", ""},
}

type requestPayment struct {
	XMLName xml.Name `xml:"RequestPaymentConfiguration"`
	XMLNS   string   `xml:"xmlns,attr"`
	Payer   string
}

type namedDocument struct {
	XMLName xml.Name
	XMLNS   string `xml:"xmlns,attr"`
}

// emptyDocument says that nothing is configured.
func emptyDocument(name string) *namedDocument {
	return &namedDocument{XMLName: xml.Name{Local: name}, XMLNS: namespace}
}

// emptyList is a listing without entries.
type emptyList struct {
	XMLName     xml.Name
	XMLNS       string `xml:"xmlns,attr"`
	IsTruncated bool
}

// fixed handles the reading of what is the same for all buckets.
func fixed(document any) func(*request) error {
	return func(rq *request) error {
		if err := rq.exists(); err != nil {
			return err
		}
		return rq.xml(http.StatusOK, document)
	}
}

// without handles the reading, and the deleting, of what no bucket has.
func without(missing code) func(*request) error {
	return func(rq *request) error {
		if err := rq.exists(); err != nil {
			return err
		}
		return refuse(missing).with("BucketName", rq.bucket)
	}
}

// nothingToDelete handles the taking away of what no bucket has where S3 makes no difference.
func nothingToDelete(rq *request) error {
	if err := rq.exists(); err != nil {
		return err
	}
	return rq.empty(http.StatusNoContent)
}

// onlyEmpty handles the setting of what can only be not configured.
func onlyEmpty(name string) func(*request) error {
	return func(rq *request) error {
		n, err := rq.tree(name)
		if err != nil {
			return err
		}
		if n.Done() != nil {
			return notImplemented(rq.op.name)
		}
		return rq.fixedAnswer()
	}
}

// onlyAs handles the setting of what can only be as it is: one element with some values.
func onlyAs(name, element string, values ...string) func(*request) error {
	return func(rq *request) error {
		n, err := rq.tree(name)
		if err != nil {
			return err
		}
		value, err := n.Need(element)
		if err != nil {
			return err
		}
		if err := n.Done(); err != nil {
			return err
		}
		if !slices.Contains(values, value) {
			return notImplemented(element + " " + value)
		}
		return rq.fixedAnswer()
	}
}

func (rq *request) fixedAnswer() error {
	if err := rq.exists(); err != nil {
		return err
	}
	return rq.empty(http.StatusOK)
}
