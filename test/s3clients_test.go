package test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var s3FilesFlag = flag.Int("s3-files", 200, "files that rclone takes to S3 and back")

// clientTime bounds all that one client does.
const clientTime = 5 * time.Minute

// TestS3Clients runs the clients that people have against one cluster with default
// settings, their requests spread over all members. Each logs what it did.
func TestS3Clients(t *testing.T) {
	t.Parallel()
	s := newS3(t)
	for name, run := range map[string]func(*testing.T, *s3Service){
		"awscli": s3Awscli, "boto3": s3Boto3, "s3cmd": s3S3cmd, "rclone": s3Rclone, "restic": s3Restic,
		"minio-go": s3MinioGo, "aws-sdk-go-v2": s3AwsSDK,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, s)
		})
	}
}

// pythons are those that have a module, Debian's too, which has other versions; with -short
// only the first.
func pythons(t *testing.T, module string) []string {
	t.Helper()
	var found []string
	seen := map[string]bool{}
	var why error
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		where, err := exec.Command(p, "-c", "import "+module+" as m; print(m.__file__)").Output()
		if err != nil {
			why = fmt.Errorf("%s has no module %s: %w", p, module, err)
			continue
		}
		if !seen[string(where)] {
			found = append(found, p)
		}
		seen[string(where)] = true
	}
	if testing.Short() {
		found = found[:min(1, len(found))]
	}
	if len(found) == 0 {
		notInstalled(t, module, why)
	}
	return found
}

// s3Script runs a script of testdata/s3 by each of the Pythons that have its client.
func s3Script(t *testing.T, s *s3Service, module, file string) {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("testdata", "s3", file))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range pythons(t, module) {
		t.Run(strings.ReplaceAll(strings.Trim(p, "/"), "/", "-"), func(t *testing.T) {
			t.Parallel()
			newOperations(t).script(s, clientTime, p, script, fmt.Sprintf("%s-%d", module, i))
		})
	}
}

func s3Awscli(t *testing.T, s *s3Service) { s3Script(t, s, "awscli", "client_awscli.py") }
func s3Boto3(t *testing.T, s *s3Service)  { s3Script(t, s, "boto3", "client_boto3.py") }

// s3Tool is a program of Debian that speaks S3. Each of its runs is against the endpoint
// whose turn it is.
type s3Tool struct {
	t    *testing.T
	s    *s3Service
	path string
	// args are the first of every run, given an endpoint.
	args func(endpoint string) []string
	env  func(endpoint string) []string
	// dir is the home and the working directory.
	dir string
	n   int
}

func newS3Tool(t *testing.T, s *s3Service, name string) *s3Tool {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		notInstalled(t, name, err)
	}
	none := func(string) []string { return nil }
	return &s3Tool{t: t, s: s, path: path, args: none, env: none, dir: t.TempDir()}
}

// run returns what the program wrote to its standard output.
func (c *s3Tool) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), clientTime)
	defer cancel()
	at := c.s.endpoint(c.n)
	c.n++
	cmd := exec.CommandContext(ctx, c.path, append(c.args(at), args...)...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = c.dir, append(c.s.env(c.dir), c.env(at)...), dieWithParent()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", cmd, err, out.String(), errOut.String())
	}
	return out.String(), nil
}

// all runs one command after the other, each split at its blanks.
func (c *s3Tool) all(lines ...string) error {
	for _, l := range lines {
		if _, err := c.run(strings.Fields(l)...); err != nil {
			return err
		}
	}
	return nil
}

// says runs a command, which must write all the words.
func (c *s3Tool) says(line string, words ...string) error {
	out, err := c.run(strings.Fields(line)...)
	if err != nil {
		return err
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			return fmt.Errorf("%s does not say %q: %s", line, w, out)
		}
	}
	return nil
}

// refused runs a command that must fail, and say the word.
func (c *s3Tool) refused(line, word string) error {
	_, err := c.run(strings.Fields(line)...)
	if err == nil || !strings.Contains(err.Error(), word) {
		return fmt.Errorf("%s: want a failure that says %q, not: %w", line, word, err)
	}
	return nil
}

func (c *s3Tool) file(name string) string { return filepath.Join(c.dir, name) }

// write writes a file of bytes that do not compress, the same for the same name.
func (c *s3Tool) write(name string, size int) error {
	var seed [32]byte
	copy(seed[:], name)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	if err := os.MkdirAll(filepath.Dir(c.file(name)), 0o700); err != nil {
		return err
	}
	return os.WriteFile(c.file(name), b, 0o600)
}

// tree writes so many files, in folders, a few of them large.
func (c *s3Tool) tree(name string, files int) error {
	for i := range files {
		size := i * 37
		switch i {
		case 3:
			size = 70_000
		case 4:
			size = 6 << 20
		}
		if err := c.write(fmt.Sprintf("%s/%d/%02d/file %d+ü.bin", name, i%7, i%11, i), size); err != nil {
			return err
		}
	}
	return nil
}

// same says how two files or two trees of them differ.
func (c *s3Tool) same(a, b string) error {
	have, err := c.contents(a)
	if err != nil {
		return err
	}
	other, err := c.contents(b)
	if err != nil {
		return err
	}
	if len(have) == 0 || len(have) != len(other) {
		return fmt.Errorf("%s has %d files, %s has %d", a, len(have), b, len(other))
	}
	for name, content := range have {
		if got, ok := other[name]; !ok || !bytes.Equal(content, got) {
			return fmt.Errorf("%s is not the same in %s as in %s", name, b, a)
		}
	}
	return nil
}

func (c *s3Tool) contents(name string) (map[string][]byte, error) {
	out := map[string][]byte{}
	root := c.file(name)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, root)] = b
		return err
	})
	return out, err
}

// remove removes a file or a folder, which must exist.
func (c *s3Tool) remove(name string) error {
	if _, err := os.Stat(c.file(name)); err != nil {
		return err
	}
	return os.RemoveAll(c.file(name))
}

// s3S3cmd runs s3cmd.
func s3S3cmd(t *testing.T, s *s3Service) {
	c := newS3Tool(t, s, "s3cmd")
	c.args = func(endpoint string) []string {
		return []string{
			"--no-ssl", "--host", endpoint, "--host-bucket", endpoint, "--access_key", s3AccessKey, "--secret_key", s3Secret,
			"--no-progress", "--multipart-chunk-size-mb", "5",
		}
	}
	o := newOperations(t)
	o.do("mb, ls", func() error { return errors.Join(c.all("mb s3://s3cmd"), c.says("ls", "s3://s3cmd")) })
	o.do("put and get, small", func() error {
		return errors.Join(c.write("small", 3000), c.all("put small s3://s3cmd/dir/small", "get s3://s3cmd/dir/small small.back"), c.same("small", "small.back"))
	})
	o.do("put and get, 12 MiB in parts", func() error {
		return errors.Join(c.write("big", 12<<20), c.all("put big s3://s3cmd/big", "get s3://s3cmd/big big.back"), c.same("big", "big.back"))
	})
	o.do("info, with metadata", func() error {
		return errors.Join(c.all("put --add-header=x-amz-meta-colour:blue --mime-type=text/x-test small s3://s3cmd/meta"),
			c.says("info s3://s3cmd/meta", "text/x-test", "x-amz-meta-colour: blue", "3000"))
	})
	o.do("cp, modify, mv", func() error {
		return errors.Join(c.all("cp s3://s3cmd/big s3://s3cmd/big2", "modify --add-header=x-amz-meta-a:1 s3://s3cmd/meta", "mv s3://s3cmd/big2 s3://s3cmd/big3",
			"get s3://s3cmd/big3 big3.back"), c.same("big", "big3.back"), c.says("info s3://s3cmd/meta", "x-amz-meta-a: 1"))
	})
	o.do("sync up and down, with --delete-removed", func() error {
		return errors.Join(c.tree("tree", 20), c.all("sync tree/ s3://s3cmd/tree/", "sync s3://s3cmd/tree/ tree.back/"), c.same("tree", "tree.back"),
			c.remove("tree/0"), c.all("sync --delete-removed tree/ s3://s3cmd/tree/", "sync --delete-removed s3://s3cmd/tree/ tree.back/"), c.same("tree", "tree.back"))
	})
	o.do("ls --recursive, du", func() error {
		return errors.Join(c.says("ls --recursive s3://s3cmd/tree/", "file 1+ü.bin"), c.says("du s3://s3cmd/big3", fmt.Sprint(12<<20)))
	})
	o.do("setpolicy, delpolicy, setacl", func() error {
		err := os.WriteFile(c.file("policy"), []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::s3cmd/x"]}]}`), 0o600)
		return errors.Join(err, c.all("setpolicy policy s3://s3cmd", "delpolicy s3://s3cmd", "setacl --acl-private s3://s3cmd/meta"))
	})
	o.do("expire, dellifecycle", func() error {
		return c.all("expire s3://s3cmd --expiry-days=3 --expiry-prefix=tmp/", "dellifecycle s3://s3cmd")
	})
	o.do("multipart, abortmp", func() error { return c.says("multipart s3://s3cmd", "Initiated") })
	o.do("del --recursive, rb", func() error {
		return errors.Join(c.refused("rb s3://s3cmd", "BucketNotEmpty"), c.all("del --recursive --force s3://s3cmd", "rb s3://s3cmd"), c.refused("ls s3://s3cmd", "NoSuchBucket"))
	})
}

// s3Rclone runs rclone.
func s3Rclone(t *testing.T, s *s3Service) {
	c := newS3Tool(t, s, "rclone")
	c.env = func(endpoint string) []string {
		return []string{
			"RCLONE_CONFIG=" + c.file("none"), "RCLONE_CONFIG_X_TYPE=s3", "RCLONE_CONFIG_X_PROVIDER=Other", "RCLONE_CONFIG_X_ENV_AUTH=true",
			"RCLONE_CONFIG_X_ENDPOINT=http://" + endpoint, "RCLONE_CONFIG_X_REGION=us-east-1", "RCLONE_RETRIES=1", "RCLONE_LOW_LEVEL_RETRIES=1",
		}
	}
	files := *s3FilesFlag
	o := newOperations(t)
	o.do("mkdir, lsd", func() error { return errors.Join(c.all("mkdir x:rclone"), c.says("lsd x:", "rclone")) })
	o.do(fmt.Sprintf("sync of %d files up, check --download, sync down", files), func() error {
		return errors.Join(c.tree("tree", files), c.all("sync --transfers 8 --checkers 8 tree x:rclone/tree", "check --download tree x:rclone/tree",
			"sync --transfers 8 --checkers 8 x:rclone/tree back"), c.same("tree", "back"))
	})
	o.do("a second sync copies nothing", func() error {
		out, err := c.run("sync", "--use-json-log", "--stats-log-level", "NOTICE", "--dry-run", "tree", "x:rclone/tree")
		if err == nil && strings.Contains(out, "copy") {
			err = errors.New(out)
		}
		return err
	})
	o.do("sync after a change, both ways", func() error {
		return errors.Join(c.remove("tree/0"), c.write("tree/1/new", 100), c.all("sync tree x:rclone/tree", "sync x:rclone/tree back"), c.same("tree", "back"))
	})
	o.do("copy in parts, with its checksum", func() error {
		return errors.Join(c.write("large/big", 12<<20), c.all("copy --s3-upload-cutoff 5M --s3-chunk-size 5M large x:rclone/large", "check large x:rclone/large"))
	})
	o.do("rcat, cat, size, hashsum", func() error {
		return errors.Join(c.says("size x:rclone/large", "12 MiB"), c.says("lsjson -R x:rclone/large", `"big"`), c.all("hashsum MD5 x:rclone/tree"))
	})
	o.do("copy and move on the server", func() error {
		return errors.Join(c.all("copy x:rclone/large x:rclone/copied", "moveto x:rclone/copied x:rclone/moved", "copy x:rclone/moved moved"), c.same("large", "moved"))
	})
	o.do("modification times are kept", func() error {
		then := time.Date(2020, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
		err := os.Chtimes(c.file("large/big"), then, then)
		return errors.Join(err, c.all("copy large x:rclone/large"), c.says("lsjson x:rclone/large", "2020-01-02T03:04:05.6"))
	})
	o.do("backend commands of versions", func() error {
		return c.all("backend versioning x:rclone Enabled", "backend versioning x:rclone Suspended", "backend list-multipart-uploads x:rclone", "cleanup x:rclone")
	})
	o.do("deletefile, delete, purge, rmdir", func() error {
		return errors.Join(c.all("deletefile x:rclone/large/big", "delete x:rclone/tree", "purge x:rclone/moved"), c.says("lsf -R x:rclone"))
	})
}

// s3Restic runs restic.
func s3Restic(t *testing.T, s *s3Service) {
	c := newS3Tool(t, s, "restic")
	c.env = func(endpoint string) []string {
		return []string{"RESTIC_REPOSITORY=s3:http://" + endpoint + "/restic/repo", "RESTIC_PASSWORD=of the tests"}
	}
	o := newOperations(t)
	o.do("init", func() error { return c.all("init") })
	o.do("backup", func() error {
		return errors.Join(c.tree("tree", 100), c.write("tree/big", 30<<20), c.all("backup --quiet tree"))
	})
	o.do("backup again, after a change", func() error { return errors.Join(c.write("tree/new", 5<<20), c.all("backup --quiet tree")) })
	o.do("snapshots, ls, find, stats", func() error {
		return errors.Join(c.says("snapshots", "2 snapshots"), c.says("ls latest", "/tree/new"), c.says("find new", "/tree/new"), c.says("stats", "Total"))
	})
	o.do("check --read-data", func() error { return c.says("check --read-data", "no errors were found") })
	o.do("restore", func() error { return errors.Join(c.all("restore latest --target back"), c.same("tree", "back/tree")) })
	o.do("dump", func() error {
		out, err := c.run("dump", "latest", "/tree/big")
		if err == nil && len(out) != 30<<20 {
			err = fmt.Errorf("%d bytes", len(out))
		}
		return err
	})
	o.do("forget --prune", func() error { return c.all("forget --keep-last 1 --prune") })
	o.do("check after prune", func() error { return c.says("check", "no errors were found") })
	o.do("key and lock commands", func() error { return c.all("list locks", "unlock", "key list") })
}
