package object

import (
	"bytes"
	"context"
	"strings"
)

// UploadsResult is a page of uploads, sorted by key, then by when they began.
type UploadsResult struct {
	Uploads  []Upload
	Prefixes []string
	// More says that there is more after the last entry, which Next and NextUpload name as
	// After and AfterVersion of a ListRequest want it.
	More       bool
	Next       string
	NextUpload uint64
}

// Upload reads an open upload, or ErrNoSuchUpload.
func (v *View) Upload(b *Bucket, key string, id uint64) (*Upload, error) {
	return readUpload(v.rows, b, key, id)
}

// UploadParts reads at most limit parts, up to MaxPage, of an upload that this view has read, with
// numbers above after; more says that there are more.
func (v *View) UploadParts(u *Upload, after, limit int) (parts []Part, more bool, err error) {
	after, limit = max(after, 0), min(limit, MaxPage)
	if after >= MaxParts || limit <= 0 {
		return nil, false, nil
	}
	prefix := uploadParts(u.ID)
	from := appendNumber(bytes.Clone(prefix), after+1)
	parts, all, err := readParts(v.rows, from, afterPrefix(prefix), limit)
	return parts, !all, err
}

// Uploads reads a page of a bucket's open uploads; of the request AfterVersion is the id of the
// last upload of the key After that is not wanted, and Versions is not looked at. What it
// reads is in proportion to the page; ctx ends it early.
func (v *View) Uploads(ctx context.Context, b *Bucket, r ListRequest) (_ *UploadsResult, err error) {
	r.Limit = min(r.Limit, MaxPage)
	l := &uploadLister{ListRequest: r, bucket: b.ID}
	from := appendKeyPrefix(inBucket(rowUpload, b.ID), r.Prefix)
	to := afterPrefix(from)
	if start := l.start(); bytes.Compare(start, from) > 0 {
		from = start
	}
	if r.Limit <= 0 || bytes.Compare(from, to) >= 0 {
		return &l.out, nil
	}
	l.c, err = v.rows.Cursor(from, to)
	if err != nil {
		return nil, err
	}
	defer closeCursor(l.c, &err)
	if err := l.walk(ctx); err != nil {
		return nil, err
	}
	return &l.out, nil
}

// uploadLister walks the uploads of a bucket for one page.
type uploadLister struct {
	ListRequest
	bucket uint64
	c      Cursor
	out    UploadsResult
}

// start is the row to begin at for what After leaves out.
func (l *uploadLister) start() []byte {
	if l.After == "" {
		return nil
	}
	if p, ok := l.common(l.After); ok {
		return l.afterCommon(p)
	}
	if l.AfterVersion == 0 {
		return afterPrefix(appendEnded(inBucket(rowUpload, l.bucket), l.After))
	}
	return append(uploadRow(l.bucket, l.After, l.AfterVersion), 0)
}

// afterCommon is the first row behind all uploads that a common prefix stands for.
func (l *uploadLister) afterCommon(p string) []byte {
	return afterPrefix(appendKeyPrefix(inBucket(rowUpload, l.bucket), p))
}

func (l *uploadLister) walk(ctx context.Context) error {
	for ok := l.c.Next(); ok; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(l.out.Uploads)+len(l.out.Prefixes) == l.Limit {
			l.out.More = true
			return nil
		}
		key, id, err := splitUploadRow(l.c.Row())
		if err != nil {
			return err
		}
		if p, rolled := l.common(key); rolled {
			l.out.Prefixes = append(l.out.Prefixes, p)
			l.out.Next, l.out.NextUpload = p, 0
			ok = l.c.Seek(l.afterCommon(p))
			continue
		}
		u, err := decodeUpload(key, id, l.c.Value())
		if err != nil {
			return err
		}
		l.out.Uploads = append(l.out.Uploads, *u)
		l.out.Next, l.out.NextUpload = key, id
		ok = l.c.Next()
	}
	l.out.Next, l.out.NextUpload = "", 0
	return l.c.Err()
}

// common is the common prefix that stands for a key, if one does.
func (r *ListRequest) common(key string) (string, bool) {
	if r.Delimiter == "" || !strings.HasPrefix(key, r.Prefix) {
		return "", false
	}
	i := strings.Index(key[len(r.Prefix):], r.Delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(r.Prefix)+i+len(r.Delimiter)], true
}
