package machine

import (
	"fmt"

	"chainfire/object"
)

// object names the change, and with keys also what it is of, but never a secret, not
// even a sealed one, nor what an object holds.
func (w *describer) object(c *object.Change) {
	in := func(what, bucket string) {
		w.add("%s in bucket %q", what, bucket)
	}
	switch {
	case c.CreateBucket != nil:
		w.add("create bucket %q", c.CreateBucket.Name)
	case c.DeleteBucket != nil:
		w.add("delete bucket %q", c.DeleteBucket.Name)
	case c.SetBucket != nil:
		w.add("change bucket %q", c.SetBucket.Name)
	case c.SetConfig != nil:
		in(fmt.Sprintf("set %q, %d B,", c.SetConfig.Name, len(c.SetConfig.Value)), c.SetConfig.Bucket)
	case c.Put != nil:
		in("put "+w.objectKey(c.Put.Key)+", "+describeBody(&c.Put.Body), c.Put.Bucket)
	case c.Copy != nil:
		q := c.Copy
		in("copy version "+fmt.Sprint(q.SourceSeq)+" of "+w.objectKey(q.SourceKey), q.SourceBucket)
		in(" to "+w.objectKey(q.Key), q.Bucket)
	case c.Delete != nil:
		w.objectDelete(c.Delete)
	case c.SetObject != nil:
		in("change "+w.objectKey(c.SetObject.Key)+describeVersion(c.SetObject.Version), c.SetObject.Bucket)
	default:
		w.objectUpload(c)
	}
}

func (w *describer) objectUpload(c *object.Change) {
	upload := func(what string, id uint64, key, bucket string) {
		w.add("%s upload %d of %s in bucket %q", what, id, w.objectKey(key), bucket)
	}
	switch {
	case c.CreateUpload != nil:
		w.add("begin an upload of %s in bucket %q", w.objectKey(c.CreateUpload.Key), c.CreateUpload.Bucket)
	case c.PutPart != nil:
		q := c.PutPart
		upload(fmt.Sprintf("put part %d, %s, of", q.Number, describeBody(&q.Body)), q.Upload, q.Key, q.Bucket)
	case c.Complete != nil:
		q := c.Complete
		upload(fmt.Sprintf("complete, of %d parts,", len(q.Parts)), q.Upload, q.Key, q.Bucket)
	case c.Abort != nil:
		upload("abort", c.Abort.Upload, c.Abort.Key, c.Abort.Bucket)
	case c.OpenLease != nil:
		w.add("open a write lease for member %d, start %d", c.OpenLease.Member, c.OpenLease.Boots)
	case c.CloseLease != nil:
		w.add("close write lease %d", c.CloseLease.ID)
	case c.CloseLeases != nil:
		w.add("close the write leases of member %d from before start %d", c.CloseLeases.Member, c.CloseLeases.Boots)
	case c.SetKey != nil:
		what := "change"
		if c.SetKey.New {
			what = "make"
		}
		w.add("%s access key %q", what, c.SetKey.Key.ID)
	case c.DeleteKey != nil:
		w.add("delete access key %q", c.DeleteKey.ID)
	case c.Reap != nil:
		w.add("let go of bodies that nothing refers to")
	}
}

func (w *describer) objectDelete(q *object.Delete) {
	w.add("delete ")
	for i := range q.Objects {
		if i == describedOps {
			w.add("; %d more", len(q.Objects)-i)
			break
		}
		if i > 0 {
			w.add("; ")
		}
		w.add("%s%s", w.objectKey(q.Objects[i].Key), describeVersion(q.Objects[i].Version))
	}
	w.add(" in bucket %q", q.Bucket)
}

func (w *describer) objectKey(key string) string {
	if !w.keys {
		return fmt.Sprintf("key of %d B", len(key))
	}
	return fmt.Sprintf("%q", key)
}

func describeVersion(id *object.VersionID) string {
	switch {
	case id == nil:
		return ""
	case *id == object.Null:
		return ", the null version,"
	}
	return fmt.Sprintf(", version %d,", *id)
}

func describeBody(b *object.Body) string {
	if len(b.Extents) == 0 {
		return fmt.Sprintf("%d B inline", b.Size)
	}
	return fmt.Sprintf("%d B in %d extents of body %d.%d", b.Size, len(b.Extents), b.ID.Lease, b.ID.N)
}
