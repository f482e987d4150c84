package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// s3Key is an access key with its secret.
type s3Key struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// s3KeyIn is the key that a file holds as an environment.
func s3KeyIn(t *testing.T, path string) s3Key {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var k s3Key
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch name {
		case "AWS_ACCESS_KEY_ID":
			k.ID = value
		case "AWS_SECRET_ACCESS_KEY":
			k.Secret = value
		}
	}
	return k
}

// startS3 starts a member that serves S3 at a port by chance, and returns the URL that it
// says.
func (m *member) startS3(join ...string) string {
	m.t.Helper()
	m.s3 = "127.0.0.1:0"
	m.start(join...)
	m.awaitStep("ready")
	url := ""
	m.proc.said(func(e event) bool {
		if e.Step == "ready" {
			url = e.S3URL
		}
		return e.Step == "ready"
	})
	if _, port, err := net.SplitHostPort(url[strings.LastIndex(url, "/")+1:]); err != nil || port == "0" {
		m.t.Fatalf("S3 is at %q", url)
	}
	return url
}

// s3Client is a client of AWS's with a key, which does not try again.
func s3Client(url string, k s3Key) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &url, Region: "us-east-1", UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret}, nil
		}),
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
	})
}

// mustS3 runs a command of s3 that must succeed, and returns what it prints.
func (m *member) mustS3(args ...string) string {
	m.t.Helper()
	a := m.lab.chainfire(m.t, m.t.TempDir(), m, append([]string{"s3"}, args...)...)
	if a.code != 0 {
		m.t.Fatalf("s3 %v: %+v", args, a)
	}
	return a.stdout
}

// newS3Key makes a key by the command.
func (m *member) newS3Key(args ...string) s3Key {
	m.t.Helper()
	var made struct {
		Key s3Key `json:"key"`
	}
	if err := json.Unmarshal([]byte(m.mustS3(append([]string{"key", "create", "-w", "json"}, args...)...)), &made); err != nil {
		m.t.Fatal(err)
	}
	return made.Key
}

// s3Keys are the ids of all access keys.
func (m *member) s3Keys() []string {
	m.t.Helper()
	var list struct {
		Keys []s3Key `json:"keys"`
	}
	if err := json.Unmarshal([]byte(m.mustS3("key", "list", "-w", "json")), &list); err != nil {
		m.t.Fatal(err)
	}
	var out []string
	for _, k := range list.Keys {
		out = append(out, k.ID)
	}
	return out
}

func s3Put(t *testing.T, c *s3.Client, bucket, key string, body []byte) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	return err
}

func s3Get(t *testing.T, c *s3.Client, bucket, key string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r.Body)
	return b, errors.Join(err, r.Body.Close())
}

// s3Holds holds that an object is what was stored.
func s3Holds(t *testing.T, c *s3.Client, bucket, key string, want []byte) {
	t.Helper()
	if got, err := s3Get(t, c, bucket, key); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s/%s has %d bytes that are those of before: %v; %v", bucket, key, len(got), bytes.Equal(got, want), err)
	}
}

// s3Code is the code by which S3 refused.
func s3Code(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return refused.ErrorCode()
	}
	return fmt.Sprint(err)
}

// bytesOf are bytes by chance.
func bytesOf(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // it never fails
	return b
}

func TestKeysOfS3MayDoWhatTheyAreMadeForUntilTheyAreDisabled(t *testing.T) {
	t.Parallel()
	m := here.newMember(t, "a")
	url := m.startS3()
	root := s3KeyIn(t, filepath.Join(m.dir, "s3-root-key"))
	small, large := bytesOf(500), bytesOf(60_000)
	m.mustS3("bucket", "create", "photos")
	m.mustS3("bucket", "create", "other")
	both := m.newS3Key("--bucket", "phot*")
	reader := m.newS3Key("--bucket", "*", "--read-only")
	bounded := m.newS3Key("--bucket", "photos", "--max-object", "200B")
	if err := s3Put(t, s3Client(url, root), "photos", "large", large); err != nil {
		t.Fatal(err)
	}
	if err := s3Put(t, s3Client(url, both), "photos", "small", small); err != nil {
		t.Fatal(err)
	}
	for _, k := range []s3Key{root, both, reader} {
		s3Holds(t, s3Client(url, k), "photos", "small", small)
		s3Holds(t, s3Client(url, k), "photos", "large", large)
	}
	for what, c := range map[string]struct {
		err  error
		want string
	}{
		"a reader that writes":         {s3Put(t, s3Client(url, reader), "photos", "x", small), "AccessDenied"},
		"a key in another bucket":      {s3Put(t, s3Client(url, both), "other", "x", small), "AccessDenied"},
		"an object beyond the bound":   {s3Put(t, s3Client(url, bounded), "photos", "x", small), "EntityTooLarge"},
		"a key with another's secret":  {s3Put(t, s3Client(url, s3Key{both.ID, root.Secret}), "photos", "x", small), "SignatureDoesNotMatch"},
		"a key that there is not":      {s3Put(t, s3Client(url, s3Key{"CFNOBODY", root.Secret}), "photos", "x", small), "InvalidAccessKeyId"},
		"a key within what it may do ": {s3Put(t, s3Client(url, bounded), "photos", "x", small[:100]), "<nil>"},
	} {
		if got := s3Code(c.err); got != c.want {
			t.Errorf("%s: %s, want %s (%v)", what, got, c.want, c.err)
		}
	}
	m.mustS3("key", "disable", both.ID)
	refuse := func(when, url string) {
		t.Helper()
		if got := s3Code(s3Put(t, s3Client(url, both), "photos", "x", small)); got != "InvalidAccessKeyId" {
			t.Errorf("%s: %s", when, got)
		}
	}
	refuse("a disabled key", url)

	m.stop()
	url = m.startS3()
	refuse("a disabled key after a restart", url)
	s3Holds(t, s3Client(url, root), "photos", "large", large)
	s3Holds(t, s3Client(url, reader), "photos", "small", small)
	m.mustS3("key", "enable", both.ID)
	s3Holds(t, s3Client(url, both), "photos", "small", small)
	m.mustS3("key", "delete", both.ID)
	refuse("a deleted key", url)
	if got := m.s3Keys(); len(got) != 3 {
		t.Errorf("keys %v", got)
	}
	m.mustTellNoSecret(root.Secret, both.Secret, reader.Secret, bounded.Secret)
}

// mustTellNoSecret looks for secrets in the log, and in every file of the member but that of
// its first key.
func (m *member) mustTellNoSecret(secrets ...string) {
	m.t.Helper()
	m.stop()
	look := func(path string, b []byte) {
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				m.t.Errorf("%s holds a secret in clear", path)
			}
		}
	}
	look("the log", []byte(m.proc.log()))
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			m.t.Errorf("%s has mode %v", path, info.Mode())
		}
		b, rerr := os.ReadFile(path)
		if d.Name() != "s3-root-key" {
			look(path, b)
		}
		return errors.Join(err, rerr)
	})
	if err != nil {
		m.t.Error(err)
	}
}

// TestFirstKeyOfS3IsOneThoughItsMemberIsKilled kills the member as soon as it owes a key, and
// again as soon as the key is in its file.
func TestFirstKeyOfS3IsOneThoughItsMemberIsKilled(t *testing.T) {
	t.Parallel()
	m := here.newMember(t, "a")
	m.s3 = "127.0.0.1:0"
	file := filepath.Join(m.dir, "s3-root-key")
	for _, sign := range []string{"s3-root-key-owed", "s3-root-key"} {
		m.launch()
		m.await(sign, patience, func(context.Context) error {
			_, err := os.Stat(filepath.Join(m.dir, sign))
			if _, made := os.Stat(file); err != nil && made == nil && sign != filepath.Base(file) {
				// The key was made while nobody looked: once more, from the beginning.
				m.kill()
				removeAll(t, m.dir)
				m.launch()
			}
			return err
		})
		m.kill()
	}
	k := s3KeyIn(t, file)
	url := m.startS3()
	if got := m.s3Keys(); len(got) != 1 || got[0] != k.ID {
		t.Errorf("keys %v, and %s in the file", got, k.ID)
	}
	if _, err := s3Client(url, k).ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil {
		t.Error(err)
	}
	m.mustS3("key", "delete", k.ID)
	m.stop()
	m.startS3()
	if got := m.s3Keys(); len(got) != 0 {
		t.Errorf("a key that was deleted is back: %v", got)
	}
	if log := m.proc.log(); !strings.Contains(log, "S3 has no access key") {
		t.Errorf("nothing is said of a cluster without keys:\n%s", log)
	}
}

func TestFirstKeyAndBucketOfS3ComeFromTheEnvironment(t *testing.T) {
	t.Parallel()
	k := s3Key{"operator", "a-secret-of-the-operator"}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(k.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := here.newMember(t, "a")
	m.within = []string{"env", "AWS_ACCESS_KEY_ID=" + k.ID, "AWS_SECRET_ACCESS_KEY_FILE=" + secret, "CHAINFIRE_BUCKET=begun"}
	url := m.startS3()
	if err := s3Put(t, s3Client(url, k), "begun", "a", []byte("1")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "s3-root-key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the secret is in a file: %v", err)
	}
	m.mustTellNoSecret(k.Secret)

	half := here.newMember(t, "b")
	half.s3, half.within = "127.0.0.1:0", []string{"env", "AWS_ACCESS_KEY_ID=x"}
	half.launch()
	half.mustFail(patience, "AWS_SECRET_ACCESS_KEY is not")
}

func TestMemberWithoutS3HasNoPortOfItAndSaysWhere(t *testing.T) {
	t.Parallel()
	a, b := here.newMember(t, "a"), here.newMember(t, "b")
	url := a.startS3()
	b.start(a.peer)
	if b.proc.said(func(e event) bool { return e.S3 != "" }) {
		t.Error("it says where it serves S3")
	}
	if r := here.chainfire(t, b.dir, b, "s3", "key", "list"); r.code != 1 || !strings.Contains(r.stderr, "--s3=off") {
		t.Errorf("asked for keys: %+v", r)
	}
	// The next endpoint has it.
	r := runToEnd(t, b.dir, here.binary, "s3", "key", "list", "-w", "json", "--endpoints", b.client+","+a.client)
	if id := s3KeyIn(t, filepath.Join(a.dir, "s3-root-key")).ID; r.code != 0 || !strings.Contains(r.stdout, id) {
		t.Errorf("asked for keys with two endpoints: %+v", r)
	}
	taken := here.newMember(t, "c")
	taken.s3 = strings.TrimPrefix(url, "http://")
	taken.launch()
	taken.mustFail(patience, "--listen-s3", "--s3=off")
}

func TestKeysOfS3AreForRootWhereThereAreUsers(t *testing.T) {
	t.Parallel()
	m := here.newMember(t, "a", "--bcrypt-cost", "4")
	m.startS3()
	withUsers(t, m.kv())
	for _, args := range [][]string{
		{"key", "list"},
		{"key", "create", "--admin"},
		{"key", "disable", "x"},
		{"key", "delete", "x"},
		{"bucket", "list"},
		{"bucket", "create", "abc"},
		{"bucket", "delete", "abc"},
		{"quota", "abc", "--objects", "1"},
	} {
		for user, want := range map[string]string{"": "user name is empty", "ann:ann": "permission denied"} {
			line := append([]string{"s3"}, args...)
			if user != "" {
				line = append(line, "--user", user)
			}
			if r := here.chainfire(t, m.dir, m, line...); r.code != 1 || !strings.Contains(r.stderr, want) {
				t.Errorf("%v as %q: %+v", args, user, r)
			}
		}
	}
	if r := here.chainfire(t, m.dir, m, "s3", "key", "list", "--user", "root:root"); r.code != 0 {
		t.Errorf("as root: %+v", r)
	}
}

func TestS3SpeaksTLSWithTheCertificateOfTheMember(t *testing.T) {
	t.Parallel()
	m := here.newMember(t, "a", "--auto-tls")
	m.tls = &tls.Config{InsecureSkipVerify: true}
	url := m.startS3()
	if !strings.HasPrefix(url, "https://") {
		t.Fatalf("S3 is at %s", url)
	}
	c := s3Client(url, s3KeyIn(t, filepath.Join(m.dir, "s3-root-key")))
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("abc")}); err != nil {
		t.Fatal(err)
	}
	if err := s3Put(t, c, "abc", "k", []byte("v")); err != nil {
		t.Error(err)
	}
	s3Holds(t, c, "abc", "k", []byte("v"))
	pages := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: m.tls}}
	const line = `chainfire_s3_requests_total{operation="PutObject",status="2xx"} 1`
	m.await("the line "+line+" in /metrics", soon, func(ctx context.Context) error { // counted once it was answered
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+m.client+"/metrics", nil)
		if err != nil {
			return err
		}
		r, err := pages.Do(q)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err == nil && !strings.Contains(string(b), line) {
			err = errors.New("it is not there")
		}
		return err
	})
}

func TestS3UnderEtcdsCommandLineIsServedWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	d, addr := newDropIn(t, "m1"), here.port(t)
	d.start("--initial-cluster", d.listed(), "--listen-s3", addr)
	file := filepath.Join(d.dir, "s3-root-key")
	await(t, "the first key", patience, func(context.Context) error {
		_, err := os.Stat(file + "-owed")
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("it is owed: %w", err)
		}
		return nil
	})
	c := s3Client("http://"+addr, s3KeyIn(t, file))
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("abc")}); err != nil {
		t.Error(err)
	}
	other := newDropIn(t, "m2")
	other.start("--initial-cluster", other.listed())
	if _, err := os.Stat(filepath.Join(other.dir, "s3-root-key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without --listen-s3 there is a key: %v", err)
	}
}
