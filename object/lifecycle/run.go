package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"chainfire/object"
)

// batch is how many deletes one change has, so that nothing else waits long for it.
const batch = 250

// Pace waits until n more versions or uploads may be looked at or deleted, or for the context;
// n is at most object.MaxPage. The WaitN of a rate.Limiter with at least that burst is one.
type Pace func(ctx context.Context, n int) error

// Stats are what one walk over a bucket came to.
type Stats struct {
	// Versions and Uploads are those looked at.
	Versions, Uploads int
	// Expired are the keys deleted, and Removed the versions deleted for good, delete
	// markers among them.
	Expired, Removed int
	// Aborted are the uploads aborted.
	Aborted int
	// Held are the versions that the rules are to delete for good, and that retention or a legal
	// hold kept; Refused are those whose delete was refused for something else.
	Held, Refused int
}

// Run does what the rules of a bucket ask for by the clock given. A bucket that has none, or is gone, is
// done. What changes while it walks is not lost: each delete names the version that it was
// decided for, and nothing else is deleted. Rules that change count from the next page on.
// Stats also has what was done before an error.
func Run(ctx context.Context, service object.Service, bucket string, now func() time.Time, pace Pace) (Stats, error) {
	w := &walker{service: service, bucket: bucket, now: now, pace: pace}
	err := w.versions(ctx)
	if err == nil {
		err = w.uploads(ctx)
	}
	if errors.Is(err, object.ErrNoSuchBucket) || errors.Is(err, errNoRules) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("the lifecycle of bucket %s: %w", bucket, err)
	}
	return w.stats, err
}

// errNoRules ends the walk over a bucket that has no rules, any more.
var errNoRules = errors.New("the bucket has no rules")

type walker struct {
	service object.Service
	bucket  string
	now     func() time.Time
	pace    Pace
	stats   Stats

	// config is what document holds.
	document []byte
	config   *Config

	// held is the version read last, at its place: whether it is alone, the next one says.
	held   *object.Version
	place  Position
	delete []object.DeleteObject
}

// page calls read with a view that has all that was acknowledged, and with the rules in it.
func (w *walker) page(ctx context.Context, read func(*object.View, *object.Bucket) error) error {
	if err := w.pace(ctx, object.MaxPage); err != nil {
		return err
	}
	view, err := w.service.View(ctx)
	if err != nil {
		return err
	}
	err = w.read(view, read)
	if closeErr := view.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (w *walker) read(view *object.View, read func(*object.View, *object.Bucket) error) error {
	b, err := view.Bucket(w.bucket)
	if err != nil {
		return err
	}
	document, found, err := view.Config(b, ConfigName)
	switch {
	case err != nil:
		return err
	case !found:
		return errNoRules
	case w.config == nil || !bytes.Equal(document, w.document):
		if w.config, err = Parse(document); err != nil {
			return fmt.Errorf("the rules: %w", err)
		}
		w.document = bytes.Clone(document)
	}
	return read(view, b)
}

// versions walks the versions of all keys, newest first.
func (w *walker) versions(ctx context.Context) error {
	request := object.ListRequest{Versions: true, Limit: object.MaxPage}
	for more := true; more; {
		var page *object.ListResult
		err := w.page(ctx, func(view *object.View, b *object.Bucket) (err error) {
			page, err = view.List(ctx, b, request)
			return err
		})
		if err != nil {
			return err
		}
		for i := range page.Entries {
			w.next(&page.Entries[i])
		}
		if !page.More {
			w.next(nil)
		}
		if err := w.flush(ctx); err != nil {
			return err
		}
		more, request.After, request.AfterVersion = page.More, page.Next, page.NextVersion
	}
	return nil
}

// next decides on the version read before v, which is nil at the end.
func (w *walker) next(v *object.Version) {
	same := v != nil && w.held != nil && v.Key == w.held.Key
	if w.held != nil {
		w.place.Alone = w.place.Newer == 0 && !same
		w.decide(w.held, w.place)
	}
	switch {
	case v == nil:
		w.held = nil
		return
	case same:
		w.place = Position{Newer: w.place.Newer + 1, Since: w.held.Modified}
	default:
		w.place = Position{}
	}
	w.held = v
	w.stats.Versions++
}

func (w *walker) decide(v *object.Version, p Position) {
	switch w.config.Evaluate(v, p, w.now()) {
	case DeleteKey:
		w.delete = append(w.delete, object.DeleteObject{Key: v.Key, Expired: true, Seq: v.Seq})
	case DeleteVersion:
		id := v.ID
		w.delete = append(w.delete, object.DeleteObject{Key: v.Key, Version: &id, Expired: true, Seq: v.Seq})
	case Hold:
		w.stats.Held++
	case Keep:
	}
}

// flush has what was decided on deleted.
func (w *walker) flush(ctx context.Context) error {
	for len(w.delete) > 0 {
		n := min(len(w.delete), batch)
		if err := w.pace(ctx, n); err != nil {
			return err
		}
		result, err := w.service.Change(ctx, &object.Change{
			Time:   w.now().UnixMilli(),
			Delete: &object.Delete{Bucket: w.bucket, Objects: w.delete[:n]},
		})
		if err != nil {
			return err
		}
		for i := range result.Deleted {
			w.count(&result.Deleted[i], w.delete[i].Version != nil)
		}
		w.delete = w.delete[n:]
	}
	w.delete = nil
	return nil
}

func (w *walker) count(d *object.Deleted, version bool) {
	switch {
	case errors.Is(d.Err, object.ErrLocked):
		w.stats.Held++
	case d.Err != nil:
		w.stats.Refused++
	case d.Found && version:
		w.stats.Removed++
	case d.Found:
		w.stats.Expired++
	}
}

// uploads walks the open uploads.
func (w *walker) uploads(ctx context.Context) error {
	request := object.ListRequest{Limit: object.MaxPage}
	for more := true; more; {
		var page *object.UploadsResult
		err := w.page(ctx, func(view *object.View, b *object.Bucket) (err error) {
			page, err = view.Uploads(ctx, b, request)
			return err
		})
		if err != nil {
			return err
		}
		w.stats.Uploads += len(page.Uploads)
		for i := range page.Uploads {
			if err := w.abort(ctx, &page.Uploads[i]); err != nil {
				return err
			}
		}
		more, request.After, request.AfterVersion = page.More, page.Next, page.NextUpload
	}
	return nil
}

func (w *walker) abort(ctx context.Context, u *object.Upload) error {
	if !w.config.EvaluateUpload(u, w.now()) {
		return nil
	}
	if err := w.pace(ctx, 1); err != nil {
		return err
	}
	_, err := w.service.Change(ctx, &object.Change{
		Time:  w.now().UnixMilli(),
		Abort: &object.Abort{Bucket: w.bucket, Key: u.Key, Upload: u.ID},
	})
	switch {
	case errors.Is(err, object.ErrNoSuchUpload): // completed or aborted meanwhile
		return nil
	case err == nil:
		w.stats.Aborted++
	}
	return err
}
