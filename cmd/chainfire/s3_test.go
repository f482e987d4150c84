package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"chainfire/api"
	"chainfire/object"
	"chainfire/s3admin"
	"chainfire/s3api/s3test"
)

// s3Cluster serves the calls that manage S3, over buckets and keys in memory.
type s3Cluster struct {
	t       *testing.T
	objects *s3test.Service
	addr    string
}

func newS3Cluster(t *testing.T) *s3Cluster {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &s3Cluster{t: t, objects: s3test.New(), addr: l.Addr().String()}
	s := grpc.NewServer()
	api.RegisterS3Server(s, s3admin.New(s3admin.Options{Objects: c.objects}))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		// A test that calls nothing may end before it is served.
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
	})
	return c
}

// run runs a command of s3 that must succeed.
func (c *s3Cluster) run(args ...string) string {
	c.t.Helper()
	code, out, errOut := runCommand(c.t, nil, strings.NewReader(""), append(append([]string{"s3"}, args...), "--endpoints", c.addr)...)
	if code != 0 || errOut != "" {
		c.t.Fatalf("%v: code %d, %q", args, code, errOut)
	}
	return out
}

// fail runs a command of s3 that must fail, and say something.
func (c *s3Cluster) fail(want string, args ...string) {
	c.t.Helper()
	code, out, errOut := runCommand(c.t, nil, strings.NewReader(""), append(append([]string{"s3"}, args...), "--endpoints", c.addr)...)
	if code != 1 || out != "" || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, want) {
		c.t.Errorf("%v: code %d, out %q, err %q, want %q", args, code, out, errOut, want)
	}
}

// jsonOf runs a command of s3 with --json and reads what it prints.
func jsonOf[T any](c *s3Cluster, args ...string) T {
	c.t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(c.run(append(args, "--json")...)))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		c.t.Fatalf("%v: %v", args, err)
	}
	return v
}

type oneKey struct {
	Key jsonS3Key `json:"key"`
}

type allKeys struct {
	Keys []jsonS3Key `json:"keys"`
}

// secretOf is what the cluster keeps of a key, unsealed.
func (c *s3Cluster) secretOf(id string) string {
	c.t.Helper()
	v, err := c.objects.View(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	defer v.Close()
	k, err := v.AccessKey(id)
	if err != nil {
		c.t.Fatal(err)
	}
	secret, err := c.objects.Unseal(k.ID, k.Sealed)
	if err != nil {
		c.t.Fatal(err)
	}
	return secret
}

func TestKeyIsPrintedAsAnEnvironment(t *testing.T) {
	c := newS3Cluster(t)
	made, err := s3admin.ParseKeyFile([]byte(c.run("key", "create", "--bucket", "photos,logs-*", "--read-only", "--description", "a reader")))
	if err != nil {
		t.Fatal(err)
	}
	if c.secretOf(made.ID) != made.Secret {
		t.Error("what was printed is not the secret")
	}
	out := c.run("key", "list")
	for _, want := range []string{"ID", made.ID, "enabled", "photos:r,logs-*:r", "a reader"} {
		if !strings.Contains(out, want) {
			t.Errorf("the list does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, made.Secret) {
		t.Error("the list has the secret")
	}
}

func TestKeyAsJSONHasAllThatWasGiven(t *testing.T) {
	c := newS3Cluster(t)
	k := jsonOf[oneKey](c, "key", "create", "--bucket", "a", "--bucket", "b", "--write-only", "--requests", "5", "--bytes", "1MiB", "--max-object", "2MiB").Key
	if k.Secret == "" || c.secretOf(k.ID) != k.Secret || k.Created == nil {
		t.Errorf("key %s of %v", k.ID, k.Created)
	}
	if len(k.Grants) != 2 || k.Grants[1] != (jsonS3Grant{Bucket: "b", Write: true}) || k.Requests != 5 || k.Bytes != 1<<20 || k.MaxObject != 2<<20 {
		t.Errorf("grants %v, %d requests, %d bytes, objects of %d", k.Grants, k.Requests, k.Bytes, k.MaxObject)
	}
	list := jsonOf[allKeys](c, "key", "list").Keys
	if len(list) != 1 || list[0].Secret != "" || list[0].ID != k.ID {
		t.Errorf("the list: %+v", list)
	}
	if admin := jsonOf[oneKey](c, "key", "create", "--admin").Key; !admin.Admin || len(admin.Grants) != 0 {
		t.Errorf("an admin key: %+v", admin)
	}
}

func TestSecretFileIsItsOwnersAloneAndNothingSecretIsPrinted(t *testing.T) {
	c := newS3Cluster(t)
	path := filepath.Join(t.TempDir(), "key.env")
	out := c.run("key", "create", "--admin", "--secret-file", path)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	made, err := s3admin.ParseKeyFile(b)
	if err != nil || c.secretOf(made.ID) != made.Secret {
		t.Fatalf("the file: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if strings.Contains(out, made.Secret) || !strings.Contains(out, made.ID) || !strings.Contains(out, path) {
		t.Errorf("it prints %q", out)
	}
	c.fail("--secret-file: ", "key", "create", "--admin", "--secret-file", path)
	if n := len(jsonOf[allKeys](c, "key", "list").Keys); n != 1 {
		t.Errorf("%d keys, though there was no room for the second secret", n)
	}
	other := filepath.Join(t.TempDir(), "other.env")
	c.fail("pattern", "key", "create", "--bucket", "A/B", "--secret-file", other)
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("an empty file is left: %v", err)
	}
	k := jsonOf[oneKey](c, "key", "create", "--admin", "--secret-file", other).Key
	if k.Secret != "" || k.SecretFile != other {
		t.Errorf("as JSON: secret of %d bytes, file %q", len(k.Secret), k.SecretFile)
	}
}

func TestKeyIsDisabledEnabledChangedAndDeleted(t *testing.T) {
	c := newS3Cluster(t)
	id := jsonOf[oneKey](c, "key", "create", "--bucket", "a", "--requests", "3").Key.ID
	if out := c.run("key", "disable", id); !strings.Contains(out, id+" disabled") || !jsonOf[allKeys](c, "key", "list").Keys[0].Disabled {
		t.Errorf("disable: %s", out)
	}
	if out := c.run("key", "enable", id); !strings.Contains(out, id+" enabled") || jsonOf[allKeys](c, "key", "list").Keys[0].Disabled {
		t.Errorf("enable: %s", out)
	}
	k := jsonOf[oneKey](c, "key", "set", id, "--admin").Key
	if !k.Admin || len(k.Grants) != 0 || k.Requests != 3 {
		t.Errorf("set --admin: %+v", k)
	}
	k = jsonOf[oneKey](c, "key", "set", id, "--bucket", "b", "--write-only", "--description", "d", "--max-object", "1KiB").Key
	if k.Admin || len(k.Grants) != 1 || k.Grants[0] != (jsonS3Grant{Bucket: "b", Write: true}) || k.Description != "d" || k.Requests != 0 || k.MaxObject != 1024 {
		t.Errorf("set --bucket: %+v", k)
	}
	c.run("key", "delete", id)
	if n := len(jsonOf[allKeys](c, "key", "list").Keys); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	for _, verb := range []string{"disable", "enable", "delete"} {
		c.fail("no such access key", "key", verb, id)
	}
}

func TestBucketsAndQuotas(t *testing.T) {
	c := newS3Cluster(t)
	type one struct {
		Bucket jsonS3Bucket `json:"bucket"`
	}
	type all struct {
		Buckets []jsonS3Bucket `json:"buckets"`
	}
	if list := jsonOf[all](c, "bucket", "list").Buckets; list == nil || len(list) != 0 {
		t.Errorf("no buckets: %v", list)
	}
	c.run("bucket", "create", "photos", "--owner", "CFOWNER")
	if b := jsonOf[one](c, "bucket", "create", "photos-2", "--object-lock").Bucket; !b.ObjectLock || b.Versioning != "enabled" {
		t.Errorf("with object lock: %+v", b)
	}
	if out := c.run("bucket", "list", "--prefix", "photos"); !strings.Contains(out, "CFOWNER") || strings.Count(out, "\n") != 3 {
		t.Errorf("the list:\n%s", out)
	}
	if b := jsonOf[one](c, "quota", "photos", "--bytes", "1GiB", "--objects", "9").Bucket; b.QuotaBytes != 1<<30 || b.QuotaObjects != 9 {
		t.Errorf("bounds: %+v", b)
	}
	if b := jsonOf[one](c, "quota", "photos", "--objects", "0").Bucket; b.QuotaBytes != 1<<30 || b.QuotaObjects != 0 {
		t.Errorf("one bound taken away: %+v", b)
	}
	if out := c.run("quota", "photos"); !strings.Contains(out, "1GiB") {
		t.Errorf("the quota:\n%s", out)
	}
	c.fail("there is no bucket photo;", "quota", "photo") // it is a prefix of another
	c.run("bucket", "delete", "photos")
	c.fail("no such bucket", "bucket", "delete", "photos")
	c.fail("invalid bucket name", "bucket", "create", "A")
	if _, err := c.objects.Change(t.Context(), &object.Change{Put: &object.Put{
		Bucket: "photos-2", Key: "k", ETag: strings.Repeat("0", 32), Body: object.Body{Size: 1, Inline: []byte("x")},
	}}); err != nil {
		t.Fatal(err)
	}
	c.fail("not empty", "bucket", "delete", "photos-2")
}

func TestCallsOfS3ThatCannotBeMeant(t *testing.T) {
	c := newS3Cluster(t)
	for _, x := range []struct{ args, want string }{
		{"key create", "give --bucket NAME"},
		{"key create --bucket a --admin", "leave --bucket away"},
		{"key create --bucket a --read-only --write-only", "give one of them"},
		{"key create --admin --read-only", "name some"},
		{"key create --admin --requests -1", "--requests -1"},
		{"key create --admin --bytes x", "give bytes"},
		{"key set CFX", "nothing to change"},
		{"key disable", "usage: chainfire s3 key disable ID"},
		{"quota a --objects -1", "--objects -1"},
		{"bucket create", "usage: chainfire s3 bucket create NAME"},
	} {
		c.fail(x.want, strings.Fields(x.args)...)
	}
}

func TestAnExternalStoreOfBodiesNeedsAnAddressAndAKey(t *testing.T) {
	const address = "s3://bodies/home?endpoint=https://s3.example.org"
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	if o, err := blobStore("", env()); o != nil || err != nil {
		t.Errorf("without an address: %+v, %v", o, err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hidden\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := blobStore(address, env(blobIDVariable, "ID", blobSecretVariable+"_FILE", secret))
	if err != nil || o.Bucket != "bodies" || o.Prefix != "home/" || o.AccessKeyID != "ID" || o.SecretAccessKey != "hidden" {
		t.Errorf("%+v, %v", o, err)
	}
	for what, c := range map[string]struct {
		address string
		env     func(string) string
	}{
		blobSecretVariable: {address, env(blobIDVariable, "ID")},
		"set one of them":  {address, env(blobIDVariable, "ID", blobSecretVariable, "hidden", blobSecretVariable+"_FILE", secret)},
		"endpoint":         {"s3://bodies", env(blobIDVariable, "ID", blobSecretVariable, "hidden")},
	} {
		if _, err := blobStore(c.address, c.env); err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%v, want a refusal with %q and no secret", err, what)
		}
	}
}
