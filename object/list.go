package object

import (
	"bytes"
	"context"
)

// lister walks the versions of a bucket for one page.
type lister struct {
	ListRequest
	bucket uint64
	c      Cursor
	out    ListResult
}

// listVersions reads a page of a bucket's keys or versions.
func listVersions(ctx context.Context, r Reader, bucket uint64, q ListRequest) (page *ListResult, err error) {
	q.Limit = min(q.Limit, MaxPage)
	l := &lister{ListRequest: q, bucket: bucket}
	from := appendKeyPrefix(inBucket(rowVersion, bucket), q.Prefix)
	to := afterPrefix(from)
	if start := l.start(); bytes.Compare(start, from) > 0 {
		from = start
	}
	if q.Limit <= 0 || bytes.Compare(from, to) >= 0 {
		return &l.out, nil
	}
	l.c, err = r.Cursor(from, to)
	if err != nil {
		return nil, err
	}
	defer closeCursor(l.c, &err)
	if err := l.walk(ctx); err != nil {
		return nil, err
	}
	return &l.out, nil
}

// start is the row to begin at for what After leaves out.
func (l *lister) start() []byte {
	switch p, ok := l.common(l.After); {
	case l.After == "":
		return nil
	case ok:
		return l.afterCommon(p)
	case l.Versions && l.AfterVersion != 0:
		// From the first version on, which tells whether those that follow have a newer one.
		return versionsRow(l.bucket, l.After)
	}
	return l.afterKey(l.After)
}

// afterKey is the first row behind all versions of a key.
func (l *lister) afterKey(key string) []byte { return afterPrefix(versionsRow(l.bucket, key)) }

// afterCommon is the first row behind all keys that a common prefix stands for.
func (l *lister) afterCommon(p string) []byte {
	return afterPrefix(appendKeyPrefix(inBucket(rowVersion, l.bucket), p))
}

// walk goes from version to version. It seeks past what the listing does not need: the older
// versions of a key, and what a common prefix stands for.
func (l *lister) walk(ctx context.Context) error {
	before, some := "", false
	for ok := l.c.Next(); ok; {
		if err := ctx.Err(); err != nil {
			return err
		}
		key, seq, err := splitVersionRow(l.c.Row())
		if err != nil {
			return err
		}
		newest := !some || key != before
		before, some = key, true
		switch {
		case !newest && !l.Versions:
			ok = l.c.Seek(l.afterKey(key))
			continue
		case l.Versions && l.AfterVersion != 0 && key == l.After && seq >= l.AfterVersion:
			ok = l.c.Seek(versionRow(l.bucket, key, l.AfterVersion-1))
			continue
		}
		v, err := decodeVersion(key, seq, l.c.Value())
		if err != nil {
			return err
		}
		if v.DeleteMarker && !l.Versions {
			ok = l.c.Next()
			continue
		}
		if len(l.out.Entries)+len(l.out.Prefixes) == l.Limit {
			l.out.More = true
			return nil
		}
		if p, rolled := l.common(key); rolled {
			l.out.Prefixes = append(l.out.Prefixes, p)
			l.out.Next, l.out.NextVersion = p, 0
			ok = l.c.Seek(l.afterCommon(p))
			continue
		}
		v.Latest = newest
		l.out.Entries = append(l.out.Entries, *v)
		l.out.Next = key
		if l.Versions {
			l.out.NextVersion = seq
		}
		ok = l.c.Next()
	}
	l.out.Next, l.out.NextVersion = "", 0
	return l.c.Err()
}
