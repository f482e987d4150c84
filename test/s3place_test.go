package test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var s3Flag = flag.Bool("s3", false,
	"run what loads a cluster by S3: real clients, racing writers, faults, a big bucket. It takes the machine for itself, so run nothing beside it")

var s3ServerFlag = flag.String("s3-server", "chainfire",
	"server that clients of S3 are run against: chainfire, or minio, which shows what a test means elsewhere (bin/minio, or the one that CHAINFIRE_MINIO names)")

// The access key of the tests.
const (
	s3AccessKey = "CHAINFIRETESTACCESS0"
	s3Secret    = "a-secret/of+the=tests;of&forty%20bytes!!"
)

// s3Service is where clients find S3: every endpoint serves every request.
type s3Service struct {
	// endpoints are host:port.
	endpoints []string
	// lacks are words for what the server is known not to have: operations that need it are
	// left out.
	lacks []string
	// members are those of the cluster, unless another server stands in.
	cluster *cluster
}

// minioLacks is what MinIO answers otherwise than S3 does.
var minioLacks = []string{
	"all-keys", "checksum-type", "copy-if-none-match", "cors", "delete-if-match", "lifecycle-abort", "lock-codes",
	"not-implemented", "refuse-v2",
}

// newS3 starts what the tests of S3 run against: a cluster of three with default settings,
// or the server that -s3-server names.
func newS3(t *testing.T) *s3Service {
	t.Helper()
	if !*s3Flag {
		t.Skip("it takes the machine for itself: 'make test' runs it by itself, with -s3")
	}
	switch *s3ServerFlag {
	case "chainfire":
		c := here.newS3Cluster(t)
		s := &s3Service{cluster: c}
		for _, m := range c.members {
			s.endpoints = append(s.endpoints, m.s3)
		}
		s.awaitServing(t)
		return s
	case "minio":
		return newMinio(t)
	}
	t.Fatalf("-s3-server is %q: use chainfire or minio", *s3ServerFlag)
	return nil
}

// newS3Cluster grows a cluster of three whose first start takes the access key of the tests.
func (l *lab) newS3Cluster(t *testing.T, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for i := range 3 {
		c.members = append(c.members, l.newS3Member(t, string(rune('a'+i)), args...))
	}
	c.grow()
	return c
}

// newS3Member is newMember with S3 on a port of its own, and the access key of the tests.
func (l *lab) newS3Member(t *testing.T, name string, args ...string) *member {
	t.Helper()
	m := l.newMember(t, name, args...)
	m.s3 = l.port(t)
	m.env = []string{"AWS_ACCESS_KEY_ID=" + s3AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3Secret}
	return m
}

// newMinio starts one node of MinIO, to compare with. It is killed at the end of the test.
func newMinio(t *testing.T) *s3Service {
	t.Helper()
	path, err := filepath.Abs(cmp.Or(os.Getenv("CHAINFIRE_MINIO"), filepath.Join("..", "bin", "minio")))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("-s3-server minio: %v; build it with 'make bin/minio', or name one with CHAINFIRE_MINIO", err)
	}
	dir := t.TempDir()
	s := &s3Service{endpoints: []string{here.port(t)}, lacks: minioLacks}
	log := filepath.Join(dir, "log")
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the process has a handle of its own
	cmd := exec.Command(path, "server", "--address", s.endpoints[0], "--console-address", here.port(t), filepath.Join(dir, "data"))
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+s3AccessKey, "MINIO_ROOT_PASSWORD="+s3Secret, "MINIO_BROWSER=off")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = out, out, dieWithParent()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("the log of MinIO ends:\n%s", tail(log, 20))
		}
	})
	s.awaitServing(t)
	return s
}

// awaitServing waits until every endpoint answers a signed request.
func (s *s3Service) awaitServing(t *testing.T) {
	t.Helper()
	client := newLeanS3()
	for _, e := range s.endpoints {
		await(t, "S3 at "+e, patience, func(ctx context.Context) error {
			_, err := client.must(ctx, e, http.MethodGet, "/")
			return err
		})
	}
}

// env is the environment of a client: the access key as all of them read it, and nothing
// that a person has set up for himself.
func (s *s3Service) env(home string) []string {
	env := []string{
		"HOME=" + home, "LANG=C.UTF-8", "AWS_ACCESS_KEY_ID=" + s3AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3Secret,
		"AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=",
		"S3_ENDPOINTS=" + strings.Join(s.endpoints, ","), "S3_LACKS=" + strings.Join(s.lacks, ","),
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name == "PATH" || strings.HasPrefix(name, "PYENV") {
			env = append(env, v)
		}
	}
	return env
}

// endpoint is the one whose turn it is.
func (s *s3Service) endpoint(turn int) string { return s.endpoints[turn%len(s.endpoints)] }

// notInstalled leaves a test out where a client is missing, or fails it where all clients
// must be there.
func notInstalled(t *testing.T, what string, why error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed (%v): make clients installs it", what, why)
	}
	t.Skipf("%s is not installed (%v): install it with make clients", what, why)
}

// operations are what a client did, one after the other, each with a name.
type operations struct {
	t      *testing.T
	passed []string
}

// newOperations reports at the end of the test what has passed.
func newOperations(t *testing.T) *operations {
	t.Helper()
	o := &operations{t: t}
	t.Cleanup(func() { t.Logf("%d operations passed: %s", len(o.passed), strings.Join(o.passed, "; ")) })
	return o
}

// do runs one operation. One that fails does not keep the next from running.
func (o *operations) do(name string, f func() error) {
	o.t.Helper()
	from := time.Now()
	if err := f(); err != nil {
		o.t.Errorf("%s: %v", name, err)
		return
	}
	o.t.Logf("%s: %v", name, time.Since(from).Round(time.Millisecond))
	o.passed = append(o.passed, name)
}

// script runs a script of operations in an empty folder, and reports what it says of each:
// testdata/s3/s3lib.py has the form.
func (o *operations) script(s *s3Service, within time.Duration, program string, args ...string) {
	t := o.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	dir := t.TempDir()
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, append(s.env(dir), "PYTHONDONTWRITEBYTECODE=1"), dieWithParent()
	out, err := cmd.CombinedOutput()
	var other []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "passed":
			o.passed = append(o.passed, rest)
		case "skipped":
			t.Log(line)
		default:
			other = append(other, line)
		}
	}
	if err != nil || len(o.passed) == 0 {
		t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), errors.Join(err, ctx.Err()), strings.Join(other, "\n"))
	}
}
