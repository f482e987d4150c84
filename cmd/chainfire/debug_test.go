package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/machine"
	"chainfire/raft"
	"chainfire/raft/confchange"
	"chainfire/snapshot"
	"chainfire/wal"
)

// debugDir makes a data directory as a member leaves it, without its identity: a
// log in which a second leader replaced an entry, and a store that holds a part
// of it; beside it a snapshot as a folder and as a file.
func debugDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	commands := []machine.Command{
		{Put: &chainfire.PutRequest{Key: []byte("foo"), Value: []byte("bar")}},
		{Put: &chainfire.PutRequest{Key: []byte("\xff\x00"), Value: []byte("two\nlines")}},
		{Delete: &chainfire.DeleteRangeRequest{Key: []byte("foo")}},
		{Txn: &chainfire.TxnRequest{
			Compare: []chainfire.Compare{{Key: []byte("foo"), Target: chainfire.CompareVersion}, {Key: []byte("\xff\x00"), Target: chainfire.CompareValue, Result: chainfire.CompareNotEqual, Value: []byte("v")}},
			Success: []chainfire.Op{{Put: &chainfire.PutRequest{Key: []byte("t"), Value: []byte("1")}}, {Delete: &chainfire.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b")}}},
			Failure: []chainfire.Op{{Range: &chainfire.RangeRequest{Key: []byte("foo"), Limit: 3}}, {Txn: &chainfire.TxnRequest{}}},
		}},
		{Reserve: &machine.Reserve{Name: "two", PeerURLs: []string{"http://two:1"}, Incarnation: 77}},
		{UpdateMember: &machine.UpdateMember{ID: 1, ClientURLs: []string{"http://one:2"}, Settled: true}},
		{Compact: &chainfire.CompactRequest{Revision: 3}},
		{Release: &machine.Release{ID: 99}},
	}
	var entries []raft.Entry
	for i, c := range commands {
		c.ID = machine.RequestID{Member: 1, Seq: uint64(i + 1)}
		entries = append(entries, raft.Entry{Index: uint64(i + 2), Term: 2, Data: c.AppendTo(nil)})
	}
	ctx := machine.MemberContext{ID: machine.RequestID{Member: 1, Seq: 9}}
	entries = append(entries,
		raft.Entry{Index: 10, Term: 2, Type: raft.EntryConf, Data: raft.EncodeChange(confchange.Change{
			Steps: []confchange.Step{{Kind: confchange.AddLearner, ID: 6}}, Context: ctx.AppendTo(nil),
		})},
		raft.Entry{Index: 11, Term: 2, Data: []byte{9, 9, 9}}, // replaced below
	)
	log, err := wal.Create(wal.Options{Dir: filepath.Join(dir, "wal")}, 1, 1, raft.HardState{Term: 1, Commit: 1})
	check(err)
	for i := range entries {
		check(log.Append(wal.Batch{
			HardState: &raft.HardState{Term: 2, Vote: 1, Commit: entries[i].Index - 1}, Entries: entries[i : i+1],
		}))
	}
	check(log.Append(wal.Batch{HardState: &raft.HardState{Term: 3, Vote: 6, Commit: 10}, Entries: []raft.Entry{{Index: 11, Term: 3}}, Floor: 8}))
	check(log.Close())

	o := machine.Options{Dir: filepath.Join(dir, "store")}
	check(machine.Bootstrap(o, machine.Init{
		ClusterID: 0xabc, Conf: raft.ConfState{Voters: []uint64{1}}, Index: 1, Term: 1,
		Members: []machine.MemberRecord{{ID: 1, Name: "one", PeerURLs: []string{"http://one:1"}, Incarnation: 5}},
	}))
	m, err := machine.Open(o)
	check(err)
	_, err = m.Apply(entries[:7])
	check(err)
	check(m.WaitCompacted(context.Background(), 3))
	meta, err := m.Checkpoint(context.Background(), filepath.Join(dir, "saved"))
	check(err)
	check(m.Close())
	saved := filepath.Join(dir, "saved")
	manifest, err := snapshot.BuildManifest(context.Background(), disk.OS(), saved, snapshot.Meta{SnapshotMeta: meta, ClusterID: 0xabc})
	check(err)
	check(os.WriteFile(filepath.Join(saved, snapshot.MarkName), manifest.Encode(), 0o600))
	_, err = writeArchive(context.Background(), saved, filepath.Join(dir, "saved.tar"), manifest)
	check(err)
	return dir
}

// folderState is every name, byte and time below a folder.
func folderState(t *testing.T, dir string) string {
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
		sum := [32]byte{}
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum = sha256.Sum256(b)
		}
		all = append(all, fmt.Sprintf("%s %v %v %x", path, info.Mode(), info.ModTime(), sum))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// debugRun runs a debug command, which must leave the folder as it is.
func debugRun(t *testing.T, dir string, args ...string) (code int, out, errOut string) {
	t.Helper()
	before := folderState(t, dir)
	code, out, errOut = runCommand(t, nil, strings.NewReader(""), append([]string{"debug"}, args...)...)
	if after := folderState(t, dir); after != before {
		t.Errorf("%v changed the files from\n%s\nto\n%s", args, before, after)
	}
	return code, out, errOut
}

// flipAt turns a bit of a file.
func flipAt(t *testing.T, path string, off int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		b[off] ^= 0x10
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func mustContain(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s: %q is not in\n%s", what, p, text)
		}
	}
}

func TestDebugSaysWhatIsInSoundFiles(t *testing.T) {
	dir := debugDir(t)
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"wal": {[]string{"wal", dir, "--keys"}, []string{
			"sound: log in " + filepath.Join(dir, "wal"), "term 3, vote for member 6, commit index 10", "2 to 11, after index 1 of term 1",
			"closed", `committed  put "foo", value of 3 B`, `put "\xff\x00", value of 9 B`, `delete "foo"`,
			`txn if 2 comparisons hold [put "t", value of 1 B; delete "a" to "b"] else [get "foo"; txn if 0`,
			`reserve a member id for "two" at http://two:1`, "compact up to revision 3", "give up the reservation of member 99",
			"replaced   cannot be decoded", "open       nothing: a leader's first entry", "add-learner 6  (1) learners=(6)",
			"term 3, vote for member 6", "entries from 11 on replaced, 1 of them", "at index 8", "\nsound: every record checks\n",
		}},
		"wal folder": {[]string{"wal", filepath.Join(dir, "wal"), "--limit", "2"}, []string{"ENTRIES (a part of them", "\n10 ", "\n11 "}},
		"segment":    {[]string{"wal", filepath.Join(dir, "wal", "0000000000000001.wal"), "--records"}, []string{"RECORDS", "seal: the log was closed", "floor 8; entry 11 of term 3, in the place of 1"}},
		"store": {[]string{"store", dir}, []string{
			"sound: store in", "index 8 of term 2", "revision      5, compacted at 3", "says that index 8 is durable", "2 live", "abc",
			"one   voter", "two   reserved", "the log is kept for it from index 6 on", "http://one:2", "sound: every block",
		}},
		"store folder":    {[]string{"store", filepath.Join(dir, "store")}, []string{"sound: store in", "says that index 8 is durable"}},
		"snapshot":        {[]string{"snapshot", filepath.Join(dir, "saved")}, []string{"sound: snapshot in", "cluster       abc", "after log index 8 of term 2", "sound: everything"}},
		"snapshot file":   {[]string{"snapshot", filepath.Join(dir, "saved.tar")}, []string{"sound: snapshot in", "after log index 8 of term 2", "MANIFEST-"}},
		"snapshot's rows": {[]string{"store", filepath.Join(dir, "saved")}, []string{"sound: store in", "index 8 of term 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := debugRun(t, dir, c.args...)
			if code != 0 || errOut != "" {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			mustContain(t, name, out, c.want...)
		})
	}
}

// lines reads the objects of a debug command, by their kind.
func lines(t *testing.T, out string) map[string][]map[string]any {
	t.Helper()
	by := map[string][]map[string]any{}
	for line := range strings.Lines(out) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		kind, _ := v["kind"].(string)
		by[kind] = append(by[kind], v)
	}
	return by
}

func TestDebugPrintsEveryFieldAsJSON(t *testing.T) {
	dir := debugDir(t)
	code, out, errOut := debugRun(t, dir, "wal", dir, "-w", "json")
	if code != 0 {
		t.Fatal(code, errOut)
	}
	mustContain(t, "wal", out,
		`"state":"committed","file":"`+filepath.Join(dir, "wal", "0000000000000001.wal")+`","sequence":1,"request_member":"1","request":1,"command":{"put":{"key":"foo","value":"bar"}}}`,
		`"command":{"put":{"key_base64":"/wA=","value":"two\nlines"}}`,
		`"command":{"del":{"key":"foo"}}`,
		`"command":{"txn":{"compare":[{"key":"foo","target":"version","op":"=","number":0},{"key_base64":"/wA=","target":"value","op":"!=","value":"v"}],`+
			`"success":[{"put":{"key":"t","value":"1"}},{"del":{"key":"a","range_end":"b"}}],"failure":[{"get":{"key":"foo","limit":3}},{"txn":{"compare":[],"success":[],"failure":[]}}]}}`,
		`"command":{"reserve":{"name":"two","peer_urls":["http://two:1"],"incarnation":"77"}}`,
		`"command":{"update":{"id":"1","client_urls":["http://one:2"],"settled":true}}`,
		`"command":{"compact":{"revision":3}}`, `"command":{"release":{"id":"99"}}`,
		`"change":{"steps":[{"step":"add-learner","id":"6"}]},"configuration":{"voters":["1"],"learners":["6"]}`,
		`"state":"replaced"`, `"data_base64":"CQkJ"`,
		`"hard_state":{"term":3,"vote":"6","commit":10},"floor":8,"first_index":11,"last_index":11,"replaces":1}`,
		`{"kind":"summary","verdict":"sound","faults":0,`,
	)
	by := lines(t, out)
	if len(by["entry"]) != 11 || len(by["record"]) != 12 || len(by["segment"]) != 1 || len(by["summary"]) != 1 {
		t.Errorf("%d entries, %d records, %d segments", len(by["entry"]), len(by["record"]), len(by["segment"]))
	}
	_, out, _ = debugRun(t, dir, "wal", dir, "-w", "json", "--from", "4", "--to", "9", "--limit", "3")
	if by = lines(t, out); len(by["entry"]) != 3 || by["entry"][0]["index"] != 4.0 {
		t.Errorf("from 4, at most 3: %v", by["entry"])
	}

	code, out, errOut = debugRun(t, dir, "store", dir, "-w", "json", "--rows")
	if code != 0 {
		t.Fatal(code, errOut)
	}
	mustContain(t, "store", out,
		`{"kind":"row","row":"version","key":"t","revision":5,"create_revision":5,"version":1,"value":"1"}`,
		`"row":"version","key_base64":"/wA=","revision":3,"create_revision":3,"version":1,"value":"two\nlines"`,
		`{"kind":"row","row":"version","key":"foo","revision":4,"deleted":true}`,
		`{"kind":"row","row":"change","key":"foo","revision":4,"deleted":true,"replaced_revision":2}`,
		`"row":"meta","name":"state","content_base64":"`,
		`"state":{"applied_index":8,"applied_term":2,"revision":5,"compacted_revision":3,"reclaimed_revision":3},"log_floor":8`,
		`"members":[{"id":"1","name":"one"`, `"reserved":true,"reserved_index":6}]`,
	)
	code, out, _ = debugRun(t, dir, "snapshot", filepath.Join(dir, "saved.tar"), "-w", "json")
	mustContain(t, "snapshot", out, `"kind":"file"`, `"state":"sound"`, `{"kind":"summary","verdict":"sound"`, `"cluster_id":"abc","index":8,"term":2`)
	if code != 0 {
		t.Error(code)
	}
}

func TestDebugNamesDamageAndEndsWithTwo(t *testing.T) {
	segment := func(dir string) string { return filepath.Join(dir, "wal", "0000000000000001.wal") }
	glob := func(t *testing.T, dir, pattern string) string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		return found[len(found)-1]
	}
	cut := func(t *testing.T, file string, n int64) {
		t.Helper()
		if err := os.Truncate(file, n); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		args []string
		do   func(t *testing.T, dir string) (file string)
		code int
		want []string
	}{
		"rotten record": {[]string{"wal", "."}, func(t *testing.T, dir string) string {
			flipAt(t, segment(dir), 300)
			return segment(dir)
		}, 2, []string{"rotten: ", " at offset ", "lost          entry ", "1 fault", "the member does not start"}},
		"torn tail": {[]string{"wal", "."}, func(t *testing.T, dir string) string {
			b, err := os.ReadFile(segment(dir))
			if err == nil {
				err = os.WriteFile(segment(dir), append(b, "half a record"...), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			return segment(dir)
		}, 0, []string{"torn: ", "(13 bytes)", "never acknowledged", "sound: every record checks; the unfinished write"}},
		"foreign segment": {[]string{"wal", "."}, func(t *testing.T, dir string) string {
			if err := os.WriteFile(segment(dir), bytes.Repeat([]byte("x"), 500), 0o600); err != nil {
				t.Fatal(err)
			}
			return segment(dir)
		}, 2, []string{"not a log segment"}},
		"table": {[]string{"store", "."}, func(t *testing.T, dir string) string {
			file := glob(t, dir, "store/store-*/*.sst")
			flipAt(t, file, 20)
			return file
		}, 2, []string{"rotten: ", "data block fails its checksum", "rows cannot be read", "restore the data directory from a backup"}},
		"manifest": {[]string{"store", "."}, func(t *testing.T, dir string) string {
			file := glob(t, dir, "store/store-*/MANIFEST-*")
			flipAt(t, file, 10)
			return file
		}, 2, []string{"rotten: ", "record fails its checksum"}},
		"store behind the log": {[]string{"store", "."}, func(t *testing.T, dir string) string {
			log, _, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "wal")})
			if err == nil {
				err = log.Append(wal.Batch{Floor: 9})
			}
			if err == nil {
				err = log.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "store")
		}, 2, []string{"behind: ", "index 9 was durable"}},
		"file of a snapshot": {[]string{"snapshot", "saved"}, func(t *testing.T, dir string) string {
			file := glob(t, dir, "saved/*.sst")
			flipAt(t, file, 20)
			return file
		}, 2, []string{"rotten: ", "checksum does not match", "do not restore from it"}},
		"manifest of a snapshot": {[]string{"snapshot", "saved"}, func(t *testing.T, dir string) string {
			flipAt(t, filepath.Join(dir, "saved", "SNAPSHOT"), 20)
			return filepath.Join(dir, "saved", "SNAPSHOT")
		}, 2, []string{"the manifest cannot be read", "unchecked"}},
		"missing file of a snapshot": {[]string{"snapshot", "saved"}, func(t *testing.T, dir string) string {
			file := glob(t, dir, "saved/*.sst")
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			return file
		}, 2, []string{"missing: "}},
		"header in a snapshot file": {[]string{"snapshot", "saved.tar"}, func(t *testing.T, dir string) string {
			flipAt(t, filepath.Join(dir, "saved.tar"), 1024+30)
			return "at offset 1024 (512 bytes): the tar header of "
		}, 2, nil},
		"manifest in a snapshot file": {[]string{"snapshot", "saved.tar"}, func(t *testing.T, dir string) string {
			flipAt(t, filepath.Join(dir, "saved.tar"), 530)
			return "the manifest cannot be read"
		}, 2, nil},
		"snapshot file cut short": {[]string{"snapshot", "saved.tar"}, func(t *testing.T, dir string) string {
			cut(t, filepath.Join(dir, "saved.tar"), 3000)
			return "the file ends before "
		}, 2, []string{"missing: "}},
		"snapshot file without its end": {[]string{"snapshot", "saved.tar"}, func(t *testing.T, dir string) string {
			info, err := os.Stat(filepath.Join(dir, "saved.tar"))
			if err != nil {
				t.Fatal(err)
			}
			cut(t, filepath.Join(dir, "saved.tar"), info.Size()-600)
			return "before the end of the tar"
		}, 2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := debugDir(t)
			file := c.do(t, dir)
			args := []string{c.args[0], filepath.Join(dir, c.args[1])}
			code, out, errOut := debugRun(t, dir, args...)
			if code != c.code || errOut != "" {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errOut)
			}
			mustContain(t, name, out, append(c.want, file, "WHAT IT MEANS")...)
			code, out, _ = debugRun(t, dir, append(args, "-w", "json")...)
			by := lines(t, out)
			if code != c.code || len(by["fault"]) == 0 || by["fault"][0]["meaning"] == "" {
				t.Errorf("as JSON: exit code %d\n%s", code, out)
			}
			if by["summary"][0]["verdict"] != map[int]string{0: "sound", 2: "damaged"}[c.code] {
				t.Errorf("as JSON: %v", by["summary"])
			}
		})
	}
}

func TestDebugRefusesWhatItCannotRead(t *testing.T) {
	dir := debugDir(t)
	empty, notes := filepath.Join(dir, "empty"), filepath.Join(dir, "notes.txt")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(notes, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"wal: nothing there":          {[]string{"wal", none}, "does not exist; give the wal folder"},
		"wal: empty folder":           {[]string{"wal", empty}, "holds no write-ahead log; give"},
		"wal: foreign file":           {[]string{"wal", notes}, "is no segment of a write-ahead log; give"},
		"wal: bad interval":           {[]string{"wal", dir, "--from", "5", "--to", "3"}, "--to 3 is before --from 5"},
		"store: nothing there":        {[]string{"store", none}, "does not exist; give the store folder"},
		"store: empty folder":         {[]string{"store", empty}, "holds no store; give"},
		"store: file":                 {[]string{"store", notes}, "is a file; give"},
		"store: rows as a table":      {[]string{"store", dir, "--rows"}, "add -w json"},
		"snapshot: nothing there":     {[]string{"snapshot", none}, "does not exist; give a snapshot folder"},
		"snapshot: empty folder":      {[]string{"snapshot", empty}, "holds no snapshot"},
		"snapshot: foreign file":      {[]string{"snapshot", notes}, "is no file of 'chainfire snapshot save'"},
		"snapshot: none in directory": {[]string{"snapshot", dir}, "holds no snapshot: a seed is there while"},
		"no path":                     {[]string{"wal"}, "usage: chainfire debug wal PATH"},
	} {
		code, out, errOut := debugRun(t, dir, c.args...)
		if code != 1 || out != "" || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: exit code %d, %q, %q", name, code, out, errOut)
		}
	}
}

func TestDebugEndsWhenItIsInterrupted(t *testing.T) {
	dir := debugDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"wal", dir}, {"store", dir}, {"snapshot", filepath.Join(dir, "saved")}, {"snapshot", filepath.Join(dir, "saved.tar")}} {
		code, out, errOut := runCommandIn(ctx, nil, strings.NewReader(""), append([]string{"debug"}, args...)...)
		if code != 1 || !strings.Contains(errOut, "interrupted") {
			t.Errorf("%v: exit code %d, %q, %q", args, code, out, errOut)
		}
	}
}
