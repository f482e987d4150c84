package test

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestCommandsOfThePagesForOperatorsDoWhatTheySay runs the pages of docs/operate, and
// docs/migrate-from-etcd.md, as they are written: every line of every block of commands (```sh), in order. Host nN
// of a page has the address 10.0.0.N; a service runs on the host that its peer
// address is of, and everything else on n1. The hosts share their file system.
// Besides `systemctl --host nN stop|kill … chainfire|etcd`, a comment `<!-- kill nN -->`
// says where a machine of a story dies.
func TestCommandsOfThePagesForOperatorsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../docs/operate/*.md")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, path := range append(paths, "../docs/migrate-from-etcd.md") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := commandsOf(string(b))
		if len(lines) == 0 {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".md"), func(t *testing.T) {
			t.Parallel()
			p := newPage(t)
			for _, line := range lines {
				p.run(line)
			}
		})
	}
}

var (
	commands = regexp.MustCompile("(?ms)^```sh\n(.*?)^```|^<!-- (kill n[0-9]+) -->")
	address  = regexp.MustCompile(`10\.0\.0\.([0-9]+)(:23(?:79|80)|:9000)?`)
	listener = regexp.MustCompile(`--listen-peer(?:-urls)? (?:http://)?10\.0\.0\.([0-9]+)`)
)

// inPlace is where the data of etcd's folder is where this program takes etcd's place.
const inPlace = "/var/lib/etcd/"

// commandsOf lists the commands of a page.
func commandsOf(text string) []string {
	var out []string
	for _, m := range commands.FindAllStringSubmatch(text, -1) {
		for line := range strings.SplitSeq(m[1]+m[2], "\n") {
			if line = strings.TrimSpace(line); line != "" {
				out = append(out, line)
			}
		}
	}
	return out
}

// page is one page that is run.
type page struct {
	t *testing.T
	// files stands for /var/lib/chainfire, work is where commands run, and bin holds
	// the program.
	files, work, bin string
	// inPlace has this program under etcd's name.
	inPlace string
	hosts   map[string]*member
}

func newPage(t *testing.T) *page {
	t.Helper()
	p := &page{t: t, files: t.TempDir(), work: t.TempDir(), bin: t.TempDir(), inPlace: t.TempDir(), hosts: map[string]*member{}}
	for at, path := range map[string]string{
		filepath.Join(p.inPlace, "etcd"):  here.binary,
		filepath.Join(p.bin, "chainfire"): here.binary, filepath.Join(p.bin, "etcd"): etcdTool(t, "etcd"), filepath.Join(p.bin, "etcdctl"): etcdTool(t, "etcdctl"), filepath.Join(p.bin, "etcdutl"): etcdTool(t, "etcdutl"),
	} {
		path, err := filepath.Abs(path)
		if err == nil {
			err = os.Symlink(path, at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *page) host(name string) *member {
	p.t.Helper()
	if p.hosts[name] == nil {
		p.hosts[name] = here.newMember(p.t, name)
	}
	return p.hosts[name]
}

// mapped puts what a line names in the place of what it means on this machine.
func (p *page) mapped(line string) string {
	line = regexp.MustCompile(`IP:10\.0\.0\.[0-9]+`).ReplaceAllString(line, "IP:127.0.0.1")
	line = address.ReplaceAllStringFunc(line, func(s string) string {
		m := address.FindStringSubmatch(s)
		at := p.host("n" + m[1])
		switch m[2] {
		case ":2379":
			return at.client
		case ":9000":
			if at.s3 == "" {
				at.s3 = here.port(p.t)
			}
			return at.s3
		}
		return at.peer
	})
	return strings.ReplaceAll(line, "/var/lib/chainfire", p.files)
}

func (p *page) run(line string) {
	p.t.Helper()
	switch fields := strings.Fields(line); {
	case strings.HasPrefix(line, "chainfire serve "):
		p.serve(line)
	case fields[0] == "etcd" && strings.Contains(line, inPlace):
		p.etcd(line)
	case fields[0] == "etcd":
		p.serveEtcd(line)
	case fields[0] == "kill":
		p.host(fields[1]).kill()
	case fields[0] == "systemctl":
		p.systemctl(line, fields)
	default:
		ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/bin/sh", "-e", "-c", p.mapped(line))
		cmd.Dir = p.work
		cmd.Env = append(os.Environ(), "PATH="+p.bin+":"+os.Getenv("PATH"), "CHAINFIRE_ENDPOINTS="+p.host("n1").client)
		if out, err := cmd.CombinedOutput(); err != nil {
			p.t.Fatalf("%s\n%v\n%s", line, err, out)
		}
	}
}

// serve starts a member, in the place of what runs on its host, and waits until it
// serves.
func (p *page) serve(line string) {
	p.t.Helper()
	name := "alone"
	if m := listener.FindStringSubmatch(line); m != nil {
		name = "n" + m[1]
	}
	h := p.host(name)
	if h.proc != nil && h.proc.alive() {
		h.stop()
	}
	line = p.mapped(line)
	if name == "alone" {
		line = strings.ReplaceAll(line, "127.0.0.1:2380", h.peer)
	}
	if !strings.Contains(line, "--listen-client ") {
		line += " --listen-client " + h.client
	}
	if !strings.Contains(line, "--listen-s3 ") && !strings.Contains(line, "--s3=off") {
		line += " --s3=off"
	}
	p.launch(h, line+" --progress json")
}

// serveEtcd starts an etcd as a service of the host that its peer address is of.
func (p *page) serveEtcd(line string) {
	p.t.Helper()
	m := listener.FindStringSubmatch(line)
	if m == nil {
		p.t.Fatalf("on which host is this to run: %s", line)
	}
	p.launch(p.host("n"+m[1]), p.mapped(line))
}

// launch starts a service on a host and waits until it serves. The shell is replaced by
// it, which a signal then reaches.
func (p *page) launch(h *member, line string) {
	p.t.Helper()
	script := fmt.Sprintf("cd %s && PATH=%s:$PATH && exec %s", p.work, p.bin, line)
	proc, err := startProcess("/bin/sh", []string{"-c", script}, h.stderr)
	if err != nil {
		p.t.Fatal(err)
	}
	h.proc = proc
	p.speakAs(h, line)
	h.awaitReady()
}

// speakAs lets the test speak to a member as the clients of the page do.
func (p *page) speakAs(h *member, line string) {
	p.t.Helper()
	h.tls = nil
	if strings.Contains(line, "--cert-file ") {
		h.tls = &tls.Config{InsecureSkipVerify: true}
	}
	if strings.Contains(line, "--client-cert-auth") {
		alice, err := tls.LoadX509KeyPair(filepath.Join(p.work, "alice.crt"), filepath.Join(p.work, "alice.key"))
		if err != nil {
			p.t.Fatal(err)
		}
		h.tls.Certificates = []tls.Certificate{alice}
	}
	if h.api != nil {
		_ = h.api.Close() // nothing is in flight on it
		h.api = nil
	}
}

// etcd starts a member under etcd's command line on the host that its peer address is of.
func (p *page) etcd(line string) {
	p.t.Helper()
	m := listener.FindStringSubmatch(line)
	if m == nil {
		p.t.Fatalf("on which host is this: %s", line)
	}
	h := p.host("n" + m[1])
	// Not a flag that etcd would not know: the files are elsewhere, and nothing else.
	script := fmt.Sprintf("cd %s && exec %s/%s", p.work, p.inPlace, strings.ReplaceAll(p.mapped(line), inPlace, p.files+"/"))
	proc, err := startProcess("/bin/sh", []string{"-c", script}, h.stderr)
	if err != nil {
		p.t.Fatal(err)
	}
	h.proc = proc
}

// systemctl does what the service manager of a host is told.
func (p *page) systemctl(line string, fields []string) {
	p.t.Helper()
	service := fields[len(fields)-1]
	if len(fields) < 5 || fields[1] != "--host" || service != "chainfire" && service != "etcd" {
		p.t.Fatalf("what is this to do: %s", line)
	}
	switch h := p.host(fields[2]); fields[3] {
	case "stop":
		if service == "etcd" {
			(&etcdServer{proc: h.proc}).stop(p.t) // its exit code is that of the signal
			return
		}
		h.stop()
	case "kill":
		h.kill()
	default:
		p.t.Fatalf("what is this to do: %s", line)
	}
}
