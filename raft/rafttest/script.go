package rafttest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// RunScript runs the scenario in a file: commands to a cluster, each followed
// by what the cluster did. A line is a command, its members and its options:
//
//	bootstrap 1 2 3 [compacted] [limits]  make the first voters
//	add 4                                 start a member with an empty disk
//	campaign 1 | tick 1 2 n=3             time, "all" being everyone
//	propose 1 data=(a,b) | read 1         what clients do
//	conf 1 add-learner=(4) joint | conf 1 leave
//	transfer 1 to=2 | unreachable 1 peer=2
//	ready 1 | persist 1 n=1 | apply 1 n=1 the steps of a host, by default whole
//	settle                                all of it, until nothing moves
//	flying                                messages under way
//	deliver | drop | double  from= to= type= n=
//	cut 1 2 | mend 1 2                    both ways; one way with "one-way"
//	crash 1 keep=1 half | start 1 | wipe 1
//	flush 1 | compact 1 index=5
//	status 1 | log 1
//
// "quiet" leaves out what happened.
func RunScript(t *testing.T, path string) {
	s := &script{}
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		t.Helper()
		out, err := s.run(d)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		return out
	})
}

type script struct {
	c     *Cluster
	lines []string
}

var errNoCluster = errors.New("the first command must be bootstrap")

func (s *script) trace(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *script) run(d *datadriven.TestData) (string, error) {
	s.lines = nil
	a, err := parse(d)
	switch {
	case err != nil:
		return "", err
	case d.Cmd == "bootstrap":
		s.bootstrap(a)
	case s.c == nil:
		return "", errNoCluster
	default:
		if err := s.command(d.Cmd, a); err != nil {
			return "", err
		}
	}
	if a.has("quiet") {
		s.lines = nil
	}
	if err := s.c.Err(); err != nil {
		s.trace("BROKEN: %v", err)
	}
	if len(s.lines) == 0 {
		return "ok", nil
	}
	return strings.Join(s.lines, "\n"), nil
}

// arguments are a command's members and options.
type arguments struct {
	ids     []uint64
	options map[string][]string
}

func parse(d *datadriven.TestData) (arguments, error) {
	a := arguments{options: map[string][]string{}}
	for _, arg := range d.CmdArgs {
		if id, err := strconv.ParseUint(arg.Key, 10, 64); err == nil {
			a.ids = append(a.ids, id)
			continue
		}
		if _, twice := a.options[arg.Key]; twice {
			return a, fmt.Errorf("option %s given twice", arg.Key)
		}
		a.options[arg.Key] = arg.Vals
	}
	return a, nil
}

func (a arguments) has(key string) bool { _, ok := a.options[key]; return ok }

func (a arguments) text(key string) string { return strings.Join(a.options[key], ",") }

// number is an option's value, or what it is without.
func (a arguments) number(key string, without uint64) uint64 {
	if n, err := strconv.ParseUint(a.text(key), 10, 64); err == nil {
		return n
	}
	return without
}

// all is a count that no queue of a script reaches.
const all = 1 << 20

func (s *script) bootstrap(a arguments) {
	s.c = New(Options{
		Config: raft.Config{
			ElectionTicks: int(a.number("election", 0)), HeartbeatTicks: int(a.number("heartbeat", 0)),
			MaxMessageBytes: a.number("message-bytes", 0), MaxInflight: int(a.number("inflight", 0)),
			MaxInflightBytes: a.number("inflight-bytes", 0), MaxUncommittedBytes: a.number("uncommitted-bytes", 0),
			MaxApplyingBytes: a.number("applying-bytes", 0), DiskStallTicks: int(a.number("stall", 0)),
		},
		EarlyReads: a.has("early"),
		Trace:      s.trace,
	})
	s.c.Bootstrap(a.ids, a.has("compacted"))
}

func (s *script) command(cmd string, a arguments) error {
	switch cmd {
	case "settle":
		s.c.Settle()
	case "flying":
		for _, m := range s.c.Flying() {
			s.trace("%s", describeMessage(m))
		}
	case "deliver", "drop", "double":
		s.network(cmd, a)
	case "cut", "mend":
		if len(a.ids) != 2 {
			return fmt.Errorf("%s needs two members", cmd)
		}
		s.c.Cut(a.ids[0], a.ids[1], cmd == "cut")
		if !a.has("one-way") {
			s.c.Cut(a.ids[1], a.ids[0], cmd == "cut")
		}
	default:
		if a.has("all") {
			a.ids = s.c.order
		}
		for _, id := range a.ids {
			if cmd != "add" && s.c.members[id] == nil {
				return fmt.Errorf("no member %d", id)
			}
			if err := s.member(cmd, id, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *script) member(cmd string, id uint64, a arguments) error {
	c, n := s.c, int(a.number("n", all))
	switch cmd {
	case "add":
		c.Add(id)
	case "start":
		c.Start(id)
	case "wipe":
		c.Wipe(id)
	case "crash":
		c.Crash(id, int(a.number("keep", 0)), a.has("half"))
	case "flush":
		c.Flush(id)
	case "compact":
		c.Flush(id)
		c.Compact(id, a.number("index", 0))
	case "ready":
		c.Ready(id)
	case "persist":
		c.Persist(id, n)
	case "apply":
		c.Apply(id, n)
	case "status":
		s.trace("%s", c.members[id].describe())
	case "log":
		l := &c.members[id].view
		s.trace("%d: after %d/%d %s", id, l.base, l.baseTerm, describeEntries(l.entries))
	default:
		return s.input(cmd, id, a)
	}
	return nil
}

// input gives a core one of its inputs. What the core refuses is in the trace.
func (s *script) input(cmd string, id uint64, a arguments) error {
	c := s.c
	switch cmd {
	case "campaign":
		c.Campaign(id)
	case "tick":
		for range a.number("n", 1) {
			c.Tick(id)
		}
	case "propose":
		for _, data := range a.options["data"] {
			_, _, _ = c.Propose(id, []byte(data))
		}
	case "read":
		c.Read(id)
	case "transfer":
		_ = c.Transfer(id, a.number("to", raft.None))
	case "unreachable":
		c.Unreachable(id, a.number("peer", raft.None))
	case "leader-gone":
		c.LeaderGone(id, a.number("leader", raft.None))
	case "conf":
		change, err := a.change()
		if err != nil {
			return err
		}
		_, _, _ = c.ProposeConf(id, change)
	default:
		return fmt.Errorf("unknown command %s", cmd)
	}
	return nil
}

// change reads a membership change. Its steps are in the order of the kinds.
func (a arguments) change() (confchange.Change, error) {
	var change confchange.Change
	change.Joint = a.has("joint")
	if context := a.text("context"); context != "" {
		change.Context = []byte(context)
	}
	for _, kind := range []confchange.Kind{confchange.AddVoter, confchange.AddLearner, confchange.Remove} {
		for _, v := range a.options[kind.String()] {
			id, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				return change, fmt.Errorf("%v of %q: %w", kind, v, err)
			}
			change.Steps = append(change.Steps, confchange.Step{Kind: kind, ID: id})
		}
	}
	if change.Leave() != a.has("leave") {
		return change, errors.New("a change has steps, or leaves a joint configuration")
	}
	return change, nil
}

// network handles the messages under way that fit, oldest first; not those that
// come about meanwhile.
func (s *script) network(cmd string, a arguments) {
	fits := func(m raft.Message) bool {
		return (!a.has("from") || m.From == a.number("from", 0)) && (!a.has("to") || m.To == a.number("to", 0)) &&
			(!a.has("type") || messageNames[m.Type] == a.text("type"))
	}
	var chosen []raft.Message
	for i := 0; i < len(s.c.net.flying); i++ {
		if m := *s.c.net.at(i); fits(m) && uint64(len(chosen)) < a.number("n", all) {
			chosen = append(chosen, m)
			if cmd != "double" {
				s.c.Take(i)
				i--
			}
		}
	}
	if a.has("newest-first") {
		slices.Reverse(chosen)
	}
	for _, m := range chosen {
		switch cmd {
		case "deliver":
			s.c.Deliver(m)
		case "drop":
			s.c.note(Event{Kind: EventDrop, Message: &m})
		default:
			s.c.note(Event{Kind: EventDouble, Message: &m})
			s.c.net.put(&m)
		}
	}
}
