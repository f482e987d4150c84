package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The pages of docs/operate are run as they are written: every line of every block
// of commands, in order, each on the host that its fence names (```sh n2). Host nN
// has the address 10.0.0.N, its data in /var/lib/chainfire, and chainfire as a
// service, so that `systemctl stop|start|kill chainfire` does there what it does.
// The hosts share a folder for what a person carries from one to the other.

func TestCommandsOfThePagesForOperatorsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../docs/operate/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, path := range pages {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		blocks := commandsOf(string(b))
		if len(blocks) == 0 {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".md"), func(t *testing.T) {
			t.Parallel()
			p := &page{t: t, shared: t.TempDir(), hosts: map[string]*pageHost{}}
			p.link(here.binary)
			for _, b := range blocks {
				for _, line := range b.lines {
					p.run(b.host, line)
				}
			}
		})
	}
}

// block is the commands between two fences.
type block struct {
	host  string
	lines []string
}

var fence = regexp.MustCompile("(?ms)^```sh (n[0-9]+)\n(.*?)^```")

// commandsOf finds the blocks of commands that name a host.
func commandsOf(text string) []block {
	var out []block
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		b := block{host: m[1]}
		for line := range strings.SplitSeq(strings.ReplaceAll(m[2], "\\\n", " "), "\n") {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				b.lines = append(b.lines, line)
			}
		}
		out = append(out, b)
	}
	return out
}

// page is one page that is run.
type page struct {
	t *testing.T
	// shared is the folder that commands run in, bin holds chainfire.
	shared, bin string
	hosts       map[string]*pageHost
}

// pageHost is a host of a page.
type pageHost struct {
	*member
	// serve is the line that its service runs.
	serve string
}

func (p *page) link(binary string) {
	p.t.Helper()
	p.bin = p.t.TempDir()
	abs, err := filepath.Abs(binary)
	if err == nil {
		err = os.Symlink(abs, filepath.Join(p.bin, "chainfire"))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) host(name string) *pageHost {
	p.t.Helper()
	h := p.hosts[name]
	if h == nil {
		h = &pageHost{member: here.newMember(p.t, name)}
		p.hosts[name] = h
	}
	return h
}

var address = regexp.MustCompile(`10\.0\.0\.([0-9]+)(:23(?:79|80))?`)

// here puts what a line names in the place of what it means on this machine.
func (p *page) here(h *pageHost, line string) string {
	line = address.ReplaceAllStringFunc(line, func(s string) string {
		m := address.FindStringSubmatch(s)
		at := p.host("n" + m[1])
		if m[2] == ":2379" {
			return at.client
		}
		return at.peer
	})
	return strings.ReplaceAll(line, "/var/lib/chainfire", h.dir)
}

func (p *page) run(host, line string) {
	p.t.Helper()
	h := p.host(host)
	switch fields := strings.Fields(line); {
	case strings.HasPrefix(line, "chainfire serve"):
		h.serve = line
		p.serve(h)
	case fields[0] == "systemctl":
		p.systemctl(h, fields[1:])
	default:
		refused := strings.HasSuffix(line, "# refused")
		out, err := p.shell(h, p.here(h, line))
		if err == nil == refused {
			p.t.Fatalf("on %s: %s\n%v\n%s", host, line, err, out)
		}
	}
}

// shell runs a line as a person on the host does.
func (p *page) shell(h *pageHost, line string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e", "-c", line)
	cmd.Dir = p.shared
	cmd.Env = []string{"PATH=" + p.bin + ":/usr/bin:/bin", "HOME=" + p.shared, "CHAINFIRE_ENDPOINTS=" + h.client}
	return cmd.CombinedOutput()
}

// serve starts the service of a host and waits until it serves.
func (p *page) serve(h *pageHost) {
	p.t.Helper()
	line := p.here(h, h.serve)
	for flag, value := range map[string]string{"--listen-client": h.client, "--listen-peer": h.peer, "--data-dir": h.dir, "--progress": "json", "--name": h.name} {
		if !strings.Contains(line, flag+" ") {
			line += " " + flag + " " + value
		}
	}
	// The shell is replaced by the member, which a signal then reaches.
	proc, err := startProcess("/bin/sh", []string{"-c", fmt.Sprintf("cd %s && PATH=%s:$PATH && exec %s", p.shared, p.bin, line)}, h.stderr)
	if err != nil {
		p.t.Fatal(err)
	}
	h.proc = proc
	h.awaitReady()
}

// systemctl does what the service manager of a host is told.
func (p *page) systemctl(h *pageHost, args []string) {
	p.t.Helper()
	if len(args) != 2 || args[1] != "chainfire" || h.serve == "" {
		p.t.Fatalf("on %s: systemctl %v: there is no such service", h.name, args)
	}
	switch args[0] {
	case "stop":
		h.stop()
	case "kill":
		h.kill()
	case "start":
		p.serve(h)
	default:
		p.t.Fatalf("on %s: systemctl %v", h.name, args)
	}
}
