package object

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Recount counts every reference from scratch, by the rows alone, and returns what is not as it
// must be: a body or a manifest that nothing refers to or that is counted wrongly, one that is
// referred to and not there, rows of parts of nothing, and sizes of buckets.
func Recount(rows Reader) []string {
	r := &recount{
		bodies: map[BodyID]uint64{}, manifests: map[BodyID]uint64{}, done: map[uint64]doneUpload{},
		bytes: map[uint64]int64{}, uploads: map[uint64]uint64{}, kept: map[BodyID]bool{}, garbage: map[string]bool{},
	}
	// In the order of what knows of what.
	for _, kind := range []byte{rowUpload, rowGarbage, rowVersion, rowManifest, rowPart, rowBody, rowInline, rowDone, rowBucket} {
		err := eachRow(rows, []byte{kind}, func(row, value []byte) (bool, error) {
			if err := r.row(kind, slices.Clone(row), slices.Clone(value)); err != nil {
				r.wrong("%x: %v", row, err)
			}
			return true, nil
		})
		if err != nil {
			r.wrong("%v", err)
		}
	}
	for id, n := range r.bodies {
		r.wrong("body %v, referred to %d times, is not there", id, n)
	}
	for id, n := range r.manifests {
		r.wrong("manifest %v, referred to %d times, is not there", id, n)
	}
	for id := range r.done {
		r.wrong("that upload %d is completed is not noted", id)
	}
	for prefix := range r.garbage {
		r.wrong("%x is garbage and has no rows", prefix)
	}
	slices.Sort(r.wrongs)
	return r.wrongs
}

type recount struct {
	// bodies and manifests are referred to so often, but for those whose row was seen.
	bodies, manifests map[BodyID]uint64
	// done are the versions that uploads became.
	done map[uint64]doneUpload
	// kept are the manifests whose row was seen.
	kept map[BodyID]bool
	// bytes are by bucket, uploads are the bucket of each that is open.
	bytes   map[uint64]int64
	uploads map[uint64]uint64
	// garbage are prefixes of rows of which none was seen yet; reaped are all.
	garbage map[string]bool
	reaped  []string
	wrongs  []string
}

func (r *recount) wrong(format string, args ...any) {
	r.wrongs = append(r.wrongs, fmt.Sprintf(format, args...))
}

func (r *recount) row(kind byte, row, value []byte) error {
	switch kind {
	case rowUpload:
		_, id, err := splitUploadRow(row)
		r.uploads[id] = binary.BigEndian.Uint64(row[1:])
		return err
	case rowGarbage:
		r.garbage[string(row[1:])] = true
		r.reaped = append(r.reaped, string(row[1:]))
	case rowVersion:
		return r.version(row, value)
	case rowManifest:
		return r.manifest(row, value)
	case rowPart:
		return r.part(row, value)
	case rowBody, rowInline:
		id := BodyID{Lease: binary.BigEndian.Uint64(row[1:]), N: binary.BigEndian.Uint32(row[9:])}
		b, err := decodeBody(id, value)
		if err != nil {
			return err
		}
		if b.refs != r.bodies[id] {
			r.wrong("body %v counts %d, and is referred to %d times", id, b.refs, r.bodies[id])
		}
		if (kind == rowInline) != (len(b.Inline) > 0) || b.checkForm() != nil && kind == rowBody {
			r.wrong("body %v is no body of kind %c: %v", id, kind, b.checkForm())
		}
		delete(r.bodies, id)
	case rowDone:
		id := binary.BigEndian.Uint64(row[1:])
		got, err := decodeDone(id, value)
		if want := r.done[id]; err == nil && got != want {
			r.wrong("upload %d became %+v, not %+v", id, want, got)
		}
		delete(r.done, id)
		return err
	case rowBucket:
		b, err := decodeBucket(string(row[1:]), value)
		if err == nil && b.Bytes != r.bytes[b.ID] {
			r.wrong("bucket %s counts %d bytes, and has %d", b.Name, b.Bytes, r.bytes[b.ID])
		}
		return err
	}
	return nil
}

func (r *recount) version(row, value []byte) error {
	key, seq, err := splitVersionRow(row)
	if err != nil {
		return err
	}
	v, err := decodeVersion(key, seq, value)
	if err != nil {
		return err
	}
	bucket := binary.BigEndian.Uint64(row[1:])
	r.bytes[bucket] += v.Size
	switch {
	case v.Parts > 0:
		r.manifests[v.Body]++
	case v.Body != BodyID{}:
		r.bodies[v.Body]++
	}
	if v.Upload != 0 {
		r.done[v.Upload] = doneUpload{bucket: bucket, key: key, seq: seq}
	}
	return nil
}

// isGarbage reports whether a row of parts is to be reaped.
func (r *recount) isGarbage(row []byte) bool {
	for _, prefix := range r.reaped {
		if len(row) >= len(prefix) && string(row[:len(prefix)]) == prefix {
			delete(r.garbage, prefix)
			return true
		}
	}
	return false
}

func (r *recount) manifest(row, value []byte) error {
	id := BodyID{Lease: binary.BigEndian.Uint64(row[1:]), N: binary.BigEndian.Uint32(row[9:])}
	if len(row) == 1+8+4 {
		refs, err := decodeRefs(value)
		if err == nil && refs != r.manifests[id] {
			r.wrong("manifest %v counts %d, and is referred to %d times", id, refs, r.manifests[id])
		}
		if r.isGarbage(row) {
			r.wrong("manifest %v is garbage, and still counts", id)
		}
		delete(r.manifests, id)
		r.kept[id] = true
		return err
	}
	if !r.kept[id] && !r.isGarbage(row) {
		r.wrong("parts %x are of no manifest", row)
	}
	return r.parts(row, value)
}

func (r *recount) part(row, value []byte) error {
	upload := binary.BigEndian.Uint64(row[1:])
	bucket, open := r.uploads[upload]
	garbage := r.isGarbage(row)
	if garbage == open {
		r.wrong("part %x: open is %v, garbage is %v", row, open, garbage)
	}
	if !garbage {
		parts, err := appendDecodedParts(nil, row, value)
		if err != nil {
			return err
		}
		r.bytes[bucket] += parts[0].Size
	}
	return r.parts(row, value)
}

// parts counts the bodies of parts.
func (r *recount) parts(row, value []byte) error {
	parts, err := appendDecodedParts(nil, row, value)
	for _, p := range parts {
		if p.Body != (BodyID{}) {
			r.bodies[p.Body]++
		}
	}
	return err
}
