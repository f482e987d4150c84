package test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// everyFormat are the forms in which etcdctl prints.
const everyFormat = "simple json fields table protobuf"

// ctlRun is one run of etcdctl, at etcd and at a member.
type ctlRun struct {
	args []string
	// stdin is what is typed.
	stdin string
	// formats are those to compare; none is the simple one.
	formats string
	// keep finds a word in what is printed, which $kept stands for from then on.
	keep *regexp.Regexp
}

// cmd is a ctlRun whose words are parted by blanks; "" is an empty one.
func cmd(words string) ctlRun {
	args := strings.Fields(words)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], `""`, "")
	}
	return ctlRun{args: args}
}

func (s ctlRun) typed(stdin string) ctlRun     { s.stdin = stdin; return s }
func (s ctlRun) in(formats string) ctlRun      { s.formats = formats; return s }
func (s ctlRun) keeping(pattern string) ctlRun { s.keep = regexp.MustCompile(pattern); return s }
func (s ctlRun) by(user string) ctlRun {
	s.args = append(slices.Clone(s.args), "--user="+user)
	return s
}

func (s ctlRun) of(kept, format string) []string {
	args := slices.Clone(s.args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$kept", kept)
	}
	return append(args, "-w", format)
}

func stepsOfKeys() []ctlRun {
	txn := func(text string) ctlRun { return cmd("txn").typed(text).in(everyFormat) }
	return []ctlRun{
		cmd("put a 1").in(everyFormat), cmd("put a 2 --prev-kv").in(everyFormat), cmd("put b").typed("typed"),
		cmd("put a --ignore-value"), cmd("put none --ignore-value"), cmd("put a x --ignore-lease"), cmd("put a x --lease=99"), cmd(`put "" x`),
		cmd("get a").in(everyFormat), cmd(`get "" --prefix`).in(everyFormat), cmd(`get "" --from-key --hex`), cmd("get a c"), cmd("get a --rev=2"),
		cmd("get a --rev=1"), cmd("get a --rev=999"), cmd("get a --count-only").in(everyFormat), cmd("get a --keys-only").in(everyFormat),
		cmd(`get --prefix "" --limit=1`).in("simple json fields"), cmd(`get --prefix "" --sort-by=CREATE --order=DESCEND`), cmd("get a --print-value-only"),
		cmd(`get --prefix "" --min-mod-rev=3`), cmd(`get --prefix "" --max-create-rev=2`), cmd("get a --consistency=s"), cmd("get"),
		cmd("del b --prev-kv").in(everyFormat), cmd("del b").in(everyFormat), cmd("put p/1 x"), cmd("put p/2 x"), cmd("del --prefix p/ --prev-kv"),
		txn("mod(\"a\") > \"0\"\nver(\"a\") > \"0\"\n\nput a 5\nget a\ndel z\n\nget b\n\n"),
		txn("val(\"a\") = \"nope\"\nc(\"a\") = \"2\"\n\nput a 5\n\nget a\nput q 7 --prev-kv\n\n"),
		cmd("txn").typed("\n\nput a 1\nput a 2\n\n\n"), cmd("txn").typed("\n\n" + strings.Repeat("get a\n", 129) + "\n\n"),
		cmd("compaction 3"), cmd("compaction 3"), cmd("compaction 4 --physical"), cmd("compaction 999"), cmd("compaction 0"), cmd("get a --rev=2"),
		cmd("put big").typed(strings.Repeat("x", 1_600_000)),
	}
}

func stepsOfLeases() []ctlRun {
	return []ctlRun{
		cmd("lease grant 500").keeping("lease ([0-9a-f]+) granted"), cmd("put l v --lease=$kept"), cmd("get l").in("simple json fields"),
		cmd("lease timetolive $kept").in("fields"), cmd("lease timetolive $kept --keys").in("json fields table"),
		cmd("lease keep-alive $kept --once").in("simple json fields"), cmd("lease list").in("simple json fields"),
		cmd("lease revoke $kept"), cmd("lease revoke $kept"), cmd("get l"), cmd("lease list").in("simple json fields"), cmd("lease timetolive 77").in("simple json fields"),
		cmd("lease keep-alive 77 --once"), cmd("lease grant 0").in("json fields"), cmd("lease grant 99999999999"), cmd("lease grant x"), cmd("lock l echo held"), cmd("lock l false --ttl=600"), // which leaves its lease
	}
}

func stepsOfTheCluster() []ctlRun {
	return []ctlRun{
		cmd("member list").in("simple json fields table"), cmd("member list --consistency=s"), cmd("member promote 77"), cmd("member remove 77"),
		cmd("member update 77 --peer-urls=http://127.0.0.1:999"), cmd("member update 77 --peer-urls=bad"), cmd("member add x"),
		cmd("member add x --peer-urls=bad"), cmd("member add x --learner --peer-urls=http://127.0.0.1:9").keeping("Member +([0-9a-f]+) added"),
		cmd("member update $kept --peer-urls=http://127.0.0.1:8"), cmd("member promote $kept"),
		cmd("member add x --learner --peer-urls=http://127.0.0.1:8"), cmd("member remove $kept"), cmd("member remove $kept"), cmd("move-leader 77"),
		cmd("endpoint status").in("simple json fields table"), cmd("endpoint health").in("simple json fields"), cmd("endpoint hashkv").in("simple json fields table"),
		cmd("endpoint status --cluster"), cmd("endpoint health --cluster"), cmd("endpoint hashkv --cluster"), cmd("endpoint hashkv --rev=5"), cmd("endpoint hashkv --rev=999"),
		cmd("alarm list").in("simple json fields table"), cmd("alarm disarm").in("simple json fields"), cmd("defrag"), cmd("defrag --cluster"),
		cmd("downgrade validate 3.5.0"), cmd("downgrade validate 3.7.0"), cmd("downgrade validate x"), cmd("downgrade enable 3.5.0"), cmd("downgrade cancel"),
	}
}

func stepsOfUsers() []ctlRun {
	const rich = "simple json fields table"
	steps := []ctlRun{
		cmd("auth status").in(rich), cmd("auth disable"), cmd("auth enable"), cmd("user list").in(rich), cmd("user add root:pw"), cmd("user add root:pw"),
		cmd("user add bare --no-password"), cmd("user add ann --interactive=false").typed("secret\n"), cmd("user get ann").in(rich), cmd("user get none"),
		cmd("user passwd ann --interactive=false").typed("s2\n"), cmd("user passwd none --interactive=false").typed("s2\n"),
		cmd("role list").in(rich), cmd("role add r").in("json"), cmd("role add r"), cmd("role add root"), cmd(`role add ""`),
		cmd("role grant-permission r read k").in("json"), cmd("role grant-permission r write k m"), cmd("role grant-permission r readwrite p --prefix"),
		cmd(`role grant-permission r readwrite "" --from-key`), cmd("role grant-permission r bad p"), cmd("role grant-permission none read p"),
		cmd("role get r").in(rich), cmd("role get root"), cmd("role get none"), cmd(`role revoke-permission r "" --from-key`),
		cmd("user grant-role ann r").in("json"), cmd("user grant-role ann r"), cmd("user grant-role ann none"), cmd("user grant-role none r"),
		cmd("user get ann --detail"), cmd("user grant-role root root"), cmd("user get root"), cmd("auth enable").in("json"), cmd("auth status"), cmd("member list"),
		cmd("get k").by("ann:bad"), cmd("get k").by("none:x"), cmd("get k").by("bare:"), cmd("lock kx true --ttl=600").by("ann:s2"),
		cmd("txn").typed("\n\nput k 1\nget k\n\n\n").by("ann:s2"), cmd("txn").typed("\n\nput z 1\n\n\n").by("ann:s2"),
	}
	for _, call := range []string{
		"get k", "get z", `get "" --prefix`, "put k v", "put z v", "del k", "user list", "user get ann", "user get root", "role get r", "role list", "member list", "member remove 77",
		"endpoint status", "endpoint health", "endpoint hashkv", "alarm list", "alarm disarm", "lease list", "defrag", "compaction 4", "move-leader 77", "auth status", "auth disable",
		"snapshot save not.here", "downgrade validate 3.5.0",
	} {
		steps = append(steps, cmd(call).by("ann:s2"), cmd(call))
	}
	for _, call := range []string{
		"user delete root", "user revoke-role root root", "role delete root", "user revoke-role ann r", "user revoke-role ann r", "role revoke-permission r k",
		"role revoke-permission r k", "role revoke-permission r k m", "role revoke-permission r p --prefix", "role get r", "role delete r", "role delete r",
		"user delete ann", "user delete ann", "auth enable", "auth disable",
	} {
		steps = append(steps, cmd(call).by("root:pw"))
	}
	return append(steps, cmd("auth disable"), cmd("user delete root"), cmd("user list"), cmd("role list"))
}

// otherwise are the commands that are not compared here, each with where it is, or why not.
var otherwise = map[string]string{
	"watch":       "TestEtcdctlWatchesFromThePastAndGoesOn",
	"elect":       "TestEtcdctlElectsAndMirrors",
	"make-mirror": "TestEtcdctlElectsAndMirrors",
	"snapshot":    "TestSnapshotIsRestoredByEtcdutlWithAllOfItsHistory",
	"check":       "writes as fast as it can for a minute",
	"completion":  "asks no server", "help": "asks no server", "options": "asks no server", "version": "asks no server",
}

// ownWords are what two clusters need not agree on, in the words of etcdctl. Sizes are in
// them, and ids; hashes of the key space and revisions are not.
var ownWords = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`"(cluster_id|member_id|raft_term|leader|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse|memberID|ID|id|lease)":\d+`), `"$1":0`},
	{regexp.MustCompile(`"(ClusterID|MemberID|RaftTerm|ID|Leader|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse|Lease)" : \d+`), `"$1" : 0`},
	{regexp.MustCompile(`(?m)^[0-9a-f]+, (started|unstarted)`), "ID, $1"},
	{regexp.MustCompile(`(?m)^│ +[0-9a-f]+ +│ (started|unstarted)`), "│ ID │ $1"},
	{regexp.MustCompile(`SERVER(, | +│ +)[0-9a-f]+(, | +│ +)3\.7`), "SERVER${1}ID${2}3.7"},
	{regexp.MustCompile(`\d+(\.\d+)? [kM]?B\b`), "SIZE"},
	{regexp.MustCompile(`\b\d+%`), "PART"},
	{regexp.MustCompile(`(true|false)(, | +│ +)(true|false)(, | +│ +)\d+(, | +│ +)\d+(, | +│ +)\d+`), "$1$2$3 INDEX"},
	{regexp.MustCompile(`took(\\n)?"?( =|:)? ?"?[0-9.]+(µs|ms|s)"?`), "took TIME"},
	{regexp.MustCompile(`"Took" : \S+`), "TIME"},
	{regexp.MustCompile(`ETCD_INITIAL_CLUSTER="[^"]*"`), "the list of members, in any order"},
	{regexp.MustCompile(`[0-9.]+(µs|ms) +│`), "TIME │"},
	{regexp.MustCompile(`(cluster|[Mm]ember|lease|l/|kx/) *[0-9a-f]+\b`), "${1} ID"},
	{regexp.MustCompile(`(?m)^[0-9a-f]{8,16}$`), "ID"},
	{regexp.MustCompile(`[─┌┬┐├┼┤└┴┘]+`), "─"},
	{regexp.MustCompile(` +`), " "},
}

// ctlSaid is what a run of etcdctl says, without what is a cluster's own.
func ctlSaid(out, errOut string, code int, address, peer string, format string) string {
	if format == "protobuf" && len(out) > 1 && out[0] == '\n' && len(out) >= 2+int(out[1]) {
		out = out[2+int(out[1]):] // the header
	}
	text := fmt.Sprintf("exit code %d\n%s", code, out)
	for line := range strings.Lines(errOut) {
		if !strings.HasPrefix(line, `{"level"`) { // of the client, with times and ports
			text += line
		}
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, address, "SERVER"), peer, "PEER")
	for _, w := range ownWords {
		text = w.pattern.ReplaceAllString(text, w.instead)
	}
	return text
}

// TestEtcdctlPrintsTheSameOfEveryCommand runs every command of etcdctl at etcd and at a
// member that took its place, in all formats where there is something to print, and
// compares what is printed, the errors, and the exit codes.
func TestEtcdctlPrintsTheSameOfEveryCommand(t *testing.T) {
	t.Parallel()
	d := newDropIn(t, "etcd")
	d.start("--initial-cluster", d.listed())
	sides := []*etcdctl{newEtcdctl(t, here.newEtcd(t)), newEtcdctl(t, d.client)}
	peers := []string{"no other address", d.peer}
	if list, _, _ := sides[0].run("", "member", "list"); len(strings.Split(list, ", ")) > 3 {
		peers[0] = strings.TrimPrefix(strings.Split(list, ", ")[3], "http://")
	}
	steps := slices.Concat(stepsOfKeys(), stepsOfTheCluster(), stepsOfLeases(), stepsOfUsers())
	kept := make([]string, len(sides))
	used := map[string]bool{}
	for _, s := range steps {
		used[s.args[0]] = true
		formats := strings.Fields(s.formats)
		if len(formats) == 0 {
			formats = []string{"simple"}
		}
		if testing.Short() {
			formats = formats[:1]
		}
		for _, format := range formats {
			said := make([]string, len(sides))
			for i, e := range sides {
				out, errOut, code := e.run(s.stdin, s.of(kept[i], format)...)
				if s.keep != nil {
					if m := s.keep.FindStringSubmatch(out); m != nil {
						kept[i] = m[1]
					} else {
						t.Fatalf("etcdctl %q at %s prints %q%q, and not what is needed next", s.args, e.endpoints, out, errOut)
					}
				}
				said[i] = ctlSaid(out, errOut, code, e.endpoints, peers[i], format)
			}
			if said[0] != said[1] {
				t.Errorf("etcdctl %q -w %s: etcd\n%s\nhere\n%s", s.args, format, said[0], said[1])
			}
		}
	}
	for _, name := range commandsOfEtcdctl(sides[1]) {
		if !used[name] && otherwise[name] == "" {
			t.Errorf("etcdctl %s is in no test", name)
		}
	}
}

// commandsOfEtcdctl are the names that its help lists.
func commandsOfEtcdctl(e *etcdctl) []string {
	help, _, _ := e.run("", "--help")
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z][a-z-]+) +[A-Z]`).FindAllStringSubmatch(help, -1) {
		names = append(names, m[1])
	}
	if len(names) < 20 {
		e.t.Fatalf("the help of etcdctl lists %q", names)
	}
	return names
}

// runs runs a command that does not end by itself until it has printed what is wanted, and
// ends it.
func (e *etcdctl) runs(want *regexp.Regexp, meanwhile func(), args ...string) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	var out output
	c := e.command(ctx, "", args...)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		cancel()
		e.t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = c.Wait() // it was killed
	}()
	await(e.t, "etcdctl "+strings.Join(args, " "), soon, func(context.Context) error {
		if !want.MatchString(out.String()) {
			return fmt.Errorf("printed %q", out.String())
		}
		return nil
	})
	meanwhile()
}

func TestEtcdctlElectsAndMirrors(t *testing.T) {
	t.Parallel()
	e := newEtcdctl(t, oneMember(t).members[0].client)
	won := regexp.MustCompile(`^e/[0-9a-f]+\nme\n`)
	e.runs(won, func() {
		e.runs(won, func() {}, "elect", "--listen", "e")
	}, "elect", "e", "me")

	e.prints("OK\n", "", "put", "from/before", "1")
	to := newEtcdctl(t, oneMember(t).members[0].client)
	e.runs(regexp.MustCompile(``), func() {
		await(t, "the mirror has what was there", soon, func(context.Context) error { return mirrored(to, "to/before\n1\n") })
		e.prints("OK\n", "", "put", "from/after", "2")
		e.prints("1\n", "", "del", "from/before")
		await(t, "the mirror has what came", soon, func(context.Context) error { return mirrored(to, "to/after\n2\n") })
	}, "make-mirror", "--prefix", "from/", "--dest-prefix", "to/", to.endpoints)
}

// mirrored reports whether the copies are these.
func mirrored(to *etcdctl, want string) error {
	if out, errOut, _ := to.run("", "get", "to/", "--prefix"); out != want {
		return fmt.Errorf("it has %q%s", out, errOut)
	}
	return nil
}
