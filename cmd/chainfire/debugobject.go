package main

import (
	"chainfire/machine"
	"chainfire/object"
)

// jsonLogObjects are the commands of buckets and objects.
type jsonLogObjects struct {
	Object *jsonLogObject `json:"object,omitempty"`
}

// jsonLogObject is a change of buckets and objects. What objects hold is not shown, nor the
// secrets of access keys, although the log has them sealed.
type jsonLogObject struct {
	Change string `json:"change"`
	// Time is the proposer's clock, in milliseconds of Unix time.
	Time   int64  `json:"time_ms"`
	Bucket string `json:"bucket,omitempty"`
	*jsonKey
	// Versions are those to be deleted, of keys.
	Versions []jsonLogVersion `json:"versions,omitempty"`
	// Name is that of a bucket's document.
	Name      string `json:"name,omitempty"`
	AccessKey string `json:"access_key,omitempty"`
	Upload    string `json:"upload,omitempty"`
	Part      int    `json:"part,omitempty"`
	Parts     int    `json:"parts,omitempty"`
	Size      *int64 `json:"size,omitempty"`
	// Lease is a write lease; Body begins with that under which it was written.
	Lease string       `json:"write_lease,omitempty"`
	Body  *jsonLogBody `json:"body,omitempty"`
	// Member is whose write lease it is, of the start Boots of its process.
	Member string `json:"member,omitempty"`
	Boots  uint64 `json:"boots,omitempty"`
	// Source is where a copy is from.
	Source *jsonLogVersion `json:"source,omitempty"`
}

type jsonLogVersion struct {
	Bucket string `json:"bucket,omitempty"`
	jsonKey
	// Version is an id, 0 for the null version; where there is none it is the key.
	Version *string `json:"version,omitempty"`
}

type jsonLogBody struct {
	Lease   string `json:"write_lease"`
	N       uint32 `json:"n"`
	Extents int    `json:"extents"`
}

// newJSONLogObjects is nil for a command that is not of objects.
func newJSONLogObjects(c *machine.Command) *jsonLogObjects {
	if c.Object == nil {
		return nil
	}
	o := c.Object
	out := &jsonLogObject{Time: o.Time}
	switch {
	case o.CreateBucket != nil:
		out.Change, out.Bucket = "create_bucket", o.CreateBucket.Name
	case o.DeleteBucket != nil:
		out.Change, out.Bucket = "delete_bucket", o.DeleteBucket.Name
	case o.SetBucket != nil:
		out.Change, out.Bucket = "set_bucket", o.SetBucket.Name
	case o.SetConfig != nil:
		size := int64(len(o.SetConfig.Value))
		out.Change, out.Bucket, out.Name, out.Size = "set_config", o.SetConfig.Bucket, o.SetConfig.Name, &size
	case o.Put != nil:
		out.Change = "put"
		out.of(o.Put.Bucket, o.Put.Key)
		out.body(&o.Put.Body)
	case o.Copy != nil:
		out.Change = "copy"
		out.of(o.Copy.Bucket, o.Copy.Key)
		seq := object.VersionID(o.Copy.SourceSeq)
		out.Source = newJSONLogVersion(o.Copy.SourceKey, &seq)
		out.Source.Bucket = o.Copy.SourceBucket
	case o.Delete != nil:
		out.Change, out.Bucket = "delete", o.Delete.Bucket
		for _, d := range o.Delete.Objects {
			out.Versions = append(out.Versions, *newJSONLogVersion(d.Key, d.Version))
		}
	case o.SetObject != nil:
		out.Change, out.Bucket = "set_object", o.SetObject.Bucket
		out.Versions = []jsonLogVersion{*newJSONLogVersion(o.SetObject.Key, o.SetObject.Version)}
	case o.CreateUpload != nil:
		out.Change = "create_upload"
		out.of(o.CreateUpload.Bucket, o.CreateUpload.Key)
	default:
		out.rest(o)
	}
	return &jsonLogObjects{Object: out}
}

func (out *jsonLogObject) rest(o *object.Change) {
	switch {
	case o.PutPart != nil:
		out.Change, out.Upload, out.Part = "put_part", memberID(o.PutPart.Upload), o.PutPart.Number
		out.of(o.PutPart.Bucket, o.PutPart.Key)
		out.body(&o.PutPart.Body)
	case o.Complete != nil:
		out.Change, out.Upload, out.Parts = "complete", memberID(o.Complete.Upload), len(o.Complete.Parts)
		out.of(o.Complete.Bucket, o.Complete.Key)
	case o.Abort != nil:
		out.Change, out.Upload = "abort", memberID(o.Abort.Upload)
		out.of(o.Abort.Bucket, o.Abort.Key)
	case o.OpenLease != nil:
		out.Change, out.Member, out.Boots = "open_lease", memberID(o.OpenLease.Member), o.OpenLease.Boots
	case o.CloseLease != nil:
		out.Change, out.Lease = "close_lease", memberID(o.CloseLease.ID)
	case o.CloseLeases != nil:
		out.Change, out.Member, out.Boots = "close_leases", memberID(o.CloseLeases.Member), o.CloseLeases.Boots
	case o.SetKey != nil:
		out.Change, out.AccessKey = "set_key", o.SetKey.Key.ID
	case o.DeleteKey != nil:
		out.Change, out.AccessKey = "delete_key", o.DeleteKey.ID
	case o.Reap != nil:
		out.Change = "reap"
	}
}

func (out *jsonLogObject) of(bucket, key string) {
	k := newJSONKey([]byte(key))
	out.Bucket, out.jsonKey = bucket, &k
}

func (out *jsonLogObject) body(b *object.Body) {
	out.Size = &b.Size
	if len(b.Extents) > 0 {
		out.Body = &jsonLogBody{Lease: memberID(b.ID.Lease), N: b.ID.N, Extents: len(b.Extents)}
	}
}

func newJSONLogVersion(key string, id *object.VersionID) *jsonLogVersion {
	v := &jsonLogVersion{jsonKey: newJSONKey([]byte(key))}
	if id != nil {
		text := memberID(uint64(*id))
		v.Version = &text
	}
	return v
}
