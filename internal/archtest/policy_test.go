package archtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// policyText says which of the module's own packages each package may import;
// imports point down. A package that is not here may not exist. "all" is every
// package but commands and tests.
// Files of tests may import anything: they meet only the rules that name them.
const policyText = `
root:
internal/invariant:
internal/sniff:
internal/courtesy:
internal/socket:
internal/handshaken:
internal/sched:
internal/timing:
internal/archtest:
internal/etcdlog:
internal/witness:
internal/record:
internal/xmltree:
internal/etcdrequest: root
etcdflags:
api/...:              root

raft/confchange:      internal/invariant
raft/quorum:          raft/confchange internal/invariant
raft/progress:        raft/confchange raft/quorum internal/invariant
raft:                 raft/confchange raft/quorum raft/progress internal/invariant
raft/rafttest:        raft raft/confchange raft/quorum raft/progress internal/invariant
raft/etcdraft:        raft raft/confchange raft/progress internal/invariant

internal/disk:        internal/invariant
wal:                  raft raft/confchange internal/disk internal/invariant
pki:                  internal/disk internal/invariant
mvcc:                 root internal/disk internal/invariant
auth:                 root
auth/token:           auth
sigv4:
object/checksum:
object:               root object/checksum internal/record
object/lifecycle:     object internal/xmltree
s3api/bucketpolicy:
blob:                 root object internal/disk internal/invariant
bodies:               root api/... object blob
bodies/external:      root object blob bodies
etcdfile:             root auth mvcc internal/invariant
migrate:              root mvcc
object/objecttest:    object
lessor:
machine:              root auth raft raft/confchange mvcc object internal/record internal/disk internal/invariant
etcdwal:              root auth machine internal/etcdrequest internal/invariant
snapshot:             raft raft/confchange api/... internal/disk internal/sched internal/invariant
replica:              root raft raft/confchange raft/quorum raft/progress internal/invariant
transport:            raft raft/confchange api/... internal/timing internal/invariant
join:                 root api/... raft raft/confchange raft/quorum snapshot internal/disk internal/sched internal/invariant
node:                 root api/... blob bodies raft raft/confchange raft/quorum raft/progress wal mvcc etcdfile lessor auth auth/token object machine etcdwal snapshot replica transport join pki internal/courtesy internal/disk internal/sniff internal/socket internal/handshaken internal/sched internal/timing internal/invariant object/lifecycle bodies/external

etcdapi/gateway:
etcdapi/locks:
etcdapi:              root etcdapi/gateway etcdapi/locks internal/etcdrequest internal/sniff internal/handshaken
s3api:                root sigv4 object object/checksum object/lifecycle s3api/bucketpolicy internal/xmltree
s3api/s3test:         object object/objecttest
s3admin:              root api/... object internal/disk
client:               root api/...
sim:                  root api/... raft wal mvcc object machine snapshot replica transport join node internal/disk internal/sched internal/witness internal/invariant
cmd/chainfire:        all
test:                 all
`

// policy is policyText, read: the packages in order, and what each may import.
type policy struct {
	packages []string
	allowed  map[string][]string
}

func parsePolicy(text string) (*policy, error) {
	p := &policy{allowed: map[string][]string{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, list, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("policy line %q has no colon", line)
		}
		if _, dup := p.allowed[name]; dup {
			return nil, fmt.Errorf("policy names %s twice", name)
		}
		p.packages = append(p.packages, name)
		p.allowed[name] = strings.Fields(list)
	}
	return p, nil
}

// matches reports whether a name stands under a pattern: itself, or "dir/..."
// for dir and everything below it.
func matches(pattern, name string) bool {
	dir, tree := strings.CutSuffix(pattern, "/...")
	return name == dir || tree && strings.HasPrefix(name, dir+"/")
}

// rule finds the line of the policy that governs a package.
func (p *policy) rule(name string) (pattern string, ok bool) {
	for _, pattern := range p.packages {
		if matches(pattern, name) {
			return pattern, true
		}
	}
	return "", false
}

// allows reports whether the policy lets one package import another.
func (p *policy) allows(from, to string) bool {
	pattern, ok := p.rule(from)
	if !ok {
		return false
	}
	return slices.ContainsFunc(p.allowed[pattern], func(target string) bool {
		return matches(target, to) || target == "all" && to != "test" && !strings.HasPrefix(to, "cmd/")
	}) || matches(pattern, to) && strings.HasSuffix(pattern, "/...")
}

func loadPolicy(t *testing.T) *policy {
	t.Helper()
	p, err := parsePolicy(policyText)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryPackageHasALineInThePolicy(t *testing.T) {
	pol := loadPolicy(t)
	for _, pkg := range loadTree(t).packages {
		if _, ok := pol.rule(pkg.name); !ok {
			t.Errorf("package %s is not in the policy: say what it may import in policyText of internal/archtest/policy_test.go, and which room it is in ARCHITECTURE.md", pkg.name)
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	pol := loadPolicy(t)
	for _, pkg := range loadTree(t).packages {
		if _, ok := pol.rule(pkg.name); !ok {
			continue // reported by the test above
		}
		for _, imp := range pkg.importsOf() {
			if !pol.allows(pkg.name, imp) {
				t.Errorf("%s imports %s, which the policy does not allow: declare a small interface in %s and let its caller pass the implementation, or move the code to the room that owns it; the policy is in internal/archtest/policy_test.go", pkg.name, imp, pkg.name)
			}
		}
	}
}

func TestPolicyIsAPartialOrder(t *testing.T) {
	pol := loadPolicy(t)
	for i, from := range pol.packages {
		for _, to := range pol.allowed[from] {
			if to == "all" {
				continue
			}
			at := slices.Index(pol.packages, to)
			if at < 0 {
				t.Errorf("the policy lets %s import %s, which has no line: add one or correct the name", from, to)
			}
			if at >= i {
				t.Errorf("the policy lets %s import %s, which stands below it in the table: imports point down, so move the line of %s up or drop the import", from, to, to)
			}
		}
	}
}

func TestOnlyCommandsAndTestsImportNode(t *testing.T) {
	for _, pkg := range loadTree(t).packages {
		if strings.HasPrefix(pkg.name, "cmd/") || pkg.name == "sim" || pkg.name == "test" {
			continue
		}
		if slices.Contains(pkg.importsOf(), "node") {
			t.Errorf("%s imports node: only cmd, sim and tests may; reach a running member through the interfaces of the root package", pkg.name)
		}
	}
}

// closure lists every package of the module that a package imports, directly or
// through others, each with the package it was first reached from.
func closure(tr *tree, from string) map[string]string {
	direct := map[string][]string{}
	for _, pkg := range tr.packages {
		direct[pkg.name] = pkg.importsOf()
	}
	via := map[string]string{}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, imp := range direct[queue[0]] {
			if _, seen := via[imp]; !seen {
				via[imp] = queue[0]
				queue = append(queue, imp)
			}
		}
	}
	return via
}

func TestProtocolsCompileWithoutTheMachinery(t *testing.T) {
	tr := loadTree(t)
	machinery := []string{"raft/...", "wal", "mvcc", "etcdfile", "etcdwal", "lessor", "machine", "snapshot", "replica", "transport", "join", "node"}
	for _, protocol := range []string{"etcdapi", "s3api"} {
		for reached, via := range closure(tr, protocol) {
			for _, room := range machinery {
				if matches(room, reached) {
					t.Errorf("%s reaches %s (imported by %s): a protocol knows only the vocabulary; take an interface of the root package instead", protocol, reached, via)
				}
			}
		}
	}
}

func TestOnlyTheStoreImportsPebble(t *testing.T) {
	for _, pkg := range loadTree(t).packages {
		if slices.Contains([]string{"mvcc", "snapshot", "blob", "internal/disk"}, pkg.name) {
			continue
		}
		for _, f := range pkg.files {
			for _, imp := range f.imports() {
				if strings.HasPrefix(imp, "github.com/cockroachdb/pebble") {
					t.Errorf("%s imports %s: only mvcc, snapshot, blob and internal/disk may; ask mvcc for what is stored and internal/disk for a file system", f.path, imp)
				}
			}
		}
	}
}
