package s3admin_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/object"
	"chainfire/s3admin"
	"chainfire/s3api/s3test"
)

// newFirst is what a member begins with that owes the first key.
func newFirst(t *testing.T) (*s3admin.First, *s3test.Service, *strings.Builder) {
	t.Helper()
	dir, log, objects := t.TempDir(), &strings.Builder{}, s3test.New()
	f := &s3admin.First{
		Objects: objects, FS: disk.OS(), Mark: filepath.Join(dir, "owed"), KeyFile: filepath.Join(dir, "root-key"),
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    func() time.Time { return noon }, Sleep: func(context.Context, time.Duration) {},
	}
	if err := os.WriteFile(f.Mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return f, objects, log
}

// keysOf are the access keys that there are, by id, with their secrets.
func keysOf(t *testing.T, objects object.Service) map[string]string {
	t.Helper()
	v := must[*object.View](t)(objects.View(t.Context()))
	defer v.Close()
	out := map[string]string{}
	for _, k := range must[[]object.AccessKey](t)(v.AccessKeys()) {
		if !k.Admin || k.Disabled || k.Created != noon.UnixMilli() {
			t.Errorf("the key is %+v", k)
		}
		out[k.ID] = must[string](t)(objects.Unseal(k.ID, k.Sealed))
	}
	return out
}

// inFile is the key that a file holds.
func inFile(t *testing.T, path string) s3admin.Credentials {
	t.Helper()
	return must[s3admin.Credentials](t)(s3admin.ParseKeyFile(must[[]byte](t)(os.ReadFile(path))))
}

func TestFirstKeyIsInItsFileAndMadeOnce(t *testing.T) {
	f, objects, log := newFirst(t)
	f.Bucket = "photos"
	for range 2 { // the second time nothing is owed
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c := inFile(t, f.KeyFile)
	if got := keysOf(t, objects); len(got) != 1 || got[c.ID] != c.Secret {
		t.Errorf("%d keys, and that of the file has its secret: %v", len(got), got[c.ID] == c.Secret)
	}
	if text := string(must[[]byte](t)(os.ReadFile(f.KeyFile))); text != "AWS_ACCESS_KEY_ID="+c.ID+"\nAWS_SECRET_ACCESS_KEY="+c.Secret+"\n" {
		t.Errorf("the file has %d bytes in another form", len(text))
	}
	if _, err := os.Stat(f.Mark); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mark is left: %v", err)
	}
	if strings.Contains(log.String(), c.Secret) || !strings.Contains(log.String(), f.KeyFile) || !strings.Contains(log.String(), c.ID) {
		t.Errorf("the log: %s", log)
	}
	v := must[*object.View](t)(objects.View(t.Context()))
	defer v.Close()
	if b := must[*object.Bucket](t)(v.Bucket("photos")); b.Owner != c.ID {
		t.Errorf("the bucket is of %q", b.Owner)
	}
}

// TestFirstKeyIsOneThoughTheMemberDiesAtAnyStep ends the attempt at each change, before it is
// applied and after, and then lets a new process try.
func TestFirstKeyIsOneThoughTheMemberDiesAtAnyStep(t *testing.T) {
	died := errors.New("the process died")
	for _, applied := range []bool{false, true} {
		for step := range 2 {
			f, objects, _ := newFirst(t)
			f.Bucket = "photos"
			changes := 0
			objects.OnChange = func(c *object.Change) error {
				if changes++; changes != step+1 {
					return nil
				}
				objects.OnChange = nil
				if applied {
					_, err := objects.Change(t.Context(), c)
					return errors.Join(died, err)
				}
				return died
			}
			if err := f.Run(t.Context()); !errors.Is(err, died) {
				t.Fatalf("step %d: %v", step, err)
			}
			if err := f.Run(t.Context()); err != nil {
				t.Fatalf("step %d, again: %v", step, err)
			}
			c := inFile(t, f.KeyFile)
			if got := keysOf(t, objects); len(got) != 1 || got[c.ID] != c.Secret {
				t.Errorf("step %d, applied %v: %d keys, and that of the file has its secret: %v", step, applied, len(got), got[c.ID] == c.Secret)
			}
		}
	}
}

func TestFirstKeyWaitsForALeader(t *testing.T) {
	f, objects, _ := newFirst(t)
	passing := []error{chainfire.ErrNoLeader, chainfire.ErrTimeout, chainfire.ErrFeatureLevel, chainfire.ErrLeaderChanged}
	tries := 0
	objects.OnChange = func(*object.Change) error {
		if tries++; tries <= len(passing) {
			return passing[tries-1]
		}
		return nil
	}
	if err := f.Run(t.Context()); err != nil || len(keysOf(t, objects)) != 1 {
		t.Errorf("%v, %d keys", err, len(keysOf(t, objects)))
	}
	f, objects, _ = newFirst(t)
	ctx, cancel := context.WithCancel(t.Context())
	objects.OnChange = func(*object.Change) error {
		cancel()
		return chainfire.ErrNoLeader
	}
	if err := f.Run(ctx); err == nil {
		t.Error("it goes on after the end")
	}
	if owed, err := f.Owed(); !owed || err != nil {
		t.Errorf("what was not made is owed no more: %v", err)
	}
}

func TestFirstKeyThatIsGivenIsInNoFile(t *testing.T) {
	f, objects, log := newFirst(t)
	f.Key = &s3admin.Credentials{ID: "operator", Secret: "of-the-operator"}
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, objects); got["operator"] != "of-the-operator" {
		t.Errorf("keys: %v", got)
	}
	if _, err := os.Stat(f.KeyFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the secret is in a file: %v", err)
	}
	if strings.Contains(log.String(), "of-the-operator") {
		t.Errorf("the log: %s", log)
	}
}

func TestKeyThatIsThereWithAnotherSecretStays(t *testing.T) {
	f, objects, log := newFirst(t)
	if err := objects.AddKey(object.AccessKey{ID: "operator", Admin: true}, "the-first-secret"); err != nil {
		t.Fatal(err)
	}
	f.Key = &s3admin.Credentials{ID: "operator", Secret: "another-secret"}
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := must[*object.View](t)(objects.View(t.Context()))
	defer v.Close()
	k := must[*object.AccessKey](t)(v.AccessKey("operator"))
	if got := must[string](t)(objects.Unseal(k.ID, k.Sealed)); got != "the-first-secret" || !strings.Contains(log.String(), "another secret") {
		t.Errorf("the secret is %q; the log: %s", got, log)
	}
}

func TestDamagedFileOfTheFirstKeyIsNotWrittenOver(t *testing.T) {
	for _, text := range []string{"", "AWS_ACCESS_KEY_ID=CFX\n", "AWS_ACCESS_KEY_ID=CFX\nAWS_SECRET_ACCESS_KEY=short\n", strings.Repeat("x", 5000)} {
		f, objects, _ := newFirst(t)
		if err := os.WriteFile(f.KeyFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := f.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), f.KeyFile) {
			t.Errorf("%.20q: %v", text, err)
		}
		if got := must[[]byte](t)(os.ReadFile(f.KeyFile)); string(got) != text || len(keysOf(t, objects)) != 0 {
			t.Errorf("%.20q: the file is %.40q now, and there are %d keys", text, got, len(keysOf(t, objects)))
		}
	}
}

func TestCredentialsThatAreGivenAreHeldToTheRules(t *testing.T) {
	for word, c := range map[string]s3admin.Credentials{
		"3 to 128":       {ID: "ab", Secret: "long-enough"},
		"letters":        {ID: "a b c", Secret: "long-enough"},
		"7 bytes":        {ID: "abc", Secret: "1234567"},
		"129 bytes":      {ID: "abc", Secret: strings.Repeat("s", 129)},
		"byte 4 of the":  {ID: "abc", Secret: "with space"},
		"byte 8 of the ": {ID: "abc", Secret: "12345678\n"},
	} {
		err := c.Check()
		if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), c.Secret) {
			t.Errorf("%q: %v, want %q", c.ID, err, word)
		}
	}
	for _, c := range []s3admin.Credentials{{"abc", "12345678"}, {"AKIA.x@y-z", strings.Repeat("/+~!", 32)}} {
		if err := c.Check(); err != nil {
			t.Errorf("%q: %v", c.ID, err)
		}
	}
}
