package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// told is what a debug command says: its lines by kind.
type told map[string][]map[string]any

// debug runs a debug command with JSON output on files, which it must leave as
// they are, down to their times.
func (l *lab) debug(t *testing.T, dir string, args ...string) (code int, lines told, stderr string) {
	t.Helper()
	before := snapshotOf(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.binary, append([]string{"debug", "-w", "json"}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	lines = told{}
	for line := range strings.Lines(out.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		kind, _ := v["kind"].(string)
		lines[kind] = append(lines[kind], v)
	}
	if after := snapshotOf(t, dir); after != before {
		t.Errorf("debug %v changed the files from\n%s\nto\n%s", args, before, after)
	}
	return cmd.ProcessState.ExitCode(), lines, errOut.String()
}

// snapshotOf is every name, time and byte below a folder.
func snapshotOf(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprint(path, " ", info.Mode(), " ", info.ModTime())
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %x", sha256.Sum256(b))
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// written is what the test wrote: the values by key, and the keys deleted.
func (m *member) writeSome(keys int) (values map[string]string, deleted []string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	values = map[string]string{}
	do := func(_ any, err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	for i := range keys {
		key, value := fmt.Sprintf("key-%03d", i), strings.Repeat(fmt.Sprint("value ", i, " "), 20)
		do(m.kv().Put(ctx, key, value))
		values[key] = value
	}
	for i := 0; i < keys; i += 10 {
		key := fmt.Sprintf("key-%03d", i)
		do(m.kv().Delete(ctx, key))
		delete(values, key)
		deleted = append(deleted, key)
	}
	do(m.kv().Txn(ctx).If(clientv3.Compare(clientv3.Version("txn"), "=", 0)).Then(clientv3.OpPut("txn", "done")).Commit())
	values["txn"] = "done"
	return values, deleted
}

// mustHold compares the entries of a log with what was written.
func (l told) mustHold(t *testing.T, values map[string]string, deleted []string) {
	t.Helper()
	got, gone := map[string]string{}, map[string]bool{}
	put := func(c any) {
		p, _ := c.(map[string]any)
		key, _ := p["key"].(string)
		got[key], _ = p["value"].(string)
	}
	next := 0.0
	for _, e := range l["entry"] {
		index, _ := e["index"].(float64)
		if next > 0 && index != next {
			t.Fatalf("entry %v comes where %v should", index, next)
		}
		next = index + 1
		c, _ := e["command"].(map[string]any)
		switch {
		case c["put"] != nil:
			put(c["put"])
		case c["del"] != nil:
			d, _ := c["del"].(map[string]any)
			key, _ := d["key"].(string)
			delete(got, key)
			gone[key] = true
		case c["txn"] != nil:
			x, _ := c["txn"].(map[string]any)
			ops, _ := x["success"].([]any)
			op, _ := ops[0].(map[string]any)
			put(op["put"])
		}
	}
	for key, value := range values {
		if got[key] != value {
			t.Errorf("the log says %q of %s, written was %q", got[key], key, value)
		}
	}
	if len(got) != len(values) || len(gone) != len(deleted) {
		t.Errorf("the log has %d keys and %d deletions, written were %d and %d", len(got), len(gone), len(values), len(deleted))
	}
}

func TestDebugReadsWhatAKilledMemberLeft(t *testing.T) {
	t.Parallel()
	c := oneMember(t)
	a := c.members[0]
	values, deleted := a.writeSome(100)
	for _, what := range []string{"wal", "store", "blob", "snapshot"} {
		if code, _, stderr := a.lab.debug(t, t.TempDir(), what, a.dir); code != 1 || !strings.Contains(stderr, "in use by a running member") {
			t.Errorf("debug %s of a running member: exit code %d, %s", what, code, stderr)
		}
	}
	saved := a.save()
	a.kill()

	code, lines, stderr := a.lab.debug(t, a.dir, "wal", a.dir)
	if code != 0 || lines["summary"][0]["verdict"] != "sound" || lines["summary"][0]["member_name"] != a.name {
		t.Fatalf("debug wal: exit code %d, %s %v", code, stderr, lines["summary"])
	}
	lines.mustHold(t, values, deleted)

	// A killed member's store is what its last flush left. After an orderly end
	// it is all there.
	if code, lines, stderr = a.lab.debug(t, a.dir, "store", a.dir); code != 0 || lines["summary"][0]["hash"] == nil {
		t.Fatalf("debug store: exit code %d, %s %v", code, stderr, lines["summary"])
	}
	a.start()
	a.awaitServing()
	a.stop()
	a.mustHoldInStore(values)

	code, lines, stderr = a.lab.debug(t, filepath.Dir(saved), "snapshot", saved)
	if code != 0 || len(lines["file"]) == 0 || lines["summary"][0]["verdict"] != "sound" {
		t.Fatalf("debug snapshot: exit code %d, %s %v", code, stderr, lines)
	}

	mustFind := func(file string, args ...string) {
		t.Helper()
		spoil(t, file, flip)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		off := float64(len(bytes.TrimRight(b, "\x00")) / 2)
		code, lines, stderr := a.lab.debug(t, filepath.Dir(a.dir), args...)
		found := false
		for _, f := range lines["fault"] {
			at, _ := f["offset"].(float64)
			n, _ := f["bytes"].(float64)
			found = found || f["fault"] == "rotten" && f["file"] == file && at <= off && off < at+n
		}
		if code != 2 || !found || lines["summary"][0]["verdict"] != "damaged" {
			t.Errorf("debug %v with a bit of %s turned at %v: exit code %d, %s %v", args, file, off, code, stderr, lines["fault"])
		}
		spoil(t, file, flip)
	}
	mustFind(a.last("wal/*.wal"), "wal", a.dir)
	mustFind(a.largest("store/store-*/*.sst"), "store", a.dir)
	mustFind(saved, "snapshot", saved)
}

// save saves a snapshot of a running member, beside its directory.
func (m *member) save() (file string) {
	m.t.Helper()
	file = filepath.Join(filepath.Dir(m.dir), "saved")
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, m.lab.binary, "snapshot", "save", file, "--endpoints", m.client).CombinedOutput()
	if err != nil {
		m.t.Fatalf("snapshot save: %v\n%s", err, out)
	}
	return file
}

// mustHoldInStore compares the rows of a stopped member's store with what was
// written.
func (m *member) mustHoldInStore(values map[string]string) {
	m.t.Helper()
	code, lines, stderr := m.lab.debug(m.t, m.dir, "store", m.dir, "--rows")
	if code != 0 {
		m.t.Fatalf("debug store: exit code %d, %s", code, stderr)
	}
	seen, live := map[any]bool{}, 0
	for _, r := range lines["row"] {
		key, _ := r["key"].(string)
		if r["row"] != "version" || seen[key] {
			continue // the first version of a key is its newest
		}
		seen[key] = true
		if r["deleted"] == true {
			if _, there := values[key]; there {
				m.t.Errorf("the store says that %s is deleted", key)
			}
			continue
		}
		live++
		if r["value"] != values[key] {
			m.t.Errorf("the store says %v of %s, written was %q", r["value"], key, values[key])
		}
	}
	rows, _ := lines["summary"][0]["rows"].(map[string]any)
	if live != len(values) || rows["live_keys"] != float64(live) {
		m.t.Errorf("the store has %d live keys and counts %v, written were %d", live, rows["live_keys"], len(values))
	}
}
