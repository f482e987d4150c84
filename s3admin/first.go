package s3admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/object"
)

// First makes the first access key of a new cluster, with which everything may be done, and
// its first bucket. It is for the member that began the cluster, and done once: until it is,
// a mark lies in the data directory of that member.
//
// The file of the key is durable before the key is proposed, so that a crash in between leads
// to the same key again.
type First struct {
	Objects object.Service
	FS      disk.FS
	// Mark is the path of the mark. Where there is none nothing is made.
	Mark string
	// Key is the key to be made, as its operator gave it; nil is one by chance, which is
	// left in KeyFile.
	Key     *Credentials
	KeyFile string
	// Bucket is the bucket to be made, of that key; empty is none.
	Bucket string
	Logger *slog.Logger
	// Now is the clock, and Sleep waits, unless the context ends first. Defaults are
	// those of package time.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration)
}

// The time between two attempts.
const (
	firstWait    = 100 * time.Millisecond
	maxFirstWait = 5 * time.Second
)

// The names in a file of credentials.
const (
	idVariable     = "AWS_ACCESS_KEY_ID"
	secretVariable = "AWS_SECRET_ACCESS_KEY"
)

// maxKeyFile bounds a file of credentials.
const maxKeyFile = 4 << 10

// Owed reports whether the first key is still to be made.
func (f *First) Owed() (bool, error) {
	_, err := f.FS.Stat(f.Mark)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", f.Mark, err)
	}
	return true, nil
}

// Run makes what is owed. It tries again while there is no leader, or too few members, until
// the context ends. What it cannot do for another reason is an error that says what to do.
func (f *First) Run(ctx context.Context) error {
	owed, err := f.Owed()
	if err != nil || !owed {
		return err
	}
	c, err := f.credentials()
	if err != nil {
		return err
	}
	for wait := firstWait; ; wait = min(2*wait, maxFirstWait) {
		err := f.make(ctx, c)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !passing(err) {
			return fmt.Errorf("make the first access key: %w; make one with 'chainfire s3 key create --admin'", err)
		}
		f.Logger.Debug("the first access key is not made yet", "retry_in", wait, "err", err)
		f.sleep(ctx, wait)
	}
}

// credentials are those given, or those of an earlier attempt, or new ones, which are in
// their file then.
func (f *First) credentials() (Credentials, error) {
	if f.Key != nil {
		return *f.Key, f.Key.Check()
	}
	b, err := disk.ReadFile(f.FS, f.KeyFile, maxKeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Credentials{}, fmt.Errorf("read the first access key: %w", err)
	default:
		c, err := ParseKeyFile(b)
		if err != nil {
			return c, fmt.Errorf("%s, which is to hold the first access key: %w; remove the file, so that another one is made", f.KeyFile, err)
		}
		return c, nil
	}
	c := NewCredentials()
	if err := disk.WriteFileAtomic(f.FS, f.KeyFile, c.KeyFile()); err != nil {
		return c, fmt.Errorf("write the first access key: %w", err)
	}
	return c, nil
}

// make makes the key and the bucket, as far as they are not there, and takes the mark away.
func (f *First) make(ctx context.Context, c Credentials) error {
	now := time.Now
	if f.Now != nil {
		now = f.Now
	}
	q, err := makeKey(f.Objects, &object.AccessKey{Description: "the first key", Admin: true}, c, now())
	if err != nil {
		return err
	}
	_, err = f.Objects.Change(ctx, q)
	if errors.Is(err, object.ErrKeyExists) {
		err = f.same(ctx, c) // an attempt that was cut short made it
	}
	if err != nil {
		return err
	}
	if f.Bucket != "" {
		_, err := f.Objects.Change(ctx, &object.Change{
			Time: now().UnixMilli(), CreateBucket: &object.CreateBucket{Name: f.Bucket, Owner: c.ID},
		})
		if err != nil && !errors.Is(err, object.ErrBucketExists) {
			return fmt.Errorf("make the bucket %q: %w", f.Bucket, err)
		}
	}
	if err := f.FS.Remove(f.Mark); err != nil {
		return fmt.Errorf("remove %s: %w", f.Mark, err)
	}
	if err := disk.SyncDir(f.FS, f.FS.PathDir(f.Mark)); err != nil {
		return err
	}
	from := "the environment"
	if f.Key == nil {
		from = f.KeyFile
	}
	f.Logger.Info("the first access key of S3 is there", "key", c.ID, "secret_in", from, "bucket", f.Bucket)
	return nil
}

// same finds out whether the key that is there has the secret.
func (f *First) same(ctx context.Context, c Credentials) (err error) {
	v, err := f.Objects.View(ctx)
	if err != nil {
		return err
	}
	k, err := v.AccessKey(c.ID)
	err = errors.Join(err, v.Close())
	if err != nil {
		return err
	}
	secret, err := f.Objects.Unseal(k.ID, k.Sealed)
	if err != nil {
		return fmt.Errorf("unseal the secret of %s: %w", k.ID, err)
	}
	if secret != c.Secret {
		f.Logger.Warn("an access key of this id is there already, with another secret, which stays", "key", k.ID)
	}
	return nil
}

func (f *First) sleep(ctx context.Context, d time.Duration) {
	if f.Sleep != nil {
		f.Sleep(ctx, d)
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// passing reports whether an attempt may succeed later.
func passing(err error) bool {
	for _, target := range []error{
		chainfire.ErrNoLeader, chainfire.ErrTimeout, chainfire.ErrTimeoutLeaderFail, chainfire.ErrTimeoutConnLost,
		chainfire.ErrLeaderChanged, chainfire.ErrTooManyRequests, chainfire.ErrLearner, chainfire.ErrFeatureLevel,
		chainfire.ErrNoSpace, object.ErrUnavailable, context.DeadlineExceeded,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// KeyFile is the credentials as the file that shells, container engines and AWS's clients
// read their environment from.
func (c Credentials) KeyFile() []byte {
	return fmt.Appendf(nil, "%s=%s\n%s=%s\n", idVariable, c.ID, secretVariable, c.Secret)
}

// ParseKeyFile reads what KeyFile wrote. Its errors hold nothing of the file.
func ParseKeyFile(b []byte) (c Credentials, err error) {
	for line := range bytes.Lines(b) {
		name, value, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), "=")
		switch name {
		case idVariable:
			c.ID = value
		case secretVariable:
			c.Secret = value
		}
	}
	if c.ID == "" || c.Secret == "" {
		return Credentials{}, fmt.Errorf("it lacks a line %s=… or %s=…", idVariable, secretVariable)
	}
	return c, c.Check()
}
